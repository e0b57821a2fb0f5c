/* System control port A, 0x92: bit 0 resets the machine, bit 1 is the fast A20 gate (it reads
 * back; address line 20 is always on). */
#ifndef RING3_DEVICES_PORT92_H
#define RING3_DEVICES_PORT92_H

#include "base/arena.h"
#include "devices/pulse.h"
#include "runtime/bus.h"

struct port92;

struct port92 *port92_create(struct arena *arena, struct bus *bus, struct pulse reset);

#endif
