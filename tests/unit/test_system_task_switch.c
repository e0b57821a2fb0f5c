/* Hardware task switches: what is saved and loaded, every check, and in whose context it fails. */
#include "runtime/debug_registers.h"
#include "runtime/task_switch.h"
#include "system_fixture.h"

#define OTHER SEL_FREE /* the other task's TSS, 32 or 16 bits */
#define OTHER_TSS 0xd000u
#define GATE (SEL_FREE + 8) /* a task gate to it */
#define OTHER_STACK 0xb000u
#define A16 CALLOUT_ARG16

/* Offsets in a TSS. */
enum {
    T_LINK = 0,
    T_CR3 = 0x1c,
    T_EIP = 0x20,
    T_EFLAGS = 0x24,
    T_GPR = 0x28,
    T_SEG = 0x48,
    T_LDT = 0x60,
    T_TRAP = 0x64,
    N_IP = 0x0e,
    N_FLAGS = 0x10,
    N_GPR = 0x12,
    N_SEG = 0x22,
    N_LDT = 0x2a,
};

static void set_segment(enum segment_index index, uint32_t selector) {
    put16(OTHER_TSS + T_SEG + 4 * index, selector);
}

/* The other task: level 0 code at 0x6000. */
static void fill_wide(void) {
    gdt_set(OTHER, OTHER_TSS, 103, 0x89, 0);
    put32(OTHER_TSS + T_CR3, 0xe000);
    put32(OTHER_TSS + T_EIP, 0x6000);
    put32(OTHER_TSS + T_EFLAGS, FL_IF | FL_CF);
    for (unsigned i = 0; i < 8; i++)
        put32(OTHER_TSS + T_GPR + 4 * i, 0xa0a0a0a0u + i);
    put32(OTHER_TSS + T_GPR + 4 * ESP, OTHER_STACK);
    set_segment(SEG_ES, SEL_UDATA);
    set_segment(SEG_CS, SEL_KCODE);
    set_segment(SEG_SS, SEL_KDATA);
    set_segment(SEG_DS, SEL_KDATA);
    set_segment(SEG_FS, 0);
    set_segment(SEG_GS, SEL_CONFORMING);
    put16(OTHER_TSS + T_LDT, SEL_LDT);
}

static void fill_narrow(void) {
    static const uint16_t segments[4] = {SEL_UDATA, SEL_KCODE, SEL_KDATA, SEL_KDATA};
    gdt_set(OTHER, OTHER_TSS, 43, 0x81, 0);
    put16(OTHER_TSS + N_IP, 0x6000);
    put16(OTHER_TSS + N_FLAGS, FL_IF | FL_CF);
    for (unsigned i = 0; i < 8; i++)
        put16(OTHER_TSS + N_GPR + 2 * i, 0xa0a0u + i);
    put16(OTHER_TSS + N_GPR + 2 * ESP, OTHER_STACK);
    for (unsigned i = 0; i < 4; i++)
        put16(OTHER_TSS + N_SEG + 2 * i, segments[i]);
    put16(OTHER_TSS + N_LDT, 0);
}

static void set_up_tasks(void) {
    setup();
    fake.ram.base[FAKE_GDT + SEL_TSS + 5] = 0x8b;
    fill_wide();
    gate_set(FAKE_GDT + GATE, OTHER, 0, 0xe5, 0);
    cpu_set_eflags(CPU, FL_SF | FL_ID, FL_ALL);
}

static bool is_busy(uint32_t selector) { return gdt_access(selector) & 2; }

START_TEST(jmp_saves_and_loads) {
    CPU->dr[7] |= 0x3ff;
    segment_set_null(CPU, SEG_GS, 3);
    put32(FAKE_TSS + T_SEG + 4 * SEG_CS, 0xbeef0000);
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0x1234), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(FAKE_TSS + T_EIP), 0x5002);
    ck_assert_uint_eq(get32(FAKE_TSS + T_EFLAGS), FL_ONE | FL_SF | FL_ID);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(get32(FAKE_TSS + T_GPR + 4 * i),
                          i == ESP ? KERNEL_STACK : 0x11111111u * (i + 1));
    ck_assert_uint_eq(get32(FAKE_TSS + T_SEG + 4 * SEG_CS), 0xbeef0000 | SEL_KCODE);
    ck_assert_uint_eq(get16(FAKE_TSS + T_SEG + 4 * SEG_SS), SEL_KDATA);
    ck_assert_uint_eq(get16(FAKE_TSS + T_SEG + 4 * SEG_GS), 3);
    ck_assert_uint_eq(CPU->eip, 0x6000);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_CF);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(CPU->gpr[i], i == ESP ? OTHER_STACK : 0xa0a0a0a0u + i);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_KCODE);
    ck_assert_uint_eq(CPU->seg[SEG_SS].limit, UINT32_MAX);
    ck_assert_uint_eq(CPU->seg[SEG_DS].selector, SEL_KDATA);
    ck_assert(!CPU->seg[SEG_FS].usable);
    ck_assert(CPU->seg[SEG_GS].usable);
    ck_assert_uint_eq(CPU->ldt.base, FAKE_LDT);
    ck_assert_uint_eq(CPU->tr.selector, OTHER);
    ck_assert_uint_eq(CPU->tr.base, OTHER_TSS);
    ck_assert_uint_eq(CPU->tr.attr, 0x8b);
    ck_assert(!is_busy(SEL_TSS));
    ck_assert(is_busy(OTHER));
    ck_assert(CPU->paging.cr0 & CR0_TS);
    ck_assert(CPU->mode & MODE_NO_FPU);
    ck_assert_uint_eq(CPU->dr[7] & 0x3ff, 0x2aa); /* local breakpoints are the task's own */
    ck_assert_uint_eq(get16(OTHER_TSS + T_LINK), 0);
    ck_assert_uint_eq(CPU->paging.cr3, 0); /* paging is off */
    ck_assert_uint_eq(fake.cr3_loads, 0);
    ck_assert(V->traps_dropped);
}
END_TEST

START_TEST(call_links_and_iret_returns) {
    struct cpu before = *CPU;
    ck_assert_int_eq(callout_call_far(V, GATE, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_CF | FL_NT);
    ck_assert_uint_eq(get16(OTHER_TSS + T_LINK), SEL_TSS);
    ck_assert(is_busy(SEL_TSS));
    ck_assert(is_busy(OTHER));
    CPU->next_eip = 0x6001;
    CPU->nmi_blocked = true;
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(OTHER_TSS + T_EIP), 0x6001);
    ck_assert_uint_eq(get32(OTHER_TSS + T_EFLAGS), FL_ONE | FL_IF | FL_CF); /* NT is cleared */
    ck_assert(is_busy(SEL_TSS));
    ck_assert(!is_busy(OTHER));
    ck_assert(!CPU->nmi_blocked);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_uint_eq(cpu_eflags(CPU), cpu_eflags(&before));
    ck_assert_int_eq(memcmp(before.gpr, CPU->gpr, sizeof before.gpr), 0);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        ck_assert_int_eq(memcmp(&before.seg[i], &CPU->seg[i], sizeof before.seg[i]), 0);
}
END_TEST

/* The operand size of IRET does not matter with NT set, nor the privilege level. */
START_TEST(any_level_may_return) {
    callout_call_far(V, OTHER, 0);
    enter_level(3);
    ck_assert_int_eq(callout_iret(V, A16, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->tr.selector, SEL_TSS);
    ck_assert_uint_eq(cpu_cpl(CPU), 0);
}
END_TEST

START_TEST(narrow_task) {
    fill_narrow();
    CPU->sys_flags |= FL_AC;
    ck_assert_int_eq(callout_call_far(V, OTHER, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x6000);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_CF | FL_NT); /* none of the high half */
    ck_assert_uint_eq(CPU->gpr[EBX], 0xa0a3);
    ck_assert_uint_eq(CPU->gpr[ESP], OTHER_STACK);
    ck_assert_uint_eq(CPU->seg[SEG_DS].selector, SEL_KDATA);
    ck_assert(!CPU->seg[SEG_FS].usable && CPU->seg[SEG_FS].selector == 0);
    ck_assert(!CPU->seg[SEG_GS].usable);
    ck_assert(!CPU->ldt.usable);
    ck_assert_uint_eq(CPU->tr.attr, 0x83);
    CPU->gpr[EDI] = 0x12345678;
    CPU->next_eip = 0x6001;
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get16(OTHER_TSS + N_IP), 0x6001);
    ck_assert_uint_eq(get16(OTHER_TSS + N_FLAGS), FL_ONE | FL_IF | FL_CF);
    ck_assert_uint_eq(get16(OTHER_TSS + N_GPR + 2 * EDI), 0x5678);
    ck_assert_uint_eq(get16(OTHER_TSS + N_SEG + 2 * SEG_SS), SEL_KDATA);
    ck_assert_uint_eq(get16(OTHER_TSS + N_LDT), 0);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert(CPU->sys_flags & FL_AC);
}
END_TEST

START_TEST(task_at_an_outer_level) {
    set_segment(SEG_CS, SEL_UCODE);
    set_segment(SEG_SS, SEL_UDATA);
    set_segment(SEG_DS, SEL_UDATA);
    put32(OTHER_TSS + T_EFLAGS, FL_IOPL);
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(CPU->sys_flags, FL_IOPL);
}
END_TEST

START_TEST(virtual_8086_task) {
    put32(OTHER_TSS + T_EFLAGS, FL_VM | FL_IOPL);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        set_segment((enum segment_index)i, 0x1000 + i);
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_JUMP);
    ck_assert(CPU->mode & MODE_VM86);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
    ck_assert_uint_eq(CPU->seg[SEG_DS].base, 0x10000 + SEG_DS * 16);
    ck_assert_uint_eq(CPU->seg[SEG_CS].attr, 0xf3);
    /* An interrupt through a task gate leads out of it and back. */
    fake.ram.base[FAKE_GDT + SEL_TSS + 5] = 0x89;
    put32(FAKE_TSS + T_EIP, 0x7777);
    idt_set(0x20, SEL_TSS, 0, 0x85);
    ck_assert_int_eq(interrupt_deliver(V, 0x20, DELIVER_EXTERNAL, 0x6003, false, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0x7777);
    ck_assert_uint_eq(get32(OTHER_TSS + T_EFLAGS), FL_ONE | FL_VM | FL_IOPL);
    ck_assert_uint_eq(get32(OTHER_TSS + T_EIP), 0x6003);
    ck_assert(!(CPU->mode & MODE_VM86));
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert(CPU->mode & MODE_VM86);
}
END_TEST

START_TEST(virtual_8086_task_with_vif_and_vip) {
    CPU->paging.cr4 |= CR4_VME;
    put32(OTHER_TSS + T_EFLAGS, FL_VM | FL_VIF | FL_VIP);
    assert_fault(callout_jmp_far(V, OTHER, 0), VEC_GP, 0);
    ck_assert_uint_eq(CPU->eip, 0x6000);
}
END_TEST

START_TEST(cr3_follows_with_paging) {
    CPU->paging.cr0 |= CR0_PG;
    callout_jmp_far(V, OTHER, 0);
    ck_assert_uint_eq(CPU->paging.cr3, 0xe000);
    ck_assert_uint_eq(fake.cr3_loads, 1);
    put32(FAKE_TSS + T_CR3, 0xe000);
    callout_jmp_far(V, SEL_TSS, 0);
    ck_assert_uint_eq(fake.cr3_loads, 1); /* the same one: nothing is flushed */
}
END_TEST

START_TEST(bad_pdptes_fault_in_the_new_task) {
    CPU->paging.cr0 |= CR0_PG;
    CPU->paging.cr4 |= CR4_PAE;
    put32(0xe000, 1 | 2);
    assert_fault(callout_jmp_far(V, OTHER, 0), VEC_GP, 0);
    ck_assert_uint_eq(CPU->eip, 0x6000);
    ck_assert_uint_eq(CPU->tr.selector, OTHER);
    ck_assert_uint_eq(CPU->paging.cr3, 0);
}
END_TEST

/* -- The old task's faults -- */

static const struct {
    uint32_t selector, access, limit;
    unsigned cpl, vector;
    uint32_t error;
} bad_targets[] = {
    {OTHER, 0x8b, 103, 0, VEC_GP, OTHER}, /* busy */
    {OTHER, 0x83, 103, 0, VEC_GP, OTHER},         {OTHER, 0x09, 103, 0, VEC_NP, OTHER},
    {OTHER, 0x0b, 103, 0, VEC_GP, OTHER}, /* busy before absent */
    {OTHER, 0x89, 102, 0, VEC_TS, OTHER},         {OTHER, 0x81, 42, 0, VEC_TS, OTHER},
    {OTHER, 0x89, 103, 3, VEC_GP, OTHER},         /* DPL < CPL */
    {OTHER | 3, 0x89, 103, 0, VEC_GP, OTHER},     /* DPL < RPL */
    {OTHER | 3, 0x09, 103, 0, VEC_GP, OTHER},     /* privilege before presence */
    {OTHER | 4, 0x89, 103, 0, VEC_GP, OTHER | 4}, /* in the LDT */
};

START_TEST(bad_task_state_segments) {
    uint32_t selector = bad_targets[_i].selector;
    enter_level(bad_targets[_i].cpl);
    put_descriptor(selector & 4 ? FAKE_LDT : FAKE_GDT, selector, OTHER_TSS, bad_targets[_i].limit,
                   bad_targets[_i].access, 0);
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, selector, 0), bad_targets[_i].vector,
                           bad_targets[_i].error);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, selector, 0), bad_targets[_i].vector,
                           bad_targets[_i].error);
}
END_TEST

static const struct {
    uint32_t tss, access;
    unsigned rpl, cpl, vector;
    uint32_t error;
} bad_gates[] = {
    {OTHER, 0x85, 0, 3, VEC_GP, GATE},          /* DPL < CPL */
    {OTHER, 0x85, 3, 0, VEC_GP, GATE},          /* DPL < RPL */
    {OTHER, 0x65, 0, 0, VEC_NP, GATE},          /* absent */
    {OTHER, 0x05, 0, 3, VEC_GP, GATE},          /* privilege before presence */
    {0, 0xe5, 0, 0, VEC_GP, 0},                 /* the GDT's entry 0 is none */
    {OTHER | 4, 0xe5, 0, 0, VEC_GP, OTHER | 4}, /* in the LDT */
    {SEL_OUTSIDE, 0xe5, 0, 0, VEC_GP, SEL_OUTSIDE},
    {SEL_KCODE, 0xe5, 0, 0, VEC_GP, SEL_KCODE},
    {SEL_LDT, 0xe5, 0, 0, VEC_GP, SEL_LDT},
    {SEL_TSS, 0xe5, 0, 0, VEC_GP, SEL_TSS}, /* busy */
    {GATE, 0xe5, 0, 0, VEC_GP, GATE},       /* a gate to itself */
};

START_TEST(bad_task_gates) {
    enter_level(bad_gates[_i].cpl);
    gate_set(FAKE_GDT + GATE, bad_gates[_i].tss, 0, bad_gates[_i].access, 0);
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, GATE | bad_gates[_i].rpl, 0), bad_gates[_i].vector,
                           bad_gates[_i].error);
}
END_TEST

/* A gate opens a TSS whose own DPL would not. */
START_TEST(gate_of_level_3) {
    enter_level(3);
    ck_assert_int_eq(callout_jmp_far(V, GATE | 3, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->tr.selector, OTHER);
    ck_assert_uint_eq(get16(FAKE_TSS + T_SEG + 4 * SEG_CS), SEL_UCODE);
}
END_TEST

static const struct {
    uint32_t link, access, limit;
    unsigned vector;
    uint32_t error;
} bad_links[] = {
    {OTHER, 0x89, 103, VEC_TS, OTHER}, /* not busy */
    {OTHER, 0x0b, 103, VEC_NP, OTHER},
    {OTHER, 0x8b, 102, VEC_TS, OTHER},
    {OTHER, 0x83, 42, VEC_TS, OTHER},
    {OTHER, 0x82, 103, VEC_TS, OTHER}, /* an LDT */
    {OTHER, 0x9b, 103, VEC_TS, OTHER}, /* code */
    {OTHER | 4, 0x8b, 103, VEC_TS, OTHER | 4},
    {SEL_OUTSIDE, 0x8b, 103, VEC_TS, SEL_OUTSIDE},
    {0, 0x8b, 103, VEC_TS, 0},
};

START_TEST(bad_back_links) {
    CPU->sys_flags |= FL_NT;
    gdt_set(OTHER, OTHER_TSS, bad_links[_i].limit, bad_links[_i].access, 0);
    put16(FAKE_TSS + T_LINK, bad_links[_i].link);
    ASSERT_UNTOUCHED_FAULT(callout_iret(V, 0, 0), bad_links[_i].vector, bad_links[_i].error);
}
END_TEST

START_TEST(old_task_state_segment_too_small) {
    CPU->tr.limit = 0x5c;
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, OTHER, 0), VEC_TS, SEL_TSS);
    CPU->tr.limit = 0x5d;
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_JUMP);
}
END_TEST

START_TEST(old_narrow_task_state_segment_too_small) {
    CPU->tr.attr = 0x83;
    CPU->tr.limit = 0x28;
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, OTHER, 0), VEC_TS, SEL_TSS);
    CPU->tr.limit = 0x29;
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get16(FAKE_TSS + N_IP), 0x5002);
}
END_TEST

/* Every page of both segments and of the GDT is there before anything is changed. */
START_TEST(page_faults_before_the_commit_point) {
    fake.pages[OTHER_TSS >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, OTHER, 0), VEC_PF, 0);
    fake.pages[OTHER_TSS >> PAGE_SHIFT] = PAGE_NO_WRITE; /* for the link */
    ASSERT_UNTOUCHED_FAULT(callout_call_far(V, OTHER, 0), VEC_PF, PF_PRESENT | PF_WRITE);
    fake.pages[OTHER_TSS >> PAGE_SHIFT] = 0;
    fake.pages[FAKE_TSS >> PAGE_SHIFT] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, OTHER, 0), VEC_PF, PF_PRESENT | PF_WRITE);
    fake.pages[FAKE_TSS >> PAGE_SHIFT] = 0;
    fake.pages[FAKE_GDT >> PAGE_SHIFT] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(callout_jmp_far(V, OTHER, 0), VEC_PF, PF_PRESENT | PF_WRITE);
}
END_TEST

START_TEST(implicit_accesses_are_supervisor) {
    enter_level(3);
    fake.pages[FAKE_GDT >> PAGE_SHIFT] = fake.pages[FAKE_TSS >> PAGE_SHIFT] = PAGE_NO_USER;
    fake.pages[OTHER_TSS >> PAGE_SHIFT] = PAGE_NO_USER;
    ck_assert_int_eq(callout_call_far(V, GATE | 3, 0), CALLOUT_JUMP);
}
END_TEST

/* -- The new task's faults (table 7-1) -- */

static const struct {
    int field; /* enum segment_index, or -1 for the LDT */
    uint32_t selector;
    unsigned vector;
    uint32_t error;
} bad_segments[] = {
    {-1, SEL_LDT | 4, VEC_TS, SEL_LDT | 4},
    {-1, SEL_OUTSIDE, VEC_TS, SEL_OUTSIDE},
    {-1, SEL_KDATA, VEC_TS, SEL_KDATA},
    {-1, SEL_TSS, VEC_TS, SEL_TSS},
    {-1, SEL_FREE + 16, VEC_TS, SEL_FREE + 16}, /* an absent LDT */
    {SEG_CS, 0, VEC_TS, 0},
    {SEG_CS, SEL_OUTSIDE, VEC_TS, SEL_OUTSIDE},
    {SEG_CS, SEL_KDATA, VEC_TS, SEL_KDATA},
    {SEG_CS, SEL_TSS, VEC_TS, SEL_TSS},
    {SEG_CS, SEL_KCODE | 3, VEC_TS, SEL_KCODE},     /* DPL != RPL */
    {SEG_CS, SEL_FREE + 24, VEC_TS, SEL_FREE + 24}, /* conforming, DPL > RPL */
    {SEG_CS, SEL_NP_CODE, VEC_NP, SEL_NP_CODE},
    {SEG_SS, 0, VEC_TS, 0},
    {SEG_SS, SEL_OUTSIDE, VEC_TS, SEL_OUTSIDE},
    {SEG_SS, SEL_KCODE, VEC_TS, SEL_KCODE},
    {SEG_SS, SEL_KDATA | 3, VEC_TS, SEL_KDATA},         /* RPL */
    {SEG_SS, SEL_UDATA & ~3u, VEC_TS, SEL_UDATA & ~3u}, /* DPL */
    {SEG_SS, SEL_NP_DATA, VEC_SS, SEL_NP_DATA},
    {SEG_DS, SEL_OUTSIDE, VEC_TS, SEL_OUTSIDE},
    {SEG_DS, SEL_EXEC_ONLY, VEC_TS, SEL_EXEC_ONLY},
    {SEG_ES, SEL_TSS, VEC_TS, SEL_TSS},
    {SEG_FS, SEL_KDATA | 3, VEC_TS, SEL_KDATA}, /* DPL < RPL */
    {SEG_GS, SEL_NP_DATA, VEC_NP, SEL_NP_DATA},
};

static void spoil(int entry) {
    gdt_set(SEL_FREE + 16, FAKE_LDT, 0xff, 0x02, 0);
    gdt_set(SEL_FREE + 24, 0, 0xfffff, 0xfe, 0xc);
    if (bad_segments[entry].field < 0)
        put16(OTHER_TSS + T_LDT, bad_segments[entry].selector);
    else
        set_segment((enum segment_index)bad_segments[entry].field, bad_segments[entry].selector);
}

START_TEST(bad_segments_fault_in_the_new_task) {
    spoil(_i);
    assert_fault(callout_jmp_far(V, OTHER, 0), bad_segments[_i].vector, bad_segments[_i].error);
    ck_assert_uint_eq(CPU->tr.selector, OTHER);
    ck_assert_uint_eq(CPU->eip, 0x6000);
    ck_assert_uint_eq(CPU->gpr[EBX], 0xa0a0a0a3);
    ck_assert_uint_eq(get32(FAKE_TSS + T_EIP), 0x5002);
    ck_assert(!is_busy(SEL_TSS));
    if (bad_segments[_i].field >= 0) {
        const struct segment *s = &CPU->seg[bad_segments[_i].field];
        ck_assert_uint_eq(s->selector, bad_segments[_i].selector);
        ck_assert(!s->usable);
    }
}
END_TEST

START_TEST(faults_during_an_event_have_ext) {
    spoil(_i);
    idt_set(0x20, OTHER, 0, 0x85);
    assert_fault(interrupt_deliver(V, 0x20, DELIVER_EXTERNAL, 0x5000, false, 0),
                 bad_segments[_i].vector, bad_segments[_i].error | 1);
    ck_assert_uint_eq(CPU->eip, 0x6000);
}
END_TEST

START_TEST(eip_beyond_the_limit) {
    set_segment(SEG_CS, SEL_CODE16);
    put32(OTHER_TSS + T_EIP, 0x10000);
    assert_fault(callout_jmp_far(V, OTHER, 0), VEC_GP, 0);
    ck_assert_uint_eq(CPU->eip, 0x10000);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, SEL_CODE16);
}
END_TEST

START_TEST(privilege_of_the_new_task_counts) {
    set_segment(SEG_CS, SEL_UCODE);
    set_segment(SEG_SS, SEL_UDATA);
    set_segment(SEG_DS, SEL_KDATA); /* DPL < CPL */
    assert_fault(callout_jmp_far(V, OTHER, 0), VEC_TS, SEL_KDATA);
    ck_assert_uint_eq(cpu_cpl(CPU), 3);
}
END_TEST

/* A handler outside of the new task's level has a stack although the new task has none. */
START_TEST(new_task_without_a_stack_is_reported) {
    set_segment(SEG_CS, SEL_UCODE);
    set_segment(SEG_SS, 0);
    put32(OTHER_TSS + 4, KERNEL_STACK);
    put16(OTHER_TSS + 8, SEL_KDATA);
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_FAULT);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xc0de0000u + VEC_TS);
    ck_assert_uint_eq(get32(CPU->gpr[ESP] + 4), 0x6000);
    ck_assert_uint_eq(get32(CPU->gpr[ESP] + 8), SEL_UCODE);
}
END_TEST

/* -- Events -- */

START_TEST(exception_through_a_task_gate) {
    idt_set(VEC_GP, OTHER, 0, 0x85);
    fault_raise_gp(V, 0x58);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], OTHER_STACK - 4);
    ck_assert_uint_eq(get32(OTHER_STACK - 4), 0x58);
    ck_assert_uint_eq(get32(FAKE_TSS + T_EIP), 0x5000);
    ck_assert_uint_eq(get32(FAKE_TSS + T_EFLAGS), FL_ONE | FL_SF | FL_ID | FL_RF);
    ck_assert_uint_eq(cpu_eflags(CPU), FL_ONE | FL_IF | FL_CF | FL_NT); /* IF is the task's */
    ck_assert_uint_eq(get16(OTHER_TSS + T_LINK), SEL_TSS);
    ck_assert_uint_eq(fake.counters.exceptions, 1);
    ck_assert(is_busy(SEL_TSS));
}
END_TEST

START_TEST(narrow_task_gets_a_narrow_error_code) {
    fill_narrow();
    idt_set(VEC_GP, OTHER, 0, 0x85);
    fault_raise_gp(V, 0x58);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->gpr[ESP], OTHER_STACK - 2);
    ck_assert_uint_eq(get16(OTHER_STACK - 2), 0x58);
}
END_TEST

START_TEST(no_room_for_the_error_code) {
    gdt_set(SEL_FREE + 16, OTHER_STACK, 0xff, 0x93, 4);
    set_segment(SEG_SS, SEL_FREE + 16);
    put32(OTHER_TSS + T_GPR + 4 * ESP, 3);
    idt_set(VEC_GP, OTHER, 0, 0x85);
    assert_fault(interrupt_deliver(V, VEC_GP, DELIVER_EXCEPTION, 0x5000, true, 0x58), VEC_SS, 1);
    ck_assert_uint_eq(CPU->eip, 0x6000);
}
END_TEST

START_TEST(software_interrupt_through_a_task_gate) {
    idt_set(0x30, OTHER, 0, 0x85);
    enter_level(3);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, 0x30, 0), VEC_GP, 0x30 * 8 + 2);
    idt_set(0x30, OTHER, 0, 0x65);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, 0x30, 0), VEC_NP, 0x30 * 8 + 2);
    idt_set(0x30, OTHER | 4, 0, 0xe5);
    ASSERT_UNTOUCHED_FAULT(callout_int_n(V, 0x30, 0), VEC_GP, OTHER | 4);
    idt_set(0x30, OTHER, 0, 0xe5);
    ck_assert_int_eq(callout_int_n(V, 0x30, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(get32(FAKE_TSS + T_EIP), 0x5002);
}
END_TEST

START_TEST(busy_handler_task) {
    gdt_set(OTHER, OTHER_TSS, 103, 0x8b, 0);
    idt_set(0x20, OTHER, 0, 0x85);
    ASSERT_UNTOUCHED_FAULT(interrupt_deliver(V, 0x20, DELIVER_EXTERNAL, 0x5000, false, 0), VEC_GP,
                           OTHER | 1);
}
END_TEST

/* A contributory fault in the new task, on the way to a handler of a contributory fault: #DF, in
 * the new task. */
START_TEST(fault_behind_the_commit_point_escalates) {
    set_segment(SEG_DS, SEL_EXEC_ONLY);
    idt_set(VEC_GP, OTHER, 0, 0x85);
    fault_raise_gp(V, 0);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xc0de0000u + VEC_DF);
    ck_assert_uint_eq(CPU->gpr[ESP], OTHER_STACK - 16);
    ck_assert_uint_eq(get32(OTHER_STACK - 12), 0x6000);
}
END_TEST

START_TEST(double_fault_task) {
    idt_set(VEC_GP, SEL_KCODE, 0, 0x0e);
    idt_set(VEC_DF, OTHER, 0, 0x85);
    CPU->gpr[ESP] = 2; /* of no use any more */
    fault_raise_gp(V, 0);
    ck_assert_int_eq(exception_deliver(V), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->tr.selector, OTHER);
    ck_assert_uint_eq(get32(OTHER_STACK - 4), 0);
}
END_TEST

START_TEST(nmi_through_a_task_gate) {
    idt_set(VEC_NMI, OTHER, 0, 0x85);
    interrupt_deliver(V, VEC_NMI, DELIVER_EXTERNAL, 0x5000, false, 0);
    ck_assert(CPU->nmi_blocked);
    ck_assert_int_eq(callout_iret(V, 0, 0), CALLOUT_JUMP);
    ck_assert(!CPU->nmi_blocked);
}
END_TEST

/* -- Debugging -- */

START_TEST(trap_bit_stops_at_the_first_instruction) {
    put16(OTHER_TSS + T_TRAP, 1);
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->eip, 0xc0de0000u + VEC_DB);
    ck_assert_uint_eq(CPU->dr[6] & DR6_BT, DR6_BT);
    ck_assert_uint_eq(get32(OTHER_STACK - 12), 0x6000);
    ck_assert_uint_eq(get32(OTHER_STACK - 4), FL_ONE | FL_IF | FL_CF);
}
END_TEST

START_TEST(resume_flag_from_the_task_state_segment) {
    put32(OTHER_TSS + T_EFLAGS, FL_RF);
    CPU->dr[0] = 0x6000;
    CPU->dr[7] |= 2;
    ck_assert_int_eq(callout_jmp_far(V, OTHER, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->sys_flags, FL_RF);
}
END_TEST

START_TEST(shadows_end) {
    CPU->interrupt_shadow = CPU->debug_shadow = true;
    CPU->irq_pending = 1;
    callout_jmp_far(V, OTHER, 0);
    ck_assert(!CPU->interrupt_shadow && !CPU->debug_shadow);
    ck_assert_uint_eq(CPU->attention, 1); /* IF is set in the new task */
}
END_TEST

#define COUNT(table) ((int)(sizeof table / sizeof table[0]))

static TCase *switches(void) {
    TCase *tc = tcase_create("switches");
    tcase_add_checked_fixture(tc, set_up_tasks, teardown);
    tcase_add_test(tc, jmp_saves_and_loads);
    tcase_add_test(tc, call_links_and_iret_returns);
    tcase_add_test(tc, any_level_may_return);
    tcase_add_test(tc, narrow_task);
    tcase_add_test(tc, task_at_an_outer_level);
    tcase_add_test(tc, virtual_8086_task);
    tcase_add_test(tc, virtual_8086_task_with_vif_and_vip);
    tcase_add_test(tc, cr3_follows_with_paging);
    tcase_add_test(tc, gate_of_level_3);
    tcase_add_test(tc, implicit_accesses_are_supervisor);
    return tc;
}

static TCase *faults(void) {
    TCase *tc = tcase_create("faults");
    tcase_add_checked_fixture(tc, set_up_tasks, teardown);
    tcase_add_loop_test(tc, bad_task_state_segments, 0, COUNT(bad_targets));
    tcase_add_loop_test(tc, bad_task_gates, 0, COUNT(bad_gates));
    tcase_add_loop_test(tc, bad_back_links, 0, COUNT(bad_links));
    tcase_add_test(tc, old_task_state_segment_too_small);
    tcase_add_test(tc, old_narrow_task_state_segment_too_small);
    tcase_add_test(tc, page_faults_before_the_commit_point);
    tcase_add_test(tc, bad_pdptes_fault_in_the_new_task);
    tcase_add_loop_test(tc, bad_segments_fault_in_the_new_task, 0, COUNT(bad_segments));
    tcase_add_loop_test(tc, faults_during_an_event_have_ext, 0, COUNT(bad_segments));
    tcase_add_test(tc, eip_beyond_the_limit);
    tcase_add_test(tc, privilege_of_the_new_task_counts);
    tcase_add_test(tc, new_task_without_a_stack_is_reported);
    return tc;
}

static TCase *events(void) {
    TCase *tc = tcase_create("events");
    tcase_add_checked_fixture(tc, set_up_tasks, teardown);
    tcase_add_test(tc, exception_through_a_task_gate);
    tcase_add_test(tc, narrow_task_gets_a_narrow_error_code);
    tcase_add_test(tc, no_room_for_the_error_code);
    tcase_add_test(tc, software_interrupt_through_a_task_gate);
    tcase_add_test(tc, busy_handler_task);
    tcase_add_test(tc, fault_behind_the_commit_point_escalates);
    tcase_add_test(tc, double_fault_task);
    tcase_add_test(tc, nmi_through_a_task_gate);
    tcase_add_test(tc, trap_bit_stops_at_the_first_instruction);
    tcase_add_test(tc, resume_flag_from_the_task_state_segment);
    tcase_add_test(tc, shadows_end);
    return tc;
}

int main(void) {
    Suite *suite = suite_create("system: task switches");
    suite_add_tcase(suite, switches());
    suite_add_tcase(suite, faults());
    suite_add_tcase(suite, events());
    return run_suite(suite);
}
