/* One event through the IDT (SDM vol. 3A, 6.12; vol. 2, INT n: "Operation").
 *
 * Runs at every interrupt, fault and INT 80h, so it is straight-line: one read each for the
 * gate, the code descriptor, the TSS's stack and its descriptor, and one write for the frame.
 * Every check comes before the frame, the frame before the first register changes. */
#include "runtime/interrupt.h"

#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/real_mode.h"
#include "runtime/stack.h"
#include "runtime/task_switch.h"
#include "runtime/transfer.h"

struct gate {
    uint16_t selector; /* of the handler's code, or of its task */
    bool is_task;
    bool clears_if; /* an interrupt gate, not a trap gate */
    uint32_t unit;  /* size of the items that it pushes */
    uint32_t offset;
};

#define FRAME_ITEMS_MAX 10

/* The EXT bit of the error codes of faults during delivery. */
static uint32_t ext_of(const struct event *e) {
    return e->kind == DELIVER_SOFTWARE ? 0 : ERROR_EXT;
}

/* CALLOUT_NEXT: `gate` is good. */
static enum callout_result fetch_gate(struct vcpu *v, const struct event *e, struct gate *gate) {
    const struct table_register *idt = &v->cpu.idt;
    uint32_t offset = e->vector * 8u, error = offset | ERROR_IDT | ext_of(e);
    struct descriptor d;
    uint32_t words[2];
    if (offset + 7 > idt->limit)
        return fault_raise_gp(v, error);
    if (!guest_read(v, idt->base + offset, words, sizeof words, true))
        return CALLOUT_FAULT;
    d.low = words[0];
    d.high = words[1];
    unsigned type = descriptor_type(&d);
    bool is_task = type == SYSTEM_TASK_GATE;
    bool is_good = is_task || type == SYSTEM_INTERRUPT_GATE32 || type == SYSTEM_TRAP_GATE32 ||
                   type == SYSTEM_INTERRUPT_GATE16 || type == SYSTEM_TRAP_GATE16;
    if (!is_good || !descriptor_is_system(&d))
        return fault_raise_gp(v, error);
    if (e->kind == DELIVER_SOFTWARE && descriptor_dpl(&d) < cpu_cpl(&v->cpu))
        return fault_raise_gp(v, error);
    if (!descriptor_present(&d))
        return fault_raise_error(v, VEC_NP, error);
    bool wide = type & TYPE_32BIT;
    gate->selector = gate_selector(&d);
    gate->is_task = is_task;
    gate->offset = gate_offset(&d, wide);
    gate->clears_if = !(type & 1u);
    gate->unit = wide ? 4 : 2;
    return CALLOUT_NEXT;
}

/* The handler's code segment. False: v->fault. */
static bool fetch_code(struct vcpu *v, const struct event *e, uint32_t selector,
                       struct descriptor *code) {
    uint32_t ext = ext_of(e);
    if (selector_is_null(selector)) {
        fault_raise_gp(v, ext);
        return false;
    }
    if (!descriptor_fetch(v, selector, VEC_GP, ext, code))
        return false;
    if (!descriptor_is_code(code) || descriptor_dpl(code) > cpu_cpl(&v->cpu)) {
        fault_raise_gp(v, selector_error(selector, ext));
        return false;
    }
    if (!descriptor_present(code)) {
        fault_raise_error(v, VEC_NP, selector_error(selector, ext));
        return false;
    }
    /* Virtual-8086 mode is left for level 0 only. */
    if ((v->cpu.mode & MODE_VM86) &&
        (descriptor_is_conforming(code) || descriptor_dpl(code) != 0)) {
        fault_raise_gp(v, selector_error(selector, ext));
        return false;
    }
    return true;
}

/* What an event out of virtual-8086 mode saves and makes null, by ascending address. */
static const uint8_t data_segments[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

/* Fills `items` from the top of the stack upwards; returns how many. */
static uint32_t build_frame(const struct cpu *cpu, const struct event *e, bool inner,
                            uint32_t *items) {
    uint32_t count = 0;
    if (e->has_error)
        items[count++] = e->error;
    items[count++] = e->return_eip;
    items[count++] = cpu->seg[SEG_CS].selector;
    items[count++] = cpu_eflags(cpu) | e->image_flags;
    if (inner) {
        items[count++] = cpu->gpr[ESP];
        items[count++] = cpu->seg[SEG_SS].selector;
    }
    if (cpu->mode & MODE_VM86)
        for (unsigned i = 0; i < sizeof data_segments; i++)
            items[count++] = cpu->seg[data_segments[i]].selector;
    assert(count <= FRAME_ITEMS_MAX);
    return count;
}

/* Nothing can fault any more: the registers of the handler's first instruction. */
static enum callout_result enter_handler(struct vcpu *v, const struct gate *gate,
                                         const struct descriptor *code, unsigned cpl) {
    struct cpu *cpu = &v->cpu;
    assert(cpl <= cpu_cpl(cpu)); /* events never lead outwards */
    if (cpu->mode & MODE_VM86)
        for (unsigned i = 0; i < sizeof data_segments; i++)
            segment_set_null(cpu, (enum segment_index)data_segments[i], 0);
    segment_set(cpu, SEG_CS, (gate->selector & ~3u) | cpl, code);
    cpu->sys_flags &= ~(FL_TF | FL_NT | FL_RF | FL_VM);
    if (gate->clears_if)
        cpu->iflag = 0;
    cpu->eip = gate->offset;
    cpu_update_mode(cpu, cpl);
    return CALLOUT_JUMP;
}

static enum callout_result deliver_to_task(struct vcpu *v, const struct event *e,
                                           uint32_t selector) {
    const struct task_switch s = {
        .entry = TASK_CALL,
        .selector = selector,
        .ext = ext_of(e),
        .return_eip = e->return_eip,
        .image_flags = e->image_flags,
        .has_error = e->has_error,
        .error = e->error,
    };
    return task_switch(v, &s);
}

static enum callout_result deliver_protected(struct vcpu *v, const struct event *e) {
    struct cpu *cpu = &v->cpu;
    struct gate gate = {.unit = 0};
    struct descriptor code;
    enum callout_result result = fetch_gate(v, e, &gate);
    if (result != CALLOUT_NEXT)
        return result;
    if (gate.is_task)
        return deliver_to_task(v, e, gate.selector);
    if (!fetch_code(v, e, gate.selector, &code))
        return CALLOUT_FAULT;

    unsigned cpl = cpu_cpl(cpu);
    uint32_t ext = ext_of(e);
    bool inner = !descriptor_is_conforming(&code) && descriptor_dpl(&code) < cpl;
    struct segment inner_ss;
    const struct segment *ss = &cpu->seg[SEG_SS];
    uint32_t esp = cpu->gpr[ESP];
    if (inner) {
        cpl = descriptor_dpl(&code);
        if (!transfer_inner_stack(v, cpl, ext, &inner_ss, &esp))
            return CALLOUT_FAULT;
        ss = &inner_ss;
    }

    uint32_t items[FRAME_ITEMS_MAX];
    uint32_t count = build_frame(cpu, e, inner, items);
    uint32_t len = stack_pack(items, count, gate.unit);
    uint32_t ss_error = inner ? selector_error(inner_ss.selector, ext) : ext;
    if (!stack_check(v, ss, esp - len, len, gate.unit, ss_error))
        return CALLOUT_FAULT;
    if (gate.offset > descriptor_limit(&code))
        return fault_raise_gp(v, ext);
    if (!descriptor_set_accessed(v, &code) ||
        !stack_write(v, ss, esp - len, items, len, gate.unit, ss_error, inner))
        return CALLOUT_FAULT;
    if (inner) {
        cpu->seg[SEG_SS] = inner_ss;
        cpu->gpr[ESP] = esp;
    }
    stack_set_pointer(cpu, esp - len);
    return enter_handler(v, &gate, &code, cpl);
}

static void count_event(struct counters *counters, enum delivery kind) {
    if (kind == DELIVER_EXCEPTION)
        counters->exceptions++;
    else if (kind == DELIVER_SOFTWARE)
        counters->soft_interrupts++;
    else
        counters->interrupts++;
}

enum callout_result event_deliver(struct vcpu *v, const struct event *e) {
    struct cpu *cpu = &v->cpu;
    assert(!e->has_error || e->kind == DELIVER_EXCEPTION);
    enum callout_result result =
        cpu_is_protected(cpu) ? deliver_protected(v, e) : real_deliver(v, e->vector, e->return_eip);
    if (result != CALLOUT_JUMP)
        return result;
    count_event(v->counters, e->kind);
    TRACE(v->trace, deliver, e->kind, e->vector, e->error, e->return_eip, cpu->gpr[EAX]);
    cpu->halted = cpu->debug_shadow = false;
    cpu->interrupt_shadow = 0;
    if (e->kind == DELIVER_EXTERNAL && e->vector == VEC_NMI)
        cpu->nmi_blocked = true;
    return CALLOUT_JUMP;
}

enum callout_result interrupt_deliver(struct vcpu *v, uint8_t vector, enum delivery kind,
                                      uint32_t return_eip, bool has_error, uint32_t error) {
    const struct event event = {
        .vector = vector,
        .kind = kind,
        .has_error = has_error,
        .error = error,
        .return_eip = return_eip,
    };
    return event_deliver(v, &event);
}
