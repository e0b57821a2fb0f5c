/* The PC around the CPU: the 8259 pair and channel 0 of the 8254. */
#ifndef RING3_GUEST_PC_H
#define RING3_GUEST_PC_H

#include <stdint.h>

/* Remaps the pair to vectors 0x20 to 0x2f with every line masked. */
void pic_start(void);
void pic_unmask(unsigned line);
void pic_mask(unsigned line);
void pic_end_of_interrupt(unsigned line);
/* Square wave on line 0. */
void pit_start(unsigned hertz);

#endif
