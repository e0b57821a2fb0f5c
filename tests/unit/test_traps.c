/* The traps that the design knows of, each as a small guest: flags and vector state where C code
 * runs in between, code that changes under its translation, and one linear address in two address
 * spaces. */
#include "tests/unit/engine_fixture.h"

#define FLAG_AC (1u << 18)
#define FLAG_DF (1u << 10)

static struct {
    unsigned calls;
    uint64_t host_flags; /* of all probes, or-ed */
    uint32_t guest_flags;
} seen;

GENERAL_REGS static void note_flags(uint32_t value) {
    uint64_t flags;
    (void)value;
    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    seen.calls++;
    seen.host_flags |= flags;
    seen.guest_flags = cpu_eflags(CPU);
}

static struct timer ticker;
GENERAL_REGS static void tick(void *opaque) {
    (void)opaque;
    timer_arm(&m.timers, &ticker, clock_now(&m.clock) + 50000);
}
static void start_ticking(void) {
    timer_add(&m.timers, &ticker, "tick", tick, NULL);
    timer_arm(&m.timers, &ticker, clock_now(&m.clock) + 50000);
}

/* Sets AC and DF; meets a callout, hidden faults at odd addresses, and signals; then hands back the
 * flags and what LODSB read on its way down. */
GUEST(alignment_and_direction,
      "pushf; orl $0x40400, (%esp); popf\n" PROBE "mov $0x300001, %edi; mov $64, %ecx\n"
      "1: movl $0x11223344, (%edi); add $0x1001, %edi; dec %ecx; jnz 1b\n" PROBE
      "mov $3000000, %ecx; 2: dec %ecx; jnz 2b\n"
      "mov $0x300001, %esi; lodsb; mov %esi, 0x2f0000\n"
      "pushf; pop %eax; mov %eax, 0x2f0004\n"
      "xor %eax, %eax;" STOP)

START_TEST(ac_and_df_stay_out_of_c_code_and_come_back) {
    engine_variant(_i);
    memset(&seen, 0, sizeof seen);
    m.probe = note_flags;
    m.options.no_prefault = true;
    CPU->paging.cr0 |= CR0_AM;
    start_ticking();
    PUT_GUEST(CODE, alignment_and_direction);
    run_guest();
    ck_assert_uint_eq(seen.calls, 2);
    ck_assert_uint_eq(seen.host_flags & (FLAG_AC | FLAG_DF), 0);
    ck_assert_uint_eq(seen.guest_flags & (FLAG_AC | FLAG_DF), FLAG_AC | FLAG_DF);
    ck_assert_uint_eq(get32(0x2f0000), DATA);
    ck_assert_uint_eq(get32(0x2f0004) & (FLAG_AC | FLAG_DF), FLAG_AC | FLAG_DF);
    ck_assert_uint_gt(m.counters.hidden_faults, 10);
    ck_assert_uint_gt(m.counters.host_signals, 0);
}
END_TEST

/* The handlers themselves run with whatever flags the host had. */
START_TEST(attention_handler_runs_with_ac_set) {
    static struct engine engine;
    V->engine = &engine;
    ck_assert_int_eq(signals_init(V), 0);
    register long pid __asm__("rdi") = getpid(), signal __asm__("rsi") = _i ? SIGALRM : SIGUSR1;
    long call = 62; /* kill */
    __asm__ volatile("pushfq; orl $0x40400, (%%rsp); popfq; syscall; "
                     "pushfq; andl $~0x40400, (%%rsp); popfq"
                     : "+a"(call)
                     : "r"(pid), "r"(signal)
                     : "rcx", "r11", "memory", "cc");
    ck_assert_int_eq(call, 0);
    ck_assert_uint_eq(m.counters.host_signals, 1);
    ck_assert_uint_eq(CPU->attention, 1);
}
END_TEST

/* Loads all vector state; then callouts, hidden faults, fresh code and signals; then stores it. */
GUEST(vector_state, "fninit; fldpi; fld1; fldl2e\n"
                    "vmovdqu 0x300000, %ymm0; vmovdqu 0x300020, %ymm1; vmovdqu 0x300040, %ymm2\n"
                    "vmovdqu 0x300060, %ymm3; vmovdqu 0x300080, %ymm4; vmovdqu 0x3000a0, %ymm5\n"
                    "vmovdqu 0x3000c0, %ymm6; vmovdqu 0x3000e0, %ymm7\n"
                    "xor %eax, %eax; cpuid;" PROBE "in $0xf5, %al; mov %cr0, %eax; mov %eax, %cr0\n"
                    "mov $0x400000, %edi; mov $200, %ecx\n"
                    "1: mov %ecx, (%edi); add $0x1000, %edi; dec %ecx; jnz 1b\n"
                    ".rept 40\njmp 2f; ud2; 2: test %eax, %eax; jz 3f; nop; 3:\n.endr\n"
                    "mov $3000000, %ecx; 2: dec %ecx; jnz 2b;\n"
                    "vmovdqu %ymm0, 0x301000; vmovdqu %ymm1, 0x301020; vmovdqu %ymm2, 0x301040\n"
                    "vmovdqu %ymm3, 0x301060; vmovdqu %ymm4, 0x301080; vmovdqu %ymm5, 0x3010a0\n"
                    "vmovdqu %ymm6, 0x3010c0; vmovdqu %ymm7, 0x3010e0\n"
                    "fstpt 0x302000; fstpt 0x302010; fstpt 0x302020; fnstsw 0x302030\n"
                    "xor %eax, %eax;" STOP)
GUEST(mmx_state, "emms; movq 0x300000, %mm0; movq 0x300008, %mm7; xor %eax, %eax; cpuid;" PROBE
                 "mov $0x400000, %edi; mov $50, %ecx\n"
                 "1: mov %ecx, (%edi); add $0x1000, %edi; dec %ecx; jnz 1b\n"
                 "jmp 2f; ud2; 2: movq %mm0, 0x301000; movq %mm7, 0x301008; xor %eax, %eax;" STOP)

static void fill_data(void) {
    for (unsigned i = 0; i < 256; i += 4)
        put32(DATA + i, i * 0x01020305u + 0x3f000000u);
}

START_TEST(vector_state_survives_all_that_c_code_does) {
    static const uint8_t one[10] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};
    if (!__builtin_cpu_supports("avx"))
        return;
    engine_variant(_i);
    m.options.no_prefault = true;
    fill_data();
    start_ticking();
    m.probe = note_flags;
    PUT_GUEST(CODE, vector_state);
    run_guest();
    ck_assert_mem_eq(m.ram.base + DATA, m.ram.base + DATA + 0x1000, 256);
    ck_assert_mem_eq(m.ram.base + 0x302010, one, 10);
    ck_assert_uint_eq(get32(0x302030) >> 11 & 7, 0); /* TOP: all popped again */
    ck_assert_uint_gt(m.counters.host_signals, 0);
    ck_assert_uint_gt(m.counters.fragments, 20);
}
END_TEST

START_TEST(mmx_state_survives_too) {
    engine_variant(_i);
    fill_data();
    m.probe = note_flags;
    PUT_GUEST(CODE, mmx_state);
    run_guest();
    ck_assert_mem_eq(m.ram.base + DATA, m.ram.base + DATA + 0x1000, 16);
}
END_TEST

/* Overwrites the immediate of the very next instruction, with 5 and then with 6. */
GUEST(overwrites_next,
      "mov $2, %ecx; xor %edx, %edx; mov $5, %bl\n"
      "1: movb %bl, 0x100000+2f-overwrites_next+1\n"
      "2: mov $1, %al; movzx %al, %eax; add %eax, %edx; inc %bl; dec %ecx; jnz 1b\n"
      "mov %edx, %eax;" STOP)

START_TEST(fragment_that_overwrites_itself_goes_on_with_the_new_code) {
    engine_variant(_i);
    PUT_GUEST(CODE, overwrites_next);
    ck_assert_uint_eq(run_guest(), 5 + 6);
    ck_assert_uint_gt(m.counters.invalidate_write, 0);
}
END_TEST

/* REP STOSB over its own two bytes and six behind it, with INC EAX. */
GUEST(fills_itself, "mov $0x100000+1f-fills_itself, %edi; mov $8, %ecx; mov $0x40, %eax; jmp 1f\n"
                    "1: rep stosb; nop; nop; nop; nop; nop; nop;" STOP)

START_TEST(string_that_overwrites_itself_completes) {
    engine_variant(_i);
    PUT_GUEST(CODE, fills_itself);
    ck_assert_uint_eq(run_guest(), 0x46); /* six INC EAX have come to stand behind it */
}
END_TEST

GENERAL_REGS static void device_write(uint32_t value) {
    uint32_t immediate = value + 1;
    seen.calls += guest_write(V, 0x110001, &immediate, 4, true);
}

/* Calls a function at 0x110000 (mov $1, %eax; ret) that a device rewrites in between. */
GUEST(calls_rewritten_code,
      "xor %edx, %edx; mov $5, %ecx; 1: mov $0x110000, %ebx; call *%ebx; add %eax, %edx\n" PROBE
      "dec %ecx; jnz 1b; mov %edx, %eax;" STOP)
GUEST(returns_one, "mov $1, %eax; ret")

START_TEST(device_write_into_code_is_seen_by_the_next_call) {
    engine_variant(_i);
    memset(&seen, 0, sizeof seen);
    m.probe = device_write;
    PUT_GUEST(CODE, calls_rewritten_code);
    PUT_GUEST(0x110000, returns_one);
    ck_assert_uint_eq(run_guest(), 1 + 2 + 3 + 4 + 5);
    ck_assert_uint_eq(seen.calls, 5);
    ck_assert_uint_eq(m.counters.invalidate_device, 2); /* then its immediate is read when it runs */
}
END_TEST

/* Two address spaces: the first 4 MiB are one large page, the second 4 MiB differ. */
#define SPACE_A 0x10000u
#define SPACE_B 0x20000u
#define SHARED 0x500000u

static void make_space(uint32_t directory, uint32_t frames) {
    uint32_t table = directory + PAGE_SIZE;
    put32(directory, 0 | PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D);
    put32(directory + 4, table | PTE_P | PTE_W);
    for (unsigned i = 0; i < 16; i++)
        put32(table + i * 4, (frames + i * PAGE_SIZE) | PTE_P | PTE_W);
}

#define SWITCH(space) "mov $" #space ", %eax; mov %eax, %cr3\n"
#define ENTER_PAGING SWITCH(0x10000) "mov %cr0, %eax; or $0x80010000, %eax; mov %eax, %cr0\n"

/* By CALL to a constant, through a register, by JMP and by RET, in turn in A and B. */
GUEST(
    same_address_other_code, ENTER_PAGING
    "mov $4, %ecx; xor %edx, %edx\n"
    "1:" SWITCH(0x10000) "call 8f; call 8f\n" SWITCH(
        0x20000) "call 8f; call 8f\n"
                 "dec %ecx; jnz 1b; mov %edx, %eax;" STOP
                 "8: call same_address_other_code+0x300000\n" /* 0x400000 */
                 "mov $0x400000, %ebx; call *%ebx\n"
                 "push $7f-same_address_other_code+0x100000; mov $0x400000, %ebx; jmp *%ebx; 7:\n"
                 "push $6f-same_address_other_code+0x100000; push $0x400000; ret; 6:\n"
                 "call same_address_other_code+0x301ffe\n" /* straddles; its second page differs */
                 "mov $0x401ffe, %ebx; call *%ebx; ret")
GUEST(adds_a, "add $1, %edx; ret")
GUEST(adds_b, "add $0x100, %edx; ret")
/* add $imm32, %edx: 81 c2 and four bytes; two of them on the first page. */
static const uint8_t straddle_head[] = {0x81, 0xc2};
static const uint8_t straddle_a[] = {0x02, 0, 0, 0, 0xc3}, straddle_b[] = {0, 0x02, 0, 0, 0xc3};

START_TEST(linear_address_means_the_current_address_space) {
    engine_variant(_i);
    make_space(SPACE_A, 0x600000);
    make_space(SPACE_B, 0x700000);
    put32(SPACE_B + PAGE_SIZE + 4, 0x601000 | PTE_P | PTE_W); /* 0x401000: one frame in both */
    PUT_GUEST(CODE, same_address_other_code);
    PUT_GUEST(0x600000, adds_a);
    PUT_GUEST(0x700000, adds_b);
    put(0x601ffe, straddle_head, 2);
    put(0x602000, straddle_a, sizeof straddle_a);
    put(0x702000, straddle_b, sizeof straddle_b);
    uint32_t a = 4 * 2 * (4 * 1 + 2 * 2);
    ck_assert_uint_eq(run_guest(), a & 0xff);
    ck_assert_uint_eq(CPU->gpr[EDX], a + a * 0x100);
}
END_TEST

/* Reads two pages, changes both entries, flushes and reads the second; then loads CR3. */
GUEST(refilled_beside,
      ENTER_PAGING "mov 0x400000, %esi; mov 0x401000, %edi\n"
                   "movl $0x605003, 0x11000; movl $0x606003, 0x11004; invlpg 0x401000\n"
                   "mov 0x401000, %edi; mov 0x402000, %ebp\n" SWITCH(
                       0x10000) "mov 0x400000, %esi; xor %eax, %eax;" STOP)

START_TEST(entry_changed_beside_a_refilled_one_is_seen) {
    engine_variant(_i);
    make_space(SPACE_A, 0x600000);
    for (unsigned i = 0; i < 16; i++)
        put32(0x600000 + i * PAGE_SIZE, i);
    PUT_GUEST(CODE, refilled_beside);
    run_guest();
    ck_assert_uint_eq(CPU->gpr[EDI], 6);
    ck_assert_uint_eq(CPU->gpr[ESI], 5);
    ck_assert_uint_eq(CPU->gpr[EBP], 2);
}
END_TEST

/* A callee that changes the address space on odd rounds, and returns to where other code stands
 * now. */
GUEST(
    return_elsewhere, ENTER_PAGING
    "mov $8, %ecx; xor %edx, %edx\n"
    "1:" SWITCH(0x10000) "mov $0x403000, %ebx; call *%ebx; dec %ecx; jnz 1b; mov %edx, %eax;" STOP)
GUEST(switches_on_odd, "test $1, %cl; jz 1f;" SWITCH(0x20000) "1: ret")
/* call 0x100800; add $imm8, %edx; ret */
static const uint8_t returns_in_a[] = {0xe8, 0xfb, 0xd7, 0xcf, 0xff, 0x83, 0xc2, 0x01, 0xc3};
static const uint8_t returns_in_b[] = {0xe8, 0xfb, 0xd7, 0xcf, 0xff, 0x83, 0xc2, 0x10, 0xc3};

START_TEST(return_goes_to_the_current_address_space) {
    engine_variant(_i);
    make_space(SPACE_A, 0x600000);
    make_space(SPACE_B, 0x700000);
    PUT_GUEST(CODE, return_elsewhere);
    PUT_GUEST(CODE + 0x800, switches_on_odd);
    put(0x603000, returns_in_a, sizeof returns_in_a);
    put(0x703000, returns_in_b, sizeof returns_in_b);
    ck_assert_uint_eq(run_guest(), 4 * 0x01 + 4 * 0x10);
}
END_TEST

/* A callee that rewrites the instruction behind its own call. */
GUEST(rewrites_caller,
      "mov $4, %ecx; xor %edx, %edx; 1: call 8f; 2: add $1, %edx; dec %ecx; jnz 1b\n"
      "mov %edx, %eax;" STOP "8: movb %cl, 0x100000+2b-rewrites_caller+2; ret")

START_TEST(return_finds_the_code_that_stands_there_now) {
    engine_variant(_i);
    PUT_GUEST(CODE, rewrites_caller);
    ck_assert_uint_eq(run_guest(), 4 + 3 + 2 + 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("traps");
    TCase *tcase = tcase_create("traps");
    tcase_set_timeout(tcase, 20);
    tcase_add_checked_fixture(tcase, machine_set_up, NULL);
    tcase_add_loop_test(tcase, ac_and_df_stay_out_of_c_code_and_come_back, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, attention_handler_runs_with_ac_set, 0, 2);
    tcase_add_loop_test(tcase, vector_state_survives_all_that_c_code_does, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, mmx_state_survives_too, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, fragment_that_overwrites_itself_goes_on_with_the_new_code, 0,
                        ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, string_that_overwrites_itself_completes, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, device_write_into_code_is_seen_by_the_next_call, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, linear_address_means_the_current_address_space, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, entry_changed_beside_a_refilled_one_is_seen, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, return_goes_to_the_current_address_space, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, return_finds_the_code_that_stands_there_now, 0, ENGINE_VARIANTS);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
