/* Debug registers, as the breakpoint checks of others need them. */
#ifndef RING3_RUNTIME_DEBUG_REGISTERS_H
#define RING3_RUNTIME_DEBUG_REGISTERS_H

#include "runtime/vcpu.h"

#define DR6_B(n) (1u << (n))
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)

/* DR6 bits of the armed instruction breakpoints at CS:eip; 0: none. */
uint32_t debug_code_breakpoint(const struct vcpu *v, uint32_t eip);
/* True when one was delivered instead of the instruction at EIP (SDM vol. 3B, 17.3.1.1: not after
 * MOV SS, and not when RF is set, which is used up). */
bool debug_instruction_breakpoint(struct vcpu *v);

#endif
