/* The machine's one clock: the host's TSC, scaled to nanoseconds.
 *
 * Every device (PIT, RTC, PM timer) and the guest's RDTSC derive from it, so that they cannot
 * drift against each other. Reading it makes no system call and touches no vector register. */
#ifndef RING3_BASE_CLOCK_H
#define RING3_BASE_CLOCK_H

#include <stdint.h>

struct clock {
    uint64_t tsc_base;      /* host TSC at time 0 of the machine */
    uint64_t tsc_hz;        /* TSC ticks a second */
    uint64_t ns_mult;       /* ns = (ticks * ns_mult) >> 32 */
    uint64_t ns_offset;     /* added to the result; with ns_mult 0 it is the time (tests) */
    int64_t wall_start;     /* CLOCK_REALTIME seconds at time 0 */
    uint32_t wall_start_ns; /* and the nanoseconds of that second already gone */
    uint64_t raw_tsc, raw_ns; /* one instant on the TSC and on CLOCK_MONOTONIC_RAW */
};

/* Time 0. The clock stands at it until its rate is known. */
void clock_begin(struct clock *clock);
/* Measures the TSC's rate since clock_begin, for 10 ms at least: sleeps for what is missing. */
void clock_finish(struct clock *clock);
/* Both. */
void clock_start(struct clock *clock);
/* Nanoseconds since clock_begin. */
uint64_t clock_now(const struct clock *clock);
uint64_t clock_host_tsc(void);

#endif
