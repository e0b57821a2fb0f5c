/* Timers and the clock they run on. */
#include "base/timer.h"

#include <time.h>

#include "tests/unit/device_fixture.h"

static char fired[64];
static unsigned fired_count;
static struct timers timers;

static void note(void *opaque) { fired[fired_count++] = *(const char *)opaque; }

struct repeating {
    struct timer timer;
    uint64_t period, next;
};

static void repeat(void *opaque) {
    struct repeating *r = opaque;
    fired[fired_count++] = 'r';
    r->next += r->period;
    timer_arm(&timers, &r->timer, r->next);
}

START_TEST(fires_in_order_of_deadline) {
    struct timer a, b, c;
    timers_init(&timers);
    timer_add(&timers, &a, "a", note, "a");
    timer_add(&timers, &b, "b", note, "b");
    timer_add(&timers, &c, "c", note, "c");
    ck_assert(timers.next == TIMER_NEVER && !timers.changed);
    timer_arm(&timers, &a, 300);
    timer_arm(&timers, &b, 100);
    timer_arm(&timers, &c, 200);
    ck_assert_uint_eq(timers.next, 100);
    timers_run(&timers, 99);
    ck_assert_str_eq(fired, "");
    timers_run(&timers, 300);
    ck_assert_str_eq(fired, "bca");
    ck_assert(timers.next == TIMER_NEVER);
}
END_TEST

START_TEST(says_when_the_host_timer_must_be_armed_anew) {
    struct timer a, b;
    timers_init(&timers);
    timer_add(&timers, &a, "a", note, "a");
    timer_add(&timers, &b, "b", note, "b");
    timer_arm(&timers, &a, 100);
    ck_assert(timers.changed);
    timers.changed = false;
    timer_arm(&timers, &b, 200);
    ck_assert(!timers.changed);
    timer_arm(&timers, &a, TIMER_NEVER);
    ck_assert(timers.changed);
    ck_assert_uint_eq(timers.next, 200);
}
END_TEST

START_TEST(rearming_in_the_callback_keeps_the_order) {
    struct repeating r = {.period = 100, .next = 100};
    struct timer a;
    timers_init(&timers);
    timer_add(&timers, &r.timer, "r", repeat, &r);
    timer_add(&timers, &a, "a", note, "a");
    timer_arm(&timers, &r.timer, 100);
    timer_arm(&timers, &a, 250);
    timers_run(&timers, 400);
    ck_assert_str_eq(fired, "rrarr");
    ck_assert_uint_eq(timers.next, 500);
}
END_TEST

START_TEST(one_call_ends_even_if_a_timer_never_catches_up) {
    struct repeating r = {.period = 0};
    timers_init(&timers);
    timer_add(&timers, &r.timer, "r", repeat, &r);
    timer_arm(&timers, &r.timer, 0);
    timers_run(&timers, 1000);
    ck_assert_uint_gt(fired_count, 0);
    ck_assert_uint_eq(timers.next, 0);
}
END_TEST

START_TEST(the_clock_follows_the_host) {
    struct clock clock;
    clock_start(&clock);
    ck_assert_uint_gt(clock.tsc_hz, 100000000);
    ck_assert_int_le(clock.wall_start, (int64_t)time(NULL));
    ck_assert_uint_lt(clock.wall_start_ns, 1000000000);
    struct timespec before, after, pause = {.tv_nsec = 20000000};
    clock_gettime(CLOCK_MONOTONIC_RAW, &before);
    uint64_t start = clock_now(&clock);
    nanosleep(&pause, NULL);
    uint64_t end = clock_now(&clock);
    clock_gettime(CLOCK_MONOTONIC_RAW, &after);
    int64_t host = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    int64_t ours = (int64_t)(end - start);
    ck_assert_int_ge(ours, 20000000);
    ck_assert_int_le(ours, host + 200000);
}
END_TEST

START_TEST(the_clock_stands_until_its_rate_is_known) {
    struct clock clock;
    struct timespec before, after, pause = {.tv_nsec = 30000000};
    clock_begin(&clock);
    ck_assert_uint_eq(clock_now(&clock), 0);
    nanosleep(&pause, NULL);
    ck_assert_uint_eq(clock_now(&clock), 0);
    clock_gettime(CLOCK_MONOTONIC, &before);
    clock_finish(&clock);
    clock_gettime(CLOCK_MONOTONIC, &after);
    ck_assert_uint_ge(clock_now(&clock), 30000000);
    ck_assert_uint_gt(clock.tsc_hz, 100000000);
    int64_t took = (after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec;
    ck_assert_int_lt(took, 9000000); /* nothing was missing */
}
END_TEST

START_TEST(the_clock_scales_without_overflow) {
    /* 256 ns a tick: the product of ticks and multiplier needs far more than 64 bits. */
    struct clock clock = {.ns_mult = UINT64_C(256) << 32, .ns_offset = 5};
    uint64_t before = clock_host_tsc(), now = clock_now(&clock), after = clock_host_tsc();
    ck_assert_uint_ge(now, before * 256 + 5);
    ck_assert_uint_le(now, after * 256 + 5);
    clock.tsc_base = after + SECOND * 1000; /* a TSC behind the base is time 0 */
    ck_assert_uint_eq(clock_now(&clock), 5);
}
END_TEST

RUN_SUITE("timer", fires_in_order_of_deadline, says_when_the_host_timer_must_be_armed_anew,
          rearming_in_the_callback_keeps_the_order, one_call_ends_even_if_a_timer_never_catches_up,
          the_clock_follows_the_host, the_clock_stands_until_its_rate_is_known,
          the_clock_scales_without_overflow)
