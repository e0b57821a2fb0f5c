/* The port bus: one registry and one handler signature for every device.
 *
 * Devices claim ranges of the 64 KiB port space; IN and OUT callouts dispatch through it. A
 * port that nobody claims reads all ones and is logged on the trace channel `port`. The
 * registry lies in the arena. Handlers run in the vCPU process and must not block or
 * allocate; their values come from a hostile guest. */
#ifndef RING3_RUNTIME_BUS_H
#define RING3_RUNTIME_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/counters.h"
#include "base/trace.h"

/* size: 1, 2 or 4 bytes. */
typedef uint32_t (*port_read_fn)(void *device, uint16_t port, unsigned size);
typedef void (*port_write_fn)(void *device, uint16_t port, uint32_t value, unsigned size);

struct port_range {
    uint16_t first, count;
    const char *name;
    port_read_fn read;
    port_write_fn write;
    void *device;
};

#define BUS_RANGES_MAX 64

struct bus {
    struct port_range ranges[BUS_RANGES_MAX];
    unsigned range_count;
    uint8_t *owner; /* 65536 entries: index of the range + 1, 0 where unclaimed */
    struct trace *trace;
    struct counters *counters;
};

void bus_init(struct bus *bus, struct arena *arena, struct trace *trace, struct counters *counters);
/* Claims [first, first+count). Overlap with another device is a broken invariant (asserts). */
void bus_claim(struct bus *bus, const char *name, uint16_t first, uint16_t count,
               port_read_fn read, port_write_fn write, void *device);
/* Moves a range of one port to where nobody has claimed any. False: somebody has, and it stays. */
bool bus_move(struct bus *bus, uint16_t from, uint16_t to);
/* A 2- or 4-byte access that starts in a range goes to that range's handler whole. */
uint32_t bus_read(struct bus *bus, uint16_t port, unsigned size);
void bus_write(struct bus *bus, uint16_t port, uint32_t value, unsigned size);

/* How a device reaches an interrupt controller's input. */
struct irq_line {
    void (*set)(void *controller, unsigned line, int level);
    void *controller;
    unsigned line;
};
static inline void irq_set(const struct irq_line *irq, int level) {
    irq->set(irq->controller, irq->line, level);
}

#endif
