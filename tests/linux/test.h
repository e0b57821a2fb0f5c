/* What the small Linux programs share: reporting in the same words as our guest kernels.
 * These programs run inside the guest (and, built the same, on the host for comparison). */
#ifndef RING3_TESTS_LINUX_TEST_H
#define RING3_TESTS_LINUX_TEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static unsigned test_failures;

/* Prints "ok NAME" or "FAIL NAME expected X got Y". */
static inline void test_check(const char *name, uint64_t expected, uint64_t got) {
    if (expected == got) {
        printf("ok %s\n", name);
    } else {
        printf("FAIL %s expected %#llx got %#llx\n", name, (unsigned long long)expected,
               (unsigned long long)got);
        test_failures++;
    }
    fflush(stdout);
}

/* For a system call that must not fail: the program ends with what and why. */
#define TEST_CALL(call)                                                                            \
    ({                                                                                             \
        long test_result = (long)(call);                                                           \
        if (test_result == -1) {                                                                   \
            perror(#call);                                                                         \
            exit(2);                                                                               \
        }                                                                                          \
        test_result;                                                                               \
    })

static inline double test_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The number given as the n-th argument, or `otherwise`. */
static inline unsigned test_argument(int argc, char **argv, int n, unsigned otherwise) {
    return argc > n ? (unsigned)strtoul(argv[n], NULL, 10) : otherwise;
}

static inline int test_result(void) { return test_failures ? 1 : 0; }

#endif
