/* Hardware task switches: CALL, JMP and IRET between tasks of 32 and 16 bits, task gates in the GDT
 * and the IDT, an address space of the task's own, a task in virtual-8086 mode, a double fault that
 * only a task survives, faults in the new task, and the debug trap. */
#include "tests/guests/stage.h"

enum {
    MAIN = FREE_SELECTOR, /* the task that the checks run in */
    OTHER = FREE_SELECTOR + 8,
    NARROW = FREE_SELECTOR + 16,
    GATE = FREE_SELECTOR + 24, /* DPL 3, to OTHER */
    ABSENT = FREE_SELECTOR + 32,
    TASK_GATE = 0x85,
    TSS_AVAILABLE = 0x89,
    TSS_AVAILABLE16 = 0x81,
    BUSY = 2,
    VECTOR_FREE = 0x90,
    DR6_BT = 1 << 15,
    DR6_BS = 1 << 14,
};

struct tss {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};
struct tss16 {
    uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
    uint16_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

static struct tss main_tss __attribute__((aligned(128))), other __attribute__((aligned(128)));
static struct tss16 narrow __attribute__((aligned(64)));
static uint8_t other_stack[4096] __attribute__((aligned(16)));
static struct space second;

/* A gate's selector stands where a segment has the low half of its base. */
static void set_gate(unsigned selector, uint32_t tss, uint8_t access) {
    gdt_set(selector, tss, 0, access, 0);
}

static void set_idt_task(unsigned vector, uint32_t tss) {
    volatile uint32_t *gate = (volatile uint32_t *)(idt_address() + vector * 8);
    gate[0] = tss << 16;
    gate[1] = TASK_GATE << 8;
}

static uint8_t access_of(unsigned selector) { return *byte_at(gdt_address() + selector + 5); }

/* Fresh task segments: everything that a test may have changed. The code of OTHER is at CODE2. */
static void prepare(void) {
    gdt_set(OTHER, address_of(&other), sizeof other - 1, TSS_AVAILABLE, 0);
    gdt_set(NARROW, address_of(&narrow), sizeof narrow - 1, TSS_AVAILABLE16, 0);
    set_gate(GATE, OTHER, TASK_GATE | 0x60);
    gdt_set(ABSENT, address_of(&other), sizeof other - 1, TSS_AVAILABLE & 0x7f, 0);
    memset(&other, 0, sizeof other);
    other.cr3 = second.root;
    other.eip = CODE2;
    other.eflags = FLAG_FIXED;
    other.esp = address_of(other_stack + sizeof other_stack);
    other.ebx = 0x1000;
    other.cs = KERNEL_CS;
    other.es = other.ss = other.ds = other.fs = other.gs = KERNEL_DS;
    other.esp0 = trap_stack_top();
    other.ss0 = KERNEL_DS;
    other.io_map = sizeof other;
}

/* Traps that end a run may come in another task: back to the main one. */
static void become_main(void) {
    gdt_set(MAIN, address_of(&main_tss), sizeof main_tss - 1, TSS_AVAILABLE, 0);
    __asm__ volatile("ltr %w0; clts" : : "r"(MAIN) : "memory");
    space_enter(&stage);
}

static struct machine run_with(unsigned ring, const uint8_t *code, uint32_t size,
                               const uint8_t *task, uint32_t task_size) {
    memcpy((void *)CODE2, task, task_size);
    return stage_run(ring, code, size);
}
#define RUN(ring, code, task) run_with(ring, code, SNIPPET_SIZE(code), task, SNIPPET_SIZE(task))

SNIPPET(call_tss,
        "mov $1, %ecx; lcall $0x38, $0x1234; mov %cr0, %eax; inc %ecx; lcall $0x38, $0" DONE);
SNIPPET(call_narrow, "mov $0x11112222, %edx; lcall $0x40, $0; inc %ecx" DONE);
SNIPPET(call_gate, "lcall $0x48, $0; inc %ecx" DONE);
SNIPPET(jump_tss, "ljmp $0x38, $0; inc %ecx" DONE);
SNIPPET(jump_absent, "ljmp $0x50, $0");
SNIPPET(interrupt, "int $0x90; inc %ecx" DONE);
SNIPPET(bad_stack, "mov $0xfffffff0, %esp; push %eax" DONE);
SNIPPET(stepped, "ljmp $0x38, $0; nop; nop" DONE);
SNIPPET(inc_iret, "1: inc %ebx; mov %ebx, %esi; iret; add $0x10, %ebx; jmp 1b");
SNIPPET(inc_jump, "inc %ebx; ljmp $0x30, $0");
SNIPPET(just_done, "inc %ebx" DONE);
SNIPPET(nothing, "nop" DONE);

static void calls(void) {
    prepare();
    struct machine m = RUN(0, call_tss, inc_iret);
    check("call.vector", VECTOR_DONE, m.vector);
    check("call.ecx", 2, m.ecx);
    check("call.cr0-ts", CR0_TS, m.eax & CR0_TS);
    check("call.twice", 0x1012, other.ebx); /* the second one went on behind the IRET */
    check("call.saved-eip", CODE2 + SNIPPET_SIZE(inc_iret) - 5, other.eip);
    check("call.link", MAIN, other.link);
    check("call.saved-nt", 0, other.eflags & FLAG_NT);
    check("call.not-busy", TSS_AVAILABLE, access_of(OTHER));
    check("call.busy", TSS_AVAILABLE | BUSY, access_of(MAIN));
    check("call.nt", 0, m.eflags & FLAG_NT);
    prepare();
    m = RUN(3, call_gate, inc_iret);
    check("gate.vector", VECTOR_DONE, m.vector);
    check("gate.ecx", 1, m.ecx);
    check("gate.cs", USER_CS, m.cs);
    check("gate.saved-cs", USER_CS, main_tss.cs);
    m = RUN(3, call_tss, inc_iret);
    check_trap("call.dpl", &m, VECTOR_GP, OTHER, CODE + 5);
    become_main();
}

static void jumps(void) {
    prepare();
    struct machine m = RUN(0, jump_tss, inc_jump);
    check("jump.vector", VECTOR_DONE, m.vector);
    check("jump.ecx", 1, m.ecx);
    check("jump.ebx", 0x1001, other.ebx);
    check("jump.not-busy", TSS_AVAILABLE, access_of(OTHER));
    check("jump.link", 0, other.link);
    m = RUN(0, jump_absent, nothing);
    check_trap("jump.absent", &m, VECTOR_NP, ABSENT, CODE);
    become_main();
}

/* Sixteen-bit code in a page below 64 KiB, and a stack there. */
SNIPPET(narrow_code, ".code16\n inc %ax; mov %sp, %bx; iret\n.code32");

static void narrow_task(void) {
    enum { PLACE = 0x9000, CODE16 = FREE_SELECTOR + 40, DATA16 = FREE_SELECTOR + 48 };
    prepare();
    memcpy((void *)PLACE, narrow_code, SNIPPET_SIZE(narrow_code));
    gdt_set(CODE16, PLACE, 0xfff, 0x9b, 0);
    gdt_set(DATA16, PLACE, 0xfff, 0x93, 0);
    narrow = (struct tss16){.flags = FLAG_FIXED,
                            .ax = 0x41,
                            .sp = 0x800,
                            .cs = CODE16,
                            .es = DATA16,
                            .ss = DATA16,
                            .ds = DATA16};
    struct machine m = RUN(0, call_narrow, nothing);
    check("narrow.vector", VECTOR_DONE, m.vector);
    check("narrow.ecx", 1, m.ecx);
    check("narrow.edx", 0x11112222, m.edx);
    check("narrow.ax", 0x42, narrow.ax);
    check("narrow.bx", 0x800, narrow.bx);
    check("narrow.link", MAIN, narrow.link);
    check("narrow.ip", SNIPPET_SIZE(narrow_code), narrow.ip);
    become_main();
}

/* The state that a task has saved is what it gets back, if it switches to itself. */
SNIPPET(return_to_itself, "pushf; orl $0x4000, (%esp); popf; iret; inc %ecx" DONE);
static void itself(void) {
    prepare();
    main_tss.link = MAIN;
    struct machine m = RUN(0, return_to_itself, nothing);
    check("itself.vector", VECTOR_DONE, m.vector);
    check("itself.ecx", 1, m.ecx);
    check("itself.eip", CODE + SNIPPET_SIZE(return_to_itself), m.eip);
    become_main();
}

static void events(void) {
    prepare();
    set_idt_task(VECTOR_FREE, OTHER);
    struct machine m = RUN(0, interrupt, inc_iret);
    check("int.vector", VECTOR_DONE, m.vector);
    check("int.ecx", 1, m.ecx);
    check("int.ebx", 0x1001, other.ebx);
    m = RUN(3, interrupt, inc_iret);
    check_trap("int.dpl", &m, VECTOR_GP, VECTOR_FREE * 8 + 2, CODE);
    /* No stack for #PF's frame, nor for #DF's: only a task has one. */
    prepare();
    set_idt_task(VECTOR_DF, OTHER);
    m = RUN(0, bad_stack, just_done);
    check("double-fault.vector", VECTOR_DONE, m.vector);
    check("double-fault.ebx", 0x1001, m.ebx);
    check("double-fault.eip", CODE + 5, main_tss.eip);
    check("double-fault.esp", 0xfffffff0, main_tss.esp);
    check("double-fault.error", 0, *word_at(address_of(other_stack + sizeof other_stack) - 4));
    check("double-fault.link", MAIN, other.link);
    become_main();
}

static void faults_in_the_new_task(void) {
    prepare();
    other.fs = ABSENT; /* no data segment */
    struct machine m = RUN(0, jump_tss, nothing);
    check_trap("bad-segment", &m, VECTOR_TS, ABSENT, CODE2);
    check("bad-segment.registers", 0x1000, m.ebx);
    become_main();
    prepare();
    other.eflags |= FLAG_TF;
    m = RUN(0, jump_tss, just_done);
    check_trap("step-in-task", &m, VECTOR_DB, 0, CODE2 + 1);
    become_main();
}

static void debug_traps(void) {
    prepare();
    other.trap = 1;
    write_dr6(0);
    struct machine m = RUN(0, jump_tss, nothing);
    check_trap_unless_tcg("trap-bit", &m, VECTOR_DB, 0, CODE2);
    check_deviation("trap-bit.dr6", DR6_BT, read_dr6() & (DR6_BT | DR6_BS), 0);
    become_main();
    write_dr6(0);
    /* The step of the switching instruction is lost: TF is the new task's. */
    prepare();
    memcpy((void *)CODE2, just_done, SNIPPET_SIZE(just_done));
    m = STAGE(0, stepped);
    m.eflags |= FLAG_TF;
    guest_run(&m);
    check_trap_unless_tcg("step-over-switch", &m, VECTOR_DONE, 0, CODE2 + SNIPPET_SIZE(just_done));
    check("step-over-switch.saved-tf", FLAG_TF, main_tss.eflags & FLAG_TF);
    become_main();
}

SNIPPET(halt, "sti; hlt" DONE);
SNIPPET(load_segment, "mov %ebp, %ds" DONE);

/* The step of a task's first instruction is owed, whatever the switch to it dropped. */
static void step_behind_an_interrupt(void) {
    prepare();
    set_idt_task(VECTOR_IRQ0, OTHER);
    other.eflags |= FLAG_TF;
    other.ebp = KERNEL_DS;
    pit_start(1000);
    pic_unmask(0);
    struct machine m = RUN(0, halt, load_segment);
    pic_mask(0);
    pic_end_of_interrupt(0);
    check_trap("step-behind-interrupt", &m, VECTOR_DB, 0, CODE2 + 2);
    check("step-behind-interrupt.saved-eip", CODE + 2, main_tss.eip);
    become_main();
}

SNIPPET(v86_code, ".code16\n mov $0x55, %ax; mov %ds, %bx; hlt\n.code32");

static void virtual_8086_task(void) {
    enum { PLACE = 0xa000 };
    struct space *spaces[] = {&stage, &second};
    uint32_t page = page_take();
    for (unsigned i = 0; i < 2; i++) {
        space_map(spaces[i], PLACE, page, USER_PAGE);
        *space_directory_entry(spaces[i], 0) |= PTE_U;
    }
    space_enter(&stage);
    memcpy((void *)PLACE, v86_code, SNIPPET_SIZE(v86_code));
    prepare();
    other.eflags = FLAG_FIXED | FLAG_VM;
    other.eip = 0;
    other.cs = PLACE >> 4;
    other.ds = 0x1234;
    struct machine m = RUN(0, jump_tss, nothing);
    check_trap("v86", &m, VECTOR_GP, 0, SNIPPET_SIZE(v86_code) - 1);
    check("v86.ax", 0x55, m.eax);
    check("v86.ds", 0x1234, m.ebx & 0xffff);
    check("v86.vm", FLAG_VM, m.eflags & FLAG_VM);
    become_main();
}

void guest_main(void) {
    stage_start();
    space_make(&second, guest_paging());
    /* The same code pages, so that the tasks may share them. */
    space_map(&second, CODE, *space_entry(&stage, CODE) & 0xfffff000, USER_PAGE);
    space_map(&second, CODE2, *space_entry(&stage, CODE2) & 0xfffff000, USER_PAGE);
    main_tss.cr3 = stage.root;
    main_tss.esp0 = trap_stack_top();
    main_tss.ss0 = KERNEL_DS;
    main_tss.io_map = sizeof main_tss;
    become_main();
    calls();
    jumps();
    narrow_task();
    itself();
    events();
    faults_in_the_new_task();
    debug_traps();
    step_behind_an_interrupt();
    virtual_8086_task();
    check_finish("task_switch");
}
