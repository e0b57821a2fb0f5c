/* Jump caches: where indirect transfers and cross-page exits find their fragments.
 *
 * One table a mode and window (a linear address means nothing without its address space). A slot,
 * chosen by the low 13 bits of the target, holds the landing pad of one fragment, which checks
 * the whole address; empty slots hold STUB_MISS. The shadow's entry diff keeps them true: when a
 * page with translated code is dropped from a window, its slots in that window's tables go. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"

#define TABLE_BYTES (JUMP_CACHE_SLOTS * sizeof(uint64_t))
#define LONGEST_INSN 15u

int jump_caches_init(struct engine *e) {
    uint8_t *pool = mmap(NULL, JUMP_CACHES * TABLE_BYTES, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        e->jump_caches[i].slots = (uint64_t *)(void *)(pool + i * TABLE_BYTES);
    return 0;
}

static void clear(struct jump_cache *jc, unsigned first, unsigned count) {
    uint64_t miss = (uint64_t)(uintptr_t)stub_miss, *at = &jc->slots[first], n = count;
    __asm__ volatile("rep stosq" : "+D"(at), "+c"(n) : "a"(miss) : "memory");
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
    clear(pick, 0, JUMP_CACHE_SLOTS);
    return pick->slots;
}

/* Only the current table: the fragment was found for the current mode and address space. */
void jump_cache_set(struct vcpu *v, struct fragment *f) {
    uint64_t *slots = (uint64_t *)(uintptr_t)v->cpu.jump_cache;
    if (v->engine->options.no_jump_cache)
        return;
    uint64_t pad = fragment_pad(v, f);
    if (pad)
        slots[f->eip % JUMP_CACHE_SLOTS] = pad;
}

void jump_caches_forget_page(struct engine *e, unsigned window, gva_t gva) {
    unsigned first = (gva - LONGEST_INSN) % JUMP_CACHE_SLOTS;
    unsigned count = PAGE_SIZE + LONGEST_INSN;
    for (unsigned i = 0; i < JUMP_CACHES; i++) {
        struct jump_cache *jc = &e->jump_caches[i];
        if (!jc->used || jc->window != window)
            continue;
        unsigned head = JUMP_CACHE_SLOTS - first < count ? JUMP_CACHE_SLOTS - first : count;
        clear(jc, first, head);
        clear(jc, 0, count - head);
    }
}

void jump_caches_forget_window(struct engine *e, unsigned window) {
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        if (e->jump_caches[i].used && e->jump_caches[i].window == window)
            clear(&e->jump_caches[i], 0, JUMP_CACHE_SLOTS);
}

void jump_caches_forget_pad(struct engine *e, uint32_t eip, uint64_t pad) {
    for (unsigned i = 0; i < JUMP_CACHES; i++) {
        uint64_t *slot = &e->jump_caches[i].slots[eip % JUMP_CACHE_SLOTS];
        if (e->jump_caches[i].used && *slot == pad)
            *slot = (uint64_t)(uintptr_t)stub_miss;
    }
}

void jump_caches_reset(struct engine *e) {
    for (unsigned i = 0; i < JUMP_CACHES; i++)
        if (e->jump_caches[i].used)
            clear(&e->jump_caches[i], 0, JUMP_CACHE_SLOTS);
}
