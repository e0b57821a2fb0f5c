/* Saving and restoring the x87 and vector state: formats, masks, checks, and what stays as it was.
 *
 * Each case loads a known state into the processor, calls the handler and reads the state back,
 * all in one piece of assembly, so that no compiled code of the test comes between. */
#include <stdio.h>

#include "runtime/cpuid.h"
#include "system_fixture.h"

#define XMM0 160u
#define XMM8 288u
#define HEADER 512u
#define YMM0 576u
#define YMM8 704u
#define AREA_BYTES 832u
#define MXCSR_DEFAULT 0x1f80u
#define AREA SCRATCH

struct state {
    _Alignas(64) uint8_t bytes[AREA_BYTES];
};
static struct state before, after, own;

static bool has_avx(void) { return cpuid_xcr0_bits() & XCR0_AVX; }

/* Uses XSAVE with exactly the components of the model. */
static enum callout_result run(callout_fn handler, uint32_t arg, uint32_t operand) {
    uint32_t mask = cpuid_xcr0_bits();
    uint64_t result = (uint64_t)(uintptr_t)handler, vcpu = (uint64_t)(uintptr_t)V;
    uint64_t rsi = arg, rdx = operand;
    memset(&after, 0, sizeof after);
    memset(&own, 0, sizeof own);
    __asm__ volatile("mov %%rsp, %%rbx\n\t"
                     "sub $128, %%rsp\n\t"
                     "and $-16, %%rsp\n\t"
                     "mov %%rax, %%r12\n\t"
                     "mov %%rdx, %%r13\n\t"
                     "mov %[mask], %%r14d\n\t"
                     "mov %%r14d, %%eax\n\t"
                     "xor %%edx, %%edx\n\t"
                     "xsave64 %[own]\n\t"
                     "xrstor64 %[before]\n\t"
                     "mov %%r13, %%rdx\n\t"
                     "call *%%r12\n\t"
                     "mov %%rax, %%r13\n\t"
                     "mov %%r14d, %%eax\n\t"
                     "xor %%edx, %%edx\n\t"
                     "xsave64 %[after]\n\t"
                     "xrstor64 %[own]\n\t"
                     "mov %%r13, %%rax\n\t"
                     "mov %%rbx, %%rsp"
                     : "+a"(result), "+D"(vcpu), "+S"(rsi),
                       "+d"(rdx), [own] "+m"(own), [after] "+m"(after)
                     : [before] "m"(before), [mask] "r"(mask)
                     : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "memory", "cc");
    return (enum callout_result)result;
}

static uint32_t load32(const struct state *state, uint32_t at) {
    uint32_t value;
    memcpy(&value, state->bytes + at, 4);
    return value;
}

/* A state with something everywhere: two x87 registers, all vector registers, an exception
 * enabled and one recorded, and pointers. */
static void setup_state(void) {
    setup();
    const uint16_t control = 0x027f, status = 0x3000; /* TOP 6 */
    const uint64_t fip = 0x7f1234567890, fdp = 0xabcdef0012345678 & 0x7fffffffffff;
    const uint32_t mxcsr = MXCSR_DEFAULT | 1;
    const uint64_t header = cpuid_xcr0_bits();
    memset(&before, 0, sizeof before);
    memcpy(before.bytes, &control, 2);
    memcpy(before.bytes + 2, &status, 2);
    before.bytes[4] = 0xc0;
    memcpy(before.bytes + 8, &fip, 8);
    memcpy(before.bytes + 16, &fdp, 8);
    memcpy(before.bytes + 24, &mxcsr, 4);
    for (uint32_t i = 0; i < 20; i++)
        before.bytes[32 + i / 10 * 16 + i % 10] = (uint8_t)(0x80 + i);
    for (uint32_t i = 0; i < 128; i++) {
        before.bytes[XMM0 + i] = (uint8_t)(i + 1);
        before.bytes[YMM0 + i] = (uint8_t)(i ^ 0x55);
    }
    memcpy(before.bytes + HEADER, &header, 8);
    CPU->paging.cr4 = CR4_OSFXSR | CR4_OSXSAVE;
    CPU->xcr0 = cpuid_xcr0_bits();
    CPU->gpr[EAX] = CPU->gpr[EDX] = UINT32_MAX;
    fake.fip = 0xc0de1234;
    memset(fake.ram.base + AREA, 0xee, 1024);
}

static void assert_area_kept(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++)
        ck_assert_msg(fake.ram.base[AREA + i] == 0xee, "byte %u was written", i);
}
static void assert_same(uint32_t at, uint32_t len) {
    ck_assert_int_eq(memcmp(fake.ram.base + AREA + at, before.bytes + at, len), 0);
}

START_TEST(fxsave_writes_the_32_bit_format) {
    ck_assert_int_eq(run(callout_fxsave, 0, AREA), CALLOUT_NEXT);
    assert_same(0, 5);
    ck_assert_uint_eq(get32(AREA + 8), 0xc0de1234); /* never a host address */
    ck_assert_uint_eq(get32(AREA + 12), 0);
    ck_assert_uint_eq(get32(AREA + 16), 0x12345678);
    ck_assert_uint_eq(get32(AREA + 20), 0);
    ck_assert_uint_eq(get32(AREA + 24), MXCSR_DEFAULT | 1);
    ck_assert_uint_eq(get32(AREA + 28), 0xffff);
    assert_same(32, 128);
    assert_same(XMM0, 128);
    assert_area_kept(XMM8, 512);
    ck_assert_int_eq(memcmp(after.bytes + XMM0, before.bytes + XMM0, 128), 0);
}
END_TEST

START_TEST(fxrstor_is_the_reverse) {
    ck_assert_int_eq(run(callout_fxsave, 0, AREA), CALLOUT_NEXT);
    struct state loaded = before;
    memset(before.bytes + XMM0, 0x77, 128);
    memset(before.bytes + 32, 0, 128);
    ck_assert_int_eq(run(callout_fxrstor, 0, AREA), CALLOUT_NEXT);
    ck_assert_int_eq(memcmp(after.bytes + XMM0, loaded.bytes + XMM0, 128), 0);
    ck_assert_int_eq(memcmp(after.bytes + 32, loaded.bytes + 32, 128), 0);
    ck_assert_uint_eq(load32(&after, 8), 0xc0de1234);
    ck_assert_uint_eq(load32(&after, 12), 0);
    if (has_avx()) /* FXRSTOR leaves the upper halves alone */
        ck_assert_int_eq(memcmp(after.bytes + YMM0, before.bytes + YMM0, 128), 0);
    /* the restored pointer is the guest's own and is not looked up again */
    before = after;
    fake.fip = 0xbad;
    ck_assert_int_eq(run(callout_fxsave, 0, AREA), CALLOUT_NEXT);
    ck_assert_uint_eq(get32(AREA + 8), 0xc0de1234);
}
END_TEST

START_TEST(fx_faults) {
    for (uint32_t i = 1; i < 16; i++) {
        assert_fault(run(callout_fxsave, 0, AREA + i), VEC_GP, 0);
        assert_fault(run(callout_fxrstor, 0, AREA + i), VEC_GP, 0);
    }
    assert_area_kept(0, 1024);
    put32(AREA + 24, 0x10000); /* reserved in MXCSR */
    assert_fault(run(callout_fxrstor, 0, AREA), VEC_GP, 0);
    ck_assert_int_eq(memcmp(after.bytes + XMM0, before.bytes + XMM0, 128), 0);
    fake.pages[0xd] = PAGE_NO_READ;
    assert_fault(run(callout_fxsave, 0, 0xcff0), VEC_PF, PF_WRITE);
    assert_fault(run(callout_fxrstor, 0, 0xcff0), VEC_PF, 0);
}
END_TEST

START_TEST(xsave_by_mask) {
    uint32_t mask = (uint32_t)_i;
    if ((mask & ~cpuid_xcr0_bits()) != 0)
        return;
    CPU->gpr[EAX] = mask;
    put32(AREA + HEADER, 0x5); /* what the area holds already */
    put32(AREA + HEADER + 4, 0);
    ck_assert_int_eq(run(callout_xsave, 0, AREA), CALLOUT_NEXT);
    ck_assert_uint_eq(get32(AREA + HEADER), (0x5 & ~mask) | mask);
    assert_area_kept(HEADER + 8, YMM0);
    if (mask & XCR0_X87)
        ck_assert_uint_eq(get32(AREA + 8), 0xc0de1234);
    else
        assert_area_kept(0, 24);
    if (mask & (XCR0_SSE | XCR0_AVX))
        ck_assert_uint_eq(get32(AREA + 24), MXCSR_DEFAULT | 1);
    else
        assert_area_kept(24, 32);
    if (mask & XCR0_SSE)
        assert_same(XMM0, 128);
    else
        assert_area_kept(XMM0, XMM8);
    assert_area_kept(XMM8, HEADER);
    if (mask & XCR0_AVX)
        assert_same(YMM0, 128);
    else
        assert_area_kept(YMM0, YMM8);
    assert_area_kept(YMM8, AREA_BYTES);
}
END_TEST

START_TEST(xsaveopt_leaves_out_initial_components) {
    uint64_t x87_only = 1;
    memcpy(before.bytes + HEADER, &x87_only, 8);
    ck_assert_int_eq(run(callout_xsave, 1, AREA), CALLOUT_NEXT);
    ck_assert_uint_eq(get32(AREA + 8), 0xc0de1234);
    ck_assert_uint_eq(get32(AREA + HEADER) & XCR0_X87, XCR0_X87);
    ck_assert_uint_eq(get32(AREA + HEADER) & XCR0_AVX, 0);
    if (has_avx())
        assert_area_kept(YMM0, YMM8);
}
END_TEST

START_TEST(xrstor_by_header) {
    uint32_t present = (uint32_t)_i;
    if ((present & ~cpuid_xcr0_bits()) != 0)
        return;
    memset(fake.ram.base + AREA + HEADER, 0, 64);
    ck_assert_int_eq(run(callout_xsave, 0, AREA), CALLOUT_NEXT);
    put32(AREA + HEADER, present);
    struct state loaded = before;
    memset(before.bytes + XMM0, 0x77, 128);
    memset(before.bytes + YMM0, 0x66, 128);
    ck_assert_int_eq(run(callout_xrstor, 0, AREA), CALLOUT_NEXT);
    static const uint8_t zero[128];
    const uint8_t *xmm = present & XCR0_SSE ? loaded.bytes + XMM0 : zero;
    const uint8_t *ymm = present & XCR0_AVX ? loaded.bytes + YMM0 : zero;
    ck_assert_int_eq(memcmp(after.bytes + XMM0, xmm, 128), 0);
    if (has_avx())
        ck_assert_int_eq(memcmp(after.bytes + YMM0, ymm, 128), 0);
    ck_assert_uint_eq(after.bytes[4], present & XCR0_X87 ? 0xc0 : 0);
    ck_assert_uint_eq(load32(&after, 24), MXCSR_DEFAULT | 1); /* loaded in any case */
}
END_TEST

START_TEST(xrstor_checks) {
    memset(fake.ram.base + AREA, 0, 1024);
    put32(AREA + 24, MXCSR_DEFAULT);
    ck_assert_int_eq(run(callout_xrstor, 0, AREA), CALLOUT_NEXT);
    assert_fault(run(callout_xrstor, 0, AREA + 16), VEC_GP, 0);
    assert_fault(run(callout_xsave, 0, AREA + 32), VEC_GP, 0);
    for (uint32_t i = HEADER; i < HEADER + 24; i++) {
        fake.ram.base[AREA + i] = 0x80;
        assert_fault(run(callout_xrstor, 0, AREA), VEC_GP, 0);
        fake.ram.base[AREA + i] = 0;
    }
    put32(AREA + 24, 0x10000);
    assert_fault(run(callout_xrstor, 0, AREA), VEC_GP, 0);
    CPU->gpr[EAX] = XCR0_X87; /* MXCSR is not loaded then */
    ck_assert_int_eq(run(callout_xrstor, 0, AREA), CALLOUT_NEXT);
    CPU->xcr0 = XCR0_X87;
    CPU->gpr[EAX] = UINT32_MAX;
    put32(AREA + HEADER, XCR0_SSE); /* not enabled */
    assert_fault(run(callout_xrstor, 0, AREA), VEC_GP, 0);
    CPU->paging.cr4 = 0;
    ck_assert_int_eq(run(callout_xrstor, 0, AREA), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
    ck_assert_int_eq(run(callout_xsave, 0, AREA), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_UD);
}
END_TEST

START_TEST(fnsave_stores_and_initialises) {
    ck_assert_int_eq(run(callout_fnsave, 0, AREA), CALLOUT_NEXT);
    ck_assert_uint_eq(get32(AREA), 0xffff027f);
    ck_assert_uint_eq(get32(AREA + 4) & 0x3800, 0x3000);
    ck_assert_uint_eq(get32(AREA + 8) & 0x0fff, 0x0fff); /* six registers are empty */
    ck_assert_uint_eq(get32(AREA + 12), 0xc0de1234);
    ck_assert_uint_eq(get32(AREA + 16) & 0xffff, 0);
    ck_assert_uint_eq(get32(AREA + 20), 0x12345678);
    ck_assert_uint_eq(get32(AREA + 24), 0xffff0000);
    ck_assert_int_eq(memcmp(fake.ram.base + AREA + 28, before.bytes + 32, 10), 0);
    ck_assert_int_eq(memcmp(fake.ram.base + AREA + 38, before.bytes + 48, 10), 0);
    assert_area_kept(108, 1024);
    ck_assert_uint_eq(after.bytes[4], 0);
    ck_assert_uint_eq(load32(&after, 0), 0x037f);
}
END_TEST

START_TEST(fnstenv_keeps_the_registers) {
    ck_assert_int_eq(run(callout_fnstenv, 0, AREA), CALLOUT_NEXT);
    ck_assert_uint_eq(get32(AREA + 12), 0xc0de1234);
    assert_area_kept(28, 1024);
    ck_assert_uint_eq(after.bytes[4], 0xc0);
    ck_assert_uint_eq(load32(&after, 0) & 0x3f, 0x3f); /* exceptions are masked */
}
END_TEST

START_TEST(sixteen_bit_formats) {
    ck_assert_int_eq(run(callout_fnstenv, CALLOUT_ARG16, AREA), CALLOUT_NEXT);
    ck_assert_uint_eq(get16(AREA), 0x027f);
    ck_assert_uint_eq(get16(AREA + 6), 0x1234);
    ck_assert_uint_eq(get16(AREA + 8), 0);
    ck_assert_uint_eq(get16(AREA + 10), 0x5678);
    assert_area_kept(14, 1024);
    ck_assert_int_eq(run(callout_fnsave, CALLOUT_ARG16, AREA), CALLOUT_NEXT);
    ck_assert_int_eq(memcmp(fake.ram.base + AREA + 14, before.bytes + 32, 10), 0);
    assert_area_kept(94, 1024);
}
END_TEST

START_TEST(fnsave_faults_before_it_initialises) {
    fake.pages[0xd] = PAGE_NO_WRITE;
    assert_fault(run(callout_fnsave, 0, 0xd000 - 100), VEC_PF, PF_PRESENT | PF_WRITE);
    ck_assert_uint_eq(after.bytes[4], 0xc0);
    assert_fault(run(callout_fnstenv, 0, 0xd000 - 20), VEC_PF, PF_PRESENT | PF_WRITE);
}
END_TEST

int main(void) {
#if defined(RING3_SANITIZED)
    const bool sanitized = true;
#else
    const bool sanitized = false;
#endif
    if (sanitized) {
        puts("skipped: a sanitized build uses the vector registers itself");
        return EXIT_SUCCESS;
    }
    Suite *suite = suite_create("system: x87 and vector state");
    TCase *tc = tcase_create("fpu");
    if (cpuid_xcr0_bits() == 0) {
        puts("skipped: the host has no XSAVE");
        return EXIT_SUCCESS;
    }
    tcase_add_checked_fixture(tc, setup_state, teardown);
    tcase_add_test(tc, fxsave_writes_the_32_bit_format);
    tcase_add_test(tc, fxrstor_is_the_reverse);
    tcase_add_test(tc, fx_faults);
    tcase_add_loop_test(tc, xsave_by_mask, 0, 8);
    tcase_add_test(tc, xsaveopt_leaves_out_initial_components);
    tcase_add_loop_test(tc, xrstor_by_header, 0, 8);
    tcase_add_test(tc, xrstor_checks);
    tcase_add_test(tc, fnsave_stores_and_initialises);
    tcase_add_test(tc, fnstenv_keeps_the_registers);
    tcase_add_test(tc, sixteen_bit_formats);
    tcase_add_test(tc, fnsave_faults_before_it_initialises);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
