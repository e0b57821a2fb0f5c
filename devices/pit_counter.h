/* One counter of an 8254, as a function of time.
 *
 * Nothing ticks: a counter keeps the CLK at which its counting element was loaded, and OUT and
 * the count follow from the CLK asked about ("tick": CLK pulses since the machine started).
 * Ticks given to one counter never decrease. Modes, loading on the next CLK and read-back after
 * the Intel 8254 data sheet. */
#ifndef RING3_DEVICES_PIT_COUNTER_H
#define RING3_DEVICES_PIT_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

#define PIT_NEVER UINT64_MAX

struct pit_counter {
    uint8_t mode;   /* 0-5 */
    uint8_t access; /* 1: low byte, 2: high byte, 3: low then high */
    bool bcd;
    bool gate;
    bool written;      /* a whole count was written since the control word */
    bool loaded;       /* the counting element holds a count (from `epoch` on) */
    bool out_before;   /* OUT until `epoch` */
    bool high_first;   /* mode 3: the half cycle at `epoch` is the high one */
    bool stopped;      /* by GATE, at CLK `stopped_at` */
    bool next_pending; /* modes 2 and 3: `next` replaces `initial` at CLK `next_at` */
    uint32_t initial, next;
    uint64_t epoch, stopped_at, next_at;
    bool write_high, read_high; /* which byte of a pair comes next */
    uint8_t low_byte;
    bool count_latched, status_latched;
    uint8_t status;
    uint16_t latch;
};

void pit_counter_init(struct pit_counter *c, bool gate);
/* A control word that programs the counter (not a latch command). */
void pit_counter_control(struct pit_counter *c, uint8_t control);
void pit_counter_write(struct pit_counter *c, uint64_t tick, uint8_t value);
uint8_t pit_counter_read(struct pit_counter *c, uint64_t tick);
void pit_counter_latch_count(struct pit_counter *c, uint64_t tick);
void pit_counter_latch_status(struct pit_counter *c, uint64_t tick);
void pit_counter_set_gate(struct pit_counter *c, uint64_t tick, bool gate);
bool pit_counter_out(struct pit_counter *c, uint64_t tick);
/* The first CLK after `tick` at which OUT rises if nobody touches the counter, or PIT_NEVER. */
uint64_t pit_counter_next_rise(const struct pit_counter *c, uint64_t tick);
/* CLKs between rises where they repeat (modes 2 and 3), else 0. */
uint32_t pit_counter_period(const struct pit_counter *c);

#endif
