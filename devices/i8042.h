/* The 8042 keyboard controller, ports 0x60 and 0x64, with a keyboard that nobody types on and
 * no mouse.
 *
 * Enough for an operating system's probing and for resetting through it: controller commands,
 * the keyboard's own commands, IRQ1 and IRQ12. A byte sent to the absent mouse is answered as
 * the controller does when a device stays silent: 0xfe with the time-out status, at once. The A20
 * gate is a bit that reads back; address line 20 is always on. */
#ifndef RING3_DEVICES_I8042_H
#define RING3_DEVICES_I8042_H

#include "base/arena.h"
#include "devices/pulse.h"
#include "runtime/bus.h"

struct i8042;

struct i8042 *i8042_create(struct arena *arena, struct bus *bus, struct irq_line keyboard_irq,
                           struct irq_line mouse_irq, struct pulse reset);

#endif
