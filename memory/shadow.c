/* Shadow page tables: windows, regions, and filling them. */
#include "memory/shadow.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* Pages mapped at once: of a large guest page, and of neighbours that happen to be contiguous. */
#define FILL_LARGE_RUN 64u
#define FILL_SMALL_RUN 16u
#define FILL_FIRST_RUN 4u /* of a read-only user page, unless the one before them has been used */

int shadow_init(struct shadow *s, struct ram *ram, struct counters *counters, struct arena *tables) {
    uint64_t pages = ram_page_count(ram);
    memset(s, 0, sizeof *s);
    s->ram = ram;
    s->counters = counters;
    s->vma_limit = SHADOW_VMA_LIMIT;
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        s->windows[i].number = i;
        s->windows[i].base = WINDOW_REGION + i * WINDOW_STRIDE + WINDOW_GUARD;
    }
    void *probe = mmap((void *)WINDOW_REGION, WINDOW_COUNT * WINDOW_STRIDE, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (probe == MAP_FAILED)
        return -errno;
    munmap(probe, WINDOW_COUNT * WINDOW_STRIDE);
    if (probe != (void *)WINDOW_REGION)
        return -EEXIST;
    s->node_max = 8u << 20;
    s->node_next = 1;
    s->region_max = SHADOW_REGIONS_MAX;
    s->page_nodes = arena_reserve(NULL, pages * sizeof *s->page_nodes);
    s->nodes = arena_reserve(NULL, s->node_max * sizeof *s->nodes);
    s->page_code = arena_reserve(tables, pages);
    s->region_pool = arena_reserve(tables, s->region_max * sizeof *s->region_pool);
    return s->page_nodes && s->nodes && s->page_code && s->region_pool ? 0 : -ENOMEM;
}

struct window *shadow_window_at(struct shadow *s, uintptr_t host) {
    if (host < WINDOW_REGION || host >= WINDOW_REGION + WINDOW_COUNT * WINDOW_STRIDE)
        return NULL;
    return &s->windows[(host - WINDOW_REGION) / WINDOW_STRIDE];
}

uint64_t shadow_read_entry(const struct shadow *s, gpa_t gpa, unsigned size) {
    const void *entry = ram_ptr(s->ram, gpa, size);
    if (!entry)
        return ~0ull;
    return size == 8 ? *(const volatile uint64_t *)entry : *(const volatile uint32_t *)entry;
}

gpa_t shadow_pde_gpa(const struct shadow *s, const struct paging *paging, gva_t gva) {
    (void)s;
    if (paging->cr4 & CR4_PAE)
        return (paging->pdpte[gva >> 30] & 0xffffff000ull) + (gva >> 21 & 511u) * 8u;
    return (paging->cr3 & ~PAGE_MASK) + (gva >> 22) * 4u;
}

/* Is what the region remembers of the directory still what the walk met? */
static bool region_agrees(const struct shadow_region *r, const struct walk *walk,
                          const struct paging *paging) {
    bool off = !(paging->cr0 & CR0_PG);
    uint64_t ignored = 0xe00u | (walk->large ? 0u : (uint64_t)PTE_D);
    return off ? r->entry_size == 0
               : r->entry_size == (paging->cr4 & CR4_PAE ? 8 : 4) && r->large == walk->large &&
                     ((r->pde ^ walk->pde) & ~ignored) == 0;
}

struct shadow_region *shadow_region_get(struct shadow *s, struct window *w,
                                        const struct paging *paging, gva_t gva,
                                        const struct walk *walk) {
    uint32_t index = gva >> REGION_SHIFT;
    struct shadow_region *r = w->regions[index];
    bool off = !(paging->cr0 & CR0_PG);
    if (r && region_agrees(r, walk, paging)) {
        r->pde_gpa = walk->pde_gpa; /* another address space's directory may hold the same entry */
        return r;
    }
    if (r && r->recorded) /* a directory entry changed without a flush: the new one wins */
        shadow_drop_pages(s, w, r, 0, REGION_PAGES);
    if (!r) {
        r = s->region_free;
        if (r)
            memcpy(&s->region_free, (void *)r, sizeof(void *)); /* the free list's link */
        else
            r = &s->region_pool[s->region_next++];
        assert(s->region_next <= s->region_max);
        memset(r, 0, __builtin_offsetof(struct shadow_region, pte)); /* nothing is recorded: flags are 0 already */
        r->index = index;
        w->regions[index] = r;
        w->active[w->active_count++] = (uint16_t)index;
    }
    r->entry_size = off ? 0 : paging->cr4 & CR4_PAE ? 8 : 4;
    r->large = walk->large || off;
    r->pde = walk->pde;
    r->pde_gpa = walk->pde_gpa;
    if (!r->large)
        r->table = walk->pte_gpa - (gva >> PAGE_SHIFT & (REGION_PAGES - 1)) * r->entry_size;
    return r;
}

void shadow_region_drop(struct shadow *s, struct window *w, struct shadow_region *r) {
    assert(r->recorded == 0);
    for (unsigned i = 0; i < w->active_count; i++) {
        if (w->active[i] != r->index)
            continue;
        w->active[i] = w->active[--w->active_count];
        break;
    }
    w->regions[r->index] = NULL;
    memcpy((void *)r, &s->region_free, sizeof(void *));
    s->region_free = r;
}

void shadow_entry_record(struct shadow_region *r, unsigned page, uint64_t pte, uint32_t pfn,
                         uint8_t flags) {
    if (!(r->flags[page] & SHADOW_RECORDED)) {
        r->bitmap[page / 64] |= 1ull << page % 64;
        r->recorded++;
        r->locals += !(flags & SHADOW_GLOBAL);
        r->flags[page] = (uint8_t)(flags | SHADOW_RECORDED);
    } else {
        if ((r->flags[page] ^ flags) & SHADOW_GLOBAL)
            r->locals = flags & SHADOW_GLOBAL ? r->locals - 1 : r->locals + 1;
        r->flags[page] = (uint8_t)((r->flags[page] & ~SHADOW_GLOBAL) | flags);
    }
    r->pte[page] = pte;
    r->pfn[page] = pfn;
}

uint8_t shadow_flags(const struct window *w, gva_t gva) {
    const struct shadow_region *r = w->regions[gva >> REGION_SHIFT];
    return r ? r->flags[gva >> PAGE_SHIFT & (REGION_PAGES - 1)] : 0;
}

/* Records the faulting page itself: a changed physical page first drops the old mapping. */
static void record_page(struct shadow *s, struct window *w, struct shadow_region *r, unsigned page,
                        const struct walk *walk, uint8_t flags) {
    uint32_t pfn = (uint32_t)(ram_locate(s->ram, walk->gpa) >> PAGE_SHIFT);
    if (r->flags[page] & SHADOW_RECORDED && r->pfn[page] != pfn)
        shadow_drop_pages(s, w, r, page, 1);
    if (walk->global)
        flags |= SHADOW_GLOBAL;
    shadow_entry_record(r, page, walk->pte, pfn, flags);
}

static bool may_write(const struct shadow *s, const struct walk *walk, bool write, uint32_t pfn) {
    return (write || (walk->writable && walk->dirty)) && !s->page_code[pfn] &&
           ram_is_writable(s->ram, (uint64_t)pfn << PAGE_SHIFT);
}

/* Has the page `delta` pages from the one that was walked a place as far from its place? */
static bool is_contiguous(const struct shadow *s, const struct walk *walk, uint32_t pfn, int delta) {
    gpa_t gpa = (walk->gpa & ~(gpa_t)PAGE_MASK) + (gpa_t)((int64_t)delta * PAGE_SIZE);
    return ram_locate(s->ram, gpa) == (uint64_t)(pfn + (uint32_t)delta) << PAGE_SHIFT;
}

/* Extends a run of a large page over neighbours not yet mapped that get the same rights. */
static void large_run(struct shadow *s, struct shadow_region *r, unsigned page,
                      const struct walk *walk, bool writable, unsigned *first, unsigned *count) {
    unsigned low = page & ~(FILL_LARGE_RUN - 1), high = low + FILL_LARGE_RUN;
    uint32_t pfn = r->pfn[page];
    unsigned from = page, to = page + 1;
    uint8_t flags = walk->global ? SHADOW_GLOBAL : 0;
    while (from > low && !(r->flags[from - 1] & SHADOW_MAPPED) &&
           is_contiguous(s, walk, pfn, (int)from - 1 - (int)page) &&
           may_write(s, walk, false, pfn - (page - from) - 1) == writable)
        from--;
    while (to < high && !(r->flags[to] & SHADOW_MAPPED) &&
           is_contiguous(s, walk, pfn, (int)(to - page)) &&
           may_write(s, walk, false, pfn + (to - page)) == writable)
        to++;
    for (unsigned i = from; i < to; i++)
        if (i != page)
            shadow_entry_record(r, i, 0, pfn + i - page, flags);
    *first = from;
    *count = to - from;
}

/* Takes a neighbouring 4 KiB entry into the run when it is present, contiguous and alike; its
 * accessed bit is set as a speculative walk may. */
static bool take_neighbour(struct shadow *s, struct shadow_region *r, unsigned page,
                           const struct walk *walk, int delta, uint32_t pfn, bool writable) {
    if (r->flags[page] & SHADOW_RECORDED || !is_contiguous(s, walk, pfn - (uint32_t)delta, delta))
        return false;
    gpa_t at = r->table + page * r->entry_size;
    uint64_t pte = shadow_read_entry(s, at, r->entry_size);
    /* All but caching, A and what software may use: reserved bits too. */
    uint64_t alike = ~(uint64_t)(PTE_PWT | PTE_PCD | PTE_A | PTE_PAT | 0xe00u);
    uint64_t expected = walk->pte + (uint64_t)((int64_t)delta * PAGE_SIZE);
    if ((pte ^ expected) & alike ||
        (writable && (s->page_code[pfn] || !ram_is_writable(s->ram, (uint64_t)pfn << PAGE_SHIFT))))
        return false;
    if (!(pte & PTE_A)) {
        if (!ram_is_writable(s->ram, ram_locate(s->ram, at)))
            return false;
        void *entry = ram_ptr(s->ram, at, r->entry_size);
        uint32_t old = (uint32_t)pte;
        if (!entry || !__atomic_compare_exchange_n((uint32_t *)entry, &old, old | PTE_A, false,
                                                   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return false;
        pte |= PTE_A;
    }
    shadow_entry_record(r, page, pte, pfn, r->flags[page] | (pte & PTE_G ? SHADOW_GLOBAL : 0));
    s->counters->prefaults++;
    return true;
}

/* Short processes use few pages of what others have read into memory, and each mapped in vain costs 300 ns until
 * it is gone again; who reads on gets more. */
static unsigned small_run_pages(const struct shadow_region *r, unsigned page, const struct walk *walk) {
    unsigned low = page & ~(FILL_FIRST_RUN - 1);
    bool reads_on = low && r->flags[low - 1] & SHADOW_MAPPED;
    return walk->user && !walk->writable && !reads_on ? FILL_FIRST_RUN : FILL_SMALL_RUN;
}

static void small_run(struct shadow *s, struct shadow_region *r, unsigned page,
                      const struct walk *walk, bool writable, unsigned *first, unsigned *count) {
    unsigned most = small_run_pages(r, page, walk);
    unsigned low = page & ~(most - 1), high = low + most;
    unsigned from = page, to = page + 1;
    uint32_t pfn = r->pfn[page];
    while (from > low && take_neighbour(s, r, from - 1, walk, (int)from - 1 - (int)page,
                                        pfn - (page - from) - 1, writable))
        from--;
    while (to < high && take_neighbour(s, r, to, walk, (int)(to - page), pfn + (to - page), writable))
        to++;
    *first = from;
    *count = to - from;
}

bool shadow_watches(const struct shadow *s, gva_t gva, bool write) {
    for (unsigned i = 0; i < s->watched_count; i++)
        if (s->watched[i].page == gva >> PAGE_SHIFT && (write || s->watched[i].reads))
            return true;
    return false;
}

static bool region_is_watched(const struct shadow *s, gva_t gva) {
    for (unsigned i = 0; i < s->watched_count; i++)
        if (s->watched[i].page >> (REGION_SHIFT - PAGE_SHIFT) == gva >> REGION_SHIFT)
            return true;
    return false;
}

void shadow_watch_close(struct shadow *s) {
    s->watch_open = false;
    for (unsigned i = 0; i < s->watched_count; i++)
        for (unsigned k = 0; k < WINDOW_COUNT; k++) {
            gva_t gva = s->watched[i].page << PAGE_SHIFT;
            if (shadow_flags(&s->windows[k], gva) & SHADOW_MAPPED)
                shadow_unmap_page(s, &s->windows[k], gva);
        }
}

void shadow_watch(struct shadow *s, const struct shadow_watch *pages, unsigned count) {
    assert(count <= SHADOW_WATCHED_MAX);
    shadow_watch_close(s);
    s->watched_count = count;
    if (count)
        memcpy(s->watched, pages, count * sizeof *pages);
    shadow_watch_close(s);
}

enum fill_result shadow_fill(struct shadow *s, struct window *w, const struct paging *paging,
                             gva_t gva, const struct walk *walk, bool write) {
    unsigned page = gva >> PAGE_SHIFT & (REGION_PAGES - 1);
    if (!ram_is_page(s->ram, walk->gpa & ~(gpa_t)PAGE_MASK))
        return FILL_NOT_RAM;
    if (!s->watch_open && shadow_watches(s, gva, false))
        return FILL_OK; /* its accesses go on faulting */
    struct shadow_region *r = shadow_region_get(s, w, paging, gva, walk);
    record_page(s, w, r, page, walk, r->flags[page] & SHADOW_EXEC);
    bool writable = may_write(s, walk, write, r->pfn[page]) &&
                    (s->watch_open || !shadow_watches(s, gva, true));
    unsigned first = page, count = 1;
    if (!(r->flags[page] & SHADOW_MAPPED) && !s->no_prefault && !region_is_watched(s, gva)) {
        if (r->large)
            large_run(s, r, page, walk, writable, &first, &count);
        else if (walk->writable || !write)
            small_run(s, r, page, walk, writable, &first, &count);
    }
    return shadow_map_run(s, w, r, first, count, writable) ? FILL_OK : FILL_HOST;
}

void shadow_record_exec(struct shadow *s, struct window *w, const struct paging *paging, gva_t gva,
                        const struct walk *walk) {
    unsigned page = gva >> PAGE_SHIFT & (REGION_PAGES - 1);
    struct shadow_region *r = shadow_region_get(s, w, paging, gva, walk);
    record_page(s, w, r, page, walk, SHADOW_EXEC);
}

/* Is the address space gone? When a process ends its directory is emptied. Who is taken for gone and is not
 * loses his mappings, no more. */
static bool looks_gone(const struct shadow *s, const struct window *w) {
    if (!w->active_count)
        return true;
    const struct shadow_region *r = w->regions[w->active[0]];
    return r->entry_size && shadow_read_entry(s, r->pde_gpa, r->entry_size) != r->pde;
}

static bool is_older(const struct window *w, const struct window *than) {
    return !than || w->last_use < than->last_use;
}

/* One that nobody has, while few are in use: directories come back, and find their windows. Then the oldest
 * whose address space is gone, one that nobody has, and the oldest of all. Not the last one used: eviction
 * as a test shall change windows. */
static struct window *free_window(struct shadow *s) {
    struct window *gone = NULL, *oldest = NULL, *unused = NULL;
    for (unsigned i = 1; i < WINDOW_COUNT && !unused; i++) {
        struct window *w = &s->windows[i];
        if (!w->used)
            unused = w;
        else if (is_older(w, oldest))
            oldest = w;
        if (w->used && is_older(w, gone) && w->last_use != s->use_clock && looks_gone(s, w))
            gone = w;
    }
    if (gone && (!unused || unused->number > WINDOWS_KEPT))
        return gone;
    return unused ? unused : oldest;
}

/* Of a window whose address space is gone. Its directory has come back for another one, which gets rather the one of
 * those gone that was used last: short processes that follow each other stay in few windows, whose
 * tables, jump caches and host mappings are in the processor's caches still. */
static struct window *warmest_gone(struct shadow *s, struct window *cold) {
    for (unsigned i = 0; i < WINDOWS_RECENT && s->windows_recent[i]; i++) {
        struct window *w = &s->windows[s->windows_recent[i]];
        if (w == cold)
            return cold;
        if (w->used && w->last_use != s->use_clock && looks_gone(s, w)) {
            s->window_cr3[cold->number] = WINDOW_NOBODY;
            return w;
        }
    }
    return cold;
}

static void note_recent(struct shadow *s, const struct window *w) {
    uint16_t moved = (uint16_t)w->number;
    for (unsigned i = 0; i < WINDOWS_RECENT && moved; i++) {
        uint16_t other = s->windows_recent[i];
        s->windows_recent[i] = moved;
        moved = other == (uint16_t)w->number ? 0 : other;
    }
}

static bool is_window_of(const struct shadow *s, unsigned window, uint32_t cr3) {
    return s->window_cr3[window] == cr3 && s->windows[window].used;
}

/* An address space's: the one that is guessed, another one, or NULL: it has none. */
static struct window *window_of(struct shadow *s, uint32_t cr3, unsigned guess) {
    if (is_window_of(s, guess, cr3))
        return &s->windows[guess];
    for (unsigned i = 1; i < WINDOW_COUNT; i++)
        if (is_window_of(s, i, cr3))
            return &s->windows[i];
    return NULL;
}

struct window *shadow_user_window(struct shadow *s, uint32_t cr3, bool *fresh) {
    uint16_t *hint = &s->window_hints[(cr3 >> 5 ^ cr3 >> 12) % WINDOW_HINTS];
    struct window *w = window_of(s, cr3, *hint);
    struct window *pick = !w ? free_window(s) : looks_gone(s, w) ? warmest_gone(s, w) : w;
    *fresh = pick != w;
    w = pick;
    if (*fresh) {
        s->counters->windows_evicted += w->active_count != 0;
        shadow_clear_window(s, w);
        w->used = true;
        s->window_cr3[w->number] = cr3;
        s->counters->windows_new++;
    }
    *hint = (uint16_t)w->number;
    note_recent(s, w);
    w->last_use = ++s->use_clock;
    return w;
}
