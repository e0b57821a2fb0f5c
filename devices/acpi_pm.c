/* The ACPI power management block: see acpi_pm.h. Register layout: ACPI 6.4, 4.8.3. */
#include "devices/acpi_pm.h"

#include <assert.h>

#include "base/acpi_ports.h"
#include "devices/port_bytes.h"
#include "devices/rate.h"

#define HALF_CYCLE (UINT64_C(1) << (ACPI_PM_TIMER_BITS - 1))

enum { EVENT_TIMER = 0x0001, ENABLE_WRITABLE = 0x0721 };
enum { CONTROL_SCI_EN = 0x0001, CONTROL_WRITABLE = 0x1c02 };
enum { SLEEP_TYPE_SHIFT = 10, SLEEP_TYPE_MASK = 7, SLEEP_ENABLE_HIGH = 0x20 };

struct acpi_pm {
    uint16_t status, enable, control;
    uint8_t gpe_enable[2];
    uint64_t carries; /* changes of the timer's top bit that `status` knows of */
    struct timer timer;
    struct timers *timers;
    const struct clock *clock;
    struct trace *trace;
    struct irq_line sci;
    struct pulse power_off;
};

static uint64_t timer_ticks(const struct acpi_pm *pm) {
    return rate_ticks(clock_now(pm->clock), ACPI_PM_TIMER_HZ);
}

static void raise_status(struct acpi_pm *pm) {
    uint64_t carries = timer_ticks(pm) / HALF_CYCLE;
    if (carries != pm->carries)
        pm->status |= EVENT_TIMER;
    pm->carries = carries;
}

/* The SCI, and the timer for the next carry where it is wanted. */
static void update(struct acpi_pm *pm) {
    raise_status(pm);
    bool asserted = (pm->status & pm->enable & EVENT_TIMER) != 0;
    bool waiting = !asserted && (pm->enable & EVENT_TIMER);
    irq_set(&pm->sci, asserted);
    timer_arm(pm->timers, &pm->timer,
              waiting ? rate_ns((pm->carries + 1) * HALF_CYCLE, ACPI_PM_TIMER_HZ) : TIMER_NEVER);
}

static void timer_fired(void *opaque) { update(opaque); }

/* The control register's high byte: SLP_EN is write-only and acts. */
static void write_control_high(struct acpi_pm *pm, uint8_t value) {
    pm->control = (uint16_t)((pm->control & 0xff) | value << 8) & CONTROL_WRITABLE;
    if (!(value & SLEEP_ENABLE_HIGH))
        return;
    unsigned type = pm->control >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;
    if (type == ACPI_SLEEP_TYPE_OFF)
        pulse_raise(&pm->power_off);
    else
        TRACE(pm->trace, sleep, type);
}

static void write_byte(struct acpi_pm *pm, uint16_t port, uint8_t value) {
    switch (port) {
    case ACPI_PM1A_EVENT:
        pm->status &= (uint16_t)~value;
        break; /* a 1 clears */
    case ACPI_PM1A_EVENT + 2:
        pm->enable = (uint16_t)((pm->enable & 0xff00) | value) & ENABLE_WRITABLE;
        break;
    case ACPI_PM1A_EVENT + 3:
        pm->enable = (uint16_t)((pm->enable & 0x00ff) | value << 8) & ENABLE_WRITABLE;
        break;
    case ACPI_PM1A_CONTROL:
        pm->control = (uint16_t)((pm->control & 0xff00) | value) & CONTROL_WRITABLE;
        break;
    case ACPI_PM1A_CONTROL + 1:
        write_control_high(pm, value);
        break;
    case ACPI_GPE0 + 2:
    case ACPI_GPE0 + 3:
        pm->gpe_enable[port - (ACPI_GPE0 + 2)] = value;
        break;
    default:
        break; /* the timer, status without events, and gaps */
    }
}

static uint8_t read_byte(const struct acpi_pm *pm, uint16_t port) {
    switch (port) {
    case ACPI_PM1A_EVENT:
        return (uint8_t)pm->status;
    case ACPI_PM1A_EVENT + 1:
        return (uint8_t)(pm->status >> 8);
    case ACPI_PM1A_EVENT + 2:
        return (uint8_t)pm->enable;
    case ACPI_PM1A_EVENT + 3:
        return (uint8_t)(pm->enable >> 8);
    case ACPI_PM1A_CONTROL:
        return (uint8_t)(pm->control | CONTROL_SCI_EN);
    case ACPI_PM1A_CONTROL + 1:
        return (uint8_t)(pm->control >> 8);
    case ACPI_GPE0:
    case ACPI_GPE0 + 1:
        return 0;
    case ACPI_GPE0 + 2:
    case ACPI_GPE0 + 3:
        return pm->gpe_enable[port - (ACPI_GPE0 + 2)];
    default:
        return PORT_FLOATING;
    }
}

static void pm_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct acpi_pm *pm = device;
    raise_status(pm);
    for (unsigned i = 0; i < size; i++)
        write_byte(pm, (uint16_t)(port + i), (uint8_t)(value >> (8 * i)));
    update(pm);
}

static uint32_t pm_read(void *device, uint16_t port, unsigned size) {
    struct acpi_pm *pm = device;
    unsigned in_timer = (unsigned)port - ACPI_PM_TIMER;
    if (in_timer < ACPI_PM_TIMER_LEN) /* one reading, whatever the access's width */
        return (uint32_t)timer_ticks(pm) >> (8 * in_timer);
    raise_status(pm);
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)read_byte(pm, (uint16_t)(port + i)) << (8 * i);
    return value;
}

struct acpi_pm *acpi_pm_create(struct arena *arena, struct bus *bus, struct timers *timers,
                               const struct clock *clock, struct trace *trace, struct irq_line sci,
                               struct pulse power_off) {
    assert(power_off.raise);
    struct acpi_pm *pm = ARENA_NEW(arena, struct acpi_pm);
    pm->timers = timers;
    pm->clock = clock;
    pm->trace = trace;
    pm->sci = sci;
    pm->power_off = power_off;
    pm->carries = timer_ticks(pm) / HALF_CYCLE;
    timer_add(timers, &pm->timer, "acpi pm", timer_fired, pm);
    bus_claim(bus, "acpi pm", ACPI_PORTS_FIRST, ACPI_PORTS_COUNT, pm_read, pm_write, pm);
    return pm;
}
