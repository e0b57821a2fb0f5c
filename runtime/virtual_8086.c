/* Virtual-8086 mode. See virtual_8086.h. */
#include "runtime/virtual_8086.h"

#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/real_mode.h"
#include "runtime/stack.h"
#include "runtime/transfer.h"

#define REDIRECTION_BYTES 32u /* right below the I/O permission bitmap */

/* What an outer frame holds above the flags. */
enum { ENTRY_ESP, ENTRY_SS, ENTRY_ES, ENTRY_DS, ENTRY_FS, ENTRY_GS, ENTRY_ITEMS };

enum callout_result v86_enter(struct vcpu *v, const uint32_t *frame) {
    static const struct {
        uint8_t item, index;
    } segments[] = {{ENTRY_SS, SEG_SS},
                    {ENTRY_ES, SEG_ES},
                    {ENTRY_DS, SEG_DS},
                    {ENTRY_FS, SEG_FS},
                    {ENTRY_GS, SEG_GS}};
    struct cpu *cpu = &v->cpu;
    uint32_t outer[ENTRY_ITEMS];
    assert(cpu_cpl(cpu) == 0 && (frame[REAL_EFLAGS] & FL_VM));
    if (!stack_read(v, REAL_ITEMS * 4, outer, sizeof outer, 4))
        return CALLOUT_FAULT;
    if (frame[REAL_EIP] > 0xffff)
        return fault_raise_gp(v, 0);
    cpu->gpr[ESP] = outer[ENTRY_ESP];
    segment_set_v86(cpu, SEG_CS, frame[REAL_CS]);
    for (unsigned i = 0; i < sizeof segments / sizeof segments[0]; i++)
        segment_set_v86(cpu, (enum segment_index)segments[i].index, outer[segments[i].item]);
    return transfer_finish_return(v, frame[REAL_EIP], frame[REAL_EFLAGS], FL_ALL, 3);
}

/* With VME and IOPL below 3, IRET moves the image's IF to VIF (SDM vol. 3A, table 20-2). */
static enum callout_result return_virtual(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    uint32_t frame[REAL_ITEMS];
    if (!real_read_frame(v, 2, frame))
        return CALLOUT_FAULT;
    uint32_t image = frame[REAL_EFLAGS];
    if ((image & FL_TF) || ((image & FL_IF) && (cpu->sys_flags & FL_VIP)))
        return fault_raise_gp(v, 0);
    frame[REAL_EFLAGS] = image & FL_IF ? image | FL_VIF : image;
    return real_load_frame(v, 2, frame, FL_HOST | FL_TF | FL_NT | FL_VIF);
}

enum callout_result v86_return(struct vcpu *v, uint32_t unit) {
    uint32_t frame[REAL_ITEMS], mask = FL_HOST | FL_IF | FL_TF | FL_NT;
    enum if_access access = cpu_if_access(&v->cpu);
    if (access == IF_TRAPPED || (access == IF_VIRTUAL && unit == 4))
        return fault_raise_gp(v, 0);
    if (access == IF_VIRTUAL)
        return return_virtual(v);
    if (unit == 4)
        mask |= FL_RF | FL_AC | FL_ID;
    return real_read_frame(v, unit, frame) ? real_load_frame(v, unit, frame, mask) : CALLOUT_FAULT;
}

/* The vector's bit of the software interrupt redirection map: clear means the 8086 program's own
 * handler. False: v->fault is #GP(0) or a #PF. */
static bool read_redirection(struct vcpu *v, uint8_t vector, bool *to_program) {
    const struct segment *tr = &v->cpu.tr;
    uint16_t io_map;
    uint8_t bits;
    fault_raise_gp(v, 0);
    if (!tr->usable || !(tr->attr & TYPE_32BIT) || tr->limit < TSS32_IO_MAP_BASE + 1)
        return false;
    if (!guest_read16(v, tr->base + TSS32_IO_MAP_BASE, &io_map, true))
        return false;
    uint32_t offset = io_map - REDIRECTION_BYTES + vector / 8u;
    if (offset > tr->limit)
        return false;
    if (!guest_read(v, tr->base + offset, &bits, 1, true))
        return false;
    *to_program = !(bits >> (vector & 7u) & 1u);
    return true;
}

/* Through the table at linear address 0. The program sees VIF as its IF, and IOPL 3. */
static enum callout_result redirect(struct vcpu *v, uint8_t vector) {
    struct cpu *cpu = &v->cpu;
    bool virtual = cpu_if_access(cpu) == IF_VIRTUAL;
    uint32_t image = cpu_eflags(cpu), pointer;
    if (virtual)
        image = (image & ~FL_IF) | FL_IOPL | (image & FL_VIF ? FL_IF : 0);
    if (!guest_read32(v, vector * 4u, &pointer, true))
        return CALLOUT_FAULT;
    enum callout_result result = real_enter_handler(v, image, cpu->next_eip, pointer);
    if (result != CALLOUT_JUMP)
        return result;
    cpu->sys_flags &= ~(FL_TF | FL_RF | (virtual ? FL_VIF : 0));
    if (!virtual)
        cpu->iflag = 0;
    cpu_update_mode(cpu, 3);
    cpu->debug_shadow = false;
    cpu->interrupt_shadow = 0;
    v->counters->soft_interrupts++;
    return CALLOUT_JUMP;
}

enum callout_result v86_int_n(struct vcpu *v, uint8_t vector) {
    const struct cpu *cpu = &v->cpu;
    if (cpu->paging.cr4 & CR4_VME) {
        bool to_program;
        if (!read_redirection(v, vector, &to_program))
            return CALLOUT_FAULT;
        if (to_program)
            return redirect(v, vector);
    }
    return cpu_iopl(cpu) < 3 ? fault_raise_gp(v, 0) : CALLOUT_NEXT;
}
