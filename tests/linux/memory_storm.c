/* Memory under stress: forked children map, fill, share, move and unmap memory, and each ends with
 * a checksum that its seed determines. The parent computes the same sums first, alone.
 *
 *   memory_storm [CHILDREN [MEGABYTES [ROUNDS]]] */
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

enum { PAGE = 4096, MAX_CHILDREN = 64 };

static uint32_t next(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static uint32_t checksum(const uint32_t *at, size_t words) {
    uint32_t sum = 2166136261u;
    for (size_t i = 0; i < words; i++)
        sum = (sum ^ at[i]) * 16777619u;
    return sum;
}

static uint32_t *map(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) {
        perror("mmap");
        exit(3);
    }
    return at;
}

/* Touches pages in a scattered order, drops some, moves the mapping, sums what is there. */
static uint32_t one_round(uint32_t *seed, size_t bytes) {
    uint32_t *memory = map(bytes);
    size_t pages = bytes / PAGE, words = PAGE / 4;
    for (size_t i = 0; i < pages; i++) {
        size_t page = next(seed) % pages;
        memory[page * words + next(seed) % words] = next(seed);
    }
    size_t dropped = next(seed) % pages;
    madvise((char *)memory + dropped * PAGE, PAGE, MADV_DONTNEED);
    mprotect((char *)memory + dropped * PAGE, PAGE, PROT_READ);
    mprotect((char *)memory + dropped * PAGE, PAGE, PROT_READ | PROT_WRITE);
    memory[dropped * words] += 1;
    void *moved = mremap(memory, bytes, bytes * 2, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) {
        perror("mremap");
        exit(3);
    }
    uint32_t sum = checksum(moved, bytes * 2 / 4);
    munmap(moved, bytes * 2);
    return sum;
}

static uint32_t work(uint32_t seed, size_t bytes, unsigned rounds) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < rounds; i++)
        sum = sum * 31 + one_round(&seed, bytes);
    return sum;
}

/* A grandchild inherits filled pages, writes to its copies, and must not be seen by its parent. */
static bool copy_on_write_holds(uint32_t seed) {
    enum { WORDS = 64 * PAGE / 4 };
    uint32_t *memory = map(WORDS * 4);
    for (size_t i = 0; i < WORDS; i++)
        memory[i] = next(&seed);
    uint32_t before = checksum(memory, WORDS);
    pid_t child = (pid_t)TEST_CALL(fork());
    if (child == 0) {
        bool same = checksum(memory, WORDS) == before;
        memset(memory, 0x5a, WORDS * 4);
        _exit(same ? 0 : 1);
    }
    uint32_t during = checksum(memory, WORDS);
    int status = 0;
    TEST_CALL(waitpid(child, &status, 0));
    bool good = status == 0 && during == before && checksum(memory, WORDS) == before;
    munmap(memory, WORDS * 4);
    return good;
}

static void run_children(unsigned children, size_t bytes, unsigned rounds) {
    uint32_t *results = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned wrong = 0, failed = 0;
    for (unsigned i = 0; i < children; i++) {
        if (TEST_CALL(fork()) == 0) {
            results[i] = work(i + 1, bytes, rounds);
            _exit(copy_on_write_holds(i + 1) ? 0 : 1);
        }
    }
    for (unsigned i = 0; i < children; i++) {
        int status = 0;
        TEST_CALL(wait(&status));
        failed += status != 0;
    }
    for (unsigned i = 0; i < children; i++)
        wrong += results[i] != work(i + 1, bytes, rounds);
    test_check("storm.checksums", 0, wrong);
    test_check("storm.children", 0, failed);
}

int main(int argc, char **argv) {
    unsigned children = test_argument(argc, argv, 1, 8);
    size_t bytes = (size_t)test_argument(argc, argv, 2, 4) << 20;
    unsigned rounds = test_argument(argc, argv, 3, 4);
    if (children < 1 || children > MAX_CHILDREN || !bytes) {
        fprintf(stderr, "usage: memory_storm [CHILDREN 1..64 [MEGABYTES [ROUNDS]]]\n");
        return 2;
    }
    double start = test_seconds();
    run_children(children, bytes, rounds);
    printf("storm: %u children, %.2f s\n", children, test_seconds() - start);
    return test_result();
}
