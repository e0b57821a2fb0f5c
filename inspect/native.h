/* Runs a few bytes of 32-bit code on this machine's own processor, in ring 3: in a child, in a
 * 32-bit code segment, until they end or the kernel sends a signal. What they do to the system they
 * do for real. */
#ifndef RING3_INSPECT_NATIVE_H
#define RING3_INSPECT_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum native_end {
    NATIVE_ENDED,      /* ran to its end */
    NATIVE_SIGNAL,     /* `signal` arrived: the processor or the kernel refused something */
    NATIVE_IMPOSSIBLE, /* this host runs no 32-bit code, or the child came to nothing */
};

struct native_result {
    enum native_end end;
    int signal;
    uint32_t offset; /* of the instruction that it arrived at */
    uint32_t eax, ecx, edx, eflags;
    uint32_t data[2]; /* what EBX points at */
};

/* At most 256 bytes, made by the program itself: never the user's. */
void native_run(const uint8_t *code, size_t size, struct native_result *result);

#endif
