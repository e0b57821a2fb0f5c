/* The 8254: counts and outputs at given times, edges on IRQ0, port 0x61. */
#include "devices/pit.h"

#include "devices/rate.h"
#include "tests/unit/device_fixture.h"

#define HZ UINT64_C(1193182)

static struct fixture f;

/* The first nanosecond of CLK `tick`; the count is written at tick 0 and loaded at tick 1. */
static uint64_t at(uint64_t tick) { return rate_ns(tick, PIT_HZ); }

static void start(void) {
    fixture_setup(&f);
    pit_create(&f.arena, &f.bus, &f.timers, &f.clock, fixture_line(&f, 0));
    f.rises[0] = 0; /* OUT is high at power-on */
}

static void program(unsigned channel, uint8_t control, uint16_t count) {
    out8(&f, 0x43, channel << 6 | control);
    out8(&f, (uint16_t)(0x40 + channel), count & 0xff);
    out8(&f, (uint16_t)(0x40 + channel), count >> 8);
}

/* Low byte, then high byte. */
static uint16_t read_count(unsigned channel) {
    uint8_t low = in8(&f, (uint16_t)(0x40 + channel));
    return (uint16_t)(in8(&f, (uint16_t)(0x40 + channel)) << 8 | low);
}

static uint16_t count_of(unsigned channel) {
    out8(&f, 0x43, channel << 6);
    return read_count(channel);
}

static uint8_t status_of(unsigned channel) {
    out8(&f, 0x43, 0xe0 | 2u << channel);
    return in8(&f, (uint16_t)(0x40 + channel));
}

static bool out_of(unsigned channel) { return (status_of(channel) & 0x80) != 0; }

START_TEST(ticks_and_nanoseconds_are_inverse) {
    for (uint64_t tick = 0; tick < 5000000; tick += 997) {
        ck_assert_uint_eq(rate_ticks(rate_ns(tick, PIT_HZ), PIT_HZ), tick);
        if (tick != 0)
            ck_assert_uint_eq(rate_ticks(rate_ns(tick, PIT_HZ) - 1, PIT_HZ), tick - 1);
    }
    ck_assert_uint_eq(rate_ticks(SECOND * 315360000, PIT_HZ), UINT64_C(315360000) * PIT_HZ);
}
END_TEST

START_TEST(mode_0_counts_down_once_and_raises_out) {
    start();
    program(0, 0x30, 1000);
    ck_assert_uint_eq(status_of(0), 0x70); /* OUT low, count not loaded, mode 0 */
    run_to(&f, at(1));
    ck_assert_uint_eq(status_of(0), 0x30);
    ck_assert_uint_eq(count_of(0), 1000);
    run_to(&f, at(251));
    ck_assert_uint_eq(count_of(0), 750);
    run_to(&f, at(1001) - 1);
    ck_assert_uint_eq(count_of(0), 1);
    ck_assert_int_eq(f.level[0], 0);
    run_to(&f, at(1001)); /* N + 1 CLKs after the write */
    ck_assert_uint_eq(count_of(0), 0);
    ck_assert(f.level[0] && out_of(0));
    run_to(&f, at(1011));
    ck_assert_uint_eq(count_of(0), 0xfff6); /* it wraps and goes on */
    run_to(&f, SECOND);
    ck_assert_uint_eq(f.rises[0], 1);
    ck_assert(f.timers.next == TIMER_NEVER);
}
END_TEST

START_TEST(mode_0_half_a_count_stops_counting) {
    start();
    program(0, 0x30, 100);
    run_to(&f, at(1000));
    ck_assert_int_eq(f.level[0], 1);
    out8(&f, 0x40, 50);
    ck_assert_int_eq(f.level[0], 0);
    run_to(&f, at(5000));
    ck_assert_int_eq(f.level[0], 0);
    out8(&f, 0x40, 0);
    run_to(&f, at(5000 + 51) - 1);
    ck_assert_int_eq(f.level[0], 0);
    run_to(&f, at(5000 + 51));
    ck_assert_int_eq(f.level[0], 1);
}
END_TEST

START_TEST(mode_2_repeats_without_drift) {
    start();
    program(0, 0x34, 4772); /* 250 Hz */
    run_to(&f, 10 * SECOND);
    ck_assert_uint_eq(f.rises[0], (10 * HZ - 1) / 4772);
    ck_assert_uint_eq(count_of(0), 4772 - (10 * PIT_HZ - 1) % 4772);
    ck_assert_uint_eq(f.timers.next, at(1 + ((10 * HZ - 1) / 4772 + 1) * 4772));
}
END_TEST

START_TEST(mode_2_shows_n_to_1_and_is_low_at_1) {
    start();
    program(2, 0x34, 3);
    out8(&f, 0x61, 1);
    static const uint16_t counts[] = {3, 2, 1, 3, 2, 1};
    for (unsigned i = 0; i < 6; i++) {
        run_to(&f, at(1 + i));
        ck_assert_uint_eq(count_of(2), counts[i]);
        ck_assert(out_of(2) == (counts[i] != 1));
    }
}
END_TEST

START_TEST(mode_2_takes_a_new_count_at_the_end_of_the_cycle) {
    start();
    program(0, 0x34, 1000);
    run_to(&f, at(501));
    out8(&f, 0x40, 200), out8(&f, 0x40, 0);
    ck_assert_uint_eq(status_of(0) & 0x40, 0x40);
    run_to(&f, at(601));
    ck_assert_uint_eq(count_of(0), 400);
    run_to(&f, at(1001));
    ck_assert_uint_eq(f.rises[0], 1);
    ck_assert_uint_eq(count_of(0), 200);
    ck_assert_uint_eq(status_of(0) & 0x40, 0);
    run_to(&f, at(1201));
    ck_assert_uint_eq(f.rises[0], 2);
}
END_TEST

START_TEST(mode_3_is_a_square_wave) {
    start();
    out8(&f, 0x61, 1);
    program(2, 0x36, 6);
    static const uint16_t even[] = {6, 4, 2, 6, 4, 2, 6};
    static const bool even_out[] = {true, true, true, false, false, false, true};
    for (unsigned i = 0; i < 7; i++) {
        run_to(&f, at(1 + i));
        ck_assert_uint_eq(count_of(2), even[i]);
        ck_assert(out_of(2) == even_out[i]);
    }
    fixture_teardown(&f);
    start();
    out8(&f, 0x61, 1);
    program(2, 0x36, 5);
    static const uint16_t odd[] = {4, 2, 0, 4, 2, 4};
    static const bool odd_out[] = {true, true, true, false, false, true};
    for (unsigned i = 0; i < 6; i++) {
        run_to(&f, at(1 + i));
        ck_assert_uint_eq(count_of(2), odd[i]);
        ck_assert(out_of(2) == odd_out[i]);
    }
}
END_TEST

START_TEST(mode_3_takes_a_new_count_at_the_end_of_the_half_cycle) {
    start();
    program(0, 0x36, 1000);
    run_to(&f, at(101));
    out8(&f, 0x40, 100), out8(&f, 0x40, 0);
    run_to(&f, at(501));
    ck_assert_uint_eq(count_of(0), 100);
    ck_assert(!out_of(0));
    run_to(&f, at(551) - 1);
    ck_assert_uint_eq(f.rises[0], 0);
    run_to(&f, at(551));
    ck_assert(out_of(0));
    ck_assert_uint_eq(f.rises[0], 1);
    run_to(&f, at(651));
    ck_assert_uint_eq(f.rises[0], 2);
}
END_TEST

START_TEST(mode_4_strobes_one_clk_after_the_count) {
    start();
    program(0, 0x38, 1000);
    ck_assert(out_of(0));
    unsigned before = f.rises[0];
    run_to(&f, at(1001));
    ck_assert(!out_of(0));
    ck_assert_uint_eq(f.rises[0], before);
    run_to(&f, at(1002));
    ck_assert(out_of(0));
    ck_assert_uint_eq(f.rises[0], before + 1);
    out8(&f, 0x40, 50), out8(&f, 0x40, 0); /* one shot after the other, as kernels do */
    run_to(&f, at(1002 + 51));
    ck_assert_uint_eq(f.rises[0], before + 1);
    run_to(&f, at(1002 + 52));
    ck_assert_uint_eq(f.rises[0], before + 2);
    run_to(&f, SECOND);
    ck_assert_uint_eq(f.rises[0], before + 2);
}
END_TEST

START_TEST(modes_1_and_5_wait_for_the_gate) {
    start();
    program(2, 0x32, 100);
    run_to(&f, at(1000));
    ck_assert(out_of(2));
    out8(&f, 0x61, 1);
    run_to(&f, at(1001));
    ck_assert(!out_of(2));
    run_to(&f, at(1051));
    out8(&f, 0x61, 0);
    ck_assert_uint_eq(count_of(2), 50); /* the gate's fall changes nothing, */
    out8(&f, 0x61, 1);                  /* its rise starts over */
    run_to(&f, at(1052));
    ck_assert_uint_eq(count_of(2), 100);
    run_to(&f, at(1151));
    ck_assert(!out_of(2));
    run_to(&f, at(1152));
    ck_assert(out_of(2));

    program(2, 0x3a, 10);
    out8(&f, 0x61, 0);
    run_to(&f, at(2000));
    out8(&f, 0x61, 1);
    run_to(&f, at(2011));
    ck_assert(!out_of(2));
    run_to(&f, at(2012));
    ck_assert(out_of(2));
}
END_TEST

START_TEST(a_low_gate_pauses_mode_0_and_restarts_mode_2) {
    start();
    out8(&f, 0x61, 1);
    program(2, 0x30, 1000);
    run_to(&f, at(101));
    out8(&f, 0x61, 0);
    run_to(&f, at(5000));
    ck_assert_uint_eq(count_of(2), 900);
    out8(&f, 0x61, 1);
    run_to(&f, at(5000 + 899));
    ck_assert_uint_eq(in8(&f, 0x61) & 0x20, 0);
    run_to(&f, at(5000 + 900));
    ck_assert_uint_eq(in8(&f, 0x61) & 0x20, 0x20);

    program(2, 0x34, 100);
    run_to(&f, at(6000));
    out8(&f, 0x61, 0);
    ck_assert(out_of(2));
    run_to(&f, at(7000));
    out8(&f, 0x61, 1);
    run_to(&f, at(7001));
    ck_assert_uint_eq(count_of(2), 100);
}
END_TEST

START_TEST(bcd_counts_in_decimal) {
    start();
    out8(&f, 0x61, 1);
    program(2, 0x31, 0x1000);
    run_to(&f, at(2));
    ck_assert_uint_eq(count_of(2), 0x0999);
    run_to(&f, at(1 + 1001));
    ck_assert_uint_eq(count_of(2), 0x9999);
    program(2, 0x31, 0);
    run_to(&f, at(1002 + 2));
    ck_assert_uint_eq(count_of(2), 0x9999);
}
END_TEST

START_TEST(a_latch_holds_until_read_and_the_first_one_wins) {
    start();
    program(0, 0x34, 10000);
    run_to(&f, at(1001));
    out8(&f, 0x43, 0x00);
    run_to(&f, at(2001));
    out8(&f, 0x43, 0x00);
    out8(&f, 0x43, 0xc2);                   /* read-back: count and status of counter 0 */
    ck_assert_uint_eq(in8(&f, 0x40), 0xb4); /* status goes first */
    ck_assert_uint_eq(in8(&f, 0x40), 9000 & 0xff);
    ck_assert_uint_eq(in8(&f, 0x40), 9000 >> 8);
    ck_assert_uint_eq(in8(&f, 0x40), 8000 & 0xff); /* unlatched again */
    ck_assert_uint_eq(in8(&f, 0x40), 8000 >> 8);
}
END_TEST

START_TEST(read_back_latches_several_counters_at_once) {
    start();
    program(0, 0x34, 5000);
    program(1, 0x34, 6000);
    run_to(&f, at(101));
    out8(&f, 0x43, 0xd6); /* counts only, counters 0 and 1 */
    run_to(&f, at(1001));
    ck_assert_uint_eq(read_count(1), 5900);
    ck_assert_uint_eq(read_count(0), 4900);
}
END_TEST

START_TEST(single_byte_access_modes) {
    start();
    out8(&f, 0x61, 1);
    out8(&f, 0x43, 0x90); /* low byte only */
    out8(&f, 0x42, 200);
    run_to(&f, at(51));
    ck_assert_uint_eq(in8(&f, 0x42), 150);
    out8(&f, 0x43, 0xa0); /* high byte only */
    out8(&f, 0x42, 2);
    run_to(&f, at(51 + 1 + 256));
    ck_assert_uint_eq(in8(&f, 0x42), 1);
}
END_TEST

START_TEST(late_edges_come_one_by_one) {
    start();
    program(0, 0x34, 11932); /* 100 Hz */
    run_to(&f, 5 * MS);
    unsigned before = f.rises[0];
    jump_to(&f, 105 * MS); /* ten edges fell due meanwhile */
    ck_assert_uint_eq(f.rises[0], before + 1);
    run_to(&f, 110 * MS - 1 * MS);
    ck_assert_uint_eq(f.rises[0], before + 1);
    run_to(&f, 110 * MS + 20000);
    ck_assert_uint_eq(f.rises[0], before + 2);
    run_to(&f, 300 * MS + 100000); /* caught up, exactly */
    ck_assert_uint_eq(f.rises[0], before + 30);
    run_to(&f, 1000 * MS + 100000);
    ck_assert_uint_eq(f.rises[0], before + 100);
}
END_TEST

START_TEST(after_a_long_stop_only_a_few_edges_are_owed) {
    start();
    program(0, 0x34, 1193); /* 1000 Hz */
    unsigned before = f.rises[0];
    jump_to(&f, 60 * SECOND);
    run_to(&f, 62 * SECOND);
    ck_assert_uint_ge(f.rises[0] - before, 2000 + PIT_OWED_MAX);
    ck_assert_uint_le(f.rises[0] - before, 2000 + PIT_OWED_MAX + 3);
}
END_TEST

START_TEST(absurdly_fast_edges_are_thinned) {
    start();
    program(0, 0x34, 1);
    run_to(&f, SECOND);
    ck_assert_uint_gt(f.rises[0], 10000);
    ck_assert_uint_le(f.rises[0], 50000);
}
END_TEST

START_TEST(port_61_keeps_its_bits_and_refreshes) {
    start();
    out8(&f, 0x61, 0xff);
    ck_assert_uint_eq(in8(&f, 0x61) & 0x0f, 0x0f);
    unsigned toggles = 0;
    uint8_t last = in8(&f, 0x61) & 0x10;
    for (uint64_t ns = 0; ns < MS; ns += 1000) {
        run_to(&f, ns);
        uint8_t bit = in8(&f, 0x61) & 0x10;
        toggles += bit != last;
        last = bit;
    }
    ck_assert_uint_ge(toggles, 65); /* each 15.09 us */
    ck_assert_uint_le(toggles, 67);
}
END_TEST

RUN_SUITE("pit", ticks_and_nanoseconds_are_inverse, mode_0_counts_down_once_and_raises_out,
          mode_0_half_a_count_stops_counting, mode_2_repeats_without_drift,
          mode_2_shows_n_to_1_and_is_low_at_1, mode_2_takes_a_new_count_at_the_end_of_the_cycle,
          mode_3_is_a_square_wave, mode_3_takes_a_new_count_at_the_end_of_the_half_cycle,
          mode_4_strobes_one_clk_after_the_count, modes_1_and_5_wait_for_the_gate,
          a_low_gate_pauses_mode_0_and_restarts_mode_2, bcd_counts_in_decimal,
          a_latch_holds_until_read_and_the_first_one_wins,
          read_back_latches_several_counters_at_once, single_byte_access_modes,
          late_edges_come_one_by_one, after_a_long_stop_only_a_few_edges_are_owed,
          absurdly_fast_edges_are_thinned, port_61_keeps_its_bits_and_refreshes)
