/* Model-specific registers: RDMSR, WRMSR and their state at power-on. */
#ifndef RING3_RUNTIME_MSR_H
#define RING3_RUNTIME_MSR_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

void msr_reset(struct msrs *msr);
/* False: the model has no such register. */
bool msr_read(const struct vcpu *v, uint32_t index, uint64_t *value);
/* False: no such register, or a value that it does not take. */
bool msr_write(struct vcpu *v, uint32_t index, uint64_t value);

#endif
