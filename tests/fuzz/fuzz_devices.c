/* A hostile guest at the ports: any bytes are port accesses, steps of time and interrupt
 * acknowledges on a whole PC.
 *
 * Checked beside what the sanitizers see: INTR is reported when it changes and only then, a value
 * is no wider than its access, and a timer is always armed later than the time it ran at, so
 * that no guest can keep the vCPU in its timers. */
#include <stdlib.h>
#include <string.h>

#include "devices/pc.h"

#define TX_SIZE 64
#define TRACE_RECORDS 64u
#define ARENA_SIZE (1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
    struct arena arena;
    struct bus bus;
    struct clock clock;
    struct timers timers;
    struct trace trace;
    struct counters counters;
    struct byte_ring serial_tx, serial_rx, console;
    struct ram ram; /* its legacy segments alone */
    struct pc *pc;
    bool intr;
};

static void require(bool holds) {
    if (!holds)
        abort();
}

static void set_intr(void *opaque, bool asserted) {
    struct machine *m = opaque;
    require(m->intr != asserted);
    m->intr = asserted;
}
static void ignore(void *opaque) { (void)opaque; }
static void ignore_exit(void *opaque, uint32_t value) { (void)opaque, (void)value; }

static void make_ring(struct machine *m, struct byte_ring *ring) {
    ring_init(ring, arena_alloc(&m->arena, TX_SIZE, 64), TX_SIZE);
}

static void machine_create(struct machine *m) {
    *m = (struct machine){.clock = {.wall_start = 1700000000, .wall_start_ns = 5}};
    require(arena_create(&m->arena, ARENA_SIZE) == 0);
    m->trace.notify_fd = -1;
    m->trace.enabled = ~0u;
    m->trace.overwrite = true;
    trace_init(&m->trace, arena_alloc(&m->arena, TRACE_RECORDS * sizeof(struct trace_record), 64),
               TRACE_RECORDS);
    make_ring(m, &m->serial_tx);
    make_ring(m, &m->serial_rx);
    make_ring(m, &m->console);
    bus_init(&m->bus, &m->arena, &m->trace, &m->counters);
    timers_init(&m->timers);
    struct pc_options options = {
        .ram_bytes = UINT64_C(3) << 30,
        .firmware_ram = &m->ram,
        .memory_changed = ignore,
        .opaque = m,
        .set_intr = set_intr,
        .reset = ignore,
        .power_off = ignore,
        .debug_exit = ignore_exit,
        .serial_tx = &m->serial_tx,
        .serial_rx = &m->serial_rx,
        .console = &m->console,
    };
    m->pc = pc_create(&m->arena, &m->bus, &m->timers, &m->clock, &m->trace, &options);
}

/* The ports that chips own, so that few accesses are wasted on others. */
static uint16_t choose_port(uint8_t byte) {
    static const uint16_t ports[] = {
        0x20,  0x21,  0xa0,  0xa1,  0x4d0,  0x4d1, 0x40,  0x41,  0x42,  0x43,  0x61,  0x70,
        0x71,  0x3f8, 0x3f9, 0x3fa, 0x3fb,  0x3fc, 0x3fd, 0x3fe, 0x3ff, 0x60,  0x64,  0x92,
        0xf4,  0xe9,  0x80,  0xed,  0xcf8,  0xcf9, 0xcfc, 0xcff, 0x600, 0x602, 0x604, 0x605,
        0x608, 0x60b, 0x60c, 0x60f, 0xffff, 0xcfd, 0x510, 0x511, 0x402,
    };
    return ports[byte % (sizeof ports / sizeof ports[0])];
}

/* Time steps from a nanosecond to some days, timers on time or late. */
static void pass_time(struct machine *m, uint8_t scale, uint8_t amount, bool late) {
    uint64_t end = m->clock.ns_offset + ((uint64_t)amount << (scale % 44));
    for (int i = 0; !late && i < 1000 && m->timers.next <= end; i++) {
        require(m->timers.next >= m->clock.ns_offset);
        m->clock.ns_offset = m->timers.next;
        timers_run(&m->timers, m->clock.ns_offset);
        require(m->timers.next > m->clock.ns_offset);
    }
    m->clock.ns_offset = end > m->clock.ns_offset ? end : m->clock.ns_offset;
    timers_run(&m->timers, m->clock.ns_offset);
    require(m->timers.next > m->clock.ns_offset);
}

static void acknowledge(struct machine *m) {
    struct pic_port port = pc_pic(m->pc);
    int vector = port.acknowledge(port.pic);
    require(vector >= 0 && vector < 256);
}

/* The other side of the rings. */
static void serial_traffic(struct machine *m, uint8_t byte) {
    uint8_t drained[TX_SIZE];
    ring_write(&m->serial_rx, &byte, 1);
    if (byte & 1)
        ring_read(&m->serial_tx, drained, 1 + byte % TX_SIZE);
    if (byte & 2)
        ring_read(&m->console, drained, sizeof drained);
    pc_poll(m->pc);
}

/* Four bytes a step: what, where, and two of value. */
static void step(struct machine *m, const uint8_t *in) {
    static const unsigned sizes[4] = {1, 1, 2, 4};
    unsigned size = sizes[in[0] >> 3 & 3];
    uint16_t port = choose_port(in[1]);
    uint32_t value = in[2] | (uint32_t)in[3] << 8 | (uint32_t)in[0] << 16 | (uint32_t)in[1] << 24;
    switch (in[0] & 7) {
    case 0:
    case 1:
    case 2:
        bus_write(&m->bus, port, value, size);
        break;
    case 3:
    case 4:
        value = bus_read(&m->bus, port, size);
        require(size == 4 || value >> (8 * size) == 0);
        break;
    case 5:
        pass_time(m, in[1], in[2], in[3] & 1);
        break;
    case 6:
        acknowledge(m);
        break;
    default:
        serial_traffic(m, in[2]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct machine *m = calloc(1, sizeof *m);
    require(m != NULL);
    machine_create(m);
    for (size_t at = 0; at + 4 <= size; at += 4)
        step(m, data + at);
    arena_destroy(&m->arena);
    free(m);
    return 0;
}
