/* FS and GS at CPL 0, whatever they hold and wherever their sums lead: one instruction meets segments that are flat but for
 * a base, others, and null, in turn. */
#include "tests/guests/stage.h"

enum {
    FIRST = FREE_SELECTOR,
    SECOND = FREE_SELECTOR + 8,
    KERNEL_RW = 0x93,
    KERNEL_R = 0x91,
    PAGES_32 = 12,
    BYTES_32 = 4,
    LOW_OFFSET = 0x10,
    MIDDLE_OFFSET = 0x7fff0010,
};

#define HIGH 0xe0000000u
#define HIGH_OFFSET 0xc0001010u
#define HIGHEST_OFFSET 0xf0001010u

/* EDX and ESI by turns, EDI times; the last two values in EAX and EBP. */
#define ROUNDS(segment, operand)                                                                           \
    "1: mov %edx, %" segment "; mov %ebp, %eax; mov %" segment ":" operand ", %ebp\n"                      \
    "xchg %edx, %esi; dec %edi; jnz 1b" DONE
#define SITES(segment)                                                                                     \
    SNIPPET(low_##segment, ROUNDS(#segment, "0x10"));                                                      \
    SNIPPET(middle_##segment, ROUNDS(#segment, "0x7fff0010"));                                             \
    SNIPPET(high_##segment, ROUNDS(#segment, "0xc0001010"));                                               \
    SNIPPET(highest_##segment, ROUNDS(#segment, "0xf0001010"));                                            \
    SNIPPET(register_##segment, ROUNDS(#segment, "(%ecx)"));                                               \
    SNIPPET(sum_##segment, ROUNDS(#segment, "-0x10(%ecx,%ebx,2)"));                                        \
    SNIPPET(write_##segment, "mov %edx, %" #segment "; incl %" #segment ":0x10; mov %esi, %" #segment      \
                             "; incl %" #segment ":0x10" DONE);                                           \
    SNIPPET(bits_##segment, "mov %edx, %" #segment "; bts %ecx, %" #segment ":0x10; setc %al" DONE);

SITES(fs)
SITES(gs)

struct code {
    const uint8_t *start, *end;
};
#define SITE(kind, segment) {kind##_##segment, kind##_##segment##_end}
#define ROW(segment)                                                                                       \
    {#segment, {SITE(low, segment), SITE(middle, segment), SITE(high, segment), SITE(highest, segment),    \
                SITE(register, segment), SITE(sum, segment)}, SITE(write, segment), SITE(bits, segment)}
enum { KINDS = 6 };
static const struct row {
    const char *name;
    struct code sites[KINDS], write, bits;
} rows[] = {ROW(fs), ROW(gs)};

static struct machine run(const struct code *code, uint32_t first, uint32_t second, uint32_t ecx) {
    struct machine m = stage_at(0, CODE, code->start, (uint32_t)(code->end - code->start));
    m.edx = first, m.esi = second, m.edi = 6;
    m.ebx = 8, m.ecx = ecx, m.ebp = 0;
    guest_run(&m);
    return m;
}

static void set_bases(uint32_t first, uint32_t second) {
    gdt_set(FIRST, first, 0xfffff, KERNEL_RW, PAGES_32);
    gdt_set(SECOND, second, 0xfffff, KERNEL_RW, PAGES_32);
}

static void sums(const struct row *row) {
    static const uint32_t offsets[] = {LOW_OFFSET, MIDDLE_OFFSET, HIGH_OFFSET, HIGHEST_OFFSET};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
            if (kind < 4 && i != kind)
                continue;
            set_bases(DATA + LOW_OFFSET - offsets[i], HIGH + LOW_OFFSET - offsets[i]);
            struct machine m = run(&row->sites[kind], FIRST, SECOND, offsets[i]);
            check("sum.first", 0x1111, m.eax);
            check("sum.second", 0x2222, m.ebp);
        }
    }
}

/* Another limit, and what it does not allow. */
static void limits(const struct row *row) {
    set_bases(DATA, DATA);
    gdt_set(SECOND, HIGH, 0x13, KERNEL_RW, BYTES_32);
    struct machine m = run(&row->sites[0], FIRST, SECOND, 0);
    check("limit.first", 0x1111, m.eax);
    check("limit.second", 0x2222, m.ebp);
    gdt_set(SECOND, HIGH, 0x12, KERNEL_RW, BYTES_32);
    for (unsigned kind = 0; kind < 5; kind += 4) {
        m = run(&row->sites[kind], FIRST, SECOND, LOW_OFFSET);
        check_trap("limit", &m, VECTOR_GP, 0, m.eip);
        check("limit.before", 0x1111, m.eax);
        m = run(&row->sites[kind], FIRST, 0, LOW_OFFSET);
        check_trap("null", &m, VECTOR_GP, 0, m.eip);
        check("null.before", 0x1111, m.eax);
        check("null.rounds", 5, m.edi);
        m = run(&row->sites[kind], 3, FIRST, LOW_OFFSET);
        check_trap("null-3", &m, VECTOR_GP, 0, m.eip);
        check("null-3.rounds", 6, m.edi);
    }
}

static void writes(const struct row *row) {
    set_bases(DATA, DATA);
    gdt_set(SECOND, DATA, 0xfffff, KERNEL_R, PAGES_32);
    struct machine m = run(&row->write, FIRST, SECOND, 0);
    check_trap("read-only", &m, VECTOR_GP, 0, m.eip);
    check("read-only.first", 0x1112, *word_at(DATA + LOW_OFFSET));
    m = run(&row->write, FIRST, FIRST, 0);
    check("written", 0x1114, *word_at(DATA + LOW_OFFSET));
    *word_at(DATA + LOW_OFFSET) = 0x1111;
    m = run(&row->bits, FIRST, 0, 0xfffffff1u); /* 15 bits below */
    check("bits", 1u << 17, *word_at(DATA + LOW_OFFSET - 4));
    *word_at(DATA + LOW_OFFSET - 4) = 0;
}

/* A page fault names the linear address. */
static void faults(const struct row *row) {
    set_bases(HOLE, DATA);
    struct machine m = run(&row->sites[0], SECOND, FIRST, 0);
    check_trap("hole", &m, VECTOR_PF, 0, m.eip);
    check("hole.cr2", HOLE + LOW_OFFSET, m.cr2);
    check("hole.before", 0x1111, m.eax);
}

void guest_main(void) {
    stage_start();
    stage_map(HIGH, page_take(), KERNEL_PAGE);
    *word_at(DATA + LOW_OFFSET) = 0x1111;
    *word_at(HIGH + LOW_OFFSET) = 0x2222;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_variant(rows[i].name);
        sums(&rows[i]);
        limits(&rows[i]);
        writes(&rows[i]);
        faults(&rows[i]);
    }
    check_variant(NULL);
    check_finish("kernel_segments");
}
