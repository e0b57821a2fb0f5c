/* IRET, SYSENTER and SYSEXIT: the way out, the way in, and what is wrong with a frame. */
#include "system_fixture.h"

#define FRAME 0x7000u

static void push_frame(uint32_t eip, uint32_t cs, uint32_t eflags, uint32_t esp, uint32_t ss) {
    const uint32_t frame[5] = {eip, cs, eflags, esp, ss};
    memcpy(fake.ram.base + FRAME, frame, sizeof frame);
    CPU->gpr[ESP] = FRAME;
}

START_TEST(same_level) {
    push_frame(0x1234, SEL_KCODE, FL_IF | FL_CF | FL_DF | FL_IOPL | FL_AC | FL_ID, 0, 0);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->gpr[ESP], FRAME + 12);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_CF | FL_DF | FL_IOPL | FL_AC | FL_ID);
}
END_TEST

START_TEST(outer_level) {
    load_segment(SEG_DS, SEL_KDATA);
    load_segment(SEG_ES, SEL_UDATA);
    load_segment(SEG_FS, SEL_CONFORMING);
    load_segment(SEG_GS, SEL_KCODE);
    CPU->nmi_blocked = true;
    push_frame(0x4321, SEL_UCODE, FL_IF, USER_STACK, SEL_UDATA);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(CPU->eip, 0x4321);
    ck_assert_uint_eq(CPU->gpr[ESP], USER_STACK);
    ck_assert_uint_eq(CPU->seg[SEG_SS].selector, SEL_UDATA);
    ck_assert(!CPU->seg[SEG_DS].usable && CPU->seg[SEG_DS].selector == 0);
    ck_assert(CPU->seg[SEG_ES].usable);
    ck_assert(CPU->seg[SEG_FS].usable); /* conforming code is everybody's */
    ck_assert(!CPU->seg[SEG_GS].usable);
    ck_assert(!CPU->nmi_blocked);
    ck_assert(CPU->mode & MODE_GENERAL_DS);
    ck_assert(!(CPU->mode & MODE_GENERAL_ES));
    ck_assert_uint_eq(gdt_access(SEL_UCODE) & 1, 1);
    ck_assert_uint_eq(gdt_access(SEL_UDATA) & 1, 1);
}
END_TEST

START_TEST(sixteen_bit_operand) {
    const uint16_t frame[5] = {0x1234, SEL_UCODE, FL_CF | FL_IF, 0x9000, SEL_UDATA};
    memcpy(fake.ram.base + FRAME, frame, sizeof frame);
    CPU->gpr[ESP] = FRAME;
    CPU->sys_flags |= FL_AC;
    ck_assert_int_eq(callout_iret(V, CALLOUT_ARG16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x9000);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_CF | FL_IF | FL_AC); /* high half stays */
}
END_TEST

/* Only SP is loaded for a 16-bit stack: the rest of ESP is the kernel's. */
START_TEST(sixteen_bit_outer_stack) {
    gdt_set(SEL_FREE, 0, 0xffff, 0xf3, 0);
    push_frame(0x1000, SEL_UCODE, 0, 0xabcd9000, SEL_FREE | 3);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x9000);
    ck_assert(CPU->mode & MODE_STACK16);
}
END_TEST

/* Which flags the image changes, by CPL and IOPL. */
START_TEST(flags_by_privilege) {
    const uint32_t image = 0xffffffff & ~(FL_VM | FL_NT);
    const unsigned cpl = (unsigned)_i / 4, iopl = (unsigned)_i % 4;
    enter_level(cpl == 2 ? 3 : cpl); /* 0, 1, 3 */
    unsigned level = cpu_cpl(CPU);
    CPU->sys_flags = iopl << 12;
    uint32_t cs = CPU->seg[SEG_CS].selector;
    push_frame(0x1000, cs, image, 0, 0);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    uint32_t expected = FL_ONE | FL_HOST | FL_TF | FL_AC | FL_ID;
    expected |= level <= iopl ? FL_IF : 0;
    expected |= level == 0 ? FL_IOPL | FL_VIF | FL_VIP : iopl << 12;
    ck_assert_uint_eq(cpu_eflags(CPU), expected); /* RF has nothing to suppress: dropped */
}
END_TEST

START_TEST(resume_flag_is_kept_for_a_breakpoint) {
    CPU->dr[0] = 0x1000;
    CPU->dr[7] |= 1;
    push_frame(0x1000, SEL_KCODE, FL_RF, 0, 0);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->sys_flags, FL_RF);
    push_frame(0x1001, SEL_KCODE, FL_RF, 0, 0);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->sys_flags, 0);
}
END_TEST

START_TEST(pending_interrupt_is_seen) {
    CPU->irq_pending = 1;
    push_frame(0x1000, SEL_KCODE, 0, 0, 0);
    callout_iret(V, 0, 0);
    ck_assert_uint_eq(CPU->attention, 0);
    push_frame(0x1000, SEL_KCODE, FL_IF, 0, 0);
    callout_iret(V, 0, 0);
    ck_assert_uint_eq(CPU->attention, 1);
}
END_TEST

static const struct {
    unsigned cpl;
    uint32_t cs, ss;
    unsigned vector;
    uint32_t error;
} bad_frames[] = {
    {0, 0, 0, VEC_GP, 0},
    {0, 3, 0, VEC_GP, 0},
    {0, SEL_OUTSIDE, 0, VEC_GP, SEL_OUTSIDE},
    {0, SEL_KDATA, 0, VEC_GP, SEL_KDATA},
    {0, SEL_TSS, 0, VEC_GP, SEL_TSS},
    {3, SEL_KCODE, 0, VEC_GP, SEL_KCODE}, /* RPL < CPL */
    {1, SEL_KCODE, 0, VEC_GP, SEL_KCODE},
    {0, SEL_KCODE | 3, SEL_UDATA, VEC_GP, SEL_KCODE}, /* DPL != RPL */
    {0, SEL_UCODE & ~3u, 0, VEC_GP, SEL_UCODE & ~3u},
    {0, SEL_FREE, SEL_UDATA, VEC_GP, SEL_FREE}, /* conforming, DPL 3 > RPL 0 */
    {0, SEL_NP_CODE, 0, VEC_NP, SEL_NP_CODE},
    {0, SEL_UCODE, 0, VEC_GP, 0}, /* null SS */
    {0, SEL_UCODE, 3, VEC_GP, 0},
    {0, SEL_UCODE, SEL_OUTSIDE | 3, VEC_GP, SEL_OUTSIDE},
    {0, SEL_UCODE, SEL_UDATA & ~3u, VEC_GP, SEL_UDATA & ~3u}, /* RPL */
    {0, SEL_UCODE, SEL_KDATA | 3, VEC_GP, SEL_KDATA},         /* DPL */
    {0, SEL_UCODE, SEL_RODATA | 3, VEC_GP, SEL_RODATA},
    {0, SEL_UCODE, SEL_UCODE, VEC_GP, SEL_UCODE & ~3u},
    {0, SEL_UCODE, (SEL_FREE + 8) | 3, VEC_SS, SEL_FREE + 8},
};

START_TEST(bad_returns) {
    enter_level(bad_frames[_i].cpl);
    gdt_set(SEL_FREE, 0, 0xfffff, 0xfe, 0xc);
    gdt_set(SEL_FREE + 8, 0, 0xfffff, 0x72, 0xc);
    push_frame(0x1000, bad_frames[_i].cs, FL_IF, USER_STACK, bad_frames[_i].ss);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), bad_frames[_i].vector, bad_frames[_i].error);
}
END_TEST

START_TEST(eip_beyond_the_limit) {
    push_frame(0x10000, SEL_CODE16, 0, 0, 0);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_GP, 0);
    gdt_set(SEL_FREE, 0, 0xffff, 0xfb, 4);
    push_frame(0x10000, SEL_FREE | 3, 0, USER_STACK, SEL_UDATA);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(frame_beyond_the_stack) {
    gdt_set(SEL_FREE, 0, FRAME + 18, 0x93, 4);
    load_segment(SEG_SS, SEL_FREE);
    push_frame(0x1000, SEL_UCODE, 0, USER_STACK, SEL_UDATA);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_SS, 0);
    gdt_set(SEL_FREE, 0, FRAME + 10, 0x93, 4);
    load_segment(SEG_SS, SEL_FREE);
    push_frame(0x1000, SEL_KCODE, 0, 0, 0);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_SS, 0);
}
END_TEST

START_TEST(page_faults) {
    push_frame(0x1000, SEL_UCODE, 0, USER_STACK, SEL_UDATA);
    fake.pages[7] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_PF, 0);
    fake.pages[7] = 0;
    memmove(fake.ram.base + 0x6ff4, fake.ram.base + FRAME, 20);
    CPU->gpr[ESP] = 0x6ff4; /* ESP and SS lie on the next page */
    fake.pages[7] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_PF, 0);
    fake.pages[7] = 0;
    fake.pages[FAKE_GDT >> PAGE_SHIFT] = PAGE_NO_WRITE; /* accessed bits */
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_PF, PF_PRESENT | PF_WRITE);
}
END_TEST

/* VM in the image means nothing above CPL 0. */
START_TEST(vm_is_ignored_in_user_mode) {
    enter_level(3);
    push_frame(0x1000, SEL_UCODE, FL_VM, 0, 0);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->sys_flags & FL_VM, 0);
}
END_TEST

START_TEST(interrupt_and_return_are_inverse) {
    enter_level(3);
    cpu_set_eflags(CPU, FL_IF | FL_SF | FL_DF, FL_ALL);
    cpu_update_mode(CPU, 3);
    struct cpu before = *CPU;
    ck_assert_int_eq(interrupt_deliver(V, 0x20, DELIVER_EXTERNAL, CPU->eip, false, 0),
                     CALLOUT_JUMP);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_int_eq(memcmp(before.gpr, CPU->gpr, sizeof before.gpr), 0);
    ck_assert_uint_eq(cpu_eflags(&before), cpu_eflags(CPU));
    ck_assert_uint_eq(before.mode, CPU->mode);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        ck_assert_int_eq(memcmp(&before.seg[i], &CPU->seg[i], sizeof before.seg[i]), 0);
}
END_TEST

/* What is changed in the mode alone is what working it out from everything gives. */
static void assert_whole_mode(unsigned cpl) {
    uint32_t mode = CPU->mode;
    ck_assert(!CPU->mode_dirty);
    cpu_update_mode(CPU, cpl);
    ck_assert_uint_eq(mode, CPU->mode);
}

START_TEST(modes_of_sysenter_and_sysexit) {
    enter_level(3);
    CPU->msr.sysenter_cs = 0x60;
    CPU->paging.cr0 |= CR0_AM;
    if (_i & 1)
        cpu_set_eflags(CPU, FL_AC, FL_AC);
    if (_i & 2)
        load_segment(SEG_GS, SEL_STACK16);
    if (_i & 4) { /* code, but with a base */
        gdt_set(SEL_FREE, 0x1000, 0xfffff, 0xfa, 0xc);
        load_segment(SEG_CS, SEL_FREE | 3);
    }
    cpu_update_mode(CPU, 3);
    CPU->mode_dirty = _i & 8;
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(callout_sysenter(V, 0, 0), CALLOUT_JUMP);
        assert_whole_mode(0);
        ck_assert_int_eq(callout_sysexit(V, 0, 0), CALLOUT_JUMP);
        assert_whole_mode(3);
    }
}
END_TEST

START_TEST(sysenter_and_sysexit) {
    enter_level(3);
    CPU->iflag = FL_IF;
    CPU->msr.sysenter_cs = 0x60;
    CPU->msr.sysenter_esp = 0x7ff0;
    CPU->msr.sysenter_eip = 0xc0001000;
    ck_assert_int_eq(callout_sysenter(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, 0x60);
    ck_assert_uint_eq(CPU->seg[SEG_SS].selector, 0x68);
    ck_assert_uint_eq(CPU->seg[SEG_CS].attr, 0xc09b);
    ck_assert_uint_eq(CPU->seg[SEG_SS].attr, 0xc093);
    ck_assert_uint_eq(CPU->seg[SEG_CS].cls, SEGMENT_FLAT);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x7ff0);
    ck_assert_uint_eq(CPU->eip, 0xc0001000);
    ck_assert_uint_eq(CPU->iflag, 0);
    CPU->gpr[ECX] = USER_STACK;
    CPU->gpr[EDX] = 0x1000;
    ck_assert_int_eq(callout_sysexit(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, 0x73);
    ck_assert_uint_eq(CPU->seg[SEG_SS].selector, 0x7b);
    ck_assert_uint_eq(CPU->seg[SEG_CS].attr, 0xc0fb);
    ck_assert_uint_eq(CPU->gpr[ESP], USER_STACK);
    ck_assert_uint_eq(CPU->eip, 0x1000);
    assert_fault(callout_sysexit(V, 0, 0), VEC_GP, 0); /* CPL 3 */
    CPU->msr.sysenter_cs = 3;
    assert_fault(callout_sysenter(V, 0, 0), VEC_GP, 0);
    enter_level(0);
    assert_fault(callout_sysexit(V, 0, 0), VEC_GP, 0);
    CPU->msr.sysenter_cs = 0x60;
    CPU->paging.cr0 &= ~CR0_PE;
    assert_fault(callout_sysenter(V, 0, 0), VEC_GP, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: returns from events");
    TCase *tc = tcase_create("iret");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, same_level);
    tcase_add_test(tc, outer_level);
    tcase_add_test(tc, sixteen_bit_operand);
    tcase_add_test(tc, sixteen_bit_outer_stack);
    tcase_add_loop_test(tc, flags_by_privilege, 0, 12);
    tcase_add_test(tc, resume_flag_is_kept_for_a_breakpoint);
    tcase_add_test(tc, pending_interrupt_is_seen);
    tcase_add_loop_test(tc, bad_returns, 0, (int)(sizeof bad_frames / sizeof bad_frames[0]));
    tcase_add_test(tc, eip_beyond_the_limit);
    tcase_add_test(tc, frame_beyond_the_stack);
    tcase_add_test(tc, page_faults);
    tcase_add_test(tc, vm_is_ignored_in_user_mode);
    tcase_add_test(tc, interrupt_and_return_are_inverse);
    tcase_add_test(tc, sysenter_and_sysexit);
    tcase_add_loop_test(tc, modes_of_sysenter_and_sysexit, 0, 16);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
