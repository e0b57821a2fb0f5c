/* Memory that is neither RAM nor a device: reads give all ones, and a write leaves no trace, also
 * for instructions that follow each other closely and are reached again and again. */
#include "tests/guests/stage.h"

enum { ROUNDS = 200 };
#define NOTHING_THERE 0xd0000000u

/* ESI is the place. Counts in EDX how often a word that was written was found there. */
SNIPPET(write_and_read, "1: mov %ecx, (%esi); mov (%esi), %eax; cmp %ecx, %eax; jne 2f; inc %edx;"
                        "2: mov 64(%esi), %eax; inc %eax; add %eax, %edi; dec %ecx; jnz 1b" DONE);
/* The same by way of returns, which look for their target in the jump cache. */
SNIPPET(write_and_read_by_call,
        "1: call 3f; call 4f; cmp %ecx, %eax; jne 2f; inc %edx; 2: dec %ecx; jnz 1b; int $0x81;"
        "3: mov %ecx, (%esi); ret; 4: mov (%esi), %eax; ret");

static void try(const char *name, unsigned ring, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.ecx = ROUNDS;
    m.esi = PROBE;
    guest_run(&m);
    check(name, VECTOR_DONE, m.vector);
    check("written-word-is-gone", 0, m.edx);
    check("all-ones", 0, m.edi);
}

void guest_main(void) {
    stage_start();
    stage_map(PROBE, NOTHING_THERE, USER_PAGE);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        try("loop", ring, write_and_read, SNIPPET_SIZE(write_and_read));
        try("calls", ring, write_and_read_by_call, SNIPPET_SIZE(write_and_read_by_call));
    }
    check_finish("unclaimed_memory");
}
