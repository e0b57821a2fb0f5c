/* Virtual-8086 mode (SDM vol. 3A, 20.2 and 20.3): the way in, what IOPL and CR4.VME make of INT n
 * and IRET, and the virtual interrupt flag. The way out is any event (interrupt.c). */
#ifndef RING3_RUNTIME_VIRTUAL_8086_H
#define RING3_RUNTIME_VIRTUAL_8086_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

/* IRETD at CPL 0 whose flags image has VM set; EIP, CS and EFLAGS are read already. */
enum callout_result v86_enter(struct vcpu *v, const uint32_t *frame);
/* IRET in virtual-8086 mode. */
enum callout_result v86_return(struct vcpu *v, uint32_t unit);
/* INT n in virtual-8086 mode. CALLOUT_NEXT: it is to go through the IDT. */
enum callout_result v86_int_n(struct vcpu *v, uint8_t vector);
/* Are VIF and VIP both set where they count? Then the next instruction raises #GP(0). */
static inline bool v86_interrupt_waits(const struct cpu *cpu) {
    if ((cpu->sys_flags & (FL_VIF | FL_VIP)) != (FL_VIF | FL_VIP))
        return false;
    uint32_t virtual = cpu->mode & MODE_VM86 ? CR4_VME : CR4_PVI;
    bool below = (cpu->sys_flags & FL_IOPL) != FL_IOPL;
    return cpu_cpl(cpu) == 3 && below && (cpu->paging.cr4 & virtual);
}

#endif
