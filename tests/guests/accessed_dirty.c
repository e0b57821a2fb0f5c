/* A and D in page table entries: A by every access, D by every write and by nothing else. A may
 * be set early for a neighbour, D never (SDM 3A 4.8). */
#include "tests/guests/stage.h"

enum { AD = PTE_A | PTE_D, LARGE = 0x50000000 };

static uint32_t bits(uint32_t linear) { return *space_entry(&stage, linear) & AD; }

static void clear(uint32_t linear) {
    *space_entry(&stage, linear) &= ~(uint32_t)AD;
    invlpg(linear);
}

/* Runs `code` with EBX = PROBE and both bits of the page and its neighbours clear. */
static uint32_t bits_after(unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    for (uint32_t i = 0; i < 4; i++)
        clear(PROBE + i * PAGE_SIZE);
    m.ebx = PROBE;
    m.edi = m.esi = PROBE;
    guest_run(&m);
    check("vector", VECTOR_DONE, m.vector);
    check("neighbour-not-dirty", 0, bits(PROBE + PAGE_SIZE) & PTE_D);
    return bits(PROBE);
}

SNIPPET(read, "mov (%ebx), %eax" DONE);
SNIPPET(write, "mov %eax, (%ebx)" DONE);
SNIPPET(modify, "incl (%ebx)" DONE);
SNIPPET(locked, "lock incl (%ebx)" DONE);
SNIPPET(test_bit, "btl $1, (%ebx)" DONE);
SNIPPET(compare, "cmpl $1, (%ebx)" DONE);
SNIPPET(exchange_fails, "mov $-1, %eax; lock cmpxchg %ecx, (%ebx)" DONE);
SNIPPET(move_none, "xor %ecx, %ecx; rep movsb" DONE);
SNIPPET(store_one, "mov $1, %ecx; rep stosb" DONE);
SNIPPET(push_there, "lea 8(%ebx), %esp; push %eax" DONE);
SNIPPET(x87_store, "fstpl (%ebx)" DONE);
SNIPPET(x87_load, "fldl (%ebx); fstp %st(0)" DONE);

struct bit_case {
    const char *name;
    const uint8_t *code, *end;
    uint32_t expected;
};
#define ROW(name) name, name##_end
static const struct bit_case cases[] = {
    {"read", ROW(read), PTE_A},
    {"write", ROW(write), AD},
    {"modify", ROW(modify), AD},
    {"locked", ROW(locked), AD},
    {"bt", ROW(test_bit), PTE_A},
    {"cmp", ROW(compare), PTE_A},
    {"cmpxchg-not-equal", ROW(exchange_fails), AD},
    {"rep-movs-none", ROW(move_none), 0},
    {"rep-stos", ROW(store_one), AD},
    {"x87-load", ROW(x87_load), PTE_A},
    {"x87-store", ROW(x87_store), AD},
};

static void each_access(unsigned ring) {
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct bit_case *c = cases + i;
        check_section(c->name);
        check_variant(ring_name(ring));
        uint32_t got = bits_after(ring, c->code, (uint32_t)(c->end - c->code));
        /* Nothing was accessed, but A may be set speculatively. */
        check("bits", c->expected, c->expected ? got : got & PTE_D);
    }
    check_section(NULL);
    check_variant(NULL);
}

static void sequences(void) {
    clear(PROBE);
    (void)*word_at(PROBE);
    check("read-then.read", PTE_A, bits(PROBE));
    *word_at(PROBE) = 1;
    check("read-then.write", AD, bits(PROBE));
    clear(PROBE);
    *word_at(PROBE) = 2;
    check("write-again-after-clear", AD, bits(PROBE));
    for (uint32_t i = 0; i < 50; i++) {
        clear(PROBE);
        (void)*word_at(PROBE);
        check_true("cleared-many-times.read", bits(PROBE) == PTE_A);
        *byte_at(PROBE + i) = 1;
        check_true("cleared-many-times.write", bits(PROBE) == AD);
    }
    clear(PROBE);
    clear(PROBE + PAGE_SIZE);
    *word_at(PROBE + PAGE_SIZE - 2) = 0;
    check("crossing.first", AD, bits(PROBE));
    check("crossing.second", AD, bits(PROBE + PAGE_SIZE));
    struct machine m = STAGE(3, push_there);
    clear(PROBE);
    m.ebx = PROBE;
    guest_run(&m);
    check("push", AD, bits(PROBE));
}

/* A write that is refused makes nothing dirty; ring 0 with WP clear makes the page dirty. */
static void read_only(void) {
    uint32_t page = *space_entry(&stage, PROBE) & ~0xfffu;
    stage_map(PROBE, page, PTE_P | PTE_U);
    struct machine m = STAGE(3, write);
    m.ebx = PROBE;
    guest_run(&m);
    check("refused.vector", VECTOR_PF, m.vector);
    check("refused.not-dirty", 0, bits(PROBE) & PTE_D);
    write_cr0(read_cr0() & ~(uint32_t)CR0_WP);
    *word_at(PROBE) = 3;
    write_cr0(read_cr0() | CR0_WP);
    check("without-wp.dirty", AD, bits(PROBE));
    stage_map(PROBE, page, USER_PAGE);
}

static void fetches(void) {
    *byte_at(PROBE) = 0xc3;
    clear(PROBE);
    __asm__ volatile("call *%0" : : "r"(PROBE) : "memory");
    check("fetch", PTE_A, bits(PROBE));
}

static void large_pages(void) {
    volatile uint32_t *entry = space_directory_entry(&stage, LARGE);
    *entry = (12u << 20) | USER_PAGE | PTE_PS;
    (void)*word_at(LARGE + 0x3000);
    check("large.read", PTE_A, *entry & AD);
    *word_at(LARGE + 0x5000) = 1;
    check("large.write", AD, *entry & AD);
    *entry &= ~(uint32_t)AD;
    invlpg(LARGE);
    (void)*word_at(LARGE + 0x5000);
    check("large.read-after-clear", PTE_A, *entry & AD);
    *word_at(LARGE + 0x3000) = 2;
    check("large.write-elsewhere", AD, *entry & AD);
}

static void directories(void) {
    volatile uint32_t *entry = space_directory_entry(&stage, PROBE);
    *entry &= ~(uint32_t)AD;
    write_cr3(stage.root);
    (void)*word_at(PROBE);
    check("directory.read", PTE_A, *entry & PTE_A);
}

void guest_main(void) {
    stage_start();
    for (uint32_t i = 0; i < 4; i++)
        space_map_new(&stage, PROBE + i * PAGE_SIZE, USER_PAGE);
    __asm__ volatile("fninit; fldz; fldz; fldz; fldz");
    each_access(0);
    each_access(3);
    sequences();
    read_only();
    fetches();
    large_pages();
    directories();
    check_finish("accessed_dirty");
}
