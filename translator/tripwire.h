/* Tripwires: comparing a register with a constant, where flags must survive and the answer is
 * nearly always "equal".
 *
 * The difference of the two is added to the address of the last word of a page behind which nothing
 * is mapped for 4 GiB: the load succeeds if the difference is zero and faults if it is anything
 * else. Two instructions, no branch, no flags. The page is the poll page, so a tripwire also trips
 * when attention is wanted. The signal handler reads the code to know what was compared. */
#ifndef RING3_TRANSLATOR_TRIPWIRE_H
#define RING3_TRANSLATOR_TRIPWIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "translator/emit.h"

/* Where the page lies: within reach of a 32-bit displacement, out of the way of everything. */
#define POLL_PAGE 0x20000000ul
/* The word's offset in the poll page; and how far behind the page nothing may be mapped. */
#define TRIPWIRE_OFFSET 4092u
#define TRIPWIRE_REACH (1ull << 32)

enum tripwire {
    TRIPWIRE_NONE,
    TRIPWIRE_LANDING, /* behind a call: where a return wants to go */
    TRIPWIRE_PAD,     /* a landing pad: where an indirect transfer wants to go */
    TRIPWIRE_GUESS,   /* what stands at an address that was guessed to hold known code */
};

/* Compares r11d (LANDING, PAD) or r9d (GUESS) with `expected`; the register is lost. */
void emit_tripwire(struct emit *e, enum tripwire kind, uint32_t expected, uint32_t poll_address);

/* Bytes of a tripwire, and where in them the load stands that may fault. */
#define TRIPWIRE_LEN 14u
#define TRIPWIRE_LOAD 7u

/* The tripwire whose load stands at `load` (TRIPWIRE_LOAD readable bytes before and behind it), or
 * TRIPWIRE_NONE. */
enum tripwire tripwire_at(const uint8_t *load, uint32_t *expected);

#endif
