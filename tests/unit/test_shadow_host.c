/* The shadow against its host: malloc that would love a window's hole, and the limit of mappings,
 * ours and the kernel's. */
#include <errno.h>
#include <malloc.h>

#include "tests/unit/shadow_fixture.h"

#define SCATTERED 60000u    /* more than SHADOW_VMA_LIMIT */
#define COMMON_LIMIT 70000u /* a host with a higher one is not driven to it */

static uint32_t seed = 12345;
static uint32_t rnd(void) { return (seed = seed * 1664525u + 1013904223u) >> 8; }

/* Page i of a guest space where no two neighbours are contiguous. */
static gva_t scattered(unsigned i) {
    gva_t gva = 0x400000u + i * PAGE_SIZE;
    if (!(get32(pte_at(gva)) & PTE_P))
        guest_map(gva, (i * 7u) % 8192u, DIRTY);
    return gva;
}

/* Everything inside the window region must be the memfd. */
static unsigned strangers_in_the_region(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    uintptr_t low, high;
    char line[512];
    unsigned strangers = 0;
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx", &low, &high) != 2 || high <= WINDOW_REGION ||
            low >= WINDOW_REGION + WINDOW_COUNT * WINDOW_STRIDE)
            continue;
        if (!strstr(line, "memfd:")) {
            fprintf(stderr, "in the window region: %s", line);
            strangers++;
        }
    }
    fclose(maps);
    return strangers;
}

static void churn_malloc(void **held, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        free(held[i]);
        held[i] = malloc(1 + rnd() % (i % 16 ? 40000 : 3000000));
        ck_assert_ptr_nonnull(held[i]);
        memset(held[i], 1, 1);
    }
}

START_TEST(nothing_but_guest_pages_stands_in_the_window_region) {
    void *held[64] = {0}, *mapped[16] = {0};
    mallopt(M_MMAP_THRESHOLD, 4096);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 32; i++)
            fill_ok(round & 1 ? fix.user : fix.supervisor, scattered(rnd() % 2000), rnd() & 1);
        for (unsigned i = 0; i < 32; i++) {
            gva_t gva = scattered(rnd() % 2000);
            put32(pte_at(gva), get32(pte_at(gva)) ^ 1u << 13);
            shadow_flush_page(S, fix.user, &fix.paging, gva);
            shadow_flush_page(S, fix.supervisor, &fix.paging, gva);
        }
        churn_malloc(held, 64);
        for (unsigned i = 0; i < 16; i++) {
            if (mapped[i])
                munmap(mapped[i], PAGE_SIZE * (1 + i));
            mapped[i] =
                mmap(NULL, PAGE_SIZE * (1 + i), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            ck_assert_ptr_ne(mapped[i], MAP_FAILED);
        }
        if (round % 50 == 49)
            ck_assert_uint_eq(strangers_in_the_region(), 0);
    }
}
END_TEST

START_TEST(our_limit_is_kept_and_every_page_can_still_be_mapped) {
    S->no_prefault = true;
    bool fresh;
    struct window *other = shadow_user_window(S, 0x5000, &fresh);
    for (unsigned i = 0; i < 1000; i++)
        fill_ok(fix.user, scattered(i), false);
    for (unsigned i = 0; i < SCATTERED; i++)
        fill_ok(other, scattered(i), false);
    ck_assert_uint_gt(fix.counters.windows_evicted, 0);
    ck_assert_uint_le(S->vmas, SHADOW_VMA_LIMIT);
    ck_assert_uint_lt(count_host_mappings(), SHADOW_VMA_LIMIT + 200);
    ck_assert_int_ne(host_rights(other, scattered(SCATTERED - 1)), 0);
    /* What was unmapped for room is still known, and comes back. */
    fill_ok(other, scattered(3), true);
    ck_assert_int_eq(host_rights(other, scattered(3)), 2);
    put32(pte_at(scattered(3)), 0);
    flush(other, true);
    ck_assert_int_eq(host_rights(other, 0x403000), 0);
}
END_TEST

START_TEST(pages_that_come_and_go_do_not_use_the_limit_up) {
    bool fresh;
    struct window *other = shadow_user_window(S, 0x5000, &fresh);
    S->no_prefault = true;
    fill_ok(fix.user, scattered(1), false);
    for (unsigned i = 0; i < SHADOW_VMA_LIMIT + 1000; i++) {
        gva_t gva = scattered(100 + i % 50);
        fill_ok(other, gva, false);
        put32(pte_at(gva), get32(pte_at(gva)) ^ 1u << 13);
        shadow_flush_page(S, other, &fix.paging, gva);
    }
    ck_assert_uint_eq(fix.counters.windows_evicted, 0);
    ck_assert_int_ne(host_rights(fix.user, scattered(1)), 0);
}
END_TEST

static unsigned kernel_limit(void) {
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    unsigned limit = UINT32_MAX;
    if (file && fscanf(file, "%u", &limit) != 1)
        limit = UINT32_MAX;
    if (file)
        fclose(file);
    return limit;
}

/* Takes mappings until `left` are left below the kernel's limit. */
static void eat_mappings(unsigned left) {
    static uint8_t *at;
    unsigned have = count_host_mappings(), pages = kernel_limit();
    at = mmap(NULL, (size_t)pages * PAGE_SIZE, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(at, MAP_FAILED);
    unsigned limit = pages;
    for (unsigned i = 1; have + left < limit && i < pages; i += 2, have += 2)
        if (mprotect(at + (size_t)i * PAGE_SIZE, PAGE_SIZE, PROT_READ))
            break;
}

START_TEST(kernels_limit_is_met_without_a_failure) {
    if (kernel_limit() > COMMON_LIMIT)
        return;
    S->no_prefault = true;
    bool fresh;
    struct window *other = shadow_user_window(S, 0x5000, &fresh);
    eat_mappings(6000);
    for (unsigned i = 0; i < 4000; i++)
        fill_ok(fix.user, scattered(i), false);
    for (unsigned i = 0; i < 20000; i++)
        fill_ok(other, scattered(i), false);
    ck_assert_uint_gt(fix.counters.windows_evicted, 0);
    ck_assert_uint_lt(S->vma_limit, 6000);
    for (unsigned i = 0; i < 100; i++) { /* and others still find room */
        void *block = malloc(300000);
        ck_assert_ptr_nonnull(block);
        memset(block, 1, 300000);
    }
}
END_TEST

/* At the limit neither a protection nor an unmapping inside a run can split it: the page must be
 * gone all the same. */
START_TEST(no_stale_page_stays_at_the_kernels_limit) {
    if (kernel_limit() > COMMON_LIMIT)
        return;
    for (unsigned i = 0; i < 16; i++)
        guest_map(0x400000u + i * PAGE_SIZE, i, DIRTY);
    fill_ok(fix.user, 0x400000, true);
    FILE *warm = fopen("/proc/self/maps", "r"); /* stdio's buffers, while there is room */
    fclose(warm);
    eat_mappings(0);
    while (mmap(NULL, PAGE_SIZE, rnd() & 1 ? PROT_READ : PROT_READ | PROT_EXEC,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
    }
    ck_assert_int_eq(errno, ENOMEM);
    if (_i == 0) {
        shadow_protect_code(S, frame(7));
        ck_assert_int_ne(host_rights(fix.user, 0x407000), 2);
    } else {
        put32(pte_at(0x407000), 0);
        shadow_flush_page(S, fix.user, &fix.paging, 0x407000);
        ck_assert_int_eq(host_rights(fix.user, 0x407000), 0);
    }
    ck_assert_uint_gt(fix.counters.windows_evicted, 0); /* it was the limit that was met */
    fill_ok(fix.user, 0x405000, true);
    ck_assert_int_eq(host_rights(fix.user, 0x405000), 2);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("shadow and host");
    TCase *tcase = tcase_create("limits");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, fixture_set_up, NULL);
    tcase_add_test(tcase, nothing_but_guest_pages_stands_in_the_window_region);
    tcase_add_test(tcase, our_limit_is_kept_and_every_page_can_still_be_mapped);
    tcase_add_test(tcase, pages_that_come_and_go_do_not_use_the_limit_up);
    tcase_add_test(tcase, kernels_limit_is_met_without_a_failure);
    tcase_add_loop_test(tcase, no_stale_page_stays_at_the_kernels_limit, 0, 2);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
