/* The memory that an instruction accesses, as data: for whoever wants to know before it is
 * executed.
 *
 * Left out is what the processor accesses on its own (descriptors, frames of interrupts and IRET),
 * and the elements of gathers. */
#ifndef RING3_TRANSLATOR_ACCESSES_H
#define RING3_TRANSLATOR_ACCESSES_H

#include <stdbool.h>
#include <stdint.h>

#include "translator/cpu.h"

#define ACCESSES_MAX 4u
#define NO_GPR 0xffu

#define ACCESS_READS 1u
#define ACCESS_WRITES 2u
#define ACCESS_REPEATS 4u  /* ECX or CX times, by EFLAGS.DF up or down */
#define ACCESS_STEPS 8u    /* a string's: the step matters */
#define ACCESS_ADDR16 16u  /* the sum has 16 bits */
#define ACCESS_COUNT16 32u /* CX counts */
#define ACCESS_BITS16 64u  /* a bit string of words, of doublewords: `extra` has the offset */
#define ACCESS_BITS32 128u
#define ACCESS_ADDS_AL 256u      /* XLAT */
#define ACCESS_COMPARES 512u     /* SCAS, CMPS: a repetition ends as well where ZF is not ... */
#define ACCESS_WHILE_EQUAL 1024u /* ... this */

struct access {
    uint8_t segment;
    uint8_t base, index, scale; /* NO_GPR where absent; scale is a factor */
    uint8_t extra;
    uint16_t flags, size;
    int32_t disp;
};

/* Of one instruction in `mode`. Returns how many. The decoder uses vector registers. */
unsigned insn_accesses(uint32_t mode, const uint8_t *bytes, uint32_t len,
                       struct access list[ACCESSES_MAX]);
/* May it go elsewhere, and come back or go on behind it as well? */
bool insn_branches(uint32_t mode, const uint8_t *bytes, uint32_t len);
/* The linear address of the first element, with the registers of `cpu`, and how many elements there
 * are. */
uint32_t access_address(const struct cpu *cpu, const struct access *access);
uint32_t access_count(const struct cpu *cpu, const struct access *access);

#endif
