/* One counter of an 8254, as a function of time: see pit_counter.h. */
#include "devices/pit_counter.h"

#include <assert.h>

enum { STATUS_OUT = 0x80, STATUS_NULL_COUNT = 0x40 };
enum { ACCESS_LOW = 1, ACCESS_HIGH = 2, ACCESS_BOTH = 3 };

static bool repeats(const struct pit_counter *c) { return c->mode == 2 || c->mode == 3; }
static bool triggered_by_gate(const struct pit_counter *c) { return c->mode == 1 || c->mode == 5; }

/* CLKs since the count was loaded, with the gate's pause taken out; only from `epoch` on. */
static uint64_t elapsed(const struct pit_counter *c, uint64_t tick) {
    uint64_t at = c->stopped ? c->stopped_at : tick;
    assert(at >= c->epoch);
    return at - c->epoch;
}

static bool before_load(const struct pit_counter *c, uint64_t tick) {
    return (c->stopped ? c->stopped_at : tick) < c->epoch;
}

/* Length of mode 3's half cycles: an odd count is one longer high than low. */
static uint32_t half_length(const struct pit_counter *c, bool high) {
    return (c->initial + (high ? 1 : 0)) / 2;
}

/* Where in its cycle a square wave is. */
struct half_cycle {
    bool high;
    uint32_t position, length;
};

static struct half_cycle half_cycle_at(const struct pit_counter *c, uint64_t tick) {
    uint32_t position = (uint32_t)(elapsed(c, tick) % c->initial);
    uint32_t first = half_length(c, c->high_first);
    if (position < first)
        return (struct half_cycle){c->high_first, position, first};
    return (struct half_cycle){!c->high_first, position - first, c->initial - first};
}

/* Mode 2 and 3: the end of the current cycle or half cycle, where a new count is taken over. */
static uint64_t next_boundary(const struct pit_counter *c, uint64_t tick) {
    if (c->mode == 3) {
        struct half_cycle half = half_cycle_at(c, tick);
        return tick + (half.length - half.position);
    }
    return tick + (c->initial - elapsed(c, tick) % c->initial);
}

/* Puts a count that waited for the end of a cycle in force once that has passed. */
static void take_over_next(struct pit_counter *c, uint64_t tick) {
    if (!c->next_pending || c->stopped || tick < c->next_at)
        return;
    assert(repeats(c) && c->loaded && c->next_at > c->epoch);
    c->high_first = c->mode == 3 && !half_cycle_at(c, c->next_at - 1).high;
    c->out_before = !c->high_first;
    c->epoch = c->next_at;
    c->initial = c->next;
    c->next_pending = false;
}

static bool out_at(const struct pit_counter *c, uint64_t tick) {
    if (!c->loaded)
        return c->mode != 0;
    if (c->stopped && repeats(c))
        return true;
    if (before_load(c, tick))
        return c->out_before;
    uint64_t count = elapsed(c, tick);
    switch (c->mode) {
    case 0:
    case 1:
        return count >= c->initial;
    case 2:
        return count % c->initial != c->initial - 1;
    case 3:
        return half_cycle_at(c, tick).high;
    default: /* a strobe of one CLK */
        return count != c->initial;
    }
}

bool pit_counter_out(struct pit_counter *c, uint64_t tick) {
    take_over_next(c, tick);
    return out_at(c, tick);
}

/* What the counting element shows, in the form the guest reads. */
static uint16_t count_at(const struct pit_counter *c, uint64_t tick) {
    uint32_t modulus = c->bcd ? 10000 : 0x10000;
    uint32_t value = c->initial;
    if (c->loaded && !before_load(c, tick)) {
        uint64_t count = elapsed(c, tick);
        if (c->mode == 2)
            value = c->initial - (uint32_t)(count % c->initial);
        else if (c->mode == 3)
            value = (c->initial & ~1u) - 2 * half_cycle_at(c, tick).position;
        else
            value = c->initial + modulus - (uint32_t)(count % modulus);
    }
    value %= modulus;
    if (c->bcd)
        value = value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10;
    return (uint16_t)value;
}

/* Loads `initial` on the next CLK. */
static void load(struct pit_counter *c, uint64_t tick, uint32_t initial) {
    assert(initial != 0 && initial <= 0x10000);
    c->out_before = c->mode == 0 ? false : repeats(c) || c->mode == 4 || out_at(c, tick);
    c->high_first = true;
    c->initial = initial;
    c->epoch = tick + 1;
    c->loaded = true;
    c->next_pending = false;
    c->stopped = !c->gate && !triggered_by_gate(c);
    c->stopped_at = c->epoch;
}

/* A written count of 0 stands for the largest. 1 is illegal in modes 2 and 3 (data sheet,
 * "minimum count"); it is taken as 2. */
static uint32_t effective_count(const struct pit_counter *c, uint16_t raw) {
    uint32_t value = raw;
    if (c->bcd)
        value = ((uint32_t)(raw >> 12) * 1000 + (raw >> 8 & 15u) * 100u + (raw >> 4 & 15u) * 10u +
                 (raw & 15u)) %
                10000;
    if (value == 0)
        return c->bcd ? 10000 : 0x10000;
    return repeats(c) && value == 1 ? 2 : value;
}

static void set_count(struct pit_counter *c, uint64_t tick, uint16_t raw) {
    uint32_t value = effective_count(c, raw);
    c->written = true;
    if (triggered_by_gate(c)) {
        c->next = value;
        c->next_pending = true;
        c->next_at = PIT_NEVER; /* waits for the trigger */
    } else if (!repeats(c) || !c->loaded || before_load(c, tick)) {
        load(c, tick, value);
    } else {
        if (!c->next_pending && !c->stopped)
            c->next_at = next_boundary(c, tick);
        c->next = value;
        c->next_pending = true;
    }
}

void pit_counter_init(struct pit_counter *c, bool gate) {
    *c = (struct pit_counter){.mode = 3, .access = ACCESS_BOTH, .initial = 0x10000, .gate = gate};
}

void pit_counter_control(struct pit_counter *c, uint8_t control) {
    uint8_t mode = control >> 1 & 7;
    *c = (struct pit_counter){
        .mode = mode > 5 ? mode & 3 : mode, /* the top bit of modes 2 and 3 is ignored */
        .access = control >> 4 & 3,
        .bcd = control & 1,
        .gate = c->gate,
        .initial = c->initial,
    };
    if (c->bcd && c->initial > 10000)
        c->initial = 10000;
    assert(c->access != 0);
}

void pit_counter_write(struct pit_counter *c, uint64_t tick, uint8_t value) {
    take_over_next(c, tick);
    if (c->access == ACCESS_LOW) {
        set_count(c, tick, value);
    } else if (c->access == ACCESS_HIGH) {
        set_count(c, tick, (uint16_t)(value << 8));
    } else if (!c->write_high) {
        c->low_byte = value;
        c->write_high = true;
        if (c->mode == 0) /* "Writing the first byte disables counting. OUT is set low" */
            c->loaded = false;
    } else {
        c->write_high = false;
        set_count(c, tick, (uint16_t)(value << 8 | c->low_byte));
    }
}

void pit_counter_latch_count(struct pit_counter *c, uint64_t tick) {
    if (c->count_latched)
        return;
    take_over_next(c, tick);
    c->latch = count_at(c, tick);
    c->count_latched = true;
}

void pit_counter_latch_status(struct pit_counter *c, uint64_t tick) {
    if (c->status_latched)
        return;
    take_over_next(c, tick);
    bool null_count = !c->loaded || c->next_pending || before_load(c, tick);
    c->status =
        (uint8_t)((out_at(c, tick) ? STATUS_OUT : 0) | (null_count ? STATUS_NULL_COUNT : 0) |
                  c->access << 4 | c->mode << 1 | (c->bcd ? 1 : 0));
    c->status_latched = true;
}

uint8_t pit_counter_read(struct pit_counter *c, uint64_t tick) {
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    take_over_next(c, tick);
    uint16_t value = c->count_latched ? c->latch : count_at(c, tick);
    bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->read_high);
    bool last = c->access != ACCESS_BOTH || c->read_high;
    c->read_high = !last;
    if (last)
        c->count_latched = false;
    return (uint8_t)(high ? value >> 8 : value);
}

/* A rising GATE: modes 1 and 5 start, 2 and 3 start over, 0 and 4 go on. */
static void gate_rises(struct pit_counter *c, uint64_t tick) {
    if (!c->written)
        return;
    if (triggered_by_gate(c) || repeats(c)) {
        load(c, tick, c->next_pending ? c->next : c->initial);
    } else if (c->stopped) {
        c->stopped = false;
        c->epoch += tick > c->stopped_at ? tick - c->stopped_at : 0;
    }
}

void pit_counter_set_gate(struct pit_counter *c, uint64_t tick, bool gate) {
    if (gate == c->gate)
        return;
    take_over_next(c, tick);
    c->gate = gate;
    if (gate) {
        gate_rises(c, tick);
    } else if (c->loaded && !triggered_by_gate(c)) {
        c->stopped = true;
        c->stopped_at = tick > c->epoch ? tick : c->epoch;
    }
}

/* The first rise after `tick` of a repeating mode, a pending count left aside. */
static uint64_t next_cycle(const struct pit_counter *c, uint64_t tick) {
    if (c->mode == 2)
        return tick < c->epoch ? c->epoch + c->initial : next_boundary(c, tick);
    if (tick < c->epoch)
        return c->epoch + (c->high_first ? c->initial : half_length(c, false));
    struct half_cycle half = half_cycle_at(c, tick);
    uint64_t end = tick + (half.length - half.position);
    return half.high ? end + half_length(c, false) : end;
}

uint64_t pit_counter_next_rise(const struct pit_counter *c, uint64_t tick) {
    if (!c->loaded || c->stopped)
        return PIT_NEVER;
    if (!repeats(c)) {
        uint64_t rise = c->epoch + c->initial + (c->mode >= 4 ? 1 : 0);
        return rise > tick ? rise : PIT_NEVER;
    }
    struct pit_counter copy = *c;
    take_over_next(&copy, tick);
    uint64_t rise = next_cycle(&copy, tick);
    if (!copy.next_pending || rise <= copy.next_at)
        return rise;
    /* The cycle changes before that rise: look again from where it does. */
    uint64_t change = copy.next_at;
    take_over_next(&copy, change);
    return next_cycle(&copy, change);
}

uint32_t pit_counter_period(const struct pit_counter *c) {
    return repeats(c) && c->loaded && !c->stopped ? c->initial : 0;
}
