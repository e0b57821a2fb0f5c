/* How time grows with the code that is in use. */
#include <string.h>
#include <sys/mman.h>

#include "bench/linux/workload.h"

enum { FUNCTION_BYTES = 256, CALLS = 1024 };

extern const uint8_t footprint_start[], footprint_end[];

static uint32_t call(const uint8_t *function, uint32_t value) {
    __asm__ volatile("call *%1" : "+a"(value) : "r"(function) : "ecx", "edx", "cc");
    return value;
}

/* The functions of footprint.S, which bear being moved, as often as they go into so many bytes. */
static uint8_t *copy_functions(uint32_t bytes) {
    uint32_t have = (uint32_t)(footprint_end - footprint_start);
    uint8_t *code = WORKLOAD_CALL((uint8_t *)mmap(NULL, bytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (uint32_t done = 0; done < bytes; done += have)
        memcpy(code + done, footprint_start, bytes - done < have ? bytes - done : have);
    return code;
}

/* All functions in turn, each round in another order or in the same; once before the clock runs. */
static uint32_t run_in_order(uint32_t size, uint32_t bytes, bool changing) {
    const uint8_t *code = copy_functions(bytes);
    uint32_t functions = bytes / FUNCTION_BYTES, sum = 1, factor = 3;
    for (uint32_t i = 0; i < functions; i++)
        sum = call(code + i * FUNCTION_BYTES, sum);
    workload_begin();
    for (uint32_t i = 0; i < size * CALLS; i++) {
        if (changing && i % functions == 0)
            factor += 2; /* odd: a permutation */
        sum = call(code + (i * factor + factor) % functions * FUNCTION_BYTES, sum);
    }
    workload_end();
    return sum;
}

static uint32_t run_code(uint32_t size, uint32_t bytes) { return run_in_order(size, bytes, true); }

static uint32_t run_64k(uint32_t size) { return run_code(size, 64u << 10); }
static uint32_t run_256k(uint32_t size) { return run_code(size, 256u << 10); }
static uint32_t run_1m(uint32_t size) { return run_code(size, 1u << 20); }
static uint32_t run_2m(uint32_t size) { return run_code(size, 2u << 20); }
static uint32_t run_4m(uint32_t size) { return run_code(size, 4u << 20); }
static uint32_t run_8m(uint32_t size) { return run_code(size, 8u << 20); }
static uint32_t run_cycle(uint32_t size) { return run_in_order(size, 2u << 20, false); }

const struct workload growth_workloads[] = {
    {"grow.code-64k", WORKLOAD_PROGRAM, run_64k, 2000, 200, CALLS},
    {"grow.code-256k", WORKLOAD_PROGRAM, run_256k, 2000, 200, CALLS},
    {"grow.code-1m", WORKLOAD_PROGRAM, run_1m, 2000, 200, CALLS},
    {"grow.code-2m", WORKLOAD_PROGRAM, run_2m, 2000, 200, CALLS},
    {"grow.code-4m", WORKLOAD_PROGRAM, run_4m, 2000, 200, CALLS},
    {"grow.code-8m", WORKLOAD_PROGRAM, run_8m, 2000, 200, CALLS},
    /* So much translation cache; the program is the same. */
    {"grow.cache-1536k", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-2m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-3m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-4m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-5m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-6m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-8m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cache-16m", WORKLOAD_PROGRAM, run_2m, 400, 100, CALLS},
    {"grow.cycle-1536k", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-2m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-3m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-4m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-5m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-6m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-8m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {"grow.cycle-16m", WORKLOAD_PROGRAM, run_cycle, 400, 100, CALLS},
    {.name = NULL},
};
