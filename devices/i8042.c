/* The 8042 keyboard controller: see i8042.h. */
#include "devices/i8042.h"

#include <assert.h>

#include "devices/keyboard.h"
#include "devices/port_bytes.h"

#define DATA_PORT 0x60
#define COMMAND_PORT 0x64
#define RAM_SIZE 32

enum {
    STATUS_OUTPUT_FULL = 0x01,
    STATUS_SYSTEM = 0x04,
    STATUS_COMMAND = 0x08,
    STATUS_UNLOCKED = 0x10,
    STATUS_MOUSE = 0x20,
    STATUS_TIMEOUT = 0x40,
};
/* The command byte, byte 0 of the controller's RAM. */
enum {
    MODE_KEYBOARD_IRQ = 0x01,
    MODE_MOUSE_IRQ = 0x02,
    MODE_SYSTEM = 0x04,
    MODE_KEYBOARD_OFF = 0x10,
    MODE_MOUSE_OFF = 0x20,
    MODE_TRANSLATE = 0x40,
};
enum {
    CMD_READ_RAM = 0x20,
    CMD_WRITE_RAM = 0x60,
    CMD_TEST_PASSWORD = 0xa4,
    CMD_MOUSE_OFF = 0xa7,
    CMD_MOUSE_ON = 0xa8,
    CMD_TEST_MOUSE = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_TEST_KEYBOARD = 0xab,
    CMD_KEYBOARD_OFF = 0xad,
    CMD_KEYBOARD_ON = 0xae,
    CMD_READ_INPUT = 0xc0,
    CMD_READ_OUTPUT = 0xd0,
    CMD_WRITE_OUTPUT = 0xd1,
    CMD_LOOP_KEYBOARD = 0xd2,
    CMD_LOOP_MOUSE = 0xd3,
    CMD_TO_MOUSE = 0xd4,
    CMD_READ_TEST = 0xe0,
    CMD_PULSE = 0xf0,
};
enum {
    PORT_NOT_RESET = 0x01,
    PORT_A20 = 0x02,
    PORT_IDLE = 0xcc,
    PORT_IRQ1 = 0x10,
    PORT_IRQ12 = 0x20
};
enum { NO_PASSWORD = 0xf1, SELF_TEST_PASSED = 0x55, LINE_TEST_PASSED = 0x00, INPUT_PORT = 0x80 };
enum { NO_ANSWER = 0xfe };

/* A byte for the guest, with the status bits it comes with. */
struct output {
    bool full;
    uint8_t byte, status;
};

struct i8042 {
    uint8_t ram[RAM_SIZE];
    uint8_t output_port;
    uint8_t command; /* whose parameter comes next at port 0x60, or 0 */
    bool command_last;
    struct output output; /* what port 0x60 reads */
    uint8_t last_byte;    /* an empty output buffer still shows it */
    struct output reply;  /* the controller's own next byte; goes before the keyboard's */
    struct keyboard keyboard;
    struct irq_line keyboard_irq, mouse_irq;
    struct pulse reset;
};

/* Fills the output buffer, if it is free, and sets the interrupt lines. */
static void update(struct i8042 *kbc) {
    uint8_t mode = kbc->ram[0];
    if (!kbc->output.full && kbc->reply.full) {
        kbc->output = kbc->reply;
        kbc->reply.full = false;
    } else if (!kbc->output.full && !(mode & MODE_KEYBOARD_OFF) &&
               keyboard_has_byte(&kbc->keyboard)) {
        kbc->output = (struct output){.full = true, .byte = keyboard_send(&kbc->keyboard)};
    }
    bool mouse = (kbc->output.status & STATUS_MOUSE) != 0;
    irq_set(&kbc->keyboard_irq, kbc->output.full && !mouse && (mode & MODE_KEYBOARD_IRQ));
    irq_set(&kbc->mouse_irq, kbc->output.full && mouse && (mode & MODE_MOUSE_IRQ));
}

static void reply(struct i8042 *kbc, uint8_t byte, uint8_t status) {
    kbc->reply = (struct output){.full = true, .byte = byte, .status = status};
}

static uint8_t read_output_port(const struct i8042 *kbc) {
    bool mouse = (kbc->output.status & STATUS_MOUSE) != 0;
    uint8_t full = kbc->output.full ? (mouse ? PORT_IRQ12 : PORT_IRQ1) : 0;
    return kbc->output_port | full;
}

/* A command with its parameter. */
static void take_parameter(struct i8042 *kbc, uint8_t command, uint8_t value) {
    switch (command) {
    case CMD_WRITE_OUTPUT:
        kbc->output_port = (value & (PORT_NOT_RESET | PORT_A20)) | PORT_IDLE;
        if (!(value & PORT_NOT_RESET))
            pulse_raise(&kbc->reset);
        break;
    case CMD_LOOP_KEYBOARD:
        reply(kbc, value, 0);
        break;
    case CMD_LOOP_MOUSE:
        reply(kbc, value, STATUS_MOUSE);
        break;
    case CMD_TO_MOUSE:
        reply(kbc, NO_ANSWER, STATUS_MOUSE | STATUS_TIMEOUT);
        break;
    default:
        kbc->ram[command & (RAM_SIZE - 1)] = value;
        break;
    }
}

static void set_mode(struct i8042 *kbc, uint8_t bits, bool on) {
    kbc->ram[0] = (uint8_t)(on ? kbc->ram[0] | bits : kbc->ram[0] & ~bits);
}

static void take_command(struct i8042 *kbc, uint8_t command) {
    kbc->command = 0;
    switch (command) {
    case CMD_TEST_PASSWORD:
        reply(kbc, NO_PASSWORD, 0);
        break;
    case CMD_MOUSE_OFF:
        set_mode(kbc, MODE_MOUSE_OFF, true);
        break;
    case CMD_MOUSE_ON:
        set_mode(kbc, MODE_MOUSE_OFF, false);
        break;
    case CMD_KEYBOARD_OFF:
        set_mode(kbc, MODE_KEYBOARD_OFF, true);
        break;
    case CMD_KEYBOARD_ON:
        set_mode(kbc, MODE_KEYBOARD_OFF, false);
        break;
    case CMD_TEST_MOUSE:
    case CMD_TEST_KEYBOARD:
        reply(kbc, LINE_TEST_PASSED, 0);
        break;
    case CMD_SELF_TEST:
        set_mode(kbc, MODE_SYSTEM, true);
        reply(kbc, SELF_TEST_PASSED, 0);
        break;
    case CMD_READ_INPUT:
        reply(kbc, INPUT_PORT, 0);
        break;
    case CMD_READ_OUTPUT:
        reply(kbc, read_output_port(kbc), 0);
        break;
    case CMD_READ_TEST:
        reply(kbc, 0, 0);
        break;
    case CMD_WRITE_OUTPUT:
    case CMD_LOOP_KEYBOARD:
    case CMD_LOOP_MOUSE:
    case CMD_TO_MOUSE:
        kbc->command = command;
        break;
    default:
        if (command >= CMD_READ_RAM && command < CMD_READ_RAM + RAM_SIZE)
            reply(kbc, kbc->ram[command & (RAM_SIZE - 1)], 0);
        else if (command >= CMD_WRITE_RAM && command < CMD_WRITE_RAM + RAM_SIZE)
            kbc->command = command;
        else if (command >= CMD_PULSE && !(command & PORT_NOT_RESET))
            pulse_raise(&kbc->reset); /* pulses the output bits that are 0 */
    }
}

static void write_data(struct i8042 *kbc, uint8_t value) {
    uint8_t command = kbc->command;
    kbc->command = 0;
    if (command != 0)
        take_parameter(kbc, command, value);
    else {
        /* Talking to the keyboard switches its clock on. */
        set_mode(kbc, MODE_KEYBOARD_OFF, false);
        keyboard_receive(&kbc->keyboard, value);
    }
}

static void i8042_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct i8042 *kbc = device;
    if (size > 1) {
        port_write_bytes(i8042_write, device, port, value, size);
        return;
    }
    if (port != DATA_PORT && port != COMMAND_PORT)
        return;
    kbc->command_last = port == COMMAND_PORT;
    if (port == COMMAND_PORT)
        take_command(kbc, (uint8_t)value);
    else
        write_data(kbc, (uint8_t)value);
    update(kbc);
}

static uint8_t read_data(struct i8042 *kbc) {
    if (!kbc->output.full)
        return kbc->last_byte;
    kbc->last_byte = kbc->output.byte;
    kbc->output = (struct output){0};
    /* The interrupt line drops before the next byte raises it: each byte is an edge. */
    irq_set(&kbc->keyboard_irq, 0);
    irq_set(&kbc->mouse_irq, 0);
    update(kbc);
    return kbc->last_byte;
}

static uint8_t read_status(const struct i8042 *kbc) {
    return (uint8_t)(STATUS_UNLOCKED | kbc->output.status |
                     (kbc->output.full ? STATUS_OUTPUT_FULL : 0) |
                     (kbc->ram[0] & MODE_SYSTEM ? STATUS_SYSTEM : 0) |
                     (kbc->command_last ? STATUS_COMMAND : 0));
}

static uint32_t i8042_read(void *device, uint16_t port, unsigned size) {
    if (size > 1)
        return port_read_bytes(i8042_read, device, port, size);
    if (port == DATA_PORT)
        return read_data(device);
    return port == COMMAND_PORT ? read_status(device) : PORT_FLOATING;
}

struct i8042 *i8042_create(struct arena *arena, struct bus *bus, struct irq_line keyboard_irq,
                           struct irq_line mouse_irq, struct pulse reset) {
    assert(reset.raise);
    struct i8042 *kbc = ARENA_NEW(arena, struct i8042);
    kbc->keyboard_irq = keyboard_irq;
    kbc->mouse_irq = mouse_irq;
    kbc->reset = reset;
    kbc->ram[0] = MODE_TRANSLATE | MODE_SYSTEM | MODE_KEYBOARD_IRQ; /* as firmware leaves it */
    kbc->output_port = PORT_IDLE | PORT_NOT_RESET | PORT_A20;
    keyboard_init(&kbc->keyboard);
    bus_claim(bus, "i8042 data", DATA_PORT, 1, i8042_read, i8042_write, kbc);
    bus_claim(bus, "i8042 command", COMMAND_PORT, 1, i8042_read, i8042_write, kbc);
    return kbc;
}
