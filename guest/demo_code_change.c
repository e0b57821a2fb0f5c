/* Code that changes: its own next instruction, a function on another page, and a page written
 * through a second mapping. */
#include "guest/demo.h"

enum { FUNCTION = 0x40200000, ALIAS = 0x40300000 };

/* Writes the immediate of the instruction right after the store. */
SNIPPET(next_instruction, "call 1f; 1: pop %ecx; movb $42, 2f+1-1b(%ecx); 2: mov $1, %eax" DONE);
/* A loop that rewrites the constant it adds: 1 + 2 + ... + 10. */
SNIPPET(own_loop, "call 1f; 1: pop %ecx; xor %eax, %eax; mov $10, %edx\n"
                  "2: add $1, %eax; incb 2b+2-1b(%ecx); dec %edx; jnz 2b" DONE);
SNIPPET(call_function, "mov $0x40200000, %eax; call *%eax" DONE);

static void write_function(volatile uint8_t *at, uint8_t result) {
    static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $0, %eax; ret */
    for (unsigned i = 0; i < sizeof code; i++)
        at[i] = i == 1 ? result : code[i];
}

static uint32_t call_it(void) {
    uint32_t result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(FUNCTION) : "ecx", "edx", "memory");
    return result;
}

/* Through another linear address the manual asks for a serialising instruction (3A 8.1.3). */
static void serialise(void) { (void)cpuid(0); }

void show_self_modification(struct demo_space *demo) {
    struct machine m = demo_run(demo, 3, next_instruction, SNIPPET_SIZE(next_instruction), 0);
    check("self-modify.next-instruction.ring3", 42, m.eax);
    m = demo_run(demo, 0, next_instruction, SNIPPET_SIZE(next_instruction), 0);
    check("self-modify.next-instruction.ring0", 42, m.eax);
    m = demo_run(demo, 3, own_loop, SNIPPET_SIZE(own_loop), 0);
    check("self-modify.loop", 55, m.eax);

    uint32_t page = space_map_new(&demo->space, FUNCTION, USER_PAGE);
    space_map(&demo->space, ALIAS, page, USER_PAGE);
    uint32_t sum = 0;
    for (uint8_t i = 0; i < 100; i++) {
        write_function((volatile uint8_t *)FUNCTION, i);
        sum += call_it();
    }
    check("self-modify.other-page", 4950, sum);
    sum = 0;
    for (uint8_t i = 0; i < 100; i++) {
        write_function((volatile uint8_t *)ALIAS, i);
        serialise();
        sum += call_it();
    }
    check("self-modify.alias", 4950, sum);
    write_function((volatile uint8_t *)page, 77); /* the identity mapping: a third alias */
    serialise();
    m = demo_run(demo, 3, call_function, SNIPPET_SIZE(call_function), 0);
    check("self-modify.seen-from-ring3", 77, m.eax);
}
