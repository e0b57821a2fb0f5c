/* Two pages of memory, one right behind the other at a host address, wherever they lie.
 *
 * An operand that crosses the end of a page and is looked up (past_windows.c) finds its bytes in one piece here. In
 * a window the access would fault, once for each of its pages that code was translated from. Mappings stay,
 * since a place shows the same memory for good; some pages are crossed again and again. */
#include <assert.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "runtime/engine_private.h"

static uint8_t *pair_at(const struct engine *e, unsigned slot) { return e->page_pairs_base + slot * 2ul * PAGE_SIZE; }

static bool map_page(const struct vcpu *v, uint8_t *at, uint64_t place) {
    void *got = mmap(at, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, v->ram->fd, (off_t)place);
    return got == at;
}

uint8_t *page_pair(struct vcpu *v, uint64_t first, uint64_t second) {
    struct engine *e = v->engine;
    uint32_t pages[2] = {(uint32_t)(first >> PAGE_SHIFT) + 1, (uint32_t)(second >> PAGE_SHIFT) + 1};
    unsigned slot = (pages[0] * 0x9e3779b1u >> 16) % PAGE_PAIRS;
    struct page_pair *pair = &e->page_pairs[slot];
    assert(!((first | second) & PAGE_MASK));
    if (first + PAGE_SIZE == second)
        return v->ram->base + first;
    if (!e->page_pairs_base)
        e->page_pairs_base = arena_reserve(NULL, PAGE_PAIRS * 2ul * PAGE_SIZE);
    if (!e->page_pairs_base)
        return NULL;
    if (pair->pages[0] == pages[0] && pair->pages[1] == pages[1])
        return pair_at(e, slot);
    *pair = (struct page_pair){{0, 0}};
    if (!map_page(v, pair_at(e, slot), first) || !map_page(v, pair_at(e, slot) + PAGE_SIZE, second))
        return NULL;
    *pair = (struct page_pair){{pages[0], pages[1]}};
    return pair_at(e, slot);
}
