/* The guest's stack, as far transfers and events use it: a frame is read or written whole or not
 * at all.
 *
 * Frames are arrays in ascending address order (the item at the top of the stack first). With a
 * 16-bit stack segment SP wraps at 64 KiB between items, which `unit`, their size, is for. */
#ifndef RING3_RUNTIME_STACK_H
#define RING3_RUNTIME_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

/* The bits of ESP that a stack segment uses. */
static inline uint32_t stack_mask(const struct segment *ss) {
    return ss->attr & SEG_ATTR_DB ? UINT32_MAX : 0xffffu;
}
/* Replaces ESP, or SP when the stack segment is a 16-bit one. */
static inline void stack_set_pointer(struct cpu *cpu, uint32_t esp) {
    uint32_t mask = stack_mask(&cpu->seg[SEG_SS]);
    cpu->gpr[ESP] = (cpu->gpr[ESP] & ~mask) | (esp & mask);
}

/* Reads `len` bytes that lie `skip` bytes above the top of the stack. False: v->fault is #SS(0),
 * #AC or a #PF. */
bool stack_read(struct vcpu *v, uint32_t skip, void *to, uint32_t len, uint32_t unit);
/* Does `ss` have room for a frame that begins at `esp`? False: v->fault is #SS(`ss_error`). */
bool stack_check(struct vcpu *v, const struct segment *ss, uint32_t esp, uint32_t len,
                 uint32_t unit, uint32_t ss_error);
/* Writes a frame that begins at `esp` in `ss` (which need not be loaded yet). False: v->fault is
 * #SS(`ss_error`), #AC or a #PF, and nothing was written. `inner`: a supervisor access whatever the
 * CPL still is. */
bool stack_write(struct vcpu *v, const struct segment *ss, uint32_t esp, const void *from,
                 uint32_t len, uint32_t unit, uint32_t ss_error, bool inner);
/* Narrows 32-bit items to 16-bit ones in place when `unit` is 2, as pushes with a 16-bit operand
 * size do. Returns the frame's length in bytes. */
uint32_t stack_pack(uint32_t *items, uint32_t count, uint32_t unit);
/* The reverse, after a read. */
void stack_unpack(uint32_t *items, uint32_t count, uint32_t unit);

#endif
