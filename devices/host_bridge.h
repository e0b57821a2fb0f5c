/* The host bridge of an Intel 440FX (data sheet 290549), function 0:00.0, as far as firmware needs
 * one: its identity, and the PAM registers that put RAM or ROM into the segments from 0xc0000 to
 * 0xfffff.
 *
 * It carries the subsystem numbers of QEMU's machine: by them SeaBIOS knows that it runs on a
 * virtual machine with fw_cfg and a debug console. A segment that is to be written to RAM but read
 * from ROM is RAM both ways, as it is in QEMU. */
#ifndef RING3_DEVICES_HOST_BRIDGE_H
#define RING3_DEVICES_HOST_BRIDGE_H

#include "base/arena.h"
#include "devices/pci.h"
#include "memory/ram.h"

struct host_bridge;

struct host_bridge_options {
    struct ram *ram;
    void (*memory_changed)(void *opaque); /* legacy segments of `ram` show something else now */
    void *opaque;
};

struct host_bridge *host_bridge_create(struct arena *arena,
                                       const struct host_bridge_options *options);
struct pci_function host_bridge_function(struct host_bridge *bridge);

#endif
