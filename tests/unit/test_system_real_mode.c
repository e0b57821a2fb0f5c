/* Real mode: events, far transfers, segment loads, what is undefined, and the way in and out. */
#include "system_fixture.h"

#define STACK 0x8000u
#define VECTOR 0x10u
#define A16 CALLOUT_ARG16

/* Code at 0:5000, stack at 0:8000, the table of vectors at FAKE_IDT. */
static void enter_real_mode(void) {
    vcpu_reset(V);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        segment_set_real(CPU, (enum segment_index)i, 0);
    CPU->gpr[ESP] = 0xabcd0000 | STACK;
    CPU->eip = 0x5000;
    CPU->next_eip = 0x5002;
    CPU->idt = (struct table_register){FAKE_IDT, 0x3ff};
    for (unsigned i = 0; i < 256; i++)
        put32(FAKE_IDT + i * 4, 0x20000000u | (0x100 + i));
    cpu_update_mode(CPU, 0);
}

static void set_up_real(void) {
    setup();
    enter_real_mode();
}

START_TEST(event_pushes_three_words) {
    const uint32_t flags = FL_IF | FL_CF | FL_TF | FL_NT | FL_IOPL;
    cpu_set_eflags(CPU, flags | FL_AC, FL_ALL);
    put32(FAKE_IDT + VECTOR * 4, 0x12345678);
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x5678);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, 0x1234);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x12340);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd7ffa);
    ck_assert_uint_eq(get16(STACK - 6), 0x5002);
    ck_assert_uint_eq(get16(STACK - 4), 0);
    ck_assert_uint_eq(get16(STACK - 2), flags | FL_ONE);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_CF | FL_NT | FL_IOPL); /* IF, TF, AC clear */
    ck_assert_uint_eq(fake.counters.soft_interrupts, 1);
}
END_TEST

START_TEST(exceptions_push_no_error_code) {
    fault_raise_gp(V, 0x1234);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x100 + VEC_GP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd7ffa);
    ck_assert_uint_eq(get16(STACK - 6), 0x5000);
}
END_TEST

START_TEST(breakpoint_and_overflow) {
    ck_assert_int_eq(callout_int3(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x100 + VEC_BP);
    ck_assert_int_eq(callout_into(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x100 + VEC_OF);
    ck_assert_int_eq(callout_int1(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x100 + VEC_DB);
}
END_TEST

START_TEST(vector_beyond_the_table) {
    CPU->idt.limit = VECTOR * 4 + 2;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
    CPU->idt.limit++;
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
}
END_TEST

/* SP of 1, 3 or 5: the frame's last word would cross the end of the segment. */
START_TEST(no_room_on_the_stack) {
    CPU->gpr[ESP] = 1 + 2 * (unsigned)_i;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_SS, 0);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_EXIT); /* nor has #SS, nor #DF */
    ck_assert_int_eq(V->exit, EXIT_TRIPLE_FAULT);
}
END_TEST

START_TEST(stack_wraps_between_words) {
    CPU->gpr[ESP] = 2;
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xfffc);
    ck_assert_uint_eq(get16(0), FL_ONE);
    ck_assert_uint_eq(get16(0xfffc), 0x5002);
}
END_TEST

START_TEST(double_fault_and_shutdown) {
    CPU->idt.limit = VEC_DF * 4 + 3; /* no entry for #GP: #DF */
    fault_raise_gp(V, 0);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x100 + VEC_DF);
    CPU->idt.limit = VEC_DF * 4 + 2; /* nor for that */
    fault_raise_gp(V, 0);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_EXIT);
    ck_assert_int_eq(V->exit, EXIT_TRIPLE_FAULT);
}
END_TEST

static void put_words(gva_t at, uint32_t a, uint32_t b, uint32_t c) {
    put16(at, a);
    put16(at + 2, b);
    put16(at + 4, c);
}

START_TEST(return_of_16_bits) {
    put_words(STACK, 0x1234, 0x2000, FL_IF | FL_CF | FL_IOPL | FL_NT);
    CPU->sys_flags = FL_AC | FL_VIF;
    CPU->nmi_blocked = true;
    ck_assert_int_eq(callout_iret(V, A16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x20000);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd8006);
    ck_assert_uint_eq(cpu_eflags(CPU),
                      FL_ONE | FL_IF | FL_CF | FL_IOPL | FL_NT | FL_AC | FL_VIF);
    ck_assert(!CPU->nmi_blocked);
}
END_TEST

/* NT means nothing here, and VM, VIF and VIP are not loaded. */
START_TEST(return_of_32_bits) {
    put32(STACK, 0xffff);
    put32(STACK + 4, 0xdead2000);
    put32(STACK + 8, UINT32_MAX);
    CPU->sys_flags = FL_NT;
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xffff);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, 0x2000);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd800c);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | (FL_ALL & ~(FL_VM | FL_VIF | FL_VIP | FL_RF)));
    ck_assert(!(CPU->mode & MODE_VM86));
}
END_TEST

START_TEST(return_faults) {
    put32(STACK, 0x10000);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_ret_far(V, 0, 0), VEC_GP, 0);
    CPU->gpr[ESP] = 0xffff;
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, A16, 0), VEC_SS, 0);
    ASSERT_UNTOUCHED_FAULT(callout_ret_far(V, A16, 0), VEC_SS, 0);
}
END_TEST

START_TEST(far_call_and_return) {
    ck_assert_int_eq(callout_call_far(V, 0x2000 | A16, 0x30), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x20000);
    ck_assert_uint_eq(CPU->eip, 0x30);
    ck_assert_uint_eq(get16(STACK - 4), 0x5002);
    ck_assert_uint_eq(get16(STACK - 2), 0);
    ck_assert_int_eq(callout_ret_far(V, A16 | 6, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd8006);
}
END_TEST

START_TEST(far_call_of_32_bits) {
    put32(SCRATCH, 0x1234);
    put16(SCRATCH + 4, 0x3000);
    ck_assert_int_eq(callout_call_far_mem(V, 0, SCRATCH), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x30000);
    ck_assert_uint_eq(get32(STACK - 8), 0x5002);
    ck_assert_uint_eq(get32(STACK - 4), 0);
    ck_assert_int_eq(callout_ret_far(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd8000);
}
END_TEST

START_TEST(far_transfer_faults) {
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, 0x2000, 0x10000), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, 0x2000, 0x10000), VEC_GP, 0);
    CPU->gpr[ESP] = 3; /* the stack comes before the target */
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, 0x2000, 0x10000), VEC_SS, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, 0x2000 | A16, 0), VEC_SS, 0);
    ck_assert_int_eq(callout_jmp_far(V, 0x2000 | A16, 0x10005), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 5);
}
END_TEST

/* Limits and sizes of protected mode stay until protected mode changes them. */
START_TEST(unreal_mode) {
    segment_set_flat(CPU, SEG_DS, SEL_KDATA, SEG_ATTR_WRITABLE, 0);
    segment_set_flat(CPU, SEG_CS, SEL_KCODE, SEG_ATTR_CODE | SEG_ATTR_WRITABLE, 0);
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_DS, 0x1234), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_DS].base, 0x12340);
    ck_assert_uint_eq(CPU->seg[SEG_DS].limit, UINT32_MAX);
    ck_assert_int_eq(callout_jmp_far(V, 0x100, 0x12345), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x12345);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x1000);
    ck_assert(!(CPU->mode & MODE_CODE16));
}
END_TEST

START_TEST(null_segment_comes_back) {
    segment_set_null(CPU, SEG_ES, 0);
    callout_mov_to_seg(V, SEG_ES, 0x40);
    ck_assert(CPU->seg[SEG_ES].usable);
    ck_assert_uint_eq(CPU->seg[SEG_ES].base, 0x400);
    ck_assert_uint_eq(CPU->seg[SEG_ES].limit, 0xffff);
}
END_TEST

START_TEST(segment_loads_need_no_descriptor) {
    CPU->gdt.limit = 0;
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_SS, 0), CALLOUT_NEXT); /* null is an address */
    ck_assert(CPU->interrupt_shadow && CPU->debug_shadow);
    put16(STACK, 0xffff);
    callout_pop_seg(V, SEG_FS | A16, 0);
    ck_assert_uint_eq(CPU->seg[SEG_FS].base, 0xffff0);
    put_words(SCRATCH, 0x77, 0x1111, 0);
    callout_load_far(V, SEG_GS | EBX << 8 | A16, SCRATCH);
    ck_assert_uint_eq(CPU->seg[SEG_GS].base, 0x11110);
    ck_assert_uint_eq(CPU->gpr[EBX], 0x77);
}
END_TEST

START_TEST(not_recognized_in_real_mode) {
    static const callout_fn undefined[] = {callout_lldt, callout_ltr,  callout_sldt,
                                           callout_str,  callout_lar,  callout_lsl,
                                           callout_verr, callout_verw, callout_arpl};
    for (unsigned i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
        save_state();
        ck_assert_int_eq(undefined[i](V, 0, SEL_TSS), CALLOUT_FAULT);
        ck_assert_uint_eq(V->fault.vector, VEC_UD);
        assert_unchanged();
    }
    ASSERT_UNTOUCHED_FAULT(callout_sysenter(V, 0, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_sysexit(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(privileged_instructions_are_allowed) {
    ck_assert_int_eq(callout_sti(V, 0, 0), CALLOUT_NEXT);
    ck_assert_int_eq(callout_cli(V, 0, 0), CALLOUT_NEXT);
    ck_assert_int_eq(callout_clts(V, 0, 0), CALLOUT_NEXT);
    ck_assert_int_eq(callout_hlt(V, 0, 0), CALLOUT_JUMP);
    ck_assert_int_eq(callout_out(V, 1u << 16 | 0x80, 0), CALLOUT_NEXT);
    ck_assert_int_eq(callout_smsw(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->result & CR0_PE, 0);
}
END_TEST

START_TEST(popf_sets_iopl_and_if) {
    put16(STACK, 0xffff);
    callout_popf(V, A16, 0);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | (FL_ALL & 0xffffu));
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcd8002);
}
END_TEST

START_TEST(table_registers_of_24_bits) {
    put_words(SCRATCH, 0x3ff, 0x5678, 0x1234);
    callout_lidt(V, A16, SCRATCH);
    ck_assert_uint_eq(CPU->idt.base, 0x345678);
    ck_assert_uint_eq(CPU->idt.limit, 0x3ff);
    callout_lgdt(V, 0, SCRATCH);
    ck_assert_uint_eq(CPU->gdt.base, 0x12345678);
}
END_TEST

/* Into protected mode and back: nothing but CR0 changes. */
START_TEST(pe_switches_leave_hidden_parts) {
    callout_mov_to_seg(V, SEG_DS, 0x1234);
    struct segment before[SEG_COUNT];
    memcpy(before, CPU->seg, sizeof before);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, CPU->paging.cr0 | CR0_PE), CALLOUT_JUMP);
    ck_assert(!(CPU->mode & MODE_REAL));
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
    ck_assert_int_eq(memcmp(before, CPU->seg, sizeof before), 0);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, CPU->paging.cr0 & ~CR0_PE), CALLOUT_JUMP);
    ck_assert(CPU->mode & MODE_REAL);
    ck_assert_int_eq(memcmp(before, CPU->seg, sizeof before), 0);
}
END_TEST

START_TEST(lmsw_sets_pe_and_does_not_clear_it) {
    ck_assert_int_eq(callout_lmsw(V, 0, CR0_PE | CR0_TS), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->paging.cr0 & (CR0_PE | CR0_TS), CR0_PE | CR0_TS);
    callout_lmsw(V, 0, 0);
    ck_assert_uint_eq(CPU->paging.cr0 & (CR0_PE | CR0_TS), CR0_PE);
}
END_TEST

START_TEST(paging_needs_protected_mode) {
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_cr(V, 0, CPU->paging.cr0 | CR0_PG), VEC_GP, 0);
    CPU->paging.cr0 |= CR0_PE | CR0_PG;
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_cr(V, 0, CPU->paging.cr0 & ~CR0_PE), VEC_GP, 0);
}
END_TEST

/* CS still holds what real mode put there, with the RPL of an address in it. */
START_TEST(level_is_zero_until_cs_is_loaded) {
    segment_set_real(CPU, SEG_CS, 0x1003);
    callout_mov_to_cr(V, 0, CPU->paging.cr0 | CR0_PE);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
    CPU->gdt = (struct table_register){FAKE_GDT, FAKE_GDT_LIMIT};
    ck_assert_int_eq(callout_jmp_far(V, SEL_KCODE, 0x1000), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_KCODE);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: real mode");
    TCase *tc = tcase_create("real mode");
    tcase_add_checked_fixture(tc, set_up_real, teardown);
    tcase_add_test(tc, event_pushes_three_words);
    tcase_add_test(tc, exceptions_push_no_error_code);
    tcase_add_test(tc, breakpoint_and_overflow);
    tcase_add_test(tc, vector_beyond_the_table);
    tcase_add_loop_test(tc, no_room_on_the_stack, 0, 3);
    tcase_add_test(tc, stack_wraps_between_words);
    tcase_add_test(tc, double_fault_and_shutdown);
    tcase_add_test(tc, return_of_16_bits);
    tcase_add_test(tc, return_of_32_bits);
    tcase_add_test(tc, return_faults);
    tcase_add_test(tc, far_call_and_return);
    tcase_add_test(tc, far_call_of_32_bits);
    tcase_add_test(tc, far_transfer_faults);
    tcase_add_test(tc, unreal_mode);
    tcase_add_test(tc, null_segment_comes_back);
    tcase_add_test(tc, segment_loads_need_no_descriptor);
    tcase_add_test(tc, not_recognized_in_real_mode);
    tcase_add_test(tc, privileged_instructions_are_allowed);
    tcase_add_test(tc, popf_sets_iopl_and_if);
    tcase_add_test(tc, table_registers_of_24_bits);
    tcase_add_test(tc, pe_switches_leave_hidden_parts);
    tcase_add_test(tc, lmsw_sets_pe_and_does_not_clear_it);
    tcase_add_test(tc, paging_needs_protected_mode);
    tcase_add_test(tc, level_is_zero_until_cs_is_loaded);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
