/* The 8259A pair of a PC: 16 interrupt lines into one INTR.
 *
 * Ports 0x20/0x21 (master), 0xa0/0xa1 (slave, behind line 2) and the edge/level registers 0x4d0
 * and 0x4d1. Behaviour after the 8259A data sheet; ICW1's LTIM is ignored and the ELCR decides
 * instead, as in the PIIX chip sets. */
#ifndef RING3_DEVICES_PIC_H
#define RING3_DEVICES_PIC_H

#include <stdbool.h>

#include "base/arena.h"
#include "runtime/bus.h"

struct pic;

/* `intr` is told of every change of the INTR output. */
struct pic *pic_create(struct arena *arena, struct bus *bus,
                       void (*intr)(void *opaque, bool asserted), void *opaque);
/* An input, 0-15; has the signature of struct irq_line. Line 2 is the cascade: not wired. */
void pic_set_line(void *pic, unsigned line, int level);
struct irq_line pic_line(struct pic *pic, unsigned line);
/* The INTA cycles: the vector, with its request moved into service. Where the request has gone
 * since, the spurious vector 7 of the chip concerned, with nothing in service. */
int pic_acknowledge(void *pic);

#endif
