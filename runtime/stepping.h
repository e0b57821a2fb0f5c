/* Single step and breakpoints around one instruction: the run loop runs instructions one by one
 * while EFLAGS.TF is set or a breakpoint is armed. */
#ifndef RING3_RUNTIME_STEPPING_H
#define RING3_RUNTIME_STEPPING_H

#include "runtime/vcpu.h"

/* True when an instruction breakpoint was delivered instead of the instruction at EIP. */
bool debug_before_instruction(struct vcpu *v);
/* An access by the current instruction: hits of armed data breakpoints are remembered. */
void debug_data_access(struct vcpu *v, gva_t linear, uint32_t size, bool write);
/* The same for ports; they have breakpoints while CR4.DE is set. */
void debug_port_access(struct vcpu *v, uint16_t port, uint32_t size);
/* The instruction is done and EIP at the next: delivers the traps that it owes. An INT n behind a
 * MOV SS owes those of the MOV SS, to its handler. */
void debug_after_instruction(struct vcpu *v, bool single_step);

#endif
