/* fw_cfg: see fw_cfg.h. */
#include "devices/fw_cfg.h"

#include <assert.h>
#include <string.h>

#include "devices/port_bytes.h"

#define SELECTOR_PORT 0x510
#define DATA_PORT 0x511
#define PORT_COUNT 2
#define ITEMS_MAX 8u
#define ITEM_SIZE_MAX 72u /* the directory of one file */
#define E820_RAM 1

enum item_key {
    KEY_SIGNATURE = 0x00,
    KEY_REVISION = 0x01,
    KEY_RAM_SIZE = 0x03,
    KEY_CPUS = 0x05,
    KEY_BOOT_MENU = 0x0e,
    KEY_CPUS_MAX = 0x0f,
    KEY_DIRECTORY = 0x19,
    KEY_E820 = 0x20, /* the first number for files */
};

struct item {
    uint16_t key;
    uint32_t size;
    uint8_t bytes[ITEM_SIZE_MAX];
};

struct fw_cfg {
    struct item items[ITEMS_MAX];
    unsigned count;
    uint16_t selector;
    uint32_t offset; /* of the next byte; at the end it stays */
};

/* Numbers of the directory are big-endian, all others little-endian. */
struct directory {
    uint32_t count;
    struct {
        uint32_t size;
        uint16_t key, reserved;
        char name[56];
    } file;
} __attribute__((packed));
static_assert(sizeof(struct directory) <= ITEM_SIZE_MAX, "room for the directory");

struct e820_entry {
    uint64_t start, len;
    uint32_t type;
} __attribute__((packed));

static const struct item *selected(const struct fw_cfg *cfg) {
    for (unsigned i = 0; i < cfg->count; i++)
        if (cfg->items[i].key == cfg->selector)
            return &cfg->items[i];
    return NULL;
}

static uint8_t next_byte(struct fw_cfg *cfg) {
    const struct item *item = selected(cfg);
    if (!item || cfg->offset >= item->size)
        return 0;
    return item->bytes[cfg->offset++];
}

/* Byte by byte the two ports would be mixed up: a word to the selector's is one access. */
static void cfg_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct fw_cfg *cfg = device;
    if (port != SELECTOR_PORT || size != 2)
        return;
    cfg->selector = (uint16_t)value;
    cfg->offset = 0;
}

static uint32_t cfg_read(void *device, uint16_t port, unsigned size) {
    if (size > 1)
        return port_read_bytes(cfg_read, device, port, size);
    return port == DATA_PORT ? next_byte(device) : PORT_FLOATING;
}

static void add(struct fw_cfg *cfg, uint16_t key, const void *bytes, uint32_t size) {
    assert(cfg->count < ITEMS_MAX && size <= ITEM_SIZE_MAX);
    struct item *item = &cfg->items[cfg->count++];
    item->key = key;
    item->size = size;
    memcpy(item->bytes, bytes, size);
}

static void add_files(struct fw_cfg *cfg, uint64_t ram_bytes) {
    const struct e820_entry ram = {.start = 0, .len = ram_bytes, .type = E820_RAM};
    struct directory directory = {
        .count = __builtin_bswap32(1),
        .file = {.size = __builtin_bswap32(sizeof ram),
                 .key = __builtin_bswap16(KEY_E820),
                 .name = "etc/e820"},
    };
    add(cfg, KEY_DIRECTORY, &directory, sizeof directory);
    add(cfg, KEY_E820, &ram, sizeof ram);
}

struct fw_cfg *fw_cfg_create(struct arena *arena, struct bus *bus, uint64_t ram_bytes) {
    struct fw_cfg *cfg = ARENA_NEW(arena, struct fw_cfg);
    const uint32_t revision = 1; /* the traditional interface alone */
    const uint16_t one = 1, none = 0;
    add(cfg, KEY_SIGNATURE, "QEMU", 4);
    add(cfg, KEY_REVISION, &revision, sizeof revision);
    add(cfg, KEY_RAM_SIZE, &ram_bytes, sizeof ram_bytes);
    add(cfg, KEY_CPUS, &one, sizeof one);
    add(cfg, KEY_BOOT_MENU, &none, sizeof none);
    add(cfg, KEY_CPUS_MAX, &one, sizeof one);
    add_files(cfg, ram_bytes);
    bus_claim(bus, "fw_cfg", SELECTOR_PORT, PORT_COUNT, cfg_read, cfg_write, cfg);
    return cfg;
}
