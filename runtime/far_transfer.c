/* Far CALL, JMP and RET (SDM vol. 2, their "Operation" sections).
 *
 * A far pointer names a code segment or a gate. Code segments are entered at the same privilege
 * level only; a call gate leads inwards, on the stack that the TSS names, with parameters copied
 * across; a task gate or a task state segment switches tasks (task_switch.c). Everything that can
 * fault comes before the frame is written, and the frame before the first register changes. */
#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/real_mode.h"
#include "runtime/segment_access.h"
#include "runtime/stack.h"
#include "runtime/task_switch.h"
#include "runtime/transfer.h"

enum far_kind { FAR_CALL, FAR_JMP };

struct far_pointer {
    uint32_t selector, offset;
    uint32_t unit; /* operand size: of the offset, and of what a call pushes */
};

#define PARAMETERS_MAX 31

static enum callout_result raise_selector(struct vcpu *v, enum vector vector, uint32_t selector) {
    return fault_raise_error(v, vector, selector_error(selector, 0));
}

/* Loads CS:EIP once nothing can fault any more. The level changes only through gates. */
static enum callout_result enter(struct vcpu *v, const struct far_pointer *to,
                                 const struct descriptor *code, unsigned cpl) {
    segment_set(&v->cpu, SEG_CS, (to->selector & ~3u) | cpl, code);
    v->cpu.eip = to->offset;
    cpu_update_mode(&v->cpu, cpl);
    return CALLOUT_JUMP;
}

/* A target at the current level: pushes the return address of a call, checks EIP, and goes. In this
 * order, on processors: memory below ESP may have changed when EIP is found to be bad. */
static enum callout_result transfer_same(struct vcpu *v, enum far_kind kind,
                                         const struct far_pointer *to, struct descriptor *code) {
    struct cpu *cpu = &v->cpu;
    uint32_t esp = cpu->gpr[ESP];
    if (kind == FAR_CALL) {
        uint32_t items[2] = {cpu->next_eip, cpu->seg[SEG_CS].selector};
        uint32_t len = stack_pack(items, 2, to->unit);
        esp -= len;
        if (!stack_write(v, &cpu->seg[SEG_SS], esp, items, len, to->unit, 0, false))
            return CALLOUT_FAULT;
    }
    if (to->offset > descriptor_limit(code))
        return fault_raise_gp(v, 0);
    if (!descriptor_set_accessed(v, code))
        return CALLOUT_FAULT;
    stack_set_pointer(cpu, esp);
    return enter(v, to, code, cpu_cpl(cpu));
}

static enum callout_result transfer_to_code(struct vcpu *v, enum far_kind kind,
                                            const struct far_pointer *to, struct descriptor *code) {
    unsigned cpl = cpu_cpl(&v->cpu), dpl = descriptor_dpl(code);
    bool allowed = descriptor_is_conforming(code) ? dpl <= cpl
                                                  : dpl == cpl && selector_rpl(to->selector) <= cpl;
    if (!allowed)
        return raise_selector(v, VEC_GP, to->selector);
    if (!descriptor_present(code))
        return raise_selector(v, VEC_NP, to->selector);
    return transfer_same(v, kind, to, code);
}

/* A call through a gate to an inner level. Frame, from the top: return address, parameters,
 * the outer stack. */
static enum callout_result call_inner(struct vcpu *v, const struct far_pointer *to,
                                      struct descriptor *code, uint32_t parameters) {
    struct cpu *cpu = &v->cpu;
    unsigned cpl = descriptor_dpl(code);
    assert(parameters <= PARAMETERS_MAX && cpl < cpu_cpl(cpu));
    uint32_t items[PARAMETERS_MAX + 4], esp;
    struct segment ss;
    if (!transfer_inner_stack(v, cpl, 0, &ss, &esp))
        return CALLOUT_FAULT;
    uint32_t len = (parameters + 4) * to->unit, ss_error = selector_error(ss.selector, 0);
    if (!stack_check(v, &ss, esp - len, len, to->unit, ss_error))
        return CALLOUT_FAULT;
    if (to->offset > descriptor_limit(code))
        return fault_raise_gp(v, 0);
    if (parameters && !stack_read(v, 0, &items[2], parameters * to->unit, to->unit))
        return CALLOUT_FAULT;
    stack_unpack(&items[2], parameters, to->unit);
    items[0] = cpu->next_eip;
    items[1] = cpu->seg[SEG_CS].selector;
    items[2 + parameters] = cpu->gpr[ESP];
    items[3 + parameters] = cpu->seg[SEG_SS].selector;
    stack_pack(items, parameters + 4, to->unit);
    if (!descriptor_set_accessed(v, code) ||
        !stack_write(v, &ss, esp - len, items, len, to->unit, ss_error, true))
        return CALLOUT_FAULT;
    cpu->seg[SEG_SS] = ss;
    cpu->gpr[ESP] = esp;
    stack_set_pointer(cpu, esp - len);
    return enter(v, to, code, cpl);
}

static enum callout_result transfer_to_gate(struct vcpu *v, enum far_kind kind, uint32_t selector,
                                            const struct descriptor *gate) {
    unsigned cpl = cpu_cpl(&v->cpu);
    bool wide = descriptor_type(gate) == SYSTEM_CALL_GATE32;
    struct far_pointer to = {gate_selector(gate), gate_offset(gate, wide), wide ? 4 : 2};
    struct descriptor code;
    if (descriptor_dpl(gate) < cpl || descriptor_dpl(gate) < selector_rpl(selector))
        return raise_selector(v, VEC_GP, selector);
    if (!descriptor_present(gate))
        return raise_selector(v, VEC_NP, selector);
    if (selector_is_null(to.selector))
        return fault_raise_gp(v, 0);
    if (!descriptor_fetch(v, to.selector, VEC_GP, 0, &code))
        return CALLOUT_FAULT;
    unsigned dpl = descriptor_dpl(&code);
    bool conforming = descriptor_is_conforming(&code);
    if (!descriptor_is_code(&code) || dpl > cpl || (kind == FAR_JMP && !conforming && dpl != cpl))
        return raise_selector(v, VEC_GP, to.selector);
    if (!descriptor_present(&code))
        return raise_selector(v, VEC_NP, to.selector);
    if (conforming || dpl == cpl)
        return transfer_same(v, kind, &to, &code);
    return call_inner(v, &to, &code, gate->high & 31u);
}

static enum callout_result transfer_to_task(struct vcpu *v, enum far_kind kind, uint32_t selector) {
    const struct task_switch s = {
        .entry = kind == FAR_CALL ? TASK_CALL : TASK_JMP,
        .selector = selector,
        .return_eip = v->cpu.next_eip,
    };
    return task_switch(v, &s);
}

/* A task gate, or the TSS itself: both are there for the levels that their DPL says. */
static enum callout_result transfer_to_task_descriptor(struct vcpu *v, enum far_kind kind,
                                                       uint32_t selector,
                                                       const struct descriptor *d) {
    bool gate = descriptor_type(d) == SYSTEM_TASK_GATE;
    unsigned dpl = descriptor_dpl(d);
    if (dpl < cpu_cpl(&v->cpu) || dpl < selector_rpl(selector))
        return raise_selector(v, VEC_GP, selector);
    if (gate && !descriptor_present(d))
        return raise_selector(v, VEC_NP, selector);
    return transfer_to_task(v, kind, gate ? gate_selector(d) : selector);
}

static enum callout_result transfer_protected(struct vcpu *v, enum far_kind kind,
                                              const struct far_pointer *to) {
    struct descriptor d;
    if (selector_is_null(to->selector))
        return fault_raise_gp(v, 0);
    if (!descriptor_fetch(v, to->selector, VEC_GP, 0, &d))
        return CALLOUT_FAULT;
    if (descriptor_is_code(&d))
        return transfer_to_code(v, kind, to, &d);
    if (!descriptor_is_system(&d))
        return raise_selector(v, VEC_GP, to->selector);
    switch (descriptor_type(&d)) {
    case SYSTEM_CALL_GATE16:
    case SYSTEM_CALL_GATE32:
        return transfer_to_gate(v, kind, to->selector, &d);
    case SYSTEM_TASK_GATE:
    case SYSTEM_TSS16:
    case SYSTEM_TSS32:
        return transfer_to_task_descriptor(v, kind, to->selector, &d);
    default: /* busy task state segments among them */
        return raise_selector(v, VEC_GP, to->selector);
    }
}

static enum callout_result transfer(struct vcpu *v, enum far_kind kind, uint32_t selector,
                                    uint32_t offset, uint32_t unit) {
    const struct far_pointer to = {
        .selector = selector & 0xffffu,
        .offset = unit == 2 ? offset & 0xffffu : offset,
        .unit = unit,
    };
    if (!cpu_has_descriptors(&v->cpu))
        return real_transfer(v, kind == FAR_CALL, to.selector, to.offset, unit);
    return transfer_protected(v, kind, &to);
}

/* The pointer is copied once, then used. */
static enum callout_result transfer_through_memory(struct vcpu *v, enum far_kind kind, uint32_t arg,
                                                   gva_t gva) {
    uint32_t offset, unit = callout_unit(arg);
    uint16_t selector;
    if (!segment_read_pointer(v, CALLOUT_POINTER_SEGMENT(arg), gva, unit, &offset, &selector))
        return CALLOUT_FAULT;
    return transfer(v, kind, selector, offset, unit);
}

enum callout_result callout_call_far(struct vcpu *v, uint32_t arg, uint32_t operand) {
    return transfer(v, FAR_CALL, arg, operand, callout_unit(arg));
}

enum callout_result callout_call_far_mem(struct vcpu *v, uint32_t arg, uint32_t operand) {
    return transfer_through_memory(v, FAR_CALL, arg, operand);
}

enum callout_result callout_jmp_far(struct vcpu *v, uint32_t arg, uint32_t operand) {
    return transfer(v, FAR_JMP, arg, operand, callout_unit(arg));
}

enum callout_result callout_jmp_far_mem(struct vcpu *v, uint32_t arg, uint32_t operand) {
    return transfer_through_memory(v, FAR_JMP, arg, operand);
}

/* The parameters are released on both stacks. */
static enum callout_result return_outer(struct vcpu *v, const struct far_pointer *to,
                                        struct descriptor *code, uint32_t release) {
    struct cpu *cpu = &v->cpu;
    uint32_t outer[2], unit = to->unit;
    unsigned cpl = selector_rpl(to->selector);
    assert(cpl > cpu_cpl(cpu));
    struct descriptor stack;
    if (!stack_read(v, 2 * unit + release, outer, 2 * unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(outer, 2, unit);
    if (!transfer_return_stack(v, outer[1] & 0xffffu, cpl, &stack))
        return CALLOUT_FAULT;
    if (to->offset > descriptor_limit(code))
        return fault_raise_gp(v, 0);
    if (!descriptor_set_accessed(v, code) || !descriptor_set_accessed(v, &stack))
        return CALLOUT_FAULT;
    transfer_load_stack(cpu, outer[1] & 0xffffu, &stack, outer[0] + release);
    enum callout_result result = enter(v, to, code, cpl);
    transfer_drop_segments(cpu, cpl);
    cpu_update_mode(cpu, cpl);
    return result;
}

enum callout_result callout_ret_far(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), release = arg & 0xffffu, frame[2];
    struct descriptor code;
    if (!cpu_has_descriptors(cpu))
        return real_return_far(v, unit, release);
    if (!stack_read(v, 0, frame, 2 * unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(frame, 2, unit);
    const struct far_pointer to = {frame[1] & 0xffffu, frame[0], unit};
    if (!transfer_return_code(v, to.selector, &code))
        return CALLOUT_FAULT;
    if (selector_rpl(to.selector) != cpu_cpl(cpu))
        return return_outer(v, &to, &code, release);
    if (to.offset > descriptor_limit(&code))
        return fault_raise_gp(v, 0);
    if (!descriptor_set_accessed(v, &code))
        return CALLOUT_FAULT;
    stack_set_pointer(cpu, cpu->gpr[ESP] + 2 * unit + release);
    return enter(v, &to, &code, cpu_cpl(cpu));
}
