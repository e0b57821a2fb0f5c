/* The two instructions of a tripwire, written and read back (tripwire.h). */
#include "translator/tripwire.h"

#include <assert.h>
#include <string.h>

#include "memory/walk.h"

/* lea reg, [reg + disp32]; mov reg, [reg + disp32], always with a 32-bit displacement. The register
 * that is loaded tells a pad from a landing. */
static const struct form {
    uint8_t lea[3], load[3];
} forms[] = {
    [TRIPWIRE_LANDING] = {{0x45, 0x8d, 0x9b}, {0x45, 0x8b, 0x9b}}, /* r11d; r11d */
    [TRIPWIRE_PAD] = {{0x45, 0x8d, 0x9b}, {0x45, 0x8b, 0x93}},     /* r11d; r10d */
    [TRIPWIRE_GUESS] = {{0x45, 0x8d, 0x89}, {0x45, 0x8b, 0x89}},   /* r9d; r9d */
};

void emit_tripwire(struct emit *e, enum tripwire kind, uint32_t expected, uint32_t poll_address) {
    assert(kind != TRIPWIRE_NONE && poll_address && poll_address <= INT32_MAX - PAGE_MASK);
    emit_bytes(e, forms[kind].lea, sizeof forms[kind].lea);
    emit32(e, -expected);
    emit_bytes(e, forms[kind].load, sizeof forms[kind].load);
    emit32(e, poll_address + TRIPWIRE_OFFSET);
}

enum tripwire tripwire_at(const uint8_t *load, uint32_t *expected) {
    const uint8_t *lea = load - TRIPWIRE_LOAD;
    for (unsigned kind = TRIPWIRE_LANDING; kind <= TRIPWIRE_GUESS; kind++) {
        if (memcmp(lea, forms[kind].lea, sizeof forms[kind].lea) ||
            memcmp(load, forms[kind].load, sizeof forms[kind].load))
            continue;
        memcpy(expected, lea + sizeof forms[kind].lea, sizeof *expected);
        *expected = -*expected;
        return (enum tripwire)kind;
    }
    return TRIPWIRE_NONE;
}
