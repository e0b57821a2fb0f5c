/* Which bytes of guest memory translated code hangs on: a bit for each, by place.
 *
 * A write that meets none of them changes no fragment; assembly looks first (stub_reach), and C where one is
 * met. A fragment hangs on its instructions' bytes, but not on immediates that it reads from the guest's
 * code as it runs (MAP_LIVE). Fragments that go for other reasons leave their bits behind: those cost a
 * look, and the look takes them away. */
#include <string.h>

#include "runtime/engine_private.h"

#define PATCHED_COUNT 2u

/* Bytes that a fragment hangs on, as offsets from its first one. */
struct piece {
    uint32_t from, to;
};

static unsigned live_bytes(const struct insn_map *insn) {
    return insn->undo & MAP_LIVE ? 1u << (((insn->undo & MAP_LIVE) >> MAP_LIVE_SHIFT) - 1) : 0;
}

/* The next piece from instruction *insn on; false: there is none. */
static bool next_piece(const struct engine *e, const struct fragment *f, uint32_t *insn, struct piece *piece) {
    const struct insn_map *map = &e->maps[f->map];
    if (*insn >= f->map_count)
        return false;
    piece->from = *insn ? map[*insn].guest : 0;
    piece->to = f->guest_len + f->undecoded;
    if (!f->live) {
        *insn = f->map_count;
        return true;
    }
    for (uint32_t i = (*insn)++; i < f->map_count; i = (*insn)++) {
        unsigned live = live_bytes(&map[i]);
        uint32_t end = i + 1 < f->map_count ? map[i + 1].guest : f->guest_len;
        if (live) {
            piece->to = end - live;
            return true;
        }
    }
    return true;
}

static uint32_t on_first_page(const struct fragment *f) { return PAGE_SIZE - (uint32_t)(f->gpa & PAGE_MASK); }

bool fragment_covers(const struct engine *e, const struct fragment *f, gpa_t gpa, uint32_t len) {
    uint32_t first = on_first_page(f), insn = 0;
    gpa_t second = f->gpa2 & ~(gpa_t)PAGE_MASK;
    struct piece piece;
    while (next_piece(e, f, &insn, &piece)) {
        uint32_t to = piece.to < first ? piece.to : first;
        if (f->gpa + piece.from < gpa + len && gpa < f->gpa + to && piece.from < to)
            return true;
        if (f->gpa2 && piece.to > first && second < gpa + len && gpa < second + (piece.to - first))
            return true;
    }
    return false;
}

/* Sets or clears the bits of bytes of one page. */
static void set_bits(struct engine *e, gpa_t from, uint32_t len, bool on) {
    while (len) {
        uint64_t *word = &e->code_bits[from / 64];
        unsigned at = from % 64, count = 64 - at < len ? 64 - at : len;
        uint64_t mask = ~0ull >> (64 - count) << at;
        *word = on ? *word | mask : *word & ~mask;
        from += count;
        len -= count;
    }
}

static void mark(struct vcpu *v, gpa_t from, uint32_t len) {
    clean_range_cut(v, from, len);
    set_bits(v->engine, from, len, true);
}

void code_bytes_mark(struct vcpu *v, const struct fragment *f) {
    uint32_t first = on_first_page(f), insn = 0;
    struct piece piece;
    while (next_piece(v->engine, f, &insn, &piece)) {
        uint32_t to = piece.to < first ? piece.to : first;
        if (piece.from < to)
            mark(v, f->gpa + piece.from, to - piece.from);
        if (f->gpa2 && piece.to > first)
            mark(v, f->gpa2 & ~(gpa_t)PAGE_MASK, piece.to - first);
    }
}

void code_bytes_clear_range(struct engine *e, gpa_t gpa, uint32_t len) { set_bits(e, gpa, len, false); }

void code_bytes_clear(struct engine *e, const struct fragment *f) {
    uint32_t bytes = f->guest_len + f->undecoded, first = on_first_page(f);
    gpa_t second = f->gpa2 & ~(gpa_t)PAGE_MASK;
    set_bits(e, f->gpa, bytes < first ? bytes : first, false);
    if (f->gpa2 && bytes > first)
        set_bits(e, second, bytes - first, false);
}

void code_bytes_clear_page(struct engine *e, gpa_t gpa) {
    memset(&e->code_bits[(gpa & ~(gpa_t)PAGE_MASK) / 64], 0, PAGE_SIZE / 8);
}

void fragments_note_again(struct vcpu *v, gpa_t from, gpa_t to) {
    struct engine *e = v->engine;
    gpa_t end = (from | PAGE_MASK) + 1;
    uint32_t page = (uint32_t)(from >> PAGE_SHIFT), len = (uint32_t)((to < end ? to : end) - from);
    code_bytes_clear_range(e, from, len);
    insn_starts_forget_range(e, from, len);
    for (uint32_t i = e->page_fragments[page]; i; i = e->fragments[i].page_next) {
        const struct fragment *f = &e->fragments[i];
        if (f->gpa >= to || from >= f->gpa + f->guest_len + f->undecoded)
            continue;
        code_bytes_mark(v, f);
        insn_starts_note(e, f, &e->maps[f->map]);
    }
    for (uint32_t i = e->page2_fragments[page]; i; i = e->fragments[i].page2_next)
        code_bytes_mark(v, &e->fragments[i]);
}

bool fragments_on(const struct engine *e, gpa_t gpa, uint32_t len) {
    while (len) {
        unsigned at = gpa % 64, count = 64 - at < len ? 64 - at : len;
        if (e->code_bits[gpa / 64] >> at << (64 - count))
            return true;
        gpa += count;
        len -= count;
    }
    return false;
}

static struct patched *patched_of(struct engine *e, gpa_t gpa) {
    struct patched *patched = &e->patched[((uint32_t)gpa * 0x9e3779b1u) >> 16 & (PATCHED_SLOTS - 1)];
    if (patched->gpa != (uint32_t)gpa)
        *patched = (struct patched){.gpa = (uint32_t)gpa};
    return patched;
}

static void change_hint(struct vcpu *v, const struct fragment *f, uint32_t insn, uint8_t old, unsigned hint) {
    build_hint(v->engine, f->gpa + insn, (uint8_t)hint);
    TRACE(v->trace, hint, f->gpa + insn, fragment_linear(f) + insn, old, hint);
}

void code_bytes_patched(struct vcpu *v, const struct fragment *f, gpa_t gpa, uint32_t len) {
    struct engine *e = v->engine;
    const struct insn_map *map = &e->maps[f->map];
    uint32_t from = (uint32_t)(gpa - f->gpa), i = 0;
    if (gpa < f->gpa || from >= f->guest_len || f->gpa2)
        return;
    while (i + 1 < f->map_count && map[i + 1].guest <= from)
        i++;
    uint32_t start = map[i].guest, end = i + 1 < f->map_count ? map[i + 1].guest : f->guest_len;
    struct patched *patched = patched_of(e, f->gpa + start);
    uint8_t hint = build_get_hint(e, f->gpa + start);
    if (from > start && from + 4 >= end && from + len <= end) {
        if (++patched->count >= PATCHED_COUNT && !(hint & HINT_LIVE))
            change_hint(v, f, start, hint, hint | HINT_LIVE);
        return;
    }
    patched->count = 0;
    if (hint & HINT_LIVE)
        change_hint(v, f, start, hint, hint & ~HINT_LIVE);
}
