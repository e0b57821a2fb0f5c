/* The engine: binary translation of one vCPU, from entry until it stops.
 *
 * Runs in the vCPU process, which does nothing else. On entry every asynchronous signal is
 * blocked and SIGUSR1 has its default action: the engine installs its handlers (SIGUSR1 means
 * "pay attention") before it unblocks them. It sets up what it needs with libc at hand, then
 * enters the sandbox when asked to, and from there on neither allocates nor opens anything. */
#ifndef RING3_RUNTIME_ENGINE_H
#define RING3_RUNTIME_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "runtime/vcpu.h"

struct sandbox_rules;

/* Torture: `raise` is called before each instruction in [start, end] (linear) that an interrupt may
 * precede. Unlike the switches below, the guest sees what it raises. */
struct injection {
    gva_t start, end;
    void (*raise)(void *opaque); /* NULL: no injection */
    bool nmi;                    /* what it raises is no interrupt of the 8259's */
    void *opaque;
};

struct engine_options {
    uint64_t cache_bytes; /* size of the translation cache; 0: the engine's choice */
    /* Debugging: each takes a mechanism away and must change nothing but speed. */
    bool no_chain;              /* every exit goes through the dispatcher */
    bool one_insn;              /* one guest instruction a fragment */
    bool no_jump_cache;         /* indirect transfers always miss */
    bool no_loops;              /* each branch back looks for attention */
    bool flush_always;          /* every shadow entry is dropped at every flush */
    bool no_renewal;            /* the translation cache is never emptied to be made anew closer together */
    bool far_stubs;             /* as where there is no room near the program: stubs are reached through r15 */
    bool no_bmi2;               /* as on a host without: look-ups keep the flags by LAHF */
    bool no_sparse;             /* user windows are filled from the start */
    bool past_windows;          /* every operand that can be looked up is */
    bool live_immediates;       /* every immediate that can be read from the guest's code is */
    bool no_prefault;           /* hidden faults map one page */
    unsigned no_reuse;          /* N: the Nth translation used is thrown away then; with no_chain */
    bool evict_always;          /* every flush evicts every user window and clears the supervisor's */
    bool progress;              /* a guest that is ended from outside must have got on (progress.c) */
    uint8_t *rows;              /* translate_request's, in memory that the monitor shares; or NULL */
    bool perf_map;              /* the cache's mapping is of a kind that the host's perf has names for */
    struct injection inject;
    bool sandbox;               /* call sandbox_enter(sandbox_rules) once set up */
    void (*poll)(void *opaque); /* called by the run loop when told to pay attention */
    void *poll_opaque;
    struct arena *tables; /* the engine's tables go here, to be looked at (engine_view.h); NULL: private */
    const struct sandbox_rules *sandbox_rules; /* the descriptors and processes it was given */
};

/* Runs the vCPU until v->exit says why it stopped, and returns 0. A host failure is a negative
 * errno, with EXIT_HOST_FAILURE and its text in the vCPU. */
int engine_run(struct vcpu *v, const struct engine_options *options);

/* Why the run loop got control back, as the trace event `exit` numbers it; NULL: no such reason. */
const char *engine_leave_name(uint64_t reason);

#endif
