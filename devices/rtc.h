/* The MC146818 real-time clock with its CMOS RAM, at ports 0x70 (index) and 0x71 (data).
 *
 * The time is the host's at the machine's start plus the machine's clock. While the guest holds
 * it (SET, or the divider in reset) the time registers are plain cells; a running clock computes
 * them when they are read. Flags in register C are brought up to date when somebody looks; a
 * timer runs only for an interrupt that is enabled and not already asserted. Behaviour after the
 * MC146818A data sheet; century in byte 0x32, as the FADT says. */
#ifndef RING3_DEVICES_RTC_H
#define RING3_DEVICES_RTC_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/timer.h"
#include "runtime/bus.h"

#define RTC_CENTURY_INDEX 0x32

struct rtc;

/* ram_bytes: what the memory-size bytes of the CMOS tell. */
struct rtc *rtc_create(struct arena *arena, struct bus *bus, struct timers *timers,
                       const struct clock *clock, struct irq_line irq, uint64_t ram_bytes);
/* Bit 7 of the last byte written to port 0x70: NMI is masked. */
bool rtc_nmi_masked(const struct rtc *rtc);

#endif
