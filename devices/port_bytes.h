/* Wide accesses to byte-wide chips.
 *
 * The ISA bus splits a 2- or 4-byte access to an 8-bit device into byte cycles at consecutive
 * ports, lowest first. A handler of such a chip begins with these; it must answer ports that
 * are not its own with all ones, since the last bytes may lie behind its range. */
#ifndef RING3_DEVICES_PORT_BYTES_H
#define RING3_DEVICES_PORT_BYTES_H

#include <stdint.h>

#include "runtime/bus.h"

#define PORT_FLOATING 0xffu

static inline uint32_t port_read_bytes(port_read_fn read, void *device, uint16_t port,
                                       unsigned size) {
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (read(device, (uint16_t)(port + i), 1) & 0xff) << (8 * i);
    return value;
}

static inline void port_write_bytes(port_write_fn write, void *device, uint16_t port,
                                    uint32_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++)
        write(device, (uint16_t)(port + i), value >> (8 * i) & 0xff, 1);
}

#endif
