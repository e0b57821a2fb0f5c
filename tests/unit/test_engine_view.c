/* The engine's tables as another process sees them, when the guest has written whatever it likes
 * there. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine_private.h"
#include "runtime/engine_view.h"

#define RAM_PAGES 256u
#define ROUNDS 3000u

static struct arena tables;
static struct engine *engine;

static void setup(void) {
    ck_assert(!arena_create(&tables, engine_tables_size(CACHE_MINIMUM + PAGE_SIZE, RAM_PAGES)));
    engine = arena_alloc(&tables, sizeof *engine, PAGE_SIZE);
    srand(5);
}

static void teardown(void) { arena_destroy(&tables); }

static uint64_t random64(void) {
    return (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
}

/* Somewhere in or near the tables, or anywhere at all. */
static void *random_pointer(void) {
    switch (rand() % 4) {
    case 0:
        return (void *)(uintptr_t)random64();
    case 1:
        return tables.base + tables.size - (unsigned)rand() % 64;
    case 2:
        return tables.base - (unsigned)rand() % 64;
    default:
        return tables.base + random64() % tables.size / 8 * 8;
    }
}

static uint32_t random_number(void) {
    static const uint32_t edges[] = {
        0, 1, 511, 2047, 2048, FRAGMENTS_MAX - 1, FRAGMENTS_MAX, MAPS_MAX, UINT32_MAX};
    return rand() % 2 ? edges[(unsigned)rand() % (sizeof edges / sizeof *edges)]
                      : (uint32_t)random64();
}

static void scramble(void) {
    engine->cache_write = random_pointer();
    engine->fragments = random_pointer();
    engine->heat = random_pointer();
    engine->maps = random_pointer();
    engine->shadow.page_code = random_pointer();
    engine->cache_size = random_number();
    engine->part_count = random_number();
    engine->parts[(unsigned)rand() % CACHE_PARTS_MAX].code.used = random_number();
    engine->parts[(unsigned)rand() % CACHE_PARTS_MAX].fragments.used = random_number();
    struct window *w = &engine->shadow.windows[(unsigned)rand() % WINDOW_COUNT];
    memset(&w->used, rand(), 1);
    w->active_count = (uint16_t)random_number();
    w->regions[(unsigned)rand() % 2048] = random_pointer();
    w->active[(unsigned)rand() % 2048] = (uint16_t)rand();
    /* What fragments may be made of. */
    uint32_t *at = (uint32_t *)(void *)(tables.base + sizeof *engine);
    for (unsigned i = 0; i < 64; i++)
        at[random64() % 4096] = rand() % 3 ? random_number() : (uint32_t)rand() % 64;
}

static void look_at_fragments(void) {
    static uint8_t code[TRANSLATION_CODE_MAX];
    struct insn_map insns[TRANSLATION_INSNS_MAX];
    struct fragment_view f;
    uint32_t index = rand() % 2 ? (uint32_t)rand() % 200 : random_number();
    if (engine_view_fragment(&tables, index, &f)) {
        ck_assert_uint_le(f.code_len, TRANSLATION_CODE_MAX);
        ck_assert_uint_le(f.insn_count, TRANSLATION_INSNS_MAX);
    }
    unsigned count = engine_view_insns(&tables, index, insns);
    ck_assert_uint_le(count, TRANSLATION_INSNS_MAX);
    for (unsigned i = 1; i < count; i++)
        ck_assert(insns[i].host >= insns[i - 1].host && insns[i].guest >= insns[i - 1].guest);
    ck_assert_uint_le(engine_view_code(&tables, index, code, sizeof code), sizeof code);
    ck_assert_uint_le(engine_view_code(&tables, index, code, 1), 1);
    engine_view_heat(&tables, index);
}

static void look_at_windows(void) {
    struct window_view window;
    struct region_view region;
    unsigned number = (unsigned)rand() % (WINDOW_COUNT + 2);
    if (!engine_view_window(&tables, number, &window))
        return;
    ck_assert_uint_lt(number, WINDOW_COUNT);
    for (unsigned i = 0; i < window.region_count; i++) {
        ck_assert_uint_lt(window.regions[i], 2048);
        engine_view_region(&tables, number, window.regions[i], RAM_PAGES, &region);
    }
    for (unsigned i = 0; i < 2050; i += 41)
        engine_view_region(&tables, number, i, RAM_PAGES, &region);
}

START_TEST(nothing_there_leads_astray) {
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct engine_summary summary;
        scramble();
        if (engine_view_summary(&tables, &summary)) {
            ck_assert_uint_le(summary.cache_used, summary.cache_size);
            ck_assert_uint_le(summary.fragment_count, FRAGMENTS_MAX);
        }
        look_at_fragments();
        look_at_windows();
    }
}
END_TEST

START_TEST(an_engine_not_set_up_shows_nothing) {
    struct engine_summary summary;
    struct fragment_view f;
    struct region_view region;
    ck_assert(!engine_view_summary(&tables, &summary));
    ck_assert(!engine_view_fragment(&tables, 1, &f));
    ck_assert(!engine_view_region(&tables, 0, 0, RAM_PAGES, &region));
    ck_assert_uint_eq(engine_view_heat(&tables, 1), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("engine view");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, nothing_there_leads_astray);
    tcase_add_test(tests, an_engine_not_set_up_shows_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
