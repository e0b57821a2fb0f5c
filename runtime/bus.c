/* The port bus: see bus.h. One byte a port names the range that owns it. */
#include "runtime/bus.h"

#include <assert.h>

#define PORT_COUNT 0x10000u

void bus_init(struct bus *bus, struct arena *arena, struct trace *trace,
              struct counters *counters) {
    assert(trace && counters);
    *bus = (struct bus){
        .owner = arena_alloc(arena, PORT_COUNT, 1),
        .trace = trace,
        .counters = counters,
    };
}

void bus_claim(struct bus *bus, const char *name, uint16_t first, uint16_t count, port_read_fn read,
               port_write_fn write, void *device) {
    assert(bus->range_count < BUS_RANGES_MAX);
    assert(count != 0 && (uint32_t)first + count <= PORT_COUNT);
    assert(read && write);
    unsigned index = bus->range_count++;
    bus->ranges[index] = (struct port_range){
        .first = first,
        .count = count,
        .name = name,
        .read = read,
        .write = write,
        .device = device,
    };
    for (uint32_t port = first; port < (uint32_t)first + count; port++) {
        assert(bus->owner[port] == 0 && "port claimed twice");
        bus->owner[port] = (uint8_t)(index + 1);
    }
}

bool bus_move(struct bus *bus, uint16_t from, uint16_t to) {
    uint8_t owner = bus->owner[from];
    assert(owner != 0 && bus->ranges[owner - 1].first == from && bus->ranges[owner - 1].count == 1);
    if (to != from && bus->owner[to] != 0)
        return false;
    bus->owner[from] = 0;
    bus->owner[to] = owner;
    bus->ranges[owner - 1].first = to;
    return true;
}

static const struct port_range *find_range(const struct bus *bus, uint16_t port) {
    uint8_t owner = bus->owner[port];
    return owner == 0 ? 0 : &bus->ranges[owner - 1];
}

static uint32_t size_mask(unsigned size) {
    assert(size == 1 || size == 2 || size == 4);
    return UINT32_MAX >> (32 - 8 * size);
}

uint32_t bus_read(struct bus *bus, uint16_t port, unsigned size) {
    uint32_t mask = size_mask(size);
    bus->counters->port_reads++;
    const struct port_range *range = find_range(bus, port);
    uint32_t value = range ? range->read(range->device, port, size) & mask : mask;
    if (!range)
        TRACE(bus->trace, unclaimed_read, port, size);
    TRACE(bus->trace, port_read, port, size, value);
    return value;
}

void bus_write(struct bus *bus, uint16_t port, uint32_t value, unsigned size) {
    value &= size_mask(size);
    bus->counters->port_writes++;
    const struct port_range *range = find_range(bus, port);
    TRACE(bus->trace, port_write, value, port, size);
    if (!range) {
        TRACE(bus->trace, unclaimed_write, value, port, size);
        return;
    }
    range->write(range->device, port, value, size);
}
