/* Virtual-8086 mode: 16-bit code at ring 3 under paging, entered by IRETD and left by every trap;
 * what IOPL lets through, what traps, and segments that are addresses. */
#include "tests/guests/stage.h"

enum {
    V86_CODE = 0x40000, /* one page each, for ring 3 */
    V86_DATA = 0x50000,
    V86_STACK = 0x60000,
    V86_FAR = 0x41000,
    FLAG_VM = 1 << 17,
    IOPL_3 = 3 << 12,
};

#define SNIPPET16(name, code) SNIPPET(name, ".code16\n" code "\n.code32\n")

/* What IRETD pops, and a trap pushes. */
struct v86_frame {
    struct trap_frame trap;
    uint32_t es, ds, fs, gs;
};

void run_enter(struct trap_frame *frame);
__attribute__((noreturn)) void run_leave(void);

static struct v86_frame entry, left; /* as it goes in, as it came out */
static uint32_t left_cr2;

/* Any trap that is not ours to serve ends the run. */
static bool leave(struct trap_frame *frame) {
    if (!(frame->eflags & FLAG_VM))
        return false;
    left = *(struct v86_frame *)(void *)frame;
    left_cr2 = read_cr2();
    run_leave();
}

/* INT 80h counts and goes back. */
static uint32_t served;
static bool serve(struct trap_frame *frame) {
    served++;
    frame->ebx++;
    return (frame->eflags & FLAG_VM) != 0;
}

static void prepare(const uint8_t *code, uint32_t size, uint32_t flags) {
    memcpy((void *)V86_CODE, code, size);
    entry = (struct v86_frame){.trap = {.ds = KERNEL_DS,
                                        .es = KERNEL_DS,
                                        .fs = 0,
                                        .gs = 0,
                                        .cs = V86_CODE >> 4,
                                        .ss = V86_STACK >> 4,
                                        .esp = 0x800,
                                        .eflags = FLAG_FIXED | FLAG_VM | flags},
                               .es = V86_DATA >> 4,
                               .ds = V86_DATA >> 4,
                               .fs = V86_DATA >> 4,
                               .gs = V86_DATA >> 4};
}
#define PREPARE(name, flags) prepare(name, SNIPPET_SIZE(name), flags)

static void check_left(const char *name, uint32_t vector, uint32_t error, uint32_t ip) {
    const struct trap_frame *t = &left.trap;
    if (!check_verdict(name, t->vector == vector && t->error == error && t->eip == ip))
        print(" expected %u(%x) at %x got %u(%x) at %x:%x\n", vector, error, ip, t->vector,
              t->error, t->cs, t->eip);
}

SNIPPET16(basics,
          "mov $0x1234, %ax; mov %ax, (0x10); mov %cs, %cx; mov %ss, %dx; push %ax; pop %si\n"
          "call 1f; lcall $0x4100, $0; movl $0x89abcdef, (0x20); mov $0x5001, %bp; mov %bp, %es\n"
          "mov %es:(0x10), %edi; pusha; popa; jmp 2f; 1: inc %bx; ret; 2: hlt");
SNIPPET16(far_one, "inc %bx; lret");
static void segments(void) {
    PREPARE(basics, 0);
    memcpy((void *)V86_FAR, far_one, SNIPPET_SIZE(far_one));
    run_enter(&entry.trap);
    check_left("basics.hlt-traps", VECTOR_GP, 0, SNIPPET_SIZE(basics) - 1);
    check("basics.ax", 0x1234, left.trap.eax & 0xffff);
    check("basics.data", 0x1234, *word_at(V86_DATA + 0x10) & 0xffff);
    check("basics.cs", V86_CODE >> 4, left.trap.ecx & 0xffff);
    check("basics.ss", V86_STACK >> 4, left.trap.edx & 0xffff);
    check("basics.calls", 2, left.trap.ebx & 0xffff);
    check("basics.push-pop", 0x1234, left.trap.esi & 0xffff);
    check("basics.es-moved", 0x89abcdef, left.trap.edi);
    check("basics.sp", 0x800, left.trap.esp & 0xffff);
    check("basics.es-saved", 0x5001, left.es);
    check("basics.ds-saved", V86_DATA >> 4, left.ds);
    check("basics.vm-saved", FLAG_VM, left.trap.eflags & FLAG_VM);
}

SNIPPET16(do_cli, "nop; cli; nop; hlt");
SNIPPET16(do_sti, "nop; sti; nop; hlt");
SNIPPET16(do_pushf, "nop; pushf; pop %ax; hlt");
SNIPPET16(do_popf, "nop; popf; nop; hlt");
SNIPPET16(do_int, "nop; int $0x80; nop; hlt");
SNIPPET16(do_iret, "nop; iret; nop; hlt");
SNIPPET16(do_mov_cr, "nop; mov %cr0, %eax; hlt");
SNIPPET16(do_lgdt, "nop; lgdt (0); hlt");
SNIPPET16(do_lar, "nop; lar %ax, %ax; hlt");
SNIPPET16(do_sldt, "nop; sldt %ax; hlt");
SNIPPET16(do_arpl, "nop; arpl %ax, %ax; hlt");
SNIPPET16(do_smsw, "nop; smsw %ax; hlt");
SNIPPET16(do_out, "nop; out %al, $0x80; hlt");
static void sensitive(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
        uint32_t vector, ip, vector3, ip3; /* with IOPL 0, with IOPL 3 */
    } list[] = {
#define ROW(name) #name, name, name##_end
        {ROW(do_cli), VECTOR_GP, 1, VECTOR_GP, 3},
        {ROW(do_sti), VECTOR_GP, 1, VECTOR_GP, 3},
        {ROW(do_pushf), VECTOR_GP, 1, VECTOR_GP, 3},
        {ROW(do_popf), VECTOR_GP, 1, VECTOR_GP, 3},
        {ROW(do_int), VECTOR_GP, 1, VECTOR_GP, 4},
        {ROW(do_iret), VECTOR_GP, 1, VECTOR_GP, 2},
        {ROW(do_mov_cr), VECTOR_GP, 1, VECTOR_GP, 1},
        {ROW(do_lgdt), VECTOR_GP, 1, VECTOR_GP, 1},
        {ROW(do_lar), VECTOR_UD, 1, VECTOR_UD, 1},
        {ROW(do_sldt), VECTOR_UD, 1, VECTOR_UD, 1},
        {ROW(do_arpl), VECTOR_UD, 1, VECTOR_UD, 1},
        {ROW(do_smsw), VECTOR_GP, 4, VECTOR_GP, 4}, /* allowed; HLT ends it */
        {ROW(do_out), VECTOR_GP, 1, VECTOR_GP, 1},
    };
    trap_set_handler(VECTOR_SYSCALL, serve);
    for (unsigned i = 0; i < 2 * sizeof list / sizeof *list; i++) {
        bool iopl3 = i & 1;
        uint32_t size = (uint32_t)(list[i / 2].end - list[i / 2].code);
        prepare(list[i / 2].code, size, iopl3 ? IOPL_3 : 0);
        entry.trap.esp = 0x7fa; /* IRET goes on behind itself, POPF pops 0 */
        *(volatile uint16_t *)(V86_STACK + 0x7fa) = iopl3 && list[i / 2].code == do_iret ? 2 : 0;
        *(volatile uint16_t *)(V86_STACK + 0x7fc) = V86_CODE >> 4;
        *(volatile uint16_t *)(V86_STACK + 0x7fe) = 0;
        if (list[i / 2].code == do_iret)
            *byte_at(V86_CODE + 2) = 0xf4;
        run_enter(&entry.trap);
        check_variant(iopl3 ? "iopl3" : "iopl0");
        if (iopl3)
            check_left(list[i / 2].name, list[i / 2].vector3, 0, list[i / 2].ip3);
        else
            check_left(list[i / 2].name, list[i / 2].vector, 0, list[i / 2].ip);
    }
    check_variant(NULL);
    check("int80.served", 1, served);
}

SNIPPET16(
    flags,
    "cli; pushf; pop %ax; sti; pushf; pop %cx; mov $0x7fff, %dx; push %dx; popf; pushfl; pop %edx\n"
    "cli; hlt");
static void interrupt_flag(void) {
    PREPARE(flags, IOPL_3);
    run_enter(&entry.trap);
    check_left("flags", VECTOR_DB, 0, 13); /* POPF set TF: the trap behind PUSHFD */
    PREPARE(flags, IOPL_3);
    *byte_at(V86_CODE + 8) = 0xfe; /* TF out of the image */
    run_enter(&entry.trap);
    check_left("flags.hlt", VECTOR_GP, 0, SNIPPET_SIZE(flags) - 1);
    check("flags.cli", 0, left.trap.eax & FLAG_IF);
    check("flags.sti", FLAG_IF, left.trap.ecx & FLAG_IF);
    check("flags.iopl-kept", IOPL_3, left.trap.edx & IOPL_3);
    check("flags.vm-hidden", 0, left.trap.edx & FLAG_VM);
}

SNIPPET16(load_word, "nop; mov (%bx), %ax; hlt");
SNIPPET16(push_word, "nop; push %ax; hlt");
SNIPPET16(vex, "nop; .byte 0xc5, 0xf8, 0x77; hlt");
static void faults(void) {
    PREPARE(load_word, 0);
    entry.trap.ebx = 0x1800;
    run_enter(&entry.trap);
    check_left("fault.page", VECTOR_PF, PF_USER | PF_PRESENT, 1); /* the page is the kernel's */
    check("fault.cr2", V86_DATA + 0x1800, left_cr2);
    PREPARE(load_word, 0);
    entry.trap.ebx = 0xffff;
    run_enter(&entry.trap);
    if (!check_under_tcg())
        check_left("fault.limit", VECTOR_GP, 0, 1);
    PREPARE(push_word, 0);
    entry.trap.esp = 1;
    run_enter(&entry.trap);
    if (!check_under_tcg())
        check_left("fault.stack-limit", VECTOR_SS, 0, 1);
    PREPARE(vex, 0);
    run_enter(&entry.trap);
    check_left("fault.vex", VECTOR_UD, 0, 1);
}

/* Into the kernel and back, thousands of times, with interrupts on. */
SNIPPET16(
    busy,
    "mov $2000, %cx; xor %bx, %bx; 1: int $0x80; mov %bx, (%si); add $2, %si; and $0x7fe, %si\n"
    "loop 1b; hlt");
static bool tick(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    return true;
}
static void many_round_trips(void) {
    trap_set_handler(VECTOR_IRQ0, tick);
    pit_start(1000);
    pic_unmask(0);
    PREPARE(busy, IOPL_3 | FLAG_IF);
    served = 0;
    run_enter(&entry.trap);
    pic_mask(0);
    check_left("busy", VECTOR_GP, 0, SNIPPET_SIZE(busy) - 1);
    check("busy.served", 2000, served);
    check("busy.bx", 2000, left.trap.ebx & 0xffff);
    check("busy.last", 2000, *word_at(V86_DATA + (2 * 1999 & 0x7fe)) & 0xffff);
}

void guest_main(void) {
    static const uint32_t pages[] = {V86_CODE, V86_FAR, V86_DATA, V86_STACK};
    stage_start();
    for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++)
        stage_map(pages[i], pages[i], USER_PAGE);
    for (unsigned i = 0; i < 32; i++)
        trap_set_handler(i, leave);
    segments();
    sensitive();
    interrupt_flag();
    faults();
    many_round_trips();
    check_finish("v86");
}
