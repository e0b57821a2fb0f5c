/* The vCPU: architectural state, what callouts need, and how it ends.
 *
 * Lives in the arena. Only its own process changes it while it runs; the monitor reads it after
 * it has stopped. `cpu` is first: r15 points at it and at the vCPU alike. */
#ifndef RING3_RUNTIME_VCPU_H
#define RING3_RUNTIME_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/counters.h"
#include "base/timer.h"
#include "base/trace.h"
#include "memory/ram.h"
#include "runtime/bus.h"
#include "translator/callouts.h"
#include "translator/cpu.h"

enum vector {
    VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7,
    VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16,
    VEC_AC = 17, VEC_XM = 19,
};

/* A guest exception not yet delivered. */
struct guest_fault {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint32_t cr2; /* #PF only */
};

/* How a callout ends. A handler that returns CALLOUT_FAULT has changed no guest-visible state. */
enum callout_result {
    CALLOUT_NEXT,  /* go on in the fragment, after the instruction */
    CALLOUT_JUMP,  /* cpu->eip (and maybe the mode) is new: find the fragment for it */
    CALLOUT_FAULT, /* v->fault: deliver it at cpu->eip */
    CALLOUT_EXIT,  /* v->exit: leave the run loop */
};

/* Why a vCPU stopped. */
enum exit_reason {
    EXIT_NONE,
    EXIT_POWER_OFF,
    EXIT_RESET,
    EXIT_DEBUG_PORT,   /* exit_value: what was written to 0xf4 */
    EXIT_TRIPLE_FAULT,
    EXIT_HOST_FAILURE, /* exit_text says what failed */
    EXIT_QUIT,         /* the monitor asked */
};

struct pic_port {
    /* Highest-priority pending vector, acknowledged (INTA); called when intr was asserted. */
    int (*acknowledge)(void *pic);
    void *pic;
};

struct vcpu {
    struct cpu cpu; /* first */
    struct guest_fault fault;
    enum exit_reason exit;
    uint32_t exit_value;
    char exit_text[256];
    struct ram *ram;
    struct bus *bus;
    struct pic_port pic;
    struct timers *timers;
    struct clock *clock;
    struct trace *trace;
    struct counters *counters;
    struct sampler *sampler; /* NULL: nobody may ask for samples */
    struct engine *engine; /* translation cache, windows, links: private to the vCPU process */
    struct plugins *plugins; /* NULL: none */
    struct inspection *inspection; /* the mailbox of debuggers, NULL: none */
    bool behind_mov_ss; /* the instruction that runs is in the shadow of one */
    uint32_t breakpoint_hits; /* DR6 bits of the data and I/O breakpoints that this instruction met */
    uint32_t held_hits;       /* those of a MOV SS: reported after the next instruction */
    bool traps_dropped; /* a task switch has taken the place of the traps that its instruction owed */
};

/* Sets v->fault and returns CALLOUT_FAULT. */
enum callout_result fault_raise(struct vcpu *v, enum vector vector);
enum callout_result fault_raise_error(struct vcpu *v, enum vector vector, uint32_t error);
enum callout_result fault_raise_gp(struct vcpu *v, uint32_t error);

/* Asks the vCPU to stop: usable by callouts, devices (in the vCPU process) and the run loop.
 * The first reason wins. Takes effect at the next check. */
void vcpu_request_exit(struct vcpu *v, enum exit_reason reason, uint32_t value);
/* INTR pin: called by the PIC (through machine wiring) whenever its output changes. */
void vcpu_set_intr(struct vcpu *v, bool asserted);
/* NMI pin: one edge is remembered while NMIs are blocked (SDM vol. 3A, 6.7.1). */
void vcpu_raise_nmi(struct vcpu *v);

static inline bool vcpu_nmi_is_due(const struct cpu *cpu) {
    return cpu->nmi_pending && !cpu->nmi_blocked && !cpu->interrupt_shadow && !cpu->events_held;
}
static inline bool vcpu_intr_is_due(const struct cpu *cpu) {
    return cpu->irq_pending && cpu->iflag && !cpu->interrupt_shadow && !cpu->events_held;
}

#endif
