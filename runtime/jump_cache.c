/* Jump caches: where indirect transfers and cross-page exits find their fragments.
 *
 * One table a code space and window (a linear address means nothing without its address space). A slot,
 * chosen by a hash of the target, holds the landing pad of one fragment, which checks the whole
 * address; empty slots hold STUB_MISS. Targets that share their slot with others are found among the
 * victims, by the table's name and the target: a table that is emptied gets a new name, and nothing is
 * found by the old one. A table remembers which of its pages were written, so that emptying
 * one costs what it was used. The shadow's entry diff keeps them true: when a page with translated
 * code is dropped from a window, its fragments' pads go from that window's tables. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"

#define PAGE_SLOTS (PAGE_SIZE / sizeof(uint64_t))
#define SLOT_PAGES (JUMP_CACHE_SLOTS / PAGE_SLOTS)
#define FIXED_PROBES 8u

/* At a table's end. */
struct table_use {
    uint64_t written[(SLOT_PAGES + 63) / 64]; /* pages that are not all misses */
    bool filled;
    uint16_t window; /* it is of */
};
#define USE_OFFSET (JUMP_CACHE_FIXED_OFFSET + JUMP_CACHE_FIXED * sizeof(uint64_t))
#define TABLE_BYTES ((USE_OFFSET + sizeof(struct table_use) + PAGE_MASK) & ~(uint64_t)PAGE_MASK)
_Static_assert(JUMP_CACHES <= 64, "a bit of struct fragment for each table");
#define NAME_TABLE(name) ((unsigned)((name) >> 32) & (JUMP_CACHES - 1)) /* the table that has or had a name */

int jump_caches_init(struct vcpu *v) {
    struct engine *e = v->engine;
    uint8_t *pool = mmap(NULL, JUMP_CACHES * TABLE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED)
        return -errno;
    e->jump_tables = pool;
    v->cpu.victims = (uint64_t)(uintptr_t)e->victims;
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        e->jump_caches[i].slots = (uint64_t *)(void *)(pool + i * TABLE_BYTES);
    return 0;
}

static uint64_t *fixed_slots(uint64_t *slots) { return slots + JUMP_CACHE_FIXED_OFFSET / 8; }

static void fill_slots(uint64_t *at, uint64_t count) {
    uint64_t miss = (uint64_t)(uintptr_t)stub_miss;
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(count) : "a"(miss) : "memory");
}

static struct table_use *use_of(uint64_t *slots) {
    return (struct table_use *)(void *)(slots + USE_OFFSET / 8);
}

static void mark(uint64_t *slots, unsigned page) {
    use_of(slots)->written[page / 64] |= 1ull << page % 64;
}

static unsigned table_number(const struct engine *e, const uint64_t *slots) {
    return (unsigned)((uint64_t)((const uint8_t *)slots - e->jump_tables) / TABLE_BYTES);
}

static uint64_t *table_slots(const struct engine *e, unsigned number) {
    return (uint64_t *)(void *)(e->jump_tables + number * TABLE_BYTES);
}

static uint64_t *name_of(uint64_t *slots) { return slots + JUMP_CACHE_NAME_OFFSET / 8; }

/* Names are in the upper half of a key. They come round after 2^26 tables were emptied: then every
 * victim goes. */
static void rename_table(struct engine *e, uint64_t *slots) {
    uint64_t table = table_number(e, slots);
    e->jump_generation = (e->jump_generation + 1) % (1u << 26);
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
    return *name_of(table_slots(e, NAME_TABLE(name))) != name;
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

static void clear(struct engine *e, struct jump_cache *jc) {
    struct table_use *use = use_of(jc->slots);
    for (unsigned page = 0; page < SLOT_PAGES; page++)
        if (!use->filled || use->written[page / 64] >> page % 64 & 1)
            fill_slots(jc->slots + page * PAGE_SLOTS, PAGE_SLOTS);
    rename_table(e, jc->slots);
    fill_slots(fixed_slots(jc->slots), use->filled ? e->fixed_count : JUMP_CACHE_FIXED);
    *use = (struct table_use){.filled = true, .window = jc->window};
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
        for (unsigned i = 0; i < JUMP_CACHES; i++)
            fill_slots(fixed_slots(e->jump_caches[i].slots) + entry->slot, 1);
    }
    return entry->slot;
}

uint64_t *jump_cache_get(struct vcpu *v, unsigned window, const struct code_space *space) {
    struct engine *e = v->engine;
    struct jump_cache *pick = NULL;
    for (unsigned i = 0; i < JUMP_CACHES; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (jc->used && jc->window == window && code_space_equal(&jc->space, space)) {
            jc->last_use = ++e->use_clock;
            if (i) { /* move to the front: the scan is short for those in use */
                struct jump_cache first = e->jump_caches[i / 2];
                e->jump_caches[i / 2] = *jc;
                *jc = first;
                jc = &e->jump_caches[i / 2];
            }
            return jc->slots;
        }
        if (!pick || (pick->used && (!jc->used || jc->last_use < pick->last_use)))
            pick = jc;
    }
    assert(pick);
    *pick = (struct jump_cache){.slots = pick->slots, .space = *space, .window = (uint16_t)window,
                                .used = true, .last_use = ++e->use_clock};
    clear(e, pick);
    return pick->slots;
}

/* Only the current table: the fragment was found for the current mode and address space. */
void jump_cache_set(struct vcpu *v, struct fragment *f) {
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    if (v->engine->options.no_jump_cache)
        return;
    f->tables |= 1ull << table_number(v->engine, slots);
    const struct fixed_entry *fixed = fixed_place(v->engine, f->eip);
    if (fixed && fixed->used)
        fixed_slots(slots)[fixed->slot] = (uint64_t)(uintptr_t)(v->engine->cache_exec + f->code);
    uint64_t pad = fragment_pad(v, f);
    if (!pad)
        return;
    uint64_t *slot = &slots[jump_cache_slot(f->eip)];
    if (*slot != (uint64_t)(uintptr_t)stub_contended)
        *slot = pad;
    victim_set(v->engine, victim_key(slots, f->eip), pad);
    mark(slots, (unsigned)(jump_cache_slot(f->eip) / PAGE_SLOTS));
}

/* A pad has been reached on the way to another target: its slot leads to the victims from now on, as
 * a trip costs more than the look-up. */
void jump_cache_contend(struct vcpu *v, uint32_t target) {
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    slots[jump_cache_slot(target)] = (uint64_t)(uintptr_t)stub_contended;
    v->counters->slots_contended++;
}

void jump_caches_forget_window(struct engine *e, unsigned window) {
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        if (e->jump_caches[i].used && e->jump_caches[i].window == window)
            clear(e, &e->jump_caches[i]);
}

/* Replaces what leads to a fragment by what leads to the dispatcher. */
static void forget_in(struct engine *e, uint64_t *slots, const struct fragment *f) {
    uint64_t pad = (uint64_t)(uintptr_t)(e->cache_exec + f->pad);
    uint64_t body = (uint64_t)(uintptr_t)(e->cache_exec + f->code);
    const struct fixed_entry *fixed = fixed_place(e, f->eip);
    if (fixed && fixed->used && fixed_slots(slots)[fixed->slot] == body)
        fill_slots(fixed_slots(slots) + fixed->slot, 1);
    if (!f->pad)
        return;
    uint64_t *slot = &slots[jump_cache_slot(f->eip)];
    if (*slot == pad)
        fill_slots(slot, 1);
    victim_forget(e, victim_key(slots, f->eip));
}

void jump_caches_forget(struct engine *e, unsigned window, struct fragment *f) {
    for (uint64_t left = f->tables; left; left &= left - 1) {
        unsigned number = (unsigned)__builtin_ctzll(left);
        uint64_t *slots = table_slots(e, number);
        if (window != ANY_WINDOW && use_of(slots)->window != window)
            continue;
        forget_in(e, slots, f);
        f->tables &= ~(1ull << number);
    }
}

void jump_caches_reset(struct engine *e) {
    memset(e->fixed, 0, sizeof e->fixed);
    e->fixed_count = 0;
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        if (e->jump_caches[i].used)
            clear(e, &e->jump_caches[i]);
}
