/* Code: much of it, many short processes, and some that is written while it runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/linux/workload.h"

enum { FUNCTIONS = 8192, FUNCTION_BYTES = 256, ARENA = 256 * 1024 };

extern const uint8_t footprint_start[], footprint_end[];

static uint32_t call(const uint8_t *function, uint32_t value) {
    __asm__ volatile("call *%1" : "+a"(value) : "r"(function) : "ecx", "edx", "cc");
    return value;
}

/* Each round calls every function once, in another order. */
static uint32_t run_footprint(uint32_t size) {
    uint32_t sum = 1;
    if (footprint_end - footprint_start != FUNCTIONS * FUNCTION_BYTES)
        workload_fail("a function does not have its size");
    workload_begin();
    for (uint32_t round = 0; round < size; round++)
        for (uint32_t i = 0; i < FUNCTIONS; i++) /* an odd factor: a permutation */
            sum = call(footprint_start + (i * (2 * round + 5) + round) % FUNCTIONS * FUNCTION_BYTES,
                       sum);
    workload_end();
    return sum;
}

/* A script that starts short processes; what it prints at the end is checked. */
static const char script[] = "i=0 sum=0\n"
                             "while [ $i -lt $1 ]; do\n"
                             "  \"$0\" true\n"
                             "  sum=`\"$0\" expr $sum + $i`\n"
                             "  \"$0\" test $i -lt $1 || sum=-1\n"
                             "  sum=`\"$0\" echo $sum | \"$0\" cat`\n"
                             "  i=$((i + 1))\n"
                             "done\n"
                             "echo $sum\n";

/* `size` fifths of the processes: each round of the script makes five. */
static uint32_t run_shell(uint32_t size) {
    const char *busybox = workload_busybox();
    char rounds[16], answer[32] = "";
    int out[2];
    snprintf(rounds, sizeof rounds, "%u", size);
    WORKLOAD_CALL(pipe(out));
    workload_begin();
    pid_t pid = WORKLOAD_CALL(fork());
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        execl(busybox, busybox, "sh", "-c", script, busybox, rounds, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    ssize_t got = read(out[0], answer, sizeof answer - 1);
    int status = 0;
    WORKLOAD_CALL(waitpid(pid, &status, 0));
    workload_end();
    errno = 0;
    if (status || got <= 0 || strtoul(answer, NULL, 10) != (uint64_t)size * (size - 1) / 2)
        workload_fail("the shell script did not give the right sum");
    return (uint32_t)strtoul(answer, NULL, 10);
}

static uint8_t *make_arena(void) {
    return WORKLOAD_CALL((uint8_t *)mmap(NULL, ARENA, PROT_READ | PROT_WRITE | PROT_EXEC,
                                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static uint8_t *put32(uint8_t *at, uint32_t value) {
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

/* A function of EAX with a few dozen operations; *expected is carried through the same ones. */
static uint8_t *compile(uint8_t *at, uint32_t *seed, uint32_t *expected) {
    for (unsigned i = 0; i < 32; i++) {
        uint32_t value = workload_random(seed);
        switch (value >> 30) {
        case 0:
            *at++ = 0x05; /* add $value, %eax */
            at = put32(at, value);
            *expected += value;
            break;
        case 1:
            *at++ = 0x35; /* xor $value, %eax */
            at = put32(at, value);
            *expected ^= value;
            break;
        case 2:
            *at++ = 0x2d; /* sub $value, %eax */
            at = put32(at, value);
            *expected -= value;
            break;
        default:
            *at++ = 0xc1, *at++ = 0xc0, *at++ = (uint8_t)(value & 15) + 1; /* rol $n, %eax */
            *expected = *expected << ((value & 15) + 1) | *expected >> (31 - (value & 15));
            break;
        }
    }
    *at++ = 0xc3;
    return at;
}

/* A compiler that writes functions one behind the other, starting anew when its memory is full,
 * and runs each a hundred times. */
static uint32_t run_jit_compile(uint32_t size) {
    uint8_t *arena = make_arena(), *at = arena;
    uint32_t seed = 31, sum = 0;
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        uint32_t expected = sum;
        if (at > arena + ARENA - 512)
            at = arena;
        uint8_t *function = at;
        at = compile(at, &seed, &expected);
        sum = call(function, sum);
        if (sum != expected)
            workload_fail("compiled code gave a wrong result");
        for (unsigned k = 0; k < 100; k++)
            sum = workload_mix(call(function, sum), k);
    }
    workload_end();
    return sum;
}

/* An inline cache: one immediate operand of a function is changed, a hundred calls follow. */
static uint32_t run_jit_patch(uint32_t size) {
    static const uint8_t code[] = {0x05, 0, 0, 0, 0, 0xc1, 0xc0, 7, 0xc3}; /* add; rol; ret */
    uint8_t *function = make_arena();
    uint32_t sum = 0;
    memcpy(function, code, sizeof code);
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        put32(function + 1, i * 77);
        uint32_t expected = sum + i * 77;
        expected = expected << 7 | expected >> 25;
        sum = call(function, sum);
        if (sum != expected)
            workload_fail("old code was executed");
        for (unsigned k = 0; k < 100; k++)
            sum = call(function, sum);
    }
    workload_end();
    return sum;
}

const struct workload code_workloads[] = {
    {"code.footprint", WORKLOAD_PROGRAM, run_footprint, 600, 30, 0},
    {"exec.shell", WORKLOAD_PROGRAM, run_shell, 200, 10, 0},
    {"jit.compile", WORKLOAD_PROGRAM, run_jit_compile, 60000, 3000, 0},
    {"jit.patch", WORKLOAD_PROGRAM, run_jit_patch, 50000, 2500, 0},
    {.name = NULL},
};
