/* Loading CR3 from elsewhere than MOV. */
#ifndef RING3_RUNTIME_CONTROL_H
#define RING3_RUNTIME_CONTROL_H

#include "runtime/vcpu.h"

/* CALLOUT_NEXT: loaded, and what was translated through the old tables is flushed. CALLOUT_FAULT:
 * v->fault is #GP(0) for bad PDPTEs, nothing changed. CALLOUT_EXIT: v->exit. */
enum callout_result control_load_cr3(struct vcpu *v, uint32_t value);

#endif
