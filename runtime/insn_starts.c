/* Which bytes of guest RAM are the first of an instruction that some fragment can be entered at.
 *
 * A bit for each byte of pages with code. A set bit may be out of date, a clear one never is: where nobody can be
 * found, neither the index nor a page's list is gone through. Most code is translated once, and then it
 * is just so. */
#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "runtime/engine_private.h"

#define PAGE_BITS_BYTES (PAGE_SIZE / 8u)

int insn_starts_init(struct vcpu *v) {
    v->engine->insn_starts = arena_reserve(NULL, ram_page_count(v->ram) * PAGE_BITS_BYTES);
    return v->engine->insn_starts ? 0 : -ENOMEM;
}

/* Those on its first page: a fragment of two pages has no others. Neighbours share a word. */
void insn_starts_note(struct engine *e, const struct fragment *f, const struct insn_map *map) {
    gpa_t last = f->gpa | PAGE_MASK, word = f->gpa / 64;
    uint64_t bits = 0;
    for (unsigned i = 0; i < f->map_count; i++) {
        gpa_t gpa = f->gpa + map[i].guest;
        if (map[i].esp || gpa > last)
            continue;
        if (gpa / 64 != word) {
            e->insn_starts[word] |= bits;
            word = gpa / 64;
            bits = 0;
        }
        bits |= 1ull << gpa % 64;
    }
    e->insn_starts[word] |= bits;
}

void insn_starts_add(struct engine *e, gpa_t gpa, const struct translation *t) {
    unsigned at = gpa % 64;
    uint64_t *words = &e->insn_starts[gpa / 64];
    for (unsigned i = 0; i * 64 < t->guest_len; i++) {
        words[i] |= t->starts[i] << at;
        if (t->starts[i] >> (63 - at) >> 1)
            words[i + 1] |= t->starts[i] >> (63 - at) >> 1;
    }
}

void insn_starts_forget_page(struct engine *e, gpa_t gpa) {
    memset(e->insn_starts + (gpa & ~(gpa_t)PAGE_MASK) / 64, 0, PAGE_BITS_BYTES);
}

void insn_starts_forget_range(struct engine *e, gpa_t gpa, uint32_t len) {
    while (len) {
        unsigned at = gpa % 64, count = 64 - at < len ? 64 - at : len;
        e->insn_starts[gpa / 64] &= ~(~0ull >> (64 - count) << at);
        gpa += count;
        len -= count;
    }
}
