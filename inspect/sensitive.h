/* The instructions that J. S. Robin and C. E. Irvine found in 2000 ("Analysis of the Intel
 * Pentium's Ability to Support a Secure Virtual Machine Monitor"): they depend on or change
 * privileged state and do not trap in ring 3. */
#ifndef RING3_INSPECT_SENSITIVE_H
#define RING3_INSPECT_SENSITIVE_H

#include <stdbool.h>
#include <stdint.h>

/* Which register holds what the piece found. */
enum sensitive_shows { SHOWS_EAX, SHOWS_ECX };

struct sensitive {
    const char *name;
    const char *hex; /* a piece of code around the instruction, position-independent */
    uint8_t at;      /* where in it the instruction begins */
    enum sensitive_shows shows;
    const char *what;     /* what the register holds in the end */
    const char *hardware; /* what the processor does in ring 3 */
    const char *breaks;   /* why trap-and-emulate fails */
    bool umip;            /* processors with UMIP trap it */
};

extern const struct sensitive sensitive_table[];
extern const unsigned sensitive_count;

#endif
