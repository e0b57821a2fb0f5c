/* The machine's one clock: see clock.h.
 *
 * The host's TSC is taken to be invariant (every x86-64 host of the last decade); its rate is
 * measured, since what CPUID says is a nominal one. */
#include "base/clock.h"

#include <assert.h>
#include <time.h>

__extension__ typedef unsigned __int128 uint128;

#define NS_PER_SECOND UINT64_C(1000000000)
#define MEASURE_NS UINT64_C(10000000)
#define SAMPLE_TRIES 16

uint64_t clock_host_tsc(void) { return __builtin_ia32_rdtsc(); }

/* One instant on both clocks. */
struct sample {
    uint64_t tsc, ns;
};

static uint64_t timespec_ns(clockid_t id) {
    struct timespec at;
    clock_gettime(id, &at);
    return (uint64_t)at.tv_sec * NS_PER_SECOND + (uint64_t)at.tv_nsec;
}

/* Brackets the clock's reading between two of the TSC; the tightest of some tries was not
 * interrupted, and is off by tens of nanoseconds at most. */
static struct sample sample_clocks(clockid_t id) {
    struct sample best = {0};
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < SAMPLE_TRIES; i++) {
        uint64_t before = clock_host_tsc();
        uint64_t ns = timespec_ns(id);
        uint64_t width = clock_host_tsc() - before;
        if (width < best_width) {
            best_width = width;
            best = (struct sample){before + width / 2, ns};
        }
    }
    return best;
}

void clock_begin(struct clock *clock) {
    struct sample first = sample_clocks(CLOCK_MONOTONIC_RAW);
    struct sample wall = sample_clocks(CLOCK_REALTIME);
    *clock = (struct clock){
        .tsc_base = wall.tsc,
        .wall_start = (int64_t)(wall.ns / NS_PER_SECOND),
        .wall_start_ns = (uint32_t)(wall.ns % NS_PER_SECOND),
        .raw_tsc = first.tsc,
        .raw_ns = first.ns,
    };
}

void clock_finish(struct clock *clock) {
    uint64_t passed = timespec_ns(CLOCK_MONOTONIC_RAW) - clock->raw_ns;
    if (passed < MEASURE_NS) {
        struct timespec pause = {.tv_nsec = (long)(MEASURE_NS - passed)};
        nanosleep(&pause, NULL);
    }
    struct sample last = sample_clocks(CLOCK_MONOTONIC_RAW);
    uint64_t ticks = last.tsc - clock->raw_tsc, ns = last.ns - clock->raw_ns;
    assert(ticks != 0 && ns != 0 && "the host's clocks stand still");
    clock->tsc_hz = (uint64_t)((uint128)ticks * NS_PER_SECOND / ns);
    clock->ns_mult = (uint64_t)(((uint128)ns << 32) / ticks);
}

void clock_start(struct clock *clock) {
    clock_begin(clock);
    clock_finish(clock);
}

uint64_t clock_now(const struct clock *clock) {
    /* After a migration between cores the TSC may be a few ticks behind the base. */
    uint64_t tsc = clock_host_tsc();
    uint64_t ticks = tsc > clock->tsc_base ? tsc - clock->tsc_base : 0;
    return clock->ns_offset + (uint64_t)(((uint128)ticks * clock->ns_mult) >> 32);
}
