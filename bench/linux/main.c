/* Serves workloads: reads a line, runs what it names in a child of its own, prints the result.
 *
 *   ring3-bench-guest serve              lines are "NAME full|quick MILLISECONDS"; "quit" ends it
 *   ring3-bench-guest run NAME [quick]   one of them, for people
 *
 * It prints "bench: ready", then for each line "bench: begin" where timing starts (again, when it
 * was too short) and at the end one of bench: result NAME COUNT NANOSECONDS CHECKSUM bench: failed
 * NAME WHY or, for a nanobenchmark, what the bare guest prints. The caller's clock can so be held
 * against this machine's. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bench/linux/workload.h"

enum { MILLISECONDS_DEFAULT = 200, COUNT_MAX = 1 << 30 };

static const struct workload *const tables[] = {
    kernel_memory_workloads, kernel_process_workloads, integer_workloads, text_workloads,
    float_workloads,         memory_workloads,         code_workloads,         growth_workloads,
};

static const char *current = "?";
static struct timespec begun, ended;

void workload_begin(void) {
    puts("bench: begin");
    fflush(stdout);
    clock_gettime(CLOCK_MONOTONIC, &begun);
}

void workload_end(void) { clock_gettime(CLOCK_MONOTONIC, &ended); }

void workload_fail(const char *what) {
    printf("bench: failed %s %s%s%s\n", current, what, errno ? ": " : "",
           errno ? strerror(errno) : "");
    fflush(stdout);
    _exit(0);
}

void *workload_allocate(uint32_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        workload_fail("memory");
    return memory;
}

const char *workload_busybox(void) {
    const char *path = getenv("RING3_BENCH_BUSYBOX");
    return path ? path : "/bin/busybox";
}

static uint64_t elapsed(void) {
    return (uint64_t)((ended.tv_sec - begun.tv_sec) * 1000000000ll + ended.tv_nsec - begun.tv_nsec);
}

static void report(uint32_t count, uint32_t checksum) {
    printf("bench: result %s %u %llu %08x\n", current, count, (unsigned long long)elapsed(),
           checksum);
    fflush(stdout);
}

/* Doubled until it takes long enough. What a number of operations computes differs from machine
 * to machine with the number, so the checksum is of no use to others. */
static void run_operations(const struct workload *workload, uint64_t nanoseconds) {
    uint32_t count = 1;
    workload->run(count);
    while (elapsed() < nanoseconds && count < COUNT_MAX) {
        count *= 2;
        workload->run(count);
    }
    report(count, 0);
}

static void run_program(const struct workload *workload, bool quick) {
    uint32_t size = quick && workload->quick ? workload->quick : workload->full;
    uint32_t checksum = workload->run(size);
    report(workload->accesses ? size * workload->accesses : 1, checksum);
}

static const struct workload *find(const char *name) {
    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct workload *w = tables[i]; w->name; w++)
            if (!strcmp(w->name, name))
                return w;
    return NULL;
}

/* In a child: memory is given back, and what dies leaves the server alive. */
static void run(const char *name, bool quick, unsigned milliseconds) {
    const struct workload *workload = find(name);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        current = name;
        if (workload && workload->kind == WORKLOAD_OPERATIONS)
            run_operations(workload, milliseconds * 1000000ull);
        else if (workload)
            run_program(workload, quick);
        else if (strncmp(name, "nano.", 5) != 0 || !plain_run(name + 5, quick))
            workload_fail("no such workload");
        _exit(0);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        printf("bench: failed %s fork: %s\n", name, strerror(errno));
    else if (WIFSIGNALED(status))
        printf("bench: failed %s signal %d\n", name, WTERMSIG(status));
    else if (WEXITSTATUS(status))
        printf("bench: failed %s status %d\n", name, WEXITSTATUS(status));
}

/* On a console: no echo, no editing, and output as it is written. */
static void settle_terminal(void) {
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings))
        return;
    cfmakeraw(&settings);
    tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

static void serve(void) {
    char line[128], name[64], size[16];
    unsigned milliseconds;
    settle_terminal();
    puts("bench: ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0) {
        if (sscanf(line, "%63s %15s %u", name, size, &milliseconds) == 3)
            run(name, !strcmp(size, "quick"), milliseconds);
        else
            printf("bench: failed ? the line cannot be read\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "serve")) {
        serve();
    } else if (argc >= 3 && !strcmp(argv[1], "run")) {
        run(argv[2], argc > 3 && !strcmp(argv[3], "quick"), MILLISECONDS_DEFAULT);
    } else {
        fprintf(stderr, "usage: %s serve | run NAME [quick]\n", argv[0]);
        return 2;
    }
    return 0;
}
