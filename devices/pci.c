/* PCI configuration and reset control: see pci.h. */
#include "devices/pci.h"

#include <assert.h>

#include "devices/port_bytes.h"

#define ADDRESS_PORT 0xcf8
#define RESET_PORT 0xcf9
#define DATA_PORT 0xcfc
#define PORT_COUNT 8
#define ADDRESS_WRITABLE 0x80fffffcu /* bits 30-24, 1 and 0 are reserved */
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_FUNCTION 0x00ffff00u /* bus, device and function */
#define ADDRESS_REGISTER 0x000000fcu

enum { RESET_CPU = 0x04, RESET_WRITABLE = 0x0e };

struct pci {
    uint32_t address;
    uint8_t reset_control;
    struct pulse reset;
    struct pci_function host_bridge; /* no `read`: absent */
};

static void write_reset_control(struct pci *pci, uint8_t value) {
    bool rises = (value & ~pci->reset_control & RESET_CPU) != 0;
    pci->reset_control = value & RESET_WRITABLE;
    if (rises)
        pulse_raise(&pci->reset);
}

/* The function that the address register names, or NULL. */
static const struct pci_function *selected(const struct pci *pci) {
    bool bridge = (pci->address & (ADDRESS_ENABLE | ADDRESS_FUNCTION)) == ADDRESS_ENABLE;
    return bridge && pci->host_bridge.read ? &pci->host_bridge : NULL;
}

/* Bytes behind the last port come here with an access that began before it. */
static bool is_data(uint16_t port) { return port >= DATA_PORT && port < ADDRESS_PORT + PORT_COUNT; }

static uint8_t register_at(const struct pci *pci, uint16_t port) {
    return (uint8_t)((pci->address & ADDRESS_REGISTER) | (port & 3u));
}

/* A data access of any size that stays within its dword and is aligned is one; others are taken
 * apart. */
static void write_data(struct pci *pci, uint16_t port, uint32_t value, unsigned size) {
    const struct pci_function *function = selected(pci);
    if (function)
        function->write(function->device, register_at(pci, port), value, size);
}

static void pci_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct pci *pci = device;
    if (port == ADDRESS_PORT && size == 4)
        pci->address = value & ADDRESS_WRITABLE;
    else if (is_data(port) && port % size == 0)
        write_data(pci, port, value, size);
    else if (size > 1)
        port_write_bytes(pci_write, device, port, value, size);
    else if (port == RESET_PORT)
        write_reset_control(pci, (uint8_t)value);
}

static uint32_t pci_read(void *device, uint16_t port, unsigned size) {
    const struct pci *pci = device;
    if (port == ADDRESS_PORT && size == 4)
        return pci->address;
    if (size > 1)
        return port_read_bytes(pci_read, device, port, size);
    const struct pci_function *function = is_data(port) ? selected(pci) : NULL;
    if (function)
        return function->read(function->device, register_at(pci, port));
    return port == RESET_PORT ? pci->reset_control : PORT_FLOATING;
}

struct pci *pci_create(struct arena *arena, struct bus *bus, struct pulse reset,
                       const struct pci_function *host_bridge) {
    assert(reset.raise);
    assert(!host_bridge || (host_bridge->read && host_bridge->write));
    struct pci *pci = ARENA_NEW(arena, struct pci);
    pci->reset = reset;
    if (host_bridge)
        pci->host_bridge = *host_bridge;
    bus_claim(bus, "pci configuration", ADDRESS_PORT, PORT_COUNT, pci_read, pci_write, pci);
    return pci;
}
