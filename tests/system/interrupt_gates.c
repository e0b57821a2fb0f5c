/* INT n, INT3 and INTO through gates of every kind to code of every kind, gates that are missing,
 * bad targets and bad stacks, and the frames and flags that arrive (SDM vol. 3A, 6.11-6.13). Gates
 * of tasks have a subject of their own. */
#include "tests/system/record.h"

enum { GATE = 0x90, LANDING = 0x80 };

SNIPPET(int_n, "int $0x90" DONE);
SNIPPET(int3, "int3" DONE);
SNIPPET(into, "movb $0x7f, %al; incb %al; into" DONE);
SNIPPET(undefined, "ud2" DONE);
SNIPPET(divide, "xor %ecx, %ecx; div %ecx" DONE);
SNIPPET(general, "mov $0xfff8, %eax; mov %eax, %fs" DONE);
SNIPPET(landing, "pushfl; pop %ecx; mov %cs, %edx; int $0x81");

/* Where the gate leads: it keeps flags and CS, and ends the run. */
static struct machine image(unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = ring_at(ring, code, size);
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    m.eflags |= FLAG_IF;
    return m;
}
#define IMAGE(ring, name) image(ring, name, SNIPPET_SIZE(name))

static void finish(struct machine *m) {
    guest_run(m);
    restore_stack_segment();
}

static void outcome(const struct machine *m) {
    line_outcome(m, TEST_SELECTOR);
    if (m->vector == VECTOR_DONE) {
        line_value(m->edx & 3);
        line_text(m->ecx & FLAG_IF ? "if" : "-");
    }
}

/* Every access byte of the gate, at every CPL. */
static void gate_types(void) {
    record_section("gate-type");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned high = 0; high < 256; high += 16) {
            record_case("ring%x.access%x", ring, high, 0, 0);
            line_begin("int");
            for (unsigned type = 0; type < 16; type++) {
                if (!(high & 16) && (type == 5 || type == 6 || type == 7))
                    continue; /* a task, 16-bit frames */
                set_idt_gate(GATE, KERNEL_CS, CODE + LANDING, (uint8_t)(high | type));
                struct machine m = IMAGE(ring, int_n);
                finish(&m);
                outcome(&m);
            }
            line_end();
        }
}

static void target_types(void) {
    record_section("target");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned high = 0; high < 256; high += 16)
            for (unsigned trap = 0; trap < 2; trap++) {
                record_case("ring%x.access%x", ring, high, 0, 0);
                line_begin(trap ? "trap" : "interrupt");
                for (unsigned type = 0; type < 16; type++) {
                    set_flat(TEST_SELECTOR, (uint8_t)(high | type));
                    set_idt_gate(GATE, TEST_SELECTOR, CODE + LANDING, (uint8_t)(0xee + trap));
                    struct machine m = IMAGE(ring, int_n);
                    finish(&m);
                    outcome(&m);
                }
                line_end();
            }
}

static void odd_targets(void) {
    static const uint32_t targets[] = {
        0, 1, 3, 4, KERNEL_CS | 3, USER_CS & ~3u, 0xfff8, GDT_ENTRIES * 8, TSS_SELECTOR};
    record_section("odd");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
            set_idt_gate(GATE, targets[i], CODE + LANDING, 0xee);
            struct machine m = IMAGE(ring, int_n);
            record_case("ring%x.to%x", ring, targets[i], 0, 0);
            record_run("target", &m);
            restore_stack_segment();
        }
    gdt_set(TEST_SELECTOR, 0, 0xfff, 0x9b, 4);
    set_idt_gate(GATE, TEST_SELECTOR, CODE + LANDING, 0xee);
    struct machine m = IMAGE(3, int_n);
    record_case("", 0, 0, 0, 0);
    record_run("offset-beyond-limit", &m);
}

/* The error code of an exception whose own gate is bad says so with EXT (6.13). */
static void bad_gates_of_exceptions(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
        unsigned vector;
    } causes[] = {{"int3", int3, int3_end, 3},
                  {"into", into, into_end, 4},
                  {"ud2", undefined, undefined_end, 6},
                  {"div", divide, divide_end, 0},
                  {"int", int_n, int_n_end, GATE}};
    static const uint8_t kinds[] = {0x0e, 0x8e, 0xee, 0xef, 0x00, 0x8c, 0xe2, 0x6e};
    record_section("exception");
    for (unsigned i = 0; i < sizeof causes / sizeof *causes; i++) {
        uint32_t old[2] = {*word_at(idt_address() + causes[i].vector * 8),
                           *word_at(idt_address() + causes[i].vector * 8 + 4)};
        for (unsigned ring = 0; ring < 4; ring++)
            for (unsigned k = 0; k < sizeof kinds; k++)
                for (unsigned target = 0; target < 2; target++) {
                    set_idt_gate(causes[i].vector, target ? KERNEL_CS : 0xfff8, CODE + LANDING,
                                 kinds[k]);
                    struct machine m =
                        image(ring, causes[i].code, (uint32_t)(causes[i].end - causes[i].code));
                    record_case("ring%x.access%x.target%x", ring, kinds[k], target, 0);
                    record_run(causes[i].name, &m);
                    restore_stack_segment();
                }
        *word_at(idt_address() + causes[i].vector * 8) = old[0];
        *word_at(idt_address() + causes[i].vector * 8 + 4) = old[1];
    }
}

/* The words of the frames, for each change of ring, and what the flags in them are. */
static void frames(void) {
    static const uint32_t flags[] = {0x2, 0x202, 0x3202, 0x4002, 0x40002, 0x200002, 0x10002, 0xcd7};
    uint32_t esp1 = STACK_TOP - 0x400;
    record_section("frame");
    *tss_word(12) = esp1;
    *tss_word(16) = RING1_DS;
    for (unsigned ring = 1; ring < 4; ring++)
        for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
            set_idt_gate(GATE, RING1_CS, CODE + LANDING, 0xee);
            struct machine m = IMAGE(ring, int_n);
            m.eflags = flags[i];
            m.esp = STACK_TOP - 0x100;
            memset((void *)(esp1 - 64), 0, 64);
            memset((void *)(STACK_TOP - 0x100 - 64), 0, 64);
            finish(&m);
            record_case("ring%x.flags%x", ring, flags[i], 0, 0);
            line_begin("to-ring1");
            outcome(&m);
            line_value(m.ecx);
            for (uint32_t at = m.esp; at < m.esp + 20; at += 4)
                line_value(*word_at(at));
            line_end();
        }
}

static void stacks(void) {
    record_section("stack");
    set_idt_gate(GATE, RING1_CS, CODE + LANDING, 0xee);
    for (unsigned high = 0; high < 256; high += 16)
        for (unsigned rpl = 0; rpl < 4; rpl++) {
            record_case("access%x.rpl%x", high, rpl, 0, 0);
            line_begin("ss");
            for (unsigned type = 0; type < 16; type++) {
                set_flat(TEST_SELECTOR, (uint8_t)(high | type));
                *tss_word(16) = TEST_SELECTOR | rpl;
                struct machine m = IMAGE(3, int_n);
                finish(&m);
                outcome(&m);
            }
            line_end();
        }
    *tss_word(16) = RING1_DS;
    static const uint32_t pointers[] = {0,          4,         16,        STACK,     STACK + 8,
                                        STACK + 20, HOLE + 16, AFTER + 8, AFTER + 20};
    for (unsigned i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        *tss_word(12) = pointers[i];
        struct machine m = IMAGE(3, int_n);
        record_case("esp%x", pointers[i], 0, 0, 0);
        record_run("int", &m);
    }
    *tss_word(12) = 0x20;
    for (unsigned limit = 0; limit < 40; limit += 3) {
        gdt_set(TEST_SELECTOR, STACK, limit, 0xb3, 4);
        *tss_word(16) = TEST_SELECTOR | 1;
        struct machine m = IMAGE(3, int_n);
        record_case("limit%x", limit, 0, 0, 0);
        record_run("int", &m);
    }
}

static void load_idt(uint32_t limit) {
    struct {
        uint16_t limit;
        uint32_t base;
    } __attribute__((packed)) pointer = {(uint16_t)limit, idt_address()};
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

/* An IDT that ends before, in and after the gate. */
static void limits(void) {
    record_section("idt-limit");
    set_idt_gate(GATE, KERNEL_CS, CODE + LANDING, 0xee);
    for (unsigned limit = GATE * 8 - 1; limit < GATE * 8 + 8; limit++) {
        load_idt(limit);
        /* what ends a run is beyond the limit: #GP with its own number does */
        struct machine m = IMAGE(3, int_n);
        record_case("limit%x", limit, 0, 0, 0);
        record_run("int", &m);
    }
    load_idt(256 * 8 - 1);
}

void guest_main(void) {
    record_start();
    gate_types();
    target_types();
    odd_targets();
    bad_gates_of_exceptions();
    frames();
    stacks();
    limits();
    struct machine m = IMAGE(3, general);
    record_section("sane");
    record_run("after", &m);
    record_finish();
}
