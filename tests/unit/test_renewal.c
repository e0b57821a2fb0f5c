/* The translation cache's renewal (runtime/renewal.c): when it is due, and a guest that goes through it. */
#include "tests/unit/engine_fixture.h"

#define MS 1000000ull

static struct renewal r;
static uint64_t now, fragments, gone;

static void begin(void) {
    r = (struct renewal){0};
    now = fragments = gone = 0;
}

/* A quarter of a second in which so many are made. */
static bool after(uint64_t made) {
    now += 250 * MS;
    fragments += made;
    return renewal_is_due(&r, now, fragments, gone);
}

START_TEST(what_a_boot_made_goes_when_it_is_over) {
    ck_assert(!after(20000));
    ck_assert(!after(10000));
    ck_assert(after(10));
    ck_assert(!after(3000)); /* the working set, made anew */
    ck_assert(!after(10));
    ck_assert(!after(0));
}
END_TEST

START_TEST(few_translations_are_not_worth_it) {
    ck_assert(!after(8000));
    for (unsigned i = 0; i < 100; i++)
        ck_assert(!after(1));
}
END_TEST

/* Little by little: a page of code that stands elsewhere in each process. */
START_TEST(what_becomes_many_slowly_goes_too) {
    unsigned renewals = 0;
    for (unsigned i = 0; i < 1000; i++)
        renewals += after(100);
    ck_assert_uint_ge(renewals, 8);
    ck_assert_uint_le(renewals, 60);
}
END_TEST

START_TEST(a_large_working_set_wants_many_translations) {
    ck_assert(!after(50000));
    ck_assert(after(0));
    ck_assert(!after(40000));
    ck_assert(!after(0)); /* 40,000 are what is in use */
    ck_assert(!after(900));
    ck_assert(!after(900));
    ck_assert(!after(900));
    ck_assert(!after(900));
    ck_assert(!after(900));
    ck_assert(after(900));
}
END_TEST

/* Each such renewal waits for twice the time of the one before; a new phase begins anew. */
START_TEST(what_was_learned_meanwhile_is_made_anew_ever_later) {
    unsigned gap = 0, last = 0, i = 0;
    ck_assert(!after(20000));
    ck_assert(after(0));
    for (unsigned renewals = 0; renewals < 6; i++) {
        bool settles = i == last;
        if (!after(settles ? 8000 : 950 - 900 * (i - last > 2)))
            continue;
        ck_assert_uint_ge(i - last, gap);
        gap = i - last;
        last = i + 1;
        renewals++;
    }
    ck_assert_uint_ge(gap, 12);
    ck_assert(!after(8000));
    ck_assert(!after(10));
    ck_assert(!after(40000));
    ck_assert(after(10));
    ck_assert_uint_eq(r.interval, 400 * MS);
}
END_TEST

START_TEST(what_was_overwritten_does_not_count) {
    ck_assert(!after(20000));
    ck_assert(after(0));
    ck_assert(!after(5000));
    ck_assert(!after(0));
    for (unsigned i = 0; i < 10; i++) {
        gone += 9900;
        ck_assert(!after(10000));
        ck_assert(!after(0)); /* 100 stay each time */
    }
    gone += 10000; /* of those made before, too */
    ck_assert(!after(0));
}
END_TEST

START_TEST(looks_are_periods_apart) {
    ck_assert(!after(20000));
    now += 10 * MS;
    ck_assert(!renewal_is_due(&r, now, fragments, gone));
    now += 10 * MS;
    ck_assert(!renewal_is_due(&r, now, fragments, gone));
    now += 190 * MS;
    ck_assert(renewal_is_due(&r, now, fragments, gone));
}
END_TEST

/* Indirect calls, returns and a loop, and each round the test is asked. */
GUEST(rounds,
      "call 1f; 1: pop %ebx; add $(3f - 1b), %ebx; mov $100, %ecx; xor %edx, %edx\n"
      "2: call *%ebx; call *%ebx; mov %cl, %al;" PROBE "dec %ecx; jnz 2b;" STOP
      "3: add %ecx, %edx; ret\n")

static void a_quarter_later(uint32_t value) {
    m.clock.ns_offset += 250 * MS;
    if (value == 50)
        m.counters.fragments += 20000;
    CPU->attention = 1;
}

static void run_rounds(void) {
    PUT_GUEST(CODE, rounds);
    m.clock = (struct clock){.ns_offset = 250 * MS}; /* stands where the test puts it */
    m.probe = a_quarter_later;
    run_guest();
    ck_assert_uint_eq(CPU->gpr[EDX], 100 * 101);
}

START_TEST(the_guest_does_not_notice) {
    engine_variant(_i);
    run_rounds();
    ck_assert_uint_eq(m.counters.renewals, 1);
    ck_assert_uint_eq(m.counters.cache_flushes, 1);
}
END_TEST

START_TEST(it_can_be_switched_off) {
    m.options.no_renewal = true;
    run_rounds();
    ck_assert_uint_eq(m.counters.renewals, 0);
    ck_assert_uint_eq(m.counters.cache_flushes, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("renewal");
    TCase *policy = tcase_create("policy"), *guests = tcase_create("guests");
    tcase_add_checked_fixture(policy, begin, NULL);
    tcase_add_test(policy, what_a_boot_made_goes_when_it_is_over);
    tcase_add_test(policy, few_translations_are_not_worth_it);
    tcase_add_test(policy, what_becomes_many_slowly_goes_too);
    tcase_add_test(policy, a_large_working_set_wants_many_translations);
    tcase_add_test(policy, what_was_learned_meanwhile_is_made_anew_ever_later);
    tcase_add_test(policy, what_was_overwritten_does_not_count);
    tcase_add_test(policy, looks_are_periods_apart);
    tcase_add_checked_fixture(guests, machine_set_up, NULL);
    tcase_add_loop_test(guests, the_guest_does_not_notice, 0, ENGINE_VARIANTS);
    tcase_add_test(guests, it_can_be_switched_off);
    suite_add_tcase(suite, policy);
    suite_add_tcase(suite, guests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
