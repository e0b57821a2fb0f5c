/* Sites that fault, or meet what is no memory, again and again, with good accesses in between, with good ones only
 * behind them, and then with trouble once more: whatever a site has learned, an access does what it should. */
#include "tests/guests/stage.h"

enum {
    WINDOW = PROBE, /* one page, remapped all the time; nothing behind it */
    UNCLAIMED = 0x7f000000,
    COUNT = 5, /* items of a string */
    ROUNDS = 60,
    QUIET = 300,
};

/* EBX is the address. */
SNIPPET(load, "nop; mov (%ebx), %eax" DONE);
SNIPPET(compare, "nop; cmp %eax, (%ebx)" DONE);
SNIPPET(load_byte, "nop; movzbl (%ebx), %eax" DONE);
SNIPPET(store, "nop; mov %eax, (%ebx)" DONE);
SNIPPET(store_constant, "nop; movl $0x5678, (%ebx)" DONE);
SNIPPET(change, "nop; lock addl %eax, (%ebx)" DONE);
SNIPPET(exchange, "nop; xchg %eax, (%ebx)" DONE);
SNIPPET(high_byte, "nop; mov %ah, (%ebx)" DONE);
SNIPPET(pushed, "push %eax; mov (%ebx), %ecx; pop %eax; mov %ecx, %eax" DONE);
SNIPPET(divide, "nop; divl (%ebx)" DONE);
SNIPPET(fill, "nop; rep stosl" DONE);
SNIPPET(copy, "nop; rep movsl" DONE);
SNIPPET(floating, "nop; fildl (%ebx); fistpl (%ebx)" DONE);

#define OLD 0x1234u
#define ONES 0xffffffffu
static const struct site {
    const char *name;
    const uint8_t *code, *end;
    uint32_t eax, after; /* EAX on the way in; the word after, which was OLD */
    uint32_t loaded, loaded_ones; /* EAX after, from RAM and from nothing */
    bool writes, string;
} sites[] = {
    {"load", load, load_end, 0, OLD, OLD, ONES, false, false},
    {"compare", compare, compare_end, 9, OLD, 9, 9, false, false},
    {"load-byte", load_byte, load_byte_end, 0, OLD, 0x34, 0xff, false, false},
    {"store", store, store_end, 0x5678, 0x5678, 0x5678, 0x5678, true, false},
    {"store-constant", store_constant, store_constant_end, 9, 0x5678, 9, 9, true, false},
    {"read-modify-write", change, change_end, 0x11, OLD + 0x11, 0x11, 0x11, true, false},
    {"exchange", exchange, exchange_end, 0x5678, 0x5678, OLD, ONES, true, false},
    {"high-byte", high_byte, high_byte_end, 0xab00, 0x12ab, 0xab00, 0xab00, true, false},
    {"between-push-and-pop", pushed, pushed_end, 9, OLD, OLD, ONES, false, false},
    {"divide", divide, divide_end, 2 * OLD, OLD, 2, 0, false, false},
    {"fill", fill, fill_end, 0x99, 0x99, 0x99, 0x99, true, true},
    {"copy", copy, copy_end, 0, 0x2468, 0, 0, true, true},
    {"floating", floating, floating_end, 9, OLD, 9, 9, false, false},
};

static unsigned ring;
static uint32_t frame, wrong, at; /* at: where the site's code stands */
static struct machine start;

static void equal(uint32_t expected, uint32_t got) { wrong += expected != got; }

static struct machine run(const struct site *s, uint32_t address) {
    struct machine m = start;
    m.ebx = m.edi = address;
    m.esi = DATA;
    m.ecx = COUNT;
    m.eax = s->eax;
    m.edx = 0;
    m.eflags = 2 | FLAG_CF | FLAG_SF;
    guest_run(&m);
    return m;
}

static void faults(const struct site *s, uint32_t present, uint32_t error) {
    struct machine m = run(s, WINDOW + 0x10);
    equal(VECTOR_PF, m.vector);
    equal(WINDOW + 0x10, m.cr2);
    equal(error | (ring ? PF_USER : 0) | (s->writes ? PF_WRITE : 0) | present, m.error);
    equal(at + 1, m.eip);
    equal(s->eax, m.eax);
    equal(COUNT, m.ecx);
    equal(WINDOW + 0x10, m.edi);
    equal(2 | FLAG_CF | FLAG_SF, m.eflags & 0x8d7);
}

static void missing(const struct site *s) {
    stage_map(WINDOW, 0, 0);
    faults(s, 0, 0);
}

/* For ring 0 nothing is forbidden but writes. */
static void forbidden(const struct site *s) {
    stage_map(WINDOW, frame, ring ? PTE_P | PTE_W : PTE_P);
    if (ring || s->writes)
        faults(s, PF_PRESENT, 0);
    equal(0, *space_entry(&stage, WINDOW) & PTE_D);
}

static void good(const struct site *s, bool anew) {
    uint32_t flags = ring ? USER_PAGE : KERNEL_PAGE;
    *word_at(frame + 0x10) = OLD;
    *word_at(frame + 0x10 + COUNT * 4) = 0x77;
    if (anew)
        stage_map(WINDOW, frame, flags);
    struct machine m = run(s, WINDOW + 0x10);
    equal(VECTOR_DONE, m.vector);
    equal(s->after, *word_at(frame + 0x10));
    equal(0x77, *word_at(frame + 0x10 + COUNT * 4));
    equal(s->loaded, m.eax);
    equal(s->string ? 0 : s->code == pushed ? OLD : COUNT, m.ecx);
    equal(PTE_A, *space_entry(&stage, WINDOW) & PTE_A);
    equal(s->writes || s->code == floating ? PTE_D : 0, *space_entry(&stage, WINDOW) & PTE_D);
}

static void unclaimed(const struct site *s) {
    stage_map(WINDOW, UNCLAIMED, ring ? USER_PAGE : KERNEL_PAGE);
    for (unsigned i = 0; i < 2; i++) { /* what was written has vanished */
        struct machine m = run(s, WINDOW + 0x10);
        equal(VECTOR_DONE, m.vector);
        equal(s->loaded_ones, m.eax);
        if (s->string)
            equal(0, m.ecx);
        if (s->code == compare)
            equal(FLAG_SF, m.eflags & (FLAG_SF | FLAG_CF));
    }
}

/* The second page is missing. */
static void across(const struct site *s) {
    uint32_t address = WINDOW + PAGE_SIZE - (s->string ? 6 : 2);
    bool fits = s->code == load_byte || s->code == high_byte;
    stage_map(WINDOW, frame, ring ? USER_PAGE : KERNEL_PAGE);
    struct machine m = run(s, address);
    equal(fits ? VECTOR_DONE : VECTOR_PF, m.vector);
    if (!fits)
        equal(WINDOW + PAGE_SIZE, m.cr2);
    if (s->string)
        equal(COUNT - 1, m.ecx);
}

/* The code is put in place once: a site that is translated anew each time learns nothing; and each has a place of its
 * own: what is learned stays with the place. */
static void rounds(const struct site *s) {
    at = (ring ? CODE2 : CODE) + (uint32_t)(s - sites) * 0x80;
    start = stage_at(ring, at, s->code, (uint32_t)(s->end - s->code));
    wrong = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        missing(s);
        good(s, true);
        if (i % 4 == 0)
            forbidden(s);
    }
    check("faults", 0, wrong);
    for (uint32_t i = 0; i < QUIET; i++)
        good(s, i == 0);
    check("quiet", 0, wrong);
    for (uint32_t i = 0; i < ROUNDS; i++)
        unclaimed(s);
    good(s, true);
    check("unclaimed", 0, wrong);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        forbidden(s);
        across(s);
        missing(s);
        unclaimed(s);
    }
    check("all", 0, wrong);
    stage_map(WINDOW, 0, 0);
}

void guest_main(void) {
    stage_start();
    write_cr0((read_cr0() | CR0_WP) & ~(uint32_t)(CR0_EM | CR0_TS));
    frame = page_take();
    for (uint32_t i = 0; i < COUNT; i++)
        *word_at(DATA + 4 * i) = i ? i : 0x2468;
    for (ring = 0; ring <= 3; ring += 3) {
        check_section(ring_name(ring));
        for (unsigned i = 0; i < sizeof sites / sizeof *sites; i++) {
            check_variant(sites[i].name);
            rounds(&sites[i]);
        }
        check_variant(NULL);
    }
    check_finish("troubled_sites");
}
