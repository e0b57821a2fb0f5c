/* The debug-exit port, 0xf4: what a test guest writes there ends the machine. Reads 0. */
#ifndef RING3_DEVICES_DEBUG_EXIT_H
#define RING3_DEVICES_DEBUG_EXIT_H

#include "base/arena.h"
#include "runtime/bus.h"

struct debug_exit;

struct debug_exit *debug_exit_create(struct arena *arena, struct bus *bus,
                                     void (*leave)(void *opaque, uint32_t value), void *opaque);

#endif
