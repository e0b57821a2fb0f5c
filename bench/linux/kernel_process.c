/* What a guest's kernel does for several processes: making them, and changing between them. */
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/linux/workload.h"

enum { PROCESSES_MAX = 200, TOUCHED = 64 * 1024, LINE = 64 };

static void wait_for(pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
        workload_fail("a child failed");
}

static uint32_t run_fork(uint32_t count) {
    workload_begin();
    for (uint32_t i = 0; i < count; i++) {
        pid_t pid = WORKLOAD_CALL(fork());
        if (pid == 0)
            _exit(0);
        wait_for(pid);
    }
    workload_end();
    return 0;
}

static uint32_t run_exec(uint32_t count) {
    const char *busybox = workload_busybox();
    workload_begin();
    for (uint32_t i = 0; i < count; i++) {
        pid_t pid = WORKLOAD_CALL(fork());
        if (pid == 0) {
            execl(busybox, busybox, "true", (char *)NULL);
            _exit(127);
        }
        wait_for(pid);
    }
    workload_end();
    return 0;
}

/* Processes in a ring of pipes; a byte goes round, and whoever has it touches its memory. */
struct ring {
    int pipes[PROCESSES_MAX][2];
    unsigned count;
    pid_t pids[PROCESSES_MAX];
};

static void touch(volatile char *memory, uint32_t size) {
    for (uint32_t i = 0; i < size; i += LINE)
        memory[i]++;
}

static void pass(const struct ring *ring, unsigned from, volatile char *memory, uint32_t size) {
    char byte;
    if (read(ring->pipes[from][0], &byte, 1) != 1)
        _exit(0);
    touch(memory, size);
    if (write(ring->pipes[(from + 1) % ring->count][1], &byte, 1) != 1)
        _exit(0);
}

static void start_ring(struct ring *ring, unsigned count, volatile char *memory, uint32_t size) {
    ring->count = count;
    for (unsigned i = 0; i < count; i++)
        WORKLOAD_CALL(pipe(ring->pipes[i]));
    for (unsigned i = 1; i < count; i++) {
        ring->pids[i] = WORKLOAD_CALL(fork());
        if (ring->pids[i])
            continue;
        for (;;)
            pass(ring, i, memory, size);
    }
}

static void stop_ring(struct ring *ring) {
    for (unsigned i = 1; i < ring->count; i++) {
        kill(ring->pids[i], SIGKILL);
        waitpid(ring->pids[i], NULL, 0);
    }
    for (unsigned i = 0; i < ring->count; i++) {
        close(ring->pipes[i][0]);
        close(ring->pipes[i][1]);
    }
}

static void round_trip(const struct ring *ring, volatile char *memory, uint32_t size) {
    char byte = 1;
    touch(memory, size);
    WORKLOAD_CALL(write(ring->pipes[1 % ring->count][1], &byte, 1));
    WORKLOAD_CALL(read(ring->pipes[0][0], &byte, 1));
}

/* Rounds of `processes` switches each, warmed up by one. */
static uint32_t run_ring(uint32_t count, unsigned processes, uint32_t size) {
    struct ring ring;
    volatile char *memory = workload_allocate(TOUCHED);
    start_ring(&ring, processes, memory, size);
    round_trip(&ring, memory, size);
    workload_begin();
    for (uint32_t done = 0; done < count; done += processes)
        round_trip(&ring, memory, size);
    workload_end();
    stop_ring(&ring);
    return 0;
}

/* One operation is a byte there and back. */
static uint32_t run_pipe(uint32_t count) { return run_ring(count * 2, 2, 0); }
/* One operation is one switch: counts below the number of processes are rounded up to it, but
 * they are doubled far beyond that. */
static uint32_t run_switch_2(uint32_t count) { return run_ring(count, 2, TOUCHED); }
static uint32_t run_switch_4(uint32_t count) { return run_ring(count, 4, TOUCHED); }
static uint32_t run_switch_8(uint32_t count) { return run_ring(count, 8, TOUCHED); }
static uint32_t run_switch_16(uint32_t count) { return run_ring(count, 16, TOUCHED); }
static uint32_t run_grow_32(uint32_t count) { return run_ring(count, 32, TOUCHED); }
static uint32_t run_grow_64(uint32_t count) { return run_ring(count, 64, TOUCHED); }
static uint32_t run_grow_128(uint32_t count) { return run_ring(count, 128, TOUCHED); }
static uint32_t run_grow_200(uint32_t count) { return run_ring(count, 200, TOUCHED); }

const struct workload kernel_process_workloads[] = {
    {.name = "kernel.fork", .run = run_fork},
    {.name = "kernel.exec", .run = run_exec},
    {.name = "kernel.pipe", .run = run_pipe},
    {.name = "kernel.switch-2", .run = run_switch_2},
    {.name = "kernel.switch-4", .run = run_switch_4},
    {.name = "kernel.switch-8", .run = run_switch_8},
    {.name = "kernel.switch-16", .run = run_switch_16},
    {.name = "grow.processes-2", .run = run_switch_2},
    {.name = "grow.processes-8", .run = run_switch_8},
    {.name = "grow.processes-16", .run = run_switch_16},
    {.name = "grow.processes-32", .run = run_grow_32},
    {.name = "grow.processes-64", .run = run_grow_64},
    {.name = "grow.processes-128", .run = run_grow_128},
    {.name = "grow.processes-200", .run = run_grow_200},
    {.name = NULL},
};
