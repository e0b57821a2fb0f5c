/* Single step by TF, and a breakpoint on an instruction by DR0. */
#include "guest/demo.h"

enum { DR6_B0 = 1, DR6_BS = 1 << 14, DR7_L0 = 1, DR7_RESET = 0x400 };
#define DR6_RESET 0xffff0ff0u

/* Five instructions, then the end. */
SNIPPET(steps, "nop; inc %eax; jmp 1f; nop; 1: push %eax; pop %ecx" DONE);
SNIPPET(target, "nop; inc %eax; inc %eax" DONE);

static void show_single_step(struct demo_space *demo, unsigned ring) {
    static const uint8_t offsets[] = {1, 2, 5, 6, 7};
    uint32_t start = ring == 3 ? USER_CODE : address_of(steps);
    write_dr6(DR6_RESET);
    struct machine m = demo_run(demo, ring, steps, SNIPPET_SIZE(steps), FLAG_TF);
    for (unsigned i = 0; i < sizeof offsets; i++) {
        check_trap("single-step", &m, VECTOR_DB, 0, start + offsets[i]);
        check("single-step.dr6", DR6_BS, read_dr6() & (DR6_BS | 15));
        write_dr6(DR6_RESET);
        guest_run(&m);
    }
    check("single-step.end", VECTOR_DONE, m.vector);
    check("single-step.result", 1, m.ecx);
}

static void show_breakpoint(struct demo_space *demo, unsigned ring) {
    uint32_t start = ring == 3 ? USER_CODE : address_of(target);
    write_dr6(DR6_RESET);
    write_dr0(start + 1);
    write_dr7(DR7_RESET | DR7_L0);
    struct machine m = demo_run(demo, ring, target, SNIPPET_SIZE(target), 0);
    check_trap("breakpoint", &m, VECTOR_DB, 0, start + 1);
    check("breakpoint.dr6", DR6_B0, read_dr6() & (DR6_BS | 15));
    check("breakpoint.before", 0, m.eax);
    m.eflags |= FLAG_RF; /* as the CPU pushes it: the instruction runs when resumed */
    guest_run(&m);
    check_trap("breakpoint.resumed", &m, VECTOR_DONE, 0, start + SNIPPET_SIZE(target));
    check("breakpoint.after", 2, m.eax);
    write_dr7(DR7_RESET);
    m = demo_run(demo, ring, target, SNIPPET_SIZE(target), 0);
    check("breakpoint.off", VECTOR_DONE, m.vector);
}

void show_debug(struct demo_space *demo) {
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring == 3 ? "ring3" : "ring0");
        show_single_step(demo, ring);
        show_breakpoint(demo, ring);
    }
    check_variant(NULL);
}
