/* The translation cache and what is bounded with it, divided in parts: filled one after the other, evicted as
 * a whole. Private to runtime/. */
#ifndef RING3_RUNTIME_CACHE_PARTS_H
#define RING3_RUNTIME_CACHE_PARTS_H

#include <stdbool.h>
#include <stdint.h>

struct engine;
struct fragment;
struct vcpu;

#define CACHE_PARTS_MAX 512u

/* [start, used) is taken, [used, end) is free. */
struct span {
    uint32_t start, used, end;
};

struct cache_part {
    struct span code, cold;                   /* offsets in the cache; cold: stubs that are seldom executed */
    /* [code.start, code.used) and [lowest, code.end) are taken: fragments and late code by turns in the first, or, where
     * the part goes down, late code in the first and fragments in the second, the newest one lowest. */
    uint32_t lowest;
    bool goes_down;
    struct span fragments, maps, exits, late; /* indexes in the pools */
    uint64_t opened; /* no two openings of parts have the same; 0: nothing is in it */
    uint32_t live;   /* fragments that have not been invalidated */
};

/* Code that was made for a fragment of an older part: when its part goes, the fragment does without. */
enum late_kind {
    LATE_PAD,     /* of fragment `owner` */
    LATE_THUNK,   /* what exit `owner` jumps to */
    LATE_LANDING, /* what the landing at cache offset `owner` jumps to, instead of `before` */
};
#define LATE_JUMP 5u /* bytes of a JMP rel32 */
struct late_code {
    uint32_t at, owner;
    uint64_t opened; /* the owner's part; another value by now: the owner is gone */
    uint8_t kind;
    uint8_t before[LATE_JUMP];
};

/* A fragment that was evicted, and how many parts had been opened by then. */
struct evicted {
    uint32_t tag, when;
};
#define EVICTED_SLOTS 32768u

/* Maps a cache of so many bytes (0: the default) and reserves the pools. */
int cache_init(struct vcpu *v, uint64_t cache_bytes);
/* cache_memory.c. Maps e->cache_size bytes twice. 0 or -errno. */
int cache_map(struct vcpu *v);
/* What lies before `end` is about to be used: it asks for large pages. */
void cache_take_large_pages(struct engine *e, uint32_t end);
/* Nothing is in any part, and the first is open. Whoever calls has seen to it that nothing leads there. */
void cache_empty(struct engine *e);
/* The open part is full: another one is opened, and what was in it is evicted. Only between fragments. */
void cache_open_part(struct vcpu *v);
/* A fragment is about to be made. */
void cache_expect(const struct engine *e, uint64_t gpa, uint32_t mode);
/* Has the guest overwritten most of what was made since the open part was opened? */
bool cache_is_overwritten(const struct engine *e);
/* A fragment has been made: had it been there before? */
void cache_note_made(struct engine *e, const struct fragment *f);
/* The part that has a cache offset among its code, a fragment, an exit. NULL: no part's code. */
struct cache_part *cache_part_at(struct engine *e, uint32_t offset);
struct cache_part *cache_part_of_fragment(struct engine *e, uint32_t index);
struct cache_part *cache_part_of_exit(struct engine *e, uint32_t index);

static inline uint32_t cache_part_room(const struct cache_part *part) { return part->lowest - part->code.used; }
static inline uint32_t cache_part_used(const struct cache_part *part) {
    return part->code.end - part->code.start - cache_part_room(part);
}
static inline bool span_has(const struct span *span, uint32_t at) {
    return at - span->start < span->end - span->start;
}

/* late_code.c: what leads from other parts into this one's late code is put back. */
void late_code_undo(struct engine *e, const struct cache_part *part);

#endif
