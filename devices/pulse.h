/* An output of a chip that tells the machine something once: reset, power off. */
#ifndef RING3_DEVICES_PULSE_H
#define RING3_DEVICES_PULSE_H

struct pulse {
    void (*raise)(void *opaque);
    void *opaque;
};

static inline void pulse_raise(const struct pulse *pulse) { pulse->raise(pulse->opaque); }

#endif
