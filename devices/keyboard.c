/* A PS/2 keyboard: see keyboard.h. Commands after the IBM PS/2 keyboard reference. */
#include "devices/keyboard.h"

#include <assert.h>

enum {
    KBD_SET_LEDS = 0xed,
    KBD_ECHO = 0xee,
    KBD_SCANCODE_SET = 0xf0,
    KBD_IDENTIFY = 0xf2,
    KBD_TYPEMATIC = 0xf3,
    KBD_ENABLE = 0xf4,
    KBD_DISABLE = 0xf5,
    KBD_DEFAULTS = 0xf6,
    KBD_KEY_TYPES_FIRST = 0xf7,
    KBD_KEY_TYPES_LAST = 0xfd,
    KBD_RESEND = 0xfe,
    KBD_RESET = 0xff,
};
enum { ANSWER_ACK = 0xfa, ANSWER_RESEND = 0xfe, ANSWER_TEST_PASSED = 0xaa };
enum { DEFAULT_SET = 2, DEFAULT_TYPEMATIC = 0x2b };

static void set_defaults(struct keyboard *keyboard) {
    keyboard->scancode_set = DEFAULT_SET;
    keyboard->typematic = DEFAULT_TYPEMATIC;
    keyboard->leds = 0;
}

void keyboard_init(struct keyboard *keyboard) {
    *keyboard = (struct keyboard){.scanning = true};
    set_defaults(keyboard);
}

/* A keyboard whose queue is full drops what does not fit. */
static void answer(struct keyboard *keyboard, uint8_t byte) {
    if (keyboard->count < KEYBOARD_QUEUE)
        keyboard->queue[(keyboard->first + keyboard->count++) % KEYBOARD_QUEUE] = byte;
}

bool keyboard_has_byte(const struct keyboard *keyboard) { return keyboard->count != 0; }

uint8_t keyboard_send(struct keyboard *keyboard) {
    assert(keyboard->count != 0);
    keyboard->last = keyboard->queue[keyboard->first];
    keyboard->first = (keyboard->first + 1) % KEYBOARD_QUEUE;
    keyboard->count--;
    return keyboard->last;
}

static void take_parameter(struct keyboard *keyboard, uint8_t value) {
    uint8_t command = keyboard->command;
    assert(command == KBD_SET_LEDS || command == KBD_TYPEMATIC || command == KBD_SCANCODE_SET);
    keyboard->command = 0;
    answer(keyboard, ANSWER_ACK);
    if (command == KBD_SET_LEDS)
        keyboard->leds = value & 7;
    else if (command == KBD_TYPEMATIC)
        keyboard->typematic = value & 0x7f;
    else if (value == 0)
        answer(keyboard, keyboard->scancode_set);
    else if (value <= 3)
        keyboard->scancode_set = value;
}

static void identify(struct keyboard *keyboard) {
    answer(keyboard, ANSWER_ACK);
    answer(keyboard, 0xab);
    answer(keyboard, 0x83);
}

/* A command drops what was still to be sent. */
static void take_command(struct keyboard *keyboard, uint8_t command) {
    uint8_t last = keyboard->last;
    keyboard->count = 0;
    switch (command) {
    case KBD_SET_LEDS:
    case KBD_SCANCODE_SET:
    case KBD_TYPEMATIC:
        keyboard->command = command;
        answer(keyboard, ANSWER_ACK);
        break;
    case KBD_ECHO:
        answer(keyboard, KBD_ECHO);
        break;
    case KBD_IDENTIFY:
        identify(keyboard);
        break;
    case KBD_ENABLE:
        keyboard->scanning = true;
        answer(keyboard, ANSWER_ACK);
        break;
    case KBD_DISABLE:
    case KBD_DEFAULTS:
        set_defaults(keyboard);
        keyboard->scanning = command == KBD_DEFAULTS && keyboard->scanning;
        answer(keyboard, ANSWER_ACK);
        break;
    case KBD_RESEND:
        answer(keyboard, last);
        break;
    case KBD_RESET:
        keyboard_init(keyboard);
        answer(keyboard, ANSWER_ACK);
        answer(keyboard, ANSWER_TEST_PASSED);
        break;
    default:
        if (command >= KBD_KEY_TYPES_FIRST && command <= KBD_KEY_TYPES_LAST)
            answer(keyboard, ANSWER_ACK); /* set 3's key types: nobody types */
        else
            answer(keyboard, ANSWER_RESEND);
    }
}

void keyboard_receive(struct keyboard *keyboard, uint8_t byte) {
    /* A command where a parameter is due begins anew. */
    if (keyboard->command != 0 && byte < KBD_SET_LEDS) {
        take_parameter(keyboard, byte);
        return;
    }
    keyboard->command = 0;
    take_command(keyboard, byte);
}
