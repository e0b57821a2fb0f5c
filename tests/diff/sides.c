/* The two sides as processes: started, given batches, started again when one dies. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/diff/diff.h"

void runner_wait(const struct runner *runner) {
    char byte;
    ssize_t got;
    do
        got = read(runner->go, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got != 1)
        _exit(0); /* the parent is gone or has finished */
}

void runner_done(const struct runner *runner) {
    while (write(runner->done, "", 1) < 0 && errno == EINTR) {
    }
}

void runner_tick(void) {
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec tick = {{0, TICK_MS * 1000000l}, {0, TICK_MS * 1000000l}};
    timer_t timer;
    if (timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) ||
        timer_settime(timer, 0, &tick, NULL))
        _exit(95);
}

void stay_on_first_processor(void) {
    cpu_set_t one, all;
    CPU_ZERO(&one);
    CPU_ZERO(&all);
    if (sched_getaffinity(0, sizeof all, &all))
        return;
    for (unsigned i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all) && !CPU_COUNT(&one))
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static bool start(struct sides *sides, enum side side) {
    int go[2], done[2];
    struct runner *parent = &sides->runners[side];
    if (pipe(go) || pipe(done))
        return false;
    fflush(NULL);
    int pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0) {
        struct runner child = {.go = go[0], .done = done[1]};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (side == SIDE_NATIVE)
            stay_on_first_processor();
        for (unsigned i = 0; i < SIDES; i++)
            if (sides->runners[i].pid)
                close(sides->runners[i].go), close(sides->runners[i].done);
        close(go[1]);
        close(done[0]);
        if (side == SIDE_GUEST)
            guest_side(sides->shared, &child, &sides->engine, sides->plugin);
        native_side(sides->shared, &child);
    }
    close(go[0]);
    close(done[1]);
    *parent = (struct runner){.pid = pid, .go = go[1], .done = done[0]};
    return true;
}

static void stop(struct runner *runner) {
    close(runner->go);
    close(runner->done);
    kill(runner->pid, SIGKILL);
    waitpid(runner->pid, NULL, 0);
    runner->pid = 0;
}

bool sides_start(struct sides *sides) {
    sides->shared = mmap(NULL, sizeof *sides->shared, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    signal(SIGPIPE, SIG_IGN);
    return sides->shared != MAP_FAILED;
}

static bool ensure(struct sides *sides, enum side side) {
    return sides->runners[side].pid || start(sides, side);
}

bool sides_run(struct sides *sides, enum side *dead, unsigned *job) {
    bool alive = true;
    for (unsigned i = 0; i < SIDES; i++) {
        if (!ensure(sides, (enum side)i)) {
            perror("tests/diff: starting a side");
            exit(2);
        }
        sides->shared->at[i] = i == SIDE_GUEST ? UINT32_MAX : 0;
        if (write(sides->runners[i].go, "", 1) != 1)
            perror("tests/diff: starting a batch");
    }
    for (unsigned i = 0; i < SIDES; i++) {
        char byte;
        if (read(sides->runners[i].done, &byte, 1) == 1)
            continue;
        *dead = (enum side)i;
        *job = sides->shared->at[i];
        stop(&sides->runners[i]);
        alive = false;
    }
    return alive;
}

void sides_stop(struct sides *sides) {
    for (unsigned i = 0; i < SIDES; i++)
        if (sides->runners[i].pid)
            stop(&sides->runners[i]);
    munmap(sides->shared, sizeof *sides->shared);
}
