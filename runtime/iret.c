/* IRET (SDM vol. 2, "IRET/IRETD: Operation"): to the same level and to an outer one. Real mode,
 * virtual-8086 mode and nested tasks have files of their own.
 *
 * Runs at the end of every interrupt and of every system call by INT 80h. All that can fault comes
 * before the first register changes. */
#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/real_mode.h"
#include "runtime/stack.h"
#include "runtime/task_switch.h"
#include "runtime/transfer.h"
#include "runtime/virtual_8086.h"

enum { FRAME_EIP, FRAME_CS, FRAME_EFLAGS, FRAME_ESP, FRAME_SS, FRAME_ITEMS };
#define FRAME_SAME 3 /* items of a return to the same level */

/* What the flags image may change, by the privilege level that executes IRET. */
static uint32_t writable_flags(const struct cpu *cpu, unsigned cpl, uint32_t unit) {
    uint32_t mask = FL_HOST | FL_TF | FL_NT;
    if (unit == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    if (cpl <= cpu_iopl(cpu))
        mask |= FL_IF;
    if (cpl == 0)
        mask |= FL_IOPL | (unit == 4 ? FL_VIF | FL_VIP : 0);
    return mask;
}

static enum callout_result return_outer(struct vcpu *v, const uint32_t *frame, uint32_t unit,
                                        struct descriptor *code) {
    struct cpu *cpu = &v->cpu;
    unsigned cpl = selector_rpl(frame[FRAME_CS]);
    uint32_t mask = writable_flags(cpu, cpu_cpl(cpu), unit);
    uint32_t ss = frame[FRAME_SS] & 0xffffu;
    struct descriptor stack;
    if (!transfer_return_stack(v, ss, cpl, &stack))
        return CALLOUT_FAULT;
    if (frame[FRAME_EIP] > descriptor_limit(code))
        return fault_raise_gp(v, 0);
    if (!descriptor_set_accessed(v, code) || !descriptor_set_accessed(v, &stack))
        return CALLOUT_FAULT;
    segment_set(cpu, SEG_CS, frame[FRAME_CS] & 0xffffu, code);
    transfer_load_stack(cpu, ss, &stack, frame[FRAME_ESP]);
    transfer_drop_segments(cpu, cpl);
    return transfer_finish_return(v, frame[FRAME_EIP], frame[FRAME_EFLAGS], mask, cpl);
}

static enum callout_result return_same(struct vcpu *v, const uint32_t *frame, uint32_t unit,
                                       struct descriptor *code) {
    struct cpu *cpu = &v->cpu;
    unsigned cpl = cpu_cpl(cpu);
    if (frame[FRAME_EIP] > descriptor_limit(code))
        return fault_raise_gp(v, 0);
    if (!descriptor_set_accessed(v, code))
        return CALLOUT_FAULT;
    stack_set_pointer(cpu, cpu->gpr[ESP] + FRAME_SAME * unit);
    segment_set(cpu, SEG_CS, frame[FRAME_CS] & 0xffffu, code);
    uint32_t mask = writable_flags(cpu, cpl, unit);
    return transfer_finish_return(v, frame[FRAME_EIP], frame[FRAME_EFLAGS], mask, cpl);
}

/* IRET does so even when it faults (SDM vol. 3C, 26.2, "NMI unblocking due to IRET"). */
static void unblock_nmi(struct cpu *cpu) {
    cpu->nmi_blocked = false;
    if (cpu->nmi_pending)
        cpu->attention = 1;
}

enum callout_result callout_iret(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg);
    uint32_t frame[FRAME_ITEMS];
    struct descriptor code;
    if (cpu->nmi_blocked)
        unblock_nmi(cpu);
    if (!cpu_is_protected(cpu))
        return real_return(v, unit);
    if (cpu->mode & MODE_VM86)
        return v86_return(v, unit);
    if (cpu->sys_flags & FL_NT)
        return task_return(v);
    if (!stack_read(v, 0, frame, FRAME_SAME * unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(frame, FRAME_SAME, unit);
    if (unit == 4 && (frame[FRAME_EFLAGS] & FL_VM) && cpu_cpl(cpu) == 0)
        return v86_enter(v, frame);
    if (!transfer_return_code(v, frame[FRAME_CS] & 0xffffu, &code))
        return CALLOUT_FAULT;
    if (selector_rpl(frame[FRAME_CS]) == cpu_cpl(cpu))
        return return_same(v, frame, unit, &code);
    uint32_t *outer = &frame[FRAME_ESP];
    if (!stack_read(v, FRAME_SAME * unit, outer, 2 * unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(outer, 2, unit);
    return return_outer(v, frame, unit, &code);
}
