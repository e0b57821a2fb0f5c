/* Page faults that the handler answers, and the access is made again: it sees what the tables say by then, and sets
 * the bits that it should, at both levels. */
#include "tests/guests/stage.h"

SNIPPET(load, "mov (%ebx), %eax" DONE);
SNIPPET(store, "mov %eax, (%ebx)" DONE);
SNIPPET(load_and_store, "mov (%ebx), %ecx; mov %eax, (%ebx)" DONE);

enum { ROUNDS = 5, OLD = 0x1111, NEW = 0x2222, PRESENT = PTE_P | PTE_U, CHANGING = PRESENT | PTE_W };

static uint32_t first, second;

static struct machine start(unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.ebx = PROBE;
    m.eax = NEW;
    *word_at(first) = *word_at(second) = OLD;
    guest_run(&m);
    return m;
}

static uint32_t bits(void) { return (uint32_t)*space_entry(&stage, PROBE) & (PTE_A | PTE_D); }

static void expect_fault(const char *what, const struct machine *m, unsigned ring, uint32_t error) {
    check(what, VECTOR_PF, m->vector);
    check("error", error | (ring ? PF_USER : 0), m->error);
    check("cr2", PROBE, m->cr2);
}

/* Nothing was there; the handler leaves A, and D for a write, to the access. */
static void made_present(unsigned ring, bool writes, uint32_t given) {
    stage_map(PROBE, 0, 0);
    struct machine m = writes ? start(ring, store, SNIPPET_SIZE(store)) : start(ring, load, SNIPPET_SIZE(load));
    expect_fault("absent", &m, ring, writes ? PF_WRITE : 0);
    *word_at(first) = 0x3333;
    stage_map(PROBE, first, CHANGING | given);
    guest_run(&m);
    check("made-present", VECTOR_DONE, m.vector);
    check("made-present.value", writes ? NEW : 0x3333, writes ? *word_at(first) : m.eax);
    check("made-present.bits", (writes ? PTE_A | PTE_D : PTE_A) | given, bits());
    stage_map(PROBE, 0, 0);
    m.eip = CODE;
    guest_run(&m);
    expect_fault("absent-again", &m, ring, writes ? PF_WRITE : 0);
}

/* It has been read from already, so that it stands in a window. */
static void copied_on_write(unsigned ring, uint32_t given) {
    stage_map(PROBE, first, PRESENT);
    struct machine m = start(ring, load_and_store, SNIPPET_SIZE(load_and_store));
    expect_fault("read-only", &m, ring, PF_PRESENT | PF_WRITE);
    check("read-only.read", OLD, m.ecx);
    stage_map(PROBE, second, CHANGING | given);
    guest_run(&m);
    check("copied", VECTOR_DONE, m.vector);
    check("copied.old", OLD, *word_at(first));
    check("copied.new", NEW, *word_at(second));
    check("copied.bits", PTE_A | PTE_D, bits());
}

static void made_writable(unsigned ring, uint32_t given) {
    stage_map(PROBE, first, PRESENT);
    struct machine m = start(ring, load_and_store, SNIPPET_SIZE(load_and_store));
    expect_fault("read-only", &m, ring, PF_PRESENT | PF_WRITE);
    stage_map(PROBE, first, PRESENT | PTE_A); /* nothing has changed */
    guest_run(&m);
    expect_fault("read-only-still", &m, ring, PF_PRESENT | PF_WRITE);
    stage_map(PROBE, first, CHANGING | given);
    guest_run(&m);
    check("made-writable", VECTOR_DONE, m.vector);
    check("made-writable.value", NEW, *word_at(first));
    check("made-writable.bits", PTE_A | PTE_D, bits());
    stage_map(PROBE, first, PRESENT);
    m.eip = CODE;
    m.eax = 0x4444;
    guest_run(&m);
    expect_fault("read-only-again", &m, ring, PF_PRESENT | PF_WRITE);
    check("read-only-again.value", NEW, *word_at(first));
}

void guest_main(void) {
    stage_start();
    write_cr0(read_cr0() | CR0_WP);
    first = page_take();
    second = page_take();
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        for (unsigned i = 0; i < ROUNDS; i++)
            for (uint32_t given = 0; given <= PTE_D; given = given ? given << 1 : PTE_A) {
                made_present(ring, false, given & PTE_A);
                made_present(ring, true, given);
                copied_on_write(ring, given | (given & PTE_D ? PTE_A : 0));
                made_writable(ring, given | (given & PTE_D ? PTE_A : 0));
            }
        check_variant(NULL);
    }
    check_finish("answered_faults");
}
