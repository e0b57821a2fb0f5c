/* Control registers, model-specific registers, CPUID, and that the three agree. */
#include "runtime/cpuid.h"
#include "runtime/msr.h"
#include "system_fixture.h"

#define PAGING (CR0_PE | CR0_PG | CR0_ET)

static struct cpuid_regs leaf(uint32_t index, uint32_t subleaf) {
    struct cpuid_regs out;
    cpuid_query(V, index, subleaf, &out);
    return out;
}
static enum callout_result wrmsr(uint32_t index, uint64_t value) {
    CPU->gpr[ECX] = index;
    CPU->gpr[EAX] = (uint32_t)value;
    CPU->gpr[EDX] = (uint32_t)(value >> 32);
    return callout_wrmsr(V, 0, 0);
}

START_TEST(cr0_bits) {
    ck_assert_int_eq(callout_mov_to_cr(V, 0, CR0_PE | 0x0ffaffc0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->paging.cr0, CR0_PE | CR0_ET); /* undefined bits vanish, ET stays */
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_cr(V, 0, CR0_PG), VEC_GP, 0);
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_cr(V, 0, CR0_PE | CR0_NW), VEC_GP, 0);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, CR0_PE | CR0_NW | CR0_CD), CALLOUT_NEXT);
    ck_assert_uint_eq(fake.paging_changes, 0);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, PAGING | CR0_WP), CALLOUT_JUMP);
    ck_assert_uint_eq(fake.paging_changes, 1);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, PAGING | CR0_WP | CR0_NE), CALLOUT_NEXT);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, PAGING | CR0_WP | CR0_TS), CALLOUT_JUMP); /* mode */
    ck_assert_int_eq(callout_clts(V, 0, 0), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->paging.cr0, PAGING | CR0_WP);
    ck_assert_uint_eq(fake.paging_changes, 1);
}
END_TEST

START_TEST(leaving_protected_mode) {
    ck_assert_int_eq(callout_mov_to_cr(V, 0, 0), CALLOUT_JUMP);
    ck_assert(CPU->mode & MODE_REAL);
    ck_assert_int_eq(callout_lmsw(V, 0, 1), CALLOUT_JUMP);
    ck_assert(!(CPU->mode & MODE_REAL));
    callout_lmsw(V, 0, 0xfff0);
    ck_assert_uint_eq(CPU->paging.cr0, CR0_PE | CR0_ET); /* PE stays */
    callout_smsw(V, 0, 0);
    ck_assert_uint_eq(CPU->result, CR0_PE | CR0_ET);
}
END_TEST

START_TEST(cr4_takes_what_cpuid_offers) {
    for (unsigned bit = 0; bit < 32; bit++) {
        setup();
        bool offered = cpuid_cr4_bits() >> bit & 1;
        save_state();
        enum callout_result result = callout_mov_to_cr(V, 4, 1u << bit);
        if (!offered) {
            assert_fault(result, VEC_GP, 0);
            assert_unchanged();
        } else {
            ck_assert_int_ne(result, CALLOUT_FAULT);
            ck_assert_uint_eq(CPU->paging.cr4, 1u << bit);
        }
        teardown();
    }
    setup();
    const uint32_t refused = CR4_MCE | CR4_UMIP | CR4_FSGSBASE | CR4_SMAP;
    ck_assert_uint_eq(cpuid_cr4_bits() & refused, 0);
}
END_TEST

START_TEST(cr4_tells_the_engine) {
    callout_mov_to_cr(V, 4, CR4_PSE);
    ck_assert_uint_eq(fake.paging_changes, 1);
    callout_mov_to_cr(V, 4, CR4_PSE | CR4_OSFXSR);
    ck_assert_uint_eq(fake.paging_changes, 1);
    ck_assert(!(CPU->mode & MODE_NO_SSE));
    ck_assert_int_eq(callout_mov_to_cr(V, 4, CR4_PSE | CR4_TSD), CALLOUT_JUMP);
    ck_assert_uint_eq(fake.retranslations, 1);
}
END_TEST

START_TEST(cr2_and_cr3) {
    ck_assert_int_eq(callout_mov_to_cr(V, 2, 0x1234), CALLOUT_NEXT);
    ck_assert_int_eq(callout_mov_to_cr(V, 3, 0x5018), CALLOUT_JUMP);
    ck_assert_uint_eq(fake.cr3_loads, 1);
    callout_mov_from_cr(V, 2, 0);
    ck_assert_uint_eq(CPU->result, 0x1234);
    callout_mov_from_cr(V, 3, 0);
    ck_assert_uint_eq(CPU->result, 0x5018);
    ck_assert_int_eq(callout_mov_to_cr(V, 1, 0), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
}
END_TEST

static void put_pdptes(gpa_t gpa, uint64_t third) {
    const uint64_t pdptes[4] = {0x10001, 0, third, 0x12001};
    memcpy(fake.ram.base + gpa, pdptes, sizeof pdptes);
}

START_TEST(pae_loads_pdptes) {
    CPU->paging.cr4 = CR4_PAE;
    CPU->paging.cr3 = 0x6020;
    put_pdptes(0x6020, 0x11019);
    ck_assert_int_eq(callout_mov_to_cr(V, 0, PAGING), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->paging.pdpte[2], 0x11019);
    put_pdptes(0x6040, 0x20001);
    ck_assert_int_eq(callout_mov_to_cr(V, 3, 0x6058), CALLOUT_JUMP); /* low bits do not count */
    ck_assert_uint_eq(CPU->paging.pdpte[2], 0x20001);
    const uint64_t bad[] = {
        1u << 1, 1u << 2, 1u << 5, 1u << 6, 1u << 7, 1u << 8, 1ull << MAXPHYADDR, 1ull << 63};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_pdptes(0x6060, 0x20001 | bad[i]);
        ASSERT_UNTOUCHED_FAULT(callout_mov_to_cr(V, 3, 0x6060), VEC_GP, 0);
        put_pdptes(0x6060, (0x20001 | bad[i]) & ~1ull); /* not present: nothing is reserved */
        ck_assert_int_eq(callout_mov_to_cr(V, 3, 0x6060), CALLOUT_JUMP);
    }
    ASSERT_UNTOUCHED_FAULT(callout_mov_to_cr(V, 3, FAKE_RAM), VEC_GP, 0);
    CPU->paging.cr3 = 0x6060;
    put_pdptes(0x6060, 0x30001);
    ck_assert_int_eq(callout_mov_to_cr(V, 4, CR4_PAE | CR4_PGE), CALLOUT_JUMP);
    ck_assert_uint_eq(CPU->paging.pdpte[2], 0x30001);
}
END_TEST

START_TEST(privileged_instructions) {
    static const callout_fn handlers[] = {
        callout_clts,   callout_lmsw,  callout_hlt,       callout_invlpg,
        callout_wbinvd, callout_rdmsr, callout_wrmsr,     callout_rdpmc,
        callout_lgdt,   callout_lidt,  callout_mov_to_cr, callout_mov_from_cr,
    };
    enter_level(3);
    CPU->gpr[ECX] = 0x10;
    for (unsigned i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
        ASSERT_UNTOUCHED_FAULT(handlers[i](V, 0, SCRATCH), VEC_GP, 0);
    CPU->paging.cr4 = CR4_OSXSAVE;
    ASSERT_UNTOUCHED_FAULT(callout_xsetbv(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(descriptor_table_registers) {
    put16(SCRATCH, 0x1234);
    put32(SCRATCH + 2, 0xabcdef01);
    callout_lgdt(V, 0, SCRATCH);
    callout_lidt(V, CALLOUT_ARG16, SCRATCH);
    ck_assert_uint_eq(CPU->gdt.limit, 0x1234);
    ck_assert_uint_eq(CPU->gdt.base, 0xabcdef01);
    ck_assert_uint_eq(CPU->idt.base, 0xcdef01);
    callout_sgdt(V, CALLOUT_ARG16, SCRATCH + 16);
    ck_assert_int_eq(memcmp(fake.ram.base + SCRATCH, fake.ram.base + SCRATCH + 16, 6), 0);
    fake.pages[SCRATCH >> PAGE_SHIFT] = PAGE_NO_WRITE;
    ASSERT_UNTOUCHED_FAULT(callout_sidt(V, 0, SCRATCH), VEC_PF, PF_PRESENT | PF_WRITE);
    fake.pages[SCRATCH >> PAGE_SHIFT] = PAGE_NO_READ;
    ASSERT_UNTOUCHED_FAULT(callout_lgdt(V, 0, SCRATCH), VEC_PF, 0);
}
END_TEST

START_TEST(halt_and_invlpg) {
    CPU->interrupt_shadow = true;
    ck_assert_int_eq(callout_hlt(V, 0, 0), CALLOUT_JUMP);
    ck_assert(CPU->halted && !CPU->interrupt_shadow);
    ck_assert_uint_eq(CPU->eip, 0x5002);
    ck_assert_int_eq(callout_invlpg(V, 0, 0xc0000000), CALLOUT_NEXT);
    ck_assert_int_eq(callout_invlpg(V, 0, 0x5fff), CALLOUT_JUMP); /* the code's own page */
    ck_assert_uint_eq(fake.invlpgs, 2);
}
END_TEST

START_TEST(extended_control_register) {
    uint32_t all = cpuid_xcr0_bits();
    ck_assert_int_eq(callout_xgetbv(V, 0, 0), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
    CPU->paging.cr4 = CR4_OSXSAVE;
    CPU->gpr[ECX] = 0;
    callout_xgetbv(V, 0, 0);
    ck_assert_uint_eq(CPU->gpr[EAX], 1);
    for (uint32_t value = 0; value < 16; value++) {
        bool good = !(value & ~all) && (value & 1) && !((value & 4) && !(value & 2));
        CPU->gpr[ECX] = CPU->gpr[EDX] = 0;
        CPU->gpr[EAX] = value;
        save_state();
        enum callout_result result = callout_xsetbv(V, 0, 0);
        ck_assert_int_eq(result == CALLOUT_FAULT, !good);
        if (good)
            ck_assert_uint_eq(CPU->xcr0, value);
        else
            assert_unchanged();
    }
    CPU->gpr[ECX] = 1;
    ASSERT_UNTOUCHED_FAULT(callout_xgetbv(V, 0, 0), VEC_GP, 0);
    CPU->gpr[ECX] = 0;
    CPU->gpr[EAX] = 1;
    CPU->gpr[EDX] = 1;
    ASSERT_UNTOUCHED_FAULT(callout_xsetbv(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(msr_values) {
    static const struct {
        uint32_t index;
        uint64_t good, bad;
    } cases[] = {
        {0x174, 0x60, 0},
        {0x175, 0xc0100000, 0},
        {0x176, 0xc0200000, 0},
        {0x1a0, 0x1801, 1ull << 34},
        {0x1d9, 0, 2},
        {0x277, 0x0007010600070106, 0x2},
        {0xc0000080, EFER_NXE, EFER_SCE},
        {0xc0000103, 5, 1ull << 32},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t value = 0;
        ck_assert_int_ne(wrmsr(cases[i].index, cases[i].good), CALLOUT_FAULT);
        ck_assert(msr_read(V, cases[i].index, &value));
        ck_assert_uint_eq(value, cases[i].good);
        if (cases[i].bad) {
            assert_fault(wrmsr(cases[i].index, cases[i].bad), VEC_GP, 0);
            ck_assert(msr_read(V, cases[i].index, &value));
            ck_assert_uint_eq(value, cases[i].good);
        }
    }
    ck_assert_uint_eq(fake.paging_changes, 1); /* NXE */
}
END_TEST

/* What kernels do on this model without looking for a fault. */
START_TEST(msrs_that_kernels_expect) {
    uint64_t value;
    ck_assert(msr_write(V, 0x8b, 0));
    ck_assert(msr_read(V, 0x8b, &value));
    ck_assert(msr_read(V, 0x17, &value));
    ck_assert(msr_read(V, 0x1a0, &value));
    ck_assert_uint_eq(value & 1, 1);       /* fast strings */
    ck_assert_uint_eq(value >> 22 & 1, 0); /* CPUID is not limited */
    ck_assert_uint_eq(value >> 34 & 1, 0); /* NX is not disabled */
}
END_TEST

START_TEST(unknown_msrs_fault) {
    static const uint32_t unknown[] = {0x1b,       0x34,       0x3a,       0x48,       0xce,
                                       0xfe,       0x10a,      0x140,      0x179,      0x200,
                                       0x250,      0x2ff,      0x38d,      0x400,      0x600,
                                       0x40000000, 0xc0000081, 0xc0000100, 0xc0010015, 0xffffffff};
    for (unsigned i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        CPU->gpr[ECX] = unknown[i];
        ASSERT_UNTOUCHED_FAULT(callout_rdmsr(V, 0, 0), VEC_GP, 0);
        ASSERT_UNTOUCHED_FAULT(callout_wrmsr(V, 0, 0), VEC_GP, 0);
    }
}
END_TEST

START_TEST(time_stamp_counter) {
    callout_rdtsc(V, 0, 0);
    uint64_t first = (uint64_t)CPU->gpr[EDX] << 32 | CPU->gpr[EAX], second;
    ck_assert(msr_read(V, 0x10, &second));
    ck_assert(second > first && second - first < fake.clock.tsc_hz);
    wrmsr(0x10, 0);
    ck_assert_uint_eq(fake.retranslations, 1);
    CPU->msr.tsc_aux = 42;
    callout_rdtsc(V, 1, 0);
    ck_assert_uint_eq(CPU->gpr[ECX], 42);
    ck_assert_uint_eq(CPU->gpr[EDX], 0);
    CPU->paging.cr4 = CR4_TSD;
    ck_assert_int_eq(callout_rdtsc(V, 0, 0), CALLOUT_NEXT);
    enter_level(3);
    ASSERT_UNTOUCHED_FAULT(callout_rdtsc(V, 0, 0), VEC_GP, 0);
}
END_TEST

START_TEST(cpuid_identity) {
    struct cpuid_regs r = leaf(0, 0);
    char vendor[13] = {0};
    memcpy(vendor, &r.ebx, 4);
    memcpy(vendor + 4, &r.edx, 4);
    memcpy(vendor + 8, &r.ecx, 4);
    ck_assert_str_eq(vendor, "GenuineIntel");
    ck_assert_uint_eq(r.eax, 0x16);
    r = leaf(1, 0);
    unsigned family = r.eax >> 8 & 15, model = (r.eax >> 4 & 15) | (r.eax >> 12 & 0xf0);
    ck_assert_uint_eq(family, 6);
    ck_assert_uint_eq(model, 0x36);
    ck_assert_uint_eq(r.eax & 15, 4);
    vcpu_reset(V);
    ck_assert_uint_eq(CPU->gpr[EDX], r.eax);
    char brand[48];
    for (unsigned i = 0; i < 3; i++) {
        r = leaf(0x80000002 + i, 0);
        memcpy(brand + 16 * i, &r, 16);
    }
    ck_assert_str_eq(brand, "ring3 virtual CPU");
    r = leaf(0x40000000, 0);
    ck_assert_int_eq(memcmp(&r.ebx, "ring3 ring3 ", 12), 0);
}
END_TEST

/* Absent on purpose: each would need something that is not there. */
START_TEST(cpuid_promises_nothing_more) {
    struct cpuid_regs r = leaf(1, 0);
    const uint32_t no_edx = 1u << 7 | 1u << 9 | 1u << 12 | 1u << 14 | 1u << 18 |
                            1u << 21 | 1u << 22 | 1u << 28 | 1u << 29;
    const uint32_t no_ecx = 1u << 2 | 1u << 3 | 1u << 5 | 1u << 6 | 1u << 13 | 1u << 15 | 1u << 17 |
                            1u << 21 | 1u << 24;
    ck_assert_uint_eq(r.edx & no_edx, 0);
    ck_assert_uint_eq(r.ecx & no_ecx, 0);
    ck_assert(r.ecx & 1u << 31);
    ck_assert_uint_eq(leaf(7, 0).ebx & (1u << 0 | 1u << 10 | 1u << 16 | 1u << 20 | 1u << 24), 0);
    ck_assert_uint_eq(leaf(7, 0).ecx, 0);
    ck_assert_uint_eq(leaf(7, 0).edx & ~(1u << 4), 0);
    ck_assert_uint_eq(leaf(0x80000001, 0).edx & (1u << 11 | 1u << 29), 0);
    ck_assert_uint_eq(leaf(0xa, 0).eax, 0);
}
END_TEST

START_TEST(cpuid_state_leaves) {
    uint32_t all = cpuid_xcr0_bits();
    ck_assert_uint_eq(leaf(1, 0).ecx >> 27 & 1, 0);
    CPU->paging.cr4 |= CR4_OSXSAVE;
    ck_assert_uint_eq(leaf(1, 0).ecx >> 27 & 1, 1);
    struct cpuid_regs r = leaf(0xd, 0);
    ck_assert_uint_eq(r.eax, all);
    ck_assert_uint_eq(r.edx, 0);
    ck_assert_uint_eq(r.ebx, 576);
    ck_assert_uint_eq(r.ecx, all & 4 ? 832 : 576);
    if (all & 4) {
        CPU->xcr0 = 7;
        ck_assert_uint_eq(leaf(0xd, 0).ebx, 832);
        ck_assert_uint_eq(leaf(0xd, 2).eax, 256);
        ck_assert_uint_eq(leaf(0xd, 2).ebx, 576);
    }
    ck_assert_uint_eq(leaf(0xd, 1).eax & ~1u, 0);
    ck_assert_uint_eq(leaf(0xd, 3).eax, 0);
    ck_assert_uint_eq(leaf(0x80000008, 0).eax & 0xff, MAXPHYADDR);
}
END_TEST

START_TEST(cpuid_frequency_is_exact) {
    static const uint64_t rates[] = {1000000000, 2699998123, 4294967295, 5100000000, 6234567000};
    for (unsigned i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        fake.clock.tsc_hz = rates[i];
        struct cpuid_regs r = leaf(0x15, 0);
        uint64_t khz = (uint64_t)(r.ecx / 1000) * r.ebx / r.eax; /* as kernels compute it */
        ck_assert_uint_eq(khz, rates[i] / 1000);
        ck_assert((uint64_t)(r.ecx / 1000) * r.ebx <= UINT32_MAX);
    }
}
END_TEST

START_TEST(cpuid_caches_and_bounds) {
    unsigned levels = 0;
    for (uint32_t i = 0; i < 8; i++) {
        struct cpuid_regs r = leaf(4, i);
        if ((r.eax & 31) == 0)
            break;
        uint32_t size = ((r.ebx >> 22) + 1) * ((r.ebx & 0xfff) + 1) * (r.ecx + 1);
        ck_assert_uint_ge(size, 32768);
        levels++;
    }
    ck_assert_uint_eq(levels, 4);
    struct cpuid_regs last = leaf(0x16, 0), beyond = leaf(0x17, 0), odd = leaf(0x90000000, 0);
    ck_assert_int_eq(memcmp(&last, &beyond, sizeof last), 0);
    ck_assert_int_eq(memcmp(&last, &odd, sizeof last), 0);
    CPU->gpr[EAX] = 0x16;
    ck_assert_int_eq(callout_cpuid(V, 0, 0), CALLOUT_NEXT);
    ck_assert_uint_eq(CPU->gpr[EAX], last.eax);
}
END_TEST

START_TEST(reset_state) {
    vcpu_reset(V);
    ck_assert_uint_eq(CPU->eip, 0xfff0);
    ck_assert_uint_eq(CPU->seg[SEG_CS].base, 0xffff0000);
    ck_assert_uint_eq(CPU->seg[SEG_CS].selector, 0xf000);
    ck_assert_uint_eq(cpu_eflags(CPU), 2);
    ck_assert_uint_eq(CPU->paging.cr0, 0x60000010);
    ck_assert_uint_eq(CPU->dr[6], 0xffff0ff0);
    ck_assert_uint_eq(CPU->dr[7], 0x400);
    ck_assert_uint_eq(CPU->xcr0, 1);
    ck_assert_uint_eq(CPU->msr.pat, 0x0007040600070406);
    ck_assert_uint_eq(CPU->idt.limit, 0xffff);
    ck_assert(CPU->mode & MODE_REAL && CPU->mode & MODE_CODE16 && CPU->mode & MODE_STACK16);
}
END_TEST

START_TEST(every_callout_has_a_handler_and_a_name) {
    for (unsigned i = 0; i < CALLOUT_COUNT; i++) {
        ck_assert(callout_handlers[i] != NULL);
        ck_assert_ptr_nonnull(callout_name((enum callout_id)i));
    }
    ck_assert_str_eq(callout_name(CALLOUT_iret), "iret");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: control");
    TCase *tc = tcase_create("control");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, cr0_bits);
    tcase_add_test(tc, leaving_protected_mode);
    tcase_add_test(tc, cr4_takes_what_cpuid_offers);
    tcase_add_test(tc, cr4_tells_the_engine);
    tcase_add_test(tc, cr2_and_cr3);
    tcase_add_test(tc, pae_loads_pdptes);
    tcase_add_test(tc, privileged_instructions);
    tcase_add_test(tc, descriptor_table_registers);
    tcase_add_test(tc, halt_and_invlpg);
    tcase_add_test(tc, extended_control_register);
    tcase_add_test(tc, msr_values);
    tcase_add_test(tc, msrs_that_kernels_expect);
    tcase_add_test(tc, unknown_msrs_fault);
    tcase_add_test(tc, time_stamp_counter);
    tcase_add_test(tc, cpuid_identity);
    tcase_add_test(tc, cpuid_promises_nothing_more);
    tcase_add_test(tc, cpuid_state_leaves);
    tcase_add_test(tc, cpuid_frequency_is_exact);
    tcase_add_test(tc, cpuid_caches_and_bounds);
    tcase_add_test(tc, reset_state);
    tcase_add_test(tc, every_callout_has_a_handler_and_a_name);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
