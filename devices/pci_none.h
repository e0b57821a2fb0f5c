/* PCI configuration mechanism 1 of a bus with nothing on it, and the reset control register.
 *
 * 0xcf8 holds the address register (dword accesses only, PCI Local Bus 3.0, 3.2.2.3.2) and
 * 0xcfc-0xcff answer all ones, the sign of an absent device. Byte 0xcf9 between them is the
 * PIIX3's reset control: a rise of bit 2 resets the machine. */
#ifndef RING3_DEVICES_PCI_NONE_H
#define RING3_DEVICES_PCI_NONE_H

#include "base/arena.h"
#include "devices/pulse.h"
#include "runtime/bus.h"

struct pci_none;

struct pci_none *pci_none_create(struct arena *arena, struct bus *bus, struct pulse reset);

#endif
