/* Jump caches: where indirect transfers and cross-page exits find their fragments.
 *
 * One table a code space and window (a linear address means nothing without its address space). A slot,
 * chosen by a hash of the target, holds the landing pad of one fragment, which checks the whole
 * address; empty slots hold STUB_MISS. Targets that share their slot with others are found among the
 * victims, by the table's name and the target: a table that is emptied gets a new name, and nothing is
 * found by the old one. A table remembers which of its slots were written, so that emptying
 * one costs what it was used. The shadow's entry diff keeps them true: when a page with translated
 * code is dropped from a window, its fragments' pads go from that window's tables. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/arena.h"
#include "runtime/engine_private.h"

#define TOUCHED_MAX 4096u
#define FIXED_PROBES 8u
#define CONTENDED_MOST (JUMP_CACHE_SLOTS / 32)
#define DROPPED_PAGES 8u /* of an address space that is going, it seems: its table is cleared */

/* At a table's end. */
struct table_use {
    uint32_t touched[TOUCHED_MAX]; /* slots that are not misses, fixed ones too */
    uint32_t count;                /* beyond TOUCHED_MAX: too many to name */
    bool filled;
};
#define USE_OFFSET (JUMP_CACHE_FIXED_OFFSET + JUMP_CACHE_FIXED * sizeof(uint64_t))
#define TABLE_BYTES ((USE_OFFSET + sizeof(struct table_use) + PAGE_MASK) & ~(uint64_t)PAGE_MASK)
#define NAME_TABLE(name) ((name) >> 32 & (JUMP_CACHES - 1)) /* the table that has or had a name */

int jump_caches_init(struct vcpu *v) {
    struct engine *e = v->engine;
    uint8_t *pool = arena_reserve(NULL, JUMP_CACHES * TABLE_BYTES);
    if (!pool)
        return -ENOMEM;
    e->jump_tables = pool;
    v->cpu.victims = (uint64_t)(uintptr_t)e->victims;
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        e->jump_caches[i].slots = (uint64_t *)(void *)(pool + i * TABLE_BYTES);
    return 0;
}

static uint64_t *fixed_slots(uint64_t *slots) { return slots + JUMP_CACHE_FIXED_OFFSET / 8; }

static void fill_slots(uint64_t *at, uint64_t count) {
    uint64_t miss = (uint64_t)(uintptr_t)stub_miss;
    if (count == 1) {
        *at = miss;
        return;
    }
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(count) : "a"(miss) : "memory");
}

static struct table_use *use_of(uint64_t *slots) {
    return (struct table_use *)(void *)(slots + USE_OFFSET / 8);
}

static void put(uint64_t *slots, uint64_t *slot, uint64_t to) {
    struct table_use *use = use_of(slots);
    if (*slot == (uint64_t)(uintptr_t)stub_miss) {
        if (use->count < TOUCHED_MAX)
            use->touched[use->count] = (uint32_t)(slot - slots);
        use->count += use->count <= TOUCHED_MAX;
    }
    *slot = to;
}

static unsigned table_of(const struct engine *e, const uint64_t *slots) {
    return (unsigned)((uint64_t)((const uint8_t *)slots - e->jump_tables) / TABLE_BYTES);
}

static uint64_t *name_of(uint64_t *slots) { return slots + JUMP_CACHE_NAME_OFFSET / 8; }

/* Names are in the upper half of a key. They come round after millions of tables were emptied: then every
 * victim goes. */
static void rename_table(struct engine *e, uint64_t *slots) {
    uint64_t table = table_of(e, slots);
    e->jump_generation = (e->jump_generation + 1) % (UINT32_MAX / JUMP_CACHES);
    if (e->jump_generation == 0)
        memset(e->victims, 0, sizeof e->victims);
    *name_of(slots) = ((uint64_t)e->jump_generation * JUMP_CACHES | table) << 32;
}

static uint64_t victim_key(uint64_t *slots, uint32_t target) { return *name_of(slots) | target; }

/* The first of the places where a victim may stand; as in stub_miss. */
static struct jump_victim *victim_places(struct engine *e, uint64_t key) {
    uint64_t crc = 0;
    __asm__("crc32q %1, %0" : "+r"(crc) : "rm"(key));
    return &e->victims[crc % VICTIMS];
}

static bool is_old(const struct engine *e, const struct jump_victim *victim) {
    uint64_t name = -victim->minus_key & ~(uint64_t)UINT32_MAX;
    const uint8_t *table = e->jump_tables + NAME_TABLE(name) * TABLE_BYTES;
    return *(const uint64_t *)(const void *)(table + JUMP_CACHE_NAME_OFFSET) != name;
}

/* Where it stands already, else a free place, else one that is taken from another. */
static void victim_set(struct engine *e, uint64_t key, uint64_t pad) {
    struct jump_victim *at = victim_places(e, key), *to = NULL;
    for (unsigned i = 0; i < VICTIM_WAYS; i++) {
        if (at[i].minus_key == -key) {
            to = &at[i];
            break;
        }
        if (!to && (!at[i].minus_key || is_old(e, &at[i])))
            to = &at[i];
    }
    if (!to)
        to = &at[e->use_clock++ % VICTIM_WAYS];
    *to = (struct jump_victim){.minus_key = -key, .pad = pad};
}

static void victim_forget(struct engine *e, uint64_t key) {
    struct jump_victim *at = victim_places(e, key);
    for (unsigned i = 0; i < VICTIM_WAYS; i++)
        if (at[i].minus_key == -key)
            at[i] = (struct jump_victim){0};
}

static void set_empty(struct engine *e, struct jump_cache *jc, bool empty) {
    if (jc->empty == empty)
        return;
    jc->empty = empty;
    e->window_tables[jc->window] = (uint16_t)(e->window_tables[jc->window] + (empty ? -1 : 1));
}

static void clear(struct engine *e, struct jump_cache *jc) {
    struct table_use *use = use_of(jc->slots);
    if (use->filled && use->count <= TOUCHED_MAX) {
        for (uint32_t i = 0; i < use->count; i++)
            fill_slots(jc->slots + use->touched[i], 1);
    } else {
        fill_slots(jc->slots, JUMP_CACHE_SLOTS);
        fill_slots(fixed_slots(jc->slots), JUMP_CACHE_FIXED);
    }
    rename_table(e, jc->slots);
    use->count = 0;
    use->filled = true;
    set_empty(e, jc, true);
}

/* Most targets have none, and the index is large. */
static bool may_be_fixed(const struct engine *e, uint32_t target) {
    uint32_t at = jump_cache_hash(target) % FIXED_INDEX;
    return e->fixed_filter[at / 64] >> at % 64 & 1;
}

static void note_fixed(struct engine *e, uint32_t target) {
    uint32_t at = jump_cache_hash(target) % FIXED_INDEX;
    e->fixed_filter[at / 64] |= 1ull << at % 64;
}

/* Where `target` stands in the index of fixed slots, or the free place for it; NULL: crowded. */
static struct fixed_entry *fixed_place(struct engine *e, uint32_t target) {
    uint32_t at = jump_cache_hash(target);
    for (unsigned i = 0; i < FIXED_PROBES; i++) {
        struct fixed_entry *entry = &e->fixed[(at + i) % FIXED_INDEX];
        if (!entry->used || entry->target == target)
            return entry;
    }
    return NULL;
}

uint32_t jump_cache_fixed_slot(struct engine *e, uint32_t target) {
    struct fixed_entry *entry = fixed_place(e, target);
    if (!entry || (!entry->used && e->fixed_count >= JUMP_CACHE_FIXED))
        return NO_FIXED_SLOT;
    if (!entry->used) {
        *entry = (struct fixed_entry){.target = target, .slot = (uint16_t)e->fixed_count++,
                                      .used = true};
        note_fixed(e, target);
        for (unsigned i = 0; i < e->jump_cache_count; i++)
            fill_slots(fixed_slots(e->jump_caches[i].slots) + entry->slot, 1);
    }
    return entry->slot;
}

struct fragment *jump_cache_fixed_target(struct vcpu *v, uint32_t target) {
    struct engine *e = v->engine;
    const struct fixed_entry *entry = fixed_place(e, target);
    if (!entry || !entry->used)
        return NULL;
    uint64_t to = fixed_slots((uint64_t *)(uintptr_t)v->cpu.jump_cache)[entry->slot];
    struct fragment *f = fragment_at(e, (uintptr_t)to);
    return f && to == (uint64_t)(uintptr_t)(e->cache_exec + f->code) ? f : NULL;
}

static bool is_table_of(const struct jump_cache *jc, unsigned window, const struct code_space *space) {
    return jc->used && jc->window == window && code_space_equal(&jc->space, space);
}

/* Else one never used, else the one that was not used for longest, emptied. */
static struct jump_cache *table_for(struct engine *e, unsigned window, const struct code_space *space) {
    struct jump_cache *pick = NULL;
    for (unsigned i = 0; i < e->jump_cache_count; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (is_table_of(jc, window, space))
            return jc;
        if (!pick || jc->last_use < pick->last_use)
            pick = jc;
    }
    if (e->jump_cache_count < JUMP_CACHES) {
        pick = &e->jump_caches[e->jump_cache_count++];
        pick->empty = true;
    }
    clear(e, pick);
    *pick = (struct jump_cache){.slots = pick->slots, .space = *space, .window = (uint16_t)window,
                                .used = true, .empty = true};
    return pick;
}

uint64_t *jump_cache_get(struct vcpu *v, unsigned window, const struct code_space *space) {
    struct engine *e = v->engine;
    uint16_t *hint = &e->jump_cache_hints[(space->mode * 0x9e3779b1u >> 24 ^ window * 8) % JUMP_CACHE_HINTS];
    struct jump_cache *jc = &e->jump_caches[*hint];
    if (!is_table_of(jc, window, space))
        jc = table_for(e, window, space);
    jc->last_use = ++e->use_clock;
    e->jump_cache_at = (unsigned)(jc - e->jump_caches);
    *hint = (uint16_t)e->jump_cache_at;
    return jc->slots;
}

static struct jump_cache *cache_of(struct engine *e, const uint64_t *slots) {
    unsigned i = e->jump_cache_at;
    if (e->jump_caches[i].slots != slots)
        for (i = 0; e->jump_caches[i].slots != slots;)
            i++;
    return &e->jump_caches[i];
}

/* Processes that follow each other run the same programs; the kernel's table is there for good. Many such
 * slots are those of programs that went long ago. */
static void note_contended(struct engine *e, const uint64_t *slots, uint32_t target) {
    uint32_t slot = jump_cache_slot(target);
    uint64_t *word = &e->contended[slot / 64], bit = 1ull << slot % 64;
    if (cache_of(e, slots)->window == WINDOW_SUPERVISOR || *word & bit)
        return;
    if (e->contended_count == CONTENDED_MOST) {
        memset(e->contended, 0, sizeof e->contended);
        e->contended_count = 0;
    }
    *word |= bit;
    e->contended_count++;
}

static bool was_contended(struct engine *e, const uint64_t *slots, uint32_t target) {
    uint32_t slot = jump_cache_slot(target);
    bool noted = e->contended[slot / 64] & 1ull << slot % 64;
    return noted && cache_of(e, slots)->window != WINDOW_SUPERVISOR;
}

/* Enters a pad that this table has not had. A slot that another one has is contended at once, and so is one that was
 * in a table before: the trip over a pad would find that out, by a signal. True: the target stands among the victims. */
static bool enter_pad(struct engine *e, uint64_t *slots, uint32_t eip, uint64_t pad) {
    uint64_t *slot = &slots[jump_cache_slot(eip)];
    if (!was_contended(e, slots, eip) && (*slot == pad || *slot == (uint64_t)(uintptr_t)stub_miss)) {
        put(slots, slot, pad);
        return false;
    }
    put(slots, slot, (uint64_t)(uintptr_t)stub_contended);
    victim_set(e, victim_key(slots, eip), pad);
    return true;
}

static void enter_fixed(struct engine *e, uint64_t *slots, uint16_t fixed, uint32_t code) {
    if (fixed != PAD_UNFIXED)
        put(slots, fixed_slots(slots) + fixed, (uint64_t)(uintptr_t)(e->cache_exec + code));
}

static void note_table(struct fragment *f, uint16_t table) {
    f->table = f->table && f->table != table ? TABLE_MANY : table;
}

/* Only the current table: the fragment was found for the current mode and address space. */
void jump_cache_set(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    if (e->options.no_jump_cache)
        return;
    struct jump_cache *jc = cache_of(e, slots);
    set_empty(e, jc, false);
    jc->dropped = 0;
    note_table(f, (uint16_t)(table_of(e, slots) + 1));
    if (!f->listed || f->fixed == PAD_UNFIXED) {
        const struct fixed_entry *entry = may_be_fixed(e, f->eip) ? fixed_place(e, f->eip) : NULL;
        f->fixed = entry && entry->used ? entry->slot : PAD_UNFIXED;
    }
    uint64_t pad = fragment_pad(v, f);
    if (!f->listed)
        page_pads_add(e, f);
    enter_fixed(e, slots, f->fixed, f->code);
    if (!pad)
        return;
    f->victim |= enter_pad(e, slots, f->eip, pad);
    if (f->table == TABLE_MANY && !f->gpa2 && !f->victim)
        page_pads_share(e, f);
    TRACE(v->trace, jump_cache, fragment_linear(f), fragment_index(e, f));
}

static bool enter_place(struct engine *e, uint64_t *slots, const struct pad_place *place) {
    uint64_t *slot = &slots[jump_cache_slot(place->eip)];
    if (!place->pad || was_contended(e, slots, place->eip) || *slot != (uint64_t)(uintptr_t)stub_miss)
        return false;
    put(slots, slot, (uint64_t)(uintptr_t)(e->cache_exec + place->pad));
    enter_fixed(e, slots, place->fixed, place->code);
    return true;
}

uint32_t jump_cache_enter_page(struct vcpu *v, const struct pad_view *view, uint32_t eip) {
    struct engine *e = v->engine;
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    const struct pad_chunk *chunk;
    unsigned entered = 0;
    uint32_t code = 0;
    if (slots[jump_cache_slot(eip)] != (uint64_t)(uintptr_t)stub_miss)
        return 0;
    for (uint32_t at = page_pads_first(e, view); (chunk = page_pads_next(e, &at, view));)
        for (uint32_t i = 0; chunk->shared && i < chunk->count; i++)
            if (enter_place(e, slots, &chunk->places[i])) {
                entered++;
                if (chunk->places[i].eip == eip)
                    code = chunk->places[i].code;
            }
    if (entered) {
        struct jump_cache *jc = cache_of(e, slots);
        set_empty(e, jc, false);
        jc->dropped = 0;
    }
    return code;
}

/* A pad has been reached on the way to another target: its slot leads to the victims from now on, as
 * a trip costs more than the look-up. */
void jump_cache_contend(struct vcpu *v, uint32_t target) {
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    put(slots, slots + jump_cache_slot(target), (uint64_t)(uintptr_t)stub_contended);
    note_contended(v->engine, slots, target);
    v->counters->slots_contended++;
}

void jump_caches_forget_window(struct engine *e, unsigned window) {
    if (!e->window_tables[window])
        return;
    for (unsigned i = 0; i < e->jump_cache_count; i++)
        if (e->jump_caches[i].used && e->jump_caches[i].window == window)
            clear(e, &e->jump_caches[i]);
}

/* Replaces what leads to a fragment by what leads to the dispatcher. */
static void forget_in(struct engine *e, uint64_t *slots, const struct fragment *f) {
    uint64_t pad = (uint64_t)(uintptr_t)(e->cache_exec + f->pad);
    uint64_t body = (uint64_t)(uintptr_t)(e->cache_exec + f->code);
    if (f->fixed != PAD_UNFIXED && fixed_slots(slots)[f->fixed] == body)
        fill_slots(fixed_slots(slots) + f->fixed, 1);
    if (!f->pad)
        return;
    uint64_t *slot = &slots[jump_cache_slot(f->eip)];
    if (*slot == pad)
        fill_slots(slot, 1);
    if (f->victim)
        victim_forget(e, victim_key(slots, f->eip));
}

static uint64_t *table_at(const struct engine *e, uint16_t table) {
    return (uint64_t *)(void *)(e->jump_tables + (table - 1) * TABLE_BYTES);
}

void jump_caches_forget_soon(const struct engine *e, const struct fragment *f) {
    if (f->table && f->table != TABLE_MANY)
        prefetch(&table_at(e, f->table)[jump_cache_slot(f->eip)]);
}

void jump_caches_forget(struct engine *e, struct fragment *f) {
    if (!f->table)
        return;
    page_pads_remove(e, f);
    if (f->table != TABLE_MANY) {
        forget_in(e, table_at(e, f->table), f);
        return;
    }
    for (unsigned i = 0; i < e->jump_cache_count; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (jc->used && !jc->empty && code_space_equal(&jc->space, &f->space))
            forget_in(e, jc->slots, f);
    }
}

unsigned jump_caches_places(const struct engine *e, const struct fragment *f) {
    return f->table == TABLE_MANY ? e->jump_cache_count : f->table != 0;
}

/* A place that is found by hashes costs as much as some dozens in order. */
bool jump_caches_scan_is_less(const struct engine *e, uint64_t places) {
    uint64_t in_order = VICTIMS;
    for (unsigned i = 0; i < e->jump_cache_count; i++) {
        const struct jump_cache *jc = &e->jump_caches[i];
        uint32_t touched = jc->used && !jc->empty ? use_of(jc->slots)->count : 0;
        in_order += touched <= TOUCHED_MAX ? touched : JUMP_CACHE_SLOTS + JUMP_CACHE_FIXED;
    }
    return in_order / 32 < places;
}

static bool leads_to(uint64_t slot, uintptr_t code, uint32_t len) { return slot - code < len; }

static void forget_run(uint64_t *slots, uint32_t count, uintptr_t code, uint32_t len) {
    for (uint32_t i = 0; i < count; i++)
        if (leads_to(slots[i], code, len))
            fill_slots(slots + i, 1);
}

/* In the table; and what stays is its list of touched slots. */
static void forget_code_in(uint64_t *slots, uintptr_t code, uint32_t len) {
    struct table_use *use = use_of(slots);
    if (use->count > TOUCHED_MAX) {
        forget_run(slots, JUMP_CACHE_SLOTS, code, len);
        forget_run(fixed_slots(slots), JUMP_CACHE_FIXED, code, len);
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < use->count; i++) {
        uint64_t *slot = slots + use->touched[i];
        if (leads_to(*slot, code, len))
            fill_slots(slot, 1);
        if (*slot != (uint64_t)(uintptr_t)stub_miss)
            use->touched[kept++] = use->touched[i];
    }
    use->count = kept;
}

void jump_caches_forget_code(struct engine *e, uintptr_t code, uint32_t len) {
    for (unsigned i = 0; i < e->jump_cache_count; i++)
        if (e->jump_caches[i].used && !e->jump_caches[i].empty)
            forget_code_in(e->jump_caches[i].slots, code, len);
    for (unsigned i = 0; i < VICTIMS + VICTIM_WAYS; i++)
        if (leads_to(e->victims[i].pad, code, len))
            e->victims[i] = (struct jump_victim){0};
}

static void forget_page(struct engine *e, struct jump_cache *jc, uint32_t page, gva_t gva) {
    gva_t linear = gva >> PAGE_SHIFT;
    const struct pad_view view = {page, linear, jc->space};
    const struct pad_chunk *chunk;
    for (uint32_t at = page_pads_first(e, &view); (chunk = page_pads_next(e, &at, &view));)
        for (uint32_t i = 0; i < chunk->count; i++)
            forget_in(e, jc->slots, &e->fragments[chunk->fragments[i]]);
    for (uint32_t i = e->page2_fragments[page]; i; i = e->fragments[i].page2_next) {
        const struct fragment *f = &e->fragments[i];
        if ((fragment_linear(f) >> PAGE_SHIFT) + 1 == linear && code_space_equal(&jc->space, &f->space))
            forget_in(e, jc->slots, f);
    }
}

void jump_caches_unmapped(struct engine *e, unsigned window, uint32_t page, gva_t gva) {
    if (!e->window_tables[window])
        return;
    for (unsigned i = 0; i < e->jump_cache_count; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (!jc->used || jc->window != window || jc->empty)
            continue;
        if (window != WINDOW_SUPERVISOR && ++jc->dropped > DROPPED_PAGES)
            clear(e, jc);
        else
            forget_page(e, jc, page, gva);
    }
}

void jump_caches_reset(struct engine *e) {
    memset(e->fixed, 0, sizeof e->fixed);
    memset(e->fixed_filter, 0, sizeof e->fixed_filter);
    e->fixed_count = 0;
    page_pads_reset(e);
    for (unsigned i = 0; i < e->jump_cache_count; i++)
        if (e->jump_caches[i].used)
            clear(e, &e->jump_caches[i]);
}
