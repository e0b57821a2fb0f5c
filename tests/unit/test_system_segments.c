/* Segment register loads, LDTR and TR, the selector queries, and the modes that follow. */
#include "system_fixture.h"

START_TEST(data_segment_loads) {
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_ES, SEL_KDATA), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->seg[SEG_ES].selector, SEL_KDATA);
    ck_assert_uint_eq(CPU->seg[SEG_ES].attr, 0xc093);
    ck_assert_uint_eq(gdt_access(SEL_KDATA), 0x93);
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_ES, 3), CALLOUT_JUMP); /* null: another mode */
    ck_assert(!CPU->seg[SEG_ES].usable);
    ck_assert_uint_eq(CPU->seg[SEG_ES].selector, 3);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert(CPU->mode & MODE_GENERAL_ES);
}
END_TEST

/* What is changed in the mode alone is what working it out from everything gives. */
START_TEST(mode_behind_a_load_is_the_whole_one) {
    static const uint32_t selectors[] = {SEL_KDATA, 0, SEL_RODATA, SEL_UDATA, SEL_STACK16, 3, SEL_CODE1, SEL_UDATA};
    static const enum segment_index indexes[] = {SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    unsigned level = _i ? 3 : 0;
    enter_level(level);
    for (unsigned i = 0; i < 4 * sizeof selectors / sizeof *selectors; i++) {
        enum callout_result result = callout_mov_to_seg(V, indexes[i % 4], selectors[i / 4]);
        uint32_t mode = CPU->mode, before = CPU->mode_dirty;
        cpu_update_mode(CPU, level);
        ck_assert(result != CALLOUT_FAULT || level == 3);
        ck_assert(!before);
        ck_assert_uint_eq(mode, CPU->mode);
    }
}
END_TEST

START_TEST(stack_segment_load_shadows) {
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_SS, SEL_KDATA), CALLOUT_NEXT);
    ck_assert(CPU->interrupt_shadow && CPU->debug_shadow);
}
END_TEST

static const struct {
    unsigned cpl;
    enum segment_index index;
    uint32_t selector;
    unsigned vector;
    uint32_t error;
} bad_loads[] = {
    {0, SEG_SS, 0, VEC_GP, 0},
    {0, SEG_SS, SEL_OUTSIDE, VEC_GP, SEL_OUTSIDE},
    {0, SEG_SS, SEL_KDATA | 1, VEC_GP, SEL_KDATA},
    {0, SEG_SS, SEL_UDATA & ~3u, VEC_GP, SEL_UDATA & ~3u},
    {0, SEG_SS, SEL_KCODE, VEC_GP, SEL_KCODE},
    {3, SEG_SS, SEL_RODATA | 3, VEC_GP, SEL_RODATA},
    {0, SEG_SS, SEL_NP_DATA, VEC_SS, SEL_NP_DATA},
    {0, SEG_SS, SEL_TSS, VEC_GP, SEL_TSS},
    {0, SEG_DS, SEL_OUTSIDE, VEC_GP, SEL_OUTSIDE},
    {0, SEG_DS, SEL_TSS, VEC_GP, SEL_TSS},
    {3, SEG_DS, SEL_EXEC_ONLY | 3, VEC_GP, SEL_EXEC_ONLY},
    {3, SEG_DS, SEL_KDATA, VEC_GP, SEL_KDATA},     /* DPL < CPL */
    {0, SEG_DS, SEL_KDATA | 3, VEC_GP, SEL_KDATA}, /* DPL < RPL */
    {0, SEG_DS, SEL_NP_DATA, VEC_NP, SEL_NP_DATA},
    {0, SEG_GS, 0x104, VEC_GP, 0x104}, /* beyond the LDT */
    {0, SEG_GS, 0x0c, VEC_GP, 0x0c},   /* an empty LDT entry */
};

START_TEST(bad_segment_loads) {
    enter_level(bad_loads[_i].cpl);
    uint32_t selector = bad_loads[_i].selector;
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_seg(V, bad_loads[_i].index, selector),
                           bad_loads[_i].vector, bad_loads[_i].error);
    put32(CPU->gpr[ESP] - 16, selector);
    CPU->gpr[ESP] -= 16;
    ASSERT_UNTOUCHED_FAULT(callout_pop_seg(V, bad_loads[_i].index, 0), bad_loads[_i].vector,
                           bad_loads[_i].error);
    put32(SCRATCH, 0x1234);
    put16(SCRATCH + 4, selector);
    ASSERT_UNTOUCHED_FAULT(callout_load_far(V, bad_loads[_i].index | EBX << 8, SCRATCH),
                           bad_loads[_i].vector, bad_loads[_i].error);
}
END_TEST

START_TEST(cs_cannot_be_loaded) {
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_CS, SEL_KCODE), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
}
END_TEST

START_TEST(conforming_code_is_data_for_everybody) {
    enter_level(3);
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_DS, SEL_CONFORMING), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_DS].cls, SEGMENT_GENERAL); /* it cannot be written */
}
END_TEST

START_TEST(local_table) {
    put_descriptor(FAKE_LDT, 8, 0x1000, 0xfffff, 0xf2, 0xc);
    enter_level(3);
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_GS, 0x0f), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->seg[SEG_GS].base, 0x1000);
    ck_assert_uint_eq(CPU->mode >> MODE_GS_SHIFT & 3, SEGMENT_BASED);
    CPU->ldt.usable = false;
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_seg(V, SEG_GS, 0x0f), VEC_GP, 0x0c);
}
END_TEST

START_TEST(pop_segment) {
    CPU->gpr[ESP] = 0x7000;
    put32(0x7000, 0xffff0000 | SEL_KDATA);
    ck_assert_int_eq(callout_pop_seg(V, SEG_DS, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x7004);
    ck_assert_uint_eq(CPU->seg[SEG_DS].selector, SEL_KDATA);
    put16(0x7004, SEL_KDATA);
    ck_assert_int_eq(callout_pop_seg(V, SEG_SS | CALLOUT_ARG16, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[ESP], 0x7006);
    ck_assert(CPU->interrupt_shadow);
}
END_TEST

START_TEST(consecutive_loads_of_ss_cast_one_shadow) {
    V->behind_mov_ss = true;
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_SS, SEL_KDATA), CALLOUT_NEXT);
    ck_assert(!CPU->interrupt_shadow && !CPU->debug_shadow);
    V->behind_mov_ss = false;
    ck_assert_int_eq(callout_mov_to_seg(V, SEG_SS, SEL_KDATA), CALLOUT_NEXT);
    ck_assert(CPU->interrupt_shadow && CPU->debug_shadow);
}
END_TEST

START_TEST(far_pointer_load) {
    put32(SCRATCH, 0xcafe1234);
    put16(SCRATCH + 4, SEL_KDATA);
    ck_assert_int_eq(callout_load_far(V, SEG_ES | EBX << 8, SCRATCH), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[EBX], 0xcafe1234);
    put16(SCRATCH + 2, SEL_UDATA);
    ck_assert_int_eq(callout_load_far(V, SEG_ES | EBX << 8 | CALLOUT_ARG16, SCRATCH), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[EBX], 0xcafe1234);
    ck_assert_uint_eq(CPU->seg[SEG_ES].selector, SEL_UDATA);
    fake.pages[SCRATCH >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_load_far(V, SEG_ES, SCRATCH), VEC_PF, 0);
}
END_TEST

START_TEST(accessed_bit_can_fault) {
    fake.pages[FAKE_GDT >> PAGE_SHIFT] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_seg(V, SEG_ES, SEL_KDATA), VEC_PF, PF_PRESENT | PF_WRITE);
}
END_TEST

START_TEST(load_ldtr) {
    ck_assert_int_eq(callout_lldt(V, 0, SEL_LDT), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->ldt.base, FAKE_LDT);
    callout_sldt(V, 0, 0);
    ck_assert_uint_eq(CPU->result, SEL_LDT);
    ck_assert_int_eq(callout_lldt(V, 0, 0), CALLOUT_NEXT);
    ck_assert(!CPU->ldt.usable);
    ASSERT_UNTOUCHED_FAULT(callout_lldt(V, 0, SEL_LDT | 4), VEC_GP, SEL_LDT | 4);
    ASSERT_UNTOUCHED_FAULT(callout_lldt(V, 0, SEL_OUTSIDE), VEC_GP, SEL_OUTSIDE);
    ASSERT_UNTOUCHED_FAULT(callout_lldt(V, 0, SEL_TSS), VEC_GP, SEL_TSS);
    gdt_set(SEL_FREE, 0, 0xff, 0x02, 0);
    ASSERT_UNTOUCHED_FAULT(callout_lldt(V, 0, SEL_FREE), VEC_NP, SEL_FREE);
    enter_level(3);
    ASSERT_UNTOUCHED_FAULT(callout_lldt(V, 0, SEL_LDT), VEC_GP, 0);
}
END_TEST

START_TEST(load_tr) {
    ck_assert_int_eq(callout_ltr(V, 0, SEL_TSS), CALLOUT_NEXT);
    ck_assert_uint_eq(gdt_access(SEL_TSS), 0x8b);
    ck_assert_uint_eq(CPU->tr.attr & 0xff, 0x8b);
    ASSERT_UNTOUCHED_FAULT(callout_ltr(V, 0, SEL_TSS), VEC_GP, SEL_TSS); /* busy */
    ASSERT_UNTOUCHED_FAULT(callout_ltr(V, 0, 0), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_ltr(V, 0, SEL_LDT), VEC_GP, SEL_LDT);
    gdt_set(SEL_FREE, 0, 0xff, 0x09, 0);
    ASSERT_UNTOUCHED_FAULT(callout_ltr(V, 0, SEL_FREE), VEC_NP, SEL_FREE);
    enter_level(3);
    ASSERT_UNTOUCHED_FAULT(callout_ltr(V, 0, SEL_TSS), VEC_GP, 0);
}
END_TEST

static bool query(callout_fn handler, uint32_t selector) {
    CPU->result = 0xfeedface;
    ck_assert_int_eq(handler(V, 0, selector), CALLOUT_NEXT);
    if (!(CPU->flags & FL_ZF))
        ck_assert_uint_eq(CPU->result, 0xfeedface);
    return CPU->flags & FL_ZF;
}

START_TEST(queries_by_type) {
    for (uint32_t type = 0; type < 32; type++) {
        uint32_t system = type & 15;
        bool is_system = type < 16;
        static const bool lar[16] = {
            [1] = 1, [2] = 1, [3] = 1, [4] = 1, [5] = 1, [9] = 1, [11] = 1, [12] = 1};
        static const bool lsl[16] = {[1] = 1, [2] = 1, [3] = 1, [9] = 1, [11] = 1};
        gdt_set(SEL_FREE, 0, 0x12345, 0xe0 | type, 8);
        ck_assert_int_eq(query(callout_lar, SEL_FREE), is_system ? lar[system] : true);
        if (CPU->flags & FL_ZF)
            ck_assert_uint_eq(CPU->result & 0xff00, (0xe0 | type) << 8);
        ck_assert_int_eq(query(callout_lsl, SEL_FREE), is_system ? lsl[system] : true);
        if (CPU->flags & FL_ZF)
            ck_assert_uint_eq(CPU->result, 0x12345fff);
        bool code = (type & 0x18) == 0x18;
        ck_assert_int_eq(query(callout_verr, SEL_FREE), !is_system && (!code || (type & 2)));
        ck_assert_int_eq(query(callout_verw, SEL_FREE), !is_system && !code && (type & 2));
    }
}
END_TEST

START_TEST(queries_by_privilege) {
    enter_level(3);
    ck_assert(!query(callout_lar, SEL_KDATA));
    ck_assert(!query(callout_lsl, SEL_KCODE));
    ck_assert(query(callout_verr, SEL_CONFORMING));
    ck_assert(query(callout_verw, SEL_UDATA));
    ck_assert(!query(callout_lar, 0));
    ck_assert(!query(callout_lar, SEL_OUTSIDE));
    enter_level(0);
    ck_assert(query(callout_verw, SEL_KDATA));
    ck_assert(!query(callout_verw, SEL_KDATA | 3));
    fake.pages[FAKE_GDT >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_lar(V, 0, SEL_KDATA), VEC_PF, 0);
    CPU->paging.cr0 &= ~CR0_PE;
    ck_assert_int_eq(callout_verr(V, 0, SEL_KDATA), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
}
END_TEST

START_TEST(arpl) {
    CPU->gpr[ECX] = 3;
    ck_assert_int_eq(callout_arpl(V, ECX, 0x21), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->result, 0x23);
    ck_assert(CPU->flags & FL_ZF);
    CPU->gpr[ECX] = 0;
    callout_arpl(V, ECX, 0x21);
    ck_assert_uint_eq(CPU->result, 0x21);
    ck_assert(!(CPU->flags & FL_ZF));
}
END_TEST

START_TEST(real_mode_loads) {
    vcpu_reset(V);
    callout_mov_to_seg(V, SEG_ES, 0xb800);
    ck_assert_uint_eq(CPU->seg[SEG_ES].base, 0xb8000);
    ck_assert_uint_eq(CPU->seg[SEG_ES].limit, 0xffff);
    ck_assert(CPU->mode & MODE_REAL);
    ck_assert_int_eq(callout_ltr(V, 0, SEL_TSS), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
}
END_TEST

/* base, limit, access, flags -> class as DS, as CS */
static const struct {
    uint32_t base, limit, access, flags;
    enum segment_class as_data, as_code;
} classes[] = {
    {0, 0xfffff, 0x93, 0xc, SEGMENT_FLAT, SEGMENT_FLAT},
    {0x1000, 0xfffff, 0x93, 0xc, SEGMENT_BASED, SEGMENT_BASED},
    {0, 0xffffe, 0x93, 0xc, SEGMENT_64K, SEGMENT_64K},
    {0, 0xfffff, 0x93, 0x4, SEGMENT_64K, SEGMENT_64K},
    {0x1230, 0xffff, 0x93, 0, SEGMENT_64K, SEGMENT_64K},
    {0, 0xfffe, 0x93, 0, SEGMENT_GENERAL, SEGMENT_GENERAL},
    {0, 0xfffff, 0x91, 0xc, SEGMENT_GENERAL, SEGMENT_GENERAL}, /* read-only */
    {0, 0xfffff, 0x97, 0xc, SEGMENT_GENERAL, SEGMENT_GENERAL}, /* expand-down */
    {0, 0xfffff, 0x9b, 0xc, SEGMENT_GENERAL, SEGMENT_FLAT},
    {0, 0xfffff, 0x99, 0xc, SEGMENT_GENERAL, SEGMENT_FLAT}, /* execute-only */
    {8, 0xfffff, 0x9f, 0xc, SEGMENT_GENERAL, SEGMENT_BASED},
};

START_TEST(segment_classes) {
    gdt_set(SEL_FREE, classes[_i].base, classes[_i].limit, classes[_i].access, classes[_i].flags);
    load_segment(SEG_DS, SEL_FREE);
    ck_assert_uint_eq(CPU->seg[SEG_DS].cls, classes[_i].as_data);
    load_segment(SEG_CS, SEL_FREE);
    ck_assert_uint_eq(CPU->seg[SEG_CS].cls, classes[_i].as_code);
}
END_TEST

START_TEST(mode_bits) {
    ck_assert_uint_eq(CPU->mode, (SEGMENT_GENERAL << MODE_FS_SHIFT) |
                                     (SEGMENT_GENERAL << MODE_GS_SHIFT) | MODE_NO_SSE |
                                     MODE_NO_AVX);
    load_segment(SEG_FS, SEL_UDATA);
    load_segment(SEG_GS, SEL_UDATA);
    CPU->paging.cr4 = CR4_OSFXSR | CR4_OSXSAVE;
    CPU->xcr0 = 7;
    cpu_update_mode(CPU, 0);
    ck_assert_uint_eq(CPU->mode, SEGMENT_GENERAL << MODE_FS_SHIFT | SEGMENT_GENERAL << MODE_GS_SHIFT); /* FS and GS only count for users */
    CPU->paging.cr0 |= CR0_AM | CR0_TS | CR0_MP;
    CPU->sys_flags = FL_AC | FL_TF;
    CPU->dr[7] |= 0x80;
    cpu_update_mode(CPU, 3);
    ck_assert_uint_eq(CPU->mode,
                      3 | MODE_ALIGN | MODE_TF | MODE_DEBUG | MODE_NO_FPU | MODE_WAIT_NM);
    cpu_update_mode(CPU, 1);
    ck_assert(!(CPU->mode & MODE_ALIGN));
    CPU->paging.cr0 = CR0_EM;
    CPU->xcr0 = 3;
    cpu_update_mode(CPU, 0);
    ck_assert_uint_eq(CPU->mode &
                          (MODE_REAL | MODE_NO_FPU | MODE_NO_SSE | MODE_NO_AVX | MODE_WAIT_NM),
                      MODE_REAL | MODE_NO_FPU | MODE_NO_SSE | MODE_NO_AVX);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: segments");
    TCase *tc = tcase_create("segments");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, data_segment_loads);
    tcase_add_loop_test(tc, mode_behind_a_load_is_the_whole_one, 0, 2);
    tcase_add_test(tc, stack_segment_load_shadows);
    tcase_add_loop_test(tc, bad_segment_loads, 0, (int)(sizeof bad_loads / sizeof bad_loads[0]));
    tcase_add_test(tc, cs_cannot_be_loaded);
    tcase_add_test(tc, conforming_code_is_data_for_everybody);
    tcase_add_test(tc, local_table);
    tcase_add_test(tc, pop_segment);
    tcase_add_test(tc, consecutive_loads_of_ss_cast_one_shadow);
    tcase_add_test(tc, far_pointer_load);
    tcase_add_test(tc, accessed_bit_can_fault);
    tcase_add_test(tc, load_ldtr);
    tcase_add_test(tc, load_tr);
    tcase_add_test(tc, queries_by_type);
    tcase_add_test(tc, queries_by_privilege);
    tcase_add_test(tc, arpl);
    tcase_add_test(tc, real_mode_loads);
    tcase_add_loop_test(tc, segment_classes, 0, (int)(sizeof classes / sizeof classes[0]));
    tcase_add_test(tc, mode_bits);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
