/* Rows that any program may execute. Compiled for the bare guest and for Linux. */
#include "bench/guest/nano.h"

#include <stddef.h>

/* Ordinary instructions, two a count: tells a processor from a simulator of one. */
static uint64_t run_loop(uint32_t count) {
    uint64_t start = nano_tsc();
    __asm__ volatile("1: dec %0\n"
                     "jnz 1b\n"
                     : "+r"(count)
                     :
                     : "cc");
    return nano_tsc() - start;
}

static uint64_t run_call_ret(uint32_t count) {
    uint32_t rounds = count / 16;
    uint64_t start = nano_tsc();
    __asm__ volatile("jmp 2f\n"
                     ".balign 16\n"
                     "1: ret\n"
                     ".balign 16\n"
                     "2:\n"
                     ".rept 16\n"
                     "call 1b\n"
                     ".endr\n"
                     "dec %0\n"
                     "jnz 2b\n"
                     : "+r"(rounds)
                     :
                     : "cc", "memory");
    return nano_tsc() - start;
}

/* One site, four targets in turn: what an interpreter or a switch does. */
static uint64_t run_call_indirect(uint32_t count) {
    uint64_t start = nano_tsc();
    __asm__ volatile("jmp 3f\n"
                     ".balign 16\n"
                     "11: ret\n"
                     ".balign 16\n"
                     "12: ret\n"
                     ".balign 16\n"
                     "13: ret\n"
                     ".balign 16\n"
                     "14: ret\n"
                     ".balign 4\n"
                     "2: .long 11b, 12b, 13b, 14b\n"
                     "3: mov %0, %%eax\n"
                     "and $3, %%eax\n"
                     "call *2b(, %%eax, 4)\n"
                     "dec %0\n"
                     "jnz 3b\n"
                     : "+r"(count)
                     :
                     : "eax", "cc", "memory");
    return nano_tsc() - start;
}

static uint64_t run_rdtsc(uint32_t count) {
    uint32_t rounds = count / 8;
    uint64_t start = nano_tsc();
    __asm__ volatile("1:\n"
                     ".rept 8\n"
                     "rdtsc\n"
                     ".endr\n"
                     "dec %0\n"
                     "jnz 1b\n"
                     : "+r"(rounds)
                     :
                     : "eax", "edx", "cc");
    return nano_tsc() - start;
}

static uint64_t run_cpuid(uint32_t count) {
    uint64_t start = nano_tsc();
    __asm__ volatile("1: xor %%eax, %%eax\n"
                     "cpuid\n"
                     "dec %0\n"
                     "jnz 1b\n"
                     : "+r"(count)
                     :
                     : "eax", "ebx", "ecx", "edx", "cc");
    return nano_tsc() - start;
}

/* A store into the immediate operand of the instruction that is called next. */
static uint64_t run_self_modify(uint32_t count) {
    static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xc3}; /* mov $imm32, %eax; ret */
    volatile uint8_t *page = nano_code_page();
    for (size_t i = 0; i < sizeof code; i++)
        page[i] = code[i];
    uint32_t (*returns)(void) = (uint32_t(*)(void))(uintptr_t)page;
    uint32_t wrong = 0;
    uint64_t start = nano_tsc();
    for (uint32_t i = 0; i < count; i++) {
        __asm__ volatile("movl %1, 1(%0)" : : "r"(page), "r"(i) : "memory");
        wrong += returns() != i;
    }
    uint64_t cycles = nano_tsc() - start;
    if (wrong)
        nano_fail("self-modify: old code was executed");
    return cycles;
}

const struct nano_row nano_plain_rows[] = {
    {"loop", run_loop},   {"call-ret", run_call_ret}, {"call-indirect", run_call_indirect},
    {"rdtsc", run_rdtsc}, {"cpuid", run_cpuid},       {"self-modify", run_self_modify},
    {NULL, NULL},
};
