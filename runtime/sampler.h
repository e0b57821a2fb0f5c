/* The sampler: a timer signal in the vCPU process that notes what is running.
 *
 * The struct lies in the arena. The monitor process sets `rate` (and calls the vCPU's attention to
 * it) and takes samples from the ring; the vCPU process does the rest. A sample's weight is the
 * processor time since the one before, so that neither the host's other work nor HLT counts: the
 * timer stands still while the vCPU sleeps. */
#ifndef RING3_RUNTIME_SAMPLER_H
#define RING3_RUNTIME_SAMPLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* identifier, name: what ran */
#define SAMPLE_KINDS(X)                                                                            \
    X(guest, "guest code")           /* translated code, and the jumps between fragments */        \
    X(callout, "callouts")           /* `callout` says which */                                    \
    X(hidden_fault, "hidden faults") /* handling of host faults, mapping included */               \
    X(true_fault, "true faults")     /* delivery of exceptions */                                  \
    X(translation, "translation")                                                                  \
    X(dispatch, "run loop") /* look-ups, linking, devices, interrupts */

enum sample_kind {
#define SAMPLE_ENUM(id, name) SAMPLE_##id,
    SAMPLE_KINDS(SAMPLE_ENUM)
#undef SAMPLE_ENUM
        SAMPLE_KIND_COUNT
};

#define SAMPLE_FRAMES_MAX 32u
#define SAMPLER_SAMPLES 4096u /* in the ring; a power of two */
#define SAMPLER_RATE_MAX 20000u
#define SAMPLER_RATE_DEFAULT 1000u

struct sample {
    uint64_t tsc; /* the host's */
    uint32_t weight_ns;
    uint32_t eip; /* linear address of the instruction */
    uint32_t cr3;
    uint32_t fragment;   /* index; 0: none */
    uint32_t generation; /* of the translation cache: it grows when indexes are given anew */
    uint8_t kind, cpl, callout, frame_count;
    uint32_t frames[SAMPLE_FRAMES_MAX]; /* return addresses, innermost first, by the chain of frame
                                           pointers */
};

struct sampler {
    _Atomic uint32_t rate; /* samples a second that are wanted; 0: none. The monitor's */
    uint32_t armed;        /* the vCPU's: rate at which the timer runs */
    uint32_t activity;     /* what C code is at: enum sample_kind | callout << 8 */
    _Atomic uint64_t lost;
    uint64_t last_ns; /* processor time at the last sample */
    _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail; /* the reader's */
    struct sample samples[SAMPLER_SAMPLES];
};

#define SAMPLER_CALLOUT(id) ((uint32_t)SAMPLE_callout | (uint32_t)(id) << 8)

/* The reader's side: the oldest sample not yet taken, checked. False: none. */
bool sampler_take(struct sampler *sampler, struct sample *sample);

/* The vCPU's side. Before the sandbox closes: timer and handler. 0, or a negative errno. */
int sampler_init(struct vcpu *v);
/* The rate has changed. */
void sampler_arm(struct vcpu *v);
/* Around sleeping. */
void sampler_pause(struct vcpu *v);
void sampler_resume(struct vcpu *v);

#endif
