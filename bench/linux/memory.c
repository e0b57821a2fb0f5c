/* Memory: in order, by pointers, at random. */
#include <stddef.h>

#include "bench/linux/workload.h"

enum { KIB = 1024, MIB = 1024 * 1024, LINE = 64 };

/* Copy, scale, add and triad over arrays of 16 MiB, in the manner of STREAM. */
static uint32_t run_stream(uint32_t size) {
    enum { COUNT = 2 * MIB };
    double *a = workload_allocate(COUNT * sizeof *a), *b = workload_allocate(COUNT * sizeof *b);
    double *c = workload_allocate(COUNT * sizeof *c);
    for (uint32_t i = 0; i < COUNT; i++)
        a[i] = 1, b[i] = 2, c[i] = i % 7;
    workload_begin();
    for (uint32_t round = 0; round < size; round++) {
        for (uint32_t i = 0; i < COUNT; i++)
            c[i] = a[i];
        for (uint32_t i = 0; i < COUNT; i++)
            b[i] = 0.5 * c[i];
        for (uint32_t i = 0; i < COUNT; i++)
            c[i] = a[i] + b[i];
        for (uint32_t i = 0; i < COUNT; i++)
            a[i] = b[i] + 0.25 * c[i];
    }
    workload_end();
    return (uint32_t)(int64_t)(a[COUNT / 2] * 1e9) ^ (uint32_t)(int64_t)(c[COUNT - 1] * 1e9);
}

/* One cycle through all lines of the memory in an order that no prefetcher guesses (Sattolo). */
static void **make_cycle(uint32_t bytes) {
    uint32_t lines = bytes / LINE, seed = 4711;
    char *memory = workload_allocate(bytes);
    uint32_t *order = workload_allocate(lines * (uint32_t)sizeof *order);
    for (uint32_t i = 0; i < lines; i++)
        order[i] = i;
    for (uint32_t i = lines - 1; i > 0; i--) {
        uint32_t k = workload_random(&seed) % i, t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
    for (uint32_t i = 0; i < lines; i++)
        *(void **)(memory + (uint64_t)order[i] * LINE) =
            memory + (uint64_t)order[(i + 1) % lines] * LINE;
    return (void **)(memory + (uint64_t)order[0] * LINE);
}

enum { CHASE_STEPS = 1000000 };

static uint32_t chase(uint32_t bytes, uint32_t size) {
    void **start = make_cycle(bytes), **at = start;
    uint64_t steps = (uint64_t)size * CHASE_STEPS;
    workload_begin();
    for (uint64_t i = 0; i < steps; i += 8)
        for (unsigned k = 0; k < 8; k++)
            at = *at;
    workload_end();
    return (uint32_t)((char *)at - (char *)start);
}

static uint32_t run_chase_16k(uint32_t size) { return chase(16 * KIB, size); }
static uint32_t run_chase_256k(uint32_t size) { return chase(256 * KIB, size); }
static uint32_t run_chase_4m(uint32_t size) { return chase(4 * MIB, size); }
static uint32_t run_chase_32m(uint32_t size) { return chase(32 * MIB, size); }
static uint32_t run_chase_256m(uint32_t size) { return chase(256 * MIB, size); }

enum { RANDOM_STEPS = 1000000 };

/* Reads and writes of words anywhere; they do not wait for each other. All pages are there. */
static uint32_t roam(uint32_t bytes, uint32_t size) {
    uint32_t *memory = workload_allocate(bytes), words = bytes / 4, seed = 815, sum = 0;
    for (uint32_t i = 0; i < words; i += 1024)
        memory[i] = i;
    workload_begin();
    for (uint64_t i = 0; i < (uint64_t)size * RANDOM_STEPS; i++) {
        uint32_t at = (workload_random(&seed) >> 2) % words;
        sum += memory[at];
        memory[at] = sum;
    }
    workload_end();
    return sum;
}

static uint32_t run_random_32m(uint32_t size) { return roam(32 * MIB, size); }
static uint32_t run_random_512m(uint32_t size) { return roam(512 * MIB, size); }

const struct workload memory_workloads[] = {
    {"mem.stream", WORKLOAD_PROGRAM, run_stream, 15, 1, 0},
    {"mem.chase-16k", WORKLOAD_PROGRAM, run_chase_16k, 200, 10, CHASE_STEPS},
    {"mem.chase-256k", WORKLOAD_PROGRAM, run_chase_256k, 60, 4, CHASE_STEPS},
    {"mem.chase-4m", WORKLOAD_PROGRAM, run_chase_4m, 15, 1, CHASE_STEPS},
    {"mem.chase-32m", WORKLOAD_PROGRAM, run_chase_32m, 6, 1, CHASE_STEPS},
    {"mem.chase-256m", WORKLOAD_PROGRAM, run_chase_256m, 4, 1, CHASE_STEPS},
    {"mem.random-32m", WORKLOAD_PROGRAM, run_random_32m, 30, 2, RANDOM_STEPS},
    {"mem.random-512m", WORKLOAD_PROGRAM, run_random_512m, 15, 1, RANDOM_STEPS},
    {.name = NULL},
};
