/* PCI configuration of an empty bus, and reset control: see pci_none.h. */
#include "devices/pci_none.h"

#include <assert.h>

#include "devices/port_bytes.h"

#define ADDRESS_PORT 0xcf8
#define RESET_PORT 0xcf9
#define PORT_COUNT 8
#define ADDRESS_WRITABLE 0x80fffffcu /* bits 30-24, 1 and 0 are reserved */

enum { RESET_CPU = 0x04, RESET_WRITABLE = 0x0e };

struct pci_none {
    uint32_t address;
    uint8_t reset_control;
    struct pulse reset;
};

static void write_reset_control(struct pci_none *pci, uint8_t value) {
    bool rises = (value & ~pci->reset_control & RESET_CPU) != 0;
    pci->reset_control = value & RESET_WRITABLE;
    if (rises)
        pulse_raise(&pci->reset);
}

static void pci_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct pci_none *pci = device;
    if (port == ADDRESS_PORT && size == 4)
        pci->address = value & ADDRESS_WRITABLE;
    else if (size > 1)
        port_write_bytes(pci_write, device, port, value, size);
    else if (port == RESET_PORT)
        write_reset_control(pci, (uint8_t)value);
}

static uint32_t pci_read(void *device, uint16_t port, unsigned size) {
    const struct pci_none *pci = device;
    if (port == ADDRESS_PORT && size == 4)
        return pci->address;
    if (size > 1)
        return port_read_bytes(pci_read, device, port, size);
    return port == RESET_PORT ? pci->reset_control : PORT_FLOATING;
}

struct pci_none *pci_none_create(struct arena *arena, struct bus *bus, struct pulse reset) {
    assert(reset.raise);
    struct pci_none *pci = ARENA_NEW(arena, struct pci_none);
    pci->reset = reset;
    bus_claim(bus, "pci configuration", ADDRESS_PORT, PORT_COUNT, pci_read, pci_write, pci);
    return pci;
}
