/* Loads of segment registers, and LAR, LSL, VERR and VERW, of every descriptor: all 256 values of
 * the access byte, every RPL, every CPL (SDM vol. 3A, 5.4-5.6 and 5.10).
 *
 * A line has the sixteen types of one P, DPL and S. "ok" may be followed by "a": the load has set
 * the accessed bit. */
#include "tests/system/record.h"

SNIPPET(mov_ds, "mov %eax, %ds" DONE);
SNIPPET(mov_es, "mov %eax, %es" DONE);
SNIPPET(mov_fs, "mov %eax, %fs" DONE);
SNIPPET(mov_gs, "mov %eax, %gs" DONE);
SNIPPET(mov_ss, "mov %eax, %ss" DONE);
SNIPPET(pop_ds, "push %eax; pop %ds" DONE);
SNIPPET(pop_es, "push %eax; pop %es" DONE);
SNIPPET(pop_fs, "push %eax; pop %fs" DONE);
SNIPPET(pop_gs, "push %eax; pop %gs" DONE);
SNIPPET(pop_ss, "push %eax; pop %ss" DONE);
SNIPPET(lds, "mov %eax, 4(%ebx); lds (%ebx), %ecx" DONE);
SNIPPET(les, "mov %eax, 4(%ebx); les (%ebx), %ecx" DONE);
SNIPPET(lfs, "mov %eax, 4(%ebx); lfs (%ebx), %ecx" DONE);
SNIPPET(lgs, "mov %eax, 4(%ebx); lgs (%ebx), %ecx" DONE);
SNIPPET(lss, "mov %esp, (%ebx); mov %eax, 4(%ebx); lss (%ebx), %esp" DONE);
SNIPPET(lar, "mov $0x5a5a5a5a, %ecx; lar %eax, %ecx" DONE);
SNIPPET(lsl, "mov $0x5a5a5a5a, %ecx; lsl %eax, %ecx" DONE);
SNIPPET(verr, "verr %ax" DONE);
SNIPPET(verw, "verw %ax" DONE);
SNIPPET(lldt, "lldt %ax" DONE);
SNIPPET(ltr, "ltr %ax" DONE);

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }

static struct machine run(const struct way *way, unsigned ring, uint32_t selector) {
    struct machine m = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    m.eax = selector;
    guest_run(&m);
    restore_stack_segment();
    return m;
}

static void types_line(const struct way *way, unsigned ring, unsigned rpl, uint8_t high) {
    record_case("ring%x.rpl%x.access%x", ring, rpl, high, 0);
    line_begin(way->name);
    for (uint8_t type = 0; type < 16; type++) {
        set_flat(TEST_SELECTOR, high | type);
        struct machine m = run(way, ring, TEST_SELECTOR | rpl);
        line_outcome(&m, TEST_SELECTOR);
        if (access_of(TEST_SELECTOR) != (high | type))
            line_text("a");
    }
    line_end();
}

static void loads(void) {
    static const struct way all[] = {WAY(mov_ds), WAY(mov_es), WAY(mov_fs), WAY(mov_gs),
                                     WAY(mov_ss)};
    static const struct way others[] = {WAY(pop_ds), WAY(pop_es), WAY(pop_fs), WAY(pop_gs),
                                        WAY(pop_ss), WAY(lds),    WAY(les),    WAY(lfs),
                                        WAY(lgs),    WAY(lss)};
    record_section("load");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned high = 0; high < 256; high += 16)
            for (unsigned rpl = 0; rpl < 4; rpl++) {
                for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
                    types_line(&all[i], ring, rpl, (uint8_t)high);
                for (unsigned i = 0; rpl == ring && i < sizeof others / sizeof *others; i++)
                    types_line(&others[i], ring, rpl, (uint8_t)high);
            }
}

static void queries_line(const struct way *way, unsigned ring, unsigned rpl, uint8_t high) {
    record_case("ring%x.rpl%x.access%x", ring, rpl, high, 0);
    line_begin(way->name);
    for (uint8_t type = 0; type < 16; type++) {
        gdt_set(TEST_SELECTOR, 0x12345678, 0xabcde, high | type, 0xc);
        struct machine m = run(way, ring, TEST_SELECTOR | rpl);
        if (m.vector != VECTOR_DONE)
            line_outcome(&m, TEST_SELECTOR);
        else if (way->code == lar || way->code == lsl)
            line_value(m.eflags & FLAG_ZF ? m.ecx & (way->code == lar ? ~0xf0000u : ~0u) : 0);
        else
            line_text(m.eflags & FLAG_ZF ? "yes" : "no");
    }
    line_end();
}

static void queries(void) {
    static const struct way all[] = {WAY(lar), WAY(lsl), WAY(verr), WAY(verw)};
    record_section("query");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned high = 0; high < 256; high += 16)
            for (unsigned rpl = 0; rpl < 4; rpl++)
                for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
                    queries_line(&all[i], ring, rpl, (uint8_t)high);
}

/* Selectors without a descriptor: null with every RPL, beyond the GDT's limit, in an LDT that is
 * not there and in one that ends within the descriptor. */
static void odd_selectors(void) {
    static const struct way all[] = {WAY(mov_ds), WAY(mov_gs), WAY(mov_ss), WAY(pop_ss), WAY(lss),
                                     WAY(lar),    WAY(lsl),    WAY(verr),   WAY(verw)};
    static uint8_t table[16] __attribute__((aligned(8)));
    static const uint32_t selectors[] = {0,      4,     0xc, GDT_ENTRIES * 8, GDT_ENTRIES * 8 - 8,
                                         0xfff8, 0xfffc};
    record_section("odd");
    memcpy(table, (void *)(gdt_address() + (USER_DS & ~7u)), 8);
    memcpy(table + 8, table, 8);
    for (unsigned limit = 0; limit < 16; limit += 5) {
        gdt_set(LDT_SELECTOR, address_of(table), limit, 0x82, 0);
        __asm__ volatile("lldt %w0" : : "r"(limit ? LDT_SELECTOR : 0));
        for (unsigned ring = 0; ring < 4; ring++)
            for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
                record_case("ldt%x.ring%x", limit, ring, 0, 0);
                line_begin(all[i].name);
                for (unsigned s = 0; s < sizeof selectors / sizeof *selectors; s++)
                    for (unsigned rpl = 0; rpl < 4; rpl++) {
                        struct machine m = run(&all[i], ring, selectors[s] | rpl);
                        line_outcome(&m, selectors[s]);
                        line_text(m.eflags & FLAG_ZF ? "z" : "-");
                    }
                line_end();
            }
    }
    __asm__ volatile("lldt %w0" : : "r"(0));
}

/* LLDT and LTR of every descriptor, the loaded ones without use. TSS_SELECTOR is loaded again. */
static void system_loads(void) {
    static const struct way all[] = {WAY(lldt), WAY(ltr)};
    record_section("system");
    for (unsigned i = 0; i < 2; i++)
        for (unsigned high = 0; high < 256; high += 16) {
            record_case("access%x", high, 0, 0, 0);
            line_begin(all[i].name);
            for (uint8_t type = 0; type < 16; type++) {
                /* As a TSS it has the stack of ring 0 where the real one has it: base 0 would not.
                 */
                gdt_set(TEST_SELECTOR, address_of((const void *)tss_word(0)), 0x67,
                        (uint8_t)(high | type), 0);
                struct machine m = run(&all[i], 0, TEST_SELECTOR);
                line_outcome(&m, TEST_SELECTOR);
                line_value(access_of(TEST_SELECTOR));
                __asm__ volatile("lldt %w0" : : "r"(0));
                *word_at(gdt_address() + TSS_SELECTOR + 4) &= ~0x200u; /* not busy */
                __asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
            }
            line_end();
        }
}

void guest_main(void) {
    record_start();
    loads();
    queries();
    odd_selectors();
    system_loads();
    record_finish();
}
