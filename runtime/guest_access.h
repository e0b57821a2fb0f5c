/* The monitor's own accesses to guest memory, through the guest page walk.
 *
 * Addresses are linear. `system` makes the access a supervisor access whatever the CPL (implicit
 * accesses to descriptor tables, TSS and inner stacks; SDM vol. 3A, 4.6.1); otherwise the
 * current CPL decides. They cross pages, set A and D, report code that they overwrite, and never
 * trust a guest pointer. On failure nothing at all was read or written: v->fault holds the
 * #PF and false comes back. Values wider than their callers' checks must be copied once and
 * then checked (no double fetch). */
#ifndef RING3_RUNTIME_GUEST_ACCESS_H
#define RING3_RUNTIME_GUEST_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

bool guest_read(struct vcpu *v, gva_t gva, void *to, uint32_t len, bool system);
bool guest_write(struct vcpu *v, gva_t gva, const void *from, uint32_t len, bool system);
/* Would a write of `len` bytes succeed? Sets A and D as the write would. */
bool guest_probe_write(struct vcpu *v, gva_t gva, uint32_t len, bool system);

/* What looking an access up was good for. */
enum reach_use {
    REACH_KNOWN,     /* the page was at hand */
    REACH_LOOKED_UP,
    REACH_NEEDED,    /* a window would have faulted, and will again: code is there, or no memory */
};

/* The host address of an access of translated code that lies on one page, A and D set as by that access; NULL:
 * the fragment that makes it would change itself, or somebody watches it. What else it would change is invalidated.
 * Where there is no memory, or it cannot be written, it is that of bytes which stand for it this once. */
bool guest_reach(struct vcpu *v, gva_t gva, uint32_t len, bool write, uint8_t **host, enum reach_use *use);

/* The same of one that lies on two pages. NULL also where one of them is no RAM or faults: nothing was done, and
 * the window will tell. */
uint8_t *guest_reach_two(struct vcpu *v, gva_t gva, uint32_t len, bool write, enum reach_use *use);

/* A segment was found to be loaded from this descriptor, which has just been read: the next load of the same may be
 * done by the fragment alone (e_mov_to_seg), until a flush. Not if anybody wants to see what calls out or is read. */
void guest_note_loaded(struct vcpu *v, unsigned index, uint32_t selector, gva_t gva, uint64_t descriptor);

static inline bool guest_read16(struct vcpu *v, gva_t gva, uint16_t *to, bool system) {
    return guest_read(v, gva, to, 2, system);
}
static inline bool guest_read32(struct vcpu *v, gva_t gva, uint32_t *to, bool system) {
    return guest_read(v, gva, to, 4, system);
}
static inline bool guest_write32(struct vcpu *v, gva_t gva, uint32_t value, bool system) {
    return guest_write(v, gva, &value, 4, system);
}

#endif
