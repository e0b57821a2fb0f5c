/* Shadow page tables: host mappings and the reverse map. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/shadow.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

static void node_add(struct shadow *s, uint32_t pfn, unsigned window, uint32_t page) {
    uint32_t n = s->node_free;
    if (n)
        s->node_free = s->nodes[n].next;
    else
        n = s->node_next++;
    assert(n < s->node_max);
    s->nodes[n] = (struct shadow_node){s->page_nodes[pfn], page, (uint16_t)window};
    s->page_nodes[pfn] = n;
}

static void node_remove(struct shadow *s, uint32_t pfn, unsigned window, uint32_t page) {
    for (uint32_t *link = &s->page_nodes[pfn]; *link; link = &s->nodes[*link].next) {
        uint32_t n = *link;
        if (s->nodes[n].page != page || s->nodes[n].window != window)
            continue;
        *link = s->nodes[n].next;
        s->nodes[n].next = s->node_free;
        s->node_free = n;
        return;
    }
    assert(false && "a mapped page is missing from the reverse map");
}

static gva_t region_gva(const struct shadow_region *r, unsigned page) {
    return r->index << REGION_SHIFT | page << PAGE_SHIFT;
}

/* Mappings of a window as the host counts them: adjacent pages of one run of RAM with the same
 * protection are one (between regions they may be, which is not looked at). */
static uint32_t count_runs(const struct window *w) {
    uint32_t runs = 0;
    for (unsigned i = 0; i < w->active_count; i++) {
        const struct shadow_region *r = w->regions[w->active[i]];
        const uint8_t kind = SHADOW_MAPPED | SHADOW_WRITABLE;
        for (unsigned page = 0; page < REGION_PAGES; page++) {
            if (!(r->flags[page] & SHADOW_MAPPED))
                continue;
            bool joins = page && !((r->flags[page] ^ r->flags[page - 1]) & kind) &&
                         r->pfn[page] == r->pfn[page - 1] + 1;
            runs += !joins;
        }
    }
    return runs;
}

/* The counts only grow while pages come and go: at the limit they are made exact. */
static void recount(struct shadow *s) {
    s->vmas = 0;
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        s->windows[i].vmas = count_runs(&s->windows[i]);
        s->vmas += s->windows[i].vmas;
    }
}

static void count_mappings(struct shadow *s, struct window *w, unsigned more) {
    w->vmas += more;
    s->vmas += more;
}

/* Unmaps a window and keeps what was recorded: it is mapped again as it is used. One unmapping of
 * everything splits nothing, so it succeeds at the limit of mappings too. */
static void unmap_window(struct shadow *s, struct window *w) {
    for (unsigned i = 0; i < w->active_count; i++) {
        struct shadow_region *r = w->regions[w->active[i]];
        for (unsigned page = 0; page < REGION_PAGES; page++) {
            if (!(r->flags[page] & SHADOW_MAPPED))
                continue;
            node_remove(s, r->pfn[page], w->number, region_gva(r, page) >> PAGE_SHIFT);
            r->flags[page] &= (uint8_t) ~(SHADOW_MAPPED | SHADOW_WRITABLE);
        }
    }
    int status = munmap((void *)w->base, WINDOW_SIZE);
    assert(status == 0);
    s->vmas -= w->vmas;
    w->vmas = 0;
}

/* Gives up mappings: the least recently used user window, then the supervisor's, then what stands
 * in `w` itself. False when there is nothing left. */
static bool make_room(struct shadow *s, struct window *w) {
    struct window *oldest = NULL;
    for (unsigned i = 1; i < WINDOW_COUNT; i++) {
        struct window *other = &s->windows[i];
        if (other != w && other->vmas && (!oldest || other->last_use < oldest->last_use))
            oldest = other;
    }
    struct window *supervisor = &s->windows[WINDOW_SUPERVISOR];
    if (!oldest && w != supervisor && supervisor->vmas)
        oldest = supervisor;
    if (!oldest && !w->vmas)
        return false;
    if (oldest)
        shadow_clear_window(s, oldest);
    else
        unmap_window(s, w);
    s->counters->windows_evicted++;
    return true;
}

/* The host's limit is nearer than ours: somebody else has many mappings. From now on we stay below
 * it, so that malloc need not fail next. */
static bool refused(struct shadow *s, struct window *w) {
    recount(s);
    uint32_t limit = s->vmas - s->vmas / 8;
    if (limit < SHADOW_VMA_FLOOR)
        limit = SHADOW_VMA_FLOOR;
    if (limit < s->vma_limit)
        s->vma_limit = limit;
    return make_room(s, w);
}

/* mmap at its limit fails with ENOMEM, and so does malloc: room is made before that happens, and
 * more if it happens all the same. */
static bool map(struct shadow *s, struct window *w, gva_t gva, uint32_t pfn, unsigned count,
                bool writable, bool replace) {
    int prot = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    int flags = MAP_SHARED | MAP_POPULATE | (replace ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    void *at = (void *)(w->base + gva);
    gpa_t gpa = (gpa_t)pfn << PAGE_SHIFT;
    int status = ram_allocate(s->ram, gpa, (size_t)count << PAGE_SHIFT);
    if (status) {
        s->host_error = -status;
        return false;
    }
    if (s->vmas >= s->vma_limit) {
        recount(s);
        while (s->vmas >= s->vma_limit - s->vma_limit / 4 && make_room(s, w)) {
        }
    }
    do {
        void *got = mmap(at, (size_t)count << PAGE_SHIFT, prot, flags, s->ram->fd, (off_t)gpa);
        if (got == at) {
            count_mappings(s, w, replace ? 2 : 1);
            s->counters->map_calls++;
            s->counters->pages_mapped += count;
            return true;
        }
        if (got != MAP_FAILED) { /* an old kernel took NOREPLACE for a hint: not in our place */
            munmap(got, (size_t)count << PAGE_SHIFT);
            errno = EEXIST;
        }
        s->host_error = errno;
    } while (errno == ENOMEM && refused(s, w));
    return false;
}

/* A page that stands there read-only: half the price of another mapping in its place. */
static bool allow_writes(struct shadow *s, struct window *w, struct shadow_region *r, unsigned page) {
    void *at = (void *)(w->base + region_gva(r, page));
    if (r->flags[page] & SHADOW_WRITABLE || mprotect(at, PAGE_SIZE, PROT_READ | PROT_WRITE))
        return false;
    r->flags[page] |= SHADOW_WRITABLE;
    count_mappings(s, w, 2);
    return true;
}

bool shadow_map_run(struct shadow *s, struct window *w, struct shadow_region *r, unsigned first,
                    unsigned count, bool writable) {
    bool replace = (r->flags[first] & SHADOW_MAPPED) != 0;
    assert(count >= 1 && first + count <= REGION_PAGES && (!replace || count == 1));
    if (replace && writable && allow_writes(s, w, r, first))
        return true;
    if (!map(s, w, region_gva(r, first), r->pfn[first], count, writable, replace))
        return false;
    for (unsigned i = first; i < first + count; i++) {
        if (!(r->flags[i] & SHADOW_MAPPED))
            node_add(s, r->pfn[i], w->number, region_gva(r, i) >> PAGE_SHIFT);
        r->flags[i] |= SHADOW_MAPPED;
        r->flags[i] =
            (uint8_t)(writable ? r->flags[i] | SHADOW_WRITABLE : r->flags[i] & ~SHADOW_WRITABLE);
    }
    return true;
}

static void forget(struct shadow *s, struct window *w, struct shadow_region *r, unsigned page) {
    uint8_t flags = r->flags[page];
    gva_t gva = region_gva(r, page);
    if (flags & SHADOW_MAPPED)
        node_remove(s, r->pfn[page], w->number, gva >> PAGE_SHIFT);
    r->flags[page] = 0;
    r->bitmap[page / 64] &= ~(1ull << page % 64);
    r->recorded--;
    if (!(flags & SHADOW_GLOBAL))
        r->locals--;
    s->counters->entries_dropped++;
    if (flags & SHADOW_EXEC)
        s->dropped(s->opaque, w->number, gva, (gpa_t)r->pfn[page] << PAGE_SHIFT);
}

void shadow_drop_pages(struct shadow *s, struct window *w, struct shadow_region *r, unsigned first,
                       unsigned count) {
    bool mapped = false;
    for (unsigned i = first; i < first + count; i++) {
        if (!(r->flags[i] & SHADOW_RECORDED))
            continue;
        mapped |= (r->flags[i] & SHADOW_MAPPED) != 0;
        forget(s, w, r, i);
    }
    if (!mapped)
        return;
    void *at = (void *)(w->base + region_gva(r, first));
    count_mappings(s, w, 1);
    /* Unmapping inside a run splits it, which can fail at the limit of mappings: a stale page must
     * not stay. */
    while (munmap(at, (size_t)count << PAGE_SHIFT)) {
        bool room = errno == ENOMEM && make_room(s, w);
        assert(room);
    }
}

bool shadow_protect_pages(struct shadow *s, struct window *w, struct shadow_region *r, unsigned first,
                          unsigned count) {
    if (mprotect((void *)(w->base + region_gva(r, first)), (size_t)count << PAGE_SHIFT, PROT_READ))
        return false;
    for (unsigned i = first; i < first + count; i++) {
        assert(r->flags[i] & SHADOW_MAPPED && r->flags[i] & SHADOW_WRITABLE);
        r->flags[i] &= (uint8_t)~SHADOW_WRITABLE;
    }
    count_mappings(s, w, 2);
    return true;
}

void shadow_unmap_page(struct shadow *s, struct window *w, gva_t gva) {
    struct shadow_region *r = w->regions[gva >> REGION_SHIFT];
    if (r)
        shadow_drop_pages(s, w, r, gva >> PAGE_SHIFT & (REGION_PAGES - 1), 1);
}

void shadow_clear_window(struct shadow *s, struct window *w) {
    if (!w->active_count && !w->vmas)
        return;
    if (s->clearing)
        s->clearing(s->opaque, w->number);
    while (w->active_count) {
        struct shadow_region *r = w->regions[w->active[w->active_count - 1]];
        for (unsigned word = 0; word < REGION_PAGES / 64; word++)
            while (r->bitmap[word])
                forget(s, w, r, word * 64 + (unsigned)__builtin_ctzll(r->bitmap[word]));
        shadow_region_drop(s, w, r);
    }
    munmap((void *)w->base, WINDOW_SIZE);
    s->vmas -= w->vmas;
    w->vmas = 0;
}

void shadow_protect_code(struct shadow *s, gpa_t gpa) {
    uint32_t pfn = (uint32_t)(gpa >> PAGE_SHIFT);
    if (s->page_code[pfn])
        return;
    s->page_code[pfn] = 1;
    for (uint32_t n = s->page_nodes[pfn]; n;) {
        struct window *w = &s->windows[s->nodes[n].window];
        gva_t gva = s->nodes[n].page << PAGE_SHIFT;
        struct shadow_region *r = w->regions[gva >> REGION_SHIFT];
        unsigned page = gva >> PAGE_SHIFT & (REGION_PAGES - 1);
        assert(r && r->flags[page] & SHADOW_MAPPED);
        bool writable = r->flags[page] & SHADOW_WRITABLE;
        if (writable && mprotect((void *)(w->base + gva), PAGE_SIZE, PROT_READ)) {
            /* Splitting failed at the limit of mappings. Room changes the list: from its start. */
            bool room = errno == ENOMEM && make_room(s, w);
            assert(room);
            n = s->page_nodes[pfn];
            continue;
        }
        r->flags[page] &= (uint8_t)~SHADOW_WRITABLE;
        if (writable)
            count_mappings(s, w, 2);
        n = s->nodes[n].next;
    }
}

void shadow_release_code(struct shadow *s, gpa_t gpa) { s->page_code[gpa >> PAGE_SHIFT] = 0; }
