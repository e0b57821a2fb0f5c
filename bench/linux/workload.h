/* One static i386 program holds all workloads that `ring3 bench` runs in a Linux guest and, the
 * same file, on the host.
 *
 * A workload's function gets a number and returns a checksum. It calls workload_begin() when all is
 * prepared and workload_end() when the work is done: only that is timed.
 *   operations  the number says how many; it is doubled until the time means something
 *   a program   the number is its size; it runs once */
#ifndef RING3_BENCH_LINUX_WORKLOAD_H
#define RING3_BENCH_LINUX_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

enum workload_kind { WORKLOAD_OPERATIONS, WORKLOAD_PROGRAM };

struct workload {
    const char *name;
    enum workload_kind kind;
    uint32_t (*run)(uint32_t number);
    uint32_t full, quick; /* a program's sizes; 0: not in quick runs */
    uint32_t accesses;    /* a program that is told by the access: accesses a unit of size */
};

/* Each ends with a row without a name. */
extern const struct workload kernel_memory_workloads[];
extern const struct workload kernel_process_workloads[];
extern const struct workload integer_workloads[];
extern const struct workload text_workloads[];
extern const struct workload float_workloads[];
extern const struct workload memory_workloads[];
extern const struct workload code_workloads[];
extern const struct workload growth_workloads[];
/* A nanobenchmark of bench/guest/nano_plain.c, by its name there. False: there is none. */
bool plain_run(const char *name, bool quick);

void workload_begin(void);
void workload_end(void);
/* Ends the workload with a line that says what went wrong. */
__attribute__((noreturn)) void workload_fail(const char *what);
/* For a system call that must not fail. */
#define WORKLOAD_CALL(call)                                                                        \
    ({                                                                                             \
        __typeof__(call) workload_result = (call);                                                 \
        if (workload_result == (__typeof__(call))-1)                                               \
            workload_fail(#call);                                                                  \
        workload_result;                                                                           \
    })
/* Zeroed, or the workload fails. */
void *workload_allocate(uint32_t size);
/* The static busybox of the guest: RING3_BENCH_BUSYBOX, or where the guest has it. */
const char *workload_busybox(void);

/* Numbers that are the same everywhere. */
static inline uint32_t workload_random(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static inline uint32_t workload_mix(uint32_t sum, uint32_t value) {
    return (sum << 5 | sum >> 27) ^ (value * 0x9e3779b1u);
}

#endif
