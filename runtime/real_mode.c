/* Events, far transfers and returns without descriptors (SDM vol. 3A, 20.1; vol. 2: CALL, INT n,
 * IRET, JMP, RET: "real-address mode"). See real_mode.h. */
#include "runtime/real_mode.h"

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/stack.h"
#include "runtime/transfer.h"

static enum callout_result enter(struct cpu *cpu, uint32_t selector, uint32_t eip) {
    segment_set_8086(cpu, SEG_CS, selector & 0xffffu);
    cpu->eip = eip;
    cpu_update_mode(cpu, cpu_cpl(cpu));
    return CALLOUT_JUMP;
}

enum callout_result real_enter_handler(struct vcpu *v, uint32_t image, uint32_t return_eip,
                                       uint32_t pointer) {
    struct cpu *cpu = &v->cpu;
    uint32_t items[REAL_ITEMS] = {return_eip, cpu->seg[SEG_CS].selector, image};
    uint32_t len = stack_pack(items, REAL_ITEMS, 2), esp = cpu->gpr[ESP] - len;
    if (!stack_write(v, &cpu->seg[SEG_SS], esp, items, len, 2, 0, false))
        return CALLOUT_FAULT;
    stack_set_pointer(cpu, esp);
    return enter(cpu, pointer >> 16, pointer & 0xffffu);
}

enum callout_result real_deliver(struct vcpu *v, uint8_t vector, uint32_t return_eip) {
    struct cpu *cpu = &v->cpu;
    uint32_t offset = vector * 4u, pointer;
    if (offset + 3 > cpu->idt.limit)
        return fault_raise_gp(v, 0);
    if (!guest_read32(v, cpu->idt.base + offset, &pointer, true))
        return CALLOUT_FAULT;
    enum callout_result result = real_enter_handler(v, cpu_eflags(cpu), return_eip, pointer);
    if (result != CALLOUT_JUMP)
        return result;
    cpu->sys_flags &= ~(FL_TF | FL_AC | FL_RF);
    cpu->iflag = 0;
    cpu_update_mode(cpu, 0);
    return CALLOUT_JUMP;
}

enum callout_result real_transfer(struct vcpu *v, bool call, uint32_t selector, uint32_t offset,
                                  uint32_t unit) {
    struct cpu *cpu = &v->cpu;
    uint32_t items[2] = {cpu->next_eip, cpu->seg[SEG_CS].selector};
    uint32_t len = call ? stack_pack(items, 2, unit) : 0, esp = cpu->gpr[ESP] - len;
    if (call && !stack_check(v, &cpu->seg[SEG_SS], esp, len, unit, 0))
        return CALLOUT_FAULT;
    if (offset > cpu->seg[SEG_CS].limit)
        return fault_raise_gp(v, 0);
    if (call) {
        if (!stack_write(v, &cpu->seg[SEG_SS], esp, items, len, unit, 0, false))
            return CALLOUT_FAULT;
        stack_set_pointer(cpu, esp);
    }
    return enter(cpu, selector, offset);
}

enum callout_result real_return_far(struct vcpu *v, uint32_t unit, uint32_t release) {
    struct cpu *cpu = &v->cpu;
    uint32_t frame[2];
    if (!stack_read(v, 0, frame, 2 * unit, unit))
        return CALLOUT_FAULT;
    stack_unpack(frame, 2, unit);
    if (frame[REAL_EIP] > cpu->seg[SEG_CS].limit)
        return fault_raise_gp(v, 0);
    stack_set_pointer(cpu, cpu->gpr[ESP] + 2 * unit + release);
    return enter(cpu, frame[REAL_CS], frame[REAL_EIP]);
}

bool real_read_frame(struct vcpu *v, uint32_t unit, uint32_t frame[REAL_ITEMS]) {
    if (!stack_read(v, 0, frame, REAL_ITEMS * unit, unit))
        return false;
    stack_unpack(frame, REAL_ITEMS, unit);
    if (frame[REAL_EIP] > v->cpu.seg[SEG_CS].limit) {
        fault_raise_gp(v, 0);
        return false;
    }
    return true;
}

enum callout_result real_load_frame(struct vcpu *v, uint32_t unit, const uint32_t *frame,
                                    uint32_t flags_mask) {
    struct cpu *cpu = &v->cpu;
    stack_set_pointer(cpu, cpu->gpr[ESP] + REAL_ITEMS * unit);
    segment_set_8086(cpu, SEG_CS, frame[REAL_CS] & 0xffffu);
    return transfer_finish_return(v, frame[REAL_EIP], frame[REAL_EFLAGS], flags_mask, cpu_cpl(cpu));
}

enum callout_result real_return(struct vcpu *v, uint32_t unit) {
    uint32_t frame[REAL_ITEMS], mask = FL_HOST | FL_IF | FL_TF | FL_NT | FL_IOPL;
    if (unit == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    return real_read_frame(v, unit, frame) ? real_load_frame(v, unit, frame, mask) : CALLOUT_FAULT;
}
