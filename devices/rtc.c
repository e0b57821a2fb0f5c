/* The MC146818 and its CMOS RAM: see rtc.h. */
#include "devices/rtc.h"

#include <assert.h>

#include "devices/calendar.h"
#include "devices/port_bytes.h"
#include "devices/rate.h"

#define INDEX_PORT 0x70
#define DATA_PORT 0x71
#define CMOS_SIZE 128
#define CRYSTAL_HZ 32768
#define DAY_SECONDS 86400

/* UIP rises 244 us before an update, which takes 1984 us (data sheet, table 5). */
#define UPDATE_NS 2228000
/* "The first update cycle is one-half second later" than the end of a divider reset. */
#define RESET_PHASE_NS (NS_PER_SECOND / 2)

enum cmos_index {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    BASE_MEMORY = 0x15,
    EXTENDED_MEMORY = 0x17,
    EXTENDED_MEMORY_POST = 0x30,
    CENTURY = RTC_CENTURY_INDEX,
    HIGH_MEMORY = 0x34,
};
enum { A_UIP = 0x80, A_DIVIDER_RESET = 0x60, A_RATE = 0x0f, A_DEFAULT = 0x26 };
enum { B_SET = 0x80, B_PIE = 0x40, B_AIE = 0x20, B_UIE = 0x10, B_BINARY = 0x04, B_24_HOURS = 0x02 };
enum { C_IRQ = 0x80, C_PERIODIC = 0x40, C_ALARM = 0x20, C_UPDATE = 0x10 };
enum { D_VALID = 0x80, PM = 0x80, ALARM_ANY = 0xc0 };

struct rtc {
    uint8_t index;           /* last write to port 0x70, NMI mask included */
    uint8_t cmos[CMOS_SIZE]; /* time registers: valid while held */
    /* Second `anchor_seconds` began at machine time `anchor_ns` (before its start: negative). */
    int64_t anchor_seconds, anchor_ns;
    uint32_t weekday_shift;
    int64_t flags_second; /* UF and AF are up to date with this second, */
    uint64_t flags_tick;  /* PF with this tick of the crystal */
    struct timer timer;
    struct timers *timers;
    const struct clock *clock;
    struct irq_line irq;
};

static bool divider_is_reset(const struct rtc *rtc) {
    return (rtc->cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

/* Do the time registers stand still? */
static bool is_held(const struct rtc *rtc) {
    return (rtc->cmos[REG_B] & B_SET) || divider_is_reset(rtc);
}

static uint64_t ns_since_anchor(const struct rtc *rtc, uint64_t now) {
    assert((int64_t)now >= rtc->anchor_ns);
    return (uint64_t)((int64_t)now - rtc->anchor_ns);
}

static int64_t seconds_at(const struct rtc *rtc, uint64_t now) {
    return rtc->anchor_seconds + (int64_t)(ns_since_anchor(rtc, now) / NS_PER_SECOND);
}

static bool is_time_register(unsigned index) {
    return index == SECONDS || index == MINUTES || index == HOURS ||
           (index >= WEEKDAY && index <= YEAR) || index == CENTURY;
}

static uint8_t encode(const struct rtc *rtc, uint32_t value) {
    assert(value < 100 && "one byte of BCD");
    return (uint8_t)(rtc->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static uint32_t decode(const struct rtc *rtc, uint8_t value) {
    return rtc->cmos[REG_B] & B_BINARY ? value : (value >> 4) * 10u + (value & 15u);
}

static uint8_t encode_hour(const struct rtc *rtc, uint32_t hour) {
    if (rtc->cmos[REG_B] & B_24_HOURS)
        return encode(rtc, hour);
    uint32_t half = hour % 12;
    return (uint8_t)(encode(rtc, half == 0 ? 12 : half) | (hour >= 12 ? PM : 0));
}

static uint32_t decode_hour(const struct rtc *rtc, uint8_t value) {
    if (rtc->cmos[REG_B] & B_24_HOURS)
        return decode(rtc, value);
    return decode(rtc, value & (uint8_t)~PM) % 12 + (value & PM ? 12 : 0);
}

/* Second `seconds` as the time registers show it. */
static void fill_registers(struct rtc *rtc, int64_t seconds) {
    struct calendar time = calendar_from_seconds(seconds);
    uint32_t year = time.year > 0 ? (uint32_t)time.year : 0;
    uint8_t *cmos = rtc->cmos;
    cmos[SECONDS] = encode(rtc, time.second);
    cmos[MINUTES] = encode(rtc, time.minute);
    cmos[HOURS] = encode_hour(rtc, time.hour);
    cmos[WEEKDAY] = encode(rtc, (time.weekday + rtc->weekday_shift) % 7 + 1);
    cmos[DAY] = encode(rtc, time.day);
    cmos[MONTH] = encode(rtc, time.month);
    cmos[YEAR] = encode(rtc, year % 100);
    cmos[CENTURY] = encode(rtc, year / 100 % 100);
}

/* The second that the time registers mean; what no calendar has carries over. */
static int64_t seconds_from_registers(struct rtc *rtc) {
    const uint8_t *cmos = rtc->cmos;
    struct calendar time = {
        .year = (int32_t)(decode(rtc, cmos[CENTURY]) * 100 + decode(rtc, cmos[YEAR])),
        .month = decode(rtc, cmos[MONTH]),
        .day = decode(rtc, cmos[DAY]),
        .hour = decode_hour(rtc, cmos[HOURS]),
        .minute = decode(rtc, cmos[MINUTES]),
        .second = decode(rtc, cmos[SECONDS]),
    };
    int64_t seconds = calendar_to_seconds(&time);
    /* The day of the week is a counter of its own; it may disagree with the date. */
    uint32_t shown = decode(rtc, cmos[WEEKDAY]) + 6;
    rtc->weekday_shift = (shown + 7 - calendar_from_seconds(seconds).weekday) % 7;
    return seconds;
}

/* Makes `seconds` the current second; the second's phase stays. */
static void set_time(struct rtc *rtc, uint64_t now, int64_t seconds) {
    rtc->anchor_seconds += seconds - seconds_at(rtc, now);
    rtc->flags_second = seconds;
}

static bool alarm_matches(uint8_t alarm, uint8_t value) {
    return (alarm & ALARM_ANY) == ALARM_ANY || alarm == value;
}

/* The first second after `seconds` at which the alarm goes off, or INT64_MAX. */
static int64_t next_alarm(const struct rtc *rtc, int64_t seconds) {
    struct calendar from = calendar_from_seconds(seconds + 1);
    uint32_t start = from.hour * 3600 + from.minute * 60 + from.second;
    const uint8_t *cmos = rtc->cmos;
    /* Skips by hours, minutes, seconds; after a whole day nothing new comes. */
    for (uint32_t at = start; at < start + DAY_SECONDS;) {
        if (!alarm_matches(cmos[HOURS_ALARM], encode_hour(rtc, at / 3600 % 24)))
            at = (at / 3600 + 1) * 3600;
        else if (!alarm_matches(cmos[MINUTES_ALARM], encode(rtc, at / 60 % 60)))
            at = (at / 60 + 1) * 60;
        else if (!alarm_matches(cmos[SECONDS_ALARM], encode(rtc, at % 60)))
            at++;
        else
            return seconds + 1 + (at - start);
    }
    return INT64_MAX;
}

/* Crystal ticks between periodic interrupts, 0: none (data sheet, table 4). */
static uint64_t period_ticks(const struct rtc *rtc) {
    unsigned rate = rtc->cmos[REG_A] & A_RATE;
    if (rate == 0 || divider_is_reset(rtc))
        return 0;
    return UINT64_C(1) << (rate < 3 ? rate + 6 : rate - 1);
}

/* Sets the flags in register C that time has raised. */
static void raise_flags(struct rtc *rtc, uint64_t now) {
    uint64_t tick = rate_ticks(now, CRYSTAL_HZ), period = period_ticks(rtc);
    if (period != 0 && tick / period != rtc->flags_tick / period)
        rtc->cmos[REG_C] |= C_PERIODIC;
    rtc->flags_tick = tick;
    if (is_held(rtc))
        return;
    int64_t second = seconds_at(rtc, now);
    if (second == rtc->flags_second)
        return;
    assert(second > rtc->flags_second);
    rtc->cmos[REG_C] |= C_UPDATE;
    if (next_alarm(rtc, rtc->flags_second) <= second)
        rtc->cmos[REG_C] |= C_ALARM;
    rtc->flags_second = second;
}

static uint64_t second_begins(const struct rtc *rtc, int64_t second) {
    return (uint64_t)(rtc->anchor_ns + (second - rtc->anchor_seconds) * (int64_t)NS_PER_SECOND);
}

/* When the next enabled interrupt is due. */
static uint64_t next_interrupt(const struct rtc *rtc) {
    uint64_t next = TIMER_NEVER, period = period_ticks(rtc);
    if ((rtc->cmos[REG_B] & B_PIE) && period != 0)
        next = rate_ns((rtc->flags_tick / period + 1) * period, CRYSTAL_HZ);
    if (is_held(rtc) || !(rtc->cmos[REG_B] & (B_UIE | B_AIE)))
        return next;
    int64_t second =
        rtc->cmos[REG_B] & B_UIE ? rtc->flags_second + 1 : next_alarm(rtc, rtc->flags_second);
    if (second != INT64_MAX && second_begins(rtc, second) < next)
        next = second_begins(rtc, second);
    return next;
}

/* The IRQ line and the timer, after flags or enables changed. */
static void update_interrupt(struct rtc *rtc) {
    uint8_t *c = &rtc->cmos[REG_C];
    bool asserted = (*c & rtc->cmos[REG_B] & (B_PIE | B_AIE | B_UIE)) != 0;
    *c = (uint8_t)((*c & ~C_IRQ) | (asserted ? C_IRQ : 0));
    irq_set(&rtc->irq, asserted);
    timer_arm(rtc->timers, &rtc->timer, asserted ? TIMER_NEVER : next_interrupt(rtc));
}

static void timer_fired(void *opaque) {
    struct rtc *rtc = opaque;
    raise_flags(rtc, clock_now(rtc->clock));
    update_interrupt(rtc);
}

/* Registers A and B: the clock may stop or go on. */
static void write_control(struct rtc *rtc, uint64_t now, unsigned index, uint8_t value) {
    bool was_held = is_held(rtc), was_reset = divider_is_reset(rtc);
    if (!was_held)
        fill_registers(rtc, seconds_at(rtc, now));
    if (index == REG_A)
        rtc->cmos[REG_A] = value & (uint8_t)~A_UIP;
    else /* "When SET is high ... UIE is cleared" */
        rtc->cmos[REG_B] = value & B_SET ? value & (uint8_t)~B_UIE : value;
    if (was_reset && !divider_is_reset(rtc)) {
        rtc->anchor_seconds = seconds_at(rtc, now);
        rtc->anchor_ns = (int64_t)now - (int64_t)RESET_PHASE_NS;
    }
    if (was_held && !is_held(rtc))
        set_time(rtc, now, seconds_from_registers(rtc));
}

static void write_data(struct rtc *rtc, uint8_t value) {
    unsigned index = rtc->index & (CMOS_SIZE - 1);
    uint64_t now = clock_now(rtc->clock);
    raise_flags(rtc, now);
    if (index == REG_A || index == REG_B) {
        write_control(rtc, now, index, value);
    } else if (index == REG_C || index == REG_D) {
        return; /* read-only */
    } else if (is_time_register(index) && !is_held(rtc)) {
        fill_registers(rtc, seconds_at(rtc, now));
        rtc->cmos[index] = value;
        set_time(rtc, now, seconds_from_registers(rtc));
    } else {
        rtc->cmos[index] = value;
    }
    update_interrupt(rtc);
}

static uint8_t read_data(struct rtc *rtc) {
    unsigned index = rtc->index & (CMOS_SIZE - 1);
    uint64_t now = clock_now(rtc->clock);
    if (is_time_register(index) && !is_held(rtc))
        fill_registers(rtc, seconds_at(rtc, now));
    uint8_t value = rtc->cmos[index];
    if (index == REG_A && !is_held(rtc) &&
        ns_since_anchor(rtc, now) % NS_PER_SECOND >= NS_PER_SECOND - UPDATE_NS)
        value |= A_UIP;
    if (index == REG_C) {
        raise_flags(rtc, now);
        update_interrupt(rtc);
        value = rtc->cmos[REG_C];
        rtc->cmos[REG_C] = 0;
        update_interrupt(rtc);
    }
    return value;
}

static void rtc_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct rtc *rtc = device;
    if (size > 1)
        port_write_bytes(rtc_write, device, port, value, size);
    else if (port == INDEX_PORT)
        rtc->index = (uint8_t)value;
    else if (port == DATA_PORT)
        write_data(rtc, (uint8_t)value);
}

static uint32_t rtc_read(void *device, uint16_t port, unsigned size) {
    if (size > 1)
        return port_read_bytes(rtc_read, device, port, size);
    return port == DATA_PORT ? read_data(device) : PORT_FLOATING; /* the index is write-only */
}

bool rtc_nmi_masked(const struct rtc *rtc) { return (rtc->index & 0x80) != 0; }

static void put_word(struct rtc *rtc, unsigned index, uint64_t value) {
    uint64_t word = value < 0xffff ? value : 0xffff;
    rtc->cmos[index] = (uint8_t)word;
    rtc->cmos[index + 1] = (uint8_t)(word >> 8);
}

/* Memory sizes as a PC's firmware leaves them: KiB below 1 MiB and above, 64 KiB above 16 MiB. */
static void fill_memory_sizes(struct rtc *rtc, uint64_t bytes) {
    const uint64_t kib = 1024, mib = 1024 * kib;
    put_word(rtc, BASE_MEMORY, bytes < 640 * kib ? bytes / kib : 640);
    put_word(rtc, EXTENDED_MEMORY, bytes > mib ? (bytes - mib) / kib : 0);
    put_word(rtc, EXTENDED_MEMORY_POST, bytes > mib ? (bytes - mib) / kib : 0);
    put_word(rtc, HIGH_MEMORY, bytes > 16 * mib ? (bytes - 16 * mib) / (64 * kib) : 0);
}

struct rtc *rtc_create(struct arena *arena, struct bus *bus, struct timers *timers,
                       const struct clock *clock, struct irq_line irq, uint64_t ram_bytes) {
    struct rtc *rtc = ARENA_NEW(arena, struct rtc);
    rtc->timers = timers;
    rtc->clock = clock;
    rtc->irq = irq;
    rtc->anchor_seconds = clock->wall_start;
    rtc->anchor_ns = -(int64_t)clock->wall_start_ns;
    rtc->cmos[REG_A] = A_DEFAULT; /* 32768 Hz, periodic rate 1024 Hz */
    rtc->cmos[REG_B] = B_24_HOURS;
    rtc->cmos[REG_D] = D_VALID;
    fill_memory_sizes(rtc, ram_bytes);
    uint64_t now = clock_now(clock);
    rtc->flags_second = seconds_at(rtc, now);
    rtc->flags_tick = rate_ticks(now, CRYSTAL_HZ);
    timer_add(timers, &rtc->timer, "rtc", timer_fired, rtc);
    bus_claim(bus, "rtc", INDEX_PORT, 2, rtc_read, rtc_write, rtc);
    return rtc;
}
