/* Events through the IDT: where they arrive, what they push, and every way they can fail. */
#include "system_fixture.h"

#define USER_FLAGS (FL_IF | FL_CF | FL_ZF | FL_ONE)

static enum callout_result external(unsigned vector) {
    return interrupt_deliver(V, (uint8_t)vector, DELIVER_EXTERNAL, CPU->eip, false, 0);
}
static enum callout_result software(unsigned vector) {
    return interrupt_deliver(V, (uint8_t)vector, DELIVER_SOFTWARE, CPU->next_eip, false, 0);
}

START_TEST(same_level_pushes_three_items) {
    cpu_set_eflags(CPU, USER_FLAGS, FL_ALL);
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 12);
    ck_assert_uint_eq(get32(KERNEL_STACK - 12), 0x5000);
    ck_assert_uint_eq(get32(KERNEL_STACK - 8), SEL_KCODE);
    ck_assert_uint_eq(get32(KERNEL_STACK - 4), USER_FLAGS);
    ck_assert_uint_eq(CPU->eip, 0xc0de0020);
    ck_assert_uint_eq(CPU->iflag, 0);
    ck_assert_uint_eq(fake.counters.interrupts, 1);
}
END_TEST

START_TEST(inner_level_switches_stack) {
    enter_level(3);
    cpu_set_eflags(CPU, USER_FLAGS | FL_TF | FL_NT, FL_ALL);
    ck_assert_int_eq(interrupt_deliver(V, VEC_GP, DELIVER_EXCEPTION, 0x5000, true, 0x58),
                     CALLOUT_JUMP);
    const uint32_t frame[6] = {0x58,       0x5000,   SEL_UCODE, USER_FLAGS | FL_TF | FL_NT,
                               USER_STACK, SEL_UDATA};
    ck_assert_int_eq(memcmp(fake.ram.base + KERNEL_STACK - 24, frame, 24), 0);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 24);
    ck_assert_uint_eq(CPU->seg[SEG_SS].selector, SEL_KDATA);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_KCODE);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
    ck_assert_uint_eq(cpu_eflags(CPU) & (FL_IF | FL_TF | FL_NT | FL_RF | FL_VM), 0);
    ck_assert_uint_eq(CPU->seg[SEG_DS].selector, SEL_UDATA); /* data segments stay */
    ck_assert_uint_eq(gdt_access(SEL_KCODE) & 1, 1);
    ck_assert_uint_eq(gdt_access(SEL_KDATA) & 1, 1);
}
END_TEST

START_TEST(trap_gate_keeps_if) {
    cpu_set_eflags(CPU, FL_IF, FL_IF);
    idt_set(0x80, SEL_KCODE, 0x1000, 0xef);
    ck_assert_int_eq(software(0x80), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->iflag, FL_IF);
    ck_assert_uint_eq(get32(KERNEL_STACK - 12), 0x5002);
    ck_assert_uint_eq(fake.counters.soft_interrupts, 1);
}
END_TEST

START_TEST(sixteen_bit_gate_pushes_words) {
    enter_level(3);
    idt_set(0x30, SEL_KCODE, 0xdead1234, 0x86);
    ck_assert_int_eq(external(0x30), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 10);
    ck_assert_uint_eq(get16(KERNEL_STACK - 10), 0x5000);
    ck_assert_uint_eq(get16(KERNEL_STACK - 8), SEL_UCODE);
    ck_assert_uint_eq(get16(KERNEL_STACK - 4), USER_STACK & 0xffff);
    ck_assert_uint_eq(get16(KERNEL_STACK - 2), SEL_UDATA);
}
END_TEST

START_TEST(sixteen_bit_tss_names_the_stack) {
    enter_level(3);
    CPU->tr.attr = 0x83;
    CPU->tr.limit = 0x2b;
    put16(FAKE_TSS + 2, 0x7000);
    put16(FAKE_TSS + 4, SEL_KDATA);
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x7000 - 20);
    ck_assert_uint_eq(get32(0x7000 - 4), SEL_UDATA);
}
END_TEST

START_TEST(conforming_handler_keeps_the_level) {
    enter_level(3);
    idt_set(0x21, SEL_CONFORMING, 0x1000, 0x8e);
    ck_assert_int_eq(external(0x21), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_CONFORMING | 3);
    ck_assert_uint_eq(CPU->gpr[ESP], USER_STACK - 12);
}
END_TEST

START_TEST(sixteen_bit_stack_wraps) {
    load_segment(SEG_SS, SEL_STACK16);
    cpu_update_mode(CPU, 0);
    CPU->gpr[ESP] = 0xabcd0004;
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0xabcdfff8);
    ck_assert_uint_eq(get32(0), cpu_eflags(CPU) & 0xffff);
    ck_assert_uint_eq(get32(0xfffc), SEL_KCODE);
    ck_assert_uint_eq(get32(0xfff8), 0x5000);
}
END_TEST

START_TEST(wrapping_frame_is_all_or_nothing) {
    load_segment(SEG_SS, SEL_STACK16);
    cpu_update_mode(CPU, 0);
    CPU->gpr[ESP] = 0x0004;
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    fake.pages[0xf] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_PF, PF_PRESENT | PF_WRITE);
    fake.pages[0xf] = 0;
    fake.pages[0] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_PF, PF_PRESENT | PF_WRITE);
    ck_assert_uint_eq(V->fault.cr2, 0);
}
END_TEST

/* What can be wrong with a gate: the error code names the vector. */
static const struct {
    uint32_t selector, access;
    bool software;
    unsigned vector;
    uint32_t error; /* without EXT */
    bool ext;
} gate_faults[] = {
    {SEL_KCODE, 0x8c, false, VEC_GP, 0x20 * 8 + 2, true}, /* a call gate */
    {SEL_KCODE, 0x82, false, VEC_GP, 0x20 * 8 + 2, true}, /* an LDT */
    {SEL_KCODE, 0x9e, false, VEC_GP, 0x20 * 8 + 2, true}, /* not a system descriptor */
    {SEL_KCODE, 0x0e, false, VEC_NP, 0x20 * 8 + 2, true}, /* not present */
    {SEL_KCODE, 0x8e, true, VEC_GP, 0x20 * 8 + 2, false}, /* DPL 0 from CPL 3 */
    {SEL_KCODE, 0x0e, true, VEC_GP, 0x20 * 8 + 2, false}, /* privilege before presence */
    {SEL_KCODE, 0x6e, true, VEC_NP, 0x20 * 8 + 2, false},
    {SEL_KCODE, 0xe4, true, VEC_GP, 0x20 * 8 + 2, false}, /* a 16-bit call gate */
    {0, 0xee, true, VEC_GP, 0, false},                    /* null code selector */
    {3, 0xee, true, VEC_GP, 0, false},
    {0, 0x8e, false, VEC_GP, 0, true},
    {SEL_OUTSIDE, 0xee, true, VEC_GP, SEL_OUTSIDE, false},
    {SEL_OUTSIDE, 0x8e, false, VEC_GP, SEL_OUTSIDE, true},
    {SEL_KDATA, 0xee, true, VEC_GP, SEL_KDATA, false}, /* not code */
    {SEL_TSS, 0x8e, false, VEC_GP, SEL_TSS, true},
    {SEL_NP_CODE, 0xee, true, VEC_NP, SEL_NP_CODE, false},
    {SEL_NP_CODE, 0x8e, false, VEC_NP, SEL_NP_CODE, true},
    {0xf4, 0xee, true, VEC_GP, 0xf4, false},   /* LDT: index 30, empty */
    {0x104, 0xee, true, VEC_GP, 0x104, false}, /* outside the LDT */
};

START_TEST(bad_gates) {
    enter_level(3);
    idt_set(0x20, gate_faults[_i].selector, 0x1000, gate_faults[_i].access);
    enum delivery kind = gate_faults[_i].software ? DELIVER_SOFTWARE : DELIVER_EXTERNAL;
    ASSERT_UNTOUCHED_FAULT(interrupt_deliver(V, 0x20, kind, 0x5002, false, 0),
                           gate_faults[_i].vector,
                           gate_faults[_i].error | (gate_faults[_i].ext ? 1 : 0));
}
END_TEST

START_TEST(handler_may_not_be_less_privileged) {
    idt_set(0x20, SEL_UCODE, 0x1000, 0x8e);
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_GP, (SEL_UCODE & ~3u) | 1);
    ASSERT_UNTOUCHED_FAULT(software(0x20), VEC_GP, SEL_UCODE & ~3u);
}
END_TEST

START_TEST(vector_beyond_the_idt) {
    CPU->idt.limit = 0x20 * 8 + 6;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_GP, 0x20 * 8 + 3);
    ASSERT_UNTOUCHED_FAULT(software(0x20), VEC_GP, 0x20 * 8 + 2);
    CPU->idt.limit++;
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
}
END_TEST

START_TEST(handler_beyond_its_segment) {
    idt_set(0x20, SEL_CODE16, 0x10000, 0x8e);
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_GP, 1);
    ASSERT_UNTOUCHED_FAULT(software(0x20), VEC_GP, 0);
    idt_set(0x20, SEL_CODE16, 0xffff, 0x8e);
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
    ck_assert(CPU->mode & MODE_CODE16);
    ck_assert(CPU->mode & MODE_GENERAL_CS);
}
END_TEST

/* What can be wrong with the stack that the TSS names. */
static const struct {
    uint32_t ss0;
    unsigned vector;
    uint32_t error;
} stack_faults[] = {
    {0, VEC_TS, 0},
    {2, VEC_TS, 0}, /* null with an RPL */
    {SEL_OUTSIDE, VEC_TS, SEL_OUTSIDE},
    {SEL_KDATA | 1, VEC_TS, SEL_KDATA},         /* RPL */
    {SEL_UDATA & ~3u, VEC_TS, SEL_UDATA & ~3u}, /* DPL */
    {SEL_KCODE, VEC_TS, SEL_KCODE},             /* not data */
    {SEL_FREE, VEC_TS, SEL_FREE},               /* not writable */
    {SEL_NP_DATA, VEC_SS, SEL_NP_DATA},
};

START_TEST(bad_inner_stacks) {
    enter_level(3);
    gdt_set(SEL_FREE, 0, 0xfffff, 0x90, 0xc);
    put16(FAKE_TSS + 8, stack_faults[_i].ss0);
    ASSERT_UNTOUCHED_FAULT(external(0x20), stack_faults[_i].vector, stack_faults[_i].error | 1);
    idt_set(0x20, SEL_KCODE, 0x1000, 0xee);
    ASSERT_UNTOUCHED_FAULT(software(0x20), stack_faults[_i].vector, stack_faults[_i].error);
}
END_TEST

START_TEST(tss_too_short) {
    enter_level(3);
    CPU->tr.limit = 8;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_TS, SEL_TSS | 1);
    CPU->tr.limit = 9;
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
    enter_level(3);
    CPU->tr.attr = 0x83;
    CPU->tr.limit = 4;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_TS, SEL_TSS | 1);
    CPU->tr.usable = false;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_TS, SEL_TSS | 1);
}
END_TEST

START_TEST(inner_stack_too_small) {
    enter_level(3);
    gdt_set(SEL_FREE, 0x7000, 0xff, 0x93, 4);
    put16(FAKE_TSS + 8, SEL_FREE);
    put32(FAKE_TSS + 4, 19);
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_SS, SEL_FREE | 1);
    idt_set(0x20, SEL_KCODE, 0x1000, 0xee);
    ASSERT_UNTOUCHED_FAULT(software(0x20), VEC_SS, SEL_FREE);
    put32(FAKE_TSS + 4, 20);
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0);
}
END_TEST

START_TEST(same_level_stack_too_small) {
    gdt_set(SEL_FREE, 0x7000, 0xff, 0x93, 4);
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    load_segment(SEG_SS, SEL_FREE);
    CPU->gpr[ESP] = 11;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_SS, 1);
    ASSERT_UNTOUCHED_FAULT(software(0x20), VEC_SS, 0);
    CPU->gpr[ESP] = 12;
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
}
END_TEST

START_TEST(expand_down_stack) {
    gdt_set(SEL_FREE, 0, 0x7, 0x97, 0xc); /* valid from 0x8000 up */
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    load_segment(SEG_SS, SEL_FREE);
    CPU->gpr[ESP] = 0x800b;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_SS, 1);
    CPU->gpr[ESP] = 0x800c;
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
}
END_TEST

/* The frame crosses into a page that faults: half of it must not be seen. */
START_TEST(page_fault_in_the_middle_of_the_frame) {
    enter_level(3);
    fake.ram.base[FAKE_GDT + SEL_KCODE + 5] |= 1;
    fake.ram.base[FAKE_GDT + SEL_KDATA + 5] |= 1;
    put32(FAKE_TSS + 4, 0x8008);
    fake.pages[7] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_PF, PF_PRESENT | PF_WRITE);
    fake.pages[7] = 0;
    fake.pages[8] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_PF, PF_WRITE);
    ck_assert_uint_eq(V->fault.cr2, 0x8004); /* the first item that is pushed */
}
END_TEST

/* Tables and inner stacks are supervisor accesses whatever the CPL. */
START_TEST(implicit_accesses_are_supervisor) {
    enter_level(3);
    for (unsigned i = 1; i < 8; i++)
        fake.pages[i] = PAGE_NO_USER;
    ck_assert_int_eq(external(0x20), CALLOUT_JUMP);
}
END_TEST

START_TEST(table_reads_can_fault) {
    enter_level(3);
    const uint32_t tables[] = {FAKE_IDT, FAKE_GDT, FAKE_TSS};
    for (unsigned i = 0; i < 3; i++) {
        fake.pages[tables[i] >> PAGE_SHIFT] = PAGE_NO_READ;
        ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_PF, 0);
        fake.pages[tables[i] >> PAGE_SHIFT] = 0;
    }
    fake.pages[FAKE_GDT >> PAGE_SHIFT] = PAGE_NO_WRITE; /* no room for accessed bits */
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_PF, PF_PRESENT | PF_WRITE);
}
END_TEST

START_TEST(nmi_blocks_further_ones) {
    ck_assert_int_eq(external(VEC_NMI), CALLOUT_JUMP);
    ck_assert(CPU->nmi_blocked);
}
END_TEST

START_TEST(stack_is_checked_before_the_handler) {
    idt_set(0x20, SEL_CODE16, 0x10000, 0x8e);
    gdt_set(SEL_FREE, 0x7000, 0xff, 0x93, 4);
    load_segment(SEG_SS, SEL_FREE);
    CPU->gpr[ESP] = 11;
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_SS, 1);
    enter_level(3);
    put16(FAKE_TSS + 8, SEL_FREE);
    put32(FAKE_TSS + 4, 19);
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_SS, SEL_FREE | 1);
    put32(FAKE_TSS + 4, 20);
    ASSERT_UNTOUCHED_FAULT(external(0x20), VEC_GP, 1);
}
END_TEST

START_TEST(nmi_waits_for_the_end_of_another) {
    vcpu_raise_nmi(V);
    ck_assert_uint_eq(CPU->attention, 1);
    ck_assert(vcpu_nmi_is_due(CPU)); /* whatever IF is */
    CPU->interrupt_shadow = 1;
    ck_assert(!vcpu_nmi_is_due(CPU));
    CPU->interrupt_shadow = 0;
    external(VEC_NMI);
    ck_assert(!vcpu_nmi_is_due(CPU));
    CPU->attention = 0;
    CPU->seg[SEG_CS].selector = 0;
    put32(CPU->gpr[ESP] + 4, 0); /* IRET faults, and unblocks all the same */
    assert_fault(callout_iret(V, 0, 0), VEC_GP, 0);
    ck_assert_uint_eq(CPU->attention, 1);
    ck_assert(vcpu_nmi_is_due(CPU));
}
END_TEST

START_TEST(software_interrupt_2_is_no_nmi) {
    ck_assert_int_eq(software(VEC_NMI), CALLOUT_JUMP);
    ck_assert(!CPU->nmi_blocked);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: interrupt delivery");
    TCase *tc = tcase_create("delivery");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, same_level_pushes_three_items);
    tcase_add_test(tc, inner_level_switches_stack);
    tcase_add_test(tc, trap_gate_keeps_if);
    tcase_add_test(tc, sixteen_bit_gate_pushes_words);
    tcase_add_test(tc, sixteen_bit_tss_names_the_stack);
    tcase_add_test(tc, conforming_handler_keeps_the_level);
    tcase_add_test(tc, sixteen_bit_stack_wraps);
    tcase_add_test(tc, wrapping_frame_is_all_or_nothing);
    tcase_add_loop_test(tc, bad_gates, 0, (int)(sizeof gate_faults / sizeof gate_faults[0]));
    tcase_add_test(tc, handler_may_not_be_less_privileged);
    tcase_add_test(tc, vector_beyond_the_idt);
    tcase_add_test(tc, handler_beyond_its_segment);
    tcase_add_loop_test(tc, bad_inner_stacks, 0,
                        (int)(sizeof stack_faults / sizeof stack_faults[0]));
    tcase_add_test(tc, tss_too_short);
    tcase_add_test(tc, inner_stack_too_small);
    tcase_add_test(tc, same_level_stack_too_small);
    tcase_add_test(tc, expand_down_stack);
    tcase_add_test(tc, page_fault_in_the_middle_of_the_frame);
    tcase_add_test(tc, implicit_accesses_are_supervisor);
    tcase_add_test(tc, table_reads_can_fault);
    tcase_add_test(tc, nmi_blocks_further_ones);
    tcase_add_test(tc, stack_is_checked_before_the_handler);
    tcase_add_test(tc, nmi_waits_for_the_end_of_another);
    tcase_add_test(tc, software_interrupt_2_is_no_nmi);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
