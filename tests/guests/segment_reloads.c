/* Loads of segment registers with what they hold already: selector and hidden part are what the tables say at that
 * moment, whatever was there when the same was loaded before; and faults come as ever. */
#include "tests/guests/stage.h"

enum {
    SEGMENT = FREE_SELECTOR,
    LDT_SELECTOR = FREE_SELECTOR + 8,
    IN_LDT = 4, /* its first entry */
    KERNEL_RW = 0x93, /* present, DPL 0, writable data, accessed */
    USER_RW = 0xf3,
    LDT_TYPE = 0x82,
    PAGES_32 = 12,
    TABLE = PROBE, /* a GDT of our own */
    FLAGS = FLAG_CF | FLAG_SF | FLAG_OF,
};

#define THRICE(segment) "mov %edx, %" segment "; mov %edx, %" segment "; mov %edx, %" segment "\n"
#define POP(segment) "push %edx; pop %" segment "\n"
#define POP_THRICE(segment) POP(segment) POP(segment) POP(segment)
#define READ(segment) "mov %" segment ":0x10, %eax; mov %" segment ", %ebp" DONE
#define SITES(segment)                                                                                     \
    SNIPPET(same_##segment, "nop;" THRICE(#segment) READ(#segment));                                       \
    SNIPPET(changed_##segment, "nop;" THRICE(#segment) "mov %ebx, (%esi)\n" THRICE(#segment) READ(#segment)); \
    SNIPPET(table_##segment, "nop;" THRICE(#segment) "lgdt (%edi)\n" THRICE(#segment) READ(#segment));     \
    SNIPPET(local_##segment, "nop;" THRICE(#segment) "lldt %bx\n" THRICE(#segment) READ(#segment));        \
    SNIPPET(remapped_##segment, "nop;" THRICE(#segment) "mov %ebx, %ss:(%esi); invlpg %ss:(%edi)\n"        \
                                THRICE(#segment) READ(#segment));                                          \
    SNIPPET(popped_##segment, "nop;" POP_THRICE(#segment) "mov %ebx, (%esi)\n" POP_THRICE(#segment) READ(#segment)); \
    SNIPPET(other_##segment, "nop;" THRICE(#segment) "lea 3(%edx), %edx\n" THRICE(#segment) READ(#segment));

SITES(es)
SITES(fs)
SITES(gs)

#define SITE(kind, segment) {kind##_##segment, kind##_##segment##_end}
#define ROW(segment)                                                                                       \
    {#segment, SITE(same, segment), SITE(changed, segment), SITE(table, segment), SITE(local, segment),    \
     SITE(remapped, segment), SITE(other, segment), SITE(popped, segment)}

struct code {
    const uint8_t *start, *end;
};
static const struct row {
    const char *name;
    struct code same, changed, table, local, remapped, other, popped;
} rows[] = {ROW(es), ROW(fs), ROW(gs)};

struct __attribute__((packed)) table_register {
    uint16_t limit;
    uint32_t base;
};

static struct machine run(unsigned ring, const struct code *code, uint32_t selector, uint32_t ebx, uint32_t esi,
                          uint32_t edi) {
    struct machine m = stage_at(ring, CODE, code->start, (uint32_t)(code->end - code->start));
    m.edx = selector, m.ebx = ebx, m.esi = esi, m.edi = edi;
    m.ecx = 0xfeedbeef;
    m.eflags = 2 | FLAGS;
    guest_run(&m);
    check("ecx", 0xfeedbeef, m.ecx);
    check("flags", FLAGS, m.eflags & FLAGS);
    return m;
}

static uint32_t descriptor_of(uint32_t selector) { return gdt_address() + (selector & ~7u); }
static void set_base(uint32_t base) { gdt_set(SEGMENT, base, 0xfffff, KERNEL_RW, PAGES_32); }

static void same_and_changed(const struct row *row) {
    set_base(DATA);
    struct machine m = run(0, &row->same, SEGMENT, 0, 0, 0);
    check("same", 0x1111, m.eax);
    check("same.selector", SEGMENT, m.ebp & 0xffff);
    uint32_t low = *word_at(descriptor_of(SEGMENT));
    m = run(0, &row->changed, SEGMENT, low + (0x100u << 16), descriptor_of(SEGMENT), 0);
    check("changed", 0x2222, m.eax);
    set_base(DATA);
    uint32_t high = *word_at(descriptor_of(SEGMENT) + 4);
    m = run(0, &row->changed, SEGMENT, high & ~0x8000u, descriptor_of(SEGMENT) + 4, 0);
    check_trap("not-present", &m, 11, SEGMENT, m.eip);
    check("not-present.eip", 1, m.eip > CODE + 2);
    set_base(DATA);
    gdt_set(SEGMENT, DATA, 0xfffff, USER_RW, PAGES_32);
    m = run(0, &row->other, SEGMENT, 0, 0, 0);
    check("other-rpl", SEGMENT | 3, m.ebp & 0xffff);
    check("other-rpl.value", 0x1111, m.eax);
    set_base(DATA);
    m = run(3, &row->same, SEGMENT, 0, 0, 0);
    check_trap("ring3", &m, VECTOR_GP, SEGMENT, CODE + 1);
}

/* Words, whatever stands above them, and ESP is where it was. */
static void popped(const struct row *row) {
    set_base(DATA);
    uint32_t low = *word_at(descriptor_of(SEGMENT)), high = *word_at(descriptor_of(SEGMENT) + 4);
    uint32_t esp = stage_at(0, CODE, row->popped.start, 1).esp;
    struct machine m = run(0, &row->popped, SEGMENT | 0xabcd0000u, low + (0x100u << 16), descriptor_of(SEGMENT), 0);
    check("popped", 0x2222, m.eax);
    check("popped.selector", SEGMENT, m.ebp & 0xffff);
    check("popped.esp", esp, m.esp);
    set_base(DATA);
    m = run(0, &row->popped, SEGMENT, high & ~0x8000u, descriptor_of(SEGMENT) + 4, 0);
    check_trap("popped-not-present", &m, 11, SEGMENT, m.eip);
    check("popped-not-present.esp", esp - 4, m.esp);
    set_base(DATA);
}

static void other_table(const struct row *row) {
    static struct table_register there, back;
    uint32_t page = page_take();
    back = (struct table_register){(uint16_t)gdt_limit(), gdt_address()};
    set_base(DATA);
    memcpy((void *)page, (const void *)gdt_address(), gdt_limit() + 1);
    *word_at(page + SEGMENT) += 0x100u << 16;
    there = (struct table_register){(uint16_t)gdt_limit(), page};
    struct machine m = run(0, &row->table, SEGMENT, 0, 0, address_of(&there));
    check("other-table", 0x2222, m.eax);
    there.limit = SEGMENT - 1;
    __asm__ volatile("lgdt %0" : : "m"(back));
    m = run(0, &row->table, SEGMENT, 0, 0, address_of(&there));
    check_trap("short-table", &m, VECTOR_GP, SEGMENT, m.eip);
    __asm__ volatile("lgdt %0" : : "m"(back));
}

static void other_local_table(const struct row *row) {
    uint32_t tables[2] = {page_take(), page_take()};
    for (unsigned i = 0; i < 2; i++) {
        set_base(DATA + i * 0x100);
        memcpy((void *)tables[i], (const void *)descriptor_of(SEGMENT), 8);
        gdt_set(LDT_SELECTOR + 8 * i, tables[i], 7, LDT_TYPE, 0);
    }
    __asm__ volatile("lldt %w0" : : "r"(LDT_SELECTOR));
    struct machine m = run(0, &row->local, IN_LDT, LDT_SELECTOR + 8, 0, 0);
    check("other-local-table", 0x2222, m.eax);
    __asm__ volatile("lldt %w0" : : "r"(0));
}

/* The page that the GDT stands on becomes another one. */
static void other_page(const struct row *row) {
    static struct table_register there, back;
    uint32_t pages[2] = {page_take(), page_take()};
    back = (struct table_register){(uint16_t)gdt_limit(), gdt_address()};
    there = (struct table_register){(uint16_t)gdt_limit(), TABLE};
    for (unsigned i = 0; i < 2; i++) {
        set_base(DATA + i * 0x100);
        memcpy((void *)pages[i], (const void *)gdt_address(), gdt_limit() + 1);
    }
    stage_map(TABLE, pages[0], KERNEL_PAGE);
    __asm__ volatile("lgdt %0" : : "m"(there));
    volatile uint32_t *entry = word_at(address_of(space_entry(&stage, TABLE)));
    struct machine m = run(0, &row->remapped, SEGMENT, pages[1] | (*entry & 0xfff), address_of(entry), TABLE);
    check("other-page", 0x2222, m.eax);
    __asm__ volatile("lgdt %0" : : "m"(back));
    stage_map(TABLE, 0, 0);
}

void guest_main(void) {
    stage_start();
    *word_at(DATA + 0x10) = 0x1111;
    *word_at(DATA + 0x110) = 0x2222;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_variant(rows[i].name);
        same_and_changed(&rows[i]);
        popped(&rows[i]);
        other_table(&rows[i]);
        other_local_table(&rows[i]);
        other_page(&rows[i]);
    }
    check_variant(NULL);
    check_finish("segment_reloads");
}
