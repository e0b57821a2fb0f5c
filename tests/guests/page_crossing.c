/* Data and instructions over a page's end: right when both pages are there; exact EIP, CR2 and
 * error code, and nothing written, when the second is not. */
#include "tests/guests/stage.h"

SNIPPET(load, "nop; mov (%ebx), %eax" DONE);
SNIPPET(store, "nop; mov %eax, (%ebx)" DONE);
SNIPPET(modify, "nop; addl $1, (%ebx)" DONE);
SNIPPET(exchange8, "nop; cmpxchg8b (%ebx)" DONE);
SNIPPET(store_quad, "nop; fistpll (%ebx)" DONE);
SNIPPET(load_word, "nop; movzwl (%ebx), %eax" DONE);
SNIPPET(long_move, "mov $0x12345678, %eax" DONE);
SNIPPET(increment, "inc %eax" DONE);
SNIPPET(prefixed,
        ".byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e; mov $7, %eax" DONE);
SNIPPET(
    too_long,
    ".byte 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e, 0x2e; mov $7, %eax" DONE);

struct access {
    const char *name;
    const uint8_t *code, *end;
    uint32_t size;
    uint32_t error;
    bool tcg_differs;
};
#define ROW(name) name, name##_end
static const struct access accesses[] = {
    {"load", ROW(load), 4, PF_USER},
    {"load-word", ROW(load_word), 2, PF_USER},
    {"store", ROW(store), 4, PF_USER | PF_WRITE},
    /* TCG reads before it writes and reports a read. */
    {"modify", ROW(modify), 4, PF_USER | PF_WRITE, true},
    {"cmpxchg8b", ROW(exchange8), 8, PF_USER | PF_WRITE, true},
    {"fistp", ROW(store_quad), 8, PF_USER | PF_WRITE},
};

static void fill(void) {
    for (uint32_t i = 0; i < 16; i++)
        *byte_at(HOLE - 16 + i) = *byte_at(AFTER + i) = (uint8_t)(0xa0 + i);
}

static bool unchanged(void) {
    for (uint32_t i = 0; i < 16; i++)
        if (*byte_at(HOLE - 16 + i) != 0xa0 + i || *byte_at(AFTER + i) != 0xa0 + i)
            return false;
    return true;
}

/* `back` bytes of the operand stand before the border at `border`. */
static void try_access(const struct access *a, uint32_t border, uint32_t back, uint32_t cr2) {
    fill();
    struct machine m = stage_at(3, CODE, a->code, (uint32_t)(a->end - a->code));
    m.ebx = border - back;
    guest_run(&m);
    (a->tcg_differs ? check_trap_unless_tcg : check_trap)(a->name, &m, VECTOR_PF, a->error,
                                                          CODE + 1);
    check("cr2", cr2, m.cr2);
    check_true("nothing-written", unchanged());
}

static void data_faults(void) {
    __asm__ volatile("fninit; fld1");
    for (unsigned i = 0; i < sizeof accesses / sizeof *accesses; i++) {
        check_variant("into-hole");
        try_access(accesses + i, HOLE, 1, HOLE);
        try_access(accesses + i, HOLE, accesses[i].size - 1, HOLE);
        check_variant("out-of-hole");
        try_access(accesses + i, AFTER, 1, AFTER - 1);
        try_access(accesses + i, AFTER, accesses[i].size - 1, AFTER - accesses[i].size + 1);
    }
    check_variant(NULL);
}

/* Two pages side by side in the guest's space, far apart and in reverse order in memory. */
static void data_across(void) {
    uint32_t second = page_take(), gap = page_take(), first = page_take();
    (void)gap;
    stage_map(PROBE, first, USER_PAGE);
    stage_map(PROBE + PAGE_SIZE, second, USER_PAGE);
    *word_at(PROBE + PAGE_SIZE - 2) = 0x11223344;
    check("across.first", 0x3344, *(volatile uint16_t *)(first + PAGE_SIZE - 2));
    check("across.second", 0x1122, *(volatile uint16_t *)second);
    struct machine m = STAGE(3, modify);
    m.ebx = PROBE + PAGE_SIZE - 2;
    guest_run(&m);
    check("across.modified", 0x11223345, *word_at(PROBE + PAGE_SIZE - 2));
    __asm__ volatile("lock incl %0" : "+m"(*word_at(PROBE + PAGE_SIZE - 1)));
    check("across.locked", 0x00112234, *word_at(PROBE + PAGE_SIZE - 1));
}

static void code_across(const uint8_t *code, uint32_t size, uint32_t back, uint32_t eax) {
    struct machine m = stage_at(3, CODE2 - back, code, size);
    guest_run(&m);
    check_trap("code.runs", &m, VECTOR_DONE, 0, CODE2 - back + size);
    check("code.result", eax, m.eax);
    uint32_t page = *space_entry(&stage, CODE2) & ~0xfffu;
    stage_map(CODE2, page, 0);
    m.eax = 0;
    m.eip = CODE2 - back;
    guest_run(&m);
    check_trap("code.absent", &m, VECTOR_PF, PF_USER, CODE2 - back);
    check("code.absent.cr2", CODE2, m.cr2);
    check("code.absent.no-effect", 0, m.eax);
    stage_map(CODE2, page, USER_PAGE);
    guest_run(&m);
    check_trap("code.resumed", &m, VECTOR_DONE, 0, CODE2 - back + size);
    check("code.resumed.result", eax, m.eax);
}

/* The first instruction ends exactly at the border: it has its effect, the next one faults. */
static void code_up_to_border(void) {
    struct machine m = stage_at(3, CODE2 - 1, increment, SNIPPET_SIZE(increment));
    uint32_t page = *space_entry(&stage, CODE2) & ~0xfffu;
    stage_map(CODE2, page, 0);
    guest_run(&m);
    check_trap("border.next-faults", &m, VECTOR_PF, PF_USER, CODE2);
    check("border.first-done", 1, m.eax);
    stage_map(CODE2, page, USER_PAGE);
}

/* Across the end of the linear address space an operand goes on at 0 (more in address_wrap.c). */
static void across_four_gib(void) {
    uint32_t top = 0u - PAGE_SIZE;
    stage_map(top, page_take(), USER_PAGE);
    stage_map(0, page_take(), USER_PAGE);
    for (unsigned i = 0; i < sizeof accesses / sizeof accesses[0]; i++) {
        const struct access *a = &accesses[i];
        struct machine m = stage_at(3, CODE, a->code, (uint32_t)(a->end - a->code));
        m.ebx = 0u - a->size / 2;
        guest_run(&m);
        check_trap("four-gib", &m, VECTOR_DONE, 0, CODE + (uint32_t)(a->end - a->code));
    }
    stage_map(top, 0, 0);
    stage_map(0, 0, KERNEL_PAGE);
}

void guest_main(void) {
    stage_start();
    data_faults();
    data_across();
    for (uint32_t back = 1; back < 5; back++)
        code_across(long_move, SNIPPET_SIZE(long_move), back, 0x12345678);
    code_across(prefixed, SNIPPET_SIZE(prefixed), 9, 7);
    code_up_to_border();
    across_four_gib();
    struct machine m = STAGE_RUN(3, prefixed);
    check_trap("length-15", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(prefixed));
    m = STAGE_RUN(3, too_long);
    check_trap("length-16", &m, VECTOR_GP, 0, CODE);
    check_finish("page_crossing");
}
