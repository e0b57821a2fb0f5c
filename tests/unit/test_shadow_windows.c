/* Short processes: which window an address space gets, what is dropped of one that is gone, and how little is
 * mapped for those who use little. */
#include "tests/unit/shadow_fixture.h"

#define A 0x400000u
#define PAGE(n) (A + (n) * PAGE_SIZE)
#define READ_ONLY (DIRTY & ~PTE_W)
#define FAR 0x40000000u

static unsigned cleared;

static void on_clearing(void *opaque, unsigned window) {
    (void)opaque, (void)window;
    cleared++;
}

START_TEST(read_only_user_pages_bring_few_neighbours) {
    for (unsigned i = 0; i < 32; i++)
        guest_map(PAGE(i), i, READ_ONLY);
    fill_ok(fix.user, PAGE(17), false);
    ck_assert_uint_eq(fix.counters.pages_mapped, 4);
    ck_assert_int_eq(host_rights(fix.user, PAGE(16)), 1);
    ck_assert_int_eq(host_rights(fix.user, PAGE(20)), 0);
    fill_ok(fix.user, PAGE(20), false); /* who reads on gets the rest of the 16 */
    ck_assert_uint_eq(fix.counters.pages_mapped, 16);
    ck_assert_int_eq(host_rights(fix.user, PAGE(31)), 1);
}
END_TEST

START_TEST(right_to_write_comes_to_the_mapping_that_stands) {
    for (unsigned i = 0; i < 4; i++)
        guest_map(PAGE(i), i, CLEAN);
    fill_ok(fix.user, PAGE(1), false);
    ck_assert_uint_eq(fix.counters.map_calls, 1);
    ck_assert_int_eq(host_rights(fix.user, PAGE(2)), 1);
    fill_ok(fix.user, PAGE(2), true);
    ck_assert_uint_eq(fix.counters.map_calls, 1);
    ck_assert_int_eq(host_rights(fix.user, PAGE(1)), 1);
    ck_assert_int_eq(host_rights(fix.user, PAGE(2)), 2);
    *(volatile uint32_t *)(fix.user->base + PAGE(2)) = 0x600df00d;
    ck_assert_uint_eq(get32(frame(2)), 0x600df00d);
    guest_map(PAGE(2), 9, CLEAN); /* it goes as every other */
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, PAGE(2)), 0);
}
END_TEST

START_TEST(address_space_that_is_gone_is_dropped_as_a_whole) {
    S->clearing = on_clearing;
    cleared = 0;
    for (unsigned i = 0; i < 8; i++) {
        guest_map(A + FAR / 8 * i, i, DIRTY);
        fill_ok(fix.user, A + FAR / 8 * i, false);
    }
    for (unsigned i = 1; i < 8; i++)
        put32(pde_at(A + FAR / 8 * i), 0);
    flush(fix.user, false);
    ck_assert_uint_eq(cleared, 0); /* something has stayed */
    ck_assert_uint_eq(fix.user->active_count, 1);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
    put32(pde_at(A), 0);
    flush(fix.user, false);
    ck_assert_uint_eq(cleared, 1);
    ck_assert_uint_eq(fix.user->active_count, 0);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
}
END_TEST

START_TEST(drop_over_a_gap_spares_what_stands_in_it) {
    for (unsigned i = 0; i < 5; i++)
        guest_map(PAGE(i), 2 * i, DIRTY);
    fill_ok(fix.user, PAGE(0), false);
    fill_ok(fix.user, PAGE(2), false);
    fill_ok(fix.user, PAGE(4), false);
    put32(pte_at(PAGE(0)), 0);
    put32(pte_at(PAGE(4)), 0);
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, PAGE(0)), 0);
    ck_assert_int_eq(host_rights(fix.user, PAGE(2)), 2);
    ck_assert_int_eq(host_rights(fix.user, PAGE(4)), 0);
    guest_map(PAGE(0), 0, DIRTY);
    fill_ok(fix.user, PAGE(0), false);
    put32(pte_at(PAGE(0)), 0);
    put32(pte_at(PAGE(2)), 0);
    flush(fix.user, false); /* nothing between them */
    ck_assert_int_eq(host_rights(fix.user, PAGE(0)), 0);
    ck_assert_int_eq(host_rights(fix.user, PAGE(2)), 0);
    ck_assert_uint_eq(fix.user->active_count, 0);
}
END_TEST

/* The window of the address space with this directory, with one page mapped in it. */
static struct window *run_process(uint32_t directory, bool *fresh) {
    fix.paging.cr3 = directory;
    put32(directory + (A >> 22) * 4, get32(pde_at(A)));
    struct window *w = shadow_user_window(S, directory, fresh);
    if (*fresh)
        ck_assert_uint_eq(w->active_count, 0);
    fill_ok(w, A, false);
    return w;
}

static void end_process(uint32_t directory) { put32(directory + (A >> 22) * 4, 0); }

START_TEST(directory_that_comes_back_gets_the_window_that_went_last) {
    const uint32_t first = 0x10000, second = 0x20000, living = 0x30000;
    bool fresh;
    guest_map(A, 5, DIRTY);
    struct window *w1 = run_process(first, &fresh), *w2 = run_process(second, &fresh);
    struct window *w3 = run_process(living, &fresh);
    ck_assert_ptr_eq(run_process(first, &fresh), w1); /* not gone: it keeps its own */
    ck_assert(!fresh);
    ck_assert_ptr_eq(run_process(second, &fresh), w2);
    ck_assert_ptr_eq(run_process(living, &fresh), w3);
    end_process(first);
    end_process(second);
    ck_assert_ptr_eq(shadow_user_window(S, first, &fresh), w2);
    ck_assert(fresh);
    ck_assert_int_eq(host_rights(w2, A), 0);
    ck_assert_ptr_eq(run_process(living, &fresh), w3);
    ck_assert(!fresh);
    run_process(second, &fresh);
    ck_assert(fresh); /* what it had is another's now, or nobody's */
}
END_TEST

int main(void) {
    Suite *suite = suite_create("shadow_windows");
    TCase *tcase = tcase_create("shadow_windows");
    tcase_add_checked_fixture(tcase, fixture_set_up, NULL);
    tcase_add_test(tcase, read_only_user_pages_bring_few_neighbours);
    tcase_add_test(tcase, right_to_write_comes_to_the_mapping_that_stands);
    tcase_add_test(tcase, address_space_that_is_gone_is_dropped_as_a_whole);
    tcase_add_test(tcase, drop_over_a_gap_spares_what_stands_in_it);
    tcase_add_test(tcase, directory_that_comes_back_gets_the_window_that_went_last);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
