/* One event through the IDT (SDM vol. 3A, 6.12; vol. 2, INT n: "Operation").
 *
 * Runs at every interrupt, fault and INT 80h, so it is straight-line: one read each for the
 * gate, the code descriptor, the TSS's stack and its descriptor, and one write for the frame.
 * Every check comes before the frame, the frame before the first register changes. */
#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/stack.h"
#include "runtime/transfer.h"

struct event {
    uint8_t vector;
    bool software; /* INT n, INT3, INTO: the gate's DPL counts */
    bool has_error;
    uint32_t error;
    uint32_t ext; /* of the error codes of faults during delivery */
    uint32_t return_eip;
};

struct gate {
    uint16_t selector;
    bool clears_if; /* an interrupt gate, not a trap gate */
    uint32_t unit;  /* size of the items that it pushes */
    uint32_t offset;
};

#define FRAME_ITEMS_MAX 6

/* CALLOUT_NEXT: `gate` is good. */
static enum callout_result fetch_gate(struct vcpu *v, const struct event *e, struct gate *gate) {
    const struct table_register *idt = &v->cpu.idt;
    uint32_t offset = e->vector * 8u, error = offset | ERROR_IDT | e->ext;
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
    if (e->software && descriptor_dpl(&d) < cpu_cpl(&v->cpu))
        return fault_raise_gp(v, error);
    if (!descriptor_present(&d))
        return fault_raise_error(v, VEC_NP, error);
    if (is_task)
        return vcpu_refuse(v, "a task gate in the IDT");
    bool wide = type & 8u;
    gate->selector = gate_selector(&d);
    gate->offset = gate_offset(&d, wide);
    gate->clears_if = !(type & 1u);
    gate->unit = wide ? 4 : 2;
    return CALLOUT_NEXT;
}

/* The handler's code segment. False: v->fault. */
static bool fetch_code(struct vcpu *v, const struct event *e, uint32_t selector,
                       struct descriptor *code) {
    if (selector_is_null(selector)) {
        fault_raise_gp(v, e->ext);
        return false;
    }
    if (!descriptor_fetch(v, selector, VEC_GP, e->ext, code))
        return false;
    if (!descriptor_is_code(code) || descriptor_dpl(code) > cpu_cpl(&v->cpu)) {
        fault_raise_gp(v, selector_error(selector, e->ext));
        return false;
    }
    if (!descriptor_present(code)) {
        fault_raise_error(v, VEC_NP, selector_error(selector, e->ext));
        return false;
    }
    return true;
}

/* Fills `items` from the top of the stack upwards; returns how many. */
static uint32_t build_frame(const struct cpu *cpu, const struct event *e, bool inner,
                            uint32_t *items) {
    uint32_t count = 0;
    if (e->has_error)
        items[count++] = e->error;
    items[count++] = e->return_eip;
    items[count++] = cpu->seg[SEG_CS].selector;
    items[count++] = cpu_eflags(cpu);
    if (inner) {
        items[count++] = cpu->gpr[ESP];
        items[count++] = cpu->seg[SEG_SS].selector;
    }
    assert(count <= FRAME_ITEMS_MAX);
    return count;
}

/* Nothing can fault any more: the registers of the handler's first instruction. */
static enum callout_result enter_handler(struct vcpu *v, const struct gate *gate,
                                         const struct descriptor *code, unsigned cpl) {
    struct cpu *cpu = &v->cpu;
    assert(cpl <= cpu_cpl(cpu)); /* events never lead outwards */
    segment_set(cpu, SEG_CS, (gate->selector & ~3u) | cpl, code);
    cpu->sys_flags &= ~(FL_TF | FL_NT | FL_RF | FL_VM);
    if (gate->clears_if)
        cpu->iflag = 0;
    cpu->eip = gate->offset;
    cpu_update_mode(cpu, cpl);
    return CALLOUT_JUMP;
}

static enum callout_result deliver_protected(struct vcpu *v, const struct event *e) {
    struct cpu *cpu = &v->cpu;
    struct gate gate = {.unit = 0};
    struct descriptor code;
    enum callout_result result = fetch_gate(v, e, &gate);
    if (result != CALLOUT_NEXT)
        return result;
    if (!fetch_code(v, e, gate.selector, &code))
        return CALLOUT_FAULT;

    unsigned cpl = cpu_cpl(cpu);
    bool inner = !descriptor_is_conforming(&code) && descriptor_dpl(&code) < cpl;
    struct segment inner_ss;
    const struct segment *ss = &cpu->seg[SEG_SS];
    uint32_t esp = cpu->gpr[ESP];
    if (inner) {
        cpl = descriptor_dpl(&code);
        if (!transfer_inner_stack(v, cpl, e->ext, &inner_ss, &esp))
            return CALLOUT_FAULT;
        ss = &inner_ss;
    }
    if (gate.offset > descriptor_limit(&code))
        return fault_raise_gp(v, e->ext);
    if (!descriptor_set_accessed(v, &code))
        return CALLOUT_FAULT;

    uint32_t items[FRAME_ITEMS_MAX];
    uint32_t count = build_frame(cpu, e, inner, items);
    uint32_t len = stack_pack(items, count, gate.unit);
    uint32_t ss_error = inner ? selector_error(inner_ss.selector, e->ext) : e->ext;
    if (!stack_write(v, ss, esp - len, items, len, gate.unit, ss_error, inner))
        return CALLOUT_FAULT;
    if (inner) {
        cpu->seg[SEG_SS] = inner_ss;
        cpu->gpr[ESP] = esp;
    }
    stack_set_pointer(cpu, esp - len);
    return enter_handler(v, &gate, &code, cpl);
}

/* Real mode: a table of far pointers and three words on the stack (SDM vol. 3B, 21.1.4). */
static enum callout_result deliver_real(struct vcpu *v, const struct event *e) {
    struct cpu *cpu = &v->cpu;
    uint32_t offset = e->vector * 4u, target;
    if (offset + 3 > cpu->idt.limit)
        return fault_raise_gp(v, 0);
    if (!guest_read32(v, cpu->idt.base + offset, &target, true))
        return CALLOUT_FAULT;
    uint32_t items[3] = {e->return_eip, cpu->seg[SEG_CS].selector, cpu_eflags(cpu)};
    uint32_t len = stack_pack(items, 3, 2), esp = cpu->gpr[ESP] - len;
    if (!stack_write(v, &cpu->seg[SEG_SS], esp, items, len, 2, 0, false))
        return CALLOUT_FAULT;
    stack_set_pointer(cpu, esp);
    segment_set_real(cpu, SEG_CS, target >> 16);
    cpu->sys_flags &= ~(FL_TF | FL_AC | FL_RF);
    cpu->iflag = 0;
    cpu->eip = target & 0xffffu;
    cpu_update_mode(cpu, 0);
    return CALLOUT_JUMP;
}

static void count_event(struct counters *counters, enum delivery kind) {
    if (kind == DELIVER_EXCEPTION)
        counters->exceptions++;
    else if (kind == DELIVER_SOFTWARE)
        counters->soft_interrupts++;
    else
        counters->interrupts++;
}

enum callout_result interrupt_deliver(struct vcpu *v, uint8_t vector, enum delivery kind,
                                      uint32_t return_eip, bool has_error, uint32_t error) {
    struct cpu *cpu = &v->cpu;
    const struct event event = {
        .vector = vector,
        .software = kind == DELIVER_SOFTWARE,
        .has_error = has_error,
        .error = error,
        .ext = kind == DELIVER_SOFTWARE ? 0 : ERROR_EXT,
        .return_eip = return_eip,
    };
    assert(!has_error || kind == DELIVER_EXCEPTION);
    if (cpu->mode & MODE_VM86)
        return vcpu_refuse(v, "an interrupt from virtual-8086 mode");
    enum callout_result result =
        cpu_is_protected(cpu) ? deliver_protected(v, &event) : deliver_real(v, &event);
    if (result != CALLOUT_JUMP)
        return result;
    count_event(v->counters, kind);
    cpu->halted = cpu->debug_shadow = false;
    cpu->interrupt_shadow = 0;
    cpu->interrupt_shadow = 0;
    if (kind == DELIVER_EXTERNAL && vector == VEC_NMI)
        cpu->nmi_blocked = true;
    return CALLOUT_JUMP;
}
