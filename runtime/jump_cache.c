/* Jump caches: where indirect transfers and cross-page exits find their fragments.
 *
 * One table a code space and window (a linear address means nothing without its address space). A slot,
 * chosen by a hash of the target, holds the landing pad of one fragment, which checks the whole
 * address; empty slots hold STUB_MISS. The shadow's entry diff keeps them true: when a page with
 * translated code is dropped from a window, its fragments' pads go from that window's tables. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"

#define TABLE_BYTES (JUMP_CACHE_FIXED_OFFSET + JUMP_CACHE_FIXED * sizeof(uint64_t))
#define FIXED_PROBES 8u

int jump_caches_init(struct engine *e) {
    uint8_t *pool = mmap(NULL, JUMP_CACHES * TABLE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED)
        return -errno;
    for (unsigned bit = 0; bit < 32; bit++) /* x and x - 1 differ in their low bits: 2^n - 1 */
        assert(jump_cache_slot(UINT32_MAX >> bit) != jump_cache_slot(0));
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        e->jump_caches[i].slots = (uint64_t *)(void *)(pool + i * TABLE_BYTES);
    return 0;
}

static struct jump_victim *victims(uint64_t *slots) {
    return (struct jump_victim *)(void *)(slots + JUMP_CACHE_SLOTS);
}

static uint64_t *fixed_slots(uint64_t *slots) { return slots + JUMP_CACHE_FIXED_OFFSET / 8; }

static void fill_slots(uint64_t *at, uint64_t count) {
    uint64_t miss = (uint64_t)(uintptr_t)stub_miss;
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(count) : "a"(miss) : "memory");
}

static void clear(struct engine *e, struct jump_cache *jc) {
    fill_slots(jc->slots, JUMP_CACHE_SLOTS);
    fill_slots(fixed_slots(jc->slots), e->fixed_count);
    for (unsigned i = 0; i < JUMP_CACHE_VICTIMS; i++)
        victims(jc->slots)[i] =
            (struct jump_victim){.pad = (uint64_t)(uintptr_t)stub_leave_miss};
}

/* Where `target` stands in the index of fixed slots, or the free place for it; NULL: crowded. */
static struct fixed_entry *fixed_place(struct engine *e, uint32_t target) {
    uint32_t at = jump_cache_slot(target);
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
    const struct fixed_entry *fixed = fixed_place(v->engine, f->eip);
    if (fixed && fixed->used)
        fixed_slots(slots)[fixed->slot] = (uint64_t)(uintptr_t)(v->engine->cache_exec + f->code);
    uint64_t pad = fragment_pad(v, f);
    if (!pad)
        return;
    slots[jump_cache_slot(f->eip)] = pad;
    victims(slots)[jump_cache_victim(f->eip)] =
        (struct jump_victim){.minus_eip = -f->eip, .pad = pad};
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
    struct jump_victim *victim = &victims(slots)[jump_cache_victim(f->eip)];
    if (*slot == pad)
        fill_slots(slot, 1);
    if (victim->pad == pad)
        *victim = (struct jump_victim){.pad = (uint64_t)(uintptr_t)stub_leave_miss};
}

void jump_caches_forget(struct engine *e, unsigned window, const struct fragment *f) {
    for (unsigned i = 0; i < JUMP_CACHES; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (jc->used && code_space_equal(&jc->space, &f->space) && (window == ANY_WINDOW || jc->window == window))
            forget_in(e, jc->slots, f);
    }
}

void jump_caches_reset(struct engine *e) {
    memset(e->fixed, 0, sizeof e->fixed);
    e->fixed_count = 0;
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        if (e->jump_caches[i].used)
            clear(e, &e->jump_caches[i]);
}
