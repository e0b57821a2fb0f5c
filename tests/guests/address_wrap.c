/* The end of the linear address space: strings go on at 0 and downwards at the top, and so do
 * operands that cross it, whatever makes the access. An offset that wraps in a segment with a base
 * raises #GP (SDM vol. 3A, 5.3, leaves both open; processors do so). Each runs twice, so that its
 * code is translated and mapped already. */
#include "tests/guests/stage.h"

enum {
    LAST_WORD = -4,
    SEGMENT = FREE_SELECTOR,
    BASE = 0x10000000,
    PATTERN = 0x44332211,
    VALUE = 0x0badf00d
};

SNIPPET(load, "mov (%esi), %eax" DONE);
SNIPPET(store, "mov %eax, (%edi)" DONE);
SNIPPET(load_word, "movzwl (%esi), %eax" DONE);
SNIPPET(push_word, "push %eax" DONE);
SNIPPET(call_next, "call 1f; 1:" DONE);
SNIPPET(return_next, "mov $0x40000000 + (1f - return_next), %eax; mov %eax, (%esi); ret; 1:" DONE);
SNIPPET(load_stack, "mov (%ebp), %eax" DONE);
SNIPPET(vector, "movups (%esi), %xmm0; movups %xmm0, (%ebx)" DONE);
SNIPPET(add, "add %eax, (%edi)" DONE);
SNIPPET(push_memory, "push (%esi); pop %eax" DONE);
SNIPPET(pop_memory, "push %eax; pop (%edi)" DONE);
SNIPPET(store_x87, "fld1; fstpt (%edi)" DONE);
SNIPPET(save_x87, "fninit; fnsave (%edi)" DONE);
SNIPPET(load_based, "mov %fs:(%esi), %eax" DONE);
SNIPPET(store_based, "mov %eax, %fs:(%edi)" DONE);
SNIPPET(move_up, "cld; rep movsb" DONE);
SNIPPET(move_down, "std; rep movsb; cld" DONE);
SNIPPET(fill_up, "cld; rep stosl" DONE);
SNIPPET(move_element, "cld; movsl" DONE);

/* The compiler takes small addresses for mistakes. */
static volatile uint32_t *low_word(uint32_t address) {
    __asm__("" : "+r"(address));
    return word_at(address);
}

static struct machine image(unsigned ring, const uint8_t *code, uint32_t size, uint32_t address) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.esi = m.edi = address;
    m.eax = VALUE;
    m.fs = (uint16_t)(SEGMENT | ring);
    return m;
}

static void set_words(uint32_t last, uint32_t first) {
    *word_at((uint32_t)LAST_WORD) = last;
    *low_word(0) = first;
}

/* EAX, the last word and the first one afterwards. */
static void expect(const char *name, unsigned ring, const uint8_t *code, uint32_t size,
                   uint32_t address, uint32_t eax, uint32_t last, uint32_t first) {
    for (unsigned i = 0; i < 2; i++) {
        struct machine m = image(ring, code, size, address);
        if (code == push_word || code == load_stack || code == call_next || code == return_next)
            m.ebp = m.esp = address;
        set_words(PATTERN, PATTERN);
        guest_run(&m);
        check_trap(name, &m, VECTOR_DONE, 0, CODE + size);
        check("eax", eax, m.eax);
        check("last-word", last, *word_at((uint32_t)LAST_WORD));
        check("first-word", first, *low_word(0));
    }
}
#define EXPECT(ring, name, address, eax, last, first)                                              \
    expect(#name, ring, name, SNIPPET_SIZE(name), address, eax, last, first)

static void single_operands(unsigned ring) {
    EXPECT(ring, load, 0xfffffffc, PATTERN, PATTERN, PATTERN);
    EXPECT(ring, load, 0xfffffffd, 0x11443322, PATTERN, PATTERN);
    EXPECT(ring, load, 0xffffffff, 0x33221144, PATTERN, PATTERN);
    EXPECT(ring, load_word, 0xffffffff, 0x1144, PATTERN, PATTERN);
    EXPECT(ring, store, 0xfffffffe, VALUE, 0xf00d2211, 0x44330bad);
    EXPECT(ring, add, 0xfffffffe, VALUE, 0x34402211, 0x44332dbf);
    EXPECT(ring, push_memory, 0xfffffffd, 0x11443322, PATTERN, PATTERN);
    EXPECT(ring, pop_memory, 0xfffffffe, VALUE, 0xf00d2211, 0x44330bad);
    EXPECT(ring, vector, 0xfffffff8, VALUE, PATTERN, PATTERN);
    check("vector.across", PATTERN, *word_at(DATA + 8));
    EXPECT(ring, store_x87, 0xfffffff8, VALUE, 0x80000000, 0x44333fff);
    EXPECT(ring, save_x87, 0xfffffffc, VALUE, 0xffff037f, 0xffff0000);
    EXPECT(ring, load_based, 0xfffffffdu - BASE, 0x11443322, PATTERN, PATTERN);
    EXPECT(ring, store_based, 0xfffffffeu - BASE, VALUE, 0xf00d2211, 0x44330bad);
    if (ring) { /* in ring 0 the trap would need that stack */
        EXPECT(ring, load_stack, 0xfffffffe, 0x22114433, PATTERN, PATTERN);
        EXPECT(ring, push_word, 2, VALUE, 0xf00d2211, 0x44330bad);
        EXPECT(ring, call_next, 0, VALUE, CODE + 5, PATTERN);
        EXPECT(ring, call_next, 2, VALUE, 0x00052211, 0x44334000);
        EXPECT(ring, return_next, 0xfffffffc, CODE + 8, CODE + 8, PATTERN);
        EXPECT(ring, return_next, 0xfffffffe, CODE + 8, 0x00082211, 0x44334000);
    }
}

static void expect_fault(const char *name, unsigned ring, const uint8_t *code, uint32_t size,
                         uint32_t address, uint32_t trap, uint32_t error) {
    for (unsigned i = 0; i < 2; i++) {
        struct machine m = image(ring, code, size, address);
        *word_at((uint32_t)LAST_WORD) = PATTERN;
        guest_run(&m);
        check_trap(name, &m, trap, error, CODE);
        check("changed-nothing", PATTERN, *word_at((uint32_t)LAST_WORD));
        if (trap == VECTOR_PF)
            check("cr2", 0, m.cr2);
    }
}
#define EXPECT_FAULT(ring, name, address, vector, error)                                           \
    expect_fault(#name, ring, name, SNIPPET_SIZE(name), address, vector, error)

/* Page 0 is not there, or may not be written; the offset itself wraps. */
static void faults(unsigned ring, uint32_t page) {
    uint32_t user = ring ? PF_USER : 0;
    stage_map(0, 0, 0);
    EXPECT_FAULT(ring, load, 0xfffffffe, VECTOR_PF, user);
    EXPECT_FAULT(ring, store, 0xfffffffe, VECTOR_PF, user | PF_WRITE);
    EXPECT_FAULT(ring, load_based, 0xfffffffeu - BASE, VECTOR_PF, user);
    stage_map(0, page, USER_PAGE & ~2u);
    EXPECT_FAULT(ring, store, 0xffffffff, VECTOR_PF, user | PF_WRITE | PF_PRESENT);
    EXPECT_FAULT(ring, add, 0xfffffffd, VECTOR_PF, user | PF_WRITE | PF_PRESENT);
    EXPECT_FAULT(ring, store_based, 0xfffffffdu - BASE, VECTOR_PF, user | PF_WRITE | PF_PRESENT);
    stage_map(0, page, USER_PAGE);
    gdt_set(SEGMENT, 1, 0xfffff, 0xf3, 12);
    EXPECT_FAULT(ring, load_based, 0xfffffffd, VECTOR_GP, 0);
    EXPECT_FAULT(ring, store_based, 0xfffffffd, VECTOR_GP, 0);
    gdt_set(SEGMENT, BASE, 0xfffff, 0xf3, 12);
}

/* mov $0x44332211, %eax; ret at linear address 0, until its first two bytes are written. */
static void onto_code(unsigned ring, uint32_t page) {
    static const uint8_t function[] = {0xb8, 0x11, 0x22, 0x33, 0x44, 0xcd, 0x81};
    for (unsigned i = 0; i < 3; i++) {
        memcpy((void *)page, function, sizeof function);
        struct machine m = ring ? machine_user(0, STACK_TOP) : machine_kernel(0, STACK_TOP);
        guest_run(&m);
        check("code-at-0", PATTERN, m.eax);
        m = image(ring, store, SNIPPET_SIZE(store), 0xfffffffe);
        m.eax = 0x77b80000;
        guest_run(&m);
        m = ring ? machine_user(0, STACK_TOP) : machine_kernel(0, STACK_TOP);
        guest_run(&m);
        check("written-from-the-end", 0x44332277, m.eax);
    }
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
        set_words(0x04030201, 0x08070605);
        m = run_string(ring, move_element, SNIPPET_SIZE(move_element), 0xfffffffe, DATA, 0);
        check("element.esi", 2, m.esi);
        check("element.data", 0x06050403, *word_at(DATA));
        *word_at((uint32_t)LAST_WORD) = *low_word(0) = 0;
    }
}

void guest_main(void) {
    stage_start();
    write_cr4(read_cr4() | CR4_OSFXSR);
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS));
    uint32_t page = page_take();
    space_map_new(&stage, (uint32_t)LAST_WORD, USER_PAGE);
    stage_map(0, page, USER_PAGE);
    gdt_set(SEGMENT, BASE, 0xfffff, 0xf3, 12);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        single_operands(ring);
        faults(ring, page);
        onto_code(ring, page);
        strings(ring);
    }
    check_variant("two-windows"); /* the kernel's page at 0, the user's at the end */
    stage_map(0, page, KERNEL_PAGE);
    single_operands(0);
    check_finish("address_wrap");
}
