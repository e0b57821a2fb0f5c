/* Runs 16-bit code in real mode and comes back: through 16-bit protected segments on the way there,
 * with an interrupt table of its own whose every entry ends the run. Paging must be off.
 *
 * The way lies at BRIDGE below 1 MiB, in one segment with its register image and the stubs of all
 * 256 vectors. */
#ifndef RING3_TESTS_GUESTS_REAL_H
#define RING3_TESTS_GUESTS_REAL_H

#include "guest/lib/guest.h"

enum {
    REAL_CODE = 0x40000, /* for the tests: 64 KiB each */
    REAL_DATA = 0x50000,
    REAL_STACK = 0x60000,
    REAL_DONE = 0xf0, /* the vector that says that code has ended */
};

/* A register image; real_run() writes all but `unreal`. */
struct real {
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint16_t ds, es, ss, fs, gs;
    uint16_t ip, cs;
    uint16_t flags;  /* after: as INT pushed them */
    uint16_t vector; /* after: what ended the run */
    uint16_t unreal; /* DS keeps the limit of 4 GiB that protected mode gave it */
};

#define REAL_END "\nint $0xf0\n"
#define SNIPPET16(name, code) SNIPPET(name, ".code16\n" code "\n.code32\n")

void real_start(void);
/* Copies the code to REAL_CODE; the image that starts there, data and stack in their segments. */
struct real real_image(const uint8_t *code, uint32_t size);
#define REAL(name) real_image(name, SNIPPET_SIZE(name))
void real_run(struct real *r);
/* Points a real-mode vector at CS:IP, and back at its stub. */
void real_set_vector(unsigned vector, uint16_t cs, uint16_t ip);
void real_reset_vector(unsigned vector);
void check_real(const char *name, const struct real *r, uint32_t vector, uint32_t ip);

static inline volatile uint16_t *half_at(uint32_t address) { return (volatile uint16_t *)address; }

#endif
