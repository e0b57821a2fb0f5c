/* How far a repeated string comparison goes, which only memory knows: read ahead without side
 * effects. */
#include <string.h>

#include "memory/walk.h"
#include "runtime/plugin_private.h"
#include "translator/accesses.h"

/* False: not there, or it crosses into another page, where the count ends for want of knowledge. */
static bool read_element(const struct vcpu *v, gva_t gva, uint32_t size, uint32_t *value) {
    struct walk walk = walk_page(v->ram, &v->cpu.paging, gva, ACCESS_READ, false, false);
    const void *from = walk.ok ? ram_ptr(v->ram, walk.gpa, size) : NULL;
    *value = 0;
    if (from && (gva & PAGE_MASK) <= PAGE_SIZE - size)
        memcpy(value, from, size);
    return from != NULL;
}

uint32_t plugin_compare_count(const struct vcpu *v, const struct access *accesses,
                              unsigned access_count, uint32_t most) {
    const struct cpu *cpu = &v->cpu;
    uint32_t size = accesses[0].size, step = cpu->flags & FL_DF ? 0u - size : size, done = 0;
    uint32_t first = access_address(cpu, &accesses[0]), value, other;
    uint32_t second = access_count > 1 ? access_address(cpu, &accesses[1]) : 0;
    uint32_t mask = size >= 4 ? UINT32_MAX : (1u << 8 * size) - 1;
    bool while_equal = accesses[0].flags & ACCESS_WHILE_EQUAL;
    for (bool goes_on = true; goes_on && done < most; done++) {
        other = cpu->gpr[EAX] & mask;
        if (!read_element(v, first + done * step, size, &value) ||
            (access_count > 1 && !read_element(v, second + done * step, size, &other)))
            return done ? done : 1;
        goes_on = (value == other) == while_equal;
    }
    return done;
}
