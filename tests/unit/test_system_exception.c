/* Exceptions: what is pushed, what a fault during delivery becomes, and debug exceptions. */
#include "runtime/debug_registers.h"
#include "runtime/exception.h"
#include "system_fixture.h"

static uint32_t pushed_flags(bool has_error) { return get32(CPU->gpr[ESP] + (has_error ? 12 : 8)); }

START_TEST(page_fault_sets_cr2) {
    fault_raise_error(V, VEC_PF, PF_WRITE);
    V->fault.cr2 = 0xdeadbeef;
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->cr2, 0xdeadbeef);
    ck_assert_uint_eq(get32(CPU->gpr[ESP]), PF_WRITE);
    ck_assert_uint_eq(get32(CPU->gpr[ESP] + 4), 0x5000);
    ck_assert_uint_eq(fake.counters.exceptions, 1);
}
END_TEST

static const struct {
    unsigned vector;
    bool error, resume;
} pushed[] = {
    {VEC_DE, false, true}, {VEC_UD, false, true},  {VEC_NM, false, true},  {VEC_BR, false, true},
    {VEC_GP, true, true},  {VEC_SS, true, true},   {VEC_NP, true, true},   {VEC_TS, true, true},
    {VEC_PF, true, true},  {VEC_AC, true, true},   {VEC_MF, false, true},  {VEC_XM, false, true},
    {VEC_DF, true, false}, {VEC_BP, false, false}, {VEC_OF, false, false},
};

START_TEST(faults_push_the_resume_flag) {
    if (pushed[_i].error)
        fault_raise_error(V, pushed[_i].vector, 0);
    else
        fault_raise(V, pushed[_i].vector);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xc0de0000u + pushed[_i].vector);
    ck_assert_uint_eq(pushed_flags(pushed[_i].error) & FL_RF, pushed[_i].resume ? FL_RF : 0);
    ck_assert_uint_eq(CPU->sys_flags & FL_RF, 0);
}
END_TEST

/* Table 6-5: `first` is delivered through a gate whose delivery raises `second`. */
enum outcome { SERIAL, DOUBLE, SHUTDOWN };
static const struct {
    unsigned first, second;
    enum outcome outcome;
} pairs[] = {
    {VEC_UD, VEC_UD, SERIAL},   {VEC_UD, VEC_NP, SERIAL}, {VEC_UD, VEC_PF, SERIAL},
    {VEC_GP, VEC_NP, DOUBLE},   {VEC_GP, VEC_PF, SERIAL}, {VEC_DE, VEC_NP, DOUBLE},
    {VEC_TS, VEC_NP, DOUBLE},   {VEC_NP, VEC_NP, DOUBLE}, {VEC_SS, VEC_NP, DOUBLE},
    {VEC_PF, VEC_NP, DOUBLE},   {VEC_PF, VEC_PF, DOUBLE}, {VEC_DF, VEC_NP, SHUTDOWN},
    {VEC_DF, VEC_PF, SHUTDOWN}, {VEC_BP, VEC_NP, SERIAL}, {VEC_AC, VEC_PF, SERIAL},
};

/* Makes delivery of `vector` raise #NP (its gate) or #PF (its code descriptor's page). */
static void spoil(unsigned vector, unsigned second) {
    if (second == VEC_NP) {
        idt_set(vector, SEL_KCODE, 0x1000, 0x0e);
    } else if (second == VEC_PF) {
        idt_set(vector, 0x0c, 0x1000, 0x8e); /* in an LDT that is not there */
        CPU->ldt.base = 0xe000;
        fake.pages[0xe] = PAGE_NO_READ;
    }
}

START_TEST(second_faults) {
    unsigned first = pairs[_i].first, second = pairs[_i].second;
    if (first == second && second == VEC_NP) /* #NP's own gate is the absent one */
        idt_set(VEC_NP, SEL_KCODE, 0x1000, 0x0e);
    spoil(first, second);
    fault_raise_error(V, first, 0);
    enum callout_result result = exception_deliver(V);
    if (pairs[_i].outcome == SHUTDOWN) {
        ck_assert_int_eq(result, CALLOUT_EXIT);
        ck_assert_int_eq(V->exit, EXIT_TRIPLE_FAULT);
        ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK);
        ck_assert_uint_eq(CPU->sys_flags & FL_RF, 0);
        return;
    }
    unsigned arrives = pairs[_i].outcome == DOUBLE ? VEC_DF : second;
    ck_assert_int_eq(result, CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xc0de0000u + arrives);
    if (arrives == VEC_DF)
        ck_assert_uint_eq(get32(CPU->gpr[ESP]), 0);
    if (arrives == VEC_NP)
        ck_assert_uint_eq(get32(CPU->gpr[ESP]), first * 8 + 3);
    if (second == VEC_PF)
        ck_assert_uint_eq(CPU->cr2, 0xe008);
}
END_TEST

START_TEST(no_idt_is_a_triple_fault) {
    CPU->idt.limit = 0;
    enter_level(3);
    fault_raise(V, VEC_UD);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_EXIT);
    ck_assert_int_eq(V->exit, EXIT_TRIPLE_FAULT);
    ck_assert_uint_eq(CPU->attention, 1);
}
END_TEST

START_TEST(first_exit_reason_wins) {
    vcpu_request_exit(V, EXIT_DEBUG_PORT, 7);
    vcpu_request_exit(V, EXIT_POWER_OFF, 9);
    ck_assert_int_eq(V->exit, EXIT_DEBUG_PORT);
    ck_assert_uint_eq(V->exit_value, 7);
}
END_TEST

START_TEST(raise_callout) {
    ck_assert_int_eq(callout_raise(V, VEC_UD, 0), CALLOUT_FAULT);
    ck_assert(!V->fault.has_error);
    assert_fault(callout_raise(V, 0x100 | VEC_GP, 0), VEC_GP, 0);
}
END_TEST

/* INT n from user mode counts the gate's DPL; INT1 does not. */
START_TEST(software_interrupts) {
    enter_level(3);
    assert_fault(callout_int_n(V, 0x80, 0), VEC_GP, 0x80 * 8 + 2);
    assert_fault(callout_int3(V, 0, 0), VEC_GP, VEC_BP * 8 + 2);
    assert_fault(callout_into(V, 0, 0), VEC_GP, VEC_OF * 8 + 2);
    ck_assert_int_eq(callout_int1(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(KERNEL_STACK - 20), 0x5002);
    ck_assert_uint_eq(pushed_flags(false) & FL_RF, 0);
    ck_assert_uint_eq(CPU->dr[6], 0xffff0ff0);
    enter_level(3);
    idt_set(VEC_BP, SEL_KCODE, 0x1000, 0xee);
    ck_assert_int_eq(callout_int3(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(KERNEL_STACK - 20), 0x5002);
}
END_TEST

START_TEST(single_step_is_a_trap) {
    cpu_set_eflags(CPU, FL_TF, FL_TF);
    ck_assert_int_eq(exception_deliver_debug(V, DR6_BS, true, false), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->dr[6], 0xffff0ff0 | DR6_BS);
    ck_assert_uint_eq(get32(CPU->gpr[ESP]), 0x5002);
    ck_assert_uint_eq(pushed_flags(false), FL_TF | FL_ONE);
    ck_assert_uint_eq(CPU->sys_flags & FL_TF, 0);
    ck_assert(!(CPU->mode & MODE_TF));
}
END_TEST

START_TEST(code_breakpoint) {
    CPU->dr[2] = 0x5000;
    CPU->dr[7] |= 2u << 4; /* G2 */
    cpu_update_mode(CPU, 0);
    ck_assert(CPU->mode & MODE_DEBUG);
    ck_assert_uint_eq(debug_code_breakpoint(V, 0x5000), DR6_B(2));
    ck_assert_uint_eq(debug_code_breakpoint(V, 0x5001), 0);
    CPU->sys_flags |= FL_RF;
    ck_assert(!debug_instruction_breakpoint(V));
    ck_assert_uint_eq(CPU->sys_flags & FL_RF, 0);
    ck_assert(debug_instruction_breakpoint(V));
    ck_assert_uint_eq(get32(CPU->gpr[ESP]), 0x5000);
    ck_assert_uint_eq(pushed_flags(false) & FL_RF, 0);
    ck_assert_uint_eq(CPU->dr[6] & 15, DR6_B(2));
    CPU->dr[7] |= 1u << 24; /* now a breakpoint on writes */
    ck_assert_uint_eq(debug_code_breakpoint(V, 0x5000), 0);
}
END_TEST

START_TEST(data_breakpoint_is_a_trap) {
    ck_assert_int_eq(exception_deliver_debug(V, DR6_B(1), true, false), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(CPU->gpr[ESP]), 0x5002);
    ck_assert_uint_eq(CPU->dr[6] & 15, DR6_B(1));
}
END_TEST

START_TEST(general_detect) {
    CPU->dr[7] |= 1u << 13;
    ck_assert_int_eq(callout_mov_from_dr(V, 7, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xc0de0000u + VEC_DB);
    ck_assert_uint_eq(CPU->dr[7], 0x400);
    ck_assert_uint_eq(CPU->dr[6], 0xffff0ff0 | DR6_BD);
    ck_assert_uint_eq(get32(CPU->gpr[ESP]), 0x5000);
    ck_assert_uint_eq(pushed_flags(false) & FL_RF, FL_RF);
}
END_TEST

START_TEST(debug_register_moves) {
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_int_eq(callout_mov_to_dr(V, i, 0x1000 + i), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->dr[3], 0x1003);
    ck_assert_int_eq(callout_mov_to_dr(V, 4, 0xffffffff), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->dr[6], 0xffffefff);
    ck_assert_int_eq(callout_mov_to_dr(V, 6, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->dr[6], 0xffff0ff0);
    ck_assert_int_eq(callout_mov_to_dr(V, 5, 0xffffdfff), CALLOUT_JUMP); /* arms: a new mode */
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_uint_eq(CPU->dr[7], 0xffff07ff);
    ck_assert_int_eq(callout_mov_from_dr(V, 5, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->result, 0xffff07ff);
    CPU->paging.cr4 = CR4_DE;
    ck_assert_int_eq(callout_mov_from_dr(V, 4, 0), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
    enter_level(3);
    assert_fault(callout_mov_to_dr(V, 0, 0), VEC_GP, 0);
    assert_fault(callout_mov_from_dr(V, 6, 0), VEC_GP, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: exceptions");
    TCase *tc = tcase_create("exceptions");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, page_fault_sets_cr2);
    tcase_add_loop_test(tc, faults_push_the_resume_flag, 0,
                        (int)(sizeof pushed / sizeof pushed[0]));
    tcase_add_loop_test(tc, second_faults, 0, (int)(sizeof pairs / sizeof pairs[0]));
    tcase_add_test(tc, no_idt_is_a_triple_fault);
    tcase_add_test(tc, first_exit_reason_wins);
    tcase_add_test(tc, raise_callout);
    tcase_add_test(tc, software_interrupts);
    tcase_add_test(tc, single_step_is_a_trap);
    tcase_add_test(tc, code_breakpoint);
    tcase_add_test(tc, data_breakpoint_is_a_trap);
    tcase_add_test(tc, general_detect);
    tcase_add_test(tc, debug_register_moves);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
