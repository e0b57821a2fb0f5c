/* Guest memory for plugins: by linear address through the guest's tables, and physical.
 *
 * A walk here sets no bit, and a page that is not there is an error and not a fault. All pages are
 * looked up before the first byte is copied. */
#include <string.h>

#include "memory/walk.h"
#include "runtime/engine_private.h"
#include "runtime/plugin_private.h"

/* One copy: `physical` or through the tables, out of the guest or into it. */
struct copy {
    struct plugins *plugins;
    uint64_t address, len;
    bool physical, write;
};

/* The place of the byte `offset` of the copy; negative statuses are errors. */
static int locate(const struct copy *copy, uint64_t offset, uint64_t *place) {
    const struct vcpu *v = copy->plugins->v;
    uint64_t at = copy->address + offset;
    if (!copy->physical) {
        struct walk walk = walk_page(v->ram, &v->cpu.paging, (gva_t)at, ACCESS_READ, false, false);
        if (!walk.ok)
            return RING3_NOT_PRESENT;
        at = walk.gpa;
    }
    *place = ram_locate(v->ram, at);
    if (*place == RAM_NOWHERE || (copy->write && !ram_is_writable(v->ram, *place)))
        return RING3_NO_MEMORY;
    return ram_allocate(v->ram, *place & ~(uint64_t)PAGE_MASK, PAGE_SIZE) ? RING3_HOST : RING3_OK;
}

static uint32_t part_at(const struct copy *copy, uint64_t offset) {
    uint64_t left = PAGE_SIZE - ((copy->address + offset) & PAGE_MASK);
    return (uint32_t)(left < copy->len - offset ? left : copy->len - offset);
}

static int transfer(const struct copy *copy, uint64_t offset, uint8_t *bytes) {
    struct vcpu *v = copy->plugins->v;
    uint32_t part = part_at(copy, offset);
    uint64_t place;
    int status = locate(copy, offset, &place);
    if (status)
        return status;
    if (!copy->write)
        return plugin_put(copy->plugins, bytes + offset, v->ram->base + place, part);
    if (v->engine)
        fragments_invalidate_range(v, place, part, &v->counters->invalidate_device);
    return plugin_take(v->ram->base + place, bytes + offset, part);
}

static int copy_memory(const struct copy *copy, void *bytes) {
    int status = RING3_OK;
    uint64_t place;
    uint64_t end = copy->physical ? UINT64_MAX : (uint64_t)UINT32_MAX + 1;
    if (copy->len > PLUGIN_LENGTH_MAX || copy->len > end - copy->address)
        return RING3_BAD_ARGUMENT;
    for (uint64_t done = 0; done < copy->len && !status; done += part_at(copy, done))
        status = locate(copy, done, &place);
    for (uint64_t done = 0; done < copy->len && !status && copy->write;
         done += part_at(copy, done)) {
        uint8_t tried[PAGE_SIZE]; /* can all of it be read? */
        status = plugin_take(tried, (const uint8_t *)bytes + done, part_at(copy, done));
    }
    for (uint64_t done = 0; done < copy->len && !status; done += part_at(copy, done))
        status = transfer(copy, done, bytes);
    return status;
}

int plugin_read_linear(uint32_t address, void *to, size_t len) {
    struct copy copy = {plugin_caller(PHASE_CALLBACK), address, len, false, false};
    return copy.plugins ? copy_memory(&copy, to) : RING3_WRONG_TIME;
}

int plugin_read_physical(uint64_t address, void *to, size_t len) {
    struct copy copy = {plugin_caller(PHASE_CALLBACK), address, len, true, false};
    return copy.plugins ? copy_memory(&copy, to) : RING3_WRONG_TIME;
}

/* Only bytes change that the plugin could have read. */
int plugin_write_linear(uint32_t address, const void *from, size_t len) {
    struct copy copy = {plugin_caller(PHASE_STOPPED), address, len, false, true};
    return copy.plugins ? copy_memory(&copy, (void *)(uintptr_t)from) : RING3_WRONG_TIME;
}

int plugin_write_physical(uint64_t address, const void *from, size_t len) {
    struct copy copy = {plugin_caller(PHASE_STOPPED), address, len, true, true};
    return copy.plugins ? copy_memory(&copy, (void *)(uintptr_t)from) : RING3_WRONG_TIME;
}

int plugin_read_string(uint32_t address, char *to, size_t room) {
    struct plugins *plugins = plugin_caller(PHASE_CALLBACK);
    char text[PLUGIN_STRING_MAX];
    uint64_t place;
    if (!plugins)
        return RING3_WRONG_TIME;
    if (!room || room > PLUGIN_LENGTH_MAX)
        return RING3_BAD_ARGUMENT;
    struct copy first = {plugins, address, 1, false, false};
    int status = locate(&first, 0, &place);
    if (status)
        return status;
    unsigned len = plugin_guest_string(plugins->v, address, text,
                                       room < sizeof text ? (unsigned)room : PLUGIN_STRING_MAX);
    return plugin_put(plugins, to, text, len + 1);
}

int plugin_find_physical(uint32_t address, uint64_t *physical) {
    struct plugins *plugins = plugin_caller(PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    const struct vcpu *v = plugins->v;
    struct walk walk = walk_page(v->ram, &v->cpu.paging, address, ACCESS_READ, false, false);
    return walk.ok ? plugin_put(plugins, physical, &walk.gpa, sizeof walk.gpa) : RING3_NOT_PRESENT;
}
