/* Watchpoints: every access that one covers stops the vCPU right behind its instruction. */
#include "tests/unit/inspection_fixture.h"

/* Writes and reads of a watched word and its neighbours, with all that reaches memory. */
GUEST(accesses, "movl $1, 0x300ffc\n"                                       /* +0: not watched */
                "movl $2, 0x301000\n"                                       /* +10: write */
                "mov 0x301000, %eax\n"                                      /* +20: read */
                "incl 0x301002\n"                                           /* +25: both, in part */
                "movl $3, 0x301004\n"                                       /* +31: not watched */
                "mov $0x301000, %edi\n"                                     /* +41 */
                "stosl\n"                                                   /* +46: write */
                "mov $0x300ff8, %esi; mov $0x302000, %edi; mov $16, %ecx\n" /* +47 */
                "rep movsb\n"                      /* +62: reads, at the 9th element */
                "mov $0x301004, %esp; push %eax\n" /* +64, +69: write */
                "pusha; mov $6, %al;" STOP)        /* +70 */

static void expect_access(uint32_t eip, gva_t address) {
    go_on();
    struct inspection_stop why = next_stop();
    ck_assert_msg(why.reason == STOP_WATCHPOINT && CPU->eip == eip && why.address == address &&
                      why.watchpoint == DATA + 0x1000,
                  "stopped for %u at %x, address %x; expected %x, %x", why.reason, CPU->eip,
                  why.address, eip, address);
}

static void *watches_writes(void *unused) {
    const struct watchpoint w = {DATA + 0x1000, 4, WATCH_WRITE};
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_watchpoint(&target, &w), 0);
    expect_access(CODE + 20, DATA + 0x1000);
    ck_assert_uint_eq(get32(DATA + 0x1000), 2);
    expect_access(CODE + 31, DATA + 0x1002);
    expect_access(CODE + 47, DATA + 0x1000);
    expect_access(CODE + 70, DATA + 0x1000);
    ck_assert_int_eq(target_clear_watchpoint(&target, &w), 0);
    go_on();
    return unused;
}

static void *watches_reads(void *unused) {
    const struct watchpoint w = {DATA + 0x1000, 4, WATCH_READ};
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_watchpoint(&target, &w), 0);
    expect_access(CODE + 25, DATA + 0x1000);
    expect_access(CODE + 31, DATA + 0x1002);
    for (unsigned i = 0; i < 4; i++) {
        expect_access(CODE + 62, DATA + 0x1000 + i);
        ck_assert_uint_eq(CPU->gpr[ECX], 7 - i);
    }
    ck_assert_int_eq(target_clear_watchpoint(&target, &w), 0);
    go_on();
    return unused;
}

START_TEST(watchpoint_stops_behind_the_access) {
    engine_variant(_i / 2);
    m.options.past_windows = _i >= 2 * ENGINE_VARIANTS;
    PUT_GUEST(CODE, accesses);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(_i % 2 ? watches_reads : watches_writes), 6);
}
END_TEST

/* C code stores, and a straight line follows. */
GUEST(stores_in_c, "sgdt 0x301000; nop; nop; nop; mov $8, %al;" STOP)

static void *watches_c(void *unused) {
    const struct watchpoint w = {DATA + 0x1000, 4, WATCH_WRITE};
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_watchpoint(&target, &w), 0);
    expect_access(CODE + 7, DATA + 0x1000);
    go_on();
    return unused;
}

START_TEST(watchpoint_sees_what_callouts_store) {
    engine_variant(_i);
    PUT_GUEST(CODE, stores_in_c);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(watches_c), 8);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("watchpoints");
    TCase *tcase = tcase_create("watchpoints");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, watchpoint_stops_behind_the_access, 0, 2 * ENGINE_VARIANTS + 2);
    tcase_add_loop_test(tcase, watchpoint_sees_what_callouts_store, 0, ENGINE_VARIANTS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
