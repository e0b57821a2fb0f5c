/* What control transfers between privilege levels share, whether gates, returns or events start
 * them: the stack that the TSS names, the segments that a return names, and the data segments
 * that an outer level must not keep. */
#ifndef RING3_RUNTIME_TRANSFER_H
#define RING3_RUNTIME_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/descriptor.h"

/* The stack for a transfer inwards to level `dpl`, from the current TSS, checked and marked
 * accessed but not loaded (SDM vol. 3A, 6.12.1). False: v->fault (#TS, #SS, #PF). */
bool transfer_inner_stack(struct vcpu *v, unsigned dpl, uint32_t ext, struct segment *ss,
                          uint32_t *esp);
/* The code segment that IRET or RETF returns to. False: v->fault (#GP, #NP, #PF). */
bool transfer_return_code(struct vcpu *v, uint32_t selector, struct descriptor *code);
/* The stack segment of a return to level `cpl`. False: v->fault (#GP, #SS, #PF). */
bool transfer_return_stack(struct vcpu *v, uint32_t selector, unsigned cpl,
                           struct descriptor *stack);
/* After a return to `cpl`: data segments of inner levels become null. */
void transfer_drop_segments(struct cpu *cpu, unsigned cpl);
/* The end of IRET: CS and the stack are loaded, and the flags in `mask` follow from the image.
 * CALLOUT_JUMP; CALLOUT_FAULT for what the first instruction of the code returned to must raise. */
enum callout_result transfer_finish_return(struct vcpu *v, uint32_t eip, uint32_t eflags,
                                           uint32_t mask, unsigned cpl);
/* Loads the outer stack, SP or ESP by its size. */
void transfer_load_stack(struct cpu *cpu, uint32_t selector, const struct descriptor *stack,
                         uint32_t esp);

#endif
