/* Frames on the guest's stack. See stack.h. */
#include "runtime/stack.h"

#include <assert.h>
#include <string.h>

#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/stepping.h"

/* Does the frame stay on one side of the point where SP wraps? */
static bool is_contiguous(uint32_t mask, uint32_t offset, uint32_t len) {
    return mask == UINT32_MAX || offset + len <= mask + 1;
}

static bool holds_frame(const struct segment *ss, uint32_t offset, uint32_t len, uint32_t unit) {
    uint32_t mask = stack_mask(ss);
    if (is_contiguous(mask, offset, len))
        return segment_holds(ss, offset, len);
    for (uint32_t i = 0; i < len; i += unit)
        if (!segment_holds(ss, (offset + i) & mask, unit))
            return false;
    return true;
}

bool stack_check(struct vcpu *v, const struct segment *ss, uint32_t esp, uint32_t len,
                 uint32_t unit, uint32_t ss_error) {
    if (ss->cls >= SEGMENT_GENERAL && !holds_frame(ss, esp & stack_mask(ss), len, unit)) {
        fault_raise_error(v, VEC_SS, ss_error);
        return false;
    }
    return true;
}

/* A frame that is not all there: the fault is that of its highest item, the first one that a push
 * writes; far returns read it first, too. */
static bool fault_from_top(struct vcpu *v, gva_t gva, uint32_t len, uint32_t unit, bool write,
                           bool inner) {
    uint32_t item;
    for (uint32_t at = len; at; at -= unit)
        if (!(write ? guest_probe_write(v, gva + at - unit, unit, inner)
                    : guest_read(v, gva + at - unit, &item, unit, inner)))
            break;
    return false;
}

/* Alignment is checked where nothing else faults, of the first item that is touched; accesses to an
 * inner stack are not CPL 3's. */
static bool misaligned(struct vcpu *v, gva_t gva, uint32_t unit) {
    if (!(v->cpu.mode & MODE_ALIGN) || !(gva & (unit - 1)))
        return false;
    fault_raise_error(v, VEC_AC, 0);
    return true;
}

bool stack_read(struct vcpu *v, uint32_t skip, void *to, uint32_t len, uint32_t unit) {
    assert(len % unit == 0);
    const struct segment *ss = &v->cpu.seg[SEG_SS];
    uint32_t mask = stack_mask(ss), offset = (v->cpu.gpr[ESP] + skip) & mask;
    if (!stack_check(v, ss, offset, len, unit, 0))
        return false;
    bool frame = len > unit; /* of a far return: its pages come before its alignment */
    if (!frame && misaligned(v, ss->base + offset, unit))
        return false;
    if (is_contiguous(mask, offset, len) && !guest_read(v, ss->base + offset, to, len, false))
        return fault_from_top(v, ss->base + offset, len, unit, false, false);
    if (frame && misaligned(v, ss->base + offset, unit))
        return false;
    if (v->cpu.mode & MODE_DEBUG)
        debug_data_access(v, ss->base + offset, len, false);
    if (is_contiguous(mask, offset, len))
        return true;
    for (uint32_t i = 0; i < len; i += unit)
        if (!guest_read(v, ss->base + ((offset + i) & mask), (uint8_t *)to + i, unit, false))
            return false;
    return true;
}

/* All items are probed before the first is written. */
static bool write_wrapped(struct vcpu *v, const struct segment *ss, uint32_t offset,
                          const uint8_t *from, uint32_t len, uint32_t unit, bool inner) {
    uint32_t mask = stack_mask(ss);
    for (uint32_t i = 0; i < len; i += unit)
        if (!guest_probe_write(v, ss->base + ((offset + i) & mask), unit, inner))
            return false;
    for (uint32_t i = 0; i < len; i += unit) {
        bool written = guest_write(v, ss->base + ((offset + i) & mask), from + i, unit, inner);
        assert(written);
        (void)written;
    }
    return true;
}

bool stack_write(struct vcpu *v, const struct segment *ss, uint32_t esp, const void *from,
                 uint32_t len, uint32_t unit, uint32_t ss_error, bool inner) {
    assert(len % unit == 0);
    uint32_t mask = stack_mask(ss), offset = esp & mask;
    if (!stack_check(v, ss, offset, len, unit, ss_error))
        return false;
    if (!inner && misaligned(v, ss->base + offset, unit))
        return false;
    if (v->cpu.mode & MODE_DEBUG)
        debug_data_access(v, ss->base + offset, len, true);
    if (is_contiguous(mask, offset, len))
        return guest_write(v, ss->base + offset, from, len, inner) ||
               fault_from_top(v, ss->base + offset, len, unit, true, inner);
    return write_wrapped(v, ss, offset, from, len, unit, inner);
}

uint32_t stack_pack(uint32_t *items, uint32_t count, uint32_t unit) {
    assert(unit == 2 || unit == 4);
    if (unit == 2)
        for (uint32_t i = 0; i < count; i++) {
            uint16_t item = (uint16_t)items[i];
            memcpy((uint8_t *)items + i * 2, &item, 2);
        }
    return count * unit;
}

void stack_unpack(uint32_t *items, uint32_t count, uint32_t unit) {
    assert(unit == 2 || unit == 4);
    if (unit == 4)
        return;
    for (uint32_t i = count; i-- > 0;) {
        uint16_t item;
        memcpy(&item, (const uint8_t *)items + i * 2, 2);
        items[i] = item;
    }
}
