/* The debug-exit port: see debug_exit.h. */
#include "devices/debug_exit.h"

#include <assert.h>

#define PORT 0xf4
#define PORT_COUNT 4

struct debug_exit {
    void (*leave)(void *opaque, uint32_t value);
    void *opaque;
};

static void debug_exit_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    const struct debug_exit *exit = device;
    (void)size;
    if (port == PORT)
        exit->leave(exit->opaque, value);
}

static uint32_t debug_exit_read(void *device, uint16_t port, unsigned size) {
    (void)device, (void)port, (void)size;
    return 0;
}

struct debug_exit *debug_exit_create(struct arena *arena, struct bus *bus,
                                     void (*leave)(void *opaque, uint32_t value), void *opaque) {
    assert(leave);
    struct debug_exit *exit = ARENA_NEW(arena, struct debug_exit);
    exit->leave = leave;
    exit->opaque = opaque;
    bus_claim(bus, "debug exit", PORT, PORT_COUNT, debug_exit_read, debug_exit_write, exit);
    return exit;
}
