/* Debug registers, as the breakpoint checks of others need them. */
#ifndef RING3_RUNTIME_DEBUG_REGISTERS_H
#define RING3_RUNTIME_DEBUG_REGISTERS_H

#include "runtime/vcpu.h"

#define DR6_B(n) (1u << (n))
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR6_BT (1u << 15)

/* DR6 bits of the armed instruction breakpoints at CS:eip; 0: none. */
uint32_t debug_code_breakpoint(const struct vcpu *v, uint32_t eip);
/* RF suppresses an instruction breakpoint at the very next instruction, and is clear again after
 * it. Where no breakpoint waits there it has no effect: it is dropped here, so that nobody else
 * need think of it. */
void debug_settle_resume_flag(struct vcpu *v);
/* True when one was delivered instead of the instruction at EIP (SDM vol. 3B, 17.3.1.1: not after
 * MOV SS, and not when RF is set, which is used up). */
bool debug_instruction_breakpoint(struct vcpu *v);

#endif
