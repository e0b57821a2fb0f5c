/* The debug console: see debug_console.h. */
#include "devices/debug_console.h"

#include <time.h>

#include "devices/port_bytes.h"

#define PORT 0xe9
#define FIRMWARE_PORT 0x402
#define READS_AS 0xe9
#define PAUSE_NS 100000
#define PAUSES_MAX 5000

struct debug_console {
    struct debug_console_options wiring;
    uint64_t lost;
    bool reader_stuck; /* nobody waits for it twice */
};

static void wait_for_room(struct debug_console *console) {
    const struct byte_ring *ring = console->wiring.ring;
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    for (unsigned i = 0; i < PAUSES_MAX && !ring_free(ring); i++)
        nanosleep(&pause, NULL);
}

static void console_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct debug_console *console = device;
    (void)port, (void)size;
    const struct debug_console_options *wiring = &console->wiring;
    if (!wiring->ring)
        return;
    if (!ring_free(wiring->ring) && !console->reader_stuck)
        wait_for_room(console);
    console->reader_stuck = !ring_free(wiring->ring);
    uint8_t byte = (uint8_t)value;
    bool wake = false;
    if (ring_write_wake(wiring->ring, &byte, 1, &wake) == 0)
        console->lost++;
    if (wake && wiring->notify)
        wiring->notify(wiring->opaque);
}

static uint32_t console_read(void *device, uint16_t port, unsigned size) {
    if (size > 1)
        return port_read_bytes(console_read, device, port, size);
    return port == PORT || port == FIRMWARE_PORT ? READS_AS : PORT_FLOATING;
}

uint64_t debug_console_lost(const struct debug_console *console) { return console->lost; }

struct debug_console *debug_console_create(struct arena *arena, struct bus *bus,
                                           const struct debug_console_options *options) {
    struct debug_console *console = ARENA_NEW(arena, struct debug_console);
    console->wiring = *options;
    bus_claim(bus, "debug console", PORT, 1, console_read, console_write, console);
    bus_claim(bus, "firmware's debug console", FIRMWARE_PORT, 1, console_read, console_write,
              console);
    return console;
}
