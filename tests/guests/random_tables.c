/* Random page tables under random accesses, against a page walk of the guest's own.
 *
 *   seed=N    of the generator (default 1)
 *   rounds=N  changes of the tables, each followed by some accesses (default 400)
 *
 * Every access is a read, a write that changes nothing, or a call of a RET, by ring 0 or 3.
 * Checked: the fault with error code and CR2 or its absence, the value read, and accessed and dirty
 * bits in all tables: A on the path and D in the leaf of a write; elsewhere A may appear (the
 * processor may walk ahead), D may not, and nothing else changes. Tables may map themselves. */
#include "tests/guests/stage.h"

enum {
    AREA = 0x70000000,
    DIRECTORIES = 4, /* directory entries that are random */
    TABLES = 3,      /* page tables that they point at */
    PAGES = 6,       /* entries used in each */
    FRAMES = 4,
    LARGE_FRAME = 12 << 20, /* nobody else's memory */
    NO_MEMORY = 0x7f000000,
    CR4_SMEP = 1 << 20,
    CPUID_SMEP = 1 << 7,
};

enum kind { READ, WRITE, FETCH };

struct access {
    uint32_t linear;
    enum kind kind;
    unsigned ring;
};

struct expected {
    bool allowed;
    uint32_t error, physical;
    volatile uint32_t *directory, *leaf;
};

static uint32_t state, tables[TABLES], frames[FRAMES];
static bool pae, nx, smep;
static unsigned failures;

static uint32_t random_word(void) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}
static bool one_in(uint32_t n) { return (random_word() >> 4) % n == 0; }

static volatile uint32_t *directory_entry(unsigned i) {
    return space_directory_entry(&stage, AREA + i * space_large_page_size(&stage));
}
static volatile uint32_t *table_entry(unsigned table, unsigned page) {
    return (volatile uint32_t *)tables[table] + page * (pae ? 2 : 1);
}

/* ---- the walk ---- */

static bool reserved(uint32_t low, uint32_t high, bool large) {
    if (!pae)
        return large && (low & 0x3e0000);
    return (high & 0x7ffffff0) || ((high >> 31) && !nx) || (large && (low & 0x1fe000));
}

static bool permits(const struct access *x, uint32_t rights, bool no_execute) {
    bool user_page = rights & PTE_U, wp = read_cr0() & CR0_WP;
    if (x->ring == 3 && !user_page)
        return false;
    if (x->kind == FETCH)
        return !no_execute && !(x->ring == 0 && user_page && smep);
    return x->kind == READ || (rights & PTE_W) || (x->ring == 0 && !wp);
}

static struct expected walk(const struct access *x) {
    struct expected e = {.error = (x->kind == WRITE ? PF_WRITE : 0) | (x->ring ? PF_USER : 0) |
                                  (x->kind == FETCH && (nx || smep) ? PF_FETCH : 0)};
    e.directory = e.leaf = space_directory_entry(&stage, x->linear);
    uint32_t low = *e.directory, high = pae ? e.directory[1] : 0, rights = low;
    bool no_execute = high >> 31, large = low & PTE_PS;
    if (!(low & PTE_P))
        return e;
    if (!reserved(low, high, large) && !large) {
        e.leaf = (volatile uint32_t *)(low & ~0xfffu) +
                 (pae ? (x->linear >> 12 & 511) * 2 : x->linear >> 12 & 1023);
        low = *e.leaf, high = pae ? e.leaf[1] : 0;
        rights &= low, no_execute |= high >> 31;
        if (!(low & PTE_P))
            return e;
    }
    e.error |= PF_PRESENT;
    if (reserved(low, high, large)) {
        e.error |= PF_RESERVED;
        return e;
    }
    uint32_t offset = x->linear & (large ? space_large_page_size(&stage) - 1 : 0xfff);
    e.physical = (low & ~(large ? space_large_page_size(&stage) - 1 : 0xfffu)) + offset;
    e.allowed = permits(x, rights, no_execute);
    return e;
}

/* ---- tables ---- */

static uint32_t random_flags(void) {
    uint32_t flags = random_word() & (PTE_W | PTE_U | PTE_A | PTE_D | PTE_G | 0xe00);
    return flags | (one_in(6) ? 0 : PTE_P);
}
static uint32_t random_high(void) {
    return (one_in(5) ? 1u << 31 : 0) | (one_in(12) ? 1u << (4 + random_word() % 27) : 0);
}

static void change_directory(unsigned i) {
    volatile uint32_t *entry = directory_entry(i);
    uint32_t low = tables[random_word() % TABLES] | random_flags();
    if (one_in(4))
        low = LARGE_FRAME | random_flags() | PTE_PS | (one_in(6) ? 1u << 20 : 0);
    if (!pae && low & PTE_PS && low & 1u << 20)
        low ^= 3u << 20; /* reserved there is from bit 17 to 21 */
    *entry = low;
    if (pae)
        entry[1] = random_high();
}

static void change_page(unsigned table, unsigned page) {
    volatile uint32_t *entry = table_entry(table, page);
    uint32_t physical = frames[random_word() % FRAMES];
    if (one_in(6))
        physical = tables[random_word() % TABLES];
    else if (one_in(16))
        physical = NO_MEMORY;
    *entry = physical | random_flags();
    if (pae)
        entry[1] = random_high();
}

static void change_tables(void) {
    for (uint32_t n = random_word() % 8 + 1; n; n--) {
        if (one_in(5))
            change_directory(random_word() % DIRECTORIES);
        else
            change_page(random_word() % TABLES, random_word() % PAGES);
    }
}

/* The three ways to make changes known, global entries included. */
static void flush(void) {
    uint32_t cr4 = read_cr4();
    switch (random_word() >> 8 & 3) {
    case 0:
        for (unsigned i = 0; i < DIRECTORIES * PAGES; i++)
            invlpg(AREA + i / PAGES * space_large_page_size(&stage) + i % PAGES * PAGE_SIZE);
        break;
    case 1:
        write_cr4(cr4 & ~(uint32_t)CR4_PGE);
        write_cr3(stage.root);
        break;
    default:
        write_cr4(cr4 ^ CR4_PGE);
    }
    if (one_in(3))
        write_cr0(read_cr0() ^ CR0_WP);
}

/* ---- accesses ---- */

SNIPPET(read_word, "mov (%ebx), %eax" DONE);
SNIPPET(write_word, "orl $0, (%ebx)" DONE);
SNIPPET(call_word, "call *%ebx" DONE);

static const struct {
    const uint8_t *code;
    uint32_t end;
} snippets[] = {[READ] = {read_word, 2}, [WRITE] = {write_word, 3}, [FETCH] = {call_word, 2}};

/* What tables hold: the whole of the directory's part and of each table. */
enum { COPY_WORDS = DIRECTORIES * 2 + TABLES * PAGES * 2 };
struct copy {
    volatile uint32_t *at[COPY_WORDS];
    uint32_t value[COPY_WORDS];
    unsigned count;
};

static void copy_tables(struct copy *c) {
    c->count = 0;
    for (unsigned i = 0; i < DIRECTORIES + TABLES * PAGES; i++) {
        unsigned page = i - DIRECTORIES;
        volatile uint32_t *entry =
            i < DIRECTORIES ? directory_entry(i) : table_entry(page / PAGES, page % PAGES);
        for (unsigned half = 0; half < (pae ? 2u : 1u); half++) {
            c->at[c->count] = entry + half;
            c->value[c->count++] = entry[half];
        }
    }
}

static void fail(const struct access *x, const char *what, uint32_t expected, uint32_t got) {
    if (failures++ < 10)
        print("FAIL %s of ring %u at %08x: %s expected %08x got %08x\n",
              x->kind == READ    ? "read"
              : x->kind == WRITE ? "write"
                                 : "call",
              x->ring, x->linear, what, expected, got);
}

static void check_bits(const struct access *x, const struct expected *e,
                       const struct copy *before) {
    for (unsigned i = 0; i < before->count; i++) {
        volatile uint32_t *at = before->at[i];
        uint32_t must = 0;
        if (e->allowed && (at == e->directory || at == e->leaf))
            must = PTE_A | (at == e->leaf && x->kind == WRITE ? PTE_D : 0);
        uint32_t expected = before->value[i] | must;
        if ((*at ^ expected) & ~(uint32_t)PTE_A || (must && !(*at & PTE_A)))
            fail(x, "entry", expected, *at);
    }
}

static bool is_table(uint32_t physical) {
    for (unsigned i = 0; i < TABLES; i++)
        if (physical >> 12 == tables[i] >> 12)
            return true;
    return physical >= NO_MEMORY;
}

/* Ring 0 runs the code where it is: in a page of the supervisor's, as SMEP wants it. */
static struct machine start(const struct access *x) {
    static uint8_t kernel_stack[4096] __attribute__((aligned(16)));
    uint32_t at = address_of(snippets[x->kind].code);
    struct machine m = x->ring ? machine_user(CODE + (at & 0xff), STACK_TOP)
                               : machine_kernel(at, address_of(kernel_stack + sizeof kernel_stack));
    if (x->ring)
        memcpy((void *)m.eip, snippets[x->kind].code, 8);
    m.ebx = x->linear;
    return m;
}

static void try_access(void) {
    struct access x = {.kind = (enum kind)(random_word() % 3), .ring = one_in(2) ? 3 : 0};
    x.linear = AREA + random_word() % DIRECTORIES * space_large_page_size(&stage) +
               random_word() % PAGES * PAGE_SIZE + (random_word() & 0xffc);
    struct expected e = walk(&x);
    struct copy before;
    if (x.kind == FETCH && e.allowed && is_table(e.physical))
        return; /* no code there */
    struct machine m = start(&x);
    uint32_t code = m.eip;
    copy_tables(&before);
    uint32_t value = e.allowed && e.physical < NO_MEMORY ? *word_at(e.physical) : 0xffffffff;
    guest_run(&m);
    if (m.vector != (e.allowed ? (unsigned)VECTOR_DONE : (unsigned)VECTOR_PF)) {
        fail(&x, "vector", e.allowed ? (uint32_t)VECTOR_DONE : (uint32_t)VECTOR_PF, m.vector);
    } else if (!e.allowed) {
        if (m.error != e.error || m.cr2 != x.linear)
            fail(&x, "error code", e.error, m.error);
        if (m.eip != (x.kind == FETCH ? x.linear : code))
            fail(&x, "eip", x.kind == FETCH ? x.linear : code, m.eip);
    } else if (x.kind == READ && m.eax != value && !is_table(e.physical)) {
        fail(&x, "value", value, m.eax);
    }
    check_bits(&x, &e, &before);
}

/* Words that are a RET and say where they stand. */
static void fill(uint32_t at, uint32_t bytes, uint32_t mark) {
    for (uint32_t i = 0; i < bytes; i += 4)
        *word_at(at + i) = 0xc3u | mark << 8 | i << 12;
}

static void enable_features(void) {
    nx = pae && cpuid(0x80000001).edx & CPUID_NX && one_in(2);
    if (nx)
        write_msr(MSR_EFER, read_msr(MSR_EFER) | EFER_NXE);
    smep = cpuid(7).ebx & CPUID_SMEP && one_in(2);
    if (smep)
        write_cr4(read_cr4() | CR4_SMEP);
}

void guest_main(void) {
    uint32_t rounds = guest_option_number("rounds", 400);
    state = guest_option_number("seed", 1) * 2654435761u | 1;
    stage_start();
    pae = stage.kind == PAGING_PAE;
    for (unsigned i = 0; i < FRAMES; i++)
        fill(frames[i] = page_take(), PAGE_SIZE, i);
    fill(LARGE_FRAME, PAGES * PAGE_SIZE, 15);
    for (unsigned i = 0; i < TABLES; i++)
        tables[i] = page_take();
    for (unsigned i = 0; i < DIRECTORIES; i++)
        change_directory(i);
    enable_features();
    for (uint32_t i = 0; i < rounds; i++) {
        change_tables();
        flush();
        for (unsigned n = random_word() % 6; n; n--)
            try_access();
    }
    check("accesses-as-walked", 0, failures);
    check_finish("random_tables");
}
