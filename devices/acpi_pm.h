/* The ACPI power management block: PM1a events and control, the PM timer, an empty GPE0.
 *
 * Its ports are in base/acpi_ports.h. The one event there is is the timer's carry (TMR_STS, each
 * change of the timer's top bit), which raises the SCI when enabled; the SCI is a level.
 * Writing SLP_EN with SLP_TYP 5 switches the machine off. */
#ifndef RING3_DEVICES_ACPI_PM_H
#define RING3_DEVICES_ACPI_PM_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/timer.h"
#include "base/trace.h"
#include "devices/pulse.h"
#include "runtime/bus.h"

struct acpi_pm;

struct acpi_pm *acpi_pm_create(struct arena *arena, struct bus *bus, struct timers *timers,
                               const struct clock *clock, struct trace *trace, struct irq_line sci,
                               struct pulse power_off);

#endif
