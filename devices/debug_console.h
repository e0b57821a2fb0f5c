/* The debug console, ports 0xe9 and 0x402 (firmware's): bytes written to either go to a ring; reads
 * give 0xe9, so that a guest can tell it is there. The ports have no flow control: a write to a full
 * ring waits for the reader. If that takes nothing for half a second, bytes are lost and counted
 * until there is room again. */
#ifndef RING3_DEVICES_DEBUG_CONSOLE_H
#define RING3_DEVICES_DEBUG_CONSOLE_H

#include "base/arena.h"
#include "base/ring.h"
#include "runtime/bus.h"

struct debug_console;

struct debug_console_options {
    struct byte_ring *ring;       /* or NULL: the bytes are thrown away */
    void (*notify)(void *opaque); /* the ring's reader may be asleep; or NULL */
    void *opaque;
};

struct debug_console *debug_console_create(struct arena *arena, struct bus *bus,
                                           const struct debug_console_options *options);
uint64_t debug_console_lost(const struct debug_console *console);

#endif
