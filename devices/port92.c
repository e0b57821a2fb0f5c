/* System control port A: see port92.h. */
#include "devices/port92.h"

#include <assert.h>

#include "devices/port_bytes.h"

#define PORT 0x92

enum { FAST_RESET = 0x01, A20 = 0x02 };

struct port92 {
    uint8_t value;
    struct pulse reset;
};

static void port92_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct port92 *p = device;
    (void)port, (void)size; /* the ports behind it are not ours */
    bool rises = (value & ~(uint32_t)p->value & FAST_RESET) != 0;
    p->value = (uint8_t)value;
    if (rises)
        pulse_raise(&p->reset);
}

static uint32_t port92_read(void *device, uint16_t port, unsigned size) {
    const struct port92 *p = device;
    if (size > 1)
        return port_read_bytes(port92_read, device, port, size);
    return port == PORT ? p->value : PORT_FLOATING;
}

struct port92 *port92_create(struct arena *arena, struct bus *bus, struct pulse reset) {
    assert(reset.raise);
    struct port92 *p = ARENA_NEW(arena, struct port92);
    p->value = A20;
    p->reset = reset;
    bus_claim(bus, "port 92", PORT, 1, port92_read, port92_write, p);
    return p;
}
