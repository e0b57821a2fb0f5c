/* What saving the x87 state needs of the engine. */
#ifndef RING3_RUNTIME_FPU_STATE_H
#define RING3_RUNTIME_FPU_STATE_H

#include <stdint.h>

#include "runtime/vcpu.h"

/* The guest EIP of the x87 instruction whose host address is `host_ip`, or 0 when it is unknown
 * (its fragment is gone). */
uint32_t engine_guest_fip(struct vcpu *v, uint64_t host_ip);
/* This code is going: if the last x87 instruction was there, the x87's pointer becomes the guest's. */
void fpu_forget_code(struct vcpu *v, uintptr_t code, uint32_t len);

#endif
