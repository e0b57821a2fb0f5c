/* A guest that a plugin (change.c) changes while it runs: it looks at what has become of it. */
#include "tests/guests/stage.h"

enum { CARRY = 1 };

/* +0 mov, +5 int, +7 mov, +9 mov, +14 the one that is left out, +19 */
SNIPPET(changed, "mov $20, %eax; int $0x80; mov %eax, %edx; mov $1, %ecx; mov $2, %ecx" DONE);

static bool on_call(struct trap_frame *frame) {
    check("register", 0x12345678, frame->esi);
    frame->eax = 5;
    return true;
}

static void run(uint32_t ecx) {
    memcpy((void *)DATA, "hello", 6);
    struct machine m = stage_at(3, CODE, changed, SNIPPET_SIZE(changed));
    m.eflags &= ~(uint32_t)CARRY;
    guest_run(&m);
    check("ended", VECTOR_DONE, m.vector);
    check("result", 77, m.edx);
    check("left-out", ecx, m.ecx);
    check("carry", CARRY, m.eflags & CARRY);
    check_true("memory", !memcmp((void *)DATA, "HELLO", 6));
}

void guest_main(void) {
    stage_start();
    trap_set_handler(VECTOR_SYSCALL, on_call);
    run(1);
    run(5);
    run(5);
    check_finish("changed");
}
