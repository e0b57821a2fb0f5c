/* Hints: how the instruction at a place is to be translated (HINT_*).
 *
 * A table by place, which forgets where two share a slot: a hint costs or saves time, no more. Most code has none, and
 * bits in front of the table say so. */
#include "runtime/engine_private.h"

static uint32_t hint_slot(gpa_t gpa) {
    return (uint32_t)((uint32_t)gpa * 0x9e3779b1u) >> 18 & (HINT_SLOTS - 1);
}

/* Most code has no hints: a bit for each run of bytes tells, from a table that stays in the nearest cache. */
static uint32_t hinted_bit(gpa_t gpa) {
    return (uint32_t)(gpa / HINTED_BYTES * 0x9e3779b1u) % (HINTED_WORDS * 64u);
}

static uint32_t hint_page(gpa_t gpa) { return (uint32_t)(gpa >> PAGE_SHIFT) % (HINT_PAGE_WORDS * 64u); }

/* Most pages have none, and nobody need look for them. */
static bool page_has_hints(const struct engine *e, gpa_t gpa) {
    return e->hint_pages[hint_page(gpa) / 64] >> hint_page(gpa) % 64 & 1;
}

void build_hint(struct engine *e, gpa_t gpa, uint8_t hint) {
    uint32_t slot = hint_slot(gpa), bit = hinted_bit(gpa);
    e->hinted[bit / 64] |= 1ull << bit % 64;
    e->hints[slot].gpa = (uint32_t)gpa;
    e->hints[slot].hint = hint;
    e->hint_pages[hint_page(gpa) / 64] |= 1ull << hint_page(gpa) % 64;
}

uint8_t build_get_hint(const struct engine *e, gpa_t gpa) {
    uint32_t slot = hint_slot(gpa), bit = hinted_bit(gpa);
    if (!page_has_hints(e, gpa) || !(e->hinted[bit / 64] >> bit % 64 & 1))
        return 0;
    return e->hints[slot].gpa == (uint32_t)gpa ? e->hints[slot].hint : 0;
}

bool build_has_hints(const struct engine *e, gpa_t gpa, uint32_t len) {
    if (!page_has_hints(e, gpa))
        return false;
    for (gpa_t at = gpa & ~(gpa_t)(HINTED_BYTES - 1); at < gpa + len; at += HINTED_BYTES)
        if (e->hinted[hinted_bit(at) / 64] >> hinted_bit(at) % 64 & 1)
            return true;
    return false;
}
