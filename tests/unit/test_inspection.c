/* Inspection: the vCPU stops, steps, is changed and goes on, and every stop is where it should be. */
#include "tests/unit/inspection_fixture.h"

/* Counts at DATA until DATA + 4 says otherwise. */
GUEST(counter, "1: incl 0x300000; cmpl $0, 0x300004; je 1b; mov $7, %al;" STOP)

static void *pauses(void *unused) {
    for (unsigned i = 0; i < 20; i++) {
        uint32_t before = get32(DATA);
        wait_past(before);
        ck_assert_int_eq(target_pause(&target), 0);
        ck_assert_uint_eq(next_stop().reason, STOP_ASKED);
        before = get32(DATA);
        usleep(2000);
        ck_assert_uint_eq(get32(DATA), before); /* it stands */
        ck_assert_int_eq(target_pause(&target), 0);
        go_on();
    }
    ck_assert_int_eq(target_write_register(&target, INSPECT_EIP, 0), -EBUSY);
    target_pause(&target);
    next_stop();
    const uint32_t one = 1;
    ck_assert_int_eq(target_write(&target, DATA + 4, false, &one, 4), 0);
    go_on();
    ck_assert_uint_eq(resume_count, 21);
    return unused;
}

START_TEST(pause_stands_still_and_goes_on) {
    engine_variant(_i);
    PUT_GUEST(CODE, counter);
    ck_assert_uint_eq(run_with(pauses), 7);
}
END_TEST

/* Nothing can wake it. */
GUEST(sleeper, "mov $1, %eax; cli; hlt; mov $9, %al;" STOP)

static void *wakes(void *unused) {
    usleep(20000);
    target_pause(&target);
    expect_stop(STOP_ASKED, CODE + 7);
    ck_assert(CPU->halted);
    go_on();
    usleep(5000);
    target_pause(&target);
    expect_stop(STOP_ASKED, CODE + 7);
    ck_assert_int_eq(target_write_register(&target, INSPECT_EIP, CODE + 8), 0);
    ck_assert_int_eq(target_write_register(&target, INSPECT_EIP, CODE + 7), 0);
    go_on();
    return unused;
}

START_TEST(pause_comes_in_halt) {
    PUT_GUEST(CODE, sleeper);
    ck_assert_uint_eq(run_with(wakes), 9);
}
END_TEST

/* A loop of ten rounds with a call, and a breakpoint in both. */
GUEST(rounds,
      "mov $10, %ecx; xor %eax, %eax; 1: call 2f; dec %ecx; jnz 1b;" STOP "2: inc %eax; ret")
#define ROUNDS_LOOP (CODE + 7)
#define ROUNDS_INC (CODE + 17)

static void *counts_rounds(void *unused) {
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_breakpoint(&target, ROUNDS_INC), 0);
    for (unsigned i = 0; i < 10; i++) {
        if (i == 5)
            ck_assert_int_eq(target_set_breakpoint(&target, ROUNDS_LOOP), 0);
        if (i >= 5) {
            go_on();
            expect_stop(STOP_BREAKPOINT, ROUNDS_LOOP);
        }
        go_on();
        expect_stop(STOP_BREAKPOINT, ROUNDS_INC);
        ck_assert_uint_eq(CPU->gpr[ECX], 10 - i);
        ck_assert_uint_eq(CPU->gpr[EAX], i);
    }
    ck_assert_int_eq(target_clear_breakpoint(&target, ROUNDS_LOOP), 0);
    ck_assert_int_eq(target_clear_breakpoint(&target, ROUNDS_INC), 0);
    ck_assert_int_eq(target_clear_breakpoint(&target, ROUNDS_INC), -ENOENT);
    go_on();
    return unused;
}

START_TEST(breakpoint_stops_each_time_before_its_instruction) {
    engine_variant(_i);
    PUT_GUEST(CODE, rounds);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(counts_rounds), 10);
}
END_TEST

/* Set while the code runs chained, and cleared again. */
GUEST(spinner,
      "1: incl 0x300000; call 2f; cmpl $0, 0x300004; je 1b; mov $3, %al;" STOP "2: nop; ret")

static void *visits(void *unused) {
    const uint32_t nop = CODE + (uint32_t)(spinner_end - spinner) - 2, one = 1;
    for (unsigned i = 0; i < 20; i++) {
        wait_past(get32(DATA));
        target_pause(&target);
        next_stop();
        ck_assert_int_eq(target_set_breakpoint(&target, nop), 0);
        go_on();
        expect_stop(STOP_BREAKPOINT, nop);
        go_on();
        expect_stop(STOP_BREAKPOINT, nop);
        ck_assert_int_eq(target_clear_breakpoint(&target, nop), 0);
        if (i == 19)
            target_write(&target, DATA + 4, false, &one, 4);
        go_on();
    }
    return unused;
}

START_TEST(breakpoint_is_set_under_running_code) {
    engine_variant(_i);
    PUT_GUEST(CODE, spinner);
    ck_assert_uint_eq(run_with(visits), 3);
}
END_TEST

/* All kinds of instructions, one at a time: their addresses come from the lengths. */
GUEST(walked, "mov $0x300000, %ebx; push %ebx; pop %ecx; pushf; popf; call 1f; 1: pop %edx\n"
              "jmp 2f; 2: xor %eax, %eax; jz 3f; nop; 3: sti; nop; cli; cpuid; mov $5, %al;" STOP)

static void *walks(void *unused) {
    static const uint8_t lengths[] = {5, 1, 1, 1, 1, 5, 1, 2, 2, 3, 1, 1, 1, 2, 2};
    uint32_t at = CODE;
    expect_stop(STOP_ASKED, CODE);
    for (unsigned i = 0; i < sizeof lengths; i++)
        step_to(at += lengths[i]);
    go_on();
    return unused;
}

START_TEST(step_runs_one_instruction) {
    engine_variant(_i);
    PUT_GUEST(CODE, walked);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(walks), 5);
}
END_TEST

/* One element of a string a step; then the rest. */
GUEST(filler,
      "mov $0x300000, %edi; mov $8, %ecx; mov $0x11, %al; rep stosb; mov 0x300007, %al;" STOP)

static void *fills(void *unused) {
    expect_stop(STOP_ASKED, CODE);
    step_to(CODE + 5);
    step_to(CODE + 10);
    step_to(CODE + 12);
    for (unsigned i = 1; i < 8; i++) {
        step_to(CODE + 12);
        ck_assert_uint_eq(CPU->gpr[EDI], DATA + i);
    }
    step_to(CODE + 14);
    go_on();
    return unused;
}

START_TEST(step_runs_one_element_of_a_string) {
    engine_variant(_i);
    PUT_GUEST(CODE, filler);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(fills), 0x11);
}
END_TEST

static void *resumes_at_string(void *unused) {
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_breakpoint(&target, CODE + 12), 0);
    go_on();
    expect_stop(STOP_BREAKPOINT, CODE + 12);
    go_on(); /* all of it */
    return unused;
}

START_TEST(breakpoint_at_a_string_is_met_once) {
    engine_variant(_i);
    PUT_GUEST(CODE, filler);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(resumes_at_string), 0x11);
    ck_assert_uint_eq(stop_count, 2);
}
END_TEST

/* The loop's addend is changed in code that is running from the cache. */
GUEST(patched, "1: incl 0x300000; mov $0, %al; test %al, %al; jz 1b;" STOP)

static void *patches(void *unused) {
    const uint8_t value = 0x2a;
    wait_past(0);
    target_pause(&target);
    next_stop();
    uint8_t bytes[8];
    ck_assert_uint_eq(target_read(&target, CODE, false, bytes, 8), 8);
    ck_assert_int_eq(memcmp(bytes, patched, 8), 0);
    ck_assert_int_eq(target_write(&target, CODE + 7, false, &value, 1), 0);
    ck_assert_int_eq(target_write(&target, MACHINE_RAM - 2, false, bytes, 8), -EFAULT);
    ck_assert_uint_eq(target_read(&target, MACHINE_RAM - 2, true, bytes, 8), 2);
    go_on();
    return unused;
}

START_TEST(write_into_translated_code_is_seen) {
    engine_variant(_i);
    PUT_GUEST(CODE, patched);
    ck_assert_uint_eq(run_with(patches), 0x2a);
}
END_TEST

GUEST(registers,
      "nop; pushf; pop %ecx; and $0x400, %ecx; lea (%eax,%ecx), %eax; add %ebx, %eax;" STOP)

static void *changes_registers(void *unused) {
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_write_register(&target, INSPECT_GPR + EAX, 0x10), 0);
    ck_assert_int_eq(target_write_register(&target, INSPECT_GPR + EBX, 5), 0);
    ck_assert_int_eq(target_write_register(&target, INSPECT_EFLAGS, 0x20006), 0);
    ck_assert_uint_eq(cpu_eflags(CPU), 6);
    ck_assert_int_eq(target_write_register(&target, INSPECT_CR0, CR0_PG | CR0_NW), -EINVAL);
    ck_assert_int_eq(target_write_register(&target, INSPECT_CR2, 0x1234), 0);
    ck_assert_uint_eq(CPU->cr2, 0x1234);
    ck_assert_int_eq(target_write_register(&target, INSPECT_CR4, 1u << 31), -EINVAL);
    ck_assert_int_eq(target_write_register(&target, INSPECT_SEGMENT + SEG_CS, 8), -ENOTSUP);
    ck_assert_int_eq(target_write_register(&target, INSPECT_SEGMENT + SEG_DS, 0x1230), -EINVAL);
    ck_assert_int_eq(target_write_register(&target, INSPECT_SEGMENT + SEG_FS, 0), 0);
    ck_assert(!CPU->seg[SEG_FS].usable);
    ck_assert_int_eq(target_write_register(&target, INSPECT_REGISTERS, 0), -ENOTSUP);
    ck_assert_int_eq(target_write_register(&target, INSPECT_DR + 0, 0x1000), 0);
    ck_assert_uint_eq(CPU->dr[0], 0x1000);
    go_on();
    return unused;
}

START_TEST(registers_are_written_with_their_checks) {
    PUT_GUEST(CODE, registers);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(changes_registers), 0x15);
}
END_TEST

/* Vector registers: read as the guest left them, changed, and hostile images survived. */
GUEST(vectors, "mov $0x12345678, %eax; movd %eax, %xmm3; fninit; fld1; nop; movd %xmm3, %eax; shr "
               "$24, %eax;" STOP)

static void *changes_vectors(void *unused) {
    uint8_t image[TARGET_VECTOR_BYTES];
    uint32_t fip, value = 0x77000000;
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_breakpoint(&target, CODE + 13), 0);
    go_on();
    expect_stop(STOP_BREAKPOINT, CODE + 13);
    ck_assert_int_eq(target_save_vector(&target, image, &fip), 0);
    ck_assert_int_eq(memcmp(image + 160 + 3 * 16, "\x78\x56\x34\x12", 4), 0);
    ck_assert_int_eq(memcmp(image + 32, "\0\0\0\0\0\0\0\x80\xff\x3f", 10), 0);
    ck_assert_uint_eq(fip, CODE + 11);
    memcpy(image + 160 + 3 * 16, &value, 4);
    memset(image + 512, 0xff, 64); /* XSAVE's header */
    memset(image + 24, 0xff, 8);   /* MXCSR */
    ck_assert_int_eq(target_load_vector(&target, image), 0);
    ck_assert_int_eq(target_save_vector(&target, image, &fip), 0);
    ck_assert_uint_eq(fip, CODE + 11);
    go_on();
    return unused;
}

START_TEST(vector_state_is_read_and_written) {
    PUT_GUEST(CODE, vectors);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(changes_vectors), 0x77);
}
END_TEST

/* The guest's time: TSC before and behind a long stop. */
GUEST(timed, "rdtsc; mov %eax, %esi; mov %edx, %edi; nop; rdtsc; sub %esi, %eax; sbb %edi, %edx\n"
             "mov %eax, 0x300000; mov %edx, 0x300004;" STOP)

static void *takes_long(void *unused) {
    expect_stop(STOP_ASKED, CODE);
    ck_assert_int_eq(target_set_breakpoint(&target, CODE + 6), 0);
    go_on();
    expect_stop(STOP_BREAKPOINT, CODE + 6);
    usleep(500000);
    go_on();
    return unused;
}

START_TEST(clock_stands_still_while_stopped) {
    PUT_GUEST(CODE, timed);
    target.start_stopped = true;
    uint64_t real = clock_host_tsc(), before = clock_now(&m.clock);
    run_with(takes_long);
    real = clock_host_tsc() - real;
    uint64_t guest = (uint64_t)get32(DATA + 4) << 32 | get32(DATA),
             machine = clock_now(&m.clock) - before;
    ck_assert_uint_lt(guest, real - m.clock.tsc_hz / 2 + 1);
    ck_assert_uint_lt(machine,
                      400000000u + (real - m.clock.tsc_hz / 2) * 1000000000u / m.clock.tsc_hz);
}
END_TEST

/* More than there is room for, and what makes no sense. */
static void *asks_too_much(void *unused) {
    struct watchpoint w = {0, 4, WATCH_WRITE};
    expect_stop(STOP_ASKED, CODE);
    for (unsigned i = 0; i < INSPECTION_BREAKPOINTS_MAX; i++)
        ck_assert_int_eq(target_set_breakpoint(&target, 0x800000 + i), 0);
    ck_assert_int_eq(target_set_breakpoint(&target, 0x900000), -ENOSPC);
    for (unsigned i = 0; i < INSPECTION_WATCHPOINTS_MAX; i++) {
        w.address = DATA + 0x1000 * i - 1;
        ck_assert_int_eq(target_set_watchpoint(&target, &w), 0);
    }
    w.address = 0x900000;
    ck_assert_int_eq(target_set_watchpoint(&target, &w), -ENOSPC);
    w = (struct watchpoint){DATA - 1, 4, WATCH_WRITE};
    ck_assert_int_eq(target_clear_watchpoint(&target, &w), 0);
    w = (struct watchpoint){0xfffffffe, 4, WATCH_WRITE};
    ck_assert_int_eq(target_set_watchpoint(&target, &w), -EINVAL);
    w = (struct watchpoint){0xffff0000, 8192, WATCH_WRITE};
    ck_assert_int_eq(target_set_watchpoint(&target, &w), -EINVAL);
    w = (struct watchpoint){0x1000, 4, 9};
    ck_assert_int_eq(target_set_watchpoint(&target, &w), -EINVAL);
    go_on();
    return unused;
}

START_TEST(requests_beyond_the_limits_are_refused) {
    PUT_GUEST(CODE, walked);
    target.start_stopped = true;
    ck_assert_uint_eq(run_with(asks_too_much), 5);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("inspection");
    TCase *tcase = tcase_create("inspection");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_loop_test(tcase, pause_stands_still_and_goes_on, 0, ENGINE_VARIANTS);
    tcase_add_test(tcase, pause_comes_in_halt);
    tcase_add_loop_test(tcase, breakpoint_stops_each_time_before_its_instruction, 0,
                        ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, breakpoint_is_set_under_running_code, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, step_runs_one_instruction, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, step_runs_one_element_of_a_string, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, breakpoint_at_a_string_is_met_once, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, write_into_translated_code_is_seen, 0, ENGINE_VARIANTS);
    tcase_add_test(tcase, registers_are_written_with_their_checks);
    tcase_add_test(tcase, vector_state_is_read_and_written);
    tcase_add_test(tcase, clock_stands_still_while_stopped);
    tcase_add_test(tcase, requests_beyond_the_limits_are_refused);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
