/* The end of the linear address space: strings go on at 0 and downwards at the top; a single
 * operand that crosses the end raises #GP, or #SS through the stack, as hardware does (SDM vol. 3A,
 * 5.3, leaves it open). Each runs twice, so that its code is translated and mapped already. */
#include "tests/guests/stage.h"

enum { LAST_WORD = -4 };

SNIPPET(load, "mov (%esi), %eax" DONE);
SNIPPET(store, "mov %eax, (%edi)" DONE);
SNIPPET(load_word, "movzwl (%esi), %eax" DONE);
SNIPPET(push_word, "push %eax" DONE);
SNIPPET(load_stack, "mov (%ebp), %eax" DONE);
SNIPPET(vector, "movups (%esi), %xmm0" DONE);
SNIPPET(move_up, "cld; rep movsb" DONE);
SNIPPET(move_down, "std; rep movsb; cld" DONE);
SNIPPET(fill_up, "cld; rep stosl" DONE);
SNIPPET(move_element, "cld; movsl" DONE);

/* The compiler takes small addresses for mistakes. */
static volatile uint32_t *low_word(uint32_t address) {
    __asm__("" : "+r"(address));
    return word_at(address);
}

static void expect(const char *name, unsigned ring, const uint8_t *code, uint32_t size,
                   uint32_t address, uint32_t trap) {
    for (unsigned i = 0; i < 2; i++) {
        struct machine m = stage_at(ring, CODE, code, size);
        m.esi = m.edi = address;
        if (trap == VECTOR_SS)
            m.ebp = m.esp = address;
        if (trap == VECTOR_SS && !ring)
            return; /* the trap would need that stack */
        guest_run(&m);
        check_trap(name, &m, trap, 0, trap == VECTOR_DONE ? CODE + size : CODE);
    }
}
#define EXPECT(ring, name, address, trap)                                                          \
    expect(#name, ring, name, SNIPPET_SIZE(name), address, trap)

static void single_operands(unsigned ring) {
    EXPECT(ring, load, 0xfffffffc, VECTOR_DONE);
    EXPECT(ring, load, 0xfffffffd, VECTOR_GP);
    EXPECT(ring, load, 0xffffffff, VECTOR_GP);
    EXPECT(ring, load_word, 0xffffffff, VECTOR_GP);
    EXPECT(ring, store, 0xfffffffe, VECTOR_GP);
    EXPECT(ring, vector, 0xfffffff1, VECTOR_GP);
    EXPECT(ring, load_stack, 0xfffffffe, VECTOR_SS);
    EXPECT(ring, push_word, 2, VECTOR_SS);
    check("store-changed-nothing", 0, *word_at((uint32_t)LAST_WORD));
}

static struct machine run_string(unsigned ring, const uint8_t *code, uint32_t size, uint32_t from,
                                 uint32_t to, uint32_t count) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.esi = from, m.edi = to, m.ecx = count, m.eax = 0x01020304;
    guest_run(&m);
    check("string-ends", VECTOR_DONE, m.vector);
    return m;
}

/* Page 0 and the last page are frames of the test's here. */
static void strings(unsigned ring) {
    for (unsigned i = 0; i < 2; i++) {
        struct machine m = run_string(ring, fill_up, SNIPPET_SIZE(fill_up), 0, 0xfffffff8, 4);
        check("fill.edi", 8, m.edi);
        check("fill.low", 0x01020304, *low_word(4));
        m = run_string(ring, move_up, SNIPPET_SIZE(move_up), 0xfffffffe, DATA, 6);
        check("up.esi", 4, m.esi);
        check("up.data", 0x03040102, *word_at(DATA));
        m = run_string(ring, move_down, SNIPPET_SIZE(move_down), 1, DATA + 3, 4);
        check("down.esi", 0xfffffffd, m.esi);
        check("down.data", 0x03040102, *word_at(DATA));
        struct machine crossing = stage_at(ring, CODE, move_element, SNIPPET_SIZE(move_element));
        crossing.esi = 0xfffffffe, crossing.edi = DATA;
        guest_run(&crossing);
        check_trap("crossing-element", &crossing, VECTOR_GP, 0, CODE + 1);
        check("crossing-element.esi", 0xfffffffe, crossing.esi);
        *word_at((uint32_t)LAST_WORD) = *low_word(0) = 0;
    }
}

void guest_main(void) {
    stage_start();
    write_cr4(read_cr4() | CR4_OSFXSR);
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS));
    space_map_new(&stage, (uint32_t)LAST_WORD, USER_PAGE);
    stage_map(0, page_take(), USER_PAGE);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        single_operands(ring);
        strings(ring);
    }
    check_finish("address_wrap");
}
