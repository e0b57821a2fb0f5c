/* Where the guests try things: a space with code, data on both sides of a hole, and a stack. */
#ifndef RING3_TESTS_GUESTS_STAGE_H
#define RING3_TESTS_GUESTS_STAGE_H

#include "guest/lib/guest.h"

enum {
    CODE = 0x40000000, /* two pages */
    CODE2 = CODE + PAGE_SIZE,
    DATA = 0x40010000, /* one page, then the hole (not present), then one page */
    HOLE = DATA + PAGE_SIZE,
    AFTER = HOLE + PAGE_SIZE,
    STACK = 0x40020000, /* one page; nothing below it */
    STACK_TOP = STACK + PAGE_SIZE,
    PROBE = 0x40400000, /* free for the test */
};

extern struct space stage;

/* Makes the space (PAE with the option "pae"), enters it, and sets up the 8259s, all masked. */
void stage_start(void);
/* Copies the code to `linear`; an image that starts there. EBX is DATA. */
struct machine stage_at(unsigned ring, uint32_t linear, const uint8_t *code, uint32_t size);
#define STAGE(ring, name) stage_at(ring, CODE, name, SNIPPET_SIZE(name))
/* The same, started at once. */
struct machine stage_run(unsigned ring, const uint8_t *code, uint32_t size);
#define STAGE_RUN(ring, name) stage_run(ring, name, SNIPPET_SIZE(name))
/* Changes an entry and drops its translation. */
void stage_map(uint32_t linear, uint32_t physical, uint32_t flags);

static inline volatile uint32_t *word_at(uint32_t address) { return (volatile uint32_t *)address; }
static inline volatile uint8_t *byte_at(uint32_t address) { return (volatile uint8_t *)address; }
static inline const char *ring_name(unsigned ring) { return ring ? "ring3" : "ring0"; }

#endif
