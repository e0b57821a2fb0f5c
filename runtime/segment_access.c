/* A data access through a segment register, checked (segment_access.h). */
#include "runtime/segment_access.h"

#include <assert.h>

#include "runtime/stepping.h"

static bool inside_limit(const struct segment *s, uint32_t offset, uint32_t size) {
    uint32_t last = offset + (size - 1);
    if (last < offset)
        return false;
    bool down = (s->attr & (SEG_ATTR_CODE | SEG_ATTR_DOWN)) == SEG_ATTR_DOWN;
    if (!down)
        return last <= s->limit;
    uint32_t top = s->attr & SEG_ATTR_DB ? UINT32_MAX : 0xffff;
    return offset > s->limit && last <= top;
}

static bool has_right(const struct segment *s, bool write) {
    bool code = s->attr & SEG_ATTR_CODE, bit = s->attr & SEG_ATTR_WRITABLE;
    return write ? !code && bit : !code || bit;
}

bool segment_access(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size, bool write,
                    gva_t *linear) {
    struct cpu *cpu = &v->cpu;
    const struct segment *s = &cpu->seg[segment];
    assert(segment < SEG_COUNT && size > 0);
    if (!s->usable || !has_right(s, write) || !inside_limit(s, offset, size)) {
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
