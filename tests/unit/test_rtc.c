/* The MC146818 and the calendar under it: time in every format, flags, interrupts, CMOS. */
#include "devices/rtc.h"

#include <time.h>

#include "devices/calendar.h"
#include "tests/unit/device_fixture.h"

static struct fixture f;
static struct rtc *rtc;

static uint8_t get(uint8_t index) {
    out8(&f, 0x70, index);
    return in8(&f, 0x71);
}
static void put(uint8_t index, uint8_t value) {
    out8(&f, 0x70, index);
    out8(&f, 0x71, value);
}

/* 2023-12-31 23:59:58.25, a Sunday. */
static void start(void) {
    fixture_setup(&f);
    f.clock.wall_start = 1704067198;
    f.clock.wall_start_ns = 250000000;
    rtc =
        rtc_create(&f.arena, &f.bus, &f.timers, &f.clock, fixture_line(&f, 8), UINT64_C(256) << 20);
}

START_TEST(the_calendar_agrees_with_the_c_library) {
    for (int64_t t = -INT64_C(40000000000); t < INT64_C(300000000000); t += 86400 * 173 + 12345) {
        time_t when = (time_t)t;
        struct tm tm;
        gmtime_r(&when, &tm);
        struct calendar c = calendar_from_seconds(t);
        ck_assert_int_eq(c.year, tm.tm_year + 1900);
        ck_assert_uint_eq(c.month, (unsigned)tm.tm_mon + 1);
        ck_assert_uint_eq(c.day, (unsigned)tm.tm_mday);
        ck_assert_uint_eq(c.hour * 3600 + c.minute * 60 + c.second,
                          (unsigned)(tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec));
        ck_assert_uint_eq(c.weekday, (unsigned)tm.tm_wday);
        ck_assert_int_eq(calendar_to_seconds(&c), t);
    }
}
END_TEST

START_TEST(it_starts_with_the_hosts_time_and_carries_over) {
    start();
    ck_assert_uint_eq(get(0), 0x58);
    ck_assert_uint_eq(get(2), 0x59);
    ck_assert_uint_eq(get(4), 0x23);
    ck_assert_uint_eq(get(6), 1);
    ck_assert_uint_eq(get(7), 0x31);
    ck_assert_uint_eq(get(8), 0x12);
    ck_assert_uint_eq(get(9), 0x23);
    ck_assert_uint_eq(get(0x32), 0x20);
    run_to(&f, 1750 * MS - 1);
    ck_assert_uint_eq(get(0), 0x59);
    run_to(&f, 1750 * MS);
    ck_assert_uint_eq(get(0), 0);
    ck_assert_uint_eq(get(4), 0);
    ck_assert_uint_eq(get(6), 2);
    ck_assert_uint_eq(get(7), 1);
    ck_assert_uint_eq(get(8), 1);
    ck_assert_uint_eq(get(9), 0x24);
}
END_TEST

START_TEST(binary_and_12_hour_formats) {
    start();
    put(0x0b, 0x06);
    ck_assert_uint_eq(get(0), 58);
    ck_assert_uint_eq(get(4), 23);
    put(0x0b, 0x04);
    ck_assert_uint_eq(get(4), 11 | 0x80);
    put(0x0b, 0x00);
    ck_assert_uint_eq(get(4), 0x11 | 0x80);
    put(4, 0x12); /* midnight */
    put(0x0b, 0x02);
    ck_assert_uint_eq(get(4), 0);
    put(0x0b, 0x00);
    put(4, 0x92); /* noon */
    put(0x0b, 0x02);
    ck_assert_uint_eq(get(4), 0x12);
}
END_TEST

START_TEST(uip_warns_before_an_update) {
    start();
    run_to(&f, 1750 * MS - 2228001);
    ck_assert_uint_eq(get(0x0a) & 0x80, 0);
    run_to(&f, 1750 * MS - 2228000);
    ck_assert_uint_eq(get(0x0a) & 0x80, 0x80);
    run_to(&f, 1750 * MS);
    ck_assert_uint_eq(get(0x0a) & 0x80, 0);
    put(0x0a, 0xff);
    ck_assert_uint_eq(get(0x0a), 0x7f);
}
END_TEST

START_TEST(set_holds_the_registers) {
    start();
    put(0x0b, 0x92); /* SET with UIE: SET clears UIE */
    ck_assert_uint_eq(get(0x0b), 0x82);
    run_to(&f, 5 * SECOND);
    ck_assert_uint_eq(get(0), 0x58);
    put(0, 0x30), put(2, 0x15), put(4, 0x08), put(6, 3), put(7, 0x29), put(8, 0x02), put(9, 0x00);
    ck_assert_uint_eq(get(2), 0x15);
    put(0x0b, 0x02);
    ck_assert_uint_eq(get(0), 0x30);
    run_to(&f, 5 * SECOND + 750 * MS); /* the second's phase went on */
    ck_assert_uint_eq(get(0), 0x31);
    run_to(&f, 86400 * SECOND + 5 * SECOND);
    ck_assert_uint_eq(get(7), 0x01);
    ck_assert_uint_eq(get(8), 0x03);
    ck_assert_uint_eq(get(6), 4);
}
END_TEST

START_TEST(a_divider_reset_begins_half_a_second_before_an_update) {
    start();
    put(0x0b, 0x82);
    put(0x0a, 0x76);
    put(0, 0x10);
    put(0x0b, 0x02);
    run_to(&f, 3 * SECOND);
    ck_assert_uint_eq(get(0), 0x10);
    put(0x0a, 0x26);
    run_to(&f, 3500 * MS - 1);
    ck_assert_uint_eq(get(0), 0x10);
    run_to(&f, 3500 * MS);
    ck_assert_uint_eq(get(0), 0x11);
    run_to(&f, 4500 * MS);
    ck_assert_uint_eq(get(0), 0x12);
}
END_TEST

START_TEST(a_running_clock_can_be_set_byte_by_byte) {
    start();
    put(2, 0x30);
    ck_assert_uint_eq(get(0), 0x58);
    ck_assert_uint_eq(get(2), 0x30);
    ck_assert_uint_eq(get(4), 0x23);
}
END_TEST

START_TEST(the_update_interrupt_comes_each_second) {
    start();
    put(0x0b, 0x12);
    run_to(&f, 1750 * MS - 1000 * MS);
    ck_assert_uint_eq(f.rises[8], 1);
    run_to(&f, 10 * SECOND);
    ck_assert_uint_eq(f.rises[8], 1); /* until register C is read */
    ck_assert(f.timers.next == TIMER_NEVER);
    ck_assert_uint_eq(get(0x0c), 0xf0); /* all flags rise without their enables (midnight: AF) */
    ck_assert_int_eq(f.level[8], 0);
    ck_assert_uint_eq(get(0x0c), 0);
    run_to(&f, 10750 * MS);
    ck_assert_uint_eq(f.rises[8], 2);
}
END_TEST

START_TEST(the_periodic_interrupt_keeps_its_rate) {
    start();
    put(0x0b, 0x42); /* 1024 Hz */
    unsigned count = 0;
    while (f.clock.ns_offset < SECOND) {
        run_to(&f, f.timers.next);
        ck_assert_uint_eq(get(0x0c) & 0xc0, 0xc0);
        count++;
    }
    ck_assert_uint_eq(count, 1024);
    put(0x0a, 0x20); /* rate 0: none */
    ck_assert(f.timers.next == TIMER_NEVER);
    put(0x0a, 0x21); /* rate 1 is 256 Hz */
    ck_assert_uint_eq(f.timers.next, SECOND + 3906250);
}
END_TEST

START_TEST(the_alarm_matches_with_wildcards) {
    start();
    put(1, 0x05), put(3, 0x00), put(5, 0x00);
    put(0x0b, 0x22);
    run_to(&f, 6750 * MS - 1);
    ck_assert_int_eq(f.level[8], 0);
    run_to(&f, 6750 * MS);
    ck_assert_int_eq(f.level[8], 1);
    ck_assert_uint_eq(get(0x0c) & 0xb0, 0xb0);
    put(3, 0xff), put(5, 0xc0); /* each minute at second 5 */
    run_to(&f, 66750 * MS);
    ck_assert_uint_eq(get(0x0c) & 0xa0, 0xa0);
    run_to(&f, 126750 * MS);
    ck_assert_uint_eq(get(0x0c) & 0xa0, 0xa0);
    put(5, 0x77); /* no such hour */
    run_to(&f, 200000 * SECOND);
    ck_assert_uint_eq(get(0x0c) & 0xa0, 0);
}
END_TEST

START_TEST(an_alarm_missed_while_the_host_slept_is_not_lost) {
    start();
    put(1, 0xff), put(3, 0x30), put(5, 0x04);
    put(0x0b, 0x22);
    jump_to(&f, 86400 * 3 * SECOND);
    ck_assert_uint_eq(f.rises[8], 1);
}
END_TEST

START_TEST(cmos_bytes_tell_the_memory_size) {
    start();
    ck_assert_int_eq(get(0x15) | get(0x16) << 8, 640);
    ck_assert_int_eq(get(0x17) | get(0x18) << 8, 0xffff);
    ck_assert_int_eq(get(0x30) | get(0x31) << 8, 0xffff);
    ck_assert_int_eq(get(0x34) | get(0x35) << 8, 240 * 16);
    ck_assert_uint_eq(get(0x0d), 0x80);
    put(0x0d, 0), put(0x0c, 0xff);
    ck_assert_uint_eq(get(0x0d), 0x80);
    put(0x7f, 0xa5);
    ck_assert_uint_eq(get(0x7f), 0xa5);
    ck_assert(!rtc_nmi_masked(rtc));
    ck_assert_uint_eq(get(0xff), 0xa5); /* bit 7 is the NMI mask */
    ck_assert(rtc_nmi_masked(rtc));
    bus_write(&f.bus, 0x70, 0x5a7e, 2); /* a word goes to both ports */
    ck_assert_uint_eq(get(0x7e), 0x5a);
}
END_TEST

START_TEST(nonsense_in_the_registers_is_harmless) {
    start();
    for (unsigned value = 0; value < 256; value++) {
        put(0x0b, (uint8_t)(0x80 | (value & 6)));
        for (uint8_t index = 0; index < 10; index++)
            put(index, (uint8_t)value);
        put(0x32, (uint8_t)value);
        put(0x0b, (uint8_t)(value & 6) | 0x70);
        run_to(&f, f.clock.ns_offset + SECOND);
        get(0x0c), get(9), get(0x32), get(6);
    }
}
END_TEST

RUN_SUITE("rtc", the_calendar_agrees_with_the_c_library,
          it_starts_with_the_hosts_time_and_carries_over, binary_and_12_hour_formats,
          uip_warns_before_an_update, set_holds_the_registers,
          a_divider_reset_begins_half_a_second_before_an_update,
          a_running_clock_can_be_set_byte_by_byte, the_update_interrupt_comes_each_second,
          the_periodic_interrupt_keeps_its_rate, the_alarm_matches_with_wildcards,
          an_alarm_missed_while_the_host_slept_is_not_lost, cmos_bytes_tell_the_memory_size,
          nonsense_in_the_registers_is_harmless)
