/* The bits of instructions that fragments can be entered at (runtime/insn_starts.c). */
#include <check.h>
#include <stdlib.h>

#include "runtime/engine_private.h"

#define PAGES 4u

static struct engine *engine;

static void set_up(void) {
    engine = calloc(1, sizeof *engine);
    ck_assert_ptr_nonnull(engine);
    engine->insn_starts = calloc(PAGES, PAGE_SIZE / 8);
    ck_assert_ptr_nonnull(engine->insn_starts);
}

static void tear_down(void) {
    free(engine->insn_starts);
    free(engine);
}

static void check_only(const gpa_t *list, unsigned count) {
    for (gpa_t gpa = 0; gpa < PAGES * PAGE_SIZE; gpa++) {
        bool listed = false;
        for (unsigned i = 0; i < count; i++)
            listed |= list[i] == gpa;
        if (insn_starts_at(engine, gpa) != listed)
            ck_abort_msg("byte %llx", (unsigned long long)gpa);
    }
}

START_TEST(starts_are_known_where_esp_does_not_lag) {
    const struct insn_map map[] = {{.guest = 0}, {.guest = 1, .esp = -4}, {.guest = 3}, {.guest = 64}, {.guest = 130}};
    const struct fragment f = {.gpa = 0x103e, .map_count = 5};
    insn_starts_note(engine, &f, map);
    check_only((const gpa_t[]){0x103e, 0x1041, 0x107e, 0x10c0}, 4);
}
END_TEST

/* What a translation says in words is entered at any byte. */
START_TEST(a_translations_bits_are_the_maps) {
    static struct translation t;
    const struct insn_map map[] = {{.guest = 0}, {.guest = 3}, {.guest = 63}, {.guest = 64}, {.guest = 130}};
    t.guest_len = 135;
    for (unsigned i = 0; i < 5; i++)
        t.starts[map[i].guest / 64] |= 1ull << map[i].guest % 64;
    for (gpa_t gpa = 0x1000; gpa < 0x1080; gpa++) {
        insn_starts_add(engine, gpa, &t);
        check_only((const gpa_t[]){gpa, gpa + 3, gpa + 63, gpa + 64, gpa + 130}, 5);
        insn_starts_forget_page(engine, gpa);
    }
}
END_TEST

START_TEST(others_are_added_and_a_page_goes_alone) {
    const struct insn_map map[] = {{.guest = 0}, {.guest = 1}};
    const struct fragment list[] = {{.gpa = 0x1fff, .map_count = 1}, {.gpa = 0x2000, .map_count = 2},
                                    {.gpa = 0x2001, .map_count = 2}, {.gpa = 0x3000, .map_count = 1}};
    for (unsigned i = 0; i < 4; i++)
        insn_starts_note(engine, &list[i], map);
    check_only((const gpa_t[]){0x1fff, 0x2000, 0x2001, 0x2002, 0x3000}, 5);
    insn_starts_forget_page(engine, 0x2abc);
    check_only((const gpa_t[]){0x1fff, 0x3000}, 2);
}
END_TEST

START_TEST(range_goes_and_its_neighbours_stay) {
    const struct insn_map map[] = {{.guest = 0}, {.guest = 1}, {.guest = 65}, {.guest = 199}, {.guest = 200}};
    const struct fragment f = {.gpa = 0x1010, .map_count = 5};
    insn_starts_note(engine, &f, map);
    insn_starts_forget_range(engine, 0x1011, 199);
    check_only((const gpa_t[]){0x1010, 0x10d8}, 2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("instruction starts");
    TCase *tcase = tcase_create("bits");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, starts_are_known_where_esp_does_not_lag);
    tcase_add_test(tcase, a_translations_bits_are_the_maps);
    tcase_add_test(tcase, others_are_added_and_a_page_goes_alone);
    tcase_add_test(tcase, range_goes_and_its_neighbours_stay);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
