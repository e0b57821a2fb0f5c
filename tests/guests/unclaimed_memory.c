/* Physical addresses with neither RAM nor a device: reads are all ones, writes vanish, whatever the
 * instruction, through whichever window its site reaches memory, and with both operands there. */
#include "tests/guests/stage.h"

enum { UNCLAIMED = 0x7f000000, PAGES = 4, CODE_COPY = CODE2 + 0x100, FRESH_CODE = CODE2 + 0x400 };

SNIPPET(load, "mov (%esi), %eax" DONE);
SNIPPET(store, "mov %eax, (%edi)" DONE);
SNIPPET(add, "add %eax, (%edi)" DONE);
SNIPPET(move, "movsl" DONE);
SNIPPET(move_many, "rep movsl" DONE);
SNIPPET(compare, "repe cmpsb" DONE);
SNIPPET(push_pop, "push (%esi); pop (%edi)" DONE);
SNIPPET(vector, "movups (%esi), %xmm0; movups %xmm0, (%edi)" DONE);

static struct machine run(unsigned ring, const uint8_t *code, uint32_t size, uint32_t from,
                          uint32_t to, uint32_t count) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.esi = from, m.edi = to, m.ecx = count, m.eax = 0x12345678;
    guest_run(&m);
    check("runs-to-its-end", VECTOR_DONE, m.vector);
    return m;
}
#define RUN(name, from, to, count) run(ring, name, SNIPPET_SIZE(name), from, to, count)

static void simple_accesses(unsigned ring) {
    check("load", 0xffffffff, RUN(load, PROBE, 0, 0).eax);
    check("load-across-pages", 0xffffffff, RUN(load, PROBE + PAGE_SIZE - 2, 0, 0).eax);
    RUN(store, 0, PROBE, 0);
    check("store-vanishes", 0xffffffff, RUN(load, PROBE, 0, 0).eax);
    RUN(store, 0, PROBE + PAGE_SIZE - 1, 0);
    check("add-sees-ones", FLAG_CF, RUN(add, 0, PROBE, 0).eflags & FLAG_CF);
    *word_at(DATA) = 0;
    RUN(load, DATA, 0, 0); /* RAM again */
    check("store-beside", 0x12345678, (RUN(store, 0, DATA, 0), *word_at(DATA)));
}

static void two_operands(unsigned ring) {
    struct machine m = RUN(move, PROBE, PROBE + 2 * PAGE_SIZE, 0);
    check("string.esi", PROBE + 4, m.esi);
    check("string.edi", PROBE + 2 * PAGE_SIZE + 4, m.edi);
    RUN(move, PROBE + PAGE_SIZE - 1, PROBE + 3 * PAGE_SIZE - 3, 0); /* four pages */
    m = RUN(move_many, PROBE, PROBE + PAGE_SIZE + 2, 3 * PAGE_SIZE / 4 - 8);
    check("long-string.ecx", 0, m.ecx);
    m = RUN(compare, PROBE, PROBE + PAGE_SIZE - 5, 2 * PAGE_SIZE);
    check("compared.ecx", 0, m.ecx);
    check("compared.equal", FLAG_ZF, m.eflags & FLAG_ZF);
    *word_at(DATA) = 0;
    RUN(move, PROBE, DATA, 0);
    check("string-to-ram", 0xffffffff, *word_at(DATA));
    *word_at(DATA) = 0;
    RUN(push_pop, PROBE, DATA, 0);
    check("through-the-stack", 0xffffffff, *word_at(DATA));
    *word_at(DATA + 12) = 0;
    RUN(vector, PROBE + PAGE_SIZE - 8, PROBE + 3 * PAGE_SIZE - 8, 0);
    RUN(vector, PROBE, DATA, 0);
    check("vector", 0xffffffff, *word_at(DATA + 12));
}

/* The destination holds translated code, the source is nothing. */
static void onto_code(unsigned ring) {
    memcpy((void *)CODE_COPY, load, SNIPPET_SIZE(load));
    struct machine m =
        ring ? machine_user(CODE_COPY, STACK_TOP) : machine_kernel(CODE_COPY, STACK_TOP);
    m.esi = DATA;
    guest_run(&m);
    RUN(move, PROBE, CODE_COPY, 0);
    check("onto-code", 0xffffffff, *word_at(CODE_COPY));
}

/* A segment register is loaded from nothing: #GP, whose handler finds nothing there, too. No code has
 * run at FRESH_CODE before: both sites reach memory through the same window. */
SNIPPET(load_selector, "mov (%esi), %es" DONE);
static uint32_t seen_by_handler;
static bool on_protection(struct trap_frame *frame) {
    *word_at(frame->esi) = 0x5a5a5a5a;
    seen_by_handler = *word_at(frame->esi);
    return false;
}

static void fault_on_the_way(unsigned ring) {
    trap_set_handler(VECTOR_GP, on_protection);
    for (unsigned i = 0; i < 4; i++) { /* the way to the handler is known by then */
        struct machine m = stage_at(ring, FRESH_CODE, load_selector, SNIPPET_SIZE(load_selector));
        m.esi = PROBE;
        seen_by_handler = 0;
        guest_run(&m);
        check_trap("selector-of-ones", &m, VECTOR_GP, 0xfffc, FRESH_CODE);
        check("nothing-in-its-handler", 0xffffffff, seen_by_handler);
    }
    trap_set_handler(VECTOR_GP, NULL);
}

static void try_all(uint32_t physical, uint32_t flags, unsigned ring) {
    for (uint32_t i = 0; i < PAGES; i++)
        stage_map(PROBE + i * PAGE_SIZE, physical + i * PAGE_SIZE, flags);
    /* Sites that have met a user page, and then one of the supervisor's. */
    simple_accesses(ring);
    two_operands(ring);
    fault_on_the_way(ring);
    onto_code(ring);
}

void guest_main(void) {
    stage_start();
    write_cr4(read_cr4() | CR4_OSFXSR);
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS));
    check_section("user-page");
    check_variant("ring0");
    try_all(UNCLAIMED, USER_PAGE, 0);
    check_variant("ring3");
    try_all(UNCLAIMED, USER_PAGE, 3);
    check_section("kernel-page");
    check_variant("ring0");
    try_all(UNCLAIMED, KERNEL_PAGE, 0);
    check_finish("unclaimed_memory");
}
