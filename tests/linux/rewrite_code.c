/* Rewrites its own code, as a JIT compiler does: a function's body N times in a writable and
 * executable page; code that patches the instruction right behind the store; two mappings of one
 * page, written through the first and run through the second; data beside code on one page. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

typedef uint32_t (*function)(void);

static uint32_t call(const void *code) {
    function f;
    memcpy(&f, &code, sizeof f);
    return f();
}

/* mov $value, %eax; ret */
static void write_constant(volatile uint8_t *at, uint32_t value) {
    at[0] = 0xb8;
    for (unsigned i = 0; i < 4; i++)
        at[1 + i] = (uint8_t)(value >> (8 * i));
    at[5] = 0xc3;
}

static void rewrite_function(uint8_t *page, unsigned rounds) {
    unsigned wrong = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        uint8_t *at = page + (i % 64) * 16;
        write_constant(at, i * 2654435761u);
        wrong += call(at) != i * 2654435761u;
    }
    test_check("rewrite.function", 0, wrong);
}

/* mov imm, %eax with its immediate stored by the instruction before it; the loop adds up. */
static void patch_ahead(uint8_t *page) {
    static const uint8_t code[] = {
        0xe8, 0,    0,    0, 0, /* call next */
        0x5a,                   /* pop %edx: page + 5 */
        0x31, 0xc9,             /* xor %ecx, %ecx */
        0x31, 0xc0,             /* xor %eax, %eax */
        0x88, 0x4a, 0x0a,       /* mov %cl, 10(%edx): byte 15, the immediate below */
        0x83, 0xc0, 0x55,       /* add $imm8, %eax */
        0x41,                   /* inc %ecx */
        0x83, 0xf9, 100,        /* cmp $100, %ecx */
        0x75, 0xf4,             /* jne to the mov */
        0xc3,
    };
    memcpy(page, code, sizeof code);
    test_check("rewrite.next-instruction", 4950, call(page));
}

static void write_by_alias(unsigned rounds) {
    int file = (int)TEST_CALL(memfd_create("alias", 0));
    TEST_CALL(ftruncate(file, 4096));
    uint8_t *writable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    uint8_t *runnable = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
    if (writable == MAP_FAILED || runnable == MAP_FAILED) {
        test_check("rewrite.map", 1, 0);
        return;
    }
    unsigned wrong = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        write_constant(writable, ~i);
        __asm__ volatile("cpuid" : : "a"(0), "c"(0) : "ebx", "edx", "memory");
        wrong += call(runnable) != ~i;
    }
    test_check("rewrite.alias", 0, wrong);
}

static void write_beside_code(uint8_t *page, unsigned rounds) {
    volatile uint32_t *counter = (volatile uint32_t *)(void *)(page + 2048);
    unsigned wrong = 0;
    *counter = 0;
    write_constant(page, 99);
    for (unsigned i = 0; i < rounds; i++) {
        wrong += call(page) != 99;
        ++*counter;
    }
    test_check("rewrite.data-beside-code", rounds, *counter + wrong);
}

int main(int argc, char **argv) {
    unsigned rounds = test_argument(argc, argv, 1, 10000);
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 2;
    TEST_CALL(mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
    double start = test_seconds();
    rewrite_function(page, rounds);
    printf("rewrite: %u times, %.2f us each\n", rounds, (test_seconds() - start) / rounds * 1e6);
    patch_ahead(page);
    write_by_alias(rounds / 10);
    write_beside_code(page, rounds);
    return test_result();
}
