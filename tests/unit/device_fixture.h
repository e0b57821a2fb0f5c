/* A bus, a clock that stands still until it is told, and timers: what a chip needs in a test.
 *
 * The clock has ns_mult 0, so that ns_offset is the time; the product's code reads it as ever. */
#ifndef RING3_TESTS_UNIT_DEVICE_FIXTURE_H
#define RING3_TESTS_UNIT_DEVICE_FIXTURE_H

#include <check.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/timer.h"
#include "runtime/bus.h"

#define MS UINT64_C(1000000)
#define TRACE_ROOM 64u /* records */
#define SECOND UINT64_C(1000000000)

struct fixture {
    struct arena arena;
    struct bus bus;
    struct clock clock;
    struct timers timers;
    struct trace trace;
    struct counters counters;
    int level[16];      /* interrupt lines as the chip under test sets them */
    unsigned rises[16]; /* and how often they rose */
};

static inline void fixture_set_line(void *opaque, unsigned line, int level) {
    struct fixture *f = opaque;
    ck_assert_uint_lt(line, 16);
    f->rises[line] += level && !f->level[line];
    f->level[line] = level;
}

static inline struct irq_line fixture_line(struct fixture *f, unsigned line) {
    return (struct irq_line){.set = fixture_set_line, .controller = f, .line = line};
}

static inline void fixture_setup(struct fixture *f) {
    *f = (struct fixture){0};
    ck_assert_int_eq(arena_create(&f->arena, 1 << 20), 0);
    f->trace.notify_fd = -1;
    trace_init(&f->trace, arena_alloc(&f->arena, TRACE_ROOM * sizeof(struct trace_record), 64),
               TRACE_ROOM);
    bus_init(&f->bus, &f->arena, &f->trace, &f->counters);
    timers_init(&f->timers);
}

static inline void fixture_teardown(struct fixture *f) { arena_destroy(&f->arena); }

static inline uint8_t in8(struct fixture *f, uint16_t port) {
    return (uint8_t)bus_read(&f->bus, port, 1);
}
static inline void out8(struct fixture *f, uint16_t port, uint32_t value) {
    bus_write(&f->bus, port, value, 1);
}

/* Time goes to `ns` with every timer fired at its instant. */
static inline void run_to(struct fixture *f, uint64_t ns) {
    while (f->timers.next <= ns) {
        f->clock.ns_offset = f->timers.next;
        timers_run(&f->timers, f->clock.ns_offset);
    }
    f->clock.ns_offset = ns;
}

/* The host comes late: time goes to `ns` at once, then the timers run. */
static inline void jump_to(struct fixture *f, uint64_t ns) {
    f->clock.ns_offset = ns;
    timers_run(&f->timers, ns);
}

/* Runs the cases of one file. */
static inline int run_suite(const char *name, const TTest *const *tests, size_t count) {
    TCase *cases = tcase_create(name);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(cases, tests[i]);
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define RUN_SUITE(name, ...)                                                                       \
    int main(void) {                                                                               \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        return run_suite((name), tests, sizeof tests / sizeof tests[0]);                           \
    }

#endif
