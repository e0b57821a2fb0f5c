/* The whole PC: wiring, small ports, and what a kernel does with them when it starts. */
#include "devices/pc.h"

#include "devices/pit.h"
#include "devices/rate.h"
#include "tests/unit/device_fixture.h"

struct outside {
    bool intr;
    unsigned resets, power_offs, exits, serial_wakes, console_wakes;
    uint32_t exit_value;
};

static struct fixture f;
static struct pc *pc;
static struct outside outside;
static struct byte_ring serial_tx, serial_rx, console;
static uint8_t serial_tx_bytes[64], serial_rx_bytes[64], console_bytes[4];

static void set_intr(void *opaque, bool asserted) { ((struct outside *)opaque)->intr = asserted; }
static void reset(void *opaque) { ((struct outside *)opaque)->resets++; }
static void power_off(void *opaque) { ((struct outside *)opaque)->power_offs++; }
static void serial_notify(void *opaque) { ((struct outside *)opaque)->serial_wakes++; }
static void console_notify(void *opaque) { ((struct outside *)opaque)->console_wakes++; }
static void debug_exit(void *opaque, uint32_t value) {
    struct outside *o = opaque;
    o->exits++;
    o->exit_value = value;
}

static void start(void) {
    fixture_setup(&f);
    outside = (struct outside){0};
    ring_init(&serial_tx, serial_tx_bytes, sizeof serial_tx_bytes);
    ring_init(&serial_rx, serial_rx_bytes, sizeof serial_rx_bytes);
    ring_init(&console, console_bytes, sizeof console_bytes);
    struct pc_options options = {
        .ram_bytes = UINT64_C(64) << 20,
        .opaque = &outside,
        .set_intr = set_intr,
        .reset = reset,
        .power_off = power_off,
        .debug_exit = debug_exit,
        .serial_tx = &serial_tx,
        .serial_rx = &serial_rx,
        .serial_notify = serial_notify,
        .console = &console,
        .console_notify = console_notify,
    };
    pc = pc_create(&f.arena, &f.bus, &f.timers, &f.clock, &f.trace, &options);
}

static void initialize_pics(void) {
    static const uint8_t master[] = {0x20, 0x04, 0x01, 0x00}, slave[] = {0x28, 0x02, 0x01, 0x00};
    out8(&f, 0x20, 0x11), out8(&f, 0xa0, 0x11);
    for (unsigned i = 0; i < 4; i++)
        out8(&f, 0x21, master[i]), out8(&f, 0xa1, slave[i]);
}

static int acknowledge(void) {
    struct pic_port port = pc_pic(pc);
    return port.acknowledge(port.pic);
}

static void end_of_interrupt(void) { out8(&f, 0xa0, 0x20), out8(&f, 0x20, 0x20); }

START_TEST(chips_are_wired_to_their_lines) {
    start();
    initialize_pics();
    ck_assert(!outside.intr);
    out8(&f, 0x43, 0x34), out8(&f, 0x40, 0x9c), out8(&f, 0x40, 0x2e);
    ck_assert(!outside.intr);
    run_to(&f, 11 * MS);
    ck_assert(outside.intr);
    ck_assert_int_eq(acknowledge(), 0x20);
    end_of_interrupt();
    out8(&f, 0x60, 0xee);
    ck_assert_int_eq(acknowledge(), 0x21);
    end_of_interrupt();
    out8(&f, 0x3fc, 0x08), out8(&f, 0x3f9, 0x01);
    ring_write(&serial_rx, "x", 1);
    pc_poll(pc);
    ck_assert_int_eq(acknowledge(), 0x24);
    end_of_interrupt();
    out8(&f, 0x70, 0x8b), out8(&f, 0x71, 0x42);
    ck_assert(pc_nmi_masked(pc));
    run_to(&f, 12 * MS);
    ck_assert_int_eq(acknowledge(), 0x28);
    end_of_interrupt();
    ck_assert(!outside.intr);
}
END_TEST

START_TEST(a_kernel_measures_its_tsc_with_channel_2) {
    start();
    /* 50 ms on channel 2, mode 0, gate on, speaker off; then wait for OUT at port 0x61. */
    out8(&f, 0x61, (in8(&f, 0x61) & ~2u) | 1);
    uint16_t latch = PIT_HZ / 20;
    out8(&f, 0x43, 0xb0), out8(&f, 0x42, latch & 0xff), out8(&f, 0x42, latch >> 8);
    ck_assert_uint_eq(in8(&f, 0x61) & 0x20, 0);
    while (!(in8(&f, 0x61) & 0x20))
        run_to(&f, f.clock.ns_offset + 1000);
    ck_assert_uint_ge(f.clock.ns_offset, rate_ns(latch + 1u, PIT_HZ));
    ck_assert_uint_le(f.clock.ns_offset, rate_ns(latch + 1u, PIT_HZ) + 1000);
    ck_assert_uint_le(f.clock.ns_offset - 50 * MS, 2000);
}
END_TEST

START_TEST(resets_come_from_three_places) {
    start();
    out8(&f, 0x64, 0xfe);
    ck_assert_uint_eq(outside.resets, 1);
    ck_assert_uint_eq(in8(&f, 0x92), 0x02);
    out8(&f, 0x92, 0x03);
    ck_assert_uint_eq(outside.resets, 2);
    out8(&f, 0x92, 0x03); /* only a rise counts */
    ck_assert_uint_eq(outside.resets, 2);
    out8(&f, 0xcf9, 0x02);
    ck_assert_uint_eq(outside.resets, 2);
    out8(&f, 0xcf9, 0x06);
    ck_assert_uint_eq(outside.resets, 3);
    out8(&f, 0xcf9, 0x00);
    out8(&f, 0xcf9, 0x0e);
    ck_assert_uint_eq(outside.resets, 4);
    ck_assert_uint_eq(in8(&f, 0xcf9), 0x0e);
}
END_TEST

START_TEST(no_pci_device_answers) {
    start();
    bus_write(&f.bus, 0xcf8, 0x80000000, 4);
    ck_assert_uint_eq(bus_read(&f.bus, 0xcf8, 4), 0x80000000);
    ck_assert_uint_eq(bus_read(&f.bus, 0xcfc, 4), 0xffffffff);
    ck_assert_uint_eq(bus_read(&f.bus, 0xcfe, 2), 0xffff);
    out8(&f, 0xcfb, 0x01); /* bytes do not reach the address register */
    ck_assert_uint_eq(bus_read(&f.bus, 0xcf8, 4), 0x80000000);
    ck_assert_uint_eq(in8(&f, 0xcf8), 0xff);
    bus_write(&f.bus, 0xcf8, 0xffffffff, 4);
    ck_assert_uint_eq(bus_read(&f.bus, 0xcf8, 4), 0x80fffffc);
    ck_assert_uint_eq(outside.resets, 0);
}
END_TEST

START_TEST(debug_ports) {
    start();
    bus_write(&f.bus, 0xf4, 0x12345678, 4);
    ck_assert_uint_eq(outside.exits, 1);
    ck_assert_uint_eq(outside.exit_value, 0x12345678);
    out8(&f, 0xf5, 1);
    ck_assert_uint_eq(outside.exits, 1);
    ck_assert_uint_eq(in8(&f, 0xe9), 0xe9);
    for (const char *c = "four and more"; *c; c++)
        out8(&f, 0xe9, (uint8_t)*c);
    char text[8] = {0};
    ck_assert_uint_eq(ring_read(&console, text, 8), 4);
    ck_assert_str_eq(text, "four");
    ck_assert_uint_eq(outside.console_wakes, 1);
    out8(&f, 0x80, 0x42);
    ck_assert_uint_eq(in8(&f, 0x80), 0x42);
    out8(&f, 0xed, 0x43);
    ck_assert_uint_eq(in8(&f, 0xed), 0x43);
}
END_TEST

START_TEST(power_off_and_serial_reach_the_outside) {
    start();
    bus_write(&f.bus, 0x604, 5u << 10 | 1u << 13, 2);
    ck_assert_uint_eq(outside.power_offs, 1);
    out8(&f, 0x3f8, '!');
    ck_assert_uint_eq(outside.serial_wakes, 1);
    ck_assert_uint_eq(serial_tx_bytes[0], '!');
}
END_TEST

START_TEST(an_idle_pc_needs_no_timer) {
    start();
    ck_assert(f.timers.next == TIMER_NEVER);
    run_to(&f, SECOND * 3600);
    ck_assert_uint_eq(f.timers.count, 5);
}
END_TEST

START_TEST(two_machines_live_side_by_side) {
    struct fixture first;
    start();
    out8(&f, 0x3ff, 0x11);
    first = f;
    start();
    out8(&f, 0x3ff, 0x22);
    ck_assert_uint_eq(in8(&first, 0x3ff), 0x11);
    ck_assert_uint_eq(in8(&f, 0x3ff), 0x22);
}
END_TEST

RUN_SUITE("pc", chips_are_wired_to_their_lines, a_kernel_measures_its_tsc_with_channel_2,
          resets_come_from_three_places, no_pci_device_answers, debug_ports,
          power_off_and_serial_reach_the_outside, an_idle_pc_needs_no_timer,
          two_machines_live_side_by_side)
