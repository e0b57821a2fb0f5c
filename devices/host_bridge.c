/* The 440FX's host bridge: see host_bridge.h. */
#include "devices/host_bridge.h"

#include <assert.h>
#include <string.h>

enum config_offset {
    VENDOR = 0x00,
    DEVICE = 0x02,
    COMMAND = 0x04,
    STATUS = 0x06,
    REVISION = 0x08,
    CLASS = 0x0a,
    SUBSYSTEM_VENDOR = 0x2c,
    SUBSYSTEM = 0x2e,
    PAM0 = 0x59, /* its high half: 0xf0000-0xfffff */
    PAM1 = 0x5a, /* from here on, each half 16 KiB from 0xc0000 on */
    PAM6 = 0x5f,
    SMRAM = 0x72,
};
enum { PAM_READ = 1, PAM_WRITE = 2, PAM_HALVES = 0x33, PAM0_WRITABLE = 0x30 };

#define CONFIG_SIZE 256u
#define F_SEGMENT 12u /* the first of four segments that PAM0 governs */
#define SEGMENTS 16u

struct host_bridge {
    struct host_bridge_options wiring;
    uint8_t config[CONFIG_SIZE];
};

static uint8_t config_read(void *device, uint8_t offset) {
    return ((const struct host_bridge *)device)->config[offset];
}

static unsigned pam_of(const struct host_bridge *bridge, unsigned segment) {
    if (segment >= F_SEGMENT)
        return bridge->config[PAM0] >> 4;
    return bridge->config[PAM1 + segment / 2] >> segment % 2 * 4 & 15u;
}

static enum ram_legacy legacy_of(unsigned pam) {
    if (pam & PAM_WRITE)
        return RAM_LEGACY_RAM;
    return pam & PAM_READ ? RAM_LEGACY_READ_ONLY : RAM_LEGACY_ROM;
}

/* Brings memory up to date with the registers. */
static void apply_pam(struct host_bridge *bridge) {
    struct ram *ram = bridge->wiring.ram;
    bool changed = false;
    for (unsigned segment = 0; segment < SEGMENTS; segment++) {
        enum ram_legacy what = legacy_of(pam_of(bridge, segment));
        if (ram->legacy[segment] == what)
            continue;
        ram_set_legacy(ram, segment, what);
        changed = true;
    }
    if (changed)
        bridge->wiring.memory_changed(bridge->wiring.opaque);
}

static void config_write(void *device, uint8_t offset, uint32_t value, unsigned size) {
    struct host_bridge *bridge = device;
    assert(offset + size <= CONFIG_SIZE);
    for (unsigned i = 0; i < size; i++) {
        unsigned at = offset + i;
        uint8_t byte = (uint8_t)(value >> 8 * i);
        if (at >= PAM0 && at <= PAM6)
            bridge->config[at] = byte & (at == PAM0 ? PAM0_WRITABLE : PAM_HALVES);
    }
    apply_pam(bridge);
}

static void put16(struct host_bridge *bridge, unsigned offset, uint16_t value) {
    memcpy(bridge->config + offset, &value, sizeof value);
}

struct host_bridge *host_bridge_create(struct arena *arena,
                                       const struct host_bridge_options *options) {
    assert(options->ram && options->memory_changed);
    struct host_bridge *bridge = ARENA_NEW(arena, struct host_bridge);
    bridge->wiring = *options;
    put16(bridge, VENDOR, 0x8086);
    put16(bridge, DEVICE, 0x1237);
    put16(bridge, COMMAND, 0x0006); /* memory and bus master, hardwired */
    put16(bridge, STATUS, 0x0280);
    bridge->config[REVISION] = 0x02;
    put16(bridge, CLASS, 0x0600); /* a host bridge */
    put16(bridge, SUBSYSTEM_VENDOR, 0x1af4);
    put16(bridge, SUBSYSTEM, 0x1100);
    bridge->config[SMRAM] = 0x02; /* no SMRAM, and its place */
    return bridge;
}

struct pci_function host_bridge_function(struct host_bridge *bridge) {
    return (struct pci_function){.read = config_read, .write = config_write, .device = bridge};
}
