/* The page-permission matrix: every combination of the bits of a directory entry and a table
 * entry, under every combination of the control bits, with every kind of access at CPL 3, 0 and
 * implicitly by the processor. Each outcome (fault and its error code, CR2, A and D left behind)
 * is held against the model of pages_model.c; a record counts a kind of access under one
 * combination of control bits and names what differs.
 *
 * Options: "pae", "smap"; "thin=N" keeps one case of N, chosen by a hash of the case. */
#include "tests/system/pages_model.h"
#include "tests/system/record.h"

enum {
    PAGE = PROBE,       /* the page under test: alone in its directory entry */
    ALIAS = 0x40c00000, /* the same frame, always there */
    FRAME = 0x1000000,  /* its frame, also as a large page */
    CODE_AT = 0x100,
    DATA_AT = 0x200,
    TABLE_AT = 0x300, /* an LDT of two entries */
    STACK_AT = 0x800,
    RING1_GATE = 0x90,
    SMEP = 1 << 20, /* of CR4 */
    SMAP = 1 << 21,
    MISMATCHES_SHOWN = 6,
};

SNIPPET(read_page, "mov (%edx), %eax" DONE);
SNIPPET(write_page, "mov %eax, (%edx)" DONE);
SNIPPET(modify_page, "addl $0, (%edx)" DONE);
SNIPPET(exchange_page, "xchg %eax, (%edx)" DONE);
SNIPPET(fetch_page, "jmp *%ecx");
SNIPPET(push_frame, "int $0x90");
SNIPPET(load_segment, "mov %eax, %fs" DONE);
SNIPPET(in_ring1, "int $0x81");

enum run_kind { RUN_PLAIN, RUN_PUSH, RUN_SEGMENT };

static const struct kind {
    const char *name;
    const uint8_t *code, *code_end;
    unsigned ring;
    enum run_kind run;
    uint16_t selector;                /* of RUN_SEGMENT */
    enum access_kind access, access2; /* in this order; the second one only if it differs */
} kinds[] = {
    {"user-read", read_page, read_page_end, 3, 0, 0, ACCESS_READ, ACCESS_READ},
    {"user-write", write_page, write_page_end, 3, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"user-modify", modify_page, modify_page_end, 3, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"user-exchange", exchange_page, exchange_page_end, 3, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"user-fetch", fetch_page, fetch_page_end, 3, 0, 0, ACCESS_FETCH, ACCESS_FETCH},
    {"kernel-read", read_page, read_page_end, 0, 0, 0, ACCESS_READ, ACCESS_READ},
    {"kernel-write", write_page, write_page_end, 0, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"kernel-modify", modify_page, modify_page_end, 0, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"kernel-exchange", exchange_page, exchange_page_end, 0, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"kernel-fetch", fetch_page, fetch_page_end, 0, 0, 0, ACCESS_FETCH, ACCESS_FETCH},
    {"ring1-write", write_page, write_page_end, 1, 0, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"frame-push", push_frame, push_frame_end, 3, RUN_PUSH, 0, ACCESS_WRITE, ACCESS_WRITE},
    {"descriptor-read", load_segment, load_segment_end, 3, RUN_SEGMENT, 0x07, ACCESS_READ,
     ACCESS_READ},
    {"descriptor-mark", load_segment, load_segment_end, 3, RUN_SEGMENT, 0x0f, ACCESS_READ,
     ACCESS_WRITE},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* Differences by their kind: a modification that faults as a read, a fault for a reserved bit
 * that says that the page is not present, and everything else. */
struct totals {
    uint32_t cases, faults, reads_first, reserved_not_present, differ;
};

static bool pae;
static uint32_t table; /* of PAGE */
static uint32_t thin;
static volatile uint8_t *const frame = (volatile uint8_t *)ALIAS;

static struct entry entry_of(uint32_t bits) {
    return (struct entry){bits & 1,  bits & 2,  bits & 4,  bits & 8,
                          bits & 16, bits & 32, bits & 64, bits & 128};
}

/* The order of the bits in a combination: P W U A D, then PS, NX and a reserved bit. */
static uint32_t low_half(const struct entry *e, uint32_t address, bool directory) {
    uint32_t reserved = e->reserved && directory && e->large ? 1u << (pae ? 20 : 21) : 0;
    return address | reserved | PTE_G | (e->present ? PTE_P : 0u) | (e->writable ? PTE_W : 0u) |
           (e->user ? PTE_U : 0u) | (e->accessed ? PTE_A : 0u) | (e->dirty ? PTE_D : 0u) |
           (directory && e->large ? PTE_PS : 0u);
}

/* Bit 62 is above every MAXPHYADDR. */
static uint32_t high_half(const struct entry *e, bool directory) {
    bool reserved = e->reserved && !(directory && e->large);
    return (e->no_execute ? 1u << 31 : 0) | (reserved ? 1u << 30 : 0);
}

static void set_entry(volatile uint32_t *at, uint32_t low, uint32_t high) {
    if (pae)
        at[1] = high;
    *at = low;
}

static void set_entries(const struct entry *pde, const struct entry *pte, bool large) {
    volatile uint32_t *directory = space_directory_entry(&stage, PAGE);
    set_entry(directory, low_half(pde, large ? FRAME : table, true), high_half(pde, true));
    set_entry((volatile uint32_t *)table + (PAGE >> 12 & (pae ? 511 : 1023)) * (pae ? 2 : 1),
              low_half(pte, FRAME, false), high_half(pte, false));
    invlpg(PAGE);
}

/* A and D as they are now: bits 0-3 are A and D of the directory entry, then of the table's. */
static uint32_t marks_now(void) {
    uint32_t pde = *space_directory_entry(&stage, PAGE);
    uint32_t pte =
        *((volatile uint32_t *)table + (PAGE >> 12 & (pae ? 511 : 1023)) * (pae ? 2 : 1));
    return (pde >> 5 & 3) | (pte >> 5 & 3) << 2;
}

static uint32_t marks_of(const struct verdict *v) {
    return (uint32_t)v->pde.accessed | (uint32_t)v->pde.dirty << 1 |
           (uint32_t)v->pte.accessed << 2 | (uint32_t)v->pte.dirty << 3;
}

static void clear_frame_marks(void) {
    frame[TABLE_AT + 8 + 5] = 0xf2; /* the accessed bit of the second entry */
}

/* Copied once for a kind: a store to a page with code costs a translator dearly. */
static struct machine image_of(const struct kind *kind, bool ac) {
    struct machine m = ring_at(kind->ring, kind->code, (uint32_t)(kind->code_end - kind->code));
    if (kind->ring < 3)
        m.eip = address_of(kind->code); /* in place: SMEP forbids the stage's pages */
    m.edx = PAGE + DATA_AT;
    m.ecx = PAGE + CODE_AT;
    m.eax = kind->selector;
    if (ac)
        m.eflags |= FLAG_AC;
    return m;
}

/* Under SMAP the kernel's own code reaches user pages only with AC set. */
static void set_ac(void) {
    __asm__ volatile("pushfl; orl $0x40000, (%%esp); popfl" : : : "cc", "memory");
}

static uint32_t address_of_kind(const struct kind *kind) {
    if (kind->run == RUN_PUSH)
        return 0; /* any of the words pushed */
    if (kind->run == RUN_SEGMENT)
        return PAGE + TABLE_AT + (kind->selector & ~7u);
    return kind->access == ACCESS_FETCH ? PAGE + CODE_AT : PAGE + DATA_AT;
}

static bool cr2_fits(const struct kind *kind, uint32_t cr2) {
    uint32_t expected = address_of_kind(kind);
    if (kind->run == RUN_SEGMENT) /* eight bytes, or the one that the mark goes to */
        return cr2 >= expected && cr2 < expected + 8;
    return expected ? cr2 == expected : cr2 < PAGE + STACK_AT && cr2 >= PAGE + STACK_AT - 24;
}

static struct verdict expected(const struct control *control, const struct kind *kind, bool ac,
                               const struct entry *pde, const struct entry *pte) {
    bool implicit = kind->run != RUN_PLAIN;
    struct access access = {kind->access, kind->ring == 3 && !implicit, implicit, ac};
    struct verdict v = model_access(control, &access, *pde, *pte);
    if (v.fault || kind->access2 == kind->access)
        return v;
    access.kind = kind->access2;
    struct verdict second = model_access(control, &access, *pde, *pte);
    second.pde.accessed |= v.pde.accessed; /* the first access was let through */
    second.pte.accessed |= v.pte.accessed;
    return second;
}

static bool agrees(const struct verdict *v, const struct kind *kind, const struct machine *m,
                   uint32_t marks) {
    if (v->fault != (m->vector == VECTOR_PF) || (!v->fault && m->vector != VECTOR_DONE))
        return false;
    if (v->fault && (m->error != v->error || !cr2_fits(kind, m->cr2)))
        return false;
    uint32_t open = v->upper_accessed_free ? 5 : 0; /* both A bits */
    return ((marks ^ marks_of(v)) & ~open) == 0 && (marks | ~open) == (marks | ~open | marks_of(v));
}

static void show(const struct kind *kind, uint32_t pde, uint32_t pte, const struct verdict *v,
                 const struct machine *m, uint32_t marks) {
    print("  %s pde %02x pte %02x: ", kind->name, pde, pte);
    print("vector %x error %x cr2 %08x marks %x, ", m->vector, m->error, m->cr2, marks);
    print("the model: %s %x marks %x\n", v->fault ? "fault" : "done", v->error, marks_of(v));
}

struct series {
    struct control control;
    bool ac;
    unsigned number; /* of the combination of control bits */
    const struct kind *kind;
    struct machine image;
};

static void one_case(const struct series *series, uint32_t pde_bits, uint32_t pte_bits,
                     struct totals *totals) {
    const struct control *control = &series->control;
    const struct kind *kind = series->kind;
    struct entry pde = entry_of(pde_bits), pte = entry_of(pte_bits);
    set_entries(&pde, &pte, pde.large && (pae || control->pse));
    clear_frame_marks();
    struct machine m = series->image;
    guest_run(&m);
    set_ac();
    uint32_t marks = marks_now();
    struct verdict v = expected(control, kind, series->ac, &pde, &pte);
    totals->cases++;
    totals->faults += v.fault;
    if (agrees(&v, kind, &m, marks))
        return;
    bool both = v.fault && m.vector == VECTOR_PF && !((marks ^ marks_of(&v)) & ~5u);
    if (both && m.error == (v.error & ~(uint32_t)PF_WRITE))
        totals->reads_first++;
    else if (both && (v.error & PF_RESERVED) && m.error == (v.error & ~(uint32_t)PF_PRESENT))
        totals->reserved_not_present++;
    else if (both && (v.error & PF_RESERVED) &&
             m.error == (v.error & ~(uint32_t)(PF_PRESENT | PF_WRITE)))
        totals->reserved_not_present++, totals->reads_first++;
    else if (totals->differ++ < MISMATCHES_SHOWN)
        show(kind, pde_bits, pte_bits, &v, &m, marks);
}

static bool kept(uint32_t a, uint32_t b) {
    uint32_t hash = (a * 0x9e3779b1u ^ b * 0x85ebca6bu) * 0xc2b2ae35u;
    return (hash >> 8) % thin == 0;
}

static void all_entries(const struct series *series, struct totals *totals) {
    uint32_t stream = series->number * KINDS + (uint32_t)(series->kind - kinds);
    for (uint32_t pde = 0; pde < 256; pde++) {
        bool large = (pde & 32) && (pae || series->control.pse);
        if (!pae && (pde & 64)) /* no NX */
            continue;
        if (!pae && (pde & 128) && !large) /* no reserved bit */
            continue;
        uint32_t combinations = large ? 1 : pae ? 128 : 32;
        for (uint32_t bits = 0; bits < combinations; bits++) {
            /* Bit 5 of a table entry's combination is NX, bit 6 the reserved one. */
            uint32_t pte = (bits & 31) | (bits & 0x60) << 1;
            if (kept(pde << 8 | pte, stream))
                one_case(series, pde, pte, totals);
        }
    }
}

static void set_control(const struct control *c) {
    uint32_t cr0 = read_cr0() & ~(uint32_t)CR0_WP, cr4 = read_cr4();
    cr4 &= ~(uint32_t)(CR4_PSE | CR4_PGE | SMEP | SMAP);
    if (c->nxe || (pae && (cpuid(0x80000001).edx & CPUID_NX)))
        write_msr(MSR_EFER, c->nxe ? EFER_NXE : 0);
    write_cr4(cr4 | (c->pse ? CR4_PSE : 0u) | (c->pge ? CR4_PGE : 0u) | (c->smep ? SMEP : 0u) |
              (c->smap ? SMAP : 0u));
    write_cr0(cr0 | (c->wp ? CR0_WP : 0u));
}

static void print_name(const struct series *s) {
    const struct control *c = &s->control;
    print("= %s.wp%u.pse%u.pge%u.", pae ? "pae" : "32", c->wp, c->pse, c->pge);
    print("smep%u.nxe%u.smap%u.ac%u.%s", c->smep, c->nxe, c->smap, s->ac, s->kind->name);
}

static void print_totals(const struct series *s, const struct totals *totals) {
    print_name(s);
    print(" cases %u faults %u differ %u\n", totals->cases, totals->faults, totals->differ);
    print_name(s);
    print(".faults-as-read %u\n", totals->reads_first);
    print_name(s);
    print(".reserved-without-present %u\n", totals->reserved_not_present);
}

static void run_control(unsigned number, const struct control *c, bool ac) {
    const struct control plain = {.pae = pae, .wp = true, .pse = true};
    struct series series = {*c, ac, number, NULL, {0}};
    for (unsigned k = 0; k < KINDS; k++) {
        struct totals totals = {0};
        series.kind = &kinds[k];
        series.image = image_of(series.kind, ac);
        set_control(c);
        all_entries(&series, &totals);
        set_control(&plain);
        print_totals(&series, &totals);
    }
}

/* With PSE clear the 4 MiB pages of the identity map are gone: those in use become small ones. */
static void map_pool_small(void) {
    uint32_t size = space_large_page_size(&stage);
    for (uint32_t large = 4u << 20; large < 8u << 20; large += size) {
        uint32_t small = page_take(), step = pae ? 2 : 1;
        for (uint32_t at = 0; at < size; at += PAGE_SIZE)
            ((volatile uint32_t *)small)[at / PAGE_SIZE * step] = (large + at) | KERNEL_PAGE;
        *space_directory_entry(&stage, large) = small | KERNEL_PAGE;
    }
    write_cr3(stage.root);
}

/* The stack of ring 1 in the TSS, at offsets 12 and 16, and a gate that leads there. */
static void prepare_ring1(void) {
    *tss_word(12) = PAGE + STACK_AT;
    *tss_word(16) = RING1_DS;
    set_idt_gate(RING1_GATE, RING1_CS, address_of(in_ring1), 0xee);
}

static void prepare_frame(void) {
    static const uint8_t accessed[8] = {0xff, 0xff, 0, 0, 0, 0xf3, 0xcf, 0};
    table = page_take();
    stage_map(ALIAS, FRAME, KERNEL_PAGE);
    memcpy((void *)(ALIAS + CODE_AT), in_ring1, SNIPPET_SIZE(in_ring1));
    memcpy((void *)(ALIAS + TABLE_AT), accessed, 8);
    memcpy((void *)(ALIAS + TABLE_AT + 8), accessed, 8);
    gdt_set(LDT_SELECTOR, PAGE + TABLE_AT, 15, 0x82, 0);
    __asm__ volatile("lldt %w0" : : "r"(LDT_SELECTOR));
}

/* The bits of a combination: WP, PGE, SMEP, then PSE or (PAE) NXE. */
static struct control combination(unsigned n) {
    return (struct control){.pae = pae,
                            .wp = n & 1,
                            .pge = n & 2,
                            .smep = n & 4,
                            .pse = pae ? !(n & 2) : !!(n & 8),
                            .nxe = pae && (n & 8)};
}

static void run_smap(void) {
    if (!(cpuid(7).ebx & 1u << 20)) {
        record_skipped("smap", "CPUID does not offer it");
        return;
    }
    for (unsigned n = 0; n < 32; n++) {
        struct control c = combination(n & 15);
        c.smap = true;
        run_control(n, &c, n & 16);
    }
}

void guest_main(void) {
    record_start();
    pae = stage.kind == PAGING_PAE;
    thin = guest_option_number("thin", 1);
    map_pool_small();
    prepare_frame();
    prepare_ring1();
    if (guest_option("smap"))
        run_smap();
    else
        for (unsigned n = 0; n < 16; n++) {
            struct control c = combination(n);
            run_control(n, &c, false);
        }
    record_finish();
}
