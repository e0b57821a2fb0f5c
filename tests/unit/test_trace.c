/* Trace channels: parsing, records through the ring, and records that lie. */
#include "base/trace.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/device_fixture.h"

static char text[8192];

static void drain(struct trace *trace) {
    text[0] = '\0';
    FILE *out = fmemopen(text, sizeof text, "w");
    ck_assert_ptr_nonnull(out);
    trace_drain(trace, out);
    fclose(out);
}

START_TEST(parses_channel_lists) {
    uint32_t bits;
    const char *bad;
    ck_assert(trace_parse("run,fault", &bits, &bad));
    ck_assert_uint_eq(bits, 1u << TRACE_run | 1u << TRACE_fault);
    ck_assert(trace_parse("all", &bits, &bad));
    ck_assert_uint_eq(bits, (1u << TRACE_CHANNEL_COUNT) - 1);
    ck_assert(!trace_parse("run,nonsense,fault", &bits, &bad));
    ck_assert_str_eq(bad, "nonsense,fault");
    ck_assert(!trace_parse("", &bits, &bad));
    ck_assert(!trace_parse("run,", &bits, &bad));
    ck_assert(!trace_parse("runs", &bits, &bad));
}
END_TEST

START_TEST(prints_what_was_put) {
    struct fixture f;
    fixture_setup(&f);
    f.trace.enabled = 1u << TRACE_port;
    TRACE3(&f.trace, port, "%s %#06lx 100%% %lld", "read", 0x1f0, -5);
    TRACE1(&f.trace, run, "not enabled %lu", 1);
    drain(&f.trace);
    ck_assert_str_eq(text, "port: read 0x01f0 100% -5\n");
    fixture_teardown(&f);
}
END_TEST

START_TEST(counts_what_a_full_ring_loses) {
    struct fixture f;
    fixture_setup(&f);
    f.trace.enabled = ~0u;
    unsigned room = 4096 / sizeof(struct trace_record);
    for (unsigned i = 0; i < room + 3; i++)
        TRACE1(&f.trace, irq, "%lu", i);
    drain(&f.trace);
    ck_assert_ptr_nonnull(strstr(text, "irq: 0\n"));
    ck_assert_ptr_nonnull(strstr(text, "trace: 3 records lost\n"));
    drain(&f.trace);
    ck_assert_str_eq(text, "");
    fixture_teardown(&f);
}
END_TEST

START_TEST(a_put_inside_a_put_is_lost_not_mixed) {
    struct fixture f;
    fixture_setup(&f);
    f.trace.enabled = ~0u;
    atomic_store(&f.trace.busy, true);
    TRACE1(&f.trace, irq, "%lu", 1);
    atomic_store(&f.trace.busy, false);
    TRACE1(&f.trace, irq, "%lu", 2);
    drain(&f.trace);
    ck_assert_str_eq(text, "irq: 2\ntrace: 1 records lost\n");
    fixture_teardown(&f);
}
END_TEST

START_TEST(a_half_full_ring_wakes_the_reader_once) {
    struct fixture f;
    fixture_setup(&f);
    f.trace.enabled = ~0u;
    f.trace.notify_fd = eventfd(0, EFD_NONBLOCK);
    unsigned half = 4096 / sizeof(struct trace_record) / 2;
    uint64_t count;
    for (unsigned i = 0; i < half - 1; i++)
        TRACE1(&f.trace, irq, "%lu", i);
    ck_assert_int_eq(read(f.trace.notify_fd, &count, sizeof count), -1);
    for (unsigned i = 0; i < half; i++)
        TRACE1(&f.trace, irq, "%lu", i);
    ck_assert_int_eq(read(f.trace.notify_fd, &count, sizeof count), sizeof count);
    ck_assert_uint_eq(count, 1);
    close(f.trace.notify_fd);
    fixture_teardown(&f);
}
END_TEST

START_TEST(records_are_not_believed) {
    struct fixture f;
    fixture_setup(&f);
    char on_stack[] = "%n%n%n";
    trace_put(&f.trace, TRACE_run, on_stack, 1, 2, 3, 4, 5, 6);
    trace_put(&f.trace, TRACE_run, "%s %n %d %f %", 0x10, 2, 3, 4, 5, 6);
    trace_put(&f.trace, TRACE_run, "%lu%lu%lu%lu%lu%lu%lu", 1, 2, 3, 4, 5, 6);
    trace_put(&f.trace, TRACE_run, "%0000000000000000000lu", 1, 2, 3, 4, 5, 6);
    trace_put(&f.trace, (enum trace_channel)1000, "x", 1, 2, 3, 4, 5, 6);
    drain(&f.trace);
    ck_assert_str_eq(text, "trace: damaged record\n"
                           "run: (?) %n %d %f %\n"
                           "run: 123456%lu\n"
                           "run: %0000000000000000000lu\n"
                           "trace: damaged record\n");
    fixture_teardown(&f);
}
END_TEST

RUN_SUITE("trace", parses_channel_lists, prints_what_was_put, counts_what_a_full_ring_loses,
          a_put_inside_a_put_is_lost_not_mixed, a_half_full_ring_wakes_the_reader_once,
          records_are_not_believed)
