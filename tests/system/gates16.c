/* Gates, code and stacks of 16 bits in protected mode: call gates with parameters, interrupt and
 * trap gates, returns of both sizes, a 16-bit TSS for the stacks, stack segments of every kind
 * with the pointer at their ends, conforming code, and branches in 16-bit code (SDM vol. 3A, 5.8,
 * 6.12, 7.6, chapter 21). */
#include "tests/system/record.h"

enum {
    GATE = TEST_SELECTOR,
    CODE16 = TEST_SELECTOR + 8,   /* base CODE */
    STACK16 = TEST_SELECTOR + 16, /* for the tests to make */
    TSS16 = TEST_SELECTOR + 24,
    SHORT_TSS = TEST_SELECTOR + 32,
    INNER = TEST_SELECTOR + 40, /* stacks of inner rings */
    VECTOR = 0x90,
    LANDING = 0x280,   /* 32-bit, in the code page */
    LANDING16 = 0x2c0, /* 16-bit */
    INNER_TOP = STACK + 0x800,
    BITS_32 = 4,
    PAGES = 8,
    PARAMETERS = 31,
    LOW_STACK = 0x8000, /* of ring 0, where 16 bits reach it */
};

#define CODE16_SNIPPET(name, code) SNIPPET(name, ".code16\n" code "\n.code32")

SNIPPET(call_gate, "lcall *(%ebx)" DONE);
SNIPPET(jump_gate, "ljmp *(%ebx)" DONE);
SNIPPET(call_gate_word, ".byte 0x66; lcall *(%ebx)" DONE);
SNIPPET(int_n, "int $0x90" DONE);
SNIPPET(landing, "pushfl; pop %ecx; mov %cs, %edx; mov %ss, %eax; int $0x81");
SNIPPET(landing16, ".code16\npushfl; pop %ecx; mov %cs, %dx; mov %ss, %ax; int $0x81\n.code32");

static const uint16_t data_of_ring[] = {KERNEL_DS, RING1_DS, RING2_DS, USER_DS};

static struct { uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, rest[15]; } tss16;

static uint8_t dpl_bits(unsigned dpl) { return (uint8_t)(dpl << 5); }

static struct machine image(unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = ring_at(ring, code, size);
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    memcpy((void *)(CODE + LANDING16), landing16, SNIPPET_SIZE(landing16));
    if (ring) {
        m.esp = STACK_TOP - 0x100;
        for (unsigned i = 0; i < 64; i++)
            *word_at(m.esp + 4 * i) = 0xaaa10000 + 0x10001 * i;
    }
    memset((void *)(INNER_TOP - 0x100), 0, 0x100);
    return m;
}
#define IMAGE(ring, name) image(ring, name, SNIPPET_SIZE(name))

static void finish(struct machine *m) {
    guest_run(m);
    restore_stack_segment();
}

/* What the landing saw. EAX holds SS, EDX CS. */
static void outcome(const struct machine *m, uint32_t selector) {
    line_outcome(m, selector);
    if (m->vector == VECTOR_DONE)
        line_value(m->edx & 0xffff), line_value(m->eax & 0xffff), line_value(m->eip & 0xfff),
            line_value(m->ecx & FLAG_IF);
}

static void words(uint32_t from, uint32_t to) {
    for (uint32_t at = from; at < to; at += 2)
        line_value(*(volatile uint16_t *)at);
}

/* The stack that the TSS in TR names for a ring: flat, or through INNER with base STACK. */
static void set_inner_stack(unsigned ring, uint32_t selector, uint32_t esp) {
    *tss_word(4 + 8 * ring) = esp;
    *tss_word(8 + 8 * ring) = selector;
    uint16_t *slots = &tss16.sp0;
    slots[2 * ring] = (uint16_t)esp;
    slots[2 * ring + 1] = (uint16_t)selector;
}

/* What the call reads: of a gate only the selector counts. */
static void far_pointer(uint32_t selector) {
    *word_at(DATA) = 0x12345678;
    *word_at(DATA + 4) = selector;
}

/* Gates of both sizes to rings 1 and 2, with every number of parameters, from a stack of each
 * size; the frame from its bottom. */
static void parameters(void) {
    record_section("parameters");
    for (unsigned wide = 0; wide < 2; wide++)
        for (unsigned to = 1; to < 3; to++)
            for (unsigned narrow_stack = 0; narrow_stack < 2; narrow_stack++)
                for (unsigned count = 0; count <= PARAMETERS; count++) {
                    set_inner_stack(to, INNER | to, INNER_TOP - STACK);
                    gdt_set(INNER, STACK, 0xfff, (uint8_t)(0x93 | dpl_bits(to)), BITS_32);
                    gdt_set(STACK16, STACK, 0xffff, 0xf3, narrow_stack ? 0 : BITS_32);
                    gdt_set(CODE16, CODE, 0xffff, (uint8_t)(0x9b | dpl_bits(to)), 0);
                    set_call_gate(GATE, CODE16 | to, LANDING16, wide ? 0xec : 0xe4, (uint8_t)count);
                    struct machine m = IMAGE(3, call_gate);
                    far_pointer(GATE | 3);
                    m.ss = STACK16 | 3;
                    m.esp = m.esp - STACK;
                    finish(&m);
                    record_case("wide%x.to%x.narrow%x.count%x", wide, to, narrow_stack, count);
                    line_begin("call");
                    outcome(&m, GATE);
                    line_value(m.esp);
                    if (m.vector == VECTOR_DONE)
                        words(STACK + m.esp, INNER_TOP);
                    line_end();
                }
}

/* Every type of gate and code at every ring; 16-bit gates cut the offset. */
static void gate_kinds(void) {
    record_section("gate");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned target = 0x80; target < 256; target += 2)
            for (unsigned bits = 0; bits < 2; bits++) {
                gdt_set(CODE16, CODE, 0xffff, (uint8_t)target, bits ? BITS_32 : 0);
                set_call_gate(GATE, CODE16, 0xabcd0000u + (bits ? LANDING : LANDING16), 0xe4, 0);
                set_idt_gate(VECTOR, CODE16, 0xabcd0000u + (bits ? LANDING : LANDING16), 0xe6);
                for (unsigned i = 1; i < 3; i++)
                    set_inner_stack(i, data_of_ring[i], INNER_TOP);
                record_case("ring%x.target%x.bits%x", ring, target, bits, 0);
                line_begin("outcomes");
                for (unsigned way = 0; way < 3; way++) {
                    struct machine m = way == 0   ? IMAGE(ring, call_gate)
                                       : way == 1 ? IMAGE(ring, jump_gate)
                                                  : IMAGE(ring, int_n);
                    far_pointer(GATE | 3);
                    finish(&m);
                    outcome(&m, CODE16);
                }
                line_end();
            }
}

/* The frames of 16-bit interrupt and trap gates, and the return from them by IRETW and IRETD. */
SNIPPET(back_narrow, "iretw");
SNIPPET(back_wide, "iret");
static void interrupt_frames(void) {
    static const uint32_t flags[] = {0x2, 0x202, 0x3302, 0x4202, 0x240202, 0x10202};
    record_section("frame");
    for (unsigned ring = 1; ring < 4; ring++)
        for (unsigned to = 1; to < 3; to++)
            for (unsigned type = 6; type < 16; type++)
                for (unsigned f = 0; f < sizeof flags / sizeof *flags; f++) {
                    if (type > 7 && type < 14)
                        continue;
                    set_inner_stack(to, data_of_ring[to], INNER_TOP);
                    gdt_set(CODE16, CODE, 0xffff, (uint8_t)(0x9b | dpl_bits(to)), BITS_32);
                    set_idt_gate(VECTOR, CODE16, LANDING, (uint8_t)(0xe0 | type));
                    struct machine m = IMAGE(ring, int_n);
                    m.eflags = flags[f];
                    finish(&m);
                    record_case("ring%x.to%x.type%x.flags%x", ring, to, type, flags[f]);
                    line_begin("int");
                    outcome(&m, CODE16);
                    line_value(m.esp);
                    if (m.vector == VECTOR_DONE && ring != to)
                        words(m.esp, INNER_TOP);
                    else if (m.vector == VECTOR_DONE)
                        words(m.esp, STACK_TOP - 0x100);
                    line_end();
                }
    for (unsigned type = 6; type < 16; type++)
        for (unsigned wide = 0; wide < 2; wide++) {
            if (type > 7 && type < 14)
                continue;
            set_idt_gate(VECTOR, RING1_CS, CODE + LANDING, (uint8_t)(0xe0 | type));
            set_inner_stack(1, RING1_DS, INNER_TOP);
            struct machine m = IMAGE(3, int_n);
            memcpy((void *)(CODE + (LANDING & 0xffff)), wide ? back_wide : back_narrow, 2);
            if (type < 8) { /* the offset is cut: a segment that starts with the code */
                gdt_set(CODE16, CODE, 0xffff, 0xbb, BITS_32);
                set_idt_gate(VECTOR, CODE16 | 1, LANDING, (uint8_t)(0xe0 | type));
            }
            finish(&m);
            record_case("type%x.wide%x", type, wide, 0, 0);
            record_outcome("return", &m, CODE, STACK_TOP - 0x100);
        }
}

/* Far returns and IRET of 16 bits, outwards, to stacks of both sizes: what ESP becomes. */
SNIPPET(return_narrow, "pushw %dx; pushw %cx; pushw %ax; pushw %si; lretw");
SNIPPET(return_narrow_pop, "pushw %dx; pushw %cx; pushl %edi; pushw %ax; pushw %si; lretw $4");
SNIPPET(return_wide, "push %edx; push %ecx; push %eax; push %esi; lret");
SNIPPET(return_wide_pop, "push %edx; push %ecx; push %edi; push %eax; push %esi; lret $4");
SNIPPET(iret_narrow, "pushw %dx; pushw %cx; pushw $0x0202; pushw %ax; pushw %si; iretw");
SNIPPET(iret_wide, "push %edx; push %ecx; push $0x202; push %eax; push %esi; iret");
static void returns(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
    } ways[] = {
#define WAY(name) {#name, name, name##_end}
        WAY(return_narrow),   WAY(return_narrow_pop), WAY(return_wide),
        WAY(return_wide_pop), WAY(iret_narrow),       WAY(iret_wide)};
    static const uint32_t pointers[] = {0, 2, 0x800, 0xffff, 0x10800, 0x5aa50800, 0xfffffffe};
    record_section("return");
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (unsigned ring = 0; ring < 3; ring++)
            for (unsigned to = ring; to < 4; to++)
                for (unsigned p = 0; p < sizeof pointers / sizeof *pointers; p++)
                    for (unsigned kind = 0; kind < 4; kind++) {
                        gdt_set(STACK16, STACK, 0xffff, (uint8_t)(0x93 | dpl_bits(to)),
                                kind & 1 ? BITS_32 : 0);
                        gdt_set(CODE16, CODE, 0xffff, (uint8_t)(0x9b | dpl_bits(to)),
                                kind & 2 ? BITS_32 : 0);
                        struct machine m =
                            image(ring, ways[i].code, (uint32_t)(ways[i].end - ways[i].code));
                        m.esi = kind & 2 ? LANDING : LANDING16;
                        m.eax = CODE16 | to;
                        m.edx = STACK16 | to;
                        m.ecx = pointers[p];
                        /* the landing must not push */
                        memcpy((void *)(CODE + m.esi), "\xcd\x81", 2);
                        finish(&m);
                        record_case("ring%x.to%x.esp%x.kind%x", ring, to, pointers[p], kind);
                        line_begin(ways[i].name);
                        line_outcome(&m, CODE16);
                        line_value(m.cs), line_value(m.eip & 0xffff);
                        if (to)
                            line_value(m.esp);
                        line_end();
                    }
}

/* A 16-bit TSS names the stacks; and TSSs of both sizes that end before they do. */
static void tss_stacks(void) {
    record_section("tss");
    set_idt_gate(VECTOR, RING1_CS, CODE + LANDING, 0xee);
    for (unsigned wide = 0; wide < 2; wide++)
        for (unsigned limit = 0; limit < 28; limit++)
            for (unsigned to = 1; to < 3; to++) {
                gdt_set(CODE16, CODE, 0xffff, (uint8_t)(0x9b | dpl_bits(to)), BITS_32);
                set_idt_gate(VECTOR, CODE16, LANDING, 0xee);
                set_call_gate(GATE, CODE16, LANDING, 0xec, 2);
                set_inner_stack(to, data_of_ring[to], INNER_TOP);
                if (!wide) { /* no ESP of 32 bits: a segment on the stack */
                    gdt_set(INNER, STACK, 0xfff, (uint8_t)(0x93 | dpl_bits(to)), 0);
                    set_inner_stack(to, INNER | to, 0x800);
                }
                gdt_set(SHORT_TSS, wide ? address_of((void *)tss_word(0)) : address_of(&tss16),
                        limit, wide ? 0x89 : 0x81, 0);
                record_case("wide%x.limit%x.to%x", wide, limit, to, 0);
                line_begin("outcomes");
                for (unsigned way = 0; way < 2; way++) {
                    struct machine m = way ? IMAGE(3, int_n) : IMAGE(3, call_gate);
                    far_pointer(GATE | 3);
                    gdt_set(SHORT_TSS, wide ? address_of((void *)tss_word(0)) : address_of(&tss16),
                            limit, wide ? 0x89 : 0x81, 0);
                    __asm__ volatile("ltr %w0" : : "r"(SHORT_TSS));
                    if (limit < (wide ? 11 : 5)) { /* no way back to ring 0 either */
                        line_text("-");
                    } else {
                        finish(&m);
                        outcome(&m, SHORT_TSS);
                        line_value(wide ? m.esp : m.esp & 0xffff);
                    }
                    gdt_set(TSS_SELECTOR, address_of((void *)tss_word(0)), 103, 0x89, 0);
                    __asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
                }
                line_end();
            }
}

/* Inner stacks of every shape with the pointer near both ends, for each size of frame. What the
 * upper half of ESP is on a 16-bit stack, and which item of a frame faults first, the manual does
 * not say. */
static void stack_ends(void) {
    static const struct {
        const char *name;
        uint32_t limit;
        uint8_t access, flags;
    } shapes[] = {
        {"up-bytes", 0x7ff, 0xb3, BITS_32},    {"up-bytes-16", 0x7ff, 0xb3, 0},
        {"up-page", 0, 0xb3, BITS_32 | PAGES}, {"up-page-16", 0, 0xb3, PAGES},
        {"up-64k-16", 0xffff, 0xb3, 0},        {"down-bytes", 0x7ff, 0xb7, BITS_32},
        {"down-bytes-16", 0x7ff, 0xb7, 0},     {"down-page", 0, 0xb7, BITS_32 | PAGES},
        {"down-page-16", 0, 0xb7, PAGES},      {"down-all", 0xfffff, 0xb7, BITS_32 | PAGES},
        {"down-none-16", 0xffff, 0xb7, 0},     {"read-only", 0x7ff, 0xb1, BITS_32}};
    static const uint32_t pointers[] = {
        0,      1,      2,      4,       8,       9,          10,         12,         16,
        18,     20,     24,     0x7fe,   0x7ff,   0x800,      0x801,      0x802,      0x808,
        0x80a,  0x80c,  0x810,  0x812,   0x814,   0x818,      0xffe,      0xfff,      0x1000,
        0x1001, 0x1014, 0xffff, 0x10000, 0x10008, 0x5aa50800, 0x5aa50814, 0xfffffffe, 0xffffffff};
    record_section("stack-end");
    for (unsigned s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (unsigned way = 0; way < 6; way++) {
            record_case("way%x", way, 0, 0, 0);
            line_begin(shapes[s].name);
            for (unsigned p = 0; p < sizeof pointers / sizeof *pointers; p++) {
                gdt_set(INNER, STACK, shapes[s].limit, shapes[s].access, shapes[s].flags);
                gdt_set(CODE16, CODE, 0xffff, 0xbb, BITS_32);
                set_inner_stack(1, INNER | 1, pointers[p]);
                set_call_gate(GATE, CODE16, LANDING, way & 1 ? 0xec : 0xe4, (uint8_t)(way & 2));
                set_idt_gate(VECTOR, CODE16, LANDING, way & 1 ? 0xee : 0xe6);
                struct machine m = way < 4 ? IMAGE(3, call_gate) : IMAGE(3, int_n);
                memcpy((void *)(CODE + LANDING), "\xcd\x81", 2); /* no pushing */
                far_pointer(GATE | 3);
                finish(&m);
                line_outcome(&m, INNER);
                if (m.vector == VECTOR_DONE)
                    line_value(shapes[s].flags & BITS_32 ? m.esp : m.esp & 0xffff);
            }
            line_end();
        }
    set_inner_stack(1, RING1_DS, INNER_TOP);
}

/* Conforming code is entered at the level that there is, directly and through gates of both
 * sizes. */
static void conforming(void) {
    record_section("conforming");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned dpl = 0; dpl < 4; dpl++)
            for (unsigned rpl = 0; rpl < 4; rpl++)
                for (unsigned bits = 0; bits < 2; bits++) {
                    uint32_t at = bits ? LANDING : LANDING16;
                    gdt_set(CODE16, CODE, 0xffff, (uint8_t)(0x9f | dpl_bits(dpl)),
                            bits ? BITS_32 : 0);
                    set_call_gate(GATE, CODE16 | rpl, at, bits ? 0xec : 0xe4, 3);
                    set_idt_gate(VECTOR, CODE16 | rpl, at, bits ? 0xee : 0xe7);
                    record_case("ring%x.dpl%x.rpl%x.bits%x", ring, dpl, rpl, bits);
                    line_begin("outcomes");
                    for (unsigned way = 0; way < 6; way++) {
                        struct machine m = way < 3   ? IMAGE(ring, call_gate)
                                           : way < 5 ? IMAGE(ring, jump_gate)
                                                     : IMAGE(ring, int_n);
                        if (way == 1)
                            m = IMAGE(ring, call_gate_word);
                        *word_at(DATA) = at;
                        *word_at(DATA + 4) =
                            way == 2 || way == 4 ? (uint32_t)GATE | 3 : (uint32_t)CODE16 | rpl;
                        if (way == 1)
                            *word_at(DATA) = (CODE16 | rpl) << 16 | at;
                        uint32_t esp = m.esp;
                        finish(&m);
                        outcome(&m, CODE16);
                        if (m.vector == VECTOR_DONE)
                            line_value(esp - m.esp);
                    }
                    line_end();
                }
}

/* Branches in 16-bit code whose target, fall-through or next instruction lies at the end of 64
 * KiB or of a shorter limit. The code stands at the segment's offset `at`, by way of its base. */
CODE16_SNIPPET(b_jump, "jmp 1f; .skip 20, 0x90; 1: int $0x81");
CODE16_SNIPPET(b_jump_wide, ".byte 0x66, 0xe9; .long 20; .skip 20, 0x90; int $0x81");
CODE16_SNIPPET(b_back, "jmp .-40");
CODE16_SNIPPET(b_back_wide, ".byte 0x66, 0xe9; .long -40");
CODE16_SNIPPET(b_call, "call 1f; .skip 20, 0x90; 1: pop %cx; int $0x81");
CODE16_SNIPPET(b_call_wide, ".byte 0x66, 0xe8; .long 20; .skip 20, 0x90; pop %ecx; int $0x81");
CODE16_SNIPPET(b_branch, "cmp %ax, %ax; je 1f; .skip 20, 0x90; 1: int $0x81");
CODE16_SNIPPET(b_branch_wide, "cmp %ax, %ax; .byte 0x66, 0x0f, 0x84; .long 20; .skip 20, 0x90; int "
                              "$0x81");
CODE16_SNIPPET(b_loop, "mov $2, %cx; loop 1f; .skip 20, 0x90; 1: int $0x81");
CODE16_SNIPPET(b_indirect, "mov $0x10, %ax; jmp *%ax");
CODE16_SNIPPET(b_indirect_wide, "mov $0x10010, %eax; .byte 0x66; jmp *%ax");
CODE16_SNIPPET(b_return, "push $0x10; ret");
CODE16_SNIPPET(b_return_wide, "pushl $0x10010; retl");
CODE16_SNIPPET(b_fall, "nop; nop; nop; nop; int $0x81");
CODE16_SNIPPET(b_long, "mov $0x12345678, %eax; int $0x81");
static void branches(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
    } ways[] = {WAY(b_jump),        WAY(b_jump_wide), WAY(b_back),          WAY(b_back_wide),
                WAY(b_call),        WAY(b_call_wide), WAY(b_branch),        WAY(b_branch_wide),
                WAY(b_loop),        WAY(b_indirect),  WAY(b_indirect_wide), WAY(b_return),
                WAY(b_return_wide), WAY(b_fall),      WAY(b_long)};
    static const struct {
        uint32_t limit, at;
    } places[] = {{0xffff, 0xffd0}, {0xffff, 0xffe8}, {0xffff, 0xffec}, {0xffff, 0xfff8},
                  {0xffff, 0xfffa}, {0xffff, 0xfffb}, {0xffff, 0xfffc}, {0xffff, 0xfffd},
                  {0xffff, 0xfffe}, {0xffff, 0xffff}, {0xffff, 0x8},    {0x7fff, 0x7ff0},
                  {0x7fff, 0x7ffa}, {0x7fff, 0x7ffe}, {0x7fff, 0x8},    {0x1ffff, 0xfff0},
                  {0x1ffff, 0xffff}};
    record_section("branch");
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (unsigned p = 0; p < sizeof places / sizeof *places; p++) {
            uint32_t base = CODE + 0x100 - places[p].at;
            gdt_set(CODE16, base, places[p].limit, 0xfb, 0);
            struct machine m = ring_at(3, b_fall, SNIPPET_SIZE(b_fall));
            memset((void *)(CODE + 0x80), 0x90, 0x100); /* int $0x81 behind and before the code */
            memcpy((void *)(CODE + 0x140), "\xcd\x81", 2);
            memcpy((void *)(CODE + 0x100), ways[i].code, (uint32_t)(ways[i].end - ways[i].code));
            memcpy((void *)(CODE + 0xe0), "\xcd\x81", 2);
            m.cs = CODE16 | 3;
            m.eip = places[p].at;
            m.eax = m.ecx = 0;
            guest_run(&m);
            record_case("limit%x.at%x", places[p].limit, places[p].at, 0, 0);
            line_begin(ways[i].name);
            line_outcome(&m, CODE16);
            line_value(m.eip);
            line_value(m.esp - STACK_TOP);
            line_value(m.ecx);
            if (m.vector == VECTOR_PF)
                line_value(m.cr2);
            line_end();
        }
}

void guest_main(void) {
    record_start();
    tss16.sp0 = LOW_STACK, tss16.ss0 = KERNEL_DS;
    parameters();
    gate_kinds();
    interrupt_frames();
    returns();
    tss_stacks();
    stack_ends();
    conforming();
    branches();
    record_finish();
}
