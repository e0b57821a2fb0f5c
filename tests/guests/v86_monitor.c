/* Virtual-8086 mode: code of 16 and 32 bits, the way in and out, what IOPL traps, the I/O bitmap, a
 * monitor that stands in for the trapped instructions, and CR4.VME with its redirection of INT n.
 * The program's addresses are below 1 MiB; its pages are user pages. */
#include "tests/guests/stage.h"

enum {
    PROGRAM = 0x10000, /* CS 1000 */
    PROGRAM_CS = PROGRAM >> 4,
    PROGRAM_STACK = 0x20000, /* SS 2000, one page at the bottom */
    PROGRAM_SS = PROGRAM_STACK >> 4,
    STACK_SP = 0x1000,
    HANDLER = 0x800, /* in the program's page */
    BIG_TSS = FREE_SELECTOR,
    REDIRECTION = 104,
    IO_MAP = REDIRECTION + 32,
    PORT = 0x80,
};

/* A TSS with both maps. */
static struct {
    uint32_t link, esp0, ss0, unused[22];
    uint16_t trap, io_map;
    uint8_t redirection[32], ports[32], end;
} __attribute__((packed, aligned(512))) tss;

#define V86(name, code) SNIPPET(name, ".code16\n" code "\n.code32")

V86(arithmetic, "mov %ds, %ax; mov $0x11112222, %ebx; inc %bx; mov %ebx, 4; mov 4, %cx; int $0x81");
V86(segments, "mov $0x1000, %ax; mov %ax, %es; mov %es:0, %cl; push %cs; pop %fs; mov %fs, %bx\n"
              "mov $0xffff, %si; mov %es:(%si), %al");
V86(far_call, "lcall $0x1000, $0x40; mov $7, %cx; int $0x81\n"
              ".org far_call + 0x40; mov %cs, %bx; lret");
V86(undefined, "str %ax");
V86(breakpoint, "int3");
V86(port, "in $0x80, %al; int $0x81");
V86(port16, "in $0x80, %ax; int $0x81");
V86(cli_, "cli; int $0x81");
V86(sti_, "sti; int $0x81");
V86(pushf_, "pushf; pop %ax; int $0x81");
V86(pushfd_, "pushfl; pop %eax; int $0x81");
V86(popf_, "popf; int $0x81");
V86(popfd_, "popfl; int $0x81");
V86(iret_, "iret");
V86(int_, "int $0x21; int $0x81");
V86(hlt_, "hlt");

static struct machine image(const uint8_t *code, uint32_t size) {
    memcpy((void *)PROGRAM, code, size);
    return machine_v86(PROGRAM_CS, 0, PROGRAM_SS, STACK_SP);
}
#define IMAGE(name) image(name, SNIPPET_SIZE(name))

static void set_up(void) {
    static const uint32_t pages[] = {0, PROGRAM, PROGRAM_STACK};
    for (unsigned i = 0; i < sizeof pages / sizeof pages[0]; i++)
        stage_map(pages[i], page_take(), USER_PAGE);
    /* User pages need user directories. */
    *space_directory_entry(&stage, 0) |= PTE_U;
    space_enter(&stage);
    tss.esp0 = trap_stack_top();
    tss.ss0 = KERNEL_DS;
    tss.io_map = IO_MAP;
    memset(tss.redirection, 0xff, sizeof tss.redirection);
    memset(tss.ports, 0xff, sizeof tss.ports + 1);
    gdt_set(BIG_TSS, address_of(&tss), sizeof tss - 1, 0x89, 0);
    __asm__ volatile("ltr %w0" : : "r"(BIG_TSS) : "memory");
}

static void plain_code(void) {
    struct machine m = IMAGE(arithmetic);
    guest_run(&m);
    check_trap("arithmetic", &m, VECTOR_DONE, 0, SNIPPET_SIZE(arithmetic));
    check("arithmetic.ds", PROGRAM_SS, m.eax);
    check("arithmetic.cx", 0x2223, m.ecx);
    check("arithmetic.memory", 0x11112223, *word_at(PROGRAM_STACK + 4));
    check("arithmetic.vm", FLAG_VM, m.eflags & FLAG_VM);
    check("arithmetic.cs", PROGRAM_CS, m.cs);
    m = IMAGE(segments);
    guest_run(&m);
    check_trap("segments", &m, VECTOR_PF, PF_USER | PF_PRESENT, SNIPPET_SIZE(segments) - 3);
    check("segments.cr2", PROGRAM + 0xffff, m.cr2);
    check("segments.byte", segments[0], m.ecx);
    check("segments.fs", PROGRAM_CS, m.fs);
    m = IMAGE(far_call);
    guest_run(&m);
    check("far-call.cs", PROGRAM_CS, m.ebx);
    check("far-call.returns", 7, m.ecx);
    check("far-call.sp", STACK_SP, m.esp);
    m = IMAGE(undefined);
    guest_run(&m);
    check_trap("undefined", &m, VECTOR_UD, 0, 0);
    m = IMAGE(breakpoint);
    m.eflags ^= FLAG_IOPL;
    guest_run(&m);
    check_trap("breakpoint-at-iopl-0", &m, VECTOR_BP, 0, 1);
    m = IMAGE(hlt_);
    guest_run(&m);
    check_trap("hlt", &m, VECTOR_GP, 0, 0);
}

/* Each of the sensitive ones: #GP below IOPL 3, carried out at 3. */
static void sensitive(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
    } list[] = {
        {"cli", cli_, cli__end},          {"sti", sti_, sti__end},    {"pushf", pushf_, pushf__end},
        {"pushfd", pushfd_, pushfd__end}, {"popf", popf_, popf__end}, {"popfd", popfd_, popfd__end},
        {"iret", iret_, iret__end},       {"int", int_, int__end},
    };
    for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct machine m = image(list[i].code, (uint32_t)(list[i].end - list[i].code));
        m.eflags ^= FLAG_IOPL;
        m.esp -= 16;
        guest_run(&m);
        check_section("iopl-0");
        check_trap(list[i].name, &m, VECTOR_GP, 0, 0);
    }
    check_section("iopl-3");
    struct machine m = IMAGE(pushfd_);
    guest_run(&m);
    check("pushfd", FLAG_FIXED | FLAG_IOPL, m.eax);
    m = IMAGE(sti_);
    guest_run(&m);
    check("sti", FLAG_IF, m.eflags & FLAG_IF);
    m = IMAGE(popf_);
    m.esp -= 2;
    *(volatile uint16_t *)(PROGRAM_STACK + m.esp) = FLAG_CF | FLAG_IF;
    guest_run(&m);
    check("popf", FLAG_FIXED | FLAG_CF | FLAG_IF | FLAG_IOPL | FLAG_VM, m.eflags);
    m = IMAGE(int_);
    guest_run(&m);
    check_trap("int-of-a-closed-gate", &m, VECTOR_GP, 0x21 * 8 + 2, 0);
    check_section(NULL);
}

static void ports(void) {
    struct machine m = IMAGE(port);
    guest_run(&m);
    check_trap("port.denied-at-iopl-3", &m, VECTOR_GP, 0, 0);
    tss.ports[PORT / 8] = 0xfe;
    m = IMAGE(port);
    guest_run(&m);
    check_trap("port.allowed", &m, VECTOR_DONE, 0, 4);
    m = IMAGE(port16);
    guest_run(&m);
    check_trap("port.second-denied", &m, VECTOR_GP, 0, 0);
    tss.ports[PORT / 8] = 0xff;
}

/* The timer's interrupt arrives out of the program and goes back to it. */
static unsigned ticks;
static bool on_tick(struct trap_frame *frame) {
    ticks += frame->eflags & FLAG_VM ? 1 : 0;
    pic_end_of_interrupt(0);
    return ticks < 3;
}

V86(endless, "1: inc %eax; jmp 1b");

static void interrupts(void) {
    trap_set_handler(VECTOR_IRQ0, on_tick);
    struct machine m = IMAGE(endless);
    m.eflags |= FLAG_IF;
    pit_start(1000);
    pic_unmask(0);
    guest_run(&m);
    pic_mask(0);
    trap_set_handler(VECTOR_IRQ0, NULL);
    check("interrupts.vector", VECTOR_IRQ0, m.vector);
    check("interrupts.ticks", 3, ticks);
    check("interrupts.cs", PROGRAM_CS, m.cs);
    check_true("interrupts.progress", m.eax > 0);
}

/* A monitor in the way that DOS extenders had them: the trapped instructions carried out on a flag
 * of its own, INT n through the program's table. */
static bool virtual_if;
static unsigned monitored;

static void push_word(struct trap_frame *f, uint32_t value) {
    f->esp = (f->esp - 2) & 0xffff;
    *(volatile uint16_t *)(f->ss * 16 + f->esp) = (uint16_t)value;
}
static uint32_t pop_word(struct trap_frame *f) {
    uint32_t value = *(volatile uint16_t *)(f->ss * 16 + f->esp);
    f->esp = (f->esp + 2) & 0xffff;
    return value;
}
static uint32_t program_flags(const struct trap_frame *f) {
    return (f->eflags & ~(uint32_t)FLAG_IF) | (virtual_if ? FLAG_IF : 0);
}
static void set_program_flags(struct trap_frame *f, uint32_t flags) {
    virtual_if = flags & FLAG_IF;
    f->eflags = (f->eflags & ~0xcffu) | (flags & 0xcff);
}

static bool monitor(struct trap_frame *f) {
    const volatile uint8_t *code = (const volatile uint8_t *)(f->cs * 16 + f->eip);
    if (!(f->eflags & FLAG_VM) || code[0] == 0xf4)
        return false;
    monitored++;
    f->eip++;
    switch (code[0]) {
    case 0xfa: /* CLI */
    case 0xfb: /* STI */
        virtual_if = code[0] & 1;
        return true;
    case 0x9c: /* PUSHF */
        push_word(f, program_flags(f));
        return true;
    case 0x9d: /* POPF */
        set_program_flags(f, pop_word(f));
        return true;
    case 0xcd: /* INT n */
        push_word(f, program_flags(f));
        push_word(f, f->cs);
        push_word(f, f->eip + 1);
        f->eip = *(volatile uint16_t *)(code[1] * 4u);
        f->cs = *(volatile uint16_t *)(code[1] * 4u + 2);
        virtual_if = false;
        return true;
    case 0xcf: /* IRET */
        f->eip = pop_word(f);
        f->cs = pop_word(f);
        set_program_flags(f, pop_word(f));
        return true;
    default:
        return false;
    }
}

V86(program, "sti; pushf; pop %ax; mov $3, %cx; 1: int $0x21; loop 1b; pushf; pop %dx; cli; pushf; "
             "pop %si; hlt\n"
             ".org program + 0x800; pushf; pop %bp; inc %bx; stc; iret");

static volatile uint32_t vector_table; /* stands at 0; in a variable, for compilers' sake */

static void load_program(void) { *word_at(vector_table + 0x21 * 4) = PROGRAM_CS << 16 | HANDLER; }

/* What the program sees is the same whoever keeps the flag. `iopl`: as PUSHF shows it. */
static void check_program(const struct machine *m, uint32_t iopl) {
    check("ends", VECTOR_GP, m->vector);
    check("calls", 3, m->ebx);
    check("flags-after-sti", FLAG_FIXED | FLAG_IF | iopl, m->eax);
    check("flags-in-handler", 0, m->ebp & FLAG_IF);
    check("flags-after-iret", FLAG_IF, m->edx & (FLAG_IF | FLAG_CF));
    check("flags-after-cli", 0, m->esi & FLAG_IF);
    check("sp", STACK_SP, m->esp);
    check("real-if", 0, m->eflags & FLAG_IF);
}

static void monitored_program(void) {
    load_program();
    trap_set_handler(VECTOR_GP, monitor);
    struct machine m = IMAGE(program);
    m.eflags ^= FLAG_IOPL;
    guest_run(&m);
    trap_set_handler(VECTOR_GP, NULL);
    check_section("monitor");
    check_program(&m, 0);
    check("traps", 14, monitored);
    check_section(NULL);
}

/* The same program without a monitor. */
static void extensions(void) {
    if (!(cpuid(1).edx & CPUID_VME))
        return;
    write_cr4(read_cr4() | CR4_VME);
    load_program();
    tss.redirection[0x21 / 8] &= (uint8_t) ~(1u << 0x21 % 8);
    struct machine m = IMAGE(program);
    m.eflags ^= FLAG_IOPL;
    guest_run(&m);
    check_section("vme");
    check_program(&m, FLAG_IOPL);
    m = IMAGE(sti_);
    m.eflags ^= FLAG_IOPL | FLAG_VIP;
    guest_run(&m);
    check_trap("sti-with-vip", &m, VECTOR_GP, 0, 0);
    m = IMAGE(pushfd_);
    m.eflags ^= FLAG_IOPL;
    guest_run(&m);
    check_trap("pushfd", &m, VECTOR_GP, 0, 0);
    m = IMAGE(arithmetic);
    m.eflags ^= FLAG_IOPL | FLAG_VIF | FLAG_VIP;
    guest_run(&m);
    check_trap_unless_tcg("vif-with-vip", &m, VECTOR_GP, 0, 0);
    check_section(NULL);
    tss.redirection[0x21 / 8] = 0xff;
    write_cr4(read_cr4() ^ CR4_VME);
}

void guest_main(void) {
    stage_start();
    set_up();
    plain_code();
    sensitive();
    ports();
    interrupts();
    monitored_program();
    extensions();
    check_finish("v86_monitor");
}
