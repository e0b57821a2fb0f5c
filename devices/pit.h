/* The 8254 of a PC and port 0x61.
 *
 * Ports 0x40-0x43. Channel 0 drives IRQ0 with its OUT; channel 1 once timed memory refresh;
 * channel 2 has its gate at port 0x61 bit 0 and its OUT at bit 5. Counts are computed from the
 * machine's clock, so they are exact whenever they are read.
 *
 * Late edges. When the host runs the vCPU too late and channel 0 has produced several edges by
 * then, the guest gets one at once and the others one by one, half a period apart at the
 * soonest, beside the ones that fall due: a guest that counts ticks catches up, and never meets
 * a burst that it could not have met on hardware. At most PIT_OWED_MAX are owed: after a long stop
 * (a debugger) time simply went on without the guest. Programming the channel forgets them. */
#ifndef RING3_DEVICES_PIT_H
#define RING3_DEVICES_PIT_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/timer.h"
#include "runtime/bus.h"

#define PIT_HZ 1193182
#define PIT_OWED_MAX 32

struct pit;

struct pit *pit_create(struct arena *arena, struct bus *bus, struct timers *timers,
                       const struct clock *clock, struct irq_line irq);

#endif
