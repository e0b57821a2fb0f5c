/* Timers of the machine: see timer.h. A machine has a dozen at most: a list is the fastest. */
#include "base/timer.h"

#include <assert.h>
#include <stddef.h>

/* Timers fired in one call. A device always re-arms later than now; this keeps the vCPU alive
 * should time itself pass faster than the timers can be fired. */
#define FIRED_MAX (2 * TIMERS_MAX)

void timers_init(struct timers *timers) { *timers = (struct timers){.next = TIMER_NEVER}; }

void timer_add(struct timers *timers, struct timer *timer, const char *name,
               void (*fire)(void *opaque), void *opaque) {
    assert(timers->count < TIMERS_MAX && fire);
    *timer = (struct timer){.deadline = TIMER_NEVER, .fire = fire, .opaque = opaque, .name = name};
    timers->list[timers->count++] = timer;
}

static struct timer *earliest(const struct timers *timers) {
    struct timer *best = NULL;
    for (unsigned i = 0; i < timers->count; i++)
        if (!best || timers->list[i]->deadline < best->deadline)
            best = timers->list[i];
    return best;
}

void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline) {
    assert(timer->fire && "timer_add comes first");
    uint64_t old = timer->deadline;
    if (deadline == old)
        return;
    timer->deadline = deadline;
    uint64_t next = timers->next;
    if (deadline < next)
        next = deadline;
    else if (old == next)
        next = earliest(timers)->deadline;
    if (next != timers->next) {
        timers->next = next;
        timers->changed = true;
    }
}

void timers_run(struct timers *timers, uint64_t now) {
    for (int i = 0; i < FIRED_MAX && timers->next <= now && timers->next != TIMER_NEVER; i++) {
        struct timer *timer = earliest(timers);
        assert(timer && timer->deadline == timers->next);
        timer_arm(timers, timer, TIMER_NEVER);
        timer->fire(timer->opaque);
    }
}
