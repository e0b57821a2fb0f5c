/* The translation cache's parts.
 *
 * The cache (cache_memory.c) is divided in parts, and so are the
 * pools of fragments, instruction maps and exits, so that what is made together goes together. A part has late code
 * from its start on, fragments against it from above, and behind them the stubs that are seldom executed, in the
 * proportion that the part before had. One part is open and filled; when it is full, the next one is opened. When all have been, that
 * one is evicted first: nothing outside it leads into it any more, and the rest of the cache stays as it is. A part
 * in which next to nothing is alive is taken before one that was never used: its memory is there, and near. */
#include "runtime/cache_parts.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "runtime/engine_private.h"
#include "runtime/fpu_state.h"
#include "runtime/instrument.h"
#include "runtime/plugins.h"

#define PART_BYTES (128u << 10)    /* of a cache with room enough; each part leaves some kilobytes empty at its end */
#define ROOM_ENOUGH (15u << 20)
#define PARTS_USUAL 16u            /* of another one */
#define PART_BYTES_MIN (24u << 10) /* of a small cache's parts, which are fewer; */
#define PARTS_MIN 3u               /* but so many at least */
#define SPENT 16u                  /* one of so many fragments is alive at most */
#define AGAIN_ROUNDS 4u /* of all parts: what was evicted longer ago is forgotten */
#define LATE_EACH 32u             /* bytes of code for each late code that a part has room to note */
#define BLOCK_CODE_ROOM 2048u
#define PAD_ROOM 96u /* a pad, and the gap behind the block */
#define LATE_ROOM 256u

/* Parts of the same size each; entry 0 of a pool is never used. */
static struct span span_of(uint32_t from, uint32_t each, unsigned number) {
    uint32_t start = from + each * number;
    return (struct span){start, start, start + each};
}

static void divide(struct engine *e, bool plugins) {
    uint32_t bytes = e->cache_size - SCRATCH_CODE, count = bytes / PART_BYTES_MIN;
    if (count > PARTS_USUAL) /* plugins' sites are divided, too */
        count = plugins || bytes < ROOM_ENOUGH ? PARTS_USUAL : bytes / PART_BYTES;
    count = count < PARTS_MIN ? PARTS_MIN : count > CACHE_PARTS_MAX ? CACHE_PARTS_MAX : count;
    e->part_count = count;
    e->part_bytes = bytes / count & ~15u;
    e->part_cold = e->part_bytes / 3;
    e->part_fragments = FRAGMENTS_MAX / count;
    e->part_exits = EXITS_MAX / count;
    for (unsigned i = 0; i < count; i++)
        e->parts[i] = (struct cache_part){
            .code = span_of(SCRATCH_CODE, e->part_bytes, i),
            .fragments = span_of(0, e->part_fragments, i),
            .maps = span_of(0, MAPS_MAX / count, i),
            .exits = span_of(0, e->part_exits, i),
            .late = span_of(0, e->part_bytes / LATE_EACH, i),
        };
    e->parts[0].fragments.start++;
    e->parts[0].exits.start++;
}

int cache_init(struct vcpu *v, uint64_t cache_bytes) {
    struct engine *e = v->engine;
    struct arena *tables = e->options.tables;
    uint64_t pages = ram_page_count(v->ram);
    if (!cache_bytes)
        cache_bytes = CACHE_DEFAULT;
    if (cache_bytes < CACHE_MINIMUM)
        cache_bytes = CACHE_MINIMUM;
    e->cache_size = (uint32_t)((cache_bytes + PAGE_MASK) & ~(uint64_t)PAGE_MASK);
    int status = cache_map(v);
    if (status)
        return status;
    divide(e, v->plugins != NULL);
    e->exits = arena_reserve(NULL, EXITS_MAX * sizeof *e->exits);
    e->late = arena_reserve(NULL, e->parts[e->part_count - 1].late.end * sizeof *e->late);
    e->fragments = arena_reserve(tables, FRAGMENTS_MAX * sizeof *e->fragments);
    if (tables)
        e->heat = arena_reserve(tables, FRAGMENTS_MAX * sizeof *e->heat);
    e->maps = arena_reserve(tables, MAPS_MAX * sizeof *e->maps);
    e->page_fragments = arena_reserve(NULL, pages * sizeof(uint32_t));
    e->page2_fragments = arena_reserve(NULL, pages * sizeof(uint32_t));
    e->code_bits = arena_reserve(NULL, (pages + 1) * (PAGE_SIZE / 8)); /* stub_reach reads a little more */
    if (!e->code_bits || !e->fragments || !e->maps || !e->exits || !e->late || !e->page_fragments ||
        !e->page2_fragments)
        return -ENOMEM;
    if (page_pads_init(e))
        return -ENOMEM;
    v->cpu.reach_bits = (uint64_t)(uintptr_t)e->code_bits - (uint64_t)(uintptr_t)v->ram->base / 8;
    cache_empty(e);
    instrument_open_part(v->plugins, 0, e->part_count);
    return 0;
}

/* What the part that is full says about the next one: its stubs' share, within reason. */
static uint32_t cold_bytes(const struct engine *e, const struct cache_part *full) {
    uint64_t code = cache_part_used(full), cold = full->cold.used - full->cold.start;
    uint32_t bytes = code ? (uint32_t)(e->part_bytes * cold / (code + cold)) + COLD_CODE_MAX : e->part_cold;
    uint32_t least = e->part_bytes / 8 + COLD_CODE_MAX, most = e->part_bytes / 2;
    return bytes < least ? least : bytes > most ? most : bytes;
}

bool cache_is_overwritten(const struct engine *e) {
    return e->part_overwritten * 2 > e->part->fragments.used - e->part->fragments.start;
}

static void open_part(struct engine *e, struct cache_part *part) {
    uint32_t end = part->code.start + e->part_bytes;
    cache_take_large_pages(e, end);
    part->goes_down = e->part && cache_is_overwritten(e);
    part->code.end = part->cold.start = (end - e->part_cold) & ~15u;
    part->lowest = part->code.end;
    part->cold.end = end;
    struct span *const spans[] = {&part->code, &part->cold, &part->fragments, &part->maps, &part->exits, &part->late};
    for (unsigned i = 0; i < sizeof spans / sizeof *spans; i++)
        spans[i]->used = spans[i]->start;
    part->opened = ++e->parts_opened;
    part->live = 0;
    e->part = part;
    e->part_full = false;
    e->part_told = e->part_again = e->part_overwritten = 0;
}

void cache_empty(struct engine *e) {
    for (unsigned i = 0; i < e->part_count; i++) {
        e->parts[i].opened = 0;
        e->parts[i].fragments.used = e->parts[i].fragments.start;
    }
    open_part(e, &e->parts[0]);
}

struct cache_part *cache_part_at(struct engine *e, uint32_t offset) {
    uint32_t number = (offset - SCRATCH_CODE) / e->part_bytes;
    bool inside = offset >= SCRATCH_CODE && number < e->part_count;
    return inside && offset < e->parts[number].code.end ? &e->parts[number] : NULL;
}

struct cache_part *cache_part_of_fragment(struct engine *e, uint32_t index) {
    assert(index != NO_FRAGMENT && index / e->part_fragments < e->part_count);
    return &e->parts[index / e->part_fragments];
}

struct cache_part *cache_part_of_exit(struct engine *e, uint32_t index) {
    assert(index && index / e->part_exits < e->part_count);
    return &e->parts[index / e->part_exits];
}

/* Room for a block: translation ends it early where there is less than it may have. With probes there is not. */
static uint32_t block_room(const struct vcpu *v) { return v->plugins ? TRANSLATION_CODE_MAX : BLOCK_CODE_ROOM; }

static bool has_room(const struct span *span, uint32_t need) { return span->end - span->used >= need; }

/* Beside a block there is room for a few pads and thunks. */
bool fragment_has_room(const struct vcpu *v) {
    const struct cache_part *part = v->engine->part;
    return cache_part_room(part) >= PAD_ROOM + block_room(v) + LATE_ROOM && has_room(&part->cold, COLD_CODE_MAX) &&
           has_room(&part->fragments, 1) && has_room(&part->maps, TRANSLATION_INSNS_MAX) &&
           has_room(&part->exits, TRANSLATION_EXITS_MAX);
}

struct fragment *fragment_new(struct vcpu *v) {
    struct engine *e = v->engine;
    const struct cache_part *part = e->part;
    if (!fragment_has_room(v))
        return NULL;
    struct fragment *f = &e->fragments[part->fragments.used];
    memset(f, 0, sizeof *f);
    f->map = part->maps.used;
    f->exits = part->exits.used;
    return f;
}

uint32_t fragment_room(const struct vcpu *v) {
    uint32_t room = cache_part_room(v->engine->part) - LATE_ROOM - PAD_ROOM;
    assert(room >= block_room(v) && room <= v->engine->cache_size);
    return room < TRANSLATION_CODE_MAX ? room : TRANSLATION_CODE_MAX;
}

/* What the jump caches have of it: its fragments one by one, or all slots are looked at, whatever is less. */
static void forget_slots(struct engine *e, const struct cache_part *part) {
    uint64_t places = 0;
    for (uint32_t i = part->fragments.start; i < part->fragments.used; i++)
        places += e->fragments[i].dead ? 0 : jump_caches_places(e, &e->fragments[i]);
    bool all = jump_caches_scan_is_less(e, places);
    if (all)
        jump_caches_forget_code(e, (uintptr_t)e->cache_exec + part->code.start, part->code.end - part->code.start);
    for (uint32_t i = part->fragments.start; i < part->fragments.used; i++) {
        struct fragment *f = &e->fragments[i];
        if (!f->dead && (!all || (f->pad && !span_has(&part->code, f->pad))))
            jump_caches_forget(e, f);
    }
}

/* One fragment of eight is told for all, by its hash. NULL: it is none of these. */
static uint64_t evicted_key(gpa_t gpa, uint32_t mode) { return (gpa ^ (uint64_t)mode << 32) * 0x9e3779b97f4a7c15ull; }

static struct evicted *evicted_place(struct engine *e, const struct fragment *f, uint32_t *tag) {
    uint64_t key = evicted_key(f->gpa, f->space.mode);
    *tag = (uint32_t)(key >> 8);
    return key >> 61 ? NULL : &e->evicted[(key >> 40) % EVICTED_SLOTS];
}

void cache_expect(const struct engine *e, gpa_t gpa, uint32_t mode) {
    uint64_t key = evicted_key(gpa, mode);
    if (!(key >> 61))
        prefetch(&e->evicted[(key >> 40) % EVICTED_SLOTS]);
}

static void note_evicted(struct engine *e, const struct fragment *f) {
    uint32_t tag;
    struct evicted *place = evicted_place(e, f, &tag);
    if (place)
        *place = (struct evicted){tag, (uint32_t)e->parts_opened};
}

void cache_note_made(struct engine *e, const struct fragment *f) {
    uint32_t tag;
    const struct evicted *place = evicted_place(e, f, &tag);
    if (!place)
        return;
    bool again = place->tag == tag && (uint32_t)e->parts_opened - place->when < AGAIN_ROUNDS * e->part_count;
    e->part_told++;
    e->part_again += again;
}

/* The last that was used, of those with next to nothing alive; NULL: there is none. */
static struct cache_part *spent_part(struct engine *e) {
    struct cache_part *last = NULL;
    for (unsigned i = 0; i < e->part_count; i++) {
        struct cache_part *part = &e->parts[i];
        uint32_t made = part->fragments.used - part->fragments.start;
        if (part != e->part && part->opened && part->live * SPENT <= made && (!last || part->opened > last->opened))
            last = part;
    }
    return last;
}

/* The oldest; those without anything in them before all others. But when most of what was made had been evicted
 * not long ago, the code in use does not fit, and the oldest is what is wanted next if it goes round in a circle: any
 * part then, so that some of it stays. */
static struct cache_part *next_part(struct engine *e) {
    struct cache_part *oldest = NULL, *any, *spent = spent_part(e);
    if (spent)
        return spent;
    for (unsigned i = 0; i < e->part_count; i++)
        if (&e->parts[i] != e->part && (!oldest || e->parts[i].opened < oldest->opened))
            oldest = &e->parts[i];
    if (!oldest->opened || e->part_again * 2 <= e->part_told)
        return oldest;
    do {
        e->random_part = e->random_part * 1664525u + 1013904223u;
        any = &e->parts[(e->random_part >> 16) % e->part_count];
    } while (any == e->part);
    return any;
}

static void evict(struct vcpu *v, struct cache_part *part) {
    struct engine *e = v->engine;
    uintptr_t code = (uintptr_t)e->cache_exec + part->code.start;
    uint32_t code_len = part->code.end - part->code.start;
    uint32_t count = 0;
    fpu_forget_code(v, code, code_len);
    late_code_undo(e, part);
    forget_slots(e, part);
    for (uint32_t i = part->fragments.start; i < part->fragments.used; i++)
        if (!e->fragments[i].dead) {
            note_evicted(e, &e->fragments[i]);
            fragment_evict(v, &e->fragments[i], part);
            count++;
        }
    return_stacks_forget_code(v, code, code_len);
    if (e->heat)
        memset(e->heat + part->fragments.start, 0,
               (part->fragments.used - part->fragments.start) * sizeof *e->heat);
    e->evictions++;
    v->counters->parts_evicted++;
    v->counters->fragments_evicted += count;
    TRACE(v->trace, evict_part, (unsigned)(part - e->parts), count, cache_part_used(part));
    PLUGIN_EVENT(v, FLUSH, RING3_FLUSH_PART, 0, v->cpu.eip);
}

void cache_open_part(struct vcpu *v) {
    struct engine *e = v->engine;
    struct cache_part *next = next_part(e);
    if (next->opened)
        evict(v, next);
    e->part_cold = cold_bytes(e, e->part);
    open_part(e, next);
    instrument_open_part(v->plugins, (unsigned)(next - e->parts), e->part_count);
}
