/* Guests that write code again and again, one function behind the other: sweeps (runtime/sweeps.c), the clean range,
 * operands on two pages (page_pairs.c), parts of the cache that are used again, and returns past killed code. */
#include "tests/unit/engine_fixture.h"

#define ARENA 0x400000u
#define ARENA_BYTES 0x8000u
#define FUNCTIONS 40960u

/* MOV imm32, NOPs, RET; the callers add up what they return in EDX. */
GUEST(compiles,
      "mov $0x400000, %edi; mov $40960, %ecx; xor %edx, %edx\n"
      "1: movb $0xb8, (%edi); mov %ecx, 1(%edi); movl $0x90909090, 5(%edi); movb $0xc3, 9(%edi)\n"
      "call *%edi; add %eax, %edx; call *%edi; add %eax, %edx\n"
      "add $16, %edi; cmp $0x408000, %edi; jb 2f; mov $0x400000, %edi\n"
      "2: dec %ecx; jnz 1b\n" STOP)

static void check_sum(void) { ck_assert_uint_eq(CPU->gpr[EDX], FUNCTIONS * (FUNCTIONS + 1)); }

START_TEST(functions_over_old_ones_are_the_new_ones) {
    engine_variant(_i);
    PUT_GUEST(CODE, compiles);
    run_guest();
    check_sum();
}
END_TEST

/* Most writes need neither C nor a signal, and the code goes by the page. */
START_TEST(sweeps_spare_callouts) {
    PUT_GUEST(CODE, compiles);
    run_guest();
    check_sum();
    ck_assert_uint_gt(m.counters.invalidate_write, FUNCTIONS / 2);
    ck_assert_uint_lt(CPU->callout_counts[CALLOUT_reach], FUNCTIONS / 4);
    ck_assert_uint_lt(m.counters.one_shots, 64);
    ck_assert_uint_lt(m.counters.lookup_misses, FUNCTIONS + FUNCTIONS / 8);
}
END_TEST

/* Of what is dead, parts are used again; most of the cache is never touched. */
START_TEST(spent_parts_are_used_again) {
    PUT_GUEST(CODE, compiles);
    run_guest();
    check_sum();
    unsigned opened = 0;
    for (unsigned i = 0; i < V->engine->part_count; i++)
        opened += V->engine->parts[i].opened != 0;
    ck_assert_uint_gt(V->engine->part_count, 64);
    ck_assert_uint_gt(m.counters.parts_evicted, 4);
    ck_assert_uint_lt(opened, 16);
    ck_assert_uint_lt(m.counters.fragments_evicted, FUNCTIONS / 16);
}
END_TEST

/* The newest fragment of such a part lies lowest, and each is found by any byte of it; late code is nobody's. Functions that
 * will be overwritten start a line of the host's caches each, so that none is written in a line that has run. */
START_TEST(new_fragments_lie_before_old_ones) {
    PUT_GUEST(CODE, compiles);
    run_guest();
    struct engine *engine = V->engine;
    const struct cache_part *part = engine->part;
    uint32_t above = part->code.end, aligned = 0, made = part->fragments.used - part->fragments.start;
    uintptr_t exec = (uintptr_t)engine->cache_exec;
    ck_assert_uint_gt(made, 16);
    ck_assert(part->goes_down);
    for (uint32_t i = part->fragments.start; i < part->fragments.used; i++) {
        const struct fragment *f = &engine->fragments[i];
        ck_assert_uint_le(f->code + f->code_len, above);
        ck_assert_ptr_eq(fragment_at(engine, exec + f->code), f);
        ck_assert_ptr_eq(fragment_at(engine, exec + f->code + f->code_len - 1), f);
        if (f->code + f->code_len < above)
            ck_assert_ptr_null(fragment_at(engine, exec + f->code + f->code_len));
        above = f->pad && f->pad < f->code ? f->pad : f->code;
        aligned += above % 64 == 0;
    }
    ck_assert_uint_eq(part->lowest, above);
    ck_assert_uint_gt(aligned, made / 2);
    ck_assert_uint_ge(part->lowest, part->code.used);
    ck_assert_ptr_null(fragment_at(engine, exec + part->code.start));
}
END_TEST

/* Behind a sweep the rest of the page is written without a look; what becomes code there is looked for. */
GUEST(writes_again,
      "mov $0x400000, %edi; mov $4096, %ecx; xor %edx, %edx\n"
      "1: movb $0xb8, (%edi); mov %ecx, 1(%edi); movb $0xc3, 5(%edi); call *%edi; add %eax, %edx\n"
      "lea 1(%ecx), %eax; mov %eax, 1(%edi); call *%edi; add %eax, %edx\n"
      "movb $0x05, (%edi); mov $5, %eax; call *%edi; add %eax, %edx\n" /* add $imm, %eax */
      "cmp $0x400800, %edi; jne 3f;" PROBE "3: add $16, %edi; cmp $0x402000, %edi; jb 2f; mov $0x400000, %edi\n"
      "2: dec %ecx; jnz 1b\n" STOP)

static unsigned clean, probes;

GENERAL_REGS static void look_at_range(uint32_t value) {
    (void)value;
    probes++;
    clean += CPU->clean_len != 0;
}

START_TEST(code_in_the_clean_range_is_seen) {
    engine_variant(_i);
    m.probe = look_at_range;
    clean = probes = 0;
    PUT_GUEST(CODE, writes_again);
    run_guest();
    uint32_t sum = 0;
    for (uint32_t i = 4096; i; i--)
        sum += i + (i + 1) + (5 + i + 1);
    ck_assert_uint_eq(CPU->gpr[EDX], sum);
    ck_assert_uint_eq(probes, 8);
    if (!_i)
        ck_assert_uint_ge(clean, 1);
}
END_TEST

#define SPACE 0x10000u
#define ENTER_PAGING "mov $0x10000, %eax; mov %eax, %cr3; mov %cr0, %eax; or $0x80010000, %eax; mov %eax, %cr0\n"

/* 0x400000 to 0x40ffff lead to frames from the last to the first. */
static void make_space(void) {
    put32(SPACE, 0 | PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D);
    put32(SPACE + 4, (SPACE + PAGE_SIZE) | PTE_P | PTE_W);
    for (unsigned i = 0; i < 16; i++)
        put32(SPACE + PAGE_SIZE + i * 4, (0x600000 + (15 - i) * PAGE_SIZE) | PTE_P | PTE_W);
}

/* In the middle of a page it gets another frame. */
GUEST(moves_page,
      ENTER_PAGING "mov $0x400000, %edi; mov $4096, %ecx; xor %edx, %edx; mov $0x60f003, %esi\n"
                   "1: movb $0xb8, (%edi); mov %ecx, 1(%edi); movb $0xc3, 5(%edi); call *%edi; add %eax, %edx\n"
                   "add $16, %edi; cmp $0x400800, %edi; jne 3f\n" PROBE
                   "xor $0x10000, %esi; mov %esi, 0x11000; invlpg 0x400000\n"
                   "3: cmp $0x402000, %edi; jb 2f; mov $0x400000, %edi\n"
                   "2: dec %ecx; jnz 1b\n" STOP)

START_TEST(flush_ends_the_clean_range) {
    engine_variant(_i);
    m.probe = look_at_range;
    clean = probes = 0;
    make_space();
    PUT_GUEST(CODE, moves_page);
    run_guest();
    ck_assert_uint_eq(CPU->gpr[EDX], 4096 * 4097 / 2);
    ck_assert_uint_eq(probes, 8);
    if (!_i)
        ck_assert_uint_ge(clean, 1);
}
END_TEST

/* Both pages have code, which is called each time. */
GUEST(crosses,
      ENTER_PAGING "mov $0xc3, %al; mov %al, 0x400800; mov %al, 0x401800; mov $4000, %ecx; xor %edx, %edx\n"
                   "1: mov $0x400800, %ebx; call *%ebx; add $0x1000, %ebx; call *%ebx\n"
                   "mov %ecx, 0x400ffe; add 0x400ffe, %edx; dec %ecx; jnz 1b\n" STOP)

START_TEST(operands_on_two_pages_of_code_do_not_fault) {
    engine_variant(_i);
    make_space();
    PUT_GUEST(CODE, crosses);
    run_guest();
    ck_assert_uint_eq(CPU->gpr[EDX], 4000 * 4001 / 2);
    ck_assert_uint_eq(m.ram.base[0x60fffe], 1);
    ck_assert_uint_eq(m.ram.base[0x60e000], 0);
    if (!_i)
        ck_assert_uint_lt(m.counters.one_shots, 64);
}
END_TEST

/* The second page goes elsewhere, then away: the write is seen there, and nothing is written before #PF. */
GUEST(crosses_elsewhere,
      ENTER_PAGING "mov $0xc3, %al; mov %al, 0x400800; mov %al, 0x401800; mov $200, %ecx; mov $0x11223344, %edx\n"
                   "1: mov $0x400800, %ebx; call *%ebx; add $0x1000, %ebx; call *%ebx\n"
                   "cmp $100, %ecx; jne 2f; movl $0x620003, 0x11004; invlpg 0x401000; movb $0xc3, 0x401800; 2:\n"
                   "mov %edx, 0x400ffe; dec %ecx; jnz 1b\n"
                   "movl $0, 0x11004; invlpg 0x401000; movl $0x55667788, 0x400ffe\n" STOP)

START_TEST(operands_on_two_pages_follow_the_tables) {
    make_space();
    PUT_GUEST(CODE, crosses_elsewhere);
    ck_assert_int_eq(engine_run(V, &m.options), 0);
    ck_assert_int_eq(V->exit, EXIT_TRIPLE_FAULT);
    ck_assert_uint_eq(CPU->cr2, 0x401000);
    const uint8_t low[] = {0x44, 0x33}, high[] = {0x22, 0x11};
    ck_assert_mem_eq(m.ram.base + 0x60fffe, low, 2);
    ck_assert_mem_eq(m.ram.base + 0x60e000, high, 2);
    ck_assert_mem_eq(m.ram.base + 0x620000, high, 2);
}
END_TEST

/* A callee overwrites code that is called, but not what it returns to. */
GUEST(overwrites_beside,
      "mov $200, %ecx; 1: call 3f; dec %ecx; jnz 1b;" STOP "3: call 4f; ret\n"
      "4: movb $0xb8, 0x400000; mov %ecx, 0x400001; movb $0xc3, 0x400005; mov $0x400000, %ebx; call *%ebx\n" PROBE "ret")

static unsigned kept;

GENERAL_REGS static void look_at_returns(uint32_t value) {
    (void)value;
    kept += CPU->return_rsp + 2 * sizeof(uint64_t) <= V->engine->return_base[0] && !V->engine->returns_stale;
}

START_TEST(returns_past_killed_code_are_kept) {
    m.probe = look_at_returns;
    kept = 0;
    PUT_GUEST(CODE, overwrites_beside);
    run_guest();
    ck_assert_uint_gt(m.counters.invalidate_write, 100);
    ck_assert_uint_gt(kept, 150);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("overwritten code");
    TCase *tcase = tcase_create("overwritten code");
    tcase_set_timeout(tcase, 20);
    tcase_add_checked_fixture(tcase, machine_set_up, NULL);
    tcase_add_loop_test(tcase, functions_over_old_ones_are_the_new_ones, 0, ENGINE_VARIANTS);
    tcase_add_test(tcase, sweeps_spare_callouts);
    tcase_add_test(tcase, spent_parts_are_used_again);
    tcase_add_test(tcase, new_fragments_lie_before_old_ones);
    tcase_add_loop_test(tcase, code_in_the_clean_range_is_seen, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, flush_ends_the_clean_range, 0, ENGINE_VARIANTS);
    tcase_add_loop_test(tcase, operands_on_two_pages_of_code_do_not_fault, 0, ENGINE_VARIANTS);
    tcase_add_test(tcase, operands_on_two_pages_follow_the_tables);
    tcase_add_test(tcase, returns_past_killed_code_are_kept);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
