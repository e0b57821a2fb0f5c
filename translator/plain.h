/* What the commonest instructions look like: shared by the plain decoder and the quick way (quick.c). */
#ifndef RING3_TRANSLATOR_PLAIN_H
#define RING3_TRANSLATOR_PLAIN_H

#include <stdint.h>

#define PLAIN_MODRM 0x01u
#define PLAIN_IMM8 0x02u
#define PLAIN_IMM16 0x04u
#define PLAIN_IMMZ 0x08u    /* 16 or 32 bits, by the operand size */
#define PLAIN_SIGNED 0x10u  /* the immediate is one number with its sign */
#define PLAIN_DWORD 0x20u   /* not with an operand size prefix */
#define PLAIN_MEMORY 0x40u  /* no register form */
#define PLAIN_MOFFS 0x80u
#define PLAIN_BARE 0x100u   /* nothing but its opcode */
#define PLAIN_TESTS 0x200u  /* the immediate is there with ModRM.reg below 2 only */
#define PLAIN_STRING 0x400u /* may be repeated */

#define PLAIN_LONGEST 16u /* more bytes than any plain instruction has */

/* The shape of an opcode of map 0 or 1, and the set of ModRM.reg it goes with; 0: it is not plain. */
unsigned plain_shape(unsigned map, unsigned opcode, unsigned *regs);

/* Before main, one after the other, behind the index of the instruction table's rows. */
void plain_index(void);
void quick_index(void);

#endif
