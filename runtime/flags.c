/* PUSHF, POPF, CLI and STI where IOPL decides (SDM vol. 2, POPF: tables 4-16 and 4-17; vol.
 * 3A, 6.8.1, 20.3.2 and 20.4). */
#include "runtime/callout_support.h"
#include "runtime/stack.h"

/* Of PUSHF and POPF. Outside virtual-8086 mode IOPL decides about single flags only. */
static enum if_access image_access(const struct cpu *cpu, uint32_t unit) {
    if (!(cpu->mode & MODE_VM86))
        return IF_ITSELF;
    enum if_access access = cpu_if_access(cpu);
    return access == IF_VIRTUAL && unit == 4 ? IF_TRAPPED : access;
}

/* For virtual-8086 mode; elsewhere fragments push the image themselves. */
enum callout_result callout_pushf(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), image = cpu_eflags(cpu) & ~(FL_VM | FL_RF);
    enum if_access access = image_access(cpu, unit);
    if (access == IF_TRAPPED)
        return fault_raise_gp(v, 0);
    if (access == IF_VIRTUAL)
        image = (image & ~FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
    uint32_t esp = cpu->gpr[ESP] - unit;
    if (!stack_write(v, &cpu->seg[SEG_SS], esp, &image, unit, unit, 0, false))
        return CALLOUT_FAULT;
    stack_set_pointer(cpu, esp);
    return CALLOUT_NEXT;
}

static uint32_t popf_mask(const struct cpu *cpu, uint32_t unit) {
    uint32_t mask = FL_HOST | FL_TF | FL_NT | FL_RF;
    if (cpu_cpl(cpu) <= cpu_iopl(cpu))
        mask |= FL_IF;
    if (cpu_cpl(cpu) == 0)
        mask |= FL_IOPL;
    return unit == 4 ? mask | FL_AC | FL_ID : mask;
}

enum callout_result callout_popf(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), image, mask = popf_mask(cpu, unit);
    enum if_access access = image_access(cpu, unit);
    if (access == IF_TRAPPED)
        return fault_raise_gp(v, 0);
    if (!stack_read(v, 0, &image, unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(&image, 1, unit);
    image &= ~FL_RF; /* cleared, whatever the image says */
    if (access == IF_VIRTUAL) {
        if ((image & FL_TF) || ((image & FL_IF) && (cpu->sys_flags & FL_VIP)))
            return fault_raise_gp(v, 0);
        image = (image & ~FL_VIF) | (image & FL_IF ? FL_VIF : 0);
        mask |= FL_VIF;
    }
    stack_set_pointer(cpu, cpu->gpr[ESP] + unit);
    cpu_set_eflags(cpu, image, mask);
    cpu_check_interrupts(cpu);
    return callout_continue_if_clean(v);
}

enum callout_result callout_cli(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    enum if_access access = cpu_if_access(cpu);
    if (access == IF_TRAPPED)
        return fault_raise_gp(v, 0);
    if (access == IF_VIRTUAL)
        cpu->sys_flags &= ~FL_VIF;
    else
        cpu->iflag = 0;
    return CALLOUT_NEXT;
}

enum callout_result callout_sti(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    enum if_access access = cpu_if_access(cpu);
    if (access == IF_TRAPPED || (access == IF_VIRTUAL && (cpu->sys_flags & FL_VIP)))
        return fault_raise_gp(v, 0);
    if (access == IF_VIRTUAL) {
        cpu->sys_flags |= FL_VIF;
        return CALLOUT_NEXT;
    }
    if (!cpu->iflag)
        cpu->interrupt_shadow = true;
    cpu->iflag = FL_IF;
    cpu_check_interrupts(cpu);
    return CALLOUT_NEXT;
}
