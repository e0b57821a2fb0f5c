/* A data access through a segment register, checked (segment_access.h). */
#include "runtime/segment_access.h"

#include <assert.h>

#include "runtime/descriptor.h"
#include "runtime/stepping.h"

bool segment_access(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size, bool write,
                    gva_t *linear) {
    struct cpu *cpu = &v->cpu;
    const struct segment *s = &cpu->seg[segment];
    assert(segment < SEG_COUNT && size > 0);
    bool wraps = offset + (size - 1) < offset; /* faults on processors, whatever the limit */
    if (wraps || !segment_allows(s, write) || !segment_holds(s, offset, size)) {
        fault_raise_error(v, segment == SEG_SS ? VEC_SS : VEC_GP, 0);
        return false;
    }
    *linear = s->base + offset;
    bool natural = size == 2 || size == 4 || size == 8;
    if (cpu->mode & MODE_ALIGN && natural && *linear & (size - 1)) {
        fault_raise_error(v, VEC_AC, 0);
        return false;
    }
    if (cpu->mode & MODE_DEBUG)
        debug_data_access(v, *linear, size, write);
    return true;
}
