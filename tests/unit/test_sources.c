/* The monitor's table of event sources. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "inspect/sources.h"

static struct sources table;
static unsigned served[4];
static struct source *victim; /* removed by whoever is served first */

static void on_ready(struct source *source, short revents) {
    char byte;
    ck_assert(revents & POLLIN);
    ck_assert_int_eq(read(source->fd, &byte, 1), 1);
    ++*(unsigned *)source->opaque;
    if (victim)
        sources_remove(&table, victim);
}

static void on_deadline(struct source *source, short revents) {
    ck_assert_int_eq(revents, 0);
    ++*(unsigned *)source->opaque;
    source->deadline = 0;
}

/* Once round the monitor's loop. */
static void turn(int timeout) {
    struct pollfd polls[SOURCES_MAX];
    unsigned count = sources_prepare(&table, polls);
    ck_assert_int_ge(poll(polls, count, sources_patience(&table, timeout)), 0);
    sources_serve(&table, polls, count);
}

START_TEST(ready_descriptors_are_served) {
    int a[2], b[2];
    ck_assert(!pipe(a) && !pipe(b));
    struct source first = {.fd = a[0], .events = POLLIN, .serve = on_ready, .opaque = &served[0]};
    struct source second = {.fd = b[0], .events = POLLIN, .serve = on_ready, .opaque = &served[1]};
    ck_assert_int_eq(sources_add(&table, &first), 0);
    ck_assert_int_eq(sources_add(&table, &second), 0);
    ck_assert_int_eq(write(b[1], "x", 1), 1);
    turn(-1);
    ck_assert_uint_eq(served[0], 0);
    ck_assert_uint_eq(served[1], 1);
    victim = &second; /* ready as well, and gone before its turn */
    ck_assert(write(a[1], "x", 1) == 1 && write(b[1], "x", 1) == 1);
    turn(-1);
    ck_assert_uint_eq(served[0], 1);
    ck_assert_uint_eq(served[1], 1);
    ck_assert_uint_eq(table.count, 1);
}
END_TEST

START_TEST(deadlines_shorten_the_wait) {
    uint64_t start = sources_now();
    struct source late = {
        .fd = -1, .deadline = start + 30, .serve = on_deadline, .opaque = &served[0]};
    ck_assert_int_eq(sources_add(&table, &late), 0);
    ck_assert_int_le(sources_patience(&table, 1000), 30);
    ck_assert_int_eq(sources_patience(&table, 5), 5);
    while (!served[0])
        turn(-1);
    ck_assert_uint_ge(sources_now(), start + 30);
    ck_assert_int_eq(sources_patience(&table, -1), -1);
}
END_TEST

START_TEST(the_table_is_finite) {
    static struct source many[SOURCES_MAX + 1];
    for (unsigned i = 0; i <= SOURCES_MAX; i++) {
        many[i] = (struct source){.fd = -1, .serve = on_deadline};
        ck_assert_int_eq(sources_add(&table, &many[i]), i < SOURCES_MAX ? 0 : -ENOSPC);
    }
    sources_remove(&table, &many[3]);
    ck_assert_int_eq(sources_add(&table, &many[SOURCES_MAX]), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sources");
    TCase *tcase = tcase_create("sources");
    tcase_add_test(tcase, ready_descriptors_are_served);
    tcase_add_test(tcase, deadlines_shorten_the_wait);
    tcase_add_test(tcase, the_table_is_finite);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
