/* The 8254 of a PC and port 0x61: see pit.h. */
#include "devices/pit.h"

#include <assert.h>

#include "devices/pit_counter.h"
#include "devices/port_bytes.h"
#include "devices/rate.h"

#define PIT_PORT 0x40
#define CONTROL_PORT 0x43
#define SYSTEM_PORT 0x61
#define CHANNELS 3
#define REFRESH_CLKS 18 /* memory refresh: one each 15.09 us */

/* Periodic edges closer than this (20 us) are owed instead: no guest lives on more, and the
 * host's timers are no finer. */
#define EDGE_GAP_MIN 24

enum { SYSTEM_GATE2 = 0x01, SYSTEM_WRITABLE = 0x0f, SYSTEM_REFRESH = 0x10, SYSTEM_OUT2 = 0x20 };
enum { READ_BACK_NO_COUNT = 0x20, READ_BACK_NO_STATUS = 0x10 };

struct pit {
    struct pit_counter channels[CHANNELS];
    uint8_t system;      /* port 0x61, the bits that the guest writes */
    uint64_t counted_to; /* edges of channel 0 up to this CLK are delivered or owed */
    uint32_t owed;
    struct timer timer;
    struct timers *timers;
    const struct clock *clock;
    struct irq_line irq;
};

static uint64_t tick_now(const struct pit *pit) {
    return rate_ticks(clock_now(pit->clock), PIT_HZ);
}

/* How many rising edges channel 0 made in (from, to]. */
static uint64_t edges_between(struct pit_counter *c, uint64_t from, uint64_t to) {
    uint64_t first = pit_counter_next_rise(c, from);
    if (first > to)
        return 0;
    pit_counter_out(c, to); /* a new period is in force from here on */
    uint32_t period = pit_counter_period(c);
    return period == 0 ? 1 : 1 + (to - first) / period;
}

/* Sets the timer to the next edge: one that falls due, or one that is owed. */
static void arm_timer(struct pit *pit, uint64_t tick) {
    const struct pit_counter *c = &pit->channels[0];
    uint64_t next = pit_counter_next_rise(c, tick);
    uint32_t period = pit_counter_period(c);
    assert(next > tick && (pit->owed == 0 || period != 0));
    if (pit->owed != 0 && next - tick > period / 2)
        next = tick + period / 2;
    if (period != 0 && next - tick < EDGE_GAP_MIN)
        next = tick + EDGE_GAP_MIN;
    timer_arm(pit->timers, &pit->timer, next == PIT_NEVER ? TIMER_NEVER : rate_ns(next, PIT_HZ));
}

/* Delivers what channel 0 has produced up to `tick`: at most one edge. */
static void deliver_edges(struct pit *pit, uint64_t tick) {
    struct pit_counter *c = &pit->channels[0];
    assert(tick >= pit->counted_to && pit->owed <= PIT_OWED_MAX);
    uint64_t due = pit->owed + edges_between(c, pit->counted_to, tick);
    pit->counted_to = tick;
    if (due == 0)
        return;
    uint64_t owed = due - 1;
    pit->owed = owed < PIT_OWED_MAX ? (uint32_t)owed : PIT_OWED_MAX;
    if (pit_counter_period(c) == 0)
        pit->owed = 0;
    irq_set(&pit->irq, 0);
    irq_set(&pit->irq, 1);
}

static void timer_fired(void *opaque) {
    struct pit *pit = opaque;
    uint64_t tick = tick_now(pit);
    deliver_edges(pit, tick);
    arm_timer(pit, tick);
}

/* Before the guest reprograms channel 0: what was due comes first, what was owed is forgotten. */
static void settle_channel0(struct pit *pit, uint64_t tick) {
    if (pit_counter_next_rise(&pit->channels[0], pit->counted_to) <= tick)
        deliver_edges(pit, tick);
    pit->counted_to = tick;
    pit->owed = 0;
}

/* After: the IRQ line follows OUT. */
static void restart_channel0(struct pit *pit, uint64_t tick) {
    irq_set(&pit->irq, pit_counter_out(&pit->channels[0], tick));
    arm_timer(pit, tick);
}

/* The read-back command latches counts and states of several counters at once. */
static void read_back(struct pit *pit, uint64_t tick, uint8_t command) {
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (!(command >> (i + 1) & 1))
            continue;
        if (!(command & READ_BACK_NO_COUNT))
            pit_counter_latch_count(&pit->channels[i], tick);
        if (!(command & READ_BACK_NO_STATUS))
            pit_counter_latch_status(&pit->channels[i], tick);
    }
}

static void write_control(struct pit *pit, uint64_t tick, uint8_t control) {
    unsigned index = control >> 6;
    if (index == 3) {
        read_back(pit, tick, control);
        return;
    }
    if ((control >> 4 & 3) == 0) {
        pit_counter_latch_count(&pit->channels[index], tick);
        return;
    }
    if (index == 0)
        settle_channel0(pit, tick);
    pit_counter_control(&pit->channels[index], control);
    if (index == 0)
        restart_channel0(pit, tick);
}

static void pit_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct pit *pit = device;
    if (size > 1) {
        port_write_bytes(pit_write, device, port, value, size);
        return;
    }
    uint64_t tick = tick_now(pit);
    unsigned index = port - PIT_PORT;
    if (port == CONTROL_PORT) {
        write_control(pit, tick, (uint8_t)value);
    } else if (index == 0) {
        settle_channel0(pit, tick);
        pit_counter_write(&pit->channels[0], tick, (uint8_t)value);
        restart_channel0(pit, tick);
    } else if (index < CHANNELS) {
        pit_counter_write(&pit->channels[index], tick, (uint8_t)value);
    }
}

static uint32_t pit_read(void *device, uint16_t port, unsigned size) {
    struct pit *pit = device;
    if (size > 1)
        return port_read_bytes(pit_read, device, port, size);
    unsigned index = port - PIT_PORT;
    if (index >= CHANNELS) /* the control word cannot be read */
        return PORT_FLOATING;
    return pit_counter_read(&pit->channels[index], tick_now(pit));
}

static void system_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct pit *pit = device;
    (void)size; /* nothing of ours behind this port */
    if (port != SYSTEM_PORT)
        return;
    pit->system = value & SYSTEM_WRITABLE;
    pit_counter_set_gate(&pit->channels[2], tick_now(pit), (value & SYSTEM_GATE2) != 0);
}

static uint32_t system_read(void *device, uint16_t port, unsigned size) {
    struct pit *pit = device;
    if (size > 1)
        return port_read_bytes(system_read, device, port, size);
    if (port != SYSTEM_PORT)
        return PORT_FLOATING;
    uint64_t tick = tick_now(pit);
    uint8_t value = pit->system;
    if (tick / REFRESH_CLKS & 1)
        value |= SYSTEM_REFRESH;
    if (pit_counter_out(&pit->channels[2], tick))
        value |= SYSTEM_OUT2;
    return value;
}

struct pit *pit_create(struct arena *arena, struct bus *bus, struct timers *timers,
                       const struct clock *clock, struct irq_line irq) {
    struct pit *pit = ARENA_NEW(arena, struct pit);
    pit->timers = timers;
    pit->clock = clock;
    pit->irq = irq;
    for (int i = 0; i < CHANNELS; i++)
        pit_counter_init(&pit->channels[i], i != 2);
    irq_set(&pit->irq, pit_counter_out(&pit->channels[0], 0));
    timer_add(timers, &pit->timer, "pit", timer_fired, pit);
    bus_claim(bus, "pit", PIT_PORT, 4, pit_read, pit_write, pit);
    bus_claim(bus, "port 61", SYSTEM_PORT, 1, system_read, system_write, pit);
    return pit;
}
