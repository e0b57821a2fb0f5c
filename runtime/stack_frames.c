/* PUSHA and POPA (SDM vol. 2) where slots wrap or are checked one by one. As on processors, a fault
 * half way leaves what was pushed below ESP, or what was popped in the registers, and ESP as it
 * was: the instruction can be done again. */
#include "runtime/callout_support.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"
#include "runtime/stack.h"

#define FRAME_SLOTS 8u

/* The linear address of the slot at SP + `skip`. False: v->fault. */
static bool locate_slot(struct vcpu *v, uint32_t skip, uint32_t unit, bool write, gva_t *at) {
    uint32_t offset = (v->cpu.gpr[ESP] + skip) & stack_mask(&v->cpu.seg[SEG_SS]);
    return segment_access(v, SEG_SS, offset, unit, write, at);
}

enum callout_result callout_pusha(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg);
    gva_t at;
    for (unsigned gpr = EAX; gpr <= EDI; gpr++)
        if (!locate_slot(v, 0u - (gpr + 1) * unit, unit, true, &at) ||
            !guest_write(v, at, &cpu->gpr[gpr], unit, false))
            return CALLOUT_FAULT;
    stack_set_pointer(cpu, cpu->gpr[ESP] - FRAME_SLOTS * unit);
    return CALLOUT_NEXT;
}

enum callout_result callout_popa(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg);
    gva_t at;
    for (uint32_t i = 0; i < FRAME_SLOTS; i++) {
        unsigned gpr = EDI - i;
        uint32_t item = cpu->gpr[gpr];
        if (!locate_slot(v, i * unit, unit, false, &at) || !guest_read(v, at, &item, unit, false))
            return CALLOUT_FAULT;
        if (gpr != ESP) /* its slot is read for nothing */
            cpu->gpr[gpr] = item;
    }
    stack_set_pointer(cpu, cpu->gpr[ESP] + FRAME_SLOTS * unit);
    return CALLOUT_NEXT;
}
