/* Far jumps and calls to every descriptor, through call gates of every kind, far returns and IRET
 * to every code and stack segment (SDM vol. 3A, 5.8; the instructions in vol. 2). System types that
 * would switch tasks have a subject of their own.
 *
 * "ok" is followed by the CPL that was reached. */
#include "tests/system/record.h"

enum {
    LANDING = 0x80, /* in the code page: `int $0x81` */
    GATE = TEST_SELECTOR + 8,
    STACK2 = TEST_SELECTOR + 16,
};

SNIPPET(far_jump, "ljmp *(%ebx)" DONE);
SNIPPET(far_call, "lcall *(%ebx)" DONE);
SNIPPET(far_return, "push %edx; push %ecx; push %eax; push %esi; lret" DONE);
SNIPPET(far_return_pop, "push %edx; push %ecx; push %eax; push %esi; lret $8" DONE);
SNIPPET(interrupt_return, "push %edx; push %ecx; push $2; push %eax; push %esi; iret" DONE);
SNIPPET(call_with_words,
        "push $0x11111111; push $0x22222222; push $0x33333333; lcall *(%ebx)" DONE);
SNIPPET(landing, "int $0x81");

static const uint16_t code_of_ring[] = {KERNEL_CS, RING1_CS, RING2_CS, USER_CS};
static const uint16_t data_of_ring[] = {KERNEL_DS, RING1_DS, RING2_DS, USER_DS};

static void outcome(const struct machine *m, uint32_t selector) {
    line_outcome(m, selector);
    if (m->vector == VECTOR_DONE)
        line_value(m->cs & 3);
}

static bool switches_tasks(uint8_t type) {
    return type == 1 || type == 3 || type == 5 || type == 9 || type == 11;
}

static struct machine image(const uint8_t *code, uint32_t size, unsigned ring, uint32_t selector) {
    struct machine m = ring_at(ring, code, size);
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    m.esi = CODE + LANDING;
    m.eax = selector;
    *word_at(DATA) = CODE + LANDING;
    *word_at(DATA + 4) = selector;
    return m;
}
#define IMAGE(name, ring, selector) image(name, SNIPPET_SIZE(name), ring, selector)

static void finish(struct machine *m) {
    guest_run(m);
    restore_stack_segment();
}

static void direct_line(const char *name, const uint8_t *code, uint32_t size, unsigned ring,
                        unsigned rpl, uint8_t high) {
    record_case("ring%x.rpl%x.access%x", ring, rpl, high, 0);
    line_begin(name);
    for (uint8_t type = 0; type < 16; type++) {
        if (!(high & 16) && switches_tasks(type))
            continue;
        set_flat(TEST_SELECTOR, high | type);
        struct machine m = image(code, size, ring, TEST_SELECTOR | rpl);
        finish(&m);
        outcome(&m, TEST_SELECTOR);
    }
    line_end();
}

static void direct(void) {
    record_section("direct");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned high = 0; high < 256; high += 16)
            for (unsigned rpl = 0; rpl < 4; rpl++) {
                direct_line("jump", far_jump, SNIPPET_SIZE(far_jump), ring, rpl, (uint8_t)high);
                direct_line("call", far_call, SNIPPET_SIZE(far_call), ring, rpl, (uint8_t)high);
            }
}

/* Returns to code of every kind, with a stack of the RPL's ring where the return goes outwards. */
static void returns(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
    } ways[] = {{"lret", far_return, far_return_end},
                {"lret-pop", far_return_pop, far_return_pop_end},
                {"iret", interrupt_return, interrupt_return_end}};
    record_section("return");
    for (unsigned i = 0; i < 3; i++)
        for (unsigned ring = 0; ring < 4; ring++)
            for (unsigned high = 0; high < 256; high += 16)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    record_case("ring%x.rpl%x.access%x", ring, rpl, high, 0);
                    line_begin(ways[i].name);
                    for (uint8_t type = 0; type < 16; type++) {
                        set_flat(TEST_SELECTOR, (uint8_t)(high | type));
                        struct machine m =
                            image(ways[i].code, (uint32_t)(ways[i].end - ways[i].code), ring,
                                  TEST_SELECTOR | rpl);
                        m.edx = data_of_ring[rpl];
                        m.ecx = STACK_TOP - 64;
                        finish(&m);
                        outcome(&m, TEST_SELECTOR);
                    }
                    line_end();
                }
}

/* Outward returns with every kind of stack segment. */
static void return_stacks(void) {
    record_section("return-stack");
    for (unsigned ring = 0; ring < 3; ring++)
        for (unsigned to = ring + 1; to < 4; to++)
            for (unsigned high = 0; high < 256; high += 16)
                for (unsigned rpl = 0; rpl < 4; rpl++)
                    for (unsigned i = 0; i < 2; i++) {
                        record_case("ring%x.to%x.rpl%x.access%x", ring, to, rpl, high);
                        line_begin(i ? "iret" : "lret");
                        for (uint8_t type = 0; type < 16; type++) {
                            set_flat(STACK2, (uint8_t)(high | type));
                            struct machine m = i ? IMAGE(interrupt_return, ring, code_of_ring[to])
                                                 : IMAGE(far_return, ring, code_of_ring[to]);
                            m.edx = STACK2 | rpl;
                            m.ecx = STACK_TOP - 64;
                            finish(&m);
                            outcome(&m, STACK2);
                        }
                        line_end();
                    }
}

/* Call gates: their DPL, the selector's RPL, CPL, and the target's type, DPL and presence. */
static void gates(void) {
    record_section("gate");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned dpl = 0; dpl < 4; dpl++)
            for (unsigned rpl = 0; rpl < 4; rpl++)
                for (unsigned target = 0; target < 256; target += 16)
                    for (unsigned call = 0; call < 2; call++) {
                        record_case("ring%x.dpl%x.rpl%x.target%x", ring, dpl, rpl, target);
                        line_begin(call ? "call" : "jump");
                        for (uint8_t type = 0; type < 16; type++) {
                            set_flat(TEST_SELECTOR, (uint8_t)(target | type));
                            set_call_gate(GATE, TEST_SELECTOR | (type & 3), CODE + LANDING,
                                          (uint8_t)(0x8c | dpl << 5), 0);
                            struct machine m = call ? IMAGE(far_call, ring, GATE | rpl)
                                                    : IMAGE(far_jump, ring, GATE | rpl);
                            finish(&m);
                            if (m.error == GATE)
                                line_text("gate");
                            outcome(&m, m.error == GATE ? (uint32_t)GATE : (uint32_t)TEST_SELECTOR);
                        }
                        line_end();
                    }
}

/* A gate that is not there, null and missing targets, offsets beyond the target's limit. */
static void odd_gates(void) {
    static const uint32_t targets[] = {0, 3, KERNEL_CS, 0xfff8, 0xfffc, 4, GDT_ENTRIES * 8};
    record_section("odd-gate");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned present = 0; present < 2; present++)
            for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++)
                for (unsigned call = 0; call < 2; call++) {
                    record_case("ring%x.present%x.to%x", ring, present, targets[i], 0);
                    set_call_gate(GATE, targets[i], CODE + LANDING, (uint8_t)(present << 7 | 0x6c),
                                  0);
                    struct machine m = call ? IMAGE(far_call, ring, GATE | ring)
                                            : IMAGE(far_jump, ring, GATE | ring);
                    finish(&m);
                    line_begin(call ? "call" : "jump");
                    outcome(&m, GATE);
                    line_end();
                }
    gdt_set(TEST_SELECTOR, 0, 0xff, 0x9b, 4);
    set_call_gate(GATE, TEST_SELECTOR, CODE + LANDING, 0xec, 0);
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned way = 0; way < 4; way++) {
            struct machine m = way == 0   ? IMAGE(far_call, ring, GATE | ring)
                               : way == 1 ? IMAGE(far_jump, ring, GATE | ring)
                               : way == 2 ? IMAGE(far_jump, ring, TEST_SELECTOR | ring)
                                          : IMAGE(far_return, ring, TEST_SELECTOR | ring);
            record_case("ring%x.way%x", ring, way, 0, 0);
            gdt_set(TEST_SELECTOR, 0, 0xff, (uint8_t)(way < 2 ? 0x9b : 0x9b | ring << 5), 4);
            m.edx = data_of_ring[ring];
            m.ecx = STACK_TOP - 64;
            finish(&m);
            line_begin("offset-beyond-limit");
            outcome(&m, TEST_SELECTOR);
            line_end();
        }
}

/* The new stack of an inward call: words copied, and every way that the TSS's stack can be bad. */
static void stack_switch(void) {
    uint32_t esp1 = STACK_TOP - 0x400;
    record_section("stack-switch");
    *tss_word(12) = esp1;
    *tss_word(16) = RING1_DS;
    for (unsigned count = 0; count < 4; count++) {
        set_call_gate(GATE, RING1_CS, CODE + LANDING, 0xec, (uint8_t)count);
        struct machine m = IMAGE(call_with_words, 3, GATE | 3);
        memset((void *)(esp1 - 64), 0, 64);
        finish(&m);
        record_case("words%x", count, 0, 0, 0);
        line_begin("frame");
        outcome(&m, GATE);
        line_value(esp1 - m.esp);
        for (uint32_t at = esp1 - 4; at >= m.esp && at > esp1 - 64; at -= 4)
            line_value(*word_at(at));
        line_end();
    }
    set_call_gate(GATE, RING1_CS, CODE + LANDING, 0xec, 0);
    for (unsigned high = 0; high < 256; high += 16)
        for (unsigned rpl = 0; rpl < 4; rpl++) {
            record_case("access%x.rpl%x", high, rpl, 0, 0);
            line_begin("ss");
            for (uint8_t type = 0; type < 16; type++) {
                set_flat(STACK2, (uint8_t)(high | type));
                *tss_word(16) = STACK2 | rpl;
                struct machine m = IMAGE(far_call, 3, GATE | 3);
                finish(&m);
                outcome(&m, STACK2);
            }
            line_end();
        }
    static const uint32_t stacks[] = {0, 1, 3, 4, 5, 0xfff9, RING1_CS, USER_DS, KERNEL_DS};
    for (unsigned i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        *tss_word(16) = stacks[i];
        struct machine m = IMAGE(far_call, 3, GATE | 3);
        record_case("ss%x", stacks[i], 0, 0, 0);
        record_run("odd", &m);
    }
    *tss_word(16) = RING1_DS;
    static const uint32_t pointers[] = {0,         4,         8,         12,        STACK,
                                        STACK + 8, HOLE + 16, AFTER + 8, 0xfffffffc};
    for (unsigned i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        *tss_word(12) = pointers[i];
        struct machine m = IMAGE(far_call, 3, GATE | 3);
        record_case("esp%x", pointers[i], 0, 0, 0);
        record_run("odd", &m);
    }
    *tss_word(12) = 0x10;
    for (unsigned limit = 0; limit < 24; limit++) {
        gdt_set(STACK2, STACK, limit, 0xb3, 4);
        *tss_word(16) = STACK2 | 1;
        struct machine m = IMAGE(far_call, 3, GATE | 3);
        record_case("limit%x", limit, 0, 0, 0);
        record_run("stack-limit", &m);
    }
}

void guest_main(void) {
    record_start();
    direct();
    returns();
    return_stacks();
    gates();
    odd_gates();
    stack_switch();
    record_finish();
}
