/* The 8259A pair: what its data sheet says of priorities, ends of interrupt and modes. */
#include "devices/pic.h"

#include "tests/unit/device_fixture.h"

static struct fixture f;
static struct pic *pic;
static bool intr;
static unsigned intr_changes;

static void note_intr(void *opaque, bool asserted) {
    (void)opaque;
    ck_assert(asserted != intr);
    intr = asserted;
    intr_changes++;
}

/* Vectors 0x20-0x2f, everything unmasked. */
static void initialize(uint8_t master_icw4, uint8_t slave_icw4) {
    out8(&f, 0x20, 0x11), out8(&f, 0x21, 0x20), out8(&f, 0x21, 0x04), out8(&f, 0x21, master_icw4);
    out8(&f, 0xa0, 0x11), out8(&f, 0xa1, 0x28), out8(&f, 0xa1, 0x02), out8(&f, 0xa1, slave_icw4);
    out8(&f, 0x21, 0), out8(&f, 0xa1, 0);
}

static void start(void) {
    fixture_setup(&f);
    intr = false;
    pic = pic_create(&f.arena, &f.bus, note_intr, NULL);
    initialize(0x01, 0x01);
}

static void pulse(unsigned line) {
    pic_set_line(pic, line, 0);
    pic_set_line(pic, line, 1);
}

static uint8_t isr(uint16_t port) {
    out8(&f, port, 0x0b);
    return in8(&f, port);
}
static uint8_t irr(uint16_t port) {
    out8(&f, port, 0x0a);
    return in8(&f, port);
}

START_TEST(the_lowest_line_comes_first_and_blocks_the_rest) {
    start();
    pulse(5), pulse(3);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x23);
    ck_assert(!intr);
    ck_assert_uint_eq(isr(0x20), 0x08);
    ck_assert_uint_eq(irr(0x20), 0x20);
    pulse(1);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x21);
    out8(&f, 0x20, 0x20); /* ends 1, the highest in service */
    ck_assert_uint_eq(isr(0x20), 0x08);
    ck_assert(!intr);
    out8(&f, 0x20, 0x20);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x25);
}
END_TEST

START_TEST(slave_interrupts_pass_through_line_2) {
    start();
    pulse(12), pulse(8);
    ck_assert_int_eq(pic_acknowledge(pic), 0x28);
    ck_assert_uint_eq(isr(0x20), 0x04);
    ck_assert_uint_eq(isr(0xa0), 0x01);
    out8(&f, 0xa0, 0x20);
    ck_assert(!intr); /* the master's line 2 is still in service */
    out8(&f, 0x20, 0x20);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x2c);
    pulse(3);
    ck_assert(!intr); /* line 2 is above line 3 */
    pulse(1);
    ck_assert(intr);
}
END_TEST

START_TEST(masks_hide_requests_without_losing_them) {
    start();
    out8(&f, 0x21, 0x10);
    pulse(4);
    ck_assert(!intr);
    ck_assert_uint_eq(irr(0x20), 0x10);
    ck_assert_uint_eq(in8(&f, 0x21), 0x10);
    out8(&f, 0x21, 0);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x24);
}
END_TEST

START_TEST(a_request_withdrawn_before_inta_is_spurious) {
    start();
    pulse(4);
    ck_assert(intr);
    pic_set_line(pic, 4, 0);
    ck_assert(!intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x27);
    ck_assert_uint_eq(isr(0x20), 0);
}
END_TEST

START_TEST(a_slave_that_restarts_withdraws_its_request) {
    start();
    pulse(10);
    ck_assert(intr);
    out8(&f, 0xa0, 0x11);
    ck_assert(!intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x27);
    ck_assert_uint_eq(isr(0x20), 0);
}
END_TEST

START_TEST(edges_count_once_levels_stay) {
    start();
    pulse(5);
    ck_assert_int_eq(pic_acknowledge(pic), 0x25);
    out8(&f, 0x20, 0x20);
    ck_assert(!intr); /* the line is still high: no new edge */
    pic_set_line(pic, 5, 0);
    out8(&f, 0x4d0, 0x20);
    ck_assert_uint_eq(in8(&f, 0x4d0), 0x20);
    pic_set_line(pic, 5, 1);
    ck_assert_int_eq(pic_acknowledge(pic), 0x25);
    out8(&f, 0x20, 0x20);
    ck_assert(intr);
    pic_set_line(pic, 5, 0);
    ck_assert(!intr);
}
END_TEST

START_TEST(system_lines_are_always_edges) {
    start();
    bus_write(&f.bus, 0x4d0, 0xffff, 2);
    ck_assert_uint_eq(bus_read(&f.bus, 0x4d0, 2), 0xdef8);
}
END_TEST

START_TEST(specific_eoi_ends_the_line_it_names) {
    start();
    pulse(5);
    pic_acknowledge(pic);
    pulse(3);
    pic_acknowledge(pic);
    out8(&f, 0x20, 0x65);
    ck_assert_uint_eq(isr(0x20), 0x08);
}
END_TEST

START_TEST(rotation_puts_the_ended_line_last) {
    start();
    pulse(3), pulse(4);
    ck_assert_int_eq(pic_acknowledge(pic), 0x23);
    out8(&f, 0x20, 0xa0); /* rotate on non-specific EOI: now 4, 5, 6, 7, 0, 1, 2, 3 */
    pulse(3), pulse(0);
    ck_assert_int_eq(pic_acknowledge(pic), 0x24);
    out8(&f, 0x20, 0x20);
    ck_assert_int_eq(pic_acknowledge(pic), 0x20);
    out8(&f, 0x20, 0x20);
    ck_assert_int_eq(pic_acknowledge(pic), 0x23);
}
END_TEST

START_TEST(set_priority_names_the_lowest) {
    start();
    out8(&f, 0x20, 0xc5); /* lowest 5, highest 6 */
    pulse(0), pulse(5), pulse(6);
    ck_assert_int_eq(pic_acknowledge(pic), 0x26);
    out8(&f, 0x20, 0xe6); /* specific EOI with rotation: highest 7 */
    ck_assert_uint_eq(isr(0x20), 0);
    ck_assert_int_eq(pic_acknowledge(pic), 0x20);
    ck_assert(!intr);
}
END_TEST

START_TEST(auto_eoi_leaves_nothing_in_service) {
    start();
    initialize(0x03, 0x03);
    pulse(6), pulse(9), pulse(10);
    ck_assert_int_eq(pic_acknowledge(pic), 0x29);
    ck_assert_uint_eq(isr(0x20) | isr(0xa0), 0);
    ck_assert_int_eq(pic_acknowledge(pic), 0x2a);
    ck_assert_int_eq(pic_acknowledge(pic), 0x26);
    out8(&f, 0x20, 0x80); /* rotate in automatic EOI mode */
    pulse(0);
    ck_assert_int_eq(pic_acknowledge(pic), 0x20);
    pulse(0), pulse(7);
    ck_assert_int_eq(pic_acknowledge(pic), 0x27);
}
END_TEST

START_TEST(special_mask_mode_lets_lower_lines_in) {
    start();
    pulse(2 + 1);
    pic_acknowledge(pic);
    pulse(6);
    ck_assert(!intr);
    out8(&f, 0x21, 0x08);
    out8(&f, 0x20, 0x68);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x26);
    out8(&f, 0x20, 0x20); /* the masked line 3 is not what a non-specific EOI ends */
    ck_assert_uint_eq(isr(0x20), 0x08);
    out8(&f, 0x20, 0x20);
    ck_assert_uint_eq(isr(0x20), 0x08);
    out8(&f, 0x20, 0x48);
    out8(&f, 0x20, 0x20);
    ck_assert_uint_eq(isr(0x20), 0);
}
END_TEST

START_TEST(special_fully_nested_mode_lets_the_slave_preempt_itself) {
    start();
    pulse(12);
    pic_acknowledge(pic);
    pulse(8);
    ck_assert(!intr);
    initialize(0x11, 0x01);
    pulse(12);
    ck_assert_int_eq(pic_acknowledge(pic), 0x2c);
    pulse(13);
    ck_assert(!intr);
    pulse(8);
    ck_assert(intr);
    ck_assert_int_eq(pic_acknowledge(pic), 0x28);
    pulse(3);
    ck_assert(!intr);
}
END_TEST

START_TEST(poll_acknowledges_without_a_vector) {
    start();
    out8(&f, 0x20, 0x0c);
    ck_assert_uint_eq(in8(&f, 0x20), 0);
    pulse(6);
    out8(&f, 0x20, 0x0c);
    ck_assert_uint_eq(in8(&f, 0x20), 0x86);
    ck_assert(!intr);
    ck_assert_uint_eq(isr(0x20), 0x40);
}
END_TEST

START_TEST(initialization_forgets_edges_and_masks) {
    start();
    out8(&f, 0x21, 0xff);
    pulse(4);
    out8(&f, 0x20, 0x11);
    ck_assert(!intr);
    out8(&f, 0x21, 0x40), out8(&f, 0x21, 0x04), out8(&f, 0x21, 0x01);
    ck_assert_uint_eq(in8(&f, 0x21), 0);
    ck_assert_uint_eq(irr(0x20), 0);
    pulse(4);
    ck_assert_int_eq(pic_acknowledge(pic), 0x44);
}
END_TEST

START_TEST(single_and_icw4_free_initialization_take_fewer_words) {
    start();
    out8(&f, 0x20, 0x12); /* single, no ICW4 */
    out8(&f, 0x21, 0x60);
    out8(&f, 0x21, 0xfe); /* already the mask */
    ck_assert_uint_eq(in8(&f, 0x21), 0xfe);
    pulse(0);
    ck_assert_int_eq(pic_acknowledge(pic), 0x60);
}
END_TEST

START_TEST(nothing_comes_before_initialization) {
    fixture_setup(&f);
    intr = false, intr_changes = 0;
    pic = pic_create(&f.arena, &f.bus, note_intr, NULL);
    for (unsigned line = 0; line < 16; line++)
        if (line != 2)
            pulse(line);
    ck_assert_uint_eq(intr_changes, 0);
    ck_assert_uint_eq(in8(&f, 0x21), 0xff);
}
END_TEST

RUN_SUITE("pic", the_lowest_line_comes_first_and_blocks_the_rest,
          slave_interrupts_pass_through_line_2, masks_hide_requests_without_losing_them,
          a_request_withdrawn_before_inta_is_spurious, a_slave_that_restarts_withdraws_its_request,
          edges_count_once_levels_stay, system_lines_are_always_edges,
          specific_eoi_ends_the_line_it_names, rotation_puts_the_ended_line_last,
          set_priority_names_the_lowest, auto_eoi_leaves_nothing_in_service,
          special_mask_mode_lets_lower_lines_in,
          special_fully_nested_mode_lets_the_slave_preempt_itself,
          poll_acknowledges_without_a_vector, initialization_forgets_edges_and_masks,
          single_and_icw4_free_initialization_take_fewer_words, nothing_comes_before_initialization)
