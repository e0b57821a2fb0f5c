/* The ISA Plug and Play card: see isa_pnp.h. Registers are called as in the specification. */
#include "devices/isa_pnp.h"

#include <assert.h>
#include <stdbool.h>

#include "devices/port_bytes.h"

#define ADDRESS_PORT 0x279
#define WRITE_PORT 0xa79
#define READ_PORT_FIRST 0x203 /* any port 4n + 3 up to 0x3ff */
#define READ_PORT_LAST 0x3ff

#define LFSR_START 0x6a
#define KEY_LENGTH 32
#define IDENTIFIER_SIZE 9
#define IDENTIFIER_BITS 72

/* The card's registers, and the logical device's from 0x30 on. */
enum {
    REG_SET_READ_PORT = 0x00,
    REG_ISOLATION = 0x01,
    REG_CONTROL = 0x02,
    REG_WAKE = 0x03,
    REG_DATA = 0x04,
    REG_STATUS = 0x05,
    REG_CSN = 0x06,
    REG_ACTIVATE = 0x30,
    REG_IO_BASE = 0x60,
    REG_DMA = 0x74, /* 4 means none */
    REG_DMA_END = 0x76,
};
#define CONTROL_WAIT_FOR_KEY 0x02
#define CONTROL_RESET_CSN 0x04
#define DMA_NONE 4

enum state { WAIT_FOR_KEY, SLEEP, ISOLATION, CONFIG };

struct isa_pnp {
    struct bus *bus;
    enum state state;
    uint8_t address; /* of the register that the data ports reach */
    uint8_t csn;     /* card select number, 0 until a guest gives one */
    uint8_t lfsr, key_length;
    uint16_t read_port; /* claimed */
    bool deaf;          /* the guest wants it where a chip of the board answers */
    uint8_t isolation_reads;
    uint8_t next; /* byte of `card_data` */
};

static const uint16_t io_bases[] = {0xe9, 0x402};

#define IO_PORT(base, count) 0x47, 1, (base)&0xff, (base) >> 8, (base)&0xff, (base) >> 8, 1, count

/* The identifier and its checksum, then the resources: version 1.0, the name, one
 * logical device RNG0001 with two ports that decode 16 bits, the end and the checksum.
 * Both checksums are made when they are read. */
static const uint8_t card_data[] = {
    /* clang-format off */
    0x49, 0xc7, 0x00, 0x01, 0xff, 0xff, 0xff, 0xff, 0,
    0x0a, 0x10, 0x00,
    0x82, 19, 0, 'r', 'i', 'n', 'g', '3', ' ', 'd', 'e', 'b', 'u', 'g', ' ', 'c', 'o', 'n', 's', 'o', 'l', 'e',
    0x15, 0x49, 0xc7, 0x00, 0x01, 0x00,
    IO_PORT(0xe9, 1),
    IO_PORT(0x402, 1),
    0x79, 0,
    /* clang-format on */
};

static uint8_t lfsr_step(uint8_t lfsr, unsigned bit) {
    return (uint8_t)(lfsr >> 1 | ((lfsr ^ lfsr >> 1) & 1) << 7) ^ (uint8_t)(bit << 7);
}

/* Of the 64 bits in front of it. */
static uint8_t identifier_checksum(void) {
    uint8_t lfsr = LFSR_START;
    for (unsigned bit = 0; bit < 64; bit++)
        lfsr = lfsr_step(lfsr, card_data[bit / 8] >> bit % 8 & 1);
    return lfsr;
}

/* All bytes of the resources add up to 0. */
static uint8_t resource_checksum(void) {
    unsigned sum = 0;
    for (unsigned i = IDENTIFIER_SIZE; i < sizeof card_data - 1; i++)
        sum += card_data[i];
    return (uint8_t)-sum;
}

static uint8_t card_byte(unsigned index) {
    if (index == IDENTIFIER_SIZE - 1)
        return identifier_checksum();
    if (index == sizeof card_data - 1)
        return resource_checksum();
    return index < sizeof card_data ? card_data[index] : 0;
}

/* 32 writes that follow the sequence, or it begins anew. */
static void take_key(struct isa_pnp *card, uint8_t value) {
    if (value != card->lfsr) {
        card->lfsr = LFSR_START;
        card->key_length = 0;
    }
    if (value == card->lfsr) {
        card->lfsr = lfsr_step(card->lfsr, 0);
        card->key_length++;
    }
    if (card->key_length < KEY_LENGTH)
        return;
    card->lfsr = LFSR_START;
    card->key_length = 0;
    card->state = SLEEP;
}

static void write_address(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct isa_pnp *card = device;
    (void)port, (void)size;
    card->address = (uint8_t)value;
    if (card->state == WAIT_FOR_KEY)
        take_key(card, (uint8_t)value);
}

static void set_read_port(struct isa_pnp *card, uint8_t value) {
    uint16_t port = (uint16_t)(value << 2 | 3);
    card->deaf = port < READ_PORT_FIRST || port > READ_PORT_LAST ||
                 !bus_move(card->bus, card->read_port, port);
    if (!card->deaf)
        card->read_port = port;
}

static void control(struct isa_pnp *card, uint8_t value) {
    if (value & CONTROL_RESET_CSN)
        card->csn = 0;
    if (value & CONTROL_WAIT_FOR_KEY)
        card->state = WAIT_FOR_KEY;
}

static void wake(struct isa_pnp *card, uint8_t csn) {
    card->state = csn != card->csn ? SLEEP : csn == 0 ? ISOLATION : CONFIG;
    card->isolation_reads = 0;
    card->next = 0;
}

static void write_data(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct isa_pnp *card = device;
    uint8_t byte = (uint8_t)value;
    (void)port, (void)size;
    if (card->state == WAIT_FOR_KEY)
        return;
    if (card->address == REG_CONTROL)
        control(card, byte);
    else if (card->address == REG_WAKE)
        wake(card, byte);
    else if (card->address == REG_SET_READ_PORT && card->state == ISOLATION)
        set_read_port(card, byte);
    else if (card->address == REG_CSN && card->state >= ISOLATION) {
        card->csn = byte;
        card->state = CONFIG;
    }
}

/* A 1 is driven as 55h and AAh, a 0 is silence. The resources come behind the last bit. */
static uint8_t isolate(struct isa_pnp *card) {
    if (card->isolation_reads == 2 * IDENTIFIER_BITS)
        return PORT_FLOATING;
    unsigned read = card->isolation_reads++, bit = read / 2;
    card->next = IDENTIFIER_SIZE;
    if (!(card_byte(bit / 8) >> bit % 8 & 1))
        return PORT_FLOATING;
    return read % 2 ? 0xaa : 0x55;
}

static uint8_t read_io_base(unsigned offset) {
    if (offset >= 2 * sizeof io_bases / sizeof *io_bases)
        return 0;
    return (uint8_t)(io_bases[offset / 2] >> (offset % 2 ? 0 : 8));
}

static uint8_t read_config(struct isa_pnp *card) {
    switch (card->address) {
    case REG_DATA:
        return card_byte(card->next < sizeof card_data ? card->next++ : card->next);
    case REG_STATUS:
        return 1; /* the next byte is there */
    case REG_CSN:
        return card->csn;
    case REG_ACTIVATE:
        return 1;
    default:
        break;
    }
    if (card->address >= REG_DMA && card->address < REG_DMA_END)
        return DMA_NONE;
    return card->address >= REG_IO_BASE ? read_io_base(card->address - REG_IO_BASE) : 0;
}

static uint32_t read_data(void *device, uint16_t port, unsigned size) {
    struct isa_pnp *card = device;
    if (size > 1)
        return port_read_bytes(read_data, device, port, size);
    if (port != card->read_port || card->deaf)
        return PORT_FLOATING;
    if (card->state == ISOLATION && card->address == REG_ISOLATION)
        return isolate(card);
    return card->state == CONFIG ? read_config(card) : PORT_FLOATING;
}

static uint32_t read_nothing(void *device, uint16_t port, unsigned size) {
    (void)device, (void)port, (void)size;
    return UINT32_MAX;
}

static void write_nothing(void *device, uint16_t port, uint32_t value, unsigned size) {
    (void)device, (void)port, (void)value, (void)size;
}

struct isa_pnp *isa_pnp_create(struct arena *arena, struct bus *bus) {
    struct isa_pnp *card = ARENA_NEW(arena, struct isa_pnp);
    *card = (struct isa_pnp){.bus = bus,
                             .state = WAIT_FOR_KEY,
                             .lfsr = LFSR_START,
                             .read_port = READ_PORT_FIRST,
                             .deaf = true};
    bus_claim(bus, "ISA PnP address", ADDRESS_PORT, 1, read_nothing, write_address, card);
    bus_claim(bus, "ISA PnP write data", WRITE_PORT, 1, read_nothing, write_data, card);
    bus_claim(bus, "ISA PnP read data", READ_PORT_FIRST, 1, read_data, write_nothing, card);
    return card;
}
