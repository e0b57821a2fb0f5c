/* A data access through a segment register, checked (segment_access.h). */
#include "runtime/segment_access.h"

#include <assert.h>

#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/stepping.h"
#include "runtime/vector_state.h"

/* SDM vol. 3A, table 6-7, by the size of the access: pseudo-descriptors, x87 environments and images
 * among them. */
static uint32_t alignment(uint32_t size) {
    switch (size) {
    case 2:
    case 14:
    case 94:
        return 2;
    case 4:
    case 6:
    case 28:
    case 108:
        return 4;
    case 8:
    case 10:
        return 8;
    default:
        return 1;
    }
}

bool segment_access_aligned(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size,
                            uint32_t align, bool write, gva_t *linear) {
    struct cpu *cpu = &v->cpu;
    const struct segment *s = &cpu->seg[segment];
    assert(segment < SEG_COUNT && size > 0);
    /* Offsets that wrap fault on processors whatever the limit, but for a base of 0. */
    bool wraps = offset + (size - 1) < offset;
    bool is_ring = s->base == 0 && s->limit == UINT32_MAX;
    bool faults = wraps ? !is_ring : !segment_holds(s, offset, size);
    *linear = s->base + offset;
    /* The first item's alignment comes before the last one's limit. */
    bool misaligned = cpu->mode & MODE_ALIGN && *linear & (align - 1);
    if (misaligned && segment_allows(s, write) && segment_holds(s, offset, wraps ? 1 : align)) {
        fault_raise_error(v, VEC_AC, 0);
        return false;
    }
    if (!segment_allows(s, write) || faults) {
        fault_raise_error(v, segment == SEG_SS ? VEC_SS : VEC_GP, 0);
        return false;
    }
    if (cpu->mode & MODE_DEBUG)
        debug_data_access(v, *linear, size, write);
    return true;
}

bool segment_access(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t size, bool write,
                    gva_t *linear) {
    return segment_access_aligned(v, segment, offset, size, alignment(size), write, linear);
}

bool segment_access_masked(struct vcpu *v, unsigned segment, uint32_t offset, uint32_t arg, bool write,
                           gva_t *linear) {
    unsigned element = arg & CHECK_WIDE_ELEMENTS ? 8 : 4, count = CHECK_SIZE(arg) / element;
    unsigned mask = vector_signs(arg >> CHECK_MASK_SHIFT & 7u, element == 8);
    gva_t at;
    for (unsigned i = 0; i < count; i++)
        if (mask >> i & 1 && !segment_access_aligned(v, segment, offset + i * element, element, 1, write, &at))
            return false;
    *linear = v->cpu.seg[segment].base + offset;
    return true;
}

bool segment_flush(struct vcpu *v, unsigned segment, uint32_t offset, gva_t *linear) {
    const struct segment *s = &v->cpu.seg[segment];
    bool readable = s->usable && (s->attr & SEG_ATTR_CODE || segment_allows(s, false));
    if (!readable || !segment_holds(s, offset, 1)) {
        fault_raise_error(v, segment == SEG_SS ? VEC_SS : VEC_GP, 0);
        return false;
    }
    *linear = s->base + offset;
    return true;
}

bool segment_read_pointer(struct vcpu *v, unsigned segment, gva_t at, uint32_t unit,
                          uint32_t *offset, uint16_t *selector) {
    *offset = 0;
    return guest_read(v, at, offset, unit, false) &&
           segment_access(v, segment, at - v->cpu.seg[segment].base + unit, 2, false, &at) &&
           guest_read16(v, at, selector, false);
}
