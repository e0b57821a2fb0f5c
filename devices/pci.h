/* PCI configuration mechanism 1 of a bus with at most a host bridge on it, and the reset control
 * register.
 *
 * 0xcf8 holds the address register (dword accesses only, PCI Local Bus 3.0, 3.2.2.3.2); 0xcfc-0xcff
 * reach the register that it names of function 0:00.0, or answer all ones, the sign of an absent
 * device. Byte 0xcf9 between them is the PIIX3's reset control: a rise of bit 2 resets the
 * machine. */
#ifndef RING3_DEVICES_PCI_H
#define RING3_DEVICES_PCI_H

#include "base/arena.h"
#include "devices/pulse.h"
#include "runtime/bus.h"

struct pci;

/* A function's 256 bytes of configuration space, read by the byte. A write says how many bytes
 * (1, 2 or 4, aligned) it has; unlike the others, a machine's parts may hang on one as a whole. */
struct pci_function {
    uint8_t (*read)(void *device, uint8_t offset);
    void (*write)(void *device, uint8_t offset, uint32_t value, unsigned size);
    void *device;
};

/* `host_bridge`: 0:00.0, or NULL for an empty bus. */
struct pci *pci_create(struct arena *arena, struct bus *bus, struct pulse reset,
                       const struct pci_function *host_bridge);

#endif
