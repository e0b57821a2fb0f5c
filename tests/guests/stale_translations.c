/* Page table entries that change: what must be seen after INVLPG, a CR3 load, a change of CR4.PGE
 * and with no flush at all. Where a TLB may be stale, old and new are both right (3A 4.10). */
#include "tests/guests/stage.h"

enum { SECOND = PROBE + PAGE_SIZE, OLD = 0x01d01d01, NEW = 0x2e32e32e, GLOBAL = PROBE + 0x100000 };

static uint32_t page_old, page_new;

static void set(uint32_t linear, uint32_t physical, uint32_t flags) {
    space_map(&stage, linear, physical, flags);
}

static void reset(uint32_t flags) {
    set(PROBE, page_old, USER_PAGE | flags);
    invlpg(PROBE);
    check("before", OLD, *word_at(PROBE));
}

static void check_either(const char *name, uint32_t got) {
    check_true(name, got == OLD || got == NEW);
}

static void without_flush(void) {
    reset(0);
    set(PROBE, page_new, USER_PAGE);
    check_either("unflushed", *word_at(PROBE));
    invlpg(PROBE);
    check("invlpg", NEW, *word_at(PROBE));
    reset(0);
    set(PROBE, page_new, USER_PAGE);
    write_cr3(stage.root);
    check("cr3", NEW, *word_at(PROBE));
}

/* An unflushed change must survive the refill of the entry beside it. */
static void beside_a_refilled_entry(void) {
    reset(0);
    set(SECOND, 0, 0);
    invlpg(SECOND);
    set(PROBE, page_new, USER_PAGE);
    set(SECOND, page_old, USER_PAGE);
    check("refilled", OLD, *word_at(SECOND)); /* from "not present": no flush is needed */
    invlpg(PROBE);
    check("beside-refilled.invlpg", NEW, *word_at(PROBE));
    reset(0);
    set(SECOND, 0, 0);
    invlpg(SECOND);
    set(PROBE, page_new, USER_PAGE);
    set(SECOND, page_old, USER_PAGE);
    (void)*word_at(SECOND);
    write_cr3(stage.root);
    check("beside-refilled.cr3", NEW, *word_at(PROBE));
    /* The same with a remap of the neighbour by INVLPG. */
    reset(0);
    set(PROBE, page_new, USER_PAGE);
    set(SECOND, page_new, USER_PAGE);
    invlpg(SECOND);
    check("neighbour", NEW, *word_at(SECOND));
    invlpg(PROBE);
    check("beside-invlpg.invlpg", NEW, *word_at(PROBE));
}

/* There and back between two flushes: the value is the same, the page was used in between. */
static void there_and_back(void) {
    reset(0);
    for (uint32_t i = 0; i < 100; i++) {
        set(PROBE, i & 1 ? page_old : page_new, USER_PAGE);
        if (i % 3 == 0)
            write_cr3(stage.root);
        else
            invlpg(PROBE);
        check_true("alternating", *word_at(PROBE) == (i & 1 ? OLD : NEW));
    }
}

SNIPPET(store, "mov %eax, (%ebx)" DONE);
SNIPPET(load, "mov (%ebx), %eax" DONE);

static struct machine access(unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.ebx = PROBE;
    m.eax = OLD;
    guest_run(&m);
    return m;
}

static void rights(void) {
    reset(0);
    *word_at(PROBE) = OLD;
    set(PROBE, page_old, PTE_P | PTE_U);
    invlpg(PROBE);
    struct machine m = access(3, store, SNIPPET_SIZE(store));
    check("write-protected", VECTOR_PF, m.vector);
    check("write-protected.error", PF_PRESENT | PF_WRITE | PF_USER, m.error);
    set(PROBE, page_old, USER_PAGE); /* after a fault the entry is read anew */
    guest_run(&m);
    check("write-allowed-after-fault", VECTOR_DONE, m.vector);
    set(PROBE, page_old, KERNEL_PAGE);
    invlpg(PROBE);
    m = access(3, load, SNIPPET_SIZE(load));
    check("taken-from-user", VECTOR_PF, m.vector);
    check("still-the-kernels", OLD, *word_at(PROBE));
    set(PROBE, page_old, 0);
    invlpg(PROBE);
    m = access(0, load, SNIPPET_SIZE(load));
    check("gone", VECTOR_PF, m.vector);
    check("gone.error", 0, m.error);
    set(PROBE, page_new, USER_PAGE);
    guest_run(&m);
    check("came-without-flush", NEW, m.eax);
}

/* The directory above changes while the table below stays as it is. */
static void directories(void) {
    volatile uint32_t *entry = space_directory_entry(&stage, PROBE);
    uint32_t kept = *entry, other = page_take();
    reset(0);
    memcpy((void *)other, (void *)(kept & ~0xfffu), PAGE_SIZE);
    uint32_t offset = address_of(space_entry(&stage, PROBE)) & 0xfff;
    *word_at(other + offset) = page_new | USER_PAGE;
    *entry = other | USER_PAGE;
    write_cr3(stage.root);
    check("directory.cr3", NEW, *word_at(PROBE));
    *entry = kept;
    invlpg(PROBE);
    check("directory.invlpg", OLD, *word_at(PROBE));
    *entry = 0;
    write_cr3(stage.root);
    struct machine m = access(0, load, SNIPPET_SIZE(load));
    check("directory.gone", VECTOR_PF, m.vector);
    *entry = kept & ~(uint32_t)PTE_U;
    write_cr3(stage.root);
    m = access(3, load, SNIPPET_SIZE(load));
    check("directory.not-users", VECTOR_PF, m.vector);
    check("directory.kernels", OLD, *word_at(PROBE));
    *entry = kept;
    write_cr3(stage.root);
    m = access(3, load, SNIPPET_SIZE(load));
    check("directory.users-again", OLD, m.eax);
}

static void large_to_small(void) {
    uint32_t base = 12u << 20;
    volatile uint32_t *entry = space_directory_entry(&stage, GLOBAL + (64u << 20));
    uint32_t linear = (GLOBAL + (64u << 20)) & ~(space_large_page_size(&stage) - 1);
    *entry = base | USER_PAGE | PTE_PS;
    *word_at(base) = OLD;
    check("large", OLD, *word_at(linear));
    uint32_t table = page_take();
    *word_at(table) = page_new | USER_PAGE;
    *entry = table | USER_PAGE;
    write_cr3(stage.root);
    check("large-to-small", NEW, *word_at(linear));
    *entry = base | USER_PAGE | PTE_PS;
    invlpg(linear);
    check("small-to-large", OLD, *word_at(linear));
    *entry = 0;
}

static void global_pages(void) {
    if (!(cpuid(1).edx & CPUID_PGE))
        return;
    write_cr4(read_cr4() | CR4_PGE);
    reset(PTE_G);
    set(PROBE, page_new, USER_PAGE | PTE_G);
    write_cr3(stage.root);
    check_either("global.cr3", *word_at(PROBE)); /* may be kept, need not be */
    invlpg(PROBE);
    check("global.invlpg", NEW, *word_at(PROBE));
    reset(PTE_G);
    set(PROBE, page_new, USER_PAGE | PTE_G);
    write_cr4(read_cr4() & ~(uint32_t)CR4_PGE);
    check("global.pge-off", NEW, *word_at(PROBE));
    write_cr4(read_cr4() | CR4_PGE);
    reset(PTE_G);
    set(PROBE, page_new, USER_PAGE | PTE_G);
    write_cr4(read_cr4() & ~(uint32_t)CR4_PGE);
    write_cr4(read_cr4() | CR4_PGE);
    check("global.pge-toggled", NEW, *word_at(PROBE));
    write_cr4(read_cr4() & ~(uint32_t)CR4_PGE);
}

static void paging_toggled(void) {
    reset(0);
    set(PROBE, page_new, USER_PAGE);
    paging_off();
    space_enter(&stage);
    check("paging-off-and-on", NEW, *word_at(PROBE));
}

void guest_main(void) {
    stage_start();
    page_old = page_take(), page_new = page_take();
    *word_at(page_old) = OLD, *word_at(page_new) = NEW;
    without_flush();
    beside_a_refilled_entry();
    there_and_back();
    rights();
    directories();
    large_to_small();
    global_pages();
    paging_toggled();
    check_finish("stale_translations");
}
