/* Debug exceptions, which differ from all others: they report through DR6, and may be faults or
 * traps. */
#ifndef RING3_RUNTIME_EXCEPTION_H
#define RING3_RUNTIME_EXCEPTION_H

#include "runtime/vcpu.h"

/* Adds `dr6` to DR6, disarms general detect and delivers #DB (SDM vol. 3B, 17.2.3). A `trap`
 * is met behind the instruction, which is done then; a fault at it. `resume`: push EFLAGS.RF set.
 * Never CALLOUT_FAULT: what goes wrong on the way is escalated. */
enum callout_result exception_deliver_debug(struct vcpu *v, uint32_t dr6, bool trap, bool resume);

#endif
