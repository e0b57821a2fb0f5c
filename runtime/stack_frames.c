/* PUSHA and POPA (SDM vol. 2) where slots wrap or are checked one by one: every slot is checked
 * before the first changes. */
#include "runtime/callout_support.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"
#include "runtime/stack.h"

#define FRAME_SLOTS 8u
#define SP_SLOT 3u /* from the frame's lowest address */

/* Linear addresses of the slots from SP + `skip` on. False: v->fault. */
static bool locate_slots(struct vcpu *v, int32_t skip, uint32_t unit, bool write, gva_t *slots) {
    uint32_t mask = stack_mask(&v->cpu.seg[SEG_SS]);
    for (uint32_t i = 0; i < FRAME_SLOTS; i++) {
        uint32_t offset = (v->cpu.gpr[ESP] + (uint32_t)skip + i * unit) & mask;
        if (!segment_access(v, SEG_SS, offset, unit, write, &slots[i]))
            return false;
        if (write && !guest_probe_write(v, slots[i], unit, false))
            return false;
    }
    return true;
}

enum callout_result callout_pusha(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), len = FRAME_SLOTS * unit;
    gva_t slots[FRAME_SLOTS];
    if (!locate_slots(v, -(int32_t)len, unit, true, slots))
        return CALLOUT_FAULT;
    for (uint32_t i = 0; i < FRAME_SLOTS; i++)
        if (!guest_write(v, slots[i], &cpu->gpr[EDI - i], unit, false))
            return CALLOUT_FAULT;
    stack_set_pointer(cpu, cpu->gpr[ESP] - len);
    return CALLOUT_NEXT;
}

enum callout_result callout_popa(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), items[FRAME_SLOTS];
    gva_t slots[FRAME_SLOTS];
    if (!locate_slots(v, 0, unit, false, slots))
        return CALLOUT_FAULT;
    for (uint32_t i = 0; i < FRAME_SLOTS; i++) {
        items[i] = cpu->gpr[EDI - i];
        if (!guest_read(v, slots[i], &items[i], unit, false))
            return CALLOUT_FAULT;
    }
    for (uint32_t i = 0; i < FRAME_SLOTS; i++)
        if (i != SP_SLOT)
            cpu->gpr[EDI - i] = items[i];
    stack_set_pointer(cpu, cpu->gpr[ESP] + FRAME_SLOTS * unit);
    return CALLOUT_NEXT;
}
