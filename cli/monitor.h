/* The monitor process while a vCPU process runs: terminal, files and signals.
 *
 * It is blocked in poll() when nothing happens. There is one way to stop, whoever asks: the
 * request goes into the vCPU (EXIT_QUIT), SIGUSR1 calls its attention to it, and SIGKILL ends a
 * process that has not stopped after STOP_PATIENCE_MS. */
#ifndef RING3_CLI_MONITOR_H
#define RING3_CLI_MONITOR_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "cli/outlet.h"
#include "inspect/sources.h"
#include "inspect/target.h"
#include "inspect/trace_output.h"
#include "runtime/vcpu.h"

#define STOP_PATIENCE_MS 2000

struct monitor {
    pid_t vcpu_pid;
    struct vcpu *vcpu;
    struct trace_output *trace; /* NULL: nothing is traced */
    int signal_fd;
    int input_fd;      /* -1: none, or it has ended */
    bool input_is_tty; /* Ctrl-A is looked for, and what the guest has no room for is dropped */
    struct byte_ring *input_ring;
    volatile bool *nmi_button; /* NULL: there is none */
    struct outlet serial, debug;
    struct sources *sources; /* of others, for whom the loop waits as well */
    struct target *target;   /* attached to the machine */

    /* What happened. */
    bool ended; /* the vCPU process is gone; `wait_status` and `usage` say how */
    int wait_status;
    struct rusage usage;
    bool stopping;     /* a stop was requested */
    bool killed;       /* ... and did not help */
    int signal;        /* the signal that asked for it, or 0 */
    bool write_failed; /* an outlet failed; said already */
    bool escaped;      /* Ctrl-A was typed */
    uint64_t deadline; /* when SIGKILL is due, ms of CLOCK_MONOTONIC */
};

/* Blocks, for the whole process, the signals that the monitor takes from its descriptor and the
 * one that the engine waits for; SIGPIPE is ignored from now on. `old` gets the mask to go back
 * to. Returns the descriptor, or a negative errno. */
int monitor_block_signals(sigset_t *old);
/* Runs until the vCPU process has ended and everything that it said is written. */
void monitor_run(struct monitor *monitor);

#endif
