/* Far CALL, JMP and RET. */
#include "system_fixture.h"

#define GATE (SEL_FREE | 3) /* a call gate of DPL 3 */

static void gate_to(uint32_t selector, uint32_t access, uint32_t parameters) {
    gate_set(FAKE_GDT + SEL_FREE, selector, 0x1234, access, parameters);
}

START_TEST(call_and_return_at_the_same_level) {
    ck_assert_int_eq(callout_call_far(V, SEL_KCODE, 0x12345678), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x12345678);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 8);
    ck_assert_uint_eq(get32(KERNEL_STACK - 8), 0x5002);
    ck_assert_uint_eq(get32(KERNEL_STACK - 4), SEL_KCODE);
    ck_assert_int_eq(callout_ret_far(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK);
}
END_TEST

START_TEST(sixteen_bit_operand) {
    ck_assert_int_eq(callout_call_far(V, SEL_CODE16 | CALLOUT_ARG16, 0xdead1234), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 4);
    ck_assert_uint_eq(get16(KERNEL_STACK - 4), 0x5002);
    ck_assert_uint_eq(get16(KERNEL_STACK - 2), SEL_KCODE);
    ck_assert(CPU->mode & MODE_CODE16);
    ck_assert_int_eq(callout_ret_far(V, 6 | CALLOUT_ARG16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK + 6);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_KCODE);
}
END_TEST

START_TEST(pointers_in_memory) {
    put32(SCRATCH, 0x4321);
    put16(SCRATCH + 4, SEL_KCODE);
    ck_assert_int_eq(callout_jmp_far_mem(V, 0, SCRATCH), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x4321);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK);
    put16(SCRATCH, 0x1111);
    put16(SCRATCH + 2, SEL_KCODE);
    ck_assert_int_eq(callout_call_far_mem(V, CALLOUT_ARG16, SCRATCH), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1111);
    fake.pages[SCRATCH >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far_mem(V, 0, SCRATCH), VEC_PF, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far_mem(V, CALLOUT_ARG16, SCRATCH), VEC_PF, 0);
}
END_TEST

START_TEST(conforming_code_keeps_the_level) {
    enter_level(3);
    ck_assert_int_eq(callout_jmp_far(V, SEL_CONFORMING, 0x1000), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_CONFORMING | 3);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
}
END_TEST

static const struct {
    unsigned cpl;
    uint32_t selector;
    unsigned vector;
    uint32_t error;
} bad_targets[] = {
    {0, 0, VEC_GP, 0},
    {0, 2, VEC_GP, 0},
    {0, SEL_OUTSIDE, VEC_GP, SEL_OUTSIDE},
    {0, SEL_KDATA, VEC_GP, SEL_KDATA},
    {0, SEL_LDT, VEC_GP, SEL_LDT},
    {0, SEL_NP_CODE, VEC_NP, SEL_NP_CODE},
    {0, SEL_KCODE | 1, VEC_GP, SEL_KCODE},     /* RPL > CPL */
    {0, SEL_UCODE, VEC_GP, SEL_UCODE & ~3u},   /* DPL > CPL */
    {3, SEL_KCODE, VEC_GP, SEL_KCODE},         /* DPL < CPL */
    {0, SEL_FREE, VEC_GP, SEL_FREE},           /* conforming, DPL > CPL */
    {0, SEL_FREE + 8, VEC_GP, SEL_FREE + 8},   /* busy TSS */
    {0, SEL_FREE + 16, VEC_GP, SEL_FREE + 16}, /* interrupt gate */
};

START_TEST(bad_code_segments) {
    gdt_set(SEL_FREE, 0, 0xfffff, 0xfe, 0xc);
    gdt_set(SEL_FREE + 8, 0, 0x67, 0x8b, 0);
    gate_set(FAKE_GDT + SEL_FREE + 16, SEL_KCODE, 0, 0x8e, 0);
    enter_level(bad_targets[_i].cpl);
    uint32_t selector = bad_targets[_i].selector;
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, selector, 0x1000), bad_targets[_i].vector,
                           bad_targets[_i].error);
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, selector, 0x1000), bad_targets[_i].vector,
                           bad_targets[_i].error);
}
END_TEST

START_TEST(offset_and_stack_limits) {
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, SEL_CODE16, 0x10000), VEC_GP, 0);
    gdt_set(SEL_FREE, 0x7000, 0xff, 0x93, 4);
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    load_segment(SEG_SS, SEL_FREE);
    CPU->gpr[ESP] = 7;
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, SEL_KCODE, 0x1000), VEC_SS, 0);
    CPU->gpr[ESP] = 8;
    ck_assert_int_eq(callout_call_far(V, SEL_KCODE, 0x1000), CALLOUT_JUMP);
}
END_TEST

START_TEST(gate_to_an_inner_level_copies_parameters) {
    enter_level(3);
    gate_to(SEL_KCODE, 0xec, 2);
    CPU->gpr[ESP] = USER_STACK - 8;
    put32(USER_STACK - 8, 0xaaaa1111);
    put32(USER_STACK - 4, 0xbbbb2222);
    ck_assert_int_eq(callout_call_far(V, GATE, 0xffffffff), CALLOUT_JUMP);
    const uint32_t frame[6] = {0x5002,     SEL_UCODE,      0xaaaa1111,
                               0xbbbb2222, USER_STACK - 8, SEL_UDATA};
    ck_assert_int_eq(memcmp(fake.ram.base + KERNEL_STACK - 24, frame, 24), 0);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 24);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_KCODE);
    ck_assert_uint_eq(CPU->seg[SEG_SS].selector, SEL_KDATA);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
    /* and back, releasing the parameters on both stacks */
    load_segment(SEG_DS, SEL_KDATA);
    ck_assert_int_eq(callout_ret_far(V, 8, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(CPU->gpr[ESP], USER_STACK);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert(!CPU->seg[SEG_DS].usable);
    ck_assert(CPU->seg[SEG_ES].usable);
    ck_assert(CPU->mode & MODE_GENERAL_DS);
}
END_TEST

START_TEST(sixteen_bit_gate) {
    enter_level(3);
    gate_to(SEL_KCODE, 0xe4, 31);
    for (uint32_t i = 0; i < 31; i++)
        put16(USER_STACK - 62 + 2 * i, 0x100 + i);
    CPU->gpr[ESP] = USER_STACK - 62;
    ck_assert_int_eq(callout_call_far(V, GATE, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 70);
    ck_assert_uint_eq(get16(KERNEL_STACK - 70), 0x5002);
    ck_assert_uint_eq(get16(KERNEL_STACK - 66), 0x100);
    ck_assert_uint_eq(get16(KERNEL_STACK - 6), 0x11e);
    ck_assert_uint_eq(get16(KERNEL_STACK - 2), SEL_UDATA);
}
END_TEST

START_TEST(gate_to_the_same_level) {
    gate_to(SEL_KCODE, 0x8c, 5);
    ck_assert_int_eq(callout_call_far(V, SEL_FREE, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 8); /* parameters stay where they are */
    ck_assert_uint_eq(CPU->eip, 0x1234);
    gate_to(SEL_KCODE, 0x84, 0);
    ck_assert_int_eq(callout_jmp_far(V, SEL_FREE, 0), CALLOUT_JUMP);
}
END_TEST

static const struct {
    uint32_t target, access;
    bool jmp;
    unsigned vector;
    uint32_t error;
} bad_gates[] = {
    {SEL_KCODE, 0x8c, false, VEC_GP, SEL_FREE}, /* gate DPL < CPL */
    {SEL_KCODE, 0x6c, false, VEC_NP, SEL_FREE},
    {0, 0xec, false, VEC_GP, 0},
    {1, 0xec, true, VEC_GP, 0},
    {SEL_OUTSIDE, 0xec, false, VEC_GP, SEL_OUTSIDE},
    {SEL_KDATA, 0xec, false, VEC_GP, SEL_KDATA},
    {SEL_NP_CODE, 0xec, false, VEC_NP, SEL_NP_CODE},
    {SEL_KCODE, 0xec, true, VEC_GP, SEL_KCODE}, /* JMP may not go inwards */
};

START_TEST(gate_faults) {
    enter_level(3);
    gate_to(bad_gates[_i].target, bad_gates[_i].access, 0);
    callout_fn handler = bad_gates[_i].jmp ? callout_jmp_far : callout_call_far;
    ASSERT_UNTOUCHED_FAULT(handler(V, GATE, 0), bad_gates[_i].vector, bad_gates[_i].error);
}
END_TEST

START_TEST(gate_rpl_counts) {
    gate_to(SEL_KCODE, 0x8c, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, SEL_FREE | 1, 0), VEC_GP, SEL_FREE);
}
END_TEST

START_TEST(gate_to_outer_code_is_refused) {
    gate_to(SEL_UCODE, 0x8c, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, SEL_FREE, 0), VEC_GP, SEL_UCODE & ~3u);
}
END_TEST

START_TEST(gate_stack_faults) {
    enter_level(3);
    gate_to(SEL_KCODE, 0xec, 4);
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    fake.ram.base[FAKE_GDT + SEL_KDATA + 5] |= 1;
    CPU->gpr[ESP] = USER_STACK - 8; /* parameters reach into the next page */
    fake.pages[USER_STACK >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, GATE, 0), VEC_PF, PF_USER);
    fake.pages[USER_STACK >> PAGE_SHIFT] = 0;
    put32(FAKE_TSS + 4, 0x8010); /* the frame straddles two pages */
    fake.pages[8] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, GATE, 0), VEC_PF, PF_PRESENT | PF_WRITE);
    fake.pages[8] = 0;
    fake.pages[7] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, GATE, 0), VEC_PF, PF_PRESENT | PF_WRITE);
    put16(FAKE_TSS + 8, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, GATE, 0), VEC_TS, 0);
    CPU->tr.limit = 8;
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, GATE, 0), VEC_TS, SEL_TSS);
}
END_TEST

static const struct {
    uint32_t cs, ss;
    unsigned vector;
    uint32_t error;
} bad_returns[] = {
    {0, SEL_UDATA, VEC_GP, 0},
    {SEL_OUTSIDE, 0, VEC_GP, SEL_OUTSIDE},
    {SEL_KDATA, 0, VEC_GP, SEL_KDATA},
    {SEL_KCODE | 3, SEL_UDATA, VEC_GP, SEL_KCODE},
    {SEL_NP_CODE, 0, VEC_NP, SEL_NP_CODE},
    {SEL_UCODE, 0, VEC_GP, 0},
    {SEL_UCODE, SEL_KDATA, VEC_GP, SEL_KDATA},
    {SEL_UCODE, SEL_RODATA | 3, VEC_GP, SEL_RODATA},
    {SEL_UCODE, SEL_OUTSIDE | 3, VEC_GP, SEL_OUTSIDE},
};

START_TEST(return_faults) {
    const uint32_t frame[4] = {0x1000, bad_returns[_i].cs, USER_STACK, bad_returns[_i].ss};
    memcpy(fake.ram.base + 0x7000, frame, sizeof frame);
    CPU->gpr[ESP] = 0x7000;
    ASSERT_UNTOUCHED_FAULT(callout_ret_far(V, 0, 0), bad_returns[_i].vector, bad_returns[_i].error);
}
END_TEST

START_TEST(real_mode) {
    vcpu_reset(V);
    CPU->gpr[ESP] = 0x8000;
    CPU->next_eip = 0x105;
    ck_assert_int_eq(callout_call_far(V, 0x2000 | CALLOUT_ARG16, 0x30), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x20000);
    ck_assert_uint_eq(CPU->eip, 0x30);
    ck_assert_uint_eq(get16(0x7ffc), 0x105);
    ck_assert_uint_eq(get16(0x7ffe), 0xf000);
    ck_assert_int_eq(callout_ret_far(V, CALLOUT_ARG16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0xf0000);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x8000);
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, 0x2000, 0x10000), VEC_GP, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: far transfers");
    TCase *tc = tcase_create("far");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, call_and_return_at_the_same_level);
    tcase_add_test(tc, sixteen_bit_operand);
    tcase_add_test(tc, pointers_in_memory);
    tcase_add_test(tc, conforming_code_keeps_the_level);
    tcase_add_loop_test(tc, bad_code_segments, 0,
                        (int)(sizeof bad_targets / sizeof bad_targets[0]));
    tcase_add_test(tc, offset_and_stack_limits);
    tcase_add_test(tc, gate_to_an_inner_level_copies_parameters);
    tcase_add_test(tc, sixteen_bit_gate);
    tcase_add_test(tc, gate_to_the_same_level);
    tcase_add_loop_test(tc, gate_faults, 0, (int)(sizeof bad_gates / sizeof bad_gates[0]));
    tcase_add_test(tc, gate_rpl_counts);
    tcase_add_test(tc, gate_to_outer_code_is_refused);
    tcase_add_test(tc, gate_stack_faults);
    tcase_add_loop_test(tc, return_faults, 0, (int)(sizeof bad_returns / sizeof bad_returns[0]));
    tcase_add_test(tc, real_mode);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
