/* The vCPU process's sandbox: what it may still ask of the host once the guest runs.
 *
 * The guest is hostile; were it to break out of its window, it would find a process that can map
 * memory, wait, write to a few descriptors and signal its peers, and nothing else. Any other
 * system call ends the process with SIGSYS, which the monitor reports. */
#ifndef RING3_RUNTIME_SANDBOX_H
#define RING3_RUNTIME_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#define SANDBOX_FDS_MAX 24
#define SANDBOX_PIDS_MAX 4

struct sandbox_rules {
    int write_fds[SANDBOX_FDS_MAX]; /* the only descriptors write() may name */
    unsigned write_fd_count;
    pid_t signal_pids[SANDBOX_PIDS_MAX]; /* whom kill() and tgkill() may name, itself apart */
    unsigned signal_pid_count;
    bool executable_maps; /* mmap and mprotect may also make memory executable */
};

/* Closes every descriptor that is neither in `keep` nor standard error; standard input and
 * output become /dev/null, so that no later descriptor takes their numbers. 0, or a negative
 * errno. */
int sandbox_close_fds(const int *keep, unsigned count);

/* Installs the filter for good, in a process of one thread. Allocates: call it before the run
 * loop starts. 0, or a negative errno with nothing changed. */
int sandbox_enter(const struct sandbox_rules *rules);

#endif
