/* What control transfers between privilege levels share. See transfer.h. */
#include "runtime/transfer.h"

#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/debug_registers.h"
#include "runtime/guest_access.h"
#include "runtime/stack.h"
#include "runtime/virtual_8086.h"

static bool raise(struct vcpu *v, enum vector vector, uint32_t selector, uint32_t ext) {
    fault_raise_error(v, vector, selector_error(selector, ext));
    return false;
}

/* Reads SSn:ESPn in one access. */
static bool read_tss_stack(struct vcpu *v, unsigned dpl, uint32_t ext, uint32_t *selector,
                           uint32_t *esp) {
    const struct segment *tr = &v->cpu.tr;
    bool wide = tr->attr & TYPE_32BIT;
    uint32_t offset = wide ? dpl * 8 + 4 : dpl * 4 + 2;
    uint32_t words[2] = {0, 0};
    if (!tr->usable || offset + (wide ? 5u : 3u) > tr->limit)
        return raise(v, VEC_TS, tr->selector, ext);
    if (!guest_read(v, tr->base + offset, words, wide ? 6 : 4, true))
        return false;
    *esp = wide ? words[0] : words[0] & 0xffffu;
    *selector = wide ? words[1] & 0xffffu : words[0] >> 16;
    return true;
}

bool transfer_inner_stack(struct vcpu *v, unsigned dpl, uint32_t ext, struct segment *ss,
                          uint32_t *esp) {
    assert(dpl < 3);
    uint32_t selector;
    struct descriptor d;
    if (!read_tss_stack(v, dpl, ext, &selector, esp))
        return false;
    if (selector_is_null(selector))
        return raise(v, VEC_TS, 0, ext);
    if (!descriptor_fetch(v, selector, VEC_TS, ext, &d))
        return false;
    if (selector_rpl(selector) != dpl || descriptor_dpl(&d) != dpl || !descriptor_is_writable(&d))
        return raise(v, VEC_TS, selector, ext);
    if (!descriptor_present(&d))
        return raise(v, VEC_SS, selector, ext);
    if (!descriptor_set_accessed(v, &d))
        return false;
    segment_unpack(ss, selector, &d);
    cpu_segment_changed(&v->cpu, ss);
    return true;
}

bool transfer_return_code(struct vcpu *v, uint32_t selector, struct descriptor *code) {
    unsigned rpl = selector_rpl(selector);
    if (selector_is_null(selector))
        return raise(v, VEC_GP, 0, 0);
    if (!descriptor_fetch(v, selector, VEC_GP, 0, code))
        return false;
    unsigned dpl = descriptor_dpl(code);
    if (!descriptor_is_code(code) || rpl < cpu_cpl(&v->cpu))
        return raise(v, VEC_GP, selector, 0);
    if (descriptor_is_conforming(code) ? dpl > rpl : dpl != rpl)
        return raise(v, VEC_GP, selector, 0);
    if (!descriptor_present(code))
        return raise(v, VEC_NP, selector, 0);
    return true;
}

bool transfer_return_stack(struct vcpu *v, uint32_t selector, unsigned cpl,
                           struct descriptor *stack) {
    if (selector_is_null(selector))
        return raise(v, VEC_GP, 0, 0);
    if (!descriptor_fetch(v, selector, VEC_GP, 0, stack))
        return false;
    if (selector_rpl(selector) != cpl || descriptor_dpl(stack) != cpl ||
        !descriptor_is_writable(stack))
        return raise(v, VEC_GP, selector, 0);
    if (!descriptor_present(stack))
        return raise(v, VEC_SS, selector, 0);
    return true;
}

void transfer_drop_segments(struct cpu *cpu, unsigned cpl) {
    assert(cpl <= 3);
    static const uint8_t data_segments[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < sizeof data_segments; i++) {
        enum segment_index index = (enum segment_index)data_segments[i];
        const struct segment *segment = &cpu->seg[index];
        bool conforming =
            (segment->attr & (SEG_ATTR_CODE | SEG_ATTR_DOWN)) == (SEG_ATTR_CODE | SEG_ATTR_DOWN);
        if (segment->usable && !conforming && SEG_ATTR_DPL(segment->attr) < cpl)
            segment_set_null(cpu, index, 0);
    }
}

enum callout_result transfer_finish_return(struct vcpu *v, uint32_t eip, uint32_t eflags,
                                           uint32_t mask, unsigned cpl) {
    struct cpu *cpu = &v->cpu;
    assert(cpl >= cpu_cpl(cpu)); /* returns never lead inwards */
    cpu_set_eflags(cpu, eflags, mask);
    cpu->eip = eip;
    debug_settle_resume_flag(v);
    cpu_update_mode(cpu, cpl);
    cpu_check_interrupts(cpu);
    return v86_interrupt_waits(cpu) ? fault_raise_gp(v, 0) : CALLOUT_JUMP;
}

void transfer_load_stack(struct cpu *cpu, uint32_t selector, const struct descriptor *stack,
                         uint32_t esp) {
    segment_set(cpu, SEG_SS, selector, stack);
    stack_set_pointer(cpu, esp);
}
