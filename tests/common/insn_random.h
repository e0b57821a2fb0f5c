/* Random values and random instructions of a row of the instruction table: what the tests that
 * compare with the processor draw from. Pure: the same state gives the same bytes. */
#ifndef RING3_TESTS_INSN_RANDOM_H
#define RING3_TESTS_INSN_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "translator/insn_table.h"

struct random {
    uint64_t state; /* not zero */
};

static inline uint32_t random_word(struct random *r) { /* xorshift64* */
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)(r->state * 0x2545f4914f6cdd1dull >> 32);
}

static inline bool random_chance(struct random *r, unsigned percent) {
    return random_word(r) % 100 < percent;
}

static inline uint32_t random_value(struct random *r) {
    static const uint32_t edges[] = {0,          1,          2,         0x7f,   0x80,
                                     0xff,       0x7fff,     0x8000,    0xffff, 0x7fffffff,
                                     0x80000000, 0xffffffff, 0xfffffffe};
    switch (random_word(r) % 4) {
    case 0:
        return edges[random_word(r) % (sizeof edges / sizeof *edges)];
    case 1:
        return random_word(r) & 0xff;
    default:
        return random_word(r);
    }
}

static inline bool random_is_gather(const struct insn_row *row) {
    return row->vex && row->map == 2 && row->lo == 0x90;
}

/* Escape bytes or VEX prefix, opcode, ModRM and enough random bytes behind it; the legacy prefixes
 * are the caller's. Returns the end. A gather's index is register 7. */
static inline uint8_t *random_opcode(struct random *r, const struct insn_row *row, unsigned opcode,
                                     enum row_prefix prefix, unsigned ext, bool mod3, uint8_t *p) {
    static const uint8_t pp[] = {0, 0, 1, 2, 3};
    unsigned simd = row->vex ? (prefix == PFX_ANY ? random_word(r) & 3u : pp[prefix]) : 0;
    unsigned vvvv = random_chance(r, 40) ? 0x78u : (random_word(r) & 15u) << 3;
    unsigned tail = (random_word(r) & 1) << 2 | simd | vvvv;
    if (row->vex && row->map == 1 && random_chance(r, 50)) {
        *p++ = 0xc5, *p++ = (uint8_t)(0xc0 | (tail & 0x3f) | 0x40);
    } else if (row->vex) {
        *p++ = 0xc4, *p++ = (uint8_t)((random_chance(r, 20) ? 0xc0 : 0xe0) | row->map);
        *p++ = (uint8_t)((random_chance(r, 30) ? 0x80u : 0) | tail);
    } else if (row->map) {
        *p++ = 0x0f;
        if (row->map > 1)
            *p++ = row->map == 2 ? 0x38 : 0x3a;
    }
    *p++ = (uint8_t)opcode;
    unsigned reg = ext == ROW_ANY ? random_word(r) & 7u : ext;
    unsigned rm = random_chance(r, 30) ? 4 : random_word(r) & 7u;
    bool gather = random_is_gather(row);
    *p++ = (uint8_t)((mod3 ? 0xc0u : (random_word(r) % 3) << 6) | reg << 3 | (gather ? 4 : rm));
    for (unsigned i = 0; i < 10; i++) {
        unsigned byte = random_word(r) & 0xff;
        *p++ = (uint8_t)(gather ? (byte & ~0x38u) | 0x38u : byte);
    }
    return p;
}

#endif
