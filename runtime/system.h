/* System instructions and exception delivery: the C side of the callouts.
 *
 * Every handler gets the vCPU with cpu->eip at the instruction and cpu->next_eip behind it, all
 * general registers and flags in the struct. It either completes the instruction, or changes
 * nothing and returns CALLOUT_FAULT. */
#ifndef RING3_RUNTIME_SYSTEM_H
#define RING3_RUNTIME_SYSTEM_H

#include "runtime/vcpu.h"

typedef enum callout_result (*callout_fn)(struct vcpu *v, uint32_t arg, uint32_t operand);

/* Handlers by id. */
extern const callout_fn callout_handlers[CALLOUT_COUNT];
#define CALLOUT_DECLARE(id, arg_text, operand_text, insns)                                        \
    enum callout_result callout_##id(struct vcpu *v, uint32_t arg, uint32_t operand);
CALLOUTS(CALLOUT_DECLARE)
#undef CALLOUT_DECLARE

const char *callout_name(enum callout_id id);

enum delivery { DELIVER_EXCEPTION, DELIVER_SOFTWARE, DELIVER_EXTERNAL };

/* Delivers v->fault at cpu->eip: pushes through the IDT, escalating to #DF (SDM vol. 3A, table
 * 6-5) and to shutdown. CALLOUT_JUMP, or CALLOUT_EXIT after a triple fault. */
enum callout_result exception_deliver(struct vcpu *v);
/* One event through the IDT (SDM vol. 3A, 6.12). return_eip is what is pushed. CALLOUT_JUMP, or
 * CALLOUT_FAULT with nothing changed, or in the new task after a task switch (task_switch.h). */
enum callout_result interrupt_deliver(struct vcpu *v, uint8_t vector, enum delivery kind,
                                      uint32_t return_eip, bool has_error, uint32_t error);

/* Puts the CPU into its state at power-on (SDM vol. 3A, table 9-1). */
void vcpu_reset(struct vcpu *v);

#endif
