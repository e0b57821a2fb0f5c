/* Pages that a kernel maps for a moment at one address, as for high memory, always reached by the
 * same few instructions: each round sees its own page, and faults as it should where there is none.
 */
#include "tests/guests/stage.h"

enum { ROUNDS = 100, WINDOW = PROBE, PAGES = 4, END = WINDOW + PAGE_SIZE };

/* EBX is the window. */
SNIPPET(load, "nop; mov 0x10(%ebx), %eax" DONE);
SNIPPET(store, "nop; mov %eax, 0x10(%ebx)" DONE);
SNIPPET(change, "nop; lock addl %eax, 0x10(%ebx)" DONE);
SNIPPET(high_byte, "nop; mov %ah, 0x10(%ebx)" DONE);
SNIPPET(pushed, "push %eax; mov 0x10(%ebx), %ecx; pop %eax; mov %ecx, %eax" DONE);
SNIPPET(fill, "nop; rep stosl" DONE);
SNIPPET(copy, "nop; rep movsl" DONE);

static const struct site {
    const char *name;
    const uint8_t *code, *end;
    uint32_t old, eax, after; /* the word before; EAX on the way in; the word after */
    uint32_t loaded;          /* EAX after */
    bool writes, string;
} sites[] = {
    {"load", load, load_end, 0x1234, 0, 0x1234, 0x1234, false, false},
    {"store", store, store_end, 1, 0x5678, 0x5678, 0x5678, true, false},
    {"read-modify-write", change, change_end, 0x100, 0x11, 0x111, 0x11, true, false},
    {"high-byte", high_byte, high_byte_end, 0, 0xab00, 0xab, 0xab00, true, false},
    {"between-push-and-pop", pushed, pushed_end, 0x4321, 0, 0x4321, 0x4321, false, false},
    {"fill", fill, fill_end, 7, 0x99, 0x99, 0x99, true, true},
    {"copy", copy, copy_end, 7, 0, 0x2468, 0, true, true},
};

static uint32_t pages[PAGES];

static struct machine run(const struct site *site, uint32_t window, uint32_t count) {
    struct machine m = stage_at(0, CODE, site->code, (uint32_t)(site->end - site->code));
    m.ebx = window;
    m.edi = window;
    m.esi = DATA;
    m.ecx = count;
    m.eax = site->eax;
    guest_run(&m);
    return m;
}

/* The code is put in place once: a site that is translated anew each time learns nothing. */
static struct machine again(const struct site *site, struct machine m, uint32_t window,
                            uint32_t count) {
    m.eip = CODE;
    m.ebx = m.edi = window;
    m.esi = DATA;
    m.ecx = count;
    m.eax = site->eax;
    guest_run(&m);
    return m;
}

static void rounds(const struct site *site) {
    uint32_t wrong = 0;
    struct machine m = run(site, DATA + 0x800, 1);
    m.eflags = 2;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t page = pages[i % PAGES];
        *word_at(page + 0x10) = site->old;
        *word_at(page + 0x14) = 0x77;
        stage_map(WINDOW, page, KERNEL_PAGE);
        m = again(site, m, WINDOW, 5);
        wrong += m.vector != VECTOR_DONE || *word_at(page + 0x10) != site->after ||
                 *word_at(page + 0x14) != 0x77 || m.eax != site->loaded;
        if (site->string)
            wrong += m.ecx != 0 || m.edi != WINDOW + 20;
        stage_map(WINDOW, 0, 0);
    }
    check("rounds", 0, wrong);
    m = again(site, m, WINDOW, 5);
    check("gone", VECTOR_PF, m.vector);
    check("gone.cr2", site->string ? WINDOW : WINDOW + 0x10, m.cr2);
    check("gone.error", site->writes ? PF_WRITE : 0, m.error);
    check("gone.eip", 1, m.eip - CODE);
    if (site->writes) {
        stage_map(WINDOW, pages[0], PTE_P);
        m = again(site, m, WINDOW, 5);
        check("read-only", VECTOR_PF, m.vector);
        check("read-only.error", PF_PRESENT | PF_WRITE, m.error);
    }
    stage_map(WINDOW, 0, 0);
}

static void at_the_end(const struct site *site) {
    struct machine m = run(site, DATA + 0x800, 1);
    m.eflags = 2;
    stage_map(WINDOW, pages[0], KERNEL_PAGE);
    stage_map(END, pages[1], KERNEL_PAGE);
    *word_at(pages[0] + PAGE_SIZE - 2) = *word_at(pages[1]) = 0;
    uint32_t across = site->string ? END - 6 : END - 0x12;
    m = again(site, m, across, 5);
    check("across-pages", VECTOR_DONE, m.vector);
    check("across-pages.dirty", site->writes, (*space_entry(&stage, END) & PTE_D) != 0);
    stage_map(END, 0, 0);
    m = again(site, m, across, 5);
    check("across-to-hole", VECTOR_PF, m.vector);
    check("across-to-hole.cr2", END, m.cr2);
    if (site->string)
        check("across-to-hole.left", 4, m.ecx);
    stage_map(WINDOW, 0, 0);
}

void guest_main(void) {
    stage_start();
    for (uint32_t i = 0; i < PAGES; i++)
        pages[i] = page_take();
    for (uint32_t i = 0; i < 5; i++)
        *word_at(DATA + 4 * i) = i == 4 ? 0x2468 : i;
    for (unsigned i = 0; i < sizeof sites / sizeof *sites; i++) {
        check_variant(sites[i].name);
        rounds(&sites[i]);
        if (sites[i].code != high_byte)
            at_the_end(&sites[i]);
        check_variant(NULL);
    }
    check_finish("momentary_pages");
}
