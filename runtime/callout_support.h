/* What most callout handlers begin and end with. */
#ifndef RING3_RUNTIME_CALLOUT_SUPPORT_H
#define RING3_RUNTIME_CALLOUT_SUPPORT_H

#include "runtime/system.h"

static inline bool callout_is_16bit(uint32_t arg) { return arg & CALLOUT_ARG16; }
/* The operand size in bytes. */
static inline uint32_t callout_unit(uint32_t arg) { return callout_is_16bit(arg) ? 2 : 4; }

static inline unsigned cpu_iopl(const struct cpu *cpu) { return cpu->sys_flags >> 12 & 3u; }
static inline bool cpu_is_protected(const struct cpu *cpu) { return cpu->paging.cr0 & CR0_PE; }
/* Do selectors name descriptors? Not in real and virtual-8086 mode, where they are addresses. */
static inline bool cpu_has_descriptors(const struct cpu *cpu) {
    return cpu_is_protected(cpu) && !(cpu->mode & MODE_VM86);
}

/* EFLAGS.IF, for instructions that privilege keeps from it (SDM vol. 3A, 20.3.2 and 20.4). */
enum if_access {
    IF_ITSELF,
    IF_VIRTUAL, /* VIF stands for it */
    IF_TRAPPED, /* #GP(0) */
};
static inline enum if_access cpu_if_access(const struct cpu *cpu) {
    unsigned cpl = cpu_cpl(cpu); /* 3 in virtual-8086 mode */
    if (cpl <= cpu_iopl(cpu))
        return IF_ITSELF;
    uint32_t virtual = cpu->mode & MODE_VM86 ? CR4_VME : CR4_PVI;
    return cpl == 3 && (cpu->paging.cr4 & virtual) ? IF_VIRTUAL : IF_TRAPPED;
}

/* After IF may have been set: an interrupt that waits must be seen. */
static inline void cpu_check_interrupts(struct cpu *cpu) {
    if (cpu->iflag && cpu->irq_pending)
        cpu->attention = 1;
}

/* The instruction is done; execution leaves the fragment. */
static inline enum callout_result callout_jump(struct vcpu *v, uint32_t eip) {
    v->cpu.eip = eip;
    return CALLOUT_JUMP;
}

/* A repeated string instruction stops between two elements, for an interrupt or a trap. RF is set
 * in what that pushes, and keeps the instruction's breakpoint from being hit once more (SDM vol. 3B,
 * 17.3.1.1). */
static inline enum callout_result callout_repeat(struct vcpu *v) {
    v->cpu.sys_flags |= FL_RF;
    return CALLOUT_JUMP;
}

/* The instruction is done and may have changed the mode: the fragment goes on only when what it
 * was translated for still holds. */
static inline enum callout_result callout_continue(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    uint32_t before = cpu->mode;
    cpu_update_mode(cpu, before & MODE_CPL);
    return cpu->mode == before ? CALLOUT_NEXT : callout_jump(v, cpu->next_eip);
}

/* The same where segments and flags only have changed: both mark the mode when it does not hold. */
static inline enum callout_result callout_continue_if_clean(struct vcpu *v) {
    return v->cpu.mode_dirty ? callout_continue(v) : CALLOUT_NEXT;
}

static inline void cpu_set_zf(struct cpu *cpu, bool set) {
    cpu->flags = set ? cpu->flags | FL_ZF : cpu->flags & ~FL_ZF;
}

#endif
