/* 8259 pair and 8254, programmed as every PC kernel does. */
#include "guest/lib/pc.h"

#include "guest/lib/cpu.h"

enum {
    MASTER_COMMAND = 0x20,
    MASTER_DATA = 0x21,
    SLAVE_COMMAND = 0xa0,
    SLAVE_DATA = 0xa1,
    PIT_CHANNEL0 = 0x40,
    PIT_COMMAND = 0x43,
    PIT_HERTZ = 1193182,
};

void pic_start(void) {
    outb(MASTER_COMMAND, 0x11); /* ICW1: edge, cascade, ICW4 follows */
    outb(SLAVE_COMMAND, 0x11);
    outb(MASTER_DATA, 0x20); /* ICW2: first vector */
    outb(SLAVE_DATA, 0x28);
    outb(MASTER_DATA, 0x04); /* ICW3: the slave is on line 2 */
    outb(SLAVE_DATA, 0x02);
    outb(MASTER_DATA, 0x01); /* ICW4: 8086 mode */
    outb(SLAVE_DATA, 0x01);
    outb(MASTER_DATA, 0xff);
    outb(SLAVE_DATA, 0xff);
}

static uint16_t mask_port(unsigned line) { return line < 8 ? MASTER_DATA : SLAVE_DATA; }

void pic_unmask(unsigned line) {
    outb(mask_port(line), (uint8_t)(inb(mask_port(line)) & ~(1u << (line & 7))));
}

void pic_mask(unsigned line) {
    outb(mask_port(line), (uint8_t)(inb(mask_port(line)) | 1u << (line & 7)));
}

void pic_end_of_interrupt(unsigned line) {
    if (line >= 8)
        outb(SLAVE_COMMAND, 0x20);
    outb(MASTER_COMMAND, 0x20);
}

void pit_start(unsigned hertz) {
    unsigned divisor = PIT_HERTZ / hertz;
    outb(PIT_COMMAND, 0x34); /* channel 0, low then high byte, mode 2 */
    outb(PIT_CHANNEL0, (uint8_t)divisor);
    outb(PIT_CHANNEL0, (uint8_t)(divisor >> 8));
}
