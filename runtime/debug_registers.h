/* Debug registers, as the breakpoint checks of others need them. */
#ifndef RING3_RUNTIME_DEBUG_REGISTERS_H
#define RING3_RUNTIME_DEBUG_REGISTERS_H

#include "runtime/vcpu.h"

#define DR6_B(n) (1u << (n))
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)

/* DR6 bits of the armed instruction breakpoints at CS:eip; 0: none. EFLAGS.RF is not looked at:
 * callout_breakpoint does that. */
uint32_t debug_code_breakpoint(const struct vcpu *v, uint32_t eip);
/* A data breakpoint was hit by the instruction that just completed: #DB as a trap. */
enum callout_result debug_data_breakpoint(struct vcpu *v, uint32_t dr6_bits);

#endif
