/* Oscillators as views of the machine's clock.
 *
 * Exact in 64-bit arithmetic (no 128-bit division: that is a library call) for rates up to
 * 16 MHz: whole seconds and the rest are scaled apart. rate_ns is the inverse: the first
 * nanosecond at which rate_ticks gives `ticks`. */
#ifndef RING3_DEVICES_RATE_H
#define RING3_DEVICES_RATE_H

#include <stdint.h>

#define NS_PER_SECOND UINT64_C(1000000000)

static inline uint64_t rate_ticks(uint64_t ns, uint64_t hz) {
    return ns / NS_PER_SECOND * hz + ns % NS_PER_SECOND * hz / NS_PER_SECOND;
}

static inline uint64_t rate_ns(uint64_t ticks, uint64_t hz) {
    return ticks / hz * NS_PER_SECOND + (ticks % hz * NS_PER_SECOND + hz - 1) / hz;
}

#endif
