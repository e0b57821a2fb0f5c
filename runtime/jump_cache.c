/* Jump caches: where indirect transfers and cross-page exits find their fragments.
 *
 * One table a mode and window (a linear address means nothing without its address space). A slot,
 * chosen by a hash of the target, holds the landing pad of one fragment, which checks the whole
 * address; empty slots hold STUB_MISS. The shadow's entry diff keeps them true: when a page with
 * translated code is dropped from a window, its fragments' pads go from that window's tables. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"

#define TABLE_BYTES (JUMP_CACHE_SLOTS * sizeof(uint64_t) + JUMP_CACHE_VICTIMS * sizeof(struct jump_victim))

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

static void clear(struct jump_cache *jc) {
    uint64_t miss = (uint64_t)(uintptr_t)stub_miss, *at = jc->slots, n = JUMP_CACHE_SLOTS;
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"(miss) : "memory");
    for (unsigned i = 0; i < JUMP_CACHE_VICTIMS; i++)
        victims(jc->slots)[i] =
            (struct jump_victim){.pad = (uint64_t)(uintptr_t)stub_leave_miss};
}

uint64_t *jump_cache_get(struct vcpu *v, unsigned window, uint32_t mode) {
    struct engine *e = v->engine;
    struct jump_cache *pick = NULL;
    for (unsigned i = 0; i < JUMP_CACHES; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (jc->used && jc->window == window && jc->mode == mode) {
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
    *pick = (struct jump_cache){.slots = pick->slots, .mode = mode, .window = (uint16_t)window,
                                .used = true, .last_use = ++e->use_clock};
    clear(pick);
    return pick->slots;
}

/* Only the current table: the fragment was found for the current mode and address space. */
void jump_cache_set(struct vcpu *v, struct fragment *f) {
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    if (v->engine->options.no_jump_cache)
        return;
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
            clear(&e->jump_caches[i]);
}

void jump_caches_forget_pad(struct engine *e, unsigned window, uint32_t eip, uint64_t pad) {
    uint32_t slot = jump_cache_slot(eip), victim = jump_cache_victim(eip);
    for (unsigned i = 0; i < JUMP_CACHES; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (!jc->used || (window != ANY_WINDOW && jc->window != window))
            continue;
        if (jc->slots[slot] == pad)
            jc->slots[slot] = (uint64_t)(uintptr_t)stub_miss;
        if (victims(jc->slots)[victim].pad == pad)
            victims(jc->slots)[victim] =
                (struct jump_victim){.pad = (uint64_t)(uintptr_t)stub_leave_miss};
    }
}

void jump_caches_reset(struct engine *e) {
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        if (e->jump_caches[i].used)
            clear(&e->jump_caches[i]);
}
