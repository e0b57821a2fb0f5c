/* Timers of the machine: callbacks at points of the machine's clock.
 *
 * The wheel lies in the arena and runs in the vCPU process only: the run loop calls
 * timers_run() when told to pay attention, and arms one host timer for timers_next(). */
#ifndef RING3_BASE_TIMER_H
#define RING3_BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#define TIMER_NEVER UINT64_MAX
#define TIMERS_MAX 16

struct timer {
    uint64_t deadline;          /* ns of the machine's clock, or TIMER_NEVER */
    void (*fire)(void *opaque); /* may re-arm */
    void *opaque;
    const char *name;
};

struct timers {
    struct timer *list[TIMERS_MAX];
    unsigned count;
    uint64_t next; /* the earliest deadline, kept by timer_arm */
    bool changed;  /* timer_arm moved `next`: the host timer must be armed anew */
};

void timers_init(struct timers *timers);
void timer_add(struct timers *timers, struct timer *timer, const char *name,
               void (*fire)(void *opaque), void *opaque);
/* Sets the deadline; TIMER_NEVER disarms. */
void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline);
/* Fires, in order of deadline, every timer whose deadline is not after `now`. */
void timers_run(struct timers *timers, uint64_t now);

#endif
