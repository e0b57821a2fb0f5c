/* The keyboard controller: its commands, the keyboard's, the absent mouse, resets. */
#include "devices/i8042.h"

#include "tests/unit/device_fixture.h"

static struct fixture f;
static unsigned resets;

static void note_reset(void *opaque) { (*(unsigned *)opaque)++; }

static void start(void) {
    fixture_setup(&f);
    resets = 0;
    i8042_create(&f.arena, &f.bus, fixture_line(&f, 1), fixture_line(&f, 12),
                 (struct pulse){note_reset, &resets});
}

/* Reads a byte that must be there. */
static uint8_t take(void) {
    ck_assert_uint_eq(in8(&f, 0x64) & 1, 1);
    return in8(&f, 0x60);
}

static void expect_nothing(void) { ck_assert_uint_eq(in8(&f, 0x64) & 1, 0); }

static uint8_t ask(uint8_t command) {
    out8(&f, 0x64, command);
    return take();
}

START_TEST(controller_tests_pass) {
    start();
    ck_assert_uint_eq(in8(&f, 0x64), 0x14);
    ck_assert_uint_eq(ask(0xaa), 0x55);
    ck_assert_uint_eq(ask(0xab), 0x00);
    ck_assert_uint_eq(ask(0xa9), 0x00);
    ck_assert_uint_eq(ask(0xa4), 0xf1);
    ck_assert_uint_eq(ask(0xd0) & 0x03, 0x03);
    expect_nothing();
}
END_TEST

START_TEST(the_command_byte_reads_back) {
    start();
    out8(&f, 0x64, 0x60), out8(&f, 0x60, 0x74);
    ck_assert_uint_eq(ask(0x20), 0x74);
    out8(&f, 0x64, 0xa7);
    ck_assert_uint_eq(ask(0x20), 0x74);
    out8(&f, 0x64, 0xa8);
    ck_assert_uint_eq(ask(0x20), 0x54);
    out8(&f, 0x64, 0xae);
    ck_assert_uint_eq(ask(0x20), 0x44);
    out8(&f, 0x64, 0xad);
    ck_assert_uint_eq(ask(0x20), 0x54);
    out8(&f, 0x64, 0x7f), out8(&f, 0x60, 0x99);
    ck_assert_uint_eq(ask(0x3f), 0x99);
}
END_TEST

START_TEST(the_keyboard_answers_what_probing_asks) {
    start();
    out8(&f, 0x60, 0xff);
    ck_assert_uint_eq(take(), 0xfa);
    ck_assert_uint_eq(take(), 0xaa);
    out8(&f, 0x60, 0xf2);
    ck_assert_uint_eq(take(), 0xfa);
    ck_assert_uint_eq(take(), 0xab);
    ck_assert_uint_eq(take(), 0x83);
    static const uint8_t with_parameter[] = {0xed, 0x02, 0xf3, 0x00, 0xf0, 0x03};
    for (unsigned i = 0; i < sizeof with_parameter; i++) {
        out8(&f, 0x60, with_parameter[i]);
        ck_assert_uint_eq(take(), 0xfa);
    }
    out8(&f, 0x60, 0xf0), take(), out8(&f, 0x60, 0x00);
    ck_assert_uint_eq(take(), 0xfa);
    ck_assert_uint_eq(take(), 0x03);
    static const uint8_t simple[] = {0xf4, 0xf5, 0xf6, 0xfa};
    for (unsigned i = 0; i < sizeof simple; i++) {
        out8(&f, 0x60, simple[i]);
        ck_assert_uint_eq(take(), 0xfa);
    }
    out8(&f, 0x60, 0xee);
    ck_assert_uint_eq(take(), 0xee);
    out8(&f, 0x60, 0xfe);
    ck_assert_uint_eq(take(), 0xee);
    out8(&f, 0x60, 0x12);
    ck_assert_uint_eq(take(), 0xfe);
    expect_nothing();
}
END_TEST

START_TEST(each_byte_is_an_edge_on_irq1) {
    start();
    out8(&f, 0x60, 0xff);
    ck_assert_uint_eq(f.rises[1], 1);
    take();
    ck_assert_uint_eq(f.rises[1], 2);
    take();
    ck_assert_int_eq(f.level[1], 0);
    out8(&f, 0x64, 0x60), out8(&f, 0x60, 0x44);
    out8(&f, 0x60, 0xee);
    ck_assert_uint_eq(f.rises[1], 2);
}
END_TEST

START_TEST(a_disabled_keyboard_waits) {
    start();
    out8(&f, 0x60, 0xff);
    out8(&f, 0x64, 0xad);
    ck_assert_uint_eq(take(), 0xfa);
    expect_nothing();
    out8(&f, 0x64, 0xae);
    ck_assert_uint_eq(take(), 0xaa);
}
END_TEST

START_TEST(the_absent_mouse_times_out_at_once) {
    start();
    out8(&f, 0x64, 0x60), out8(&f, 0x60, 0x47);
    out8(&f, 0x64, 0xd4), out8(&f, 0x60, 0xf2);
    ck_assert_uint_eq(in8(&f, 0x64) & 0x61, 0x61);
    ck_assert_uint_eq(f.rises[12], 1);
    ck_assert_uint_eq(f.rises[1], 0);
    ck_assert_uint_eq(take(), 0xfe);
    ck_assert_uint_eq(in8(&f, 0x64) & 0x61, 0);
    ck_assert_int_eq(f.level[12], 0);
    out8(&f, 0x64, 0xd3), out8(&f, 0x60, 0x5a); /* the loop that finds the port */
    ck_assert_uint_eq(in8(&f, 0x64) & 0x61, 0x21);
    ck_assert_uint_eq(take(), 0x5a);
}
END_TEST

START_TEST(resets_by_pulse_and_by_output_port) {
    start();
    out8(&f, 0x64, 0xff), out8(&f, 0x64, 0xf1);
    ck_assert_uint_eq(resets, 0);
    out8(&f, 0x64, 0xfe);
    ck_assert_uint_eq(resets, 1);
    out8(&f, 0x64, 0xf0);
    ck_assert_uint_eq(resets, 2);
    out8(&f, 0x64, 0xd1), out8(&f, 0x60, 0x01);
    ck_assert_uint_eq(resets, 2);
    ck_assert_uint_eq(ask(0xd0) & 0x03, 0x01);
    out8(&f, 0x64, 0xd1), out8(&f, 0x60, 0x02);
    ck_assert_uint_eq(resets, 3);
}
END_TEST

START_TEST(a_full_queue_drops) {
    start();
    out8(&f, 0x60, 0xf2);
    for (int i = 0; i < 100; i++)
        out8(&f, 0x60, 0xf2); /* each command drops what was still unsent */
    ck_assert_uint_eq(take(), 0xfa);
    ck_assert_uint_eq(take(), 0xfa);
    ck_assert_uint_eq(take(), 0xab);
    ck_assert_uint_eq(take(), 0x83);
    expect_nothing();
    ck_assert_uint_eq(in8(&f, 0x60), 0x83); /* an empty buffer shows its last byte */
}
END_TEST

RUN_SUITE("i8042", controller_tests_pass, the_command_byte_reads_back,
          the_keyboard_answers_what_probing_asks, each_byte_is_an_edge_on_irq1,
          a_disabled_keyboard_waits, the_absent_mouse_times_out_at_once,
          resets_by_pulse_and_by_output_port, a_full_queue_drops)
