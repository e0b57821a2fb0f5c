/* Virtual-8086 mode: the way in and out, what IOPL traps, and CR4.VME and PVI. */
#include "runtime/virtual_8086.h"
#include "system_fixture.h"

#define A16 CALLOUT_ARG16
#define STACK 0x9000u /* of the program, SS 0 */
#define PROGRAM_CS 0x400u
#define IO_MAP 0x100u /* in the TSS; the redirection map lies right below */
#define VECTOR 0x21u

static void enter_v86(unsigned iopl) {
    CPU->sys_flags = FL_VM | iopl << 12;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        segment_set_v86(CPU, (enum segment_index)i, i == SEG_CS ? PROGRAM_CS : 0x1000 + i);
    segment_set_v86(CPU, SEG_SS, 0);
    CPU->gpr[ESP] = STACK;
    CPU->eip = 0x1000;
    CPU->next_eip = 0x1002;
    cpu_update_mode(CPU, 3);
}

static void set_up_v86(void) {
    setup();
    CPU->tr.limit = 0x1ff;
    put16(FAKE_TSS + 102, IO_MAP);
    enter_v86(0);
}

static void redirect_vector(unsigned vector, bool to_program) {
    uint8_t *map = fake.ram.base + FAKE_TSS + IO_MAP - 32 + vector / 8;
    *map = (uint8_t)(to_program ? *map & ~(1u << vector % 8) : *map | 1u << vector % 8);
}

/* -- Into it -- */

#define FRAME 0x7000u

static void push_entry(uint32_t eip, uint32_t eflags) {
    const uint32_t frame[9] = {eip,        0xdead0400, eflags,     0x12349000, 0xffff0001,
                               0xffff0002, 0xffff0003, 0xffff0004, 0xffff0005};
    memcpy(fake.ram.base + FRAME, frame, sizeof frame);
    CPU->gpr[ESP] = FRAME;
}

START_TEST(iret_enters) {
    static const struct {
        uint8_t index;
        uint16_t selector;
    } expected[] = {{SEG_CS, 0x400}, {SEG_SS, 1}, {SEG_ES, 2},
                    {SEG_DS, 3},     {SEG_FS, 4}, {SEG_GS, 5}};
    enter_level(0);
    CPU->sys_flags = 0;
    push_entry(0xffff, FL_VM | FL_IF | FL_IOPL | FL_VIF | FL_AC | FL_NT | FL_CF);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert(CPU->mode & MODE_VM86);
    ck_assert(CPU->mode & MODE_CODE16);
    ck_assert_uint_eq(cpu_eflags(CPU),
                      FL_ONE | FL_VM | FL_IF | FL_IOPL | FL_VIF | FL_AC | FL_NT | FL_CF);
    ck_assert_uint_eq(CPU->eip, 0xffff);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x12349000);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct segment *s = &CPU->seg[expected[i].index];
        ck_assert_uint_eq(s->selector, expected[i].selector);
        ck_assert_uint_eq(s->base, (uint32_t)expected[i].selector << 4);
        ck_assert_uint_eq(s->limit, 0xffff);
        ck_assert_uint_eq(s->attr, 0xf3);
        ck_assert(s->usable);
    }
}
END_TEST

START_TEST(iret_entry_faults) {
    enter_level(0);
    CPU->sys_flags = 0;
    push_entry(0x10000, FL_VM);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_GP, 0);
    push_entry(0x1000, FL_VM);
    gdt_set(SEL_FREE, 0, FRAME + 34, 0x93, 4);
    load_segment(SEG_SS, SEL_FREE);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_SS, 0);
}
END_TEST

/* Only IRETD at CPL 0 enters. */
START_TEST(vm_is_ignored_elsewhere) {
    enter_level(1);
    CPU->sys_flags = 0;
    push_entry(0x1000, FL_VM);
    put32(FRAME + 4, SEL_CODE1);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->sys_flags & FL_VM, 0);
}
END_TEST

/* -- Out of it -- */

START_TEST(event_leaves) {
    cpu_set_eflags(CPU, FL_IF | FL_CF | FL_TF | FL_NT, FL_IF | FL_CF | FL_TF | FL_NT);
    uint32_t eflags = cpu_eflags(CPU);
    CPU->gpr[ESP] = 0x12349000;
    fault_raise_gp(V, 0);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    const uint32_t frame[10] = {0, 0x1000, PROGRAM_CS, eflags | FL_RF, 0x12349000,
                                0, 0x1000, 0x1003,     0x1004,         0x1005};
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 40);
    ck_assert_int_eq(memcmp(fake.ram.base + KERNEL_STACK - 40, frame, 40), 0);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
    ck_assert_uint_eq(cpu_eflags(CPU) & (FL_VM | FL_TF | FL_NT | FL_RF | FL_IF), 0);
    ck_assert(!(CPU->mode & MODE_VM86));
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_KCODE);
    ck_assert_uint_eq(CPU->seg[SEG_SS].selector, SEL_KDATA);
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(!CPU->seg[data[i]].usable);
        ck_assert_uint_eq(CPU->seg[data[i]].selector, 0);
    }
}
END_TEST

START_TEST(event_and_return_are_inverse) {
    cpu_set_eflags(CPU, FL_IF | FL_SF, FL_IF | FL_SF);
    cpu_update_mode(CPU, 3);
    struct cpu before = *CPU;
    ck_assert_int_eq(interrupt_deliver(V, 0x40, DELIVER_EXTERNAL, CPU->eip, false, 0),
                     CALLOUT_JUMP);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_eflags(&before), cpu_eflags(CPU));
    ck_assert_uint_eq(before.mode, CPU->mode);
    ck_assert_uint_eq(before.gpr[ESP], CPU->gpr[ESP]);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        ck_assert_int_eq(memcmp(&before.seg[i], &CPU->seg[i], sizeof before.seg[i]), 0);
}
END_TEST

START_TEST(sixteen_bit_gate_pushes_nine_words) {
    idt_set(0x40, SEL_KCODE, 0xdead1234, 0x86);
    ck_assert_int_eq(interrupt_deliver(V, 0x40, DELIVER_EXTERNAL, 0x1000, false, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], KERNEL_STACK - 18);
    ck_assert_uint_eq(get16(KERNEL_STACK - 2), 0x1005);
    ck_assert_uint_eq(get16(KERNEL_STACK - 18), 0x1000);
    ck_assert_uint_eq(CPU->eip, 0x1234);
}
END_TEST

/* The handler must be nonconforming and of level 0. */
START_TEST(only_level_zero_handlers) {
    static const uint16_t handlers[] = {SEL_CODE1 & ~3u, SEL_UCODE & ~3u, SEL_CONFORMING};
    idt_set(0x40, handlers[_i], 0x1000, 0x8e);
    ASSERT_UNTOUCHED_FAULT(interrupt_deliver(V, 0x40, DELIVER_EXTERNAL, 0x1000, false, 0), VEC_GP,
                           handlers[_i] | 1u);
}
END_TEST

START_TEST(level_zero_stack_must_be_good) {
    put16(FAKE_TSS + 8, SEL_DATA1);
    ASSERT_UNTOUCHED_FAULT(interrupt_deliver(V, 0x40, DELIVER_EXTERNAL, 0x1000, false, 0), VEC_TS,
                           (SEL_DATA1 & ~3u) | 1u);
    fake.ram.base[FAKE_GDT + SEL_KDATA + 5] |= 1;
    gdt_set(SEL_FREE, 0x7000, 0xff, 0x93, 4);
    put16(FAKE_TSS + 8, SEL_FREE);
    put32(FAKE_TSS + 4, 35);
    ASSERT_UNTOUCHED_FAULT(interrupt_deliver(V, 0x40, DELIVER_EXTERNAL, 0x1000, false, 0), VEC_SS,
                           SEL_FREE | 1);
    put32(FAKE_TSS + 4, 36);
    ck_assert_int_eq(interrupt_deliver(V, 0x40, DELIVER_EXTERNAL, 0x1000, false, 0), CALLOUT_JUMP);
}
END_TEST

/* -- What IOPL decides -- */

START_TEST(sensitive_instructions_below_iopl_3) {
    enter_v86((unsigned)_i);
    ASSERT_UNTOUCHED_FAULT(callout_cli(V, 0, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_sti(V, 0, 0), VEC_GP, 0);
    for (unsigned narrow = 0; narrow < 2; narrow++) {
        uint32_t size = narrow ? A16 : 0;
        ASSERT_UNTOUCHED_FAULT(callout_pushf(V, size, 0), VEC_GP, 0);
        ASSERT_UNTOUCHED_FAULT(callout_popf(V, size, 0), VEC_GP, 0);
        ASSERT_UNTOUCHED_FAULT(callout_iret(V, size, 0), VEC_GP, 0);
    }
    idt_set(VECTOR, SEL_KCODE, 0x1000, 0xee);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
}
END_TEST

START_TEST(breakpoint_and_overflow_are_not_sensitive) {
    ASSERT_UNTOUCHED_FAULT(callout_int3(V, 0, 0), VEC_GP, VEC_BP * 8 + 2); /* the gate's DPL is */
    idt_set(VEC_BP, SEL_KCODE, 0x1000, 0xee);
    ck_assert_int_eq(callout_int3(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(KERNEL_STACK - 36), 0x1002);
    enter_v86(0);
    idt_set(VEC_OF, SEL_KCODE, 0x2000, 0xee);
    ck_assert_int_eq(callout_into(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x2000);
    enter_v86(0);
    ck_assert_int_eq(callout_int1(V, 0, 0), CALLOUT_JUMP);
}
END_TEST

START_TEST(sensitive_instructions_at_iopl_3) {
    enter_v86(3);
    ck_assert_int_eq(callout_sti(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->iflag, FL_IF);
    ck_assert_int_eq(callout_pushf(V, A16, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(get16(STACK - 2), FL_ONE | FL_IF | FL_IOPL);
    ck_assert_uint_eq(CPU->gpr[ESP], STACK - 2);
    CPU->sys_flags |= FL_AC;
    ck_assert_int_eq(callout_pushf(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(get32(STACK - 6), FL_ONE | FL_IF | FL_IOPL | FL_AC); /* VM, RF: clear */
    ck_assert_int_eq(callout_cli(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->iflag, 0);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, VECTOR * 8 + 2); /* DPL 0 */
    idt_set(VECTOR, SEL_KCODE, 0x1000, 0xee);
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
}
END_TEST

/* IOPL, VM, VIF and VIP stay; IF changes. */
START_TEST(popf_and_iret_at_iopl_3) {
    const uint32_t kept = FL_VM | FL_VIF | FL_IOPL;
    enter_v86(3);
    CPU->sys_flags |= FL_VIF;
    put32(STACK, ~(uint32_t)FL_IOPL & ~FL_VIF);
    ck_assert_int_eq(callout_popf(V, 0, 0), CALLOUT_JUMP); /* TF */
    ck_assert_uint_eq(cpu_eflags(CPU),
                      kept | FL_ONE | FL_HOST | FL_IF | FL_TF | FL_NT | FL_AC | FL_ID);
    enter_v86(3);
    put32(STACK, 0x2345);
    put32(STACK + 4, 0x6000);
    put32(STACK + 8, FL_IF | FL_ID | FL_VIP);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_VM | FL_IOPL | FL_IF | FL_ID);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x60000);
    ck_assert_uint_eq(CPU->eip, 0x2345);
    ck_assert_uint_eq(CPU->gpr[ESP], STACK + 12);
    enter_v86(3);
    put32(STACK, 0x10000);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(ports_always_take_the_bitmap) {
    memset(fake.ram.base + FAKE_TSS + IO_MAP, 0xff, 0x80);
    enter_v86(3);
    ASSERT_UNTOUCHED_FAULT(callout_out(V, 1u << 16 | 0x80, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_in(V, 1u << 16 | 0x80, 0), VEC_GP, 0);
    fake.ram.base[FAKE_TSS + IO_MAP + 0x10] = 0xfe;
    ck_assert_int_eq(callout_out(V, 1u << 16 | 0x80, 0), CALLOUT_NEXT);
    ASSERT_UNTOUCHED_FAULT(callout_out(V, 2u << 16 | 0x80, 0), VEC_GP, 0);
}
END_TEST

START_TEST(privileged_instructions_trap) {
    static const callout_fn privileged[] = {
        callout_hlt,     callout_clts,      callout_lmsw,       callout_lgdt,
        callout_lidt,    callout_invlpg,    callout_rdmsr,      callout_wrmsr,
        callout_wbinvd,  callout_rdpmc,     callout_mov_to_cr,  callout_mov_from_cr,
        callout_sysexit, callout_mov_to_dr, callout_mov_from_dr};
    enter_v86(3);
    for (unsigned i = 0; i < sizeof privileged / sizeof privileged[0]; i++)
        ASSERT_UNTOUCHED_FAULT(privileged[i](V, 0, SCRATCH), VEC_GP, 0);
}
END_TEST

START_TEST(not_recognized) {
    static const callout_fn undefined[] = {callout_lldt, callout_ltr,  callout_sldt,
                                           callout_str,  callout_lar,  callout_lsl,
                                           callout_verr, callout_verw, callout_arpl};
    for (unsigned i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
        ck_assert_int_eq(undefined[i](V, 0, SEL_TSS), CALLOUT_FAULT);
        ck_assert_uint_eq(V->fault.vector, VEC_UD);
    }
    ck_assert_int_eq(callout_sgdt(V, 0, SCRATCH), CALLOUT_NEXT); /* but these may be used */
    ck_assert_int_eq(callout_sidt(V, 0, SCRATCH), CALLOUT_NEXT);
    ck_assert_int_eq(callout_smsw(V, 0, 0), CALLOUT_NEXT);
}
END_TEST

START_TEST(sysenter_leaves) {
    CPU->msr.sysenter_cs = SEL_KCODE;
    ck_assert_int_eq(callout_sysenter(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->sys_flags & FL_VM, 0);
    ck_assert(!(CPU->mode & MODE_VM86));
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
}
END_TEST

START_TEST(segments_and_far_transfers) {
    CPU->gdt.limit = 0;
    callout_mov_to_seg(V, SEG_DS, 0xf000);
    ck_assert_uint_eq(CPU->seg[SEG_DS].base, 0xf0000);
    ck_assert_uint_eq(CPU->seg[SEG_DS].attr, 0xf3);
    ck_assert_int_eq(callout_call_far(V, 0x2000 | A16, 0x10), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x20000);
    ck_assert_uint_eq(CPU->seg[SEG_CS].attr, 0xf3);
    ck_assert(CPU->mode & MODE_VM86);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(get16(STACK - 4), 0x1002);
    ck_assert_int_eq(callout_ret_far(V, A16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, PROGRAM_CS);
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, 0x2000, 0x10000), VEC_GP, 0);
}
END_TEST

/* -- CR4.VME -- */

static void enter_vme(unsigned iopl) {
    CPU->paging.cr4 |= CR4_VME;
    enter_v86(iopl);
}

START_TEST(vif_stands_for_if) {
    enter_vme(0);
    CPU->iflag = FL_IF;
    ck_assert_int_eq(callout_sti(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->sys_flags & FL_VIF, FL_VIF);
    ck_assert(!CPU->interrupt_shadow);
    callout_pushf(V, A16, 0);
    ck_assert_uint_eq(get16(STACK - 2), FL_ONE | FL_IF | FL_IOPL);
    ck_assert_int_eq(callout_cli(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->sys_flags & FL_VIF, 0);
    callout_pushf(V, A16, 0);
    ck_assert_uint_eq(get16(STACK - 4), FL_ONE | FL_IOPL);
    ck_assert_uint_eq(CPU->iflag, FL_IF); /* all the time */
    ASSERT_UNTOUCHED_FAULT(callout_pushf(V, 0, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_popf(V, 0, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(popf_moves_if_to_vif) {
    enter_vme(1);
    put16(STACK, FL_IF | FL_CF | FL_NT | FL_IOPL);
    ck_assert_int_eq(callout_popf(V, A16, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_VM | FL_VIF | FL_CF | FL_NT | 1u << 12);
    put16(STACK + 2, 0);
    ck_assert_int_eq(callout_popf(V, A16, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_VM | 1u << 12);
}
END_TEST

START_TEST(iret_moves_if_to_vif) {
    enter_vme(2);
    CPU->iflag = FL_IF;
    put16(STACK, 0x2222);
    put16(STACK + 2, 0x3333);
    put16(STACK + 4, FL_IF | FL_CF | FL_IOPL);
    ck_assert_int_eq(callout_iret(V, A16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_VM | FL_VIF | FL_CF | FL_IF | 2u << 12);
    ck_assert_uint_eq(CPU->eip, 0x2222);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, 0x3333);
    ck_assert_uint_eq(CPU->gpr[ESP], STACK + 6);
}
END_TEST

/* With an interrupt pending for the program, what would set VIF traps; so does TF. */
START_TEST(vip_and_tf_trap) {
    enter_vme(0);
    put16(STACK, 0x1000);
    put16(STACK + 4, FL_TF);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, A16, 0), VEC_GP, 0);
    put16(STACK, FL_TF);
    ASSERT_UNTOUCHED_FAULT(callout_popf(V, A16, 0), VEC_GP, 0);
    CPU->sys_flags |= FL_VIP;
    ASSERT_UNTOUCHED_FAULT(callout_sti(V, 0, 0), VEC_GP, 0);
    put16(STACK, FL_IF);
    put16(STACK + 4, FL_IF);
    ASSERT_UNTOUCHED_FAULT(callout_popf(V, A16, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, A16, 0), VEC_GP, 0);
    ck_assert_int_eq(callout_cli(V, 0, 0), CALLOUT_NEXT);
    put16(STACK, 0);
    ck_assert_int_eq(callout_popf(V, A16, 0), CALLOUT_NEXT);
}
END_TEST

/* Entered with both set, the first instruction raises #GP: it is IRET that can bring this about. */
START_TEST(vif_with_vip_traps_at_the_first_instruction) {
    static const struct {
        uint32_t cr4, iopl;
        bool traps;
    } cases[] = {{CR4_VME, 0, true}, {0, 0, false}, {CR4_PVI, 0, false}, {CR4_VME, 3, false}};
    enter_level(0);
    CPU->sys_flags = 0;
    CPU->paging.cr4 |= cases[_i].cr4;
    push_entry(0x1000, FL_VM | FL_VIF | FL_VIP | cases[_i].iopl << 12);
    enum callout_result result = callout_iret(V, 0, 0);
    ck_assert_uint_eq(CPU->eip, 0x1000);
    ck_assert(CPU->mode & MODE_VM86);
    if (cases[_i].traps)
        assert_fault(result, VEC_GP, 0);
    else
        ck_assert_int_eq(result, CALLOUT_JUMP);
}
END_TEST

START_TEST(int_n_is_redirected) {
    unsigned iopl = (unsigned)_i;
    enter_vme(iopl);
    CPU->iflag = FL_IF;
    CPU->sys_flags |= FL_VIF | FL_TF | FL_NT;
    put32(VECTOR * 4, 0x50001234);
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0x50000);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(get16(STACK - 6), 0x1002);
    ck_assert_uint_eq(get16(STACK - 4), PROGRAM_CS);
    ck_assert_uint_eq(get16(STACK - 2), FL_ONE | FL_IF | FL_TF | FL_NT | FL_IOPL);
    uint32_t kept = FL_ONE | FL_VM | FL_NT | iopl << 12;
    ck_assert_uint_eq(cpu_eflags(CPU), kept | (iopl == 3 ? FL_VIF : FL_IF));
}
END_TEST

START_TEST(pushed_if_is_vif_below_iopl_3) {
    enter_vme(0);
    CPU->iflag = FL_IF;
    callout_int_n(V, VECTOR, 0);
    ck_assert_uint_eq(get16(STACK - 2), FL_ONE | FL_IOPL);
}
END_TEST

START_TEST(int_n_that_is_not_redirected) {
    redirect_vector(VECTOR, false);
    idt_set(VECTOR, SEL_KCODE, 0x1000, 0xee);
    enter_vme(2);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
    ck_assert_int_eq(callout_int_n(V, VECTOR + 1, 0), CALLOUT_JUMP); /* its own bit */
    ck_assert(CPU->mode & MODE_VM86);
    enter_vme(3);
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
}
END_TEST

START_TEST(redirection_map_out_of_reach) {
    enter_vme(0);
    put16(FAKE_TSS + 102, 0x200 + 32 - VECTOR / 8);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
    put16(FAKE_TSS + 102, 0x1ff + 32 - VECTOR / 8);
    ck_assert_int_eq(callout_int_n(V, VECTOR, 0), CALLOUT_JUMP);
    enter_vme(0);
    put16(FAKE_TSS + 102, 8); /* would begin before the TSS */
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
    CPU->tr.attr = 0x83;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
    CPU->tr.attr = 0x8b;
    CPU->tr.limit = 102;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_GP, 0);
}
END_TEST

START_TEST(redirection_faults_change_nothing) {
    enter_vme(0);
    fake.pages[FAKE_TSS >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_PF, 0);
    fake.pages[FAKE_TSS >> PAGE_SHIFT] = PAGE_NO_USER; /* read as the supervisor */
    CPU->gpr[ESP] = 1;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_SS, 0);
    CPU->gpr[ESP] = STACK;
    fake.pages[0] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, VECTOR, 0), VEC_PF, 0);
}
END_TEST

/* INT3 and INTO go to the monitor whatever the map says. */
START_TEST(breakpoints_are_never_redirected) {
    enter_vme(3);
    idt_set(VEC_BP, SEL_KCODE, 0x1000, 0xee);
    ck_assert_int_eq(callout_int3(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
}
END_TEST

/* -- CR4.PVI: protected mode at CPL 3 -- */

START_TEST(pvi_virtualizes_cli_and_sti_only) {
    enter_level(3);
    CPU->sys_flags = 0;
    CPU->paging.cr4 |= CR4_PVI;
    CPU->iflag = FL_IF;
    ck_assert_int_eq(callout_sti(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_VIF);
    put32(USER_STACK, 0);
    ck_assert_int_eq(callout_popf(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_VIF);
    ck_assert_int_eq(callout_cli(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF);
    CPU->sys_flags |= FL_VIP;
    ASSERT_UNTOUCHED_FAULT(callout_sti(V, 0, 0), VEC_GP, 0);
    enter_level(1); /* only for CPL 3 */
    CPU->sys_flags = 0;
    ASSERT_UNTOUCHED_FAULT(callout_sti(V, 0, 0), VEC_GP, 0);
    enter_level(3);
    CPU->paging.cr4 = CR4_VME; /* that is for virtual-8086 mode */
    ASSERT_UNTOUCHED_FAULT(callout_cli(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(pvi_traps_vif_with_vip_after_iret) {
    enter_level(0);
    CPU->paging.cr4 |= CR4_PVI;
    const uint32_t frame[5] = {0x1234, SEL_UCODE, FL_VIF | FL_VIP, USER_STACK, SEL_UDATA};
    memcpy(fake.ram.base + FRAME, frame, sizeof frame);
    CPU->sys_flags = 0;
    CPU->gpr[ESP] = FRAME;
    assert_fault(callout_iret(V, 0, 0), VEC_GP, 0);
    ck_assert_uint_eq(CPU->eip, 0x1234);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
}
END_TEST

static TCase *transitions(void) {
    TCase *tc = tcase_create("transitions");
    tcase_add_checked_fixture(tc, set_up_v86, teardown);
    tcase_add_test(tc, iret_enters);
    tcase_add_test(tc, iret_entry_faults);
    tcase_add_test(tc, vm_is_ignored_elsewhere);
    tcase_add_test(tc, event_leaves);
    tcase_add_test(tc, event_and_return_are_inverse);
    tcase_add_test(tc, sixteen_bit_gate_pushes_nine_words);
    tcase_add_loop_test(tc, only_level_zero_handlers, 0, 3);
    tcase_add_test(tc, level_zero_stack_must_be_good);
    tcase_add_test(tc, sysenter_leaves);
    return tc;
}

static TCase *sensitive(void) {
    TCase *tc = tcase_create("sensitive instructions");
    tcase_add_checked_fixture(tc, set_up_v86, teardown);
    tcase_add_loop_test(tc, sensitive_instructions_below_iopl_3, 0, 3);
    tcase_add_test(tc, breakpoint_and_overflow_are_not_sensitive);
    tcase_add_test(tc, sensitive_instructions_at_iopl_3);
    tcase_add_test(tc, popf_and_iret_at_iopl_3);
    tcase_add_test(tc, ports_always_take_the_bitmap);
    tcase_add_test(tc, privileged_instructions_trap);
    tcase_add_test(tc, not_recognized);
    tcase_add_test(tc, segments_and_far_transfers);
    return tc;
}

static TCase *extensions(void) {
    TCase *tc = tcase_create("extensions");
    tcase_add_checked_fixture(tc, set_up_v86, teardown);
    tcase_add_test(tc, vif_stands_for_if);
    tcase_add_test(tc, popf_moves_if_to_vif);
    tcase_add_test(tc, iret_moves_if_to_vif);
    tcase_add_test(tc, vip_and_tf_trap);
    tcase_add_loop_test(tc, vif_with_vip_traps_at_the_first_instruction, 0, 4);
    tcase_add_loop_test(tc, int_n_is_redirected, 0, 4);
    tcase_add_test(tc, pushed_if_is_vif_below_iopl_3);
    tcase_add_test(tc, int_n_that_is_not_redirected);
    tcase_add_test(tc, redirection_map_out_of_reach);
    tcase_add_test(tc, redirection_faults_change_nothing);
    tcase_add_test(tc, breakpoints_are_never_redirected);
    tcase_add_test(tc, pvi_virtualizes_cli_and_sti_only);
    tcase_add_test(tc, pvi_traps_vif_with_vip_after_iret);
    return tc;
}

int main(void) {
    Suite *suite = suite_create("system: virtual-8086 mode");
    suite_add_tcase(suite, transitions());
    suite_add_tcase(suite, sensitive());
    suite_add_tcase(suite, extensions());
    return run_suite(suite);
}
