/* What leads to a page of code: lists by page, linear page and code space, jump caches that two targets want
 * one slot of, and targets that a jump cache does not know; segments that are popped again and again. */
#include "tests/unit/engine_fixture.h"
#include "runtime/inspection.h"

#define PADS_PAGE 0x5000u
#define LINEAR 0x8048000u

static struct engine *e;

static void set_up(void) {
    struct arena *none = NULL;
    e = arena_reserve(none, sizeof *e);
    ck_assert_ptr_nonnull(e);
    e->fragments = arena_reserve(none, 4096 * sizeof *e->fragments);
    ck_assert_ptr_nonnull(e->fragments);
    ck_assert_int_eq(page_pads_init(e), 0);
}

static struct fragment *make(uint32_t index, gva_t linear, uint32_t mode) {
    struct fragment *f = &e->fragments[index];
    *f = (struct fragment){.gpa = PADS_PAGE + (linear & PAGE_MASK), .eip = linear, .pad = index, .code = 2 * index,
                           .fixed = PAD_UNFIXED, .space = {.mode = mode, .limit = UINT32_MAX}};
    page_pads_add(e, f);
    ck_assert(f->listed);
    return f;
}

static struct pad_view view_of(gva_t linear, uint32_t mode) {
    return (struct pad_view){PADS_PAGE >> PAGE_SHIFT, linear >> PAGE_SHIFT, {.mode = mode, .limit = UINT32_MAX}};
}

static unsigned count(gva_t linear, uint32_t mode) {
    const struct pad_view view = view_of(linear, mode);
    struct pad_chunk *chunk;
    unsigned found = 0;
    for (uint32_t at = page_pads_first(e, &view); (chunk = page_pads_next(e, &at, &view));)
        for (uint32_t i = 0; i < chunk->count; i++) {
            const struct fragment *f = &e->fragments[chunk->fragments[i]];
            ck_assert_uint_eq(f->eip >> PAGE_SHIFT, linear >> PAGE_SHIFT);
            ck_assert_uint_eq(f->space.mode, mode);
            found++;
        }
    return found;
}

START_TEST(lists_tell_linear_pages_and_spaces_apart) {
    for (uint32_t i = 0; i < 40; i++)
        make(1 + i, LINEAR + i * 4, 3);
    for (uint32_t i = 0; i < 7; i++)
        make(100 + i, LINEAR + i * 4, 7);
    for (uint32_t i = 0; i < 5; i++)
        make(200 + i, LINEAR + PAGE_SIZE + i * 4, 3);
    ck_assert_uint_eq(count(LINEAR, 3), 40);
    ck_assert_uint_eq(count(LINEAR, 7), 7);
    ck_assert_uint_eq(count(LINEAR + PAGE_SIZE, 3), 5);
    ck_assert_uint_eq(count(LINEAR + PAGE_SIZE, 7), 0);
}
END_TEST

/* A page of system calls stands elsewhere in each process: what one of them has is found without a look at the others. */
START_TEST(a_page_seen_in_many_ways_has_many_lists) {
    enum { VIEWS = 1000 };
    uint32_t longest = 0;
    for (uint32_t i = 0; i < VIEWS; i++)
        make(1 + i, LINEAR + i * PAGE_SIZE, 3);
    for (uint32_t i = 0; i < VIEWS; i++) {
        const struct pad_view view = view_of(LINEAR + i * PAGE_SIZE, 3);
        uint32_t length = 0;
        for (uint32_t at = page_pads_first(e, &view); at; at = e->pad_chunks[at].next)
            length++;
        longest = length > longest ? length : longest;
        ck_assert_uint_eq(count(LINEAR + i * PAGE_SIZE, 3), 1);
    }
    ck_assert_uint_le(longest, 4);
}
END_TEST

START_TEST(what_is_removed_gives_its_room_back) {
    for (unsigned round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 40; i++)
            make(1 + i, LINEAR + i * 4, 3);
        for (uint32_t i = 0; i < 40; i++) {
            struct fragment *f = &e->fragments[1 + (i * 7 + round) % 40];
            page_pads_remove(e, f);
            page_pads_remove(e, f); /* it is not there any more */
            ck_assert(!f->listed);
            ck_assert_uint_eq(count(LINEAR, 3), 39 - i);
        }
    }
    const struct pad_view view = view_of(LINEAR, 3);
    ck_assert_uint_eq(page_pads_first(e, &view), 0);
    ck_assert_uint_le(e->pad_chunk_next, 1 + 4);
}
END_TEST

START_TEST(reset_empties_all_lists) {
    for (uint32_t i = 0; i < 40; i++)
        make(1 + i, LINEAR + i * 4, 3);
    page_pads_reset(e);
    ck_assert_uint_eq(count(LINEAR, 3), 0);
    make(1, LINEAR, 3);
    ck_assert_uint_eq(count(LINEAR, 3), 1);
    ck_assert_uint_eq(e->pad_chunk_next, 2);
}
END_TEST

GUEST(calls_two, "xor %eax, %eax; mov $100, %ecx; 1: call *%esi; call *%edi; dec %ecx; jnz 1b\n" STOP)
GUEST(counts, "inc %eax; ret\n")

/* Not by a trip over the other's pad each time, which is a signal, nor by C. */
START_TEST(two_targets_of_one_slot_are_both_found) {
    uint32_t other = DATA + 16;
    engine_variant(_i);
    while (jump_cache_slot(other) != jump_cache_slot(DATA))
        other += 16;
    ck_assert_uint_lt(other, MACHINE_RAM - PAGE_SIZE);
    PUT_GUEST(CODE, calls_two);
    PUT_GUEST(DATA, counts);
    PUT_GUEST(other, counts);
    CPU->gpr[ESI] = DATA;
    CPU->gpr[EDI] = other;
    ck_assert_uint_eq(run_guest(), 200);
    if (_i)
        return;
    ck_assert_uint_le(m.counters.slots_contended, 1);
    ck_assert_uint_lt(m.counters.jump_cache_misses, 10);
}
END_TEST

static int by_number(const void *a, const void *b) {
    return (int)*(const uint32_t *)a - (int)*(const uint32_t *)b;
}

/* How many slots targets that lie `step` apart have, and how many lines of memory those lie in. */
static uint32_t slots_of(uint32_t from, uint32_t step, uint32_t targets, uint32_t *lines) {
    uint32_t *slots = calloc(targets, sizeof *slots), different = 1;
    ck_assert_ptr_nonnull(slots);
    for (uint32_t i = 0; i < targets; i++)
        slots[i] = jump_cache_slot(from + i * step);
    qsort(slots, targets, sizeof *slots, by_number);
    *lines = 1;
    for (uint32_t i = 1; i < targets; i++) {
        different += slots[i] != slots[i - 1];
        *lines += slots[i] / 8 != slots[i - 1] / 8;
    }
    free(slots);
    return different;
}

START_TEST(functions_that_lie_together_share_lines_and_no_slots) {
    uint32_t lines;
    ck_assert_uint_eq(slots_of(LINEAR + 0xd000, 256, 8192, &lines), 8192);
    ck_assert_uint_le(lines, 8192 / 8 + 1);
    ck_assert_uint_eq(slots_of(LINEAR + 0xd000, 256, 32768, &lines), 32768);
    ck_assert_uint_le(lines, 32768 / 8 + 1);
    for (uint32_t step = 1; step <= 64; step *= 2) /* nobody contends for 64 KiB of code */
        ck_assert_uint_eq(slots_of(LINEAR & 0xffff0000, step, 65536 / step, &lines), 65536 / step);
}
END_TEST

GUEST(calls_many, "xor %eax, %eax; 1: call *%esi; add %edx, %esi; dec %ecx; jnz 1b\n" STOP)
GUEST(counts_twice, "inc %eax; jmp 1f; nop; 1: inc %eax; ret\n")

/* Where the guest's compiler has aligned a function to a line of the caches, its pad stands at a line's start. */
START_TEST(functions_at_the_start_of_a_line_stay_there) {
    const uint32_t functions = 100, step = 64 + (uint32_t)_i;
    PUT_GUEST(CODE, calls_many);
    for (uint32_t i = 0; i < functions; i++)
        PUT_GUEST(DATA + i * step, counts_twice);
    CPU->gpr[ESI] = DATA;
    CPU->gpr[EDX] = step;
    CPU->gpr[ECX] = functions;
    ck_assert_uint_eq(run_guest(), 2 * functions);
    const struct code_space space = code_space_of(CPU);
    uint32_t others = 0;
    for (uint32_t i = 0; i < functions; i++) {
        uint32_t at = DATA + i * step;
        const struct fragment *f = fragment_find(V->engine, at, at, &space);
        if (!f) /* it goes on in the next page */
            continue;
        ck_assert_uint_gt(f->pad, 0);
        if (at % 64 == 0)
            ck_assert_uint_eq(f->pad % 64, 0);
        else
            others += f->pad % 64 != 0;
    }
    ck_assert_uint_ge(others, _i ? functions / 2 : 0); /* room is not wasted on those */
}
END_TEST

GUEST(calls_one, "call *%esi\n" STOP)

/* A jump cache that knows nothing any more, as that of a new address space. */
START_TEST(what_is_there_already_is_entered_without_the_run_loop) {
    PUT_GUEST(CODE, calls_one);
    PUT_GUEST(DATA, counts);
    CPU->gpr[ESI] = DATA;
    ck_assert_uint_eq(run_guest(), 1);
    struct engine *engine = V->engine;
    uint64_t *slot = (uint64_t *)(uintptr_t)CPU->jump_cache + jump_cache_slot(DATA);
    uint32_t hits = (uint32_t)m.counters.lookup_hits;
    CPU->eip = DATA;
    V->exit = EXIT_NONE;
    CPU->attention = 0;
    attention_open_poll(engine);
    jump_caches_forget_window(engine, WINDOW_SUPERVISOR);
    ck_assert_uint_eq(*slot, (uint64_t)(uintptr_t)stub_miss);
    const uint8_t *code = engine_missed(V);
    ck_assert_ptr_nonnull(code);
    ck_assert_uint_eq(m.counters.lookup_hits, hits + 1);
    struct fragment *f = fragment_at(engine, (uintptr_t)code);
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(f->eip, DATA);
    ck_assert_uint_eq(*slot, fragment_pad(V, f));
}
END_TEST

/* Whatever the run loop has to look at is not gone past. */
START_TEST(the_run_loop_is_not_left_out) {
    PUT_GUEST(CODE, calls_one);
    PUT_GUEST(DATA, counts);
    CPU->gpr[ESI] = DATA;
    ck_assert_uint_eq(run_guest(), 1);
    struct engine *engine = V->engine;
    CPU->eip = DATA;
    V->exit = EXIT_NONE;
    CPU->attention = 0;
    attention_open_poll(engine);
    uint32_t mode = CPU->mode;
    CPU->attention = _i == 0;
    CPU->interrupt_shadow = _i == 1;
    CPU->mode_dirty = _i == 2;
    CPU->halted = _i == 3;
    CPU->mode |= _i == 4 ? MODE_TF : _i == 5 ? MODE_DEBUG : 0;
    engine->flush_cache = _i == 6;
    engine->part_full = _i == 7;
    engine->sync_wanted = _i == 8;
    engine->poll_closed = _i == 9;
    engine->options.no_chain = _i == 10;
    engine->options.no_jump_cache = _i == 11;
    engine->options.no_reuse = _i == 12;
    V->exit = _i == 13 ? EXIT_QUIT : EXIT_NONE;
    if (_i == 14)
        ck_assert_ptr_nonnull(engine_missed(V));
    else
        ck_assert_ptr_null(engine_missed(V));
    CPU->mode = mode;
}
END_TEST

/* What nobody knows is made at once, with its pad, but where the run loop has more to do: to open a part, to look at
 * breakpoints, to deliver what a fetch raises. */
START_TEST(what_is_not_known_is_made_at_once) {
    static struct inspection watched = {.breakpoint_count = 1};
    PUT_GUEST(CODE, calls_one);
    PUT_GUEST(DATA, counts);
    CPU->gpr[ESI] = DATA;
    ck_assert_uint_eq(run_guest(), 1);
    struct engine *engine = V->engine;
    struct cache_part *part = engine->part;
    uint32_t made = part->fragments.used, free = part->code.used;
    CPU->eip = DATA + 1; /* in the middle of an instruction */
    V->exit = EXIT_NONE;
    CPU->attention = 0;
    attention_open_poll(engine);
    if (_i == 1)
        part->code.used = part->lowest - 1000;
    if (_i == 2)
        V->inspection = &watched;
    if (_i == 3)
        CPU->eip = UINT32_MAX; /* no memory */
    const uint8_t *code = engine_missed(V);
    ck_assert_uint_eq(code != NULL, _i == 0);
    ck_assert_uint_eq(part->fragments.used - made, _i == 0);
    if (_i == 0) {
        struct fragment *f = fragment_at(engine, (uintptr_t)code);
        ck_assert_uint_eq(f->eip, DATA + 1);
        ck_assert_uint_ge(f->pad, free); /* nobody overwrites: it lies behind the others, */
        ck_assert_uint_eq(part->code.used, (f->code + f->code_len + 3u) & ~3u);
        for (uint32_t i = part->fragments.start; i < part->fragments.used; i++) { /* and each is found */
            const struct fragment *other = &engine->fragments[i];
            uintptr_t at = (uintptr_t)engine->cache_exec + other->code;
            ck_assert(other == f || other->code < f->code);
            ck_assert_ptr_eq(fragment_at(engine, at), other);
            ck_assert_ptr_eq(fragment_at(engine, at + other->code_len - 1), other);
        }
        ck_assert_uint_eq(*((uint64_t *)(uintptr_t)CPU->jump_cache + jump_cache_slot(DATA + 1)), fragment_pad(V, f));
    }
    part->code.used = free;
    V->inspection = NULL;
}
END_TEST

#define TARGETS 5u
GUEST(calls_row, "mov $5, %ecx; 1: call *%esi; add $16, %esi; dec %ecx; jnz 1b\n" STOP)

static uint64_t *slot_of(uint32_t target) { return (uint64_t *)(uintptr_t)CPU->jump_cache + jump_cache_slot(target); }

static unsigned entered(void) {
    unsigned found = 0;
    for (uint32_t i = 0; i < TARGETS; i++)
        found += *slot_of(DATA + 16 * i) != (uint64_t)(uintptr_t)stub_miss;
    return found;
}

/* Functions in a row on one page, which two tables have led to: the kernel's and, now current and empty, that of
 * an address space. */
static struct fragment *make_shared(void) {
    struct engine *engine = V->engine;
    PUT_GUEST(CODE, calls_row);
    for (uint32_t i = 0; i < TARGETS; i++)
        PUT_GUEST(DATA + 16 * i, counts);
    CPU->gpr[ESI] = DATA;
    ck_assert_uint_eq(run_guest(), TARGETS);
    uint64_t *kernels = (uint64_t *)(uintptr_t)CPU->jump_cache;
    struct fragment *first = fragment_at(engine, (uintptr_t)*slot_of(DATA));
    ck_assert_ptr_nonnull(first);
    struct fragment *all[TARGETS];
    for (uint32_t i = 0; i < TARGETS; i++)
        ck_assert_ptr_nonnull(all[i] = fragment_at(engine, (uintptr_t)*slot_of(DATA + 16 * i)));
    CPU->jump_cache = (uint64_t)(uintptr_t)jump_cache_get(V, 1, &first->space);
    ck_assert_ptr_ne((uint64_t *)(uintptr_t)CPU->jump_cache, kernels);
    for (uint32_t i = 0; i < TARGETS; i++)
        jump_cache_set(V, all[i]);
    ck_assert_uint_eq(entered(), TARGETS);
    jump_caches_forget_window(engine, 1);
    ck_assert_uint_eq(entered(), 0);
    return first;
}

static uint32_t miss_at(gva_t linear, const struct code_space *space, uint32_t eip) {
    const struct pad_view view = {DATA >> PAGE_SHIFT, linear >> PAGE_SHIFT, *space};
    return jump_cache_enter_page(V, &view, eip);
}

static uint32_t miss(const struct fragment *f, uint32_t eip) { return miss_at(DATA, &f->space, eip); }

START_TEST(a_page_is_entered_at_its_first_miss) {
    struct fragment *f = make_shared();
    ck_assert_uint_eq(miss(f, DATA), f->code);
    ck_assert_uint_eq(entered(), TARGETS);
    ck_assert_uint_eq(*slot_of(DATA), fragment_pad(V, f));
    jump_caches_unmapped(V->engine, 1, DATA >> PAGE_SHIFT, DATA);
    ck_assert_uint_eq(entered(), 0);
    fragment_forget(V, f); /* nothing leads to what is gone */
    ck_assert_uint_eq(miss(f, DATA), 0);
    ck_assert_uint_eq(entered(), TARGETS - 1);
}
END_TEST

/* Then the table has something all the same, which goes with the page. */
START_TEST(a_miss_of_what_is_not_known_enters_the_page_too) {
    struct fragment *f = make_shared();
    ck_assert_uint_eq(miss(f, DATA + 1), 0);
    ck_assert_uint_eq(entered(), TARGETS);
    jump_caches_unmapped(V->engine, 1, DATA >> PAGE_SHIFT, DATA);
    ck_assert_uint_eq(entered(), 0);
}
END_TEST

START_TEST(pages_seen_elsewhere_are_not_entered) {
    struct fragment *f = make_shared();
    struct code_space other = f->space;
    other.mode ^= MODE_CODE16;
    ck_assert_uint_eq(miss_at(DATA, &other, DATA), 0);
    ck_assert_uint_eq(miss_at(DATA + PAGE_SIZE, &f->space, DATA), 0);
    ck_assert_uint_eq(entered(), 0);
}
END_TEST

/* In a later table of an address space it is not found out again, by a signal; the kernel's finds its own. */
START_TEST(a_slot_that_was_contended_is_so_from_the_start) {
    struct fragment *f = make_shared();
    uint64_t contended = (uint64_t)(uintptr_t)stub_contended;
    jump_cache_contend(V, DATA);
    jump_caches_forget_window(V->engine, 1);
    ck_assert_uint_eq(miss(f, DATA), 0); /* the victims need to know it */
    jump_cache_set(V, f);
    ck_assert_uint_eq(*slot_of(DATA), contended);
    CPU->jump_cache = (uint64_t)(uintptr_t)jump_cache_get(V, WINDOW_SUPERVISOR, &f->space);
    jump_caches_forget_window(V->engine, WINDOW_SUPERVISOR);
    jump_cache_set(V, f);
    ck_assert_uint_ne(*slot_of(DATA), contended);
}
END_TEST

#define TABLE 0x280000u /* a GDT */

GUEST(pops, "lgdt (%esi); mov $1000, %ecx; 1: push %edx; pop %ds; push %edx; pop %es; dec %ecx; jnz 1b\n" STOP)

/* And what they were loaded from is forgotten when that may be another page, and only then. */
START_TEST(pops_of_what_a_segment_holds_are_no_callouts) {
    const uint64_t data = 0x00cf93000000ffffull;
    const struct __attribute__((packed)) {
        uint16_t limit;
        uint32_t base;
    } table = {31, TABLE};
    PUT_GUEST(CODE, pops);
    put(DATA, &table, sizeof table);
    put(TABLE + 16, &data, sizeof data);
    CPU->gpr[ESI] = DATA;
    CPU->gpr[EDX] = 0xabcd0010;
    run_guest();
    ck_assert_uint_eq(CPU->gpr[ESP], STACK);
    ck_assert_uint_lt(CPU->callout_counts[CALLOUT_pop_seg], 8);
    const uint64_t none = (uint64_t)(uintptr_t)&CPU->no_descriptor, *at = &CPU->loaded[SEG_DS].at;
    ck_assert_uint_ne(*at, none);
    guest_tlb_flush_page(V, CODE + (16u << 20)); /* unpaged memory is as large pages */
    ck_assert_uint_ne(*at, none);
    V->engine->loaded_global = true;
    guest_tlb_flush(V, false);
    ck_assert_uint_ne(*at, none);
    guest_tlb_flush_page(V, TABLE);
    ck_assert_uint_eq(*at, none);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("page_pads");
    TCase *lists = tcase_create("lists"), *slots = tcase_create("slots");
    tcase_add_checked_fixture(lists, set_up, NULL);
    tcase_add_test(lists, lists_tell_linear_pages_and_spaces_apart);
    tcase_add_test(lists, a_page_seen_in_many_ways_has_many_lists);
    tcase_add_test(lists, what_is_removed_gives_its_room_back);
    tcase_add_test(lists, reset_empties_all_lists);
    tcase_add_checked_fixture(slots, machine_set_up, NULL);
    tcase_add_loop_test(slots, two_targets_of_one_slot_are_both_found, 0, ENGINE_VARIANTS);
    tcase_add_test(slots, what_is_there_already_is_entered_without_the_run_loop);
    tcase_add_test(lists, functions_that_lie_together_share_lines_and_no_slots);
    tcase_add_loop_test(slots, functions_at_the_start_of_a_line_stay_there, 0, 3);
    tcase_add_loop_test(slots, the_run_loop_is_not_left_out, 0, 15);
    tcase_add_loop_test(slots, what_is_not_known_is_made_at_once, 0, 4);
    tcase_add_test(slots, a_page_is_entered_at_its_first_miss);
    tcase_add_test(slots, a_miss_of_what_is_not_known_enters_the_page_too);
    tcase_add_test(slots, pages_seen_elsewhere_are_not_entered);
    tcase_add_test(slots, a_slot_that_was_contended_is_so_from_the_start);
    tcase_add_test(slots, pops_of_what_a_segment_holds_are_no_callouts);
    suite_add_tcase(suite, lists);
    suite_add_tcase(suite, slots);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
