/* memcpy, memmove and memset of base/memory_routines.c: every short length, every overlap, and nothing beside it. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 90u
#define ROOM 256u
#define BASE 100u

static unsigned char bytes[ROOM], expected[ROOM], source[ROOM];

static void fill(unsigned char *to, unsigned start) {
    for (unsigned i = 0; i < ROOM; i++)
        to[i] = (unsigned char)(start + i * 7);
}

/* By hand, through a copy; volatile, so that no compiler makes one of the tested functions of it. */
static void expect_copy(unsigned to, const unsigned char *from, unsigned len) {
    volatile unsigned char kept[ROOM];
    memcpy(expected, bytes, sizeof expected);
    for (unsigned i = 0; i < len; i++)
        kept[i] = from[i];
    for (unsigned i = 0; i < len; i++)
        expected[to + i] = kept[i];
}

static void check_bytes(const char *what, unsigned len, unsigned at) {
    for (unsigned i = 0; i < ROOM; i++)
        if (bytes[i] != expected[i])
            ck_abort_msg("%s of %u bytes, %u: byte %u", what, len, at, i);
}

START_TEST(copies_are_exact) {
    for (volatile unsigned len = 0; len < LONGEST; len++)
        for (unsigned at = 0; at < 16; at++) {
            fill(bytes, 1);
            fill(source, 99);
            expect_copy(BASE + at, source + at * 3 % 16, len);
            ck_assert_ptr_eq(memcpy(bytes + BASE + at, source + at * 3 % 16, len), bytes + BASE + at);
            check_bytes("a copy", len, at);
        }
}
END_TEST

START_TEST(moves_may_overlap) {
    for (volatile unsigned len = 0; len < LONGEST; len++)
        for (unsigned to = BASE - 70; to <= BASE + 60; to++) {
            fill(bytes, 5);
            expect_copy(to, bytes + BASE, len);
            ck_assert_ptr_eq(memmove(bytes + to, bytes + BASE, len), bytes + to);
            check_bytes("a move", len, to);
        }
}
END_TEST

START_TEST(fills_are_exact) {
    for (volatile unsigned len = 0; len < LONGEST; len++)
        for (unsigned at = 0; at < 16; at++) {
            fill(bytes, 9);
            memcpy(expected, bytes, sizeof expected);
            for (volatile unsigned i = 0; i < len; i++)
                expected[BASE + at + i] = 0xa7;
            ck_assert_ptr_eq(memset(bytes + BASE + at, 0x1a7, len), bytes + BASE + at);
            check_bytes("a fill", len, at);
        }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("memory routines");
    TCase *tcase = tcase_create("routines");
    tcase_add_test(tcase, copies_are_exact);
    tcase_add_test(tcase, moves_may_overlap);
    tcase_add_test(tcase, fills_are_exact);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
