/* The machine's own ports as an ISA Plug and Play card (Plug and Play ISA Specification 1.0a):
 * the debug console and the firmware's.
 *
 * A guest that looks for such cards learns what these ports are, and need not look long: where
 * there is no card at all, Linux waits for one at eight ports in turn, 40 ms at each. The ports
 * cannot be moved or switched off: the one logical device is always active. */
#ifndef RING3_DEVICES_ISA_PNP_H
#define RING3_DEVICES_ISA_PNP_H

#include "base/arena.h"
#include "runtime/bus.h"

struct isa_pnp;

struct isa_pnp *isa_pnp_create(struct arena *arena, struct bus *bus);

#endif
