/* Control transfers as the 8086 made them, for real and virtual-8086 mode: selectors are addresses,
 * there are neither gates nor levels. */
#ifndef RING3_RUNTIME_REAL_MODE_H
#define RING3_RUNTIME_REAL_MODE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

/* What IRET pops, by ascending address. */
enum { REAL_EIP, REAL_CS, REAL_EFLAGS, REAL_ITEMS };

/* An event in real mode, through the table of far pointers at IDTR. CALLOUT_JUMP, or CALLOUT_FAULT
 * with nothing changed. */
enum callout_result real_deliver(struct vcpu *v, uint8_t vector, uint32_t return_eip);
/* Pushes FLAGS (`image`), CS and IP and goes to the far pointer; flags are left as they are. */
enum callout_result real_enter_handler(struct vcpu *v, uint32_t image, uint32_t return_eip,
                                       uint32_t pointer);
/* Far CALL and JMP, far RET. */
enum callout_result real_transfer(struct vcpu *v, bool call, uint32_t selector, uint32_t offset,
                                  uint32_t unit);
enum callout_result real_return_far(struct vcpu *v, uint32_t unit, uint32_t release);
/* IRET in real mode; and its two halves. Reading: false with v->fault. */
enum callout_result real_return(struct vcpu *v, uint32_t unit);
bool real_read_frame(struct vcpu *v, uint32_t unit, uint32_t frame[REAL_ITEMS]);
enum callout_result real_load_frame(struct vcpu *v, uint32_t unit, const uint32_t *frame,
                                    uint32_t flags_mask);

#endif
