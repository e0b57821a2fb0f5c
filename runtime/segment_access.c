/* A data access through a segment register, checked (segment_access.h). */
#include "runtime/segment_access.h"

#include <assert.h>

#include "runtime/descriptor.h"
#include "runtime/stepping.h"

/* SDM vol. 3A, table 6-7, by the size of the access: far pointers, x87 environments and images
 * among them. */
static uint32_t alignment(uint32_t size) {
    switch (size) {
    case 2: case 14: case 94: return 2;
    case 4: case 6: case 28: case 108: return 4;
    case 8: case 10: return 8;
    default: return 1;
    }
}

bool segment_access(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size, bool write,
                    gva_t *linear) {
    struct cpu *cpu = &v->cpu;
    const struct segment *s = &cpu->seg[segment];
    assert(segment < SEG_COUNT && size > 0);
    bool wraps = offset + (size - 1) < offset; /* faults on processors, whatever the limit */
    bool allowed = segment_allows(s, write) && segment_holds(s, offset, wraps ? 1 : size);
    *linear = s->base + offset;
    if (allowed && cpu->mode & MODE_ALIGN && *linear & (alignment(size) - 1)) {
        fault_raise_error(v, VEC_AC, 0);
        return false;
    }
    if (!allowed || wraps) {
        fault_raise_error(v, segment == SEG_SS ? VEC_SS : VEC_GP, 0);
        return false;
    }
    if (cpu->mode & MODE_DEBUG)
        debug_data_access(v, *linear, size, write);
    return true;
}
