/* POPF, CLI and STI where IOPL decides (SDM vol. 2, POPF: tables 4-16 and 4-17; vol. 3A, 6.8.1). */
#include "runtime/callout_support.h"
#include "runtime/stack.h"

/* In virtual-8086 mode they need IOPL 3; VME is not offered. */
static bool is_trapped_in_vm86(const struct cpu *cpu) {
    return (cpu->mode & MODE_VM86) && cpu_iopl(cpu) < 3;
}

enum callout_result callout_popf(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), image;
    if (is_trapped_in_vm86(cpu))
        return fault_raise_gp(v, 0);
    if (!stack_read(v, 0, &image, unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(&image, 1, unit);
    uint32_t mask = FL_HOST | FL_TF | FL_NT;
    if (cpu_cpl(cpu) <= cpu_iopl(cpu))
        mask |= FL_IF;
    if (cpu_cpl(cpu) == 0)
        mask |= FL_IOPL;
    if (unit == 4) {
        mask |= FL_AC | FL_ID | FL_RF;
        image &= ~FL_RF; /* POPFD clears it, whatever the image says */
    }
    stack_set_pointer(cpu, cpu->gpr[ESP] + unit);
    cpu_set_eflags(cpu, image, mask);
    cpu_check_interrupts(cpu);
    return callout_continue(v);
}

static bool may_change_if(const struct cpu *cpu) {
    return cpu_cpl(cpu) <= cpu_iopl(cpu) && !is_trapped_in_vm86(cpu);
}

enum callout_result callout_cli(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    if (!may_change_if(&v->cpu))
        return fault_raise_gp(v, 0);
    v->cpu.iflag = 0;
    return CALLOUT_NEXT;
}

enum callout_result callout_sti(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    if (!may_change_if(cpu))
        return fault_raise_gp(v, 0);
    if (!cpu->iflag)
        cpu->interrupt_shadow = true;
    cpu->iflag = FL_IF;
    cpu_check_interrupts(cpu);
    return CALLOUT_NEXT;
}
