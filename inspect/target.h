/* A running machine as those see it who inspect it: debugger, page, keys of the console.
 *
 * The monitor's side of the mailbox of runtime/inspection.h, which says what stopping means. There
 * is one target and one state for all of its users: whoever stops or resumes the machine, all
 * listeners are told. The target outlives machines: after a guest's reset it is attached to the
 * next one, with all breakpoints and watchpoints set again (listeners hear `attached`); pointers
 * into the machine (`vcpu`, `ram`) are good until `detached`.
 *
 * What is read (registers in vcpu->cpu, memory by target_read, vector state) is read while the
 * machine is stopped; while it runs struct cpu holds no registers, memory changes under the
 * reader's hands, and requests answer -EBUSY. Everything here runs in the monitor's one thread and
 * answers at once but target_pause: the stop comes to the listeners when it has come. */
#ifndef RING3_INSPECT_TARGET_H
#define RING3_INSPECT_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memory/ram.h"
#include "runtime/inspection.h"
#include "runtime/vcpu.h"

#define TARGET_LISTENERS_MAX 8u
#define TARGET_PATIENCE_MS                                                                         \
    2000 /* for an answer; a process that gives none is dead or about to be */

struct target_listener {
    void (*stopped)(void *opaque, const struct inspection_stop *why);
    void (*resumed)(void *opaque); /* for good or for a step, by whomever */
    void (*attached)(void *opaque);
    void (*detached)(void *opaque); /* the machine is gone: ended, or to be reset */
    void *opaque;
}; /* what is NULL is not told */

struct target_breakpoint {
    gva_t address;
    unsigned users;
};
struct target_watchpoint {
    struct watchpoint watch;
    unsigned users;
};

struct target {
    struct vcpu *vcpu; /* NULL: no machine now */
    const struct ram *ram; /* a copy, as it was when the machine stopped */
    const struct ram *live_ram;
    struct ram own_ram;
    int event_fd; /* the mailbox's */
    struct inspection *inspection;
    pid_t pid;          /* of the vCPU process; 0: it has not started or has ended */
    bool announced;     /* listeners know of it */
    unsigned holders;
    bool start_stopped; /* the first machine stops before its first instruction */
    uint32_t stops_seen;
    uint32_t posted;
    const struct target_listener *listeners[TARGET_LISTENERS_MAX];
    unsigned breakpoint_count, watchpoint_count;
    struct target_breakpoint breakpoints[INSPECTION_BREAKPOINTS_MAX];
    struct target_watchpoint watchpoints[INSPECTION_WATCHPOINTS_MAX];
};

/* 0, or -ENOSPC. */
int target_listen(struct target *target, const struct target_listener *listener);
void target_unlisten(struct target *target, const struct target_listener *listener);

static inline bool target_is_stopped(const struct target *target) {
    return target->pid && atomic_load(&target->inspection->state) == INSPECTION_STOPPED;
}

/* Results below: 0, or -ESRCH: no machine, -EBUSY: it runs, -ETIMEDOUT: no answer, or what
 * runtime/inspection.h says of requests. */

/* Asks a running machine to stop; one that stands stays. Returns at once. */
int target_pause(struct target *target);
/* -EBUSY: it runs already. */
int target_resume(struct target *target);
int target_step(struct target *target);
/* A triple fault is to stop the machine before it ends it, from now on or (false) no more for this one
 * who asks. */
void target_hold(struct target *target, bool hold);
/* The machine is to end: enum exit_reason EXIT_QUIT or EXIT_RESET. Works on a running one, too. */
int target_exit(struct target *target, enum exit_reason reason);
/* Set as often as is asked, there until each has been cleared. The machine must be stopped, except
 * where there is none. */
int target_set_breakpoint(struct target *target, gva_t address);
int target_clear_breakpoint(struct target *target, gva_t address);
int target_set_watchpoint(struct target *target, const struct watchpoint *watch);
int target_clear_watchpoint(struct target *target, const struct watchpoint *watch);
int target_write_register(struct target *target, enum inspection_register index, uint64_t value);
/* All of `len` bytes or nothing. Translations of what changes go. */
int target_write(struct target *target, uint64_t address, bool physical, const void *from,
                 size_t len);
/* The FXSAVE or XSAVE image of the guest's vector state: 512 bytes, and for AVX the header and the
 * upper halves of YMM registers (from 576 on). `*fip`: x87's instruction pointer, as the image
 * holds the host's. */
#define TARGET_VECTOR_BYTES 832u
int target_save_vector(struct target *target, uint8_t image[TARGET_VECTOR_BYTES], uint32_t *fip);
int target_load_vector(struct target *target, const uint8_t image[TARGET_VECTOR_BYTES]);

/* Copies guest memory: linear addresses through the guest's page tables, whatever their rights,
 * leaving A and D bits alone, or physical ones. Returns how many bytes could be read. */
size_t target_read(const struct target *target, uint64_t address, bool physical, void *to,
                   size_t len);
/* The guest-physical address of a linear one; false: it is not mapped. */
bool target_translate(const struct target *target, gva_t address, gpa_t *gpa);

/* For the monitor. Attach before the process starts, with the mailbox in place. */
void target_attach(struct target *target, struct vcpu *vcpu);
void target_started(struct target *target, pid_t pid);
void target_ended(struct target *target); /* the process is gone, its memory still there */
void target_detach(struct target *target);
/* Tells of stops that have come. Called whenever the monitor's loop comes round. */
void target_poll(struct target *target);
/* Has a stop come that nobody was told of? */
bool target_has_news(const struct target *target);

#endif
