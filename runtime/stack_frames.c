/* Instructions with several stack slots that wrap or are checked one by one: PUSHA, POPA (SDM
 * vol. 2), and PUSHF where IOPL decides. Every slot is checked before the first changes. */
#include "runtime/callout_support.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"
#include "runtime/stack.h"

#define FRAME_SLOTS 8u
#define SP_SLOT 3u /* from the frame's lowest address */

/* Linear addresses of `count` slots from SP + `skip` on. False: v->fault. */
static bool locate_slots(struct vcpu *v, int32_t skip, uint32_t count, uint32_t unit, bool write,
                         gva_t *slots) {
    uint32_t mask = stack_mask(&v->cpu.seg[SEG_SS]);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t offset = (v->cpu.gpr[ESP] + (uint32_t)skip + i * unit) & mask;
        if (!segment_access(v, SEG_SS, offset, unit, write, &slots[i]))
            return false;
        if (write && !guest_probe_write(v, slots[i], unit, false))
            return false;
    }
    return true;
}

/* Pushes items, the first at the lowest address. */
static enum callout_result push_items(struct vcpu *v, const uint32_t *items, uint32_t count,
                                      uint32_t unit) {
    gva_t slots[FRAME_SLOTS];
    int32_t len = (int32_t)(count * unit);
    if (!locate_slots(v, -len, count, unit, true, slots))
        return CALLOUT_FAULT;
    for (uint32_t i = 0; i < count; i++)
        if (!guest_write(v, slots[i], &items[i], unit, false))
            return CALLOUT_FAULT;
    stack_set_pointer(&v->cpu, v->cpu.gpr[ESP] - (uint32_t)len);
    return CALLOUT_NEXT;
}

enum callout_result callout_pusha(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    uint32_t items[FRAME_SLOTS];
    for (uint32_t i = 0; i < FRAME_SLOTS; i++)
        items[i] = v->cpu.gpr[EDI - i];
    return push_items(v, items, FRAME_SLOTS, callout_unit(arg));
}

enum callout_result callout_popa(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t unit = callout_unit(arg), items[FRAME_SLOTS];
    gva_t slots[FRAME_SLOTS];
    if (!locate_slots(v, 0, FRAME_SLOTS, unit, false, slots))
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

/* Virtual-8086 mode (SDM vol. 3B, 21.2.7, and 21.3 with CR4.VME). */
enum callout_result callout_pushf(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t image = cpu_eflags(cpu) & ~(FL_VM | FL_RF);
    bool virtual_if = cpu->paging.cr4 & CR4_VME && callout_is_16bit(arg);
    if (cpu_iopl(cpu) < 3 && !virtual_if)
        return fault_raise_gp(v, 0);
    if (cpu_iopl(cpu) < 3)
        image = (image & ~FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
    return push_items(v, &image, 1, callout_unit(arg));
}
