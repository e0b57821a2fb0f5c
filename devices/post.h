/* The diagnostic port 0x80 and its stand-in 0xed: bytes that a guest writes to mark its
 * progress, or only to pass a microsecond. They read back and go to the trace channel `device`. */
#ifndef RING3_DEVICES_POST_H
#define RING3_DEVICES_POST_H

#include "base/arena.h"
#include "base/trace.h"
#include "runtime/bus.h"

struct post;

struct post *post_create(struct arena *arena, struct bus *bus, struct trace *trace);

#endif
