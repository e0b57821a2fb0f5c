/* Fetching descriptors and filling segment registers from them. See descriptor.h. */
#include "runtime/descriptor.h"

#include <assert.h>

#include "runtime/guest_access.h"

#define ATTR_REAL 0x93u /* present, data, writable, accessed, DPL 0 */
#define ATTR_V86 0xf3u  /* the same, DPL 3 */

bool descriptor_locate(const struct cpu *cpu, uint32_t selector, gva_t *gva) {
    uint32_t offset = selector & 0xfff8u;
    uint32_t base = cpu->gdt.base, limit = cpu->gdt.limit;
    if (selector & 4u) {
        if (!cpu->ldt.usable)
            return false;
        base = cpu->ldt.base;
        limit = cpu->ldt.limit;
    }
    *gva = base + offset;
    return offset + 7 <= limit;
}

bool descriptor_fetch(struct vcpu *v, uint32_t selector, enum vector vector, uint32_t ext,
                      struct descriptor *d) {
    if (!descriptor_locate(&v->cpu, selector, &d->gva)) {
        fault_raise_error(v, vector, selector_error(selector, ext));
        return false;
    }
    uint32_t words[2];
    if (!guest_read(v, d->gva, words, sizeof words, true))
        return false;
    d->low = words[0];
    d->high = words[1];
    return true;
}

bool descriptor_set_type_bits(struct vcpu *v, struct descriptor *d, uint32_t bits) {
    assert(bits != 0 && bits <= 15);
    uint32_t high = d->high | bits << 8;
    uint8_t access = (uint8_t)(high >> 8);
    if (!guest_write(v, d->gva + 5, &access, 1, true))
        return false;
    d->high = high;
    return true;
}

void segment_unpack(struct segment *segment, uint32_t selector, const struct descriptor *d) {
    segment->selector = (uint16_t)selector;
    segment->attr = descriptor_attr(d);
    segment->base = descriptor_base(d);
    segment->limit = descriptor_limit(d);
    segment->usable = true;
}

void segment_set(struct cpu *cpu, enum segment_index index, uint32_t selector,
                 const struct descriptor *d) {
    assert(index < SEG_COUNT);
    segment_unpack(&cpu->seg[index], selector, d);
    cpu_segment_changed(cpu, &cpu->seg[index]);
}

void segment_set_null(struct cpu *cpu, enum segment_index index, uint32_t selector) {
    assert(index != SEG_CS && index < SEG_COUNT);
    cpu->seg[index] = (struct segment){.selector = (uint16_t)selector, .usable = false};
    cpu_segment_changed(cpu, &cpu->seg[index]);
}

void segment_set_real(struct cpu *cpu, enum segment_index index, uint32_t selector) {
    assert(index < SEG_COUNT);
    struct segment *segment = &cpu->seg[index];
    segment->selector = (uint16_t)selector;
    segment->base = (selector & 0xffffu) << 4;
    if (index == SEG_CS || !segment->usable)
        segment->attr = (uint16_t)((segment->attr & (SEG_ATTR_DB | SEG_ATTR_G)) | ATTR_REAL);
    if (!segment->usable)
        segment->limit = 0xffff;
    segment->usable = true;
    cpu_segment_changed(cpu, segment);
}

void segment_set_v86(struct cpu *cpu, enum segment_index index, uint32_t selector) {
    assert(index < SEG_COUNT);
    cpu->seg[index] = (struct segment){
        .selector = (uint16_t)selector,
        .attr = ATTR_V86,
        .base = (selector & 0xffffu) << 4,
        .limit = 0xffff,
        .usable = true,
    };
    cpu_segment_changed(cpu, &cpu->seg[index]);
}

void segment_set_flat(struct cpu *cpu, enum segment_index index, uint32_t selector, uint32_t type,
                      unsigned dpl) {
    struct segment *segment = &cpu->seg[index];
    segment->selector = (uint16_t)selector;
    segment->attr = (uint16_t)(type | SEG_ATTR_S | dpl << 5 | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G);
    segment->base = 0;
    segment->limit = UINT32_MAX;
    segment->usable = true;
    cpu_segment_changed(cpu, segment);
}

bool segment_holds(const struct segment *segment, uint32_t offset, uint32_t len) {
    assert(len > 0);
    uint32_t last = offset + len - 1;
    bool down = (segment->attr & (SEG_ATTR_CODE | SEG_ATTR_DOWN)) == SEG_ATTR_DOWN;
    if (down) {
        uint32_t top = segment->attr & SEG_ATTR_DB ? UINT32_MAX : 0xffffu;
        return offset > segment->limit && last >= offset && last <= top;
    }
    /* Wrapping at 4 GiB is allowed through a 4 GiB segment (SDM vol. 3A, 5.3: may or may not
     * fault). */
    if (segment->limit == UINT32_MAX)
        return true;
    return last >= offset && last <= segment->limit;
}

bool segment_allows(const struct segment *segment, bool write) {
    if (!segment->usable)
        return false;
    bool code = segment->attr & SEG_ATTR_CODE;
    bool second = segment->attr & SEG_ATTR_WRITABLE; /* data: writable; code: readable */
    return write ? !code && second : !code || second;
}
