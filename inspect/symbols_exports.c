/* Names of a Linux kernel's data from its table of exports (__ksymtab).
 *
 * Most kernels keep only code in kallsyms (no CONFIG_KALLSYMS_ALL), but what modules may use is
 * exported by name, data such as `jiffies` and `init_task` too. An entry is three offsets, each
 * from its own field: value, name, namespace. Entries are sorted by name, in two tables (plain and
 * GPL). They are found by one that must be there, the exported function `schedule`, and from there
 * on both ways. */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "inspect/symbols_private.h"

#define ENTRY 12u
#define NAME_MAX_LEN 128u

struct view {
    const struct kernel_image *image;
    const struct kernel_segment *segment; /* the one with the table in it */
};

static uint32_t get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, 4);
    return value;
}

/* The string at a linked address, if it is an identifier that ends; else NULL. */
static const char *identifier(const struct kernel_image *image, gva_t address) {
    const uint8_t *at;
    size_t room = kernel_image_at(image, address, &at), len = 0;
    while (len < room && len < NAME_MAX_LEN && at[len] &&
           (at[len] == '_' || (at[len] >= '0' && at[len] <= '9') ||
            ((at[len] | 0x20) >= 'a' && (at[len] | 0x20) <= 'z')))
        len++;
    return len > 0 && len < room && !at[len] ? (const char *)at : NULL;
}

/* The name of the entry at `offset` in the segment, and *value; NULL: there is none. */
static const char *entry_at(const struct view *view, size_t offset, gva_t *value) {
    const struct kernel_segment *segment = view->segment;
    if (offset > segment->size || segment->size - offset < ENTRY)
        return NULL;
    const uint8_t *at = segment->bytes + offset;
    gva_t here = segment->start + (gva_t)offset;
    *value = here + get32(at);
    if (*value < view->image->segments[0].start) /* below the kernel: no entry */
        return NULL;
    return identifier(view->image, here + 4 + get32(at + 4));
}

/* Finds the entry of the function `name` at `value`. */
static bool find_entry(struct view *view, const char *name, gva_t value, size_t *offset) {
    gva_t got;
    for (unsigned i = 0; i < view->image->segment_count; i++) {
        view->segment = &view->image->segments[i];
        for (size_t at = 0; at + ENTRY <= view->segment->size; at += 4) {
            gva_t here = view->segment->start + (gva_t)at;
            if (here + get32(view->segment->bytes + at) != value)
                continue;
            const char *found = entry_at(view, at, &got);
            if (found && !strcmp(found, name)) {
                *offset = at;
                return true;
            }
        }
    }
    return false;
}

/* Adds the entries from `offset` on, `step` apart, that have no name yet; as far as entries go. */
static bool add_entries(struct symbols *symbols, const struct view *view, size_t offset,
                        ptrdiff_t step) {
    gva_t value;
    const char *name;
    struct symbol known;
    for (; (name = entry_at(view, offset, &value)); offset += (size_t)step)
        if (!symbols_find(symbols, name, &known) &&
            !symbols_add(symbols, value, SYMBOL_EXPORTED, name, strlen(name)))
            return false;
    return true;
}

int symbols_read_exports(struct symbols *symbols, const struct kernel_image *image,
                         struct error *error) {
    struct view view = {.image = image};
    struct symbol schedule;
    size_t offset;
    assert(image->elf);
    if (!symbols_find(symbols, "schedule", &schedule) ||
        !find_entry(&view, "schedule", schedule.address, &offset))
        return 0;
    return add_entries(symbols, &view, offset, (ptrdiff_t)ENTRY) &&
                   add_entries(symbols, &view, offset - ENTRY, -(ptrdiff_t)ENTRY)
               ? 0
               : symbols_no_room(image, error);
}
