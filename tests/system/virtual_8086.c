/* Virtual-8086 mode: every sensitive instruction under every IOPL, with and without CR4.VME, for
 * each state of VIF, VIP and IF and of the vector's redirection bit; the I/O bitmap; the frames of
 * faults, through gates of every kind; IRET into the mode (SDM vol. 3A, 20.2 and 20.3).
 *
 * The program's pages are user pages below 1 MiB. Its code ends at HLT, which is always #GP. */
#include "tests/system/record.h"

enum {
    PROGRAM = 0x10000, /* CS 1000, a page */
    PROGRAM_CS = PROGRAM >> 4,
    HANDLER = 0x800,         /* of a redirected INT n: HLT */
    PROGRAM_STACK = 0x20000, /* SS 2000, a page */
    PROGRAM_SS = PROGRAM_STACK >> 4,
    STACK_SP = 0x800,
    DATA_SS = PROGRAM_SS + 0x80, /* data: the upper half of the stack's page */
    VECTOR = 0x21,
    BIG_TSS = TEST_SELECTOR,
    TARGET = TEST_SELECTOR + 8,
    PORT = 0x80,
    REDIRECTION = 104,
    IO_MAP = REDIRECTION + 32,
    LANDING = 0x180, /* in the stage's code page, and at that address for 16-bit gates */
};

static struct {
    uint32_t link, esp0, ss0, unused[22];
    uint16_t trap, io_map;
    uint8_t redirection[32], ports[0x200];
} __attribute__((packed, aligned(1024))) tss;

#define V86(name, code) SNIPPET(name, ".code16\n" code "\nhlt\n.code32")
V86(cli_, "cli");
V86(sti_, "sti");
V86(pushf_, "pushf; pop %cx");
V86(pushfd_, "pushfl; pop %ecx");
V86(popf_, "push %ax; popf");
V86(popfd_, "push %eax; popfl");
V86(iret_, "push %ax; push %cs; pushw $6; iret; nop");
V86(iretd_, "push %eax; pushl $0x1000; pushl $16; iretl; nop; nop");
V86(int_n, "int $0x21");
V86(int3_, "int3");
V86(into_, "mov $0x7f, %cl; inc %cl; into");
V86(int1_, ".byte 0xf1");
V86(bound_, "movl $0x00010000, (0); mov $5, %cx; bound %cx, (0)");
V86(in8, "in $0x80, %al");
V86(out8, "out %al, $0x80");
V86(in16, "in $0x80, %ax");
V86(out32, "mov $0x80, %dx; out %eax, %dx");
V86(insb_, "mov $0x80, %dx; xor %di, %di; insb");
V86(rep_insb_none, "mov $0x80, %dx; xor %di, %di; mov $0x10000, %ecx; rep insb");
V86(rep_outsb_none, "mov $0x80, %dx; xor %si, %si; xor %ecx, %ecx; rep outsb");
V86(outsb_, "mov $0x80, %dx; xor %si, %si; outsb");
V86(smsw_, "smsw %cx; and $1, %cx");
V86(sgdt_, "sgdt (0); mov (0), %cx");
V86(sidt_, "sidt (0); mov (0), %cx");
V86(sldt_, "sldt %cx");
V86(str_, "str %cx");
V86(lldt_, "lldt %cx");
V86(ltr_, "ltr %cx");
V86(lar_, "lar %cx, %dx");
V86(lsl_, "lsl %cx, %dx");
V86(verr_, "verr %cx");
V86(verw_, "verw %cx");
V86(arpl_, "arpl %cx, %dx");
V86(lgdt_, "lgdt (0)");
V86(lidt_, "lidt (0)");
V86(lmsw_, "lmsw %cx");
V86(clts_, "clts");
V86(mov_from_cr0, "mov %cr0, %ecx");
V86(mov_to_cr3, "mov %ecx, %cr3");
V86(mov_from_cr1, ".byte 0x0f, 0x20, 0xc9");
V86(mov_from_dr7, "mov %dr7, %ecx");
V86(invlpg_, "invlpg (0)");
V86(invd_, "invd");
V86(wbinvd_, "wbinvd");
V86(rdmsr_, "mov $0x174, %ecx; rdmsr");
V86(wrmsr_, "wrmsr");
V86(rdtsc_, "rdtsc; xor %ax, %ax; xor %dx, %dx");
V86(sysenter_, "sysenter");
V86(sysexit_, "sysexit");
V86(vex, ".byte 0xc5, 0xf8, 0x77");
V86(les_, "les (0), %cx; mov %es, %dx");
V86(lss_, "movl $0x20000700, (0); lss (0), %sp");
V86(mov_ss_, "mov %ss, %cx; mov %cx, %ss");
V86(pop_ss_, "push %ss; pop %ss");
V86(far_call, "lcall $0x1000, $5; nop; nop");
V86(far_jump, "ljmp $0x1000, $5");
V86(far_jump32, "ljmpl $0x1000, $0x11000");
V86(far_return, "pushw $0x1000; pushw $7; lret");
V86(far_return32, "pushl $0x1000; pushl $0x11000; lretl");
V86(ud2_, "ud2");
V86(divide, "xor %cx, %cx; div %cx");
V86(beyond, "mov $0xffff, %bx; mov (%bx), %cx");
V86(page_fault, "mov $0x7000, %bx; mov (%bx), %cx");
V86(stack_beyond, "mov $1, %sp; push %cx");

static const struct way {
    const char *name;
    const uint8_t *code, *end;
} ways[] = {
#define WAY(name)                                                                                  \
    { #name, name, name##_end }
    WAY(cli_),           WAY(sti_),         WAY(pushf_),
    WAY(pushfd_),        WAY(popf_),        WAY(popfd_),
    WAY(iret_),          WAY(iretd_),       WAY(int_n),
    WAY(int3_),          WAY(into_),        WAY(int1_),
    WAY(bound_),         WAY(in8),          WAY(out8),
    WAY(in16),           WAY(out32),        WAY(insb_),
    WAY(outsb_),         WAY(smsw_),        WAY(rep_insb_none),
    WAY(rep_outsb_none), WAY(sgdt_),        WAY(sidt_),
    WAY(sldt_),          WAY(str_),         WAY(lldt_),
    WAY(ltr_),           WAY(lar_),         WAY(lsl_),
    WAY(verr_),          WAY(verw_),        WAY(arpl_),
    WAY(lgdt_),          WAY(lidt_),        WAY(lmsw_),
    WAY(clts_),          WAY(mov_from_cr0), WAY(mov_to_cr3),
    WAY(mov_from_cr1),   WAY(mov_from_dr7), WAY(invlpg_),
    WAY(invd_),          WAY(wbinvd_),      WAY(rdmsr_),
    WAY(wrmsr_),         WAY(rdtsc_),       WAY(sysenter_),
    WAY(sysexit_),       WAY(vex),          WAY(les_),
    WAY(lss_),           WAY(mov_ss_),      WAY(pop_ss_),
    WAY(far_call),       WAY(far_jump),     WAY(far_jump32),
    WAY(far_return),     WAY(far_return32), WAY(ud2_),
    WAY(divide),         WAY(beyond),       WAY(page_fault),
    WAY(stack_beyond),
};

static struct machine image(const struct way *way, unsigned iopl, uint32_t flags) {
    static const uint8_t *there;
    if (way->code != there) {               /* writing code costs simulators dear */
        memset((void *)PROGRAM, 0xf4, 128); /* HLT wherever it goes */
        memcpy((void *)PROGRAM, way->code, (uint32_t)(way->end - way->code));
        there = way->code;
    }
    memset((void *)(PROGRAM_STACK + STACK_SP - 64), 0, 128);
    struct machine m = machine_v86(PROGRAM_CS, 0, PROGRAM_SS, STACK_SP);
    m.ds = m.es = m.fs = m.gs = DATA_SS;
    m.eflags = FLAG_FIXED | FLAG_VM | iopl << 12 | flags;
    m.eax = 0x200;
    return m;
}

/* VIF, VIP, IF in the three low bits. */
static uint32_t state_flags(unsigned state) {
    return (state & 1 ? FLAG_IF : 0) | (state & 2 ? FLAG_VIF : 0) | (state & 4 ? FLAG_VIP : 0);
}

static void outcome(const struct machine *m) {
    line_outcome(m, 0);
    line_value(m->eip);
    if (m->vector == VECTOR_PF)
        line_value(m->cr2);
    line_value((uint32_t)((int32_t)m->esp - STACK_SP) & 0xffff);
    line_value(m->ecx);
    line_value(m->cs), line_value(m->ss);
    line_flags(m->eflags);
}

static void set_vme(unsigned vme) {
    uint32_t before = read_cr4(), cr4 = before & ~(uint32_t)CR4_VME;
    cr4 |= vme ? CR4_VME : 0u;
    if (cr4 != before) /* a flush costs simulators dear */
        write_cr4(cr4);
}

static void set_redirection(unsigned vector, bool to_program) {
    uint8_t bit = (uint8_t)(1u << (vector & 7));
    if (to_program)
        tss.redirection[vector / 8] &= (uint8_t)~bit;
    else
        tss.redirection[vector / 8] |= bit;
}

static void instructions(void) {
    record_section("instruction");
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (unsigned vme = 0; vme < 2; vme++)
            for (unsigned iopl = 0; iopl < 4; iopl++)
                for (unsigned state = 0; state < 8; state++) {
                    set_vme(vme);
                    struct machine m = image(&ways[i], iopl, state_flags(state));
                    guest_run(&m);
                    record_case("vme%x.iopl%x.state%x", vme, iopl, state, 0);
                    line_begin(ways[i].name);
                    outcome(&m);
                    line_end();
                }
    set_vme(0);
}

/* INT n by VME, IOPL, the redirection bit and the gate's DPL: where it went, what it pushed. */
static void software_interrupts(void) {
    const struct way way = WAY(int_n);
    record_section("int");
    for (unsigned vme = 0; vme < 2; vme++)
        for (unsigned iopl = 0; iopl < 4; iopl++)
            for (unsigned state = 0; state < 8; state++)
                for (unsigned kind = 0; kind < 8; kind++) {
                    set_vme(vme);
                    set_redirection(VECTOR, kind & 1);
                    set_idt_gate(VECTOR, KERNEL_CS, CODE + LANDING,
                                 (uint8_t)(kind & 2 ? 0xee : 0x8e));
                    struct machine m =
                        image(&way, iopl, state_flags(state) | (kind & 4 ? FLAG_TF : 0));
                    guest_run(&m);
                    record_case("vme%x.iopl%x.state%x.kind%x", vme, iopl, state, kind);
                    line_begin("n");
                    outcome(&m);
                    for (unsigned at = 1; at <= 3; at++)
                        line_value(*(volatile uint16_t *)(PROGRAM_STACK + STACK_SP - 2u * at));
                    line_end();
                }
    set_redirection(VECTOR, false);
    set_vme(0);
}

/* Flag images for POPF and IRET of both sizes. */
static void flag_images(void) {
    static const uint32_t bits[] = {0,        FLAG_TF,  FLAG_IF,   FLAG_DF, 0x3000,
                                    FLAG_NT,  FLAG_RF,  FLAG_VM,   FLAG_AC, FLAG_ID,
                                    FLAG_VIF, FLAG_VIP, 0xffc08028};
    const struct way all[] = {WAY(popf_), WAY(popfd_), WAY(iret_), WAY(iretd_)};
    record_section("flags");
    for (unsigned w = 0; w < 4; w++)
        for (unsigned vme = 0; vme < 2; vme++)
            for (unsigned iopl = 0; iopl < 4; iopl += 3)
                for (unsigned state = 0; state < 8; state++) {
                    if (state == 6 || state == 7)
                        continue; /* VIF with VIP: nothing runs under VME */
                    set_vme(vme);
                    record_case("vme%x.iopl%x.state%x", vme, iopl, state, 0);
                    line_begin(all[w].name);
                    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
                        struct machine m = image(&all[w], iopl, state_flags(state));
                        m.eax = bits[i] | FLAG_FIXED;
                        guest_run(&m);
                        line_outcome(&m, 0);
                        line_value(m.eip);
                        line_value(m.eflags & ~(NO_FLAGS | FLAG_RF)); /* which TCG never pushes */
                    }
                    line_end();
                }
    set_vme(0);
}

static void load_tss(uint32_t limit, uint8_t access) {
    gdt_set(BIG_TSS, address_of(&tss), limit, access, 0);
    __asm__ volatile("ltr %w0" : : "r"(BIG_TSS) : "memory");
}

/* The two maps against the limit, and what they hold. */
static void maps(void) {
    static const uint16_t bases[] = {0x60, 0x68, 0x7f, 0x80, 0x88, 0x100, 0x1f0, 0xffff};
    static const uint16_t limits[] = {0x67, 0x6c,  0x87,  0x97,  0x98,
                                      0x99, 0x10f, 0x110, 0x111, 0x1ff};
    const struct way io[] = {WAY(in8),           WAY(out8),           WAY(in16),
                             WAY(out32),         WAY(insb_),          WAY(outsb_),
                             WAY(rep_insb_none), WAY(rep_outsb_none), WAY(int_n)};
    record_section("map");
    set_vme(1);
    set_idt_gate(VECTOR, KERNEL_CS, CODE + LANDING, 0x8e);
    for (unsigned b = 0; b < sizeof bases / sizeof *bases; b++)
        for (unsigned l = 0; l < sizeof limits / sizeof *limits; l++)
            for (unsigned bits = 0; bits < 5; bits++) {
                static const uint8_t patterns[] = {0, 1, 2, 8, 0xff};
                memset(tss.redirection, 0, sizeof tss.redirection + sizeof tss.ports);
                tss.io_map = bases[b];
                if (bases[b] + (unsigned)PORT / 8 < sizeof tss)
                    ((uint8_t *)&tss)[bases[b] + PORT / 8u] = patterns[bits];
                if (bases[b] >= (unsigned)IO_MAP && bases[b] < sizeof tss && (bits & 1))
                    ((uint8_t *)&tss)[bases[b] - 32u + VECTOR / 8] = 1u << VECTOR % 8;
                load_tss(limits[l], 0x89);
                record_case("base%x.limit%x.bits%x", bases[b], limits[l], patterns[bits], 0);
                line_begin("io");
                for (unsigned w = 0; w < sizeof io / sizeof *io; w++) {
                    struct machine m = image(&io[w], 3, 0);
                    guest_run(&m);
                    line_outcome(&m, 0);
                    line_value(m.eip);
                }
                line_end();
            }
    memset(tss.redirection, 0xff, sizeof tss.redirection);
    memset(tss.ports, 0xff, sizeof tss.ports);
    tss.io_map = IO_MAP;
    load_tss(sizeof tss - 1, 0x89);
    set_vme(0);
}

/* What lies at the top of the ring 0 stack behind an event: selectors are 16 bits in it. */
static void frame_words(uint32_t top, unsigned count, unsigned size) {
    for (unsigned i = 1; i <= count; i++) {
        if (size == 2)
            line_value(*(volatile uint16_t *)(top - 2 * i));
        else if (i == 7)
            line_value(*word_at(top - 4 * i) & ~(NO_FLAGS | FLAG_RF));
        else
            line_value(i <= 5 || i == 8 ? *word_at(top - 4 * i) & 0xffff : *word_at(top - 4 * i));
    }
}

/* Every access byte of the gate and of the target's code segment. */
static void gates(void) {
    const struct way way = WAY(int_n);
    record_section("gate");
    for (unsigned iopl = 0; iopl < 4; iopl += 3)
        for (unsigned access = 0x60; access < 0x100; access++) {
            if (!(access & 16) && (access & 15) == 5)
                continue; /* a task */
            set_idt_gate(VECTOR, KERNEL_CS, CODE + LANDING, (uint8_t)access);
            struct machine m = image(&way, iopl, FLAG_IF);
            m.fs = 0x1234, m.gs = 0x5678;
            guest_run(&m);
            record_case("iopl%x.access%x", iopl, access, 0, 0);
            line_begin("idt");
            line_outcome(&m, 0);
            if (m.vector == VECTOR_DONE) /* the landing's INT 81h comes from ring 0 */
                line_value(m.edx), line_value(m.eip & 0xffff), line_value(m.ecx & FLAG_IF),
                    frame_words(tss.esp0, 9, access & 8 ? 4 : 2);
            line_end();
        }
    for (unsigned access = 0; access < 256; access++) {
        set_flat(TARGET, (uint8_t)access);
        set_idt_gate(VECTOR, TARGET, CODE + LANDING, 0xef);
        struct machine m = image(&way, 3, 0);
        guest_run(&m);
        record_case("access%x", access, 0, 0, 0);
        line_begin("target");
        line_outcome(&m, TARGET);
        if (m.vector == VECTOR_DONE)
            line_value(m.edx);
        line_end();
    }
    static const uint32_t targets[] = {0, 3, 4, KERNEL_CS | 3, USER_CS, RING1_CS, 0xfff8, BIG_TSS};
    for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
        set_idt_gate(VECTOR, targets[i], CODE + LANDING, 0xee);
        struct machine m = image(&way, 3, 0);
        guest_run(&m);
        record_case("to%x", targets[i], 0, 0, 0);
        line_begin("selector");
        line_outcome(&m, 0);
        line_end();
    }
}

/* The frame of every fault: the words on the ring 0 stack, from the top. */
static void frames(void) {
    record_section("frame");
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct machine m = image(&ways[i], 3, FLAG_IF | FLAG_AC);
        m.esp |= 0x120000, m.ds = DATA_SS, m.es = 0x2222, m.fs = 0x3333, m.gs = 0xfff0;
        guest_run(&m);
        record_case("", 0, 0, 0, 0);
        line_begin(ways[i].name);
        line_outcome(&m, 0);
        frame_words(tss.esp0, 9, 4);
        line_end();
    }
}

/* IRET from ring 0 with VM in its image: flags, EIP, and where the frame ends; from the other
 * rings VM does nothing. */
SNIPPET(enter_v86,
        "push $0x4444; push $0x3333; push $0x2222; push $0x1111; push $0x2000; push $0x700\n"
        "push %eax; push %edx; push %ecx; iret");
SNIPPET(enter_v86_narrow, "push $0x2000; push $0x700; push %eax; push %edx; push %ecx; iretw");
V86(stops, "");
static void entries(void) {
    static const uint32_t flags[] = {FLAG_VM,
                                     FLAG_VM | FLAG_IOPL,
                                     FLAG_VM | FLAG_IF,
                                     FLAG_VM | FLAG_TF,
                                     FLAG_VM | FLAG_NT,
                                     FLAG_VM | FLAG_RF,
                                     FLAG_VM | FLAG_AC | FLAG_ID,
                                     FLAG_VM | FLAG_VIF,
                                     FLAG_VM | FLAG_VIP,
                                     FLAG_VM | FLAG_VIF | FLAG_VIP,
                                     FLAG_VM | 0xffc08028};
    static const uint32_t offsets[] = {0, 1, 0xfff, 0xffff, 0x10000, 0x12340000, 0xffffffff};
    const struct way nothing = WAY(stops);
    record_section("enter");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned vme = 0; vme < 2; vme++)
            for (unsigned f = 0; f < sizeof flags / sizeof *flags; f++)
                for (unsigned o = 0; o < sizeof offsets / sizeof *offsets; o++) {
                    if (ring && o)
                        continue;
                    image(&nothing, 3, 0);
                    set_vme(vme);
                    struct machine m = RING(ring, enter_v86);
                    m.eax = flags[f] | FLAG_FIXED;
                    m.edx = ring ? m.cs : (uint32_t)PROGRAM_CS;
                    m.ecx = ring ? CODE + LANDING : offsets[o];
                    guest_run(&m);
                    record_case("ring%x.vme%x.flags%x.ip%x", ring, vme, flags[f], offsets[o]);
                    line_begin("iret");
                    line_outcome(&m, 0);
                    line_value(m.eip < 0x20000 ? m.eip : m.eip - CODE);
                    if (m.eflags & FLAG_VM)
                        line_value(m.cs), line_value(m.ss), line_value(m.esp), line_value(m.ds),
                            line_value(m.es), line_value(m.fs), line_value(m.gs);
                    line_flags(m.eflags);
                    line_end();
                }
    set_vme(0);
    struct machine m = RING(0, enter_v86_narrow);
    m.eax = FLAG_FIXED, m.edx = KERNEL_CS, m.ecx = 0x7000;
    record_case("", 0, 0, 0, 0);
    record_run("narrow", &m);
}

SNIPPET(landing, "pushf; pop %ecx; mov %cs, %edx; int $0x81");

void guest_main(void) {
    static const uint32_t pages[] = {0, PROGRAM, PROGRAM_STACK};
    record_start();
    for (unsigned i = 0; i < sizeof pages / sizeof pages[0]; i++)
        stage_map(pages[i], page_take(), USER_PAGE);
    *space_directory_entry(&stage, 0) |= PTE_U;
    space_enter(&stage);
    volatile uint32_t *table = word_at(0);
    __asm__("" : "+r"(table)); /* address 0 is as good as any other */
    table[VECTOR] = PROGRAM_CS << 16 | HANDLER;
    *byte_at(PROGRAM + HANDLER) = 0xf4;
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    memcpy((void *)LANDING, landing, SNIPPET_SIZE(landing));
    tss.esp0 = trap_stack_top();
    tss.ss0 = KERNEL_DS;
    tss.io_map = IO_MAP;
    memset(tss.redirection, 0xff, sizeof tss.redirection);
    memset(tss.ports, 0xff, sizeof tss.ports);
    load_tss(sizeof tss - 1, 0x89);
    instructions();
    software_interrupts();
    flag_images();
    maps();
    gates();
    frames();
    entries();
    record_finish();
}
