/* Where an interrupt that waits is taken: behind everything that sets IF, with every kind of
 * instruction next, alone, with single step and with a breakpoint on what follows; and HLT (SDM
 * vol. 3A, 6.8, 6.9; vol. 2: STI, MOV, POP, HLT).
 *
 * The timer is the source: one shot, in the 8259 before the run begins. A record lists up to
 * EVENTS events, each with its offset, and the count of the two INC EAX that come last. */
#include "tests/system/record.h"

enum {
    MASTER = 0x20,
    READ_IRR = 0x0a,
    PIT_CHANNEL0 = 0x40,
    PIT_COMMAND = 0x43,
    PIT_ONE_SHOT = 0x30,    /* channel 0, both bytes, mode 0 */
    SHORT_WAIT = 40,        /* clocks of the timer */
    LONG_WAIT = 20000,      /* longer than a busy machine stands still, mostly */
    VERY_LONG_WAIT = 50000, /* for what should not need it */
    EVENTS = 24,
    TRAP_GATE = 0x90,
    INTERRUPT_GATE = 0x91,
    LANDING = 0x180,    /* in the code page */
    FAR_POINTER = 0x20, /* in the data page */
    DR6_CLEAR = (int)0xffff0ff0,
};

/* What sets IF, or keeps interrupts away, as the first instructions. */
SNIPPET(o_sti, "sti");
SNIPPET(o_sti_sti, "sti; sti");
SNIPPET(o_popf, "pushf; orl $0x200, (%esp); popf");
SNIPPET(o_iret, "pushf; orl $0x200, (%esp); push %cs; call 1f; 1: addl $(2f-1b), (%esp); iret; 2:");
SNIPPET(o_mov_ss_sti, "mov %ss, %ecx; mov %ecx, %ss; sti");
SNIPPET(o_sti_mov_ss, "mov %ss, %ecx; sti; mov %ecx, %ss");
SNIPPET(o_sti_pop_ss, "push %ss; sti; pop %ss");
SNIPPET(o_sti_lss, "mov %esp, (%ebx); mov %ss, 4(%ebx); sti; lss (%ebx), %esp");
SNIPPET(o_sti_cli_sti, "sti; cli; sti");
SNIPPET(o_mov_ss, "mov %ss, %ecx; mov %ecx, %ss");

SNIPPET(f_nop, "nop");
SNIPPET(f_inc, "inc %edx");
SNIPPET(f_load, "mov (%ebx), %ecx");
SNIPPET(f_store, "mov %ecx, (%ebx)");
SNIPPET(f_cli, "cli");
SNIPPET(f_sti, "sti");
SNIPPET(f_mov_ss, "mov %ss, %ecx; mov %ecx, %ss");
SNIPPET(f_push_pop_ss, "push %ss; pop %ss");
SNIPPET(f_mov_ds, "mov %ds, %ecx; mov %ecx, %ds");
SNIPPET(f_popf_on, "pushf; popf");
SNIPPET(f_popf_off, "pushf; andl $~0x200, (%esp); popf");
SNIPPET(f_iret, "pushf; push %cs; call 1f; 1: addl $(2f-1b), (%esp); iret; 2:");
SNIPPET(f_jump, "jmp 1f; nop; 1:");
SNIPPET(f_branch, "jz 1f; nop; 1:");
SNIPPET(f_call, "call 1f; 1: pop %ecx");
SNIPPET(f_ret, "call 1f; jmp 2f; 1: ret; 2:");
SNIPPET(f_loop, "mov $3, %ecx; 1: loop 1b");
SNIPPET(f_far_call, "push %cs; call 1f; jmp 2f; 1: lret; 2:");
SNIPPET(f_trap_gate, "int $0x90");
SNIPPET(f_interrupt_gate, "int $0x91");
SNIPPET(f_int3, "int3");
SNIPPET(f_into, "into");
SNIPPET(f_ud2, "ud2");
SNIPPET(f_page_fault, "mov 0x1000(%ebx), %ecx");
SNIPPET(f_divide, "xor %ecx, %ecx; div %ecx");
SNIPPET(f_general, "mov $0xfff8, %ecx; mov %ecx, %fs");
SNIPPET(f_hlt, "hlt");
SNIPPET(f_movs, "mov %ebx, %esi; lea 64(%ebx), %edi; movsb");
SNIPPET(f_rep_movs, "mov %ebx, %esi; lea 64(%ebx), %edi; mov $5, %ecx; rep movsb");
SNIPPET(f_rep_none, "xor %ecx, %ecx; rep stosb");
SNIPPET(f_port, "in $0x80, %al; mov $0, %al");
SNIPPET(f_cpuid, "push %ebx; push %eax; cpuid; pop %eax; pop %ebx; xor %ecx, %ecx; xor %edx, %edx");
SNIPPET(f_cr0, "mov %cr0, %ecx; mov %ecx, %cr0");
SNIPPET(f_cr3, "mov %cr3, %ecx; mov %ecx, %cr3");
SNIPPET(f_dr7, "mov %dr7, %ecx; mov %ecx, %dr7");
SNIPPET(f_invlpg, "invlpg (%ebx)");
SNIPPET(f_clts, "clts");
SNIPPET(f_lidt, "sidt (%ebx); lidt (%ebx)");
SNIPPET(f_lldt, "xor %ecx, %ecx; lldt %cx");
SNIPPET(f_wbinvd, "wbinvd");
SNIPPET(f_smsw, "smsw %cx; sldt %cx; str %cx");
SNIPPET(f_x87, "fninit; wait");
SNIPPET(f_locked, "lock incl (%ebx)");
SNIPPET(f_exchange, "xchg %ecx, (%ebx)");
SNIPPET(f_pusha, "pusha; popa");
SNIPPET(f_enter, "enter $4, $0; leave");
SNIPPET(f_xlat, "mov %ebx, %ebx; xlatb; mov $0, %al");
SNIPPET(tail, "inc %eax; inc %eax" DONE);
SNIPPET(landing, "lea 16(%eax), %eax" DONE);

struct part {
    const char *name;
    const uint8_t *code, *end;
};
#define PART(name)                                                                                 \
    { #name, name, name##_end }
static const struct part openers[] = {
    PART(o_sti),        PART(o_sti_sti), PART(o_popf),       PART(o_iret),   PART(o_mov_ss_sti),
    PART(o_sti_mov_ss), PART(o_sti_lss), PART(o_sti_pop_ss), PART(o_mov_ss), PART(o_sti_cli_sti),
};
static const struct part followers[] = {
    PART(f_nop),      PART(f_inc),        PART(f_load),     PART(f_store),
    PART(f_cli),      PART(f_sti),        PART(f_mov_ss),   PART(f_push_pop_ss),
    PART(f_mov_ds),   PART(f_popf_on),    PART(f_popf_off), PART(f_iret),
    PART(f_jump),     PART(f_branch),     PART(f_call),     PART(f_ret),
    PART(f_loop),     PART(f_far_call),   PART(f_int3),     PART(f_trap_gate),
    PART(f_into),     PART(f_ud2),        PART(f_general),  PART(f_interrupt_gate),
    PART(f_divide),   PART(f_page_fault), PART(f_hlt),      PART(f_movs),
    PART(f_rep_movs), PART(f_rep_none),   PART(f_port),     PART(f_cpuid),
    PART(f_cr0),      PART(f_cr3),        PART(f_dr7),      PART(f_invlpg),
    PART(f_clts),     PART(f_lidt),       PART(f_lldt),     PART(f_wbinvd),
    PART(f_smsw),     PART(f_x87),        PART(f_locked),   PART(f_exchange),
    PART(f_pusha),    PART(f_enter),      PART(f_xlat),
};

static uint32_t size_of(const struct part *part) { return (uint32_t)(part->end - part->code); }

static void arm_timer(uint32_t clocks) {
    pic_unmask(0);
    outb(PIT_COMMAND, PIT_ONE_SHOT);
    outb(PIT_CHANNEL0, (uint8_t)clocks);
    outb(PIT_CHANNEL0, (uint8_t)(clocks >> 8));
}

/* Returns with IF clear and the interrupt at the 8259. */
static void make_pending(void) {
    arm_timer(SHORT_WAIT);
    outb(MASTER, READ_IRR);
    while (!(inb(MASTER) & 1))
        continue;
}

static bool take(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    return true;
}

/* An interrupt that no run has taken goes before the next one is made. */
static void drain(void) {
    trap_set_handler(VECTOR_IRQ0, take);
    __asm__ volatile("sti; nop; cli" : : : "memory");
    trap_set_handler(VECTOR_IRQ0, NULL);
    pic_mask(0);
}

static struct machine image(unsigned ring, const struct part *opener, const struct part *follower) {
    static uint8_t code[256];
    uint32_t size = 0;
    memset((void *)DATA, 0, 256);
    memcpy(code, opener->code, size_of(opener));
    size += size_of(opener);
    memcpy(code + size, follower->code, size_of(follower));
    size += size_of(follower);
    memcpy(code + size, tail, SNIPPET_SIZE(tail));
    size += SNIPPET_SIZE(tail);
    struct machine m = ring_at(ring, code, size);
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    m.eflags |= FLAG_IOPL;
    return m;
}

static bool goes_on(const struct machine *m) {
    return m->vector == VECTOR_IRQ0 || m->vector == VECTOR_DB || m->vector == VECTOR_BP;
}

static void run(const char *name, struct machine *m, bool halts) {
    line_begin(name);
    write_dr6((uint32_t)DR6_CLEAR);
    for (unsigned i = 0; i < EVENTS; i++) {
        guest_run(m);
        line_outcome(m, 0);
        line_value(m->eip - CODE);
        if (m->vector == VECTOR_IRQ0) {
            pic_end_of_interrupt(0);
            if (halts && !(m->cs & 3)) /* it may have come before the HLT; elsewhere that faults */
                arm_timer(LONG_WAIT);
        }
        if (m->vector == VECTOR_DB) {
            line_text("dr6"), line_value(read_dr6() & 0xe00f);
            write_dr6((uint32_t)DR6_CLEAR);
            m->eflags |= FLAG_RF; /* or the breakpoint would hit again */
        }
        if (!goes_on(m))
            break;
    }
    write_dr7(0x400);
    line_text(m->eflags & FLAG_IF ? "if" : "-");
    line_value(m->eax);
    line_end();
    restore_stack_segment();
    drain();
}

/* The opener's name is part of the section. */
static void name_case(const char *variant, unsigned ring, const char *opener) {
    static char name[64];
    char *to = name;
    for (const char *at = variant; *at; at++)
        *to++ = *at;
    *to++ = '.';
    for (const char *at = opener; *at; at++)
        *to++ = *at;
    *to = 0;
    record_section(name);
    record_case("ring%x", ring, 0, 0, 0);
}

enum variant { PLAIN, STEPPED, BREAK_AT, BREAK_BEHIND, VARIANTS };

/* HLT is for openers that let the interrupt in, and where nothing else ends it. */
static bool left_out(const struct part *opener, const struct part *follower, unsigned ring,
                     enum variant variant) {
    if (follower->code == f_hlt)
        return opener->code == o_mov_ss || variant != PLAIN;
    return ring == 3 && variant >= BREAK_AT;
}

static void matrix(void) {
    static const char *const variants[] = {"plain", "step", "break-at", "break-behind"};
    for (unsigned ring = 0; ring < 4; ring += 3)
        for (unsigned o = 0; o < sizeof openers / sizeof *openers; o++)
            for (unsigned f = 0; f < sizeof followers / sizeof *followers; f++)
                for (enum variant variant = 0; variant < VARIANTS; variant++) {
                    const struct part *opener = &openers[o], *follower = &followers[f];
                    if (left_out(opener, follower, ring, variant))
                        continue;
                    struct machine m = image(ring, opener, follower);
                    uint32_t at = CODE + size_of(opener);
                    if (variant == STEPPED)
                        m.eflags |= FLAG_TF;
                    make_pending();
                    write_dr0(variant == BREAK_AT ? at : at + size_of(follower));
                    write_dr7(variant >= BREAK_AT ? 0x402 : 0x400);
                    name_case(variants[variant], ring, opener->name + 2);
                    run(follower->name + 2, &m, follower->code == f_hlt);
                }
}

/* HLT with the interrupt still to come, and what IF and the timer leave of the registers. */
SNIPPET(halt_sti, "sti; hlt; inc %eax" DONE);
SNIPPET(halt_twice, "sti; hlt; inc %eax; hlt; inc %eax" DONE);
SNIPPET(halt_mov_ss, "mov %ss, %ecx; sti; mov %ecx, %ss; hlt; inc %eax" DONE);
SNIPPET(halt_loop, "sti; 1: hlt; inc %eax; jmp 1b");
static void halting(void) {
    static const struct part all[] = {PART(halt_sti), PART(halt_twice), PART(halt_mov_ss),
                                      PART(halt_loop)};
    record_section("halt");
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned bits = 0; bits < 2; bits++) {
            struct machine m = ring_at(0, all[i].code, size_of(&all[i]));
            m.eflags |= bits ? FLAG_TF : 0;
            record_case("step%x", bits, 0, 0, 0);
            arm_timer(bits ? VERY_LONG_WAIT : LONG_WAIT);
            line_begin(all[i].name);
            for (unsigned events = 0; events < 8; events++) {
                guest_run(&m);
                line_outcome(&m, 0);
                line_value(m.eip - CODE), line_value(m.eax);
                if (m.vector == VECTOR_DONE)
                    break;
                if (m.vector == VECTOR_IRQ0) {
                    pic_end_of_interrupt(0);
                    arm_timer(LONG_WAIT);
                }
            }
            line_end();
            drain();
        }
}

void guest_main(void) {
    record_start();
    set_idt_gate(TRAP_GATE, KERNEL_CS, CODE + LANDING, 0xef);
    set_idt_gate(INTERRUPT_GATE, KERNEL_CS, CODE + LANDING, 0xee);
    matrix();
    halting();
    record_finish();
}
