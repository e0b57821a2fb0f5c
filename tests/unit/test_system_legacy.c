/* Instructions that 64-bit mode lacks. The decimal ones are compared, over every AL, AF and CF,
 * with the host processor itself, which still has them in 32-bit compatibility mode. */
#include <sys/mman.h>

#include "system_fixture.h"

/* A page below 4 GiB that holds the 32-bit code, its operands and its stack. */
struct low_page {
    uint32_t eax, flags;
    uint64_t saved_rsp;
    uint8_t code[240];
    uint8_t stack[1024];
};
static struct low_page *low;

/* Emits: switch to compatibility mode, load EAX and flags, the instruction, and back. Called
 * with rdi = the page. */
static void build_code(const uint8_t *insn, size_t len) {
    uint8_t *at = low->code;
    const uint32_t base = (uint32_t)(uintptr_t)low;
    const uint32_t code32 = base + 16 + 64, code64 = base + 16 + 160;
#define EMIT(...)                                                                                  \
    do {                                                                                           \
        const uint8_t bytes[] = {__VA_ARGS__};                                                     \
        memcpy(at, bytes, sizeof bytes);                                                           \
        at += sizeof bytes;                                                                        \
    } while (0)
#define IMM32(x) (uint8_t)(x), (uint8_t)((x) >> 8), (uint8_t)((x) >> 16), (uint8_t)((x) >> 24)
    EMIT(0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push rbx .. r15 */
    EMIT(0x48, 0x89, 0x67, 0x08);                                     /* mov [rdi+8], rsp */
    EMIT(0xbc, IMM32(base + 16 + 240 + 1024));                        /* mov esp, stack top */
    EMIT(0x6a, 0x23, 0x68, IMM32(code32), 0x48, 0xcb);                /* push 23h; push; retfq */
    ck_assert_uint_le((uint32_t)(at - low->code), 64);
    at = low->code + 64;
    EMIT(0x6a, 0x2b, 0x1f);       /* push 2bh; pop ds */
    EMIT(0xff, 0x77, 0x04, 0x9d); /* push dword [edi+4]; popfd */
    EMIT(0x8b, 0x07);             /* mov eax, [edi] */
    memcpy(at, insn, len);
    at += len;
    EMIT(0x89, 0x07);                   /* mov [edi], eax */
    EMIT(0x9c, 0x8f, 0x47, 0x04);       /* pushfd; pop dword [edi+4] */
    EMIT(0xfc);                         /* cld */
    EMIT(0xea, IMM32(code64), 0x33, 0); /* ljmp 33h:code64 */
    ck_assert_uint_le((uint32_t)(at - low->code), 160);
    at = low->code + 160;
    EMIT(0x48, 0x8b, 0x67, 0x08);                                     /* mov rsp, [rdi+8] */
    EMIT(0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b); /* pop r15 .. rbx */
    EMIT(0xc3);
#undef EMIT
#undef IMM32
}

static void run_host(uint32_t eax, uint32_t flags) {
    low->eax = eax;
    low->flags = flags;
    void *page = low, *code = low->code;
    __asm__ volatile("mov %%rsp, %%rbx\n\t"
                     "sub $128, %%rsp\n\t" /* the red zone */
                     "call *%[code]\n\t"
                     "mov %%rbx, %%rsp"
                     : "+D"(page), [code] "+a"(code)
                     :
                     : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

static void setup_host(void) {
    setup();
    low = mmap(NULL, sizeof *low, PROT_READ | PROT_WRITE | PROT_EXEC,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    ck_assert_ptr_ne(low, MAP_FAILED);
}
static void teardown_host(void) {
    munmap(low, sizeof *low);
    teardown();
}

static void compare(callout_fn handler, uint32_t arg, const uint8_t *insn, size_t len,
                    uint32_t defined_flags) {
    build_code(insn, len);
    for (uint32_t ax = 0; ax < 0x10000; ax += len == 1 || ax < 0x1000 ? 1 : 7)
        for (uint32_t carries = 0; carries < 4; carries++) {
            uint32_t flags = (carries & 1 ? FL_CF : 0) | (carries & 2 ? FL_AF : 0) | FL_OF;
            run_host(0xabcd0000 | ax, flags | FL_ONE | FL_IF);
            CPU->gpr[EAX] = 0xabcd0000 | ax;
            CPU->flags = flags | FL_ONE;
            ck_assert_int_eq(handler(V, arg, 0), CALLOUT_NEXT);
            if (CPU->gpr[EAX] != low->eax ||
                ((CPU->flags ^ low->flags) & defined_flags & FL_ARITH) != 0)
                ck_abort_msg("ax %04x flags %03x: %08x %03x, the host has %08x %03x", ax, flags,
                             CPU->gpr[EAX], CPU->flags, low->eax, low->flags);
        }
}

static const struct {
    callout_fn handler;
    uint32_t arg;
    uint8_t insn[2];
    size_t len;
    uint32_t defined;
} against_host[] = {
    {callout_daa, 0, {0x27, 0}, 1, FL_CF | FL_AF | FL_SF | FL_ZF | FL_PF},
    {callout_das, 0, {0x2f, 0}, 1, FL_CF | FL_AF | FL_SF | FL_ZF | FL_PF},
    {callout_aaa, 0, {0x37, 0}, 1, FL_CF | FL_AF},
    {callout_aas, 0, {0x3f, 0}, 1, FL_CF | FL_AF},
    {callout_salc, 0, {0xd6, 0}, 1, FL_ARITH},
    {callout_aam, 10, {0xd4, 10}, 2, FL_SF | FL_ZF | FL_PF},
    {callout_aam, 16, {0xd4, 16}, 2, FL_SF | FL_ZF | FL_PF},
    {callout_aam, 1, {0xd4, 1}, 2, FL_SF | FL_ZF | FL_PF},
    {callout_aad, 10, {0xd5, 10}, 2, FL_ARITH},
    {callout_aad, 255, {0xd5, 255}, 2, FL_ARITH},
};

START_TEST(decimal_adjustments_equal_the_host) {
    compare(against_host[_i].handler, against_host[_i].arg, against_host[_i].insn,
            against_host[_i].len, against_host[_i].defined);
}
END_TEST

START_TEST(division_by_zero) {
    save_state();
    ck_assert_int_eq(callout_aam(V, 0, 0), CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, VEC_DE);
    assert_unchanged();
}
END_TEST

static const struct {
    uint32_t arg, lower, upper, index;
    bool inside;
} bounds[] = {
    {0, 5, 10, 5, true},
    {0, 5, 10, 10, true},
    {0, 5, 10, 4, false},
    {0, 5, 10, 11, false},
    {0, 0xfffffff0, 1, 0, true},
    {0, 0xfffffff0, 1, 0xffffffef, false},
    {CALLOUT_ARG16, 0xfff0, 1, 0x1234fff0, true},
    {CALLOUT_ARG16, 5, 10, 0x10004, false},
};

START_TEST(bound) {
    bool narrow = bounds[_i].arg != 0;
    put32(SCRATCH, narrow ? bounds[_i].lower | bounds[_i].upper << 16 : bounds[_i].lower);
    put32(SCRATCH + 4, bounds[_i].upper);
    CPU->result = bounds[_i].index;
    enum callout_result result = callout_bound(V, bounds[_i].arg, SCRATCH);
    ck_assert_int_eq(result, bounds[_i].inside ? CALLOUT_NEXT : CALLOUT_FAULT);
    if (!bounds[_i].inside)
        ck_assert_uint_eq(V->fault.vector, VEC_BR);
}
END_TEST

/* ENTER item by item, straight from the manual, on a copy of the stack. */
static void enter_model(uint8_t *ram, uint32_t *ebp, uint32_t *esp, uint32_t size, uint32_t levels,
                        uint32_t unit) {
    uint32_t sp = *esp - unit, bp = *ebp;
    memcpy(ram + sp, &bp, unit);
    uint32_t frame = sp;
    for (uint32_t i = 1; i < levels; i++) {
        bp -= unit;
        sp -= unit;
        memmove(ram + sp, ram + bp, unit);
    }
    sp -= unit;
    memcpy(ram + sp, &frame, unit);
    *ebp = frame;
    *esp = sp - size;
}

START_TEST(enter_equals_the_model) {
    static const uint32_t frame_pointers[] = {0x9800, 0x7000, 0x7004, 0x6ffe, 0x7008, 0x7078};
    uint32_t levels = (uint32_t)_i + 1;
    for (unsigned k = 0; k < 12; k++) {
        uint32_t unit = k < 6 ? 4 : 2, ebp = frame_pointers[k % 6], esp = 0x7000;
        for (uint32_t i = 0x6000; i < 0xa000; i += 4)
            put32(i, i * 0x9e3779b9u);
        memcpy(fake.saved_ram, fake.ram.base, 0x10000);
        CPU->gpr[EBP] = ebp;
        CPU->gpr[ESP] = esp;
        enter_model(fake.saved_ram, &ebp, &esp, 0x40, levels, unit);
        uint32_t arg = 0x40u << 8 | levels | (unit == 2 ? CALLOUT_ARG16 : 0);
        ck_assert_int_eq(callout_enter(V, arg, 0), CALLOUT_NEXT);
        ck_assert_uint_eq(CPU->gpr[ESP], esp);
        ck_assert_uint_eq(CPU->gpr[EBP], ebp);
        ck_assert_int_eq(memcmp(fake.saved_ram, fake.ram.base, 0x10000), 0);
    }
}
END_TEST

/* What was pushed stays below ESP, as on processors. */
static void assert_enter_faults(uint32_t arg, uint32_t error) {
    save_state();
    assert_fault(callout_enter(V, arg, 0), VEC_PF, error);
    ck_assert_int_eq(memcmp(fake.saved_cpu.gpr, CPU->gpr, sizeof CPU->gpr), 0);
    ck_assert_uint_eq(fake.saved_cpu.eip, CPU->eip);
    ck_assert_uint_eq(get32(CPU->gpr[ESP] - 4), CPU->gpr[EBP]);
}

START_TEST(enter_that_faults_half_way_keeps_the_registers) {
    CPU->gpr[ESP] = 0x7008;
    CPU->gpr[EBP] = 0x9800;
    fake.pages[6] = PAGE_NO_WRITE;
    assert_enter_faults(4, PF_PRESENT | PF_WRITE);
    CPU->gpr[ESP] = 0x7800; /* the frame fits, the new top of the stack does not */
    assert_enter_faults(0x900 << 8 | 2, PF_PRESENT | PF_WRITE);
    CPU->gpr[EBP] = 0x6004; /* a frame pointer that cannot be read */
    fake.pages[5] = PAGE_NO_READ;
    assert_enter_faults(4, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("system: legacy instructions");
    TCase *host = tcase_create("host");
    tcase_add_checked_fixture(host, setup_host, teardown_host);
    tcase_set_timeout(host, 60);
    tcase_add_loop_test(host, decimal_adjustments_equal_the_host, 0,
                        (int)(sizeof against_host / sizeof against_host[0]));
    suite_add_tcase(suite, host);
    TCase *tc = tcase_create("legacy");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, division_by_zero);
    tcase_add_loop_test(tc, bound, 0, (int)(sizeof bounds / sizeof bounds[0]));
    tcase_add_loop_test(tc, enter_equals_the_model, 0, 31);
    tcase_add_test(tc, enter_that_faults_half_way_keeps_the_registers);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
