/* POPF, CLI and STI over every CPL and IOPL. */
#include "runtime/callout_support.h"
#include "system_fixture.h"

static const unsigned levels[] = {0, 1, 3};

/* One of 3 CPLs times 4 IOPLs. */
static unsigned enter_case(int index, unsigned *iopl) {
    unsigned cpl = levels[index / 4];
    *iopl = (unsigned)index % 4;
    enter_level(cpl);
    CPU->sys_flags = *iopl << 12;
    CPU->iflag = 0;
    return cpl;
}

START_TEST(popf_matrix) {
    unsigned iopl, cpl = enter_case(_i, &iopl);
    CPU->sys_flags |= FL_RF;
    CPU->gpr[ESP] = 0x7000;
    put32(0x7000, 0xffffffff);
    enum callout_result result = callout_popf(V, 0, 0);
    uint32_t expected = FL_ONE | FL_HOST | FL_TF | FL_NT | FL_AC | FL_ID;
    expected |= cpl <= iopl ? FL_IF : 0;
    expected |= cpl == 0 ? FL_IOPL : iopl << 12;
    ck_assert_uint_eq(cpu_eflags(CPU), expected);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x7004);
    ck_assert_int_eq(result, CALLOUT_JUMP); /* TF: another mode */
    ck_assert_uint_eq(CPU->eip, 0x5002);
}
END_TEST

START_TEST(popf_clears_by_the_same_rules) {
    unsigned iopl, cpl = enter_case(_i, &iopl);
    CPU->iflag = FL_IF;
    CPU->sys_flags |= FL_VIF | FL_ID;
    CPU->gpr[ESP] = 0x7000;
    put32(0x7000, 0);
    ck_assert_int_eq(callout_popf(V, 0, 0), CALLOUT_NEXT);
    uint32_t expected = FL_ONE | FL_VIF | (cpl <= iopl ? 0 : FL_IF) | (cpl == 0 ? 0 : iopl << 12);
    ck_assert_uint_eq(cpu_eflags(CPU), expected);
}
END_TEST

/* But for RF, which every POPF clears. */
START_TEST(popf_16_leaves_the_high_half) {
    CPU->sys_flags = FL_AC | FL_RF;
    CPU->gpr[ESP] = 0x7000;
    put32(0x7000, FL_CF | FL_ID);
    ck_assert_int_eq(callout_popf(V, CALLOUT_ARG16, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_CF | FL_AC);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x7002);
}
END_TEST

START_TEST(popf_faults_change_nothing) {
    CPU->gpr[ESP] = 0x6ffe;
    fake.pages[7] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_popf(V, 0, 0), VEC_PF, 0);
}
END_TEST

START_TEST(cli_and_sti_matrix) {
    unsigned iopl, cpl = enter_case(_i, &iopl);
    if (cpl > iopl) {
        ASSERT_UNTOUCHED_FAULT(callout_sti(V, 0, 0), VEC_GP, 0);
        ASSERT_UNTOUCHED_FAULT(callout_cli(V, 0, 0), VEC_GP, 0);
        return;
    }
    CPU->irq_pending = 1;
    ck_assert_int_eq(callout_sti(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->iflag, FL_IF);
    ck_assert(CPU->interrupt_shadow);
    ck_assert_uint_eq(CPU->attention, 1);
    CPU->interrupt_shadow = false;
    callout_sti(V, 0, 0);
    ck_assert(!CPU->interrupt_shadow); /* IF was set: no shadow */
    ck_assert_int_eq(callout_cli(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->iflag, 0);
}
END_TEST

START_TEST(intr_pin) {
    vcpu_set_intr(V, true);
    ck_assert_uint_eq(CPU->irq_pending, 1);
    ck_assert_uint_eq(CPU->attention, 0);
    CPU->iflag = FL_IF;
    vcpu_set_intr(V, true);
    ck_assert_uint_eq(CPU->attention, 1);
    vcpu_set_intr(V, false);
    ck_assert_uint_eq(CPU->irq_pending, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: flags");
    TCase *tc = tcase_create("flags");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, popf_matrix, 0, 12);
    tcase_add_loop_test(tc, popf_clears_by_the_same_rules, 0, 12);
    tcase_add_test(tc, popf_16_leaves_the_high_half);
    tcase_add_test(tc, popf_faults_change_nothing);
    tcase_add_loop_test(tc, cli_and_sti_matrix, 0, 12);
    tcase_add_test(tc, intr_pin);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
