/* Where a pending interrupt is taken: after the instruction behind STI, at once after POPF and
 * IRET; the single-step trap that MOV SS and POP SS put off by one instruction, and the one behind a POPF that clears TF. */
#include "tests/guests/stage.h"

SNIPPET(sti_nops, "sti; inc %eax; inc %eax; inc %eax" DONE);
SNIPPET(sti_cli, "sti; cli; inc %eax; inc %eax" DONE);
SNIPPET(sti_sti, "sti; sti; inc %eax" DONE);
SNIPPET(sti_jump, "sti; jmp 1f; ud2; 1: inc %eax" DONE);
SNIPPET(sti_user_page, "sti; mov (%ebx), %ecx; inc %eax" DONE);
SNIPPET(sti_halt, "sti; hlt; inc %eax" DONE);
SNIPPET(popf_nops, "push $0x202; popf; inc %eax; inc %eax" DONE);
SNIPPET(iret_nops, "push $0x202; push %cs; call 1f; inc %eax; int $0x81; 1: iret");
SNIPPET(plain, "inc %eax" DONE);
SNIPPET(endless, "1: inc %eax; jmp 1b");
SNIPPET(calls, "1: call 2f; jmp 1b; 2: inc %eax; ret");
SNIPPET(indirect, "call 2f; 2: pop %ecx; add $4, %ecx; 1: inc %eax; jmp *%ecx");
SNIPPET(load_ss, "mov %ss, %ecx; mov %ecx, %ss; inc %eax; inc %eax" DONE);
SNIPPET(popf_clears, "push $2; popf; inc %eax" DONE);
SNIPPET(pop_ss, "push %ss; pop %ss; inc %eax; inc %eax" DONE);

enum { READ_IRR = 0x0a, MASTER = 0x20 };

/* Returns with IF clear and an interrupt of the timer waiting at the 8259. */
static void make_pending(void) {
    pit_start(1000);
    pic_unmask(0);
    outb(MASTER, READ_IRR);
    while (!(inb(MASTER) & 1))
        continue;
}

static void acknowledge(void) {
    pic_mask(0);
    pic_end_of_interrupt(0);
}

static void expect_taken(const char *name, struct machine m, uint32_t eip, uint32_t eax) {
    make_pending();
    guest_run(&m);
    check_trap(name, &m, VECTOR_IRQ0, 0, CODE + eip);
    check("eax", eax, m.eax);
    check("flags-had-if", FLAG_IF, m.eflags & FLAG_IF);
    acknowledge();
}

static void pending_interrupts(void) {
    expect_taken("after-sti", STAGE(0, sti_nops), 2, 1);
    expect_taken("after-sti-sti", STAGE(0, sti_sti), 2, 0);
    expect_taken("after-sti-jump", STAGE(0, sti_jump), 5, 0);
    expect_taken("after-sti-hlt", STAGE(0, sti_halt), 2, 0);
    expect_taken("after-popf", STAGE(0, popf_nops), 6, 0);
    expect_taken("after-iret", STAGE(0, iret_nops), 11, 0);
    struct machine m = STAGE(3, plain);
    m.eflags |= FLAG_IF;
    expect_taken("entering-ring3", m, 0, 0);
    make_pending();
    m = STAGE_RUN(0, sti_cli);
    check_trap("sti-cli", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(sti_cli));
    m = STAGE_RUN(0, plain);
    check("if-clear", VECTOR_DONE, m.vector);
    interrupts_disable();
    pic_mask(0);
}

/* Loops without an end must be left, whatever way they close. */
static void loops_are_left(unsigned ring) {
    struct machine m[] = {STAGE(ring, endless), STAGE(ring, calls), STAGE(ring, indirect)};
    const struct {
        const uint8_t *code;
        uint32_t size;
    } bytes[] = {{endless, SNIPPET_SIZE(endless)},
                 {calls, SNIPPET_SIZE(calls)},
                 {indirect, SNIPPET_SIZE(indirect)}};
    check_variant(ring_name(ring));
    for (unsigned i = 0; i < 3; i++) {
        memcpy((void *)CODE, bytes[i].code, bytes[i].size);
        m[i].eflags |= FLAG_IF;
        pic_unmask(0);
        guest_run(&m[i]);
        check("loop-is-left", VECTOR_IRQ0, m[i].vector);
        pic_end_of_interrupt(0);
        /* One that was latched before may end a run at its first instruction, and the next ones on a slow
         * host. */
        for (unsigned tries = 0; tries < 1000 && (!tries || !m[i].eax); tries++) {
            guest_run(&m[i]); /* goes on where it was */
            check("loop-is-left-again", VECTOR_IRQ0, m[i].vector);
            pic_end_of_interrupt(0);
        }
        check_true("loop-made-progress", m[i].eax > 0);
        acknowledge();
    }
    check_variant(NULL);
}

static void step_over_stack_load(void) {
    struct machine m = STAGE(3, load_ss);
    m.eflags |= FLAG_TF;
    guest_run(&m);
    check_trap("step.before-mov-ss", &m, VECTOR_DB, 0, CODE + 2);
    guest_run(&m);
    check_trap("step.mov-ss-shadow", &m, VECTOR_DB, 0, CODE + 5);
    check("step.mov-ss-shadow.eax", 1, m.eax);
    m = STAGE(3, pop_ss);
    m.eflags |= FLAG_TF;
    guest_run(&m);
    guest_run(&m);
    check_trap("step.pop-ss-shadow", &m, VECTOR_DB, 0, CODE + 3);
}

/* The POPF that clears TF is itself followed by the trap, whatever was executed behind it before. */
static void step_over_popf(unsigned ring) {
    check_variant(ring_name(ring));
    for (unsigned i = 0; i < 3; i++) {
        struct machine m = STAGE(ring, popf_clears);
        guest_run(&m);
        check("step.popf.plain", 1, m.eax);
        m = STAGE(ring, popf_clears);
        m.eflags |= FLAG_TF;
        guest_run(&m);
        check_trap("step.popf.before", &m, VECTOR_DB, 0, CODE + 2);
        guest_run(&m);
        check_trap("step.popf.clears", &m, VECTOR_DB, 0, CODE + 3);
        check("step.popf.eax", 0, m.eax);
        guest_run(&m);
        check("step.popf.behind", 1, m.eax);
    }
    check_variant(NULL);
}

void guest_main(void) {
    stage_start();
    pending_interrupts();
    loops_are_left(0);
    loops_are_left(3);
    step_over_stack_load();
    step_over_popf(0);
    step_over_popf(3);
    check_finish("interrupt_shadows");
}
