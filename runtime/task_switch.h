/* Hardware task switches (SDM vol. 3A, chapter 7). */
#ifndef RING3_RUNTIME_TASK_SWITCH_H
#define RING3_RUNTIME_TASK_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/descriptor.h"

enum task_entry {
    TASK_JMP,    /* the old task is left */
    TASK_CALL,   /* CALL and events: the old task is linked to, and stays busy */
    TASK_RETURN, /* IRET: the new task is the one that the old one is linked to */
};

struct task_switch {
    enum task_entry entry;
    uint32_t selector;    /* of the new task's TSS */
    uint32_t ext;         /* of the error codes */
    uint32_t return_eip;  /* of the old task */
    uint32_t image_flags; /* set in the old task's saved EFLAGS: RF or 0 */
    bool has_error;       /* an exception's error code goes on the new task's stack */
    uint32_t error;
};

/* CALLOUT_JUMP: the new task's first instruction is next, or its debug trap's handler.
 * CALLOUT_FAULT: nothing was changed and v->fault is the old task's; or, once the switch is past
 * its commit point, it is the new task's, which is in place with what could be loaded of it.
 * CALLOUT_EXIT: v->exit. */
enum callout_result task_switch(struct vcpu *v, const struct task_switch *request);
/* IRET with NT set: to the task that the current TSS links to. */
enum callout_result task_return(struct vcpu *v);

#endif
