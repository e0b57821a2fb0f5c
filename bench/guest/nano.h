/* The nanobenchmarks: one privileged or sensitive operation each, after Adams and Agesen, "A
 * Comparison of Software and Hardware Techniques for x86 Virtualization" (ASPLOS 2006).
 *
 * The rows of nano_plain.c need no privilege: the Linux program compiles them too, and so they
 * have a figure on the host itself. */
#ifndef RING3_BENCH_GUEST_NANO_H
#define RING3_BENCH_GUEST_NANO_H

#include <stdint.h>

/* Does `count` operations (a multiple of NANO_COUNT_MIN) and returns the TSC cycles they took; what
 * has to be prepared is outside of that. */
typedef uint64_t (*nano_fn)(uint32_t count);

struct nano_row {
    const char *name;
    nano_fn run;
};

enum {
    NANO_COUNT_MIN = 1024, /* all unrolling and batches divide it */
    NANO_COUNT_MAX = 1 << 30,
};

/* Each ends with a row without a name. */
extern const struct nano_row nano_plain_rows[];
extern const struct nano_row nano_ring0_rows[];
extern const struct nano_row nano_memory_rows[];
extern const struct nano_row nano_trap_rows[];

/* 4 KiB that can be written and executed: given by whoever links nano_plain.c. */
extern uint8_t *nano_code_page(void);
/* Ends the run with a line that says what went wrong. */
__attribute__((noreturn)) void nano_fail(const char *what);

static inline uint64_t nano_tsc(void) {
    uint64_t value;
    __asm__ volatile("rdtsc" : "=A"(value) : : "memory");
    return value;
}

#endif
