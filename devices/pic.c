/* The 8259A pair: see pic.h. Section names are the data sheet's. */
#include "devices/pic.h"

#include <assert.h>

#include "devices/port_bytes.h"

#define MASTER_PORT 0x20
#define SLAVE_PORT 0xa0
#define ELCR_PORT 0x4d0
#define CASCADE_LINE 2
#define SPURIOUS_LINE 7
#define NONE (-1)

enum { ICW1 = 0x10, ICW1_SINGLE = 0x02, ICW1_NEEDS_ICW4 = 0x01 };
enum { ICW4_AUTO_EOI = 0x02, ICW4_FULLY_NESTED = 0x10 };
enum { OCW3 = 0x08, OCW3_READ_ISR = 0x01, OCW3_READ = 0x02, OCW3_POLL = 0x04 };
enum { OCW3_MASK_MODE = 0x20, OCW3_SET_MASK_MODE = 0x40 };
enum { OCW2_EOI = 1, OCW2_SPECIFIC = 2, OCW2_ROTATE = 4 };

/* What the data port expects: 0 is operation (OCW1), else the number of the ICW. */
enum icw_step { ICW_DONE = 0, ICW_2 = 2, ICW_3 = 3, ICW_4 = 4 };

struct chip {
    uint8_t lines; /* the inputs as they stand */
    uint8_t irr, isr, imr;
    uint8_t elcr, elcr_writable; /* a set bit: level-triggered */
    uint8_t vector_base;
    uint8_t lowest; /* the line of lowest priority; the next one has the highest */
    uint8_t icw_step;
    bool single, needs_icw4;
    bool auto_eoi, rotate_on_auto_eoi;
    bool special_mask;
    bool fully_nested; /* special fully nested mode: the slave may interrupt itself */
    bool read_isr, poll;
};

struct pic {
    struct chip chips[2]; /* master, slave */
    bool asserted;
    void (*intr)(void *opaque, bool asserted);
    void *opaque;
};

/* 0 is the highest priority. */
static unsigned rank_of(const struct chip *chip, unsigned line) {
    return (line - chip->lowest - 1u) & 7;
}

/* The line of highest priority in `set`, or NONE. */
static int highest(const struct chip *chip, uint8_t set) {
    for (unsigned i = 1; i <= 8; i++) {
        unsigned line = (chip->lowest + i) & 7;
        if (set >> line & 1)
            return (int)line;
    }
    return NONE;
}

/* The request that the chip's INT output stands for, or NONE ("Fully Nested Mode", "Special
 * Mask Mode", "Special Fully Nested Mode"). */
static int pending_line(const struct chip *chip, bool is_master) {
    if (chip->icw_step != ICW_DONE)
        return NONE;
    int request = highest(chip, chip->irr & (uint8_t)~chip->imr);
    if (request == NONE)
        return NONE;
    uint8_t blocking = chip->isr;
    if (chip->special_mask)
        blocking &= (uint8_t)~chip->imr;
    int service = highest(chip, blocking);
    if (service == NONE)
        return request;
    if (request == service && chip->fully_nested && is_master && request == CASCADE_LINE)
        return request;
    return rank_of(chip, (unsigned)request) < rank_of(chip, (unsigned)service) ? request : NONE;
}

/* An input changes. An edge is latched only while its line stays high: a request that is
 * withdrawn before INTA is gone, and gives the spurious vector ("Edge and Level Triggered
 * Modes"). */
static void chip_set_line(struct chip *chip, unsigned line, bool level) {
    uint8_t bit = (uint8_t)(1u << line);
    bool rises = level && !(chip->lines & bit);
    if (!level) {
        chip->lines &= (uint8_t)~bit;
        chip->irr &= (uint8_t)~bit;
        return;
    }
    chip->lines |= bit;
    if (rises || (chip->elcr & bit))
        chip->irr |= bit;
}

/* Brings the cascade line and INTR up to date after anything changed. */
static void update(struct pic *pic) {
    struct chip *master = &pic->chips[0];
    chip_set_line(master, CASCADE_LINE, pending_line(&pic->chips[1], false) != NONE);
    bool asserted = pending_line(master, true) != NONE;
    if (asserted == pic->asserted)
        return;
    pic->asserted = asserted;
    pic->intr(pic->opaque, asserted);
}

void pic_set_line(void *opaque, unsigned line, int level) {
    struct pic *pic = opaque;
    assert(line < 16 && line != CASCADE_LINE);
    chip_set_line(&pic->chips[line >> 3], line & 7, level != 0);
    update(pic);
}

struct irq_line pic_line(struct pic *pic, unsigned line) {
    assert(line < 16 && line != CASCADE_LINE);
    return (struct irq_line){.set = pic_set_line, .controller = pic, .line = line};
}

/* Moves the request of `line` into service. */
static void chip_accept(struct pic *pic, struct chip *chip, unsigned line) {
    assert(line < 8 && (chip->irr >> line & 1));
    uint8_t bit = (uint8_t)(1u << line);
    if (!(chip->elcr & bit))
        chip->irr &= (uint8_t)~bit;
    if (!chip->auto_eoi)
        chip->isr |= bit;
    else if (chip->rotate_on_auto_eoi)
        chip->lowest = (uint8_t)line;
    /* The slave's INT drops with its INTA; what is still pending makes a new edge. */
    if (chip == &pic->chips[1])
        chip_set_line(&pic->chips[0], CASCADE_LINE, false);
}

int pic_acknowledge(void *opaque) {
    struct pic *pic = opaque;
    struct chip *chip = &pic->chips[0];
    int line = pending_line(chip, true);
    if (line != NONE)
        chip_accept(pic, chip, (unsigned)line);
    if (line == CASCADE_LINE) {
        chip = &pic->chips[1];
        line = pending_line(chip, false);
        if (line != NONE)
            chip_accept(pic, chip, (unsigned)line);
    }
    update(pic);
    return chip->vector_base + (line != NONE ? line : SPURIOUS_LINE);
}

/* ICW1 clears the mask, the edge latches and all modes ("Initialization Command Word 1"). */
static void start_initialization(struct chip *chip, uint8_t value) {
    *chip = (struct chip){
        .lines = chip->lines,
        .irr = chip->lines & chip->elcr,
        .elcr = chip->elcr,
        .elcr_writable = chip->elcr_writable,
        .lowest = 7,
        .icw_step = ICW_2,
        .single = (value & ICW1_SINGLE) != 0,
        .needs_icw4 = (value & ICW1_NEEDS_ICW4) != 0,
    };
}

/* The line a non-specific EOI ends: a line that the special mask mode hides stays in service. */
static int line_to_end(const struct chip *chip) {
    uint8_t in_service = chip->isr;
    if (chip->special_mask)
        in_service &= (uint8_t)~chip->imr;
    return highest(chip, in_service);
}

static void write_ocw2(struct chip *chip, uint8_t value) {
    unsigned command = value >> 5;
    int line = value & 7;
    if (command == 0 || command == OCW2_ROTATE) {
        chip->rotate_on_auto_eoi = command == OCW2_ROTATE;
        return;
    }
    if (!(command & OCW2_SPECIFIC))
        line = line_to_end(chip);
    if (command == OCW2_SPECIFIC || line == NONE)
        return;
    if (command & OCW2_EOI)
        chip->isr &= (uint8_t) ~(1u << line);
    if (command & OCW2_ROTATE)
        chip->lowest = (uint8_t)line;
}

static void write_ocw3(struct chip *chip, uint8_t value) {
    if (value & OCW3_SET_MASK_MODE)
        chip->special_mask = (value & OCW3_MASK_MODE) != 0;
    if (value & OCW3_READ)
        chip->read_isr = (value & OCW3_READ_ISR) != 0;
    chip->poll = (value & OCW3_POLL) != 0;
}

static void write_command(struct chip *chip, uint8_t value) {
    if (value & ICW1)
        start_initialization(chip, value);
    else if (value & OCW3)
        write_ocw3(chip, value);
    else
        write_ocw2(chip, value);
}

static void write_data(struct chip *chip, uint8_t value) {
    uint8_t after_icw3 = chip->needs_icw4 ? ICW_4 : ICW_DONE;
    switch (chip->icw_step) {
    case ICW_DONE:
        chip->imr = value;
        break;
    case ICW_2:
        chip->vector_base = value & 0xf8;
        chip->icw_step = chip->single ? after_icw3 : ICW_3;
        break;
    case ICW_3: /* who is cascaded where is wiring in a PC */
        chip->icw_step = after_icw3;
        break;
    case ICW_4:
        chip->auto_eoi = (value & ICW4_AUTO_EOI) != 0;
        chip->fully_nested = (value & ICW4_FULLY_NESTED) != 0;
        chip->icw_step = ICW_DONE;
        break;
    default:
        assert(chip->icw_step <= ICW_4 && "no such step");
    }
}

static struct chip *chip_of_port(struct pic *pic, uint16_t port) {
    return (port & 0xfffe) == MASTER_PORT  ? &pic->chips[0]
           : (port & 0xfffe) == SLAVE_PORT ? &pic->chips[1]
                                           : 0;
}

static void pic_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct pic *pic = device;
    if (size > 1) {
        port_write_bytes(pic_write, device, port, value, size);
        return;
    }
    struct chip *chip = chip_of_port(pic, port);
    if (!chip)
        return;
    if (port & 1)
        write_data(chip, (uint8_t)value);
    else
        write_command(chip, (uint8_t)value);
    update(pic);
}

/* The read after a poll command is an INTA cycle without a vector ("Poll Command"). */
static uint8_t read_poll(struct pic *pic, struct chip *chip) {
    chip->poll = false;
    int line = pending_line(chip, chip == &pic->chips[0]);
    if (line == NONE)
        return 0;
    chip_accept(pic, chip, (unsigned)line);
    update(pic);
    return (uint8_t)(0x80 | line);
}

static uint32_t pic_read(void *device, uint16_t port, unsigned size) {
    struct pic *pic = device;
    if (size > 1)
        return port_read_bytes(pic_read, device, port, size);
    struct chip *chip = chip_of_port(pic, port);
    if (!chip)
        return PORT_FLOATING;
    if (chip->poll)
        return read_poll(pic, chip);
    if (port & 1)
        return chip->imr;
    return chip->read_isr ? chip->isr : chip->irr;
}

static uint32_t elcr_read(void *device, uint16_t port, unsigned size) {
    struct pic *pic = device;
    if (size > 1)
        return port_read_bytes(elcr_read, device, port, size);
    unsigned chip = port - ELCR_PORT;
    return chip < 2 ? pic->chips[chip].elcr : PORT_FLOATING;
}

static void elcr_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct pic *pic = device;
    if (size > 1) {
        port_write_bytes(elcr_write, device, port, value, size);
        return;
    }
    unsigned index = port - ELCR_PORT;
    if (index >= 2)
        return;
    struct chip *chip = &pic->chips[index];
    chip->elcr = (uint8_t)value & chip->elcr_writable;
    chip->irr |= chip->lines & chip->elcr;
    update(pic);
}

struct pic *pic_create(struct arena *arena, struct bus *bus,
                       void (*intr)(void *opaque, bool asserted), void *opaque) {
    assert(intr);
    struct pic *pic = ARENA_NEW(arena, struct pic);
    pic->intr = intr;
    pic->opaque = opaque;
    for (int i = 0; i < 2; i++) {
        pic->chips[i].imr = 0xff; /* quiet until initialized */
        pic->chips[i].lowest = 7;
    }
    /* Timer, keyboard, cascade, RTC and FPU are always edges. */
    pic->chips[0].elcr_writable = 0xf8;
    pic->chips[1].elcr_writable = 0xde;
    bus_claim(bus, "pic master", MASTER_PORT, 2, pic_read, pic_write, pic);
    bus_claim(bus, "pic slave", SLAVE_PORT, 2, pic_read, pic_write, pic);
    bus_claim(bus, "pic elcr", ELCR_PORT, 2, elcr_read, elcr_write, pic);
    return pic;
}
