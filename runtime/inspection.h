/* Inspection: the vCPU stands still, is looked at and changed, and goes on.
 *
 * One mailbox in the arena between the monitor and the vCPU process. Whoever inspects (a debugger,
 * a page) does so through it, and there is one state for all of them:
 *
 *     RUNS     the vCPU owns everything. The monitor may only set `asked` and send SIGUSR1.
 *     STOPPED  the vCPU stands at an instruction boundary, its general, control and segment
 *              registers in struct cpu, and sleeps. The monitor may read all of the arena and of
 *              guest memory, and post requests, one at a time: it fills `request` (and `data`),
 *              increments `posted`, sends SIGUSR1. The vCPU alone changes anything: it carries the
 *              request out, leaves `result` (and `data`) and sets `served` to `posted`.
 *
 * RUNS becomes STOPPED when `asked` is seen, at a breakpoint, behind an access that a watchpoint
 * covers, and behind a single step; `stop` says why and `stops` counts. STOPPED becomes RUNS by the
 * requests RESUME and STEP, and when the machine is told to exit. Both changes and each answer
 * write `event_fd`. A stop comes in HLT as well, which goes on behind it.
 *
 * Addresses of breakpoints and watchpoints are linear, of whatever address space is current, as
 * those in debug registers are. A breakpoint costs nothing elsewhere: translation ends before its
 * instruction, and nothing is ever linked to it, so that the run loop is asked (engine.c). A
 * watchpoint takes its pages' rights away in the windows. An instruction that faults there runs in
 * MODE_DEBUG, which checks every operand, with the page mapped for its time; C code tells of its
 * accesses itself.
 *
 * A single step runs one instruction (one element of a repeated string) in MODE_DEBUG and holds
 * interrupts and NMIs back, so that the step is the program's; a fault ends it at the first
 * instruction of the handler. From HLT a step waits for the interrupt, and ends at its handler.
 * Resuming at a breakpoint runs the instruction there by such a step.
 *
 * While the vCPU is STOPPED its clock stands still: on resuming, the machine's clock and the
 * guest's TSC are moved back by the time that has passed (RDTSC calls out from then on). */
#ifndef RING3_RUNTIME_INSPECTION_H
#define RING3_RUNTIME_INSPECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "runtime/vcpu.h"

#define INSPECTION_DATA_MAX 4096u
#define INSPECTION_BREAKPOINTS_MAX 256u
#define INSPECTION_WATCHPOINTS_MAX 16u
#define INSPECTION_WATCH_BYTES_MAX 4096u

enum inspection_state { INSPECTION_RUNS, INSPECTION_STOPPED };

enum stop_reason {
    STOP_NONE,
    STOP_ASKED,      /* somebody asked for it */
    STOP_STEP,       /* a single step is done */
    STOP_BREAKPOINT, /* EIP is at one: its instruction has not run */
    STOP_WATCHPOINT, /* the instruction before has met one */
    STOP_TRIPLE_FAULT, /* EIP is at what could not be delivered; the machine ends when it is resumed */
};

enum watch_kind { WATCH_WRITE = 1, WATCH_READ = 2, WATCH_ACCESS = WATCH_WRITE | WATCH_READ };

struct inspection_stop {
    uint32_t reason;  /* enum stop_reason */
    gva_t address;    /* of a breakpoint; the first byte that a watched access touched */
    uint32_t watch;   /* enum watch_kind of the watchpoint that was met */
    gva_t watchpoint; /* its first byte */
};

enum inspection_command {
    INSPECT_RESUME,
    INSPECT_STEP,
    INSPECT_WRITE_MEMORY,     /* address, physical, len: data goes there; all or nothing */
    INSPECT_WRITE_REGISTER,   /* index, value */
    INSPECT_SAVE_VECTOR,      /* data: the image (FXSAVE, XSAVE); value: x87's FIP as the guest's */
    INSPECT_LOAD_VECTOR,      /* data: an image as it was saved, with changes */
    INSPECT_SET_BREAKPOINT,   /* address */
    INSPECT_CLEAR_BREAKPOINT, /* address */
    INSPECT_SET_WATCHPOINT,   /* address, len, index: enum watch_kind */
    INSPECT_CLEAR_WATCHPOINT, /* likewise */
    INSPECT_COMMANDS
};

enum inspection_register {
    INSPECT_GPR = 0, /* 8, in the order of enum gpr */
    INSPECT_EIP = 8,
    INSPECT_EFLAGS = 9,   /* VM stays as it is */
    INSPECT_SEGMENT = 10, /* 6, in the order of enum segment_index: a selector, loaded as MOV does;
                             not CS */
    INSPECT_FS_BASE = 16,
    INSPECT_GS_BASE = 17,
    INSPECT_CR0 = 18, /* checked as MOV does */
    INSPECT_CR2 = 19,
    INSPECT_CR3 = 20,
    INSPECT_CR4 = 21,
    INSPECT_EFER = 22,
    INSPECT_DR = 23, /* 8 */
    INSPECT_REGISTERS = 31
};

/* What the vCPU does between two stops. */
enum inspection_stepping {
    STEPPING_NOT,
    STEPPING_OVER, /* a breakpoint, then it goes on */
    STEPPING_ONE,
    STEPPING_AWAKE, /* until an interrupt ends HLT */
};

struct inspection_request {
    uint32_t command; /* enum inspection_command */
    uint32_t index;
    uint32_t len; /* bytes */
    bool physical;
    uint64_t address, value;
};

struct watchpoint {
    gva_t address;
    uint32_t len, kind;
};

/* Results: 0, or -EFAULT: no memory there (or a page without a mapping), -EROFS: ROM, -EINVAL: a
 * value that the register does not take, -ENOTSUP: a register that cannot be written, -ENOSPC: too
 * many, -ENOENT: none like that is set, -EBADR: no such request. Nothing has changed then. */
struct inspection {
    /* The monitor writes. */
    _Atomic uint32_t asked; /* enum stop_reason to stop for at the next boundary, or STOP_NONE */
    _Atomic uint32_t held;   /* not 0: stop at a triple fault, too */
    _Atomic uint32_t posted;
    struct inspection_request request;
    /* The vCPU writes; `event_fd` and `asked` are set before it starts. */
    _Atomic uint32_t state; /* enum inspection_state */
    _Atomic uint32_t served;
    _Atomic uint32_t stops; /* so far */
    int32_t result;
    uint64_t value;
    struct inspection_stop stop; /* the last */
    int event_fd;
    uint32_t stepping;          /* enum inspection_stepping */
    gva_t over;                 /* STEPPING_OVER: where */
    struct inspection_stop hit; /* a watched access of the instruction that runs */
    /* Before the vCPU starts the monitor may fill these, too. */
    uint32_t breakpoint_count, watchpoint_count;
    gva_t breakpoints[INSPECTION_BREAKPOINTS_MAX];
    struct watchpoint watchpoints[INSPECTION_WATCHPOINTS_MAX];
    uint8_t data[INSPECTION_DATA_MAX] __attribute__((aligned(64)));
};

/* What follows is for the vCPU process. All of it does nothing on a vCPU without a mailbox. */

/* At the start: what was asked for and set before holds. */
void inspection_init(struct vcpu *v);
/* Stops if somebody has asked for it. At instruction boundaries; registers may change. */
void inspection_pay(struct vcpu *v);
/* Before the instruction at EIP: true when it stopped there, and all may have changed. */
bool inspection_before_instruction(struct vcpu *v);
/* Behind a run of translated code that began at `eip`; `ran`: at least one instruction was done. */
void inspection_after_instruction(struct vcpu *v, bool ran);
/* The machine is about to end: by a triple fault, it stops first if that is wanted. */
void inspection_at_end(struct vcpu *v);
/* HLT is over. */
void inspection_awake(struct vcpu *v);
/* Code and C code alike: an access that may be watched. */
void inspection_access(struct vcpu *v, gva_t address, uint32_t len, bool write);
/* The instruction faulted instead: what it would have accessed was not. */
void inspection_forget_access(struct vcpu *v);
/* The instruction at EIP met a watched page: it runs alone next, with every operand checked. */
void inspection_check_next(struct vcpu *v);

static inline bool inspection_wanted(const struct inspection *i) {
    return i && atomic_load_explicit(&i->asked, memory_order_relaxed) != STOP_NONE;
}
/* Has the instruction that runs met a watchpoint? */
static inline bool inspection_was_met(const struct inspection *i) {
    return i && i->hit.reason != STOP_NONE;
}
/* Is there a breakpoint at any of the bytes? */
bool inspection_breaks_at(const struct inspection *i, gva_t address, uint32_t len);
static inline bool inspection_has_breakpoints(const struct inspection *i) {
    return i && i->breakpoint_count;
}
static inline bool inspection_has_watchpoints(const struct inspection *i) {
    return i && i->watchpoint_count;
}

#endif
