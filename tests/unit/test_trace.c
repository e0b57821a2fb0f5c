/* Tracing: channel lists, filters, records through the ring and out of it, and records that lie. */
#include "base/trace.h"

#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "inspect/trace_filter.h"
#include "inspect/trace_format.h"
#include "tests/unit/device_fixture.h"

static struct {
    struct fixture f;
    struct trace_reader reader;
    uint32_t eip, cs_base, cr3, mode;
} t;

#define TRACE_UNDER_TEST (&t.f.trace)

static void set_up(void) {
    fixture_setup(&t.f);
    t.f.clock = (struct clock){.tsc_base = clock_host_tsc(), .ns_mult = 1ull << 32};
    t.f.trace.enabled = TRACE_ALL;
    t.f.trace.guest = (struct trace_guest){&t.eip, &t.cs_base, &t.cr3, &t.mode};
    t.eip = 0x1234;
    t.cs_base = 0x10000;
    t.cr3 = 0x5000;
    t.mode = 0x30803;
}

static void start_reading(void) { trace_reader_init(&t.reader, &t.f.trace, &t.f.clock); }

static void set_up_reader(void) {
    set_up();
    start_reading();
}

static void tear_down(void) { fixture_teardown(&t.f); }

START_TEST(parses_channel_lists) {
    uint32_t bits;
    const char *bad;
    ck_assert(trace_parse("enter,hidden-fault", &bits, &bad));
    ck_assert_uint_eq(bits, TRACE_BIT(enter) | TRACE_BIT(hidden_fault));
    ck_assert(trace_parse("all", &bits, &bad));
    ck_assert_uint_eq(bits, TRACE_ALL);
    ck_assert(!trace_parse("enter,nonsense,fault", &bits, &bad));
    ck_assert_str_eq(bad, "nonsense,fault");
    ck_assert(!trace_parse("", &bits, &bad));
    ck_assert(!trace_parse("enter,", &bits, &bad));
    ck_assert(!trace_parse("enters", &bits, &bad));
}
END_TEST

START_TEST(older_names_stand_for_what_they_showed) {
    uint32_t bits;
    const char *bad;
    ck_assert(trace_parse("run,code", &bits, &bad));
    ck_assert_uint_eq(bits, TRACE_BIT(enter) | TRACE_BIT(exit) | TRACE_BIT(invalidate));
    ck_assert(trace_parse("fault,shadow,port,msr", &bits, &bad));
    ck_assert_uint_eq(bits, TRACE_BIT(true_fault) | TRACE_BIT(inject) | TRACE_BIT(hidden_fault) |
                                TRACE_BIT(flush) | TRACE_BIT(device) | TRACE_BIT(mmio));
}
END_TEST

START_TEST(every_event_has_a_form) {
    for (int event = TRACE_EVENT_NONE + 1; event < TRACE_EVENT_COUNT; event++) {
        const struct trace_form *form = trace_form_of((enum trace_event)event);
        ck_assert_uint_gt(strlen(form->name), 0);
        ck_assert(form->count > 0 || strlen(form->after) > 0);
        for (unsigned i = 0; i < form->count; i++)
            for (unsigned k = 0; k < i; k++)
                ck_assert(form->args[i].name_len != form->args[k].name_len ||
                          memcmp(form->args[i].name, form->args[k].name, form->args[i].name_len));
    }
}
END_TEST

START_TEST(records_are_typed) {
    struct trace_seen seen;
    TRACE(TRACE_UNDER_TEST, port_read, 0x3f8u, 1u, 0x41u);
    ck_assert_uint_eq(trace_reader_waiting(&t.reader), 1);
    ck_assert(trace_reader_next(&t.reader, &seen));
    ck_assert_int_eq(seen.event, TRACE_EVENT_port_read);
    ck_assert_uint_eq(seen.eip, 0x11234);
    ck_assert_uint_eq(seen.cr3, 0x5000);
    ck_assert_uint_eq(seen.cpl, 3);
    ck_assert_uint_eq(seen.args[0], 0x3f8);
    ck_assert_uint_eq(seen.args[2], 0x41);
    ck_assert_uint_gt(seen.ns, 0);
    ck_assert(!trace_reader_next(&t.reader, &seen));
    t.f.trace.enabled = TRACE_BIT(irq);
    TRACE(TRACE_UNDER_TEST, port_read, 0x3f8u, 1u, 0x41u);
    ck_assert_uint_eq(trace_reader_waiting(&t.reader), 0);
}
END_TEST

static void ck_formats(const char *text_line, const char *json_line) {
    struct trace_seen seen;
    struct text text = {0};
    ck_assert(trace_reader_next(&t.reader, &seen));
    seen.ns = 1002000003;
    trace_format_text(&text, &seen, NULL);
    ck_assert_uint_eq(text.len, strlen(text_line));
    ck_assert_mem_eq(text.bytes, text_line, text.len);
    text.len = 0;
    trace_format_json(&text, &seen, 77, NULL);
    text_char(&text, '\0');
    ck_assert_str_eq(text.bytes, json_line);
    text_free(&text);
}

START_TEST(lines_of_text_and_json) {
    TRACE(TRACE_UNDER_TEST, callout, (unsigned)7, 0x1020000u, 0u);
    ck_formats(
        "callout: sysenter argument 1020000 operand 0 | 00011234 cpl 3 cr3 5000 | 1.002000003\n",
        "{\"time\":1.002000003,\"tsc\":77,\"channel\":\"callout\",\"event\":\"callout\","
        "\"eip\":\"0x11234\",\"cpl\":3,\"cr3\":\"0x5000\",\"args\":{\"callout\":\"sysenter\","
        "\"argument\":\"0x1020000\",\"operand\":\"0x0\"}}\n");
    TRACE(TRACE_UNDER_TEST, callout, 999u, 0u, 0u); /* no such callout: the number */
    ck_formats("callout: 3e7 argument 0 operand 0 | 00011234 cpl 3 cr3 5000 | 1.002000003\n",
               "{\"time\":1.002000003,\"tsc\":77,\"channel\":\"callout\",\"event\":\"callout\","
               "\"eip\":\"0x11234\",\"cpl\":3,\"cr3\":\"0x5000\",\"args\":{\"callout\":\"0x3e7\","
               "\"argument\":\"0x0\",\"operand\":\"0x0\"}}\n");
}
END_TEST

START_TEST(a_full_stream_loses_what_its_reader_does_not_take) {
    struct trace_seen seen;
    for (unsigned i = 0; i < TRACE_ROOM + 3; i++)
        TRACE(TRACE_UNDER_TEST, line, i);
    ck_assert_uint_eq(atomic_load(&t.f.trace.lost), 3);
    for (unsigned i = 0; i < TRACE_ROOM; i++) {
        ck_assert(trace_reader_next(&t.reader, &seen));
        ck_assert_uint_eq(seen.args[0], i);
    }
    ck_assert(!trace_reader_next(&t.reader, &seen));
    TRACE(TRACE_UNDER_TEST, line, 99u);
    ck_assert(trace_reader_next(&t.reader, &seen));
    ck_assert_uint_eq(seen.args[0], 99);
}
END_TEST

START_TEST(a_full_stream_waits_for_its_reader_once) {
    t.f.trace.patience_ms = 20;
    for (unsigned i = 0; i < TRACE_ROOM; i++)
        TRACE(TRACE_UNDER_TEST, line, i);
    uint64_t start = clock_host_tsc();
    TRACE(TRACE_UNDER_TEST, line, 0u);
    uint64_t waited = clock_host_tsc() - start;
    ck_assert(t.f.trace.stalled);
    ck_assert_uint_gt(waited, 1000000); /* 20 ms are that many cycles on any host */
    start = clock_host_tsc();
    for (unsigned i = 0; i < 10; i++)
        TRACE(TRACE_UNDER_TEST, line, 0u);
    ck_assert_uint_lt(clock_host_tsc() - start, waited * 5);
    ck_assert_uint_eq(atomic_load(&t.f.trace.lost), 11);
}
END_TEST

START_TEST(a_flight_recorder_keeps_the_last_records) {
    struct trace_seen seen;
    t.f.trace.overwrite = true;
    start_reading();
    for (unsigned i = 0; i < 10 * TRACE_ROOM + 5; i++)
        TRACE(TRACE_UNDER_TEST, line, i);
    ck_assert_uint_eq(trace_reader_waiting(&t.reader), TRACE_ROOM);
    for (unsigned i = 0; i < TRACE_ROOM; i++) {
        ck_assert(trace_reader_next(&t.reader, &seen));
        ck_assert_uint_eq(seen.args[0], 9 * TRACE_ROOM + 5 + i);
    }
    ck_assert_uint_eq(trace_reader_waiting(&t.reader), 0);
}
END_TEST

START_TEST(a_put_inside_a_put_is_lost_not_mixed) {
    struct trace_seen seen;
    atomic_store(&t.f.trace.busy, true);
    TRACE(TRACE_UNDER_TEST, line, 1u);
    atomic_store(&t.f.trace.busy, false);
    TRACE(TRACE_UNDER_TEST, line, 2u);
    ck_assert(trace_reader_next(&t.reader, &seen));
    ck_assert_uint_eq(seen.args[0], 2);
    ck_assert_uint_eq(atomic_load(&t.f.trace.lost), 1);
}
END_TEST

START_TEST(every_half_ring_wakes_the_reader) {
    uint64_t count;
    t.f.trace.notify_fd = eventfd(0, EFD_NONBLOCK);
    for (unsigned i = 0; i < TRACE_ROOM / 2 - 1; i++)
        TRACE(TRACE_UNDER_TEST, line, i);
    ck_assert_int_eq(read(t.f.trace.notify_fd, &count, sizeof count), -1);
    TRACE(TRACE_UNDER_TEST, line, 0u);
    ck_assert_int_eq(read(t.f.trace.notify_fd, &count, sizeof count), sizeof count);
    ck_assert_uint_eq(count, 1);
    close(t.f.trace.notify_fd);
}
END_TEST

START_TEST(the_ring_is_not_believed) {
    struct trace_seen seen;
    const uint64_t args[TRACE_ARGS_MAX] = {~0ull, ~0ull, ~0ull, ~0ull, ~0ull};
    trace_put(TRACE_UNDER_TEST, (enum trace_event)1000, args);
    trace_put(TRACE_UNDER_TEST, TRACE_EVENT_NONE, args);
    trace_put(TRACE_UNDER_TEST, TRACE_EVENT_exit, args);
    ck_assert(!trace_reader_next(&t.reader, &seen));
    ck_assert(!trace_reader_next(&t.reader, &seen));
    ck_assert_uint_eq(t.reader.damaged, 2);
    ck_formats("exit: left for ffffffffffffffff | 00011234 cpl 3 cr3 5000 | 1.002000003\n",
               "{\"time\":1.002000003,\"tsc\":77,\"channel\":\"exit\",\"event\":\"exit\","
               "\"eip\":\"0x11234\",\"cpl\":3,\"cr3\":\"0x5000\","
               "\"args\":{\"reason\":\"0xffffffffffffffff\"}}\n");
    atomic_store(&t.f.trace.head, 1ull << 40);
    ck_assert_uint_eq(trace_reader_waiting(&t.reader), 0);
    t.f.trace.records = NULL; /* where the ring lies is known from before */
    t.f.trace.capacity = 1ull << 50;
    atomic_store(&t.f.trace.head, t.reader.next + 1);
    trace_reader_next(&t.reader, &seen);
}
END_TEST

static unsigned passing(const char *filter) {
    struct error error;
    struct trace_seen seen;
    unsigned count = 0;
    ck_assert_msg(!trace_filter_parse(&t.f.trace.filters[0], filter, NULL, &error), "%s",
                  error.text);
    t.f.trace.filter_count = 1;
    for (unsigned i = 0; i < 16; i++) {
        t.eip = 0xfffffff0 + i;
        t.cs_base = 0;
        t.mode = i & 3;
        t.cr3 = i << 12;
        TRACE(TRACE_UNDER_TEST, line, i);
    }
    while (trace_reader_next(&t.reader, &seen))
        count++;
    return count;
}

START_TEST(filters_by_address_level_and_address_space) {
    ck_assert_uint_eq(passing("eip=fffffff4-fffffff7"), 4);
    ck_assert_uint_eq(passing("eip=0xffffffff"), 1);
    ck_assert_uint_eq(passing("eip=0-ffffffff"), 16);
    ck_assert_uint_eq(passing("cpl=3"), 4);
    ck_assert_uint_eq(passing("cr3=5000"), 1);
    ck_assert_uint_eq(passing("cr3=5000,cpl=3"), 0);
    ck_assert_uint_eq(passing("eip=fffffff0-fffffff7,cpl=0"), 2);
}
END_TEST

START_TEST(bad_filters_are_refused) {
    static const char *const bad[] = {
        "",     "eip",   "eip=",   "eip=5-4",       "eip=1-2-3",           "cpl=4",  "cpl=33",
        "cr3=", "cr3=x", "cr3=5,", "eip=1ffffffff", "symbol=start_kernel", "speed=3"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct trace_filter filter;
        struct error error;
        ck_assert_msg(trace_filter_parse(&filter, bad[i], NULL, &error), "'%s' is taken", bad[i]);
        ck_assert_ptr_nonnull(strstr(error.text, "--log-filter"));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trace");
    TCase *names = tcase_create("names"), *ring = tcase_create("ring");
    tcase_add_test(names, parses_channel_lists);
    tcase_add_test(names, older_names_stand_for_what_they_showed);
    tcase_add_test(names, every_event_has_a_form);
    tcase_add_test(names, bad_filters_are_refused);
    tcase_add_checked_fixture(ring, set_up_reader, tear_down);
    tcase_add_test(ring, records_are_typed);
    tcase_add_test(ring, lines_of_text_and_json);
    tcase_add_test(ring, a_full_stream_loses_what_its_reader_does_not_take);
    tcase_add_test(ring, a_full_stream_waits_for_its_reader_once);
    tcase_add_test(ring, a_flight_recorder_keeps_the_last_records);
    tcase_add_test(ring, a_put_inside_a_put_is_lost_not_mixed);
    tcase_add_test(ring, every_half_ring_wakes_the_reader);
    tcase_add_test(ring, the_ring_is_not_believed);
    tcase_add_test(ring, filters_by_address_level_and_address_space);
    suite_add_tcase(suite, names);
    suite_add_tcase(suite, ring);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
