/* A PS/2 keyboard's side of the wire: commands in, answers out.
 *
 * Nobody types on it; it answers what drivers ask when they probe. */
#ifndef RING3_DEVICES_KEYBOARD_H
#define RING3_DEVICES_KEYBOARD_H

#include <stdbool.h>
#include <stdint.h>

#define KEYBOARD_QUEUE 16

struct keyboard {
    uint8_t queue[KEYBOARD_QUEUE];
    unsigned first, count;
    uint8_t command; /* whose parameter comes next, or 0 */
    uint8_t scancode_set, leds, typematic;
    bool scanning;
    uint8_t last; /* the last byte sent, for RESEND */
};

void keyboard_init(struct keyboard *keyboard);
void keyboard_receive(struct keyboard *keyboard, uint8_t byte);
bool keyboard_has_byte(const struct keyboard *keyboard);
uint8_t keyboard_send(struct keyboard *keyboard);

#endif
