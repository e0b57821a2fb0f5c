/* Symbols of a Linux kernel's own tables (its scripts/kallsyms.c and kernel/kallsyms.c).
 *
 * Nothing points at the tables; they are found by what they must look like, from the surest on:
 *
 *   token_table   256 strings; those of the digits are the digits themselves
 *   token_index   256 offsets into it, right behind
 *   markers       before it: where each 256th name starts, rising from 0
 *   names         before that: length, then tokens; num_syms stands in front of them
 *   addresses     offsets from a base, or whole addresses: before num_syms (to 6.3), or
 *                 behind token_index (from 6.4 on)
 *
 * A name's first character is the symbol's type. Each table is checked against the next. */
#include <assert.h>
#include <string.h>

#include "inspect/symbols_private.h"

#define TOKENS ((size_t)256)
#define NAMES_A_MARKER 256u
#define SYMBOLS_MIN 1000u
#define SYMBOLS_MAX (1u << 20)
#define BUDGET (4u << 20)
#define PADDING 64u /* what alignment may put between two tables */

struct tables {
    const uint8_t *bytes; /* the whole file, of `size` bytes */
    size_t size;
    size_t tokens, index; /* offsets in it */
    size_t index_end;
    size_t markers;
    uint32_t marker_count;
    size_t names, names_end;
    uint32_t count;
    size_t offsets; /* of the symbols */
    bool relative;
    uint32_t base;
    uint32_t budget; /* names that may still be tried: a hostile file must not take forever */
};

static uint32_t get32(const struct tables *t, size_t at) {
    uint32_t value;
    assert(at <= t->size && t->size - at >= 4);
    memcpy(&value, t->bytes + at, 4);
    return value;
}

static uint16_t get16(const struct tables *t, size_t at) {
    uint16_t value;
    assert(at <= t->size && t->size - at >= 2);
    memcpy(&value, t->bytes + at, 2);
    return value;
}

/* Does an index at `at` describe 256 strings at `tokens`? */
static bool index_fits(const struct tables *t, size_t tokens, size_t at) {
    if (at > t->size || t->size - at < 2 * TOKENS || get16(t, at) != 0)
        return false;
    for (unsigned i = 1; i < TOKENS; i++) {
        unsigned start = get16(t, at + (size_t)2 * i), before = get16(t, at + (size_t)2 * i - 2);
        if (start <= before || tokens + start >= at || t->bytes[tokens + start - 1] ||
            memchr(t->bytes + tokens + before, 0, start - before - 1))
            return false;
    }
    return true;
}

/* The table whose digits stand at `digits`: 48 strings back its first token begins, and the index
 * follows the 208 others. */
static bool tokens_at(struct tables *t, size_t digits) {
    size_t end = digits;
    for (unsigned i = '0'; i < TOKENS; i++) {
        const uint8_t *zero = memchr(t->bytes + end, 0, t->size - end);
        if (!zero)
            return false;
        end = (size_t)(zero - t->bytes) + 1;
    }
    for (size_t at = end; at < end + PADDING; at++) {
        if (at > t->size || t->size - at < 2 * TOKENS)
            return false;
        size_t back =
            get16(t, at + (size_t)2 * '0'); /* how far the digits are from the first token */
        if (back <= digits && index_fits(t, digits - back, at)) {
            t->tokens = digits - back;
            t->index = at;
            t->index_end = at + 2 * TOKENS;
            return true;
        }
    }
    return false;
}

static bool find_tokens(struct tables *t) {
    static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009"; /* and a zero */
    for (size_t at = 0; at < t->size;) {
        const uint8_t *hit = memmem(t->bytes + at, t->size - at, digits, sizeof digits);
        if (!hit)
            return false;
        at = (size_t)(hit - t->bytes);
        if (tokens_at(t, at))
            return true;
        at++;
    }
    return false;
}

/* Can two markers follow each other? A name takes 2 to 513 bytes with its length. */
static bool markers_follow(uint32_t marker, uint32_t next) {
    return next > marker && next - marker >= 2 * NAMES_A_MARKER &&
           next - marker <= NAMES_A_MARKER * 513;
}

/* The length of a name and of its length; false: beyond `end`. */
static bool name_length(const struct tables *t, size_t at, size_t end, size_t *len, size_t *start) {
    if (at >= end)
        return false;
    *len = t->bytes[at++];
    if (*len & 0x80) {
        if (at >= end)
            return false;
        *len = (*len & 0x7f) | (size_t)t->bytes[at++] << 7;
    }
    *start = at;
    return *len && *len <= end - at;
}

/* Do `count` names from `at` on agree with the markers and end in front of them? */
static bool names_fit(struct tables *t, size_t at, uint32_t count) {
    size_t start = at, len;
    for (uint32_t i = 0; i < count; i++) {
        if (i % NAMES_A_MARKER == 0 &&
            at - start != get32(t, t->markers + 4 * (size_t)(i / NAMES_A_MARKER)))
            return false;
        if (!t->budget || !name_length(t, at, t->markers, &len, &at))
            return false;
        t->budget--;
        at += len;
    }
    return t->markers - at < PADDING;
}

/* The names end where the markers begin, and are somewhat longer than the last marker says. */
static bool find_names(struct tables *t) {
    uint32_t last = get32(t, t->markers + 4 * (size_t)(t->marker_count - 1));
    size_t longest = (size_t)last + NAMES_A_MARKER * 513 + PADDING;
    if (t->markers < (size_t)last + 4)
        return false;
    size_t lowest = t->markers > longest + 4 ? t->markers - longest : 4;
    for (size_t at = (t->markers - last) & ~(size_t)3; at >= lowest; at -= 4) {
        for (size_t gap = 4; gap <= 8; gap += 4) { /* num_syms may be aligned to 8 */
            uint32_t count = at >= gap ? get32(t, at - gap) : 0;
            if (count < SYMBOLS_MIN || count > SYMBOLS_MAX ||
                (count + NAMES_A_MARKER - 1) / NAMES_A_MARKER != t->marker_count ||
                !names_fit(t, at, count))
                continue;
            t->count = count;
            t->names = at;
            t->names_end = t->markers;
            t->offsets = at - gap; /* for find_addresses: num_syms */
            return true;
        }
    }
    return false;
}

/* Markers lie before the tokens; in 6.2 and 6.3 three bytes a symbol are between. */
static bool find_markers(struct tables *t) {
    size_t furthest = (size_t)SYMBOLS_MAX * 3 + PADDING;
    size_t lowest = t->tokens > furthest ? t->tokens - furthest : 4;
    for (size_t end = t->tokens & ~(size_t)3; end >= lowest + 8; end -= 4) {
        if (markers_follow(get32(t, end - 4), get32(t, end)))
            continue; /* the run goes on: it was tried as a whole */
        size_t at = end - 4;
        while (at >= 4 && markers_follow(get32(t, at - 4), get32(t, at)))
            at -= 4;
        t->marker_count = (uint32_t)((end - at) / 4);
        t->markers = at;
        if (t->marker_count >= SYMBOLS_MIN / NAMES_A_MARKER && get32(t, at) == 0 && find_names(t))
            return true;
    }
    return false;
}

static bool is_rising(const struct tables *t, size_t at, uint32_t count) {
    if (at > t->size || (t->size - at) / 4 < count)
        return false;
    for (uint32_t i = 1; i < count; i++)
        if (get32(t, at + 4 * (size_t)i) < get32(t, at + 4 * (size_t)i - 4))
            return false;
    return true;
}

/* A kernel's base is where its first symbol is: the first offset is 0 and the base a page's start.
 */
static bool try_offsets(struct tables *t, size_t at, size_t base_at) {
    if (!is_rising(t, at, t->count) || get32(t, at) != 0 || base_at > t->size ||
        t->size - base_at < 4)
        return false;
    t->offsets = at;
    t->relative = true;
    t->base = get32(t, base_at);
    return t->base != 0 && t->base <= UINT32_MAX - get32(t, at + 4 * (size_t)(t->count - 1));
}

static bool find_addresses(struct tables *t) {
    size_t num_syms = t->offsets, room = 4 * (size_t)t->count;
    for (size_t pad = 0; pad <= 8; pad += 4) /* base, and padding on either side of it */
        for (size_t gap = 0; gap <= 4; gap += 4)
            if (num_syms >= pad + 4 + gap + room &&
                try_offsets(t, num_syms - pad - 4 - gap - room, num_syms - pad - 4))
                return true;
    for (size_t at = (t->index_end + 3) & ~(size_t)3; at < t->index_end + PADDING; at += 4)
        for (size_t gap = 0; gap <= 4; gap += 4)
            if (try_offsets(t, at, at + room + gap))
                return true;
    t->relative = false;
    for (size_t pad = 0; pad <= 8; pad += 4)
        if (num_syms >= pad + room && is_rising(t, num_syms - pad - room, t->count)) {
            t->offsets = num_syms - pad - room;
            return get32(t, t->offsets + room - 4) != 0;
        }
    return false;
}

/* Puts a name's tokens one after the other. Returns its length, 0 when it is too long. */
static size_t expand(const struct tables *t, const uint8_t *tokens, size_t count, char *name) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *token = t->bytes + t->tokens + get16(t, t->index + 2 * (size_t)tokens[i]);
        for (; token < t->bytes + t->index && *token; token++) {
            if (len == SYMBOL_NAME_MAX)
                return 0;
            name[len++] = (char)*token;
        }
    }
    return len;
}

static int add_all(struct symbols *symbols, const struct tables *t,
                   const struct kernel_image *image, struct error *error) {
    char name[SYMBOL_NAME_MAX];
    size_t at = t->names, len;
    assert(t->count >= SYMBOLS_MIN && t->names < t->names_end && t->names_end <= t->size);
    for (uint32_t i = 0; i < t->count; i++) {
        if (!name_length(t, at, t->names_end, &len, &at))
            return error_set(error, "%s: kallsyms: name %u is cut off", image->name, i);
        size_t expanded = expand(t, t->bytes + at, len, name);
        if (expanded < 2)
            return error_set(error, "%s: kallsyms: name %u is too long or empty", image->name, i);
        uint32_t offset = get32(t, t->offsets + 4 * (size_t)i);
        if (!symbols_add(symbols, t->relative ? t->base + offset : offset, name[0], name + 1,
                         expanded - 1))
            return symbols_no_room(image, error);
        at += len;
    }
    return 0;
}

int symbols_read_kallsyms(struct symbols *symbols, const struct kernel_image *image,
                          struct error *error) {
    assert(image->elf && symbols_count(symbols) == 0);
    struct tables tables = {.bytes = image->bytes, .size = image->size, .budget = BUDGET};
    if (!find_tokens(&tables) || !find_markers(&tables))
        return 0;
    if (!find_addresses(&tables))
        return error_set(error, "%s: kallsyms: %u names without addresses", image->name,
                         tables.count);
    return add_all(symbols, &tables, image, error);
}
