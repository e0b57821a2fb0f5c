/* The 16550A: registers, FIFOs, interrupt priorities, flow control, loopback. */
#include "devices/uart.h"

#include "tests/unit/device_fixture.h"

#define BASE 0x3f8
#define TX_SIZE 32

static struct fixture f;
static struct uart *uart;
static struct byte_ring tx, rx;
static uint8_t tx_bytes[TX_SIZE], rx_bytes[64];
static unsigned notified;

static void notify(void *opaque) { (*(unsigned *)opaque)++; }

static void start(void) {
    fixture_setup(&f);
    ring_init(&tx, tx_bytes, sizeof tx_bytes);
    ring_init(&rx, rx_bytes, sizeof rx_bytes);
    notified = 0;
    struct uart_options options = {"com1", BASE, fixture_line(&f, 4), &tx, &rx, notify, &notified};
    uart = uart_create(&f.arena, &f.bus, &f.timers, &f.clock, &options);
    out8(&f, BASE + 4, 0x0b); /* OUT2 lets interrupts through */
}

static void type(const char *text, uint32_t len) {
    ring_write(&rx, text, len);
    uart_poll(uart);
}

START_TEST(registers_after_reset_and_scratch) {
    start();
    ck_assert_uint_eq(in8(&f, BASE + 1), 0x00);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x01);
    ck_assert_uint_eq(in8(&f, BASE + 5), 0x60);
    ck_assert_uint_eq(in8(&f, BASE + 6), 0xb0);
    out8(&f, BASE + 7, 0xa5);
    ck_assert_uint_eq(in8(&f, BASE + 7), 0xa5);
    out8(&f, BASE + 1, 0xff);
    ck_assert_uint_eq(in8(&f, BASE + 1), 0x0f);
    out8(&f, BASE + 4, 0xff);
    ck_assert_uint_eq(in8(&f, BASE + 4), 0x1f);
}
END_TEST

START_TEST(the_divisor_hides_behind_dlab) {
    start();
    out8(&f, BASE + 3, 0x83);
    bus_write(&f.bus, BASE, 0x1234, 2);
    ck_assert_uint_eq(in8(&f, BASE), 0x34);
    ck_assert_uint_eq(in8(&f, BASE + 1), 0x12);
    out8(&f, BASE + 3, 0x03);
    ck_assert_uint_eq(in8(&f, BASE + 1), 0x00);
    ck_assert_uint_eq(ring_used(&tx), 0);
}
END_TEST

START_TEST(fifos_show_in_iir) {
    start();
    out8(&f, BASE + 2, 0xc0); /* without the enable bit nothing is programmed */
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x01);
    out8(&f, BASE + 2, 0x01);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0xc1);
}
END_TEST

START_TEST(bytes_leave_at_once_and_wake_the_reader) {
    start();
    for (const char *c = "hello"; *c; c++)
        out8(&f, BASE, (uint8_t)*c);
    char text[8] = {0};
    ck_assert_uint_eq(ring_read(&tx, text, 7), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_uint_eq(notified, 1); /* the reader had caught up only at the first */
    ck_assert_uint_eq(in8(&f, BASE + 5), 0x60);
}
END_TEST

START_TEST(a_full_ring_holds_thre_back_and_loses_nothing) {
    start();
    out8(&f, BASE + 2, 0x01);
    out8(&f, BASE + 1, 0x02);
    for (unsigned i = 0; i < TX_SIZE; i++)
        out8(&f, BASE, i);
    in8(&f, BASE + 2);
    for (unsigned i = 0; i < 16; i++) {
        ck_assert_uint_eq(in8(&f, BASE + 5) & 0x60, i == 0 ? 0x60 : 0);
        out8(&f, BASE, TX_SIZE + i);
    }
    ck_assert_int_eq(f.level[4], 0);
    uint8_t got[TX_SIZE + 16];
    ck_assert_uint_eq(ring_read(&tx, got, 10), 10);
    run_to(&f, f.clock.ns_offset + 2 * MS); /* looks again by itself */
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x60, 0);
    ck_assert_uint_eq(ring_read(&tx, got + 10, 32), 32);
    uart_poll(uart); /* or when asked to */
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x60, 0x60);
    ck_assert_int_eq(f.level[4], 1);
    ck_assert_uint_eq(ring_read(&tx, got + 42, 32), 6);
    for (unsigned i = 0; i < sizeof got; i++)
        ck_assert_uint_eq(got[i], i);
    run_to(&f, f.clock.ns_offset + 2 * MS);
    ck_assert(f.timers.next == TIMER_NEVER);
}
END_TEST

START_TEST(thre_interrupts_when_enabled_and_until_iir_is_read) {
    start();
    ck_assert_int_eq(f.level[4], 0);
    out8(&f, BASE + 1, 0x02);
    ck_assert_int_eq(f.level[4], 1);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x02);
    ck_assert_int_eq(f.level[4], 0);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x01);
    out8(&f, BASE + 1, 0x00);
    out8(&f, BASE + 1, 0x02); /* enabling it again asks again */
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x02);
    out8(&f, BASE, 'x');
    ck_assert_int_eq(f.level[4], 1);
}
END_TEST

START_TEST(received_bytes_wait_for_room) {
    start();
    type("abcdefghijklmnopqrstuvwxyz", 26); /* no FIFO: one at a time */
    for (char c = 'a'; c <= 'z'; c++) {
        ck_assert_uint_eq(in8(&f, BASE + 5) & 0x03, 0x01);
        ck_assert_uint_eq(in8(&f, BASE), (uint8_t)c);
    }
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x01, 0);
    out8(&f, BASE + 2, 0x01);
    type("0123456789abcdefghij", 20);
    ck_assert_uint_eq(ring_used(&rx), 4);
    ck_assert_uint_eq(in8(&f, BASE), '0');
    ck_assert_uint_eq(ring_used(&rx), 3);
}
END_TEST

START_TEST(the_trigger_level_decides_between_rda_and_timeout) {
    start();
    out8(&f, BASE + 2, 0x81); /* eight bytes */
    out8(&f, BASE + 1, 0x01);
    type("1234567", 7);
    ck_assert_int_eq(f.level[4], 0);
    run_to(&f, f.clock.ns_offset + 300000); /* four characters at 115200 baud take 347 us */
    ck_assert_int_eq(f.level[4], 0);
    type("8", 1);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0xc4);
    in8(&f, BASE);
    ck_assert_int_eq(f.level[4], 0);
    run_to(&f, f.clock.ns_offset + 347223);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0xcc);
    in8(&f, BASE);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0xc1); /* a read starts the wait again */
    run_to(&f, f.clock.ns_offset + MS);
    for (int i = 0; i < 6; i++) {
        ck_assert_uint_eq(in8(&f, BASE + 2), i == 0 ? 0xcc : 0xc1);
        in8(&f, BASE);
    }
    run_to(&f, f.clock.ns_offset + MS);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0xc1);
}
END_TEST

START_TEST(iir_reports_by_priority) {
    start();
    out8(&f, BASE + 4, 0x18); /* loopback */
    in8(&f, BASE + 6);
    out8(&f, BASE, 'a'), out8(&f, BASE, 'b'); /* the second overruns */
    out8(&f, BASE + 4, 0x1a);                 /* RTS turns CTS on: a modem change */
    out8(&f, BASE + 1, 0x0f);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x06);
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x03, 0x03);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x04);
    ck_assert_uint_eq(in8(&f, BASE), 'b');
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x02);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x00);
    ck_assert_uint_eq(in8(&f, BASE + 6) & 0x1f, 0x11);
    ck_assert_uint_eq(in8(&f, BASE + 2), 0x01);
}
END_TEST

START_TEST(loopback_returns_bytes_and_modem_lines) {
    start();
    static const uint8_t lines[][2] = {{0x1, 0x20}, {0x2, 0x10}, {0x4, 0x40}, {0x8, 0x80}};
    for (unsigned i = 0; i < 4; i++) {
        out8(&f, BASE + 4, 0x10u | lines[i][0]);
        ck_assert_uint_eq(in8(&f, BASE + 6) & 0xf0, lines[i][1]);
    }
    out8(&f, BASE + 4, 0x14);
    in8(&f, BASE + 6);
    out8(&f, BASE + 4, 0x10); /* the ring indicator's end */
    ck_assert_uint_eq(in8(&f, BASE + 6), 0x04);
    out8(&f, BASE + 2, 0x01);
    type("outside", 7);
    for (unsigned i = 0; i < 17; i++)
        out8(&f, BASE, i);
    ck_assert_uint_eq(ring_used(&tx), 0);
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x02, 0x02);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(in8(&f, BASE), i);
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x01, 0);
    out8(&f, BASE + 4, 0x0b); /* now the line is connected again */
    ck_assert_uint_eq(in8(&f, BASE), 'o');
}
END_TEST

START_TEST(out2_gates_the_interrupt) {
    start();
    out8(&f, BASE + 4, 0x03);
    out8(&f, BASE + 1, 0x02);
    ck_assert_int_eq(f.level[4], 0);
    out8(&f, BASE + 4, 0x0b);
    ck_assert_int_eq(f.level[4], 1);
}
END_TEST

START_TEST(fifo_resets_clear) {
    start();
    out8(&f, BASE + 2, 0x01);
    type("abc", 3);
    out8(&f, BASE + 2, 0x03);
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x01, 0);
    for (unsigned i = 0; i < TX_SIZE + 5; i++)
        out8(&f, BASE, i);
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x40, 0);
    out8(&f, BASE + 2, 0x05);
    ck_assert_uint_eq(in8(&f, BASE + 5) & 0x40, 0x40);
    ck_assert(f.timers.next == TIMER_NEVER);
}
END_TEST

RUN_SUITE("uart", registers_after_reset_and_scratch, the_divisor_hides_behind_dlab,
          fifos_show_in_iir, bytes_leave_at_once_and_wake_the_reader,
          a_full_ring_holds_thre_back_and_loses_nothing,
          thre_interrupts_when_enabled_and_until_iir_is_read, received_bytes_wait_for_room,
          the_trigger_level_decides_between_rda_and_timeout, iir_reports_by_priority,
          loopback_returns_bytes_and_modem_lines, out2_gates_the_interrupt, fifo_resets_clear)
