/* Events with all their details; others than exceptions take interrupt_deliver (system.h). */
#ifndef RING3_RUNTIME_INTERRUPT_H
#define RING3_RUNTIME_INTERRUPT_H

#include "runtime/system.h"

struct event {
    uint8_t vector;
    enum delivery kind; /* for INT n, INT3 and INTO the gate's DPL counts */
    bool has_error;
    uint32_t error;
    uint32_t return_eip;
    uint32_t image_flags; /* set in the saved EFLAGS whatever they are: RF or 0 */
};

/* As interrupt_deliver. */
enum callout_result event_deliver(struct vcpu *v, const struct event *e);

#endif
