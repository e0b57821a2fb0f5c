/* Shadow page tables: the entry diff that stands for a TLB flush.
 *
 * Directory entries are compared first, but equal ones prove nothing about the tables below, so
 * every recorded entry is compared too. Global entries survive address space loads, as they do
 * in a TLB (SDM vol. 3A, 4.10.2.4). */
#include <sys/mman.h>

#include "memory/shadow.h"

#define IGNORED_BITS 0xe00u /* available to software */

static bool directory_differs(const struct shadow *s, const struct shadow_region *r,
                              const struct paging *paging) {
    bool off = !(paging->cr0 & CR0_PG);
    if (off || r->entry_size == 0)
        return off != (r->entry_size == 0);
    unsigned size = paging->cr4 & CR4_PAE ? 8 : 4;
    gva_t gva = r->index << REGION_SHIFT;
    if (size != r->entry_size)
        return true;
    if (size == 8 && !(paging->pdpte[gva >> 30] & PTE_P))
        return true;
    gpa_t at = shadow_pde_gpa(s, paging, gva);
    uint64_t ignored = IGNORED_BITS | (r->large ? 0u : (uint64_t)PTE_D);
    uint64_t differing = (shadow_read_entry(s, at, size) ^ r->pde) & ~ignored;
    if (differing)
        return true;
    return false;
}

/* The guest's entries of a region, which lie on one page of its; NULL: not in memory. */
static const volatile void *table_of(const struct shadow *s, const struct shadow_region *r) {
    return r->large ? NULL : ram_ptr(s->ram, r->table, (size_t)REGION_PAGES * r->entry_size);
}

static uint64_t entry_at(const struct shadow_region *r, const volatile void *table, unsigned page) {
    if (!table)
        return ~0ull;
    return r->entry_size == 8 ? ((const volatile uint64_t *)table)[page] : ((const volatile uint32_t *)table)[page];
}

static uint64_t difference(const struct shadow_region *r, unsigned page, uint64_t pte) {
    return (pte ^ r->pte[page]) & ~(uint64_t)IGNORED_BITS;
}

/* Has the entry lost the right to write, and nothing else? So it is with all of a process's pages when it
 * forks: their mappings stay, to be read from. */
static bool only_lost_write(struct shadow_region *r, unsigned page, uint64_t pte) {
    if (pte & PTE_W || difference(r, page, pte) != PTE_W)
        return false;
    r->pte[page] = pte;
    return true;
}

struct run {
    unsigned start, count;
};

/* Adds a page to a run; false: it does not follow. */
static bool extend(struct run *run, unsigned page) {
    if (run->count && run->start + run->count != page)
        return false;
    if (!run->count)
        run->start = page;
    run->count++;
    return true;
}

/* A run of pages to be dropped goes over others that nothing is recorded of: one unmapping does for all. */
static bool extend_over(const struct shadow_region *r, struct run *run, unsigned page) {
    for (unsigned i = run->start + run->count; run->count && i < page; i++)
        if (r->flags[i] & SHADOW_RECORDED)
            return false;
    if (!run->count)
        run->start = page;
    run->count = page + 1 - run->start;
    return true;
}

static void drop_run(struct shadow *s, struct window *w, struct shadow_region *r, struct run *run) {
    if (run->count)
        shadow_drop_pages(s, w, r, run->start, run->count);
    run->count = 0;
}

static void protect_run(struct shadow *s, struct window *w, struct shadow_region *r, struct run *run) {
    if (run->count && !shadow_protect_pages(s, w, r, run->start, run->count))
        shadow_drop_pages(s, w, r, run->start, run->count);
    run->count = 0;
}

/* Drops, in runs, the recorded pages that `differs` or all of them (`whole`). */
static void flush_region(struct shadow *s, struct window *w, struct shadow_region *r, bool whole,
                         bool global_too) {
    struct run dropped = {0}, read_only = {0};
    const volatile void *table = whole ? NULL : table_of(s, r);
    for (unsigned word = 0; word < REGION_PAGES / 64; word++) {
        uint64_t bits = r->bitmap[word];
        while (bits) {
            unsigned page = word * 64 + (unsigned)__builtin_ctzll(bits);
            bits &= bits - 1;
            if (!global_too && r->flags[page] & SHADOW_GLOBAL)
                continue;
            s->counters->entries_compared++;
            uint64_t pte = whole ? 0 : entry_at(r, table, page);
            if (!whole && (r->large || !difference(r, page, pte)))
                continue;
            bool stays = !whole && only_lost_write(r, page, pte);
            if (stays && !(r->flags[page] & SHADOW_WRITABLE))
                continue;
            if (stays && !extend(&read_only, page)) {
                protect_run(s, w, r, &read_only);
                extend(&read_only, page);
            } else if (!stays && !extend_over(r, &dropped, page)) {
                drop_run(s, w, r, &dropped);
                extend_over(r, &dropped, page);
            }
        }
    }
    drop_run(s, w, r, &dropped);
    protect_run(s, w, r, &read_only);
}

/* Is the directory that all of the window was recorded under gone? Then another process has it by now. */
static bool all_differ(const struct shadow *s, const struct window *w, const struct paging *paging) {
    for (unsigned i = 0; i < w->active_count; i++)
        if (!directory_differs(s, w->regions[w->active[i]], paging))
            return false;
    return true;
}

void shadow_flush_window(struct shadow *s, struct window *w, const struct paging *paging,
                         bool global_too) {
    if (w->number != WINDOW_SUPERVISOR && all_differ(s, w, paging)) {
        shadow_clear_window(s, w);
        return;
    }
    for (unsigned i = w->active_count; i-- > 0;) {
        struct shadow_region *r = w->regions[w->active[i]];
        if (!global_too && r->locals == 0)
            continue;
        bool whole = directory_differs(s, r, paging);
        flush_region(s, w, r, whole, global_too);
        if (!r->recorded)
            shadow_region_drop(s, w, r);
        else if (!whole && r->entry_size)
            r->pde_gpa = shadow_pde_gpa(s, paging, r->index << REGION_SHIFT);
    }
}

void shadow_flush_page(struct shadow *s, struct window *w, const struct paging *paging, gva_t gva) {
    struct shadow_region *r = w->regions[gva >> REGION_SHIFT];
    unsigned page = gva >> PAGE_SHIFT & (REGION_PAGES - 1);
    if (!r)
        return;
    if (directory_differs(s, r, paging)) {
        if (r->large) /* INVLPG drops the whole page that holds the address */
            shadow_drop_pages(s, w, r, 0, REGION_PAGES);
        else if (r->flags[page] & SHADOW_RECORDED)
            shadow_drop_pages(s, w, r, page, 1);
    } else if (!r->large && r->flags[page] & SHADOW_RECORDED &&
               difference(r, page, entry_at(r, table_of(s, r), page))) {
        shadow_drop_pages(s, w, r, page, 1);
    }
    if (!r->recorded)
        shadow_region_drop(s, w, r);
}
