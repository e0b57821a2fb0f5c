/* The shadow page tables: what a fill maps, what a flush drops and what it must not. */
#include "tests/unit/shadow_fixture.h"

#define A 0x400000u
#define B (A + PAGE_SIZE)
#define C (A + 2 * PAGE_SIZE)

START_TEST(fill_puts_the_guest_page_at_its_linear_address) {
    guest_map(A, 5, DIRTY);
    put32(frame(5) + 8, 0x600df00d);
    fill_ok(fix.user, A, false);
    ck_assert_uint_eq(window_read(fix.user, A + 8), 0x600df00d);
    ck_assert_int_eq(host_rights(fix.user, B), 0);
    ck_assert_int_eq(host_rights(fix.supervisor, A), 0);
}
END_TEST

START_TEST(clean_page_is_read_only_until_it_is_written) {
    guest_map(A, 5, CLEAN);
    fill_ok(fix.user, A, false);
    ck_assert_int_eq(host_rights(fix.user, A), 1);
    fill_ok(fix.user, A, true);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
    ck_assert(get32(pte_at(A)) & PTE_D);
}
END_TEST

START_TEST(contiguous_neighbours_are_mapped_by_one_call) {
    for (unsigned i = 0; i < 16; i++)
        guest_map(A + i * PAGE_SIZE, i, DIRTY);
    fill_ok(fix.user, A + 7 * PAGE_SIZE, false);
    ck_assert_uint_eq(fix.counters.map_calls, 1);
    ck_assert_uint_eq(fix.counters.pages_mapped, 16);
    ck_assert_int_eq(host_rights(fix.user, A + 15 * PAGE_SIZE), 2);
}
END_TEST

START_TEST(unlike_neighbours_end_a_run) {
    guest_map(A, 0, DIRTY);
    guest_map(A + 1 * PAGE_SIZE, 1, DIRTY & ~PTE_U);
    guest_map(A - 1 * PAGE_SIZE, 9, DIRTY);
    fill_ok(fix.user, A, false);
    guest_map(A + 4 * PAGE_SIZE, 4, DIRTY);
    guest_map(A + 5 * PAGE_SIZE, 5, CLEAN);
    guest_map(A + 3 * PAGE_SIZE, 7, DIRTY);
    fill_ok(fix.user, A + 4 * PAGE_SIZE, false);
    ck_assert_uint_eq(fix.counters.pages_mapped, 2);
}
END_TEST

START_TEST(neighbour_with_a_reserved_bit_is_not_mapped) {
    const uint64_t reserved = 1ull << 55;
    fix.paging.cr4 |= CR4_PAE;
    fix.paging.pdpte[0] = DIRECTORY | PTE_P;
    uint64_t pde = TABLES | RIGHTS | PTE_A,
             ptes[2] = {frame(0) | DIRTY, frame(1) | DIRTY | reserved};
    memcpy(fix.ram.base + DIRECTORY, &pde, 8);
    memcpy(fix.ram.base + TABLES, ptes, sizeof ptes);
    fill_ok(fix.user, 0, false);
    ck_assert_int_eq(host_rights(fix.user, 0), 2);
    ck_assert_int_eq(host_rights(fix.user, PAGE_SIZE), 0);
}
END_TEST

START_TEST(large_page_is_mapped_in_pieces_and_dropped_whole) {
    put32(pde_at(A), 0x800000 | DIRTY | PTE_PS);
    fill_ok(fix.user, A + 0x1234, false);
    ck_assert_uint_eq(fix.counters.map_calls, 1);
    ck_assert_uint_eq(fix.counters.pages_mapped, 64);
    put32(0x800000, 0x1a49e);
    ck_assert_uint_eq(window_read(fix.user, A), 0x1a49e);
    put32(pde_at(A), 0xc00000 | DIRTY | PTE_PS);
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
    ck_assert_uint_eq(fix.user->active_count, 0);
}
END_TEST

START_TEST(clean_large_page_is_read_only_until_it_is_written) {
    put32(pde_at(A), 0x800000 | CLEAN | PTE_PS);
    fill_ok(fix.user, A, false);
    ck_assert_int_eq(host_rights(fix.user, A), 1);
    fill_ok(fix.user, A, true);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
}
END_TEST

START_TEST(hole_in_ram_is_not_mapped) {
    put32(pde_at(A), 0x000000 | DIRTY | PTE_PS); /* holds 0xa0000-0xbffff */
    ck_assert_int_eq(fill(fix.user, A + 0xa0000, false), FILL_NOT_RAM);
    fill_ok(fix.user, A + 0x9f000, false);
    ck_assert_int_eq(host_rights(fix.user, A + 0x9f000), 2);
    ck_assert_int_eq(host_rights(fix.user, A + 0xa0000), 0);
}
END_TEST

START_TEST(translated_page_is_write_protected_in_every_window) {
    bool fresh;
    struct window *other = shadow_user_window(S, 0x5000, &fresh);
    S->no_prefault = true;
    guest_map(A, 5, DIRTY);
    guest_map(B, 5, DIRTY); /* an alias */
    fill_ok(fix.user, A, true);
    fill_ok(fix.user, B, true);
    fill_ok(fix.supervisor, A, true);
    fill_ok(other, A, true);
    shadow_protect_code(S, frame(5));
    ck_assert_int_eq(host_rights(fix.user, A), 1);
    ck_assert_int_eq(host_rights(fix.user, B), 1);
    ck_assert_int_eq(host_rights(fix.supervisor, A), 1);
    ck_assert_int_eq(host_rights(other, A), 1);
    shadow_clear_window(S, other);
    fill_ok(other, A, false); /* a later mapping is read-only as well */
    ck_assert_int_eq(host_rights(other, A), 1);
    shadow_release_code(S, frame(5));
    fill_ok(fix.user, A, true);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
}
END_TEST

START_TEST(protected_page_does_not_join_a_writable_run) {
    for (unsigned i = 0; i < 4; i++)
        guest_map(A + i * PAGE_SIZE, i, DIRTY);
    shadow_protect_code(S, frame(2));
    fill_ok(fix.user, A, false);
    ck_assert_int_eq(host_rights(fix.user, B), 2);
    ck_assert_int_ne(host_rights(fix.user, C), 2);
}
END_TEST

START_TEST(changed_entry_below_an_equal_directory_is_dropped) {
    guest_map(A, 5, DIRTY);
    guest_map(C, 9, DIRTY);
    fill_ok(fix.user, A, false);
    fill_ok(fix.user, C, false);
    guest_map(A, 6, DIRTY);
    ck_assert_int_ne(host_rights(fix.user, A), 0); /* as a TLB: stale until the flush */
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
    ck_assert_int_eq(host_rights(fix.user, C), 2);
}
END_TEST

START_TEST(entry_that_loses_the_right_to_write_stays_mapped) {
    guest_map(A, 5, DIRTY);
    fill_ok(fix.user, A, true);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
    put32(pte_at(A), get32(pte_at(A)) & ~(uint32_t)PTE_W);
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, A), 1);
    ck_assert_uint_eq(fix.counters.entries_dropped, 0);
    put32(pte_at(A), get32(pte_at(A)) | PTE_W); /* which is another matter: it is met by a fault */
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
    fill_ok(fix.user, A, true);
    put32(pte_at(A), get32(pte_at(A)) & ~(uint32_t)(PTE_W | PTE_D));
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
}
END_TEST

/* The values are remembered entry by entry: filling a neighbour must not refresh this one's. */
START_TEST(entry_changed_beside_a_refilled_one_is_dropped) {
    S->no_prefault = _i == 1;
    guest_map(A, 5, DIRTY);
    guest_map(B, 9, DIRTY);
    fill_ok(fix.user, A, false);
    fill_ok(fix.user, B, false);
    guest_map(A, 6, DIRTY);
    guest_map(B, 12, DIRTY);
    guest_map(C, 13, DIRTY);
    shadow_flush_page(S, fix.user, &fix.paging, B);
    fill_ok(fix.user, B, false); /* refilled, same table */
    fill_ok(fix.user, C, true);
    flush(fix.user, false);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
    ck_assert_int_eq(host_rights(fix.user, B), 2);
}
END_TEST

START_TEST(global_entry_survives_an_address_space_load_only) {
    guest_map(A, 5, DIRTY | PTE_G);
    guest_map(C, 9, DIRTY);
    fill_ok(fix.supervisor, A, false);
    fill_ok(fix.supervisor, C, false);
    put32(pte_at(A), 0);
    put32(pte_at(C), 0);
    flush(fix.supervisor, false);
    ck_assert_int_eq(host_rights(fix.supervisor, A), 2);
    ck_assert_int_eq(host_rights(fix.supervisor, C), 0);
    flush(fix.supervisor, true); /* as a toggle of CR4.PGE does */
    ck_assert_int_eq(host_rights(fix.supervisor, A), 0);
}
END_TEST

START_TEST(invlpg_drops_one_page) {
    guest_map(A, 5, DIRTY);
    guest_map(C, 9, DIRTY | PTE_G);
    fill_ok(fix.user, A, false);
    fill_ok(fix.user, C, false);
    put32(pte_at(A), 0);
    put32(pte_at(C), 0);
    shadow_flush_page(S, fix.user, &fix.paging, C + 0x123);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
    ck_assert_int_eq(host_rights(fix.user, C), 0); /* global or not */
}
END_TEST

START_TEST(directory_with_the_same_content_drops_nothing) {
    const uint32_t other = 0x5000;
    guest_map(A, 5, DIRTY);
    guest_map(0xc0000000u, 9, DIRTY);
    fill_ok(fix.supervisor, A, false);
    fill_ok(fix.supervisor, 0xc0000000u, false);
    memcpy(fix.ram.base + other, fix.ram.base + DIRECTORY, PAGE_SIZE);
    put32(other + (A >> 22) * 4, 0);
    fix.paging.cr3 = other;
    flush(fix.supervisor, false);
    ck_assert_int_eq(host_rights(fix.supervisor, 0xc0000000u), 2);
    ck_assert_int_eq(host_rights(fix.supervisor, A), 0);
    ck_assert_uint_eq(fix.counters.entries_dropped, 1);
}
END_TEST

START_TEST(page_with_translated_code_is_reported_when_it_goes) {
    guest_map(A, 5, DIRTY);
    struct walk walk = walk_page(&fix.ram, &fix.paging, A, ACCESS_FETCH, true, true);
    shadow_record_exec(S, fix.user, &fix.paging, A, &walk);
    ck_assert(shadow_flags(fix.user, A) & SHADOW_EXEC);
    flush(fix.user, false);
    ck_assert_uint_eq(fix.dropped, 0);
    put32(pte_at(A), frame(6) | DIRTY);
    flush(fix.user, false);
    ck_assert_uint_eq(fix.dropped, 1);
    ck_assert_uint_eq(fix.dropped_gva, A);
    ck_assert_uint_eq(shadow_flags(fix.user, A), 0);
}
END_TEST

START_TEST(least_recently_used_window_is_evicted) {
    bool fresh;
    guest_map(A, 5, DIRTY);
    fill_ok(fix.user, A, false);
    for (uint32_t i = 1; i < WINDOW_COUNT - 1; i++)
        fill_ok(shadow_user_window(S, 0x100000 + i * PAGE_SIZE, &fresh), A, false);
    ck_assert_ptr_eq(shadow_user_window(S, DIRECTORY, &fresh), fix.user);
    ck_assert(!fresh);
    ck_assert_int_eq(host_rights(fix.user, A), 2);
    for (uint32_t i = 0; i < WINDOW_COUNT - 2; i++)
        fill_ok(shadow_user_window(S, 0x400000 + i * PAGE_SIZE, &fresh), A, false);
    ck_assert_int_eq(host_rights(fix.user, A), 2); /* the others went first */
    ck_assert_ptr_eq(shadow_user_window(S, 0x600000, &fresh), fix.user);
    ck_assert(fresh);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
}
END_TEST

START_TEST(window_of_a_gone_address_space_is_given_away) {
    bool fresh;
    guest_map(A, 5, DIRTY);
    fill_ok(fix.user, A, false);
    struct window *gone = shadow_user_window(S, 0x100000, &fresh), *last = NULL;
    ck_assert(fresh);
    ck_assert_ptr_eq(shadow_user_window(S, 0x100000, &fresh), gone);
    ck_assert(!fresh);
    for (uint32_t i = 1; i < WINDOWS_KEPT - 1; i++) {
        last = shadow_user_window(S, 0x100000 + i * PAGE_SIZE, &fresh);
        fill_ok(last, A, false);
    }
    ck_assert_uint_eq(last->number, WINDOWS_KEPT);
    ck_assert_ptr_eq(shadow_user_window(S, 0x200000, &fresh), gone); /* it is empty */
    fill_ok(gone, A, false);
    ck_assert_uint_gt(shadow_user_window(S, 0x201000, &fresh)->number, WINDOWS_KEPT);
    put32(pde_at(A), 0); /* all have the same directory here */
    ck_assert_ptr_eq(shadow_user_window(S, 0x202000, &fresh), fix.user);
    ck_assert(fresh);
    ck_assert_int_eq(host_rights(fix.user, A), 0);
}
END_TEST

START_TEST(host_address_belongs_to_its_window_guards_included) {
    ck_assert_ptr_null(shadow_window_at(S, WINDOW_REGION - 1));
    ck_assert_ptr_eq(shadow_window_at(S, fix.user->base), fix.user);
    ck_assert_ptr_eq(shadow_window_at(S, fix.user->base - 1), fix.user);
    ck_assert_ptr_eq(shadow_window_at(S, fix.user->base + WINDOW_SIZE), fix.user);
    ck_assert_ptr_null(shadow_window_at(S, WINDOW_REGION + WINDOW_COUNT * WINDOW_STRIDE));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("shadow");
    TCase *tcase = tcase_create("shadow");
    tcase_add_checked_fixture(tcase, fixture_set_up, NULL);
    tcase_add_test(tcase, fill_puts_the_guest_page_at_its_linear_address);
    tcase_add_test(tcase, clean_page_is_read_only_until_it_is_written);
    tcase_add_test(tcase, contiguous_neighbours_are_mapped_by_one_call);
    tcase_add_test(tcase, unlike_neighbours_end_a_run);
    tcase_add_test(tcase, neighbour_with_a_reserved_bit_is_not_mapped);
    tcase_add_test(tcase, large_page_is_mapped_in_pieces_and_dropped_whole);
    tcase_add_test(tcase, clean_large_page_is_read_only_until_it_is_written);
    tcase_add_test(tcase, hole_in_ram_is_not_mapped);
    tcase_add_test(tcase, translated_page_is_write_protected_in_every_window);
    tcase_add_test(tcase, protected_page_does_not_join_a_writable_run);
    tcase_add_test(tcase, changed_entry_below_an_equal_directory_is_dropped);
    tcase_add_test(tcase, entry_that_loses_the_right_to_write_stays_mapped);
    tcase_add_loop_test(tcase, entry_changed_beside_a_refilled_one_is_dropped, 0, 2);
    tcase_add_test(tcase, global_entry_survives_an_address_space_load_only);
    tcase_add_test(tcase, invlpg_drops_one_page);
    tcase_add_test(tcase, directory_with_the_same_content_drops_nothing);
    tcase_add_test(tcase, page_with_translated_code_is_reported_when_it_goes);
    tcase_add_test(tcase, least_recently_used_window_is_evicted);
    tcase_add_test(tcase, window_of_a_gone_address_space_is_given_away);
    tcase_add_test(tcase, host_address_belongs_to_its_window_guards_included);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
