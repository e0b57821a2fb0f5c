/* The embedded guest of `ring3 demo`: a Multiboot ELF file, as bytes of the program. */
#ifndef RING3_GUEST_RING3_GUEST_H
#define RING3_GUEST_RING3_GUEST_H

extern const unsigned char ring3_demo_guest[], ring3_demo_guest_end[];

#endif
