/* Calls that never return, as many as fill the monitor's stack of return addresses several times:
 * with a privileged instruction at every depth, an indirect jump at every depth, and DF set. */
#include "tests/guests/stage.h"

SNIPPET(calls_and_callouts,
        "1: call 2f; 2: pop %eax; mov %cr0, %edx; mov %ds, %eax; mov %eax, %es\n"
        "dec %ecx; jnz 1b" DONE);
SNIPPET(with_direction_set, "std; 1: call 2f; 2: pop %eax; mov %ds, %eax; mov %eax, %es\n"
                            "sidt (%ebx); dec %ecx; jnz 1b; cld" DONE);
SNIPPET(user_calls, "1: call 2f; 2: pop %eax; mov %ds, %eax; mov %eax, %es; sidt (%ebx)\n"
                    "dec %ecx; jnz 1b" DONE);
SNIPPET(indirect,
        "call 2f; 2: pop %edx; add $6, %edx; 1: call *%edx; 3: pop %eax; dec %ecx; jnz 1b" DONE);
SNIPPET(nested, "call 1f; int $0x81\n"
                "1: push %ecx; mov %ds, %eax; mov %eax, %es; dec %ecx; jz 2f; call 1b\n"
                "2: pop %ecx; inc %edx; ret");

enum { TIMES = 40000, DEPTH = 10000 };

static uint8_t deep_stack[DEPTH * 8 + 4096] __attribute__((aligned(16)));

static void expect_through(const char *name, struct machine m) {
    m.ecx = TIMES;
    guest_run(&m);
    check(name, VECTOR_DONE, m.vector);
    check(name, 0, m.ecx);
}

void guest_main(void) {
    stage_start();
    expect_through("callouts", STAGE(0, calls_and_callouts));
    expect_through("direction", STAGE(0, with_direction_set));
    expect_through("ring3", STAGE(3, user_calls));
    expect_through("indirect", STAGE(0, indirect));
    struct machine m = STAGE(0, nested);
    m.esp = address_of(deep_stack + sizeof deep_stack);
    m.ecx = DEPTH;
    guest_run(&m);
    check("nested.end", VECTOR_DONE, m.vector);
    check("nested.returns", DEPTH, m.edx);
    check_finish("return_stack");
}
