/* The PC around the CPU: every chip, wired and registered on one bus.
 *
 *   IRQ 0 PIT  1 keyboard  4 COM1  5 (injection)  8 RTC  9 ACPI (SCI)  12 mouse
 *
 * Everything lies in the arena and runs in the vCPU process. The callbacks come from inside
 * port accesses, timers and pc_poll; they must not block. Rings may be read by another process. */
#ifndef RING3_DEVICES_PC_H
#define RING3_DEVICES_PC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/ring.h"
#include "base/timer.h"
#include "base/trace.h"
#include "memory/ram.h"
#include "runtime/bus.h"
#include "runtime/vcpu.h"

struct pc;

struct pc_options {
    uint64_t ram_bytes;
    /* For firmware: a host bridge that switches this memory's legacy segments, and fw_cfg. Or NULL.
     */
    struct ram *firmware_ram;
    void (*memory_changed)(void *opaque); /* the segments show something else; with the former */

    void *opaque; /* of all callbacks; each of the next four must be given */
    void (*set_intr)(void *opaque, bool asserted);
    void (*reset)(void *opaque);
    void (*power_off)(void *opaque);
    void (*debug_exit)(void *opaque, uint32_t value);

    struct byte_ring *serial_tx, *serial_rx;
    void (*serial_notify)(void *opaque);  /* the reader of serial_tx may be asleep; or NULL */
    struct byte_ring *console;            /* ports 0xe9, 0x402; or NULL: thrown away */
    void (*console_notify)(void *opaque); /* the reader of `console` may be asleep; or NULL */
};

struct pc *pc_create(struct arena *arena, struct bus *bus, struct timers *timers,
                     struct clock *clock, struct trace *trace, const struct pc_options *options);
/* The interrupt controller as the vCPU sees it. */
struct pic_port pc_pic(struct pc *pc);
/* Moves serial bytes that the other side made possible; the run loop calls it when the monitor
 * asked for attention. */
void pc_poll(struct pc *pc);
/* Torture: a pulse on IRQ 5, which no chip drives; opaque is the pc. */
void pc_inject(void *opaque);
bool pc_nmi_masked(const struct pc *pc);

#endif
