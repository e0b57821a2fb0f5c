/* Shadow page tables made of host mappings.
 *
 * A window is 4 GiB of host address space in which guest linear address L stands at base + L, as
 * seen from one privilege level: window 0 is the supervisor's, the others belong to user address
 * spaces. The host's own page tables shadow the guest's; this module fills them (mmap of the
 * RAM memfd), remembers the value of every guest entry it shadowed, and drops what no longer
 * agrees when the guest flushes (as a TLB may be stale until then, nothing happens when the
 * guest writes an entry).
 *
 * Fill, record and flush are async-signal-safe: no malloc, no stdio. The module knows nothing of
 * fragments: pages whose code was translated are reported through `dropped`. */
#ifndef RING3_MEMORY_SHADOW_H
#define RING3_MEMORY_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/counters.h"
#include "memory/ram.h"
#include "memory/walk.h"

/* Far below where mmap puts things by itself and far above the executable's data; each window has
 * unmapped guards below and above, wider than any instruction's reach. */
#define WINDOW_REGION 0x100000000000ull
#define WINDOW_STRIDE (16ull << 30)
#define WINDOW_GUARD (4ull << 30)
#define WINDOW_SIZE (4ull << 30)
#define WINDOW_COUNT 257u
#define WINDOW_SUPERVISOR 0u
#define WINDOW_TOUCHED_WORDS 16u
#define WINDOW_HINTS 1024u
#define WINDOWS_RECENT 8u
#define WINDOW_NOBODY 0xfffffffdu /* no CR3 */
#define WINDOWS_KEPT 32u /* so many user windows are taken before those of others that are gone */

/* Mappings we allow ourselves; the kernel's limit is 65,530 for the process. */
#define SHADOW_VMA_LIMIT 48000u
#define SHADOW_VMA_FLOOR 1024u /* below this a refused mapping does not lower the limit */

#define SHADOW_REGIONS_MAX 32768u
#define REGION_SHIFT 21
#define REGION_PAGES 512u

#define SHADOW_RECORDED 1u
#define SHADOW_MAPPED 2u
#define SHADOW_WRITABLE 4u
#define SHADOW_EXEC 8u   /* code was translated from here in this window */
#define SHADOW_GLOBAL 16u

/* What is shadowed of 2 MiB of linear space. */
struct shadow_region {
    uint64_t pde;
    gpa_t pde_gpa;
    gpa_t table;     /* of the region's first 4 KiB entry */
    bool large;      /* pde is a leaf (or paging is off) */
    uint8_t entry_size;
    uint32_t index;  /* gva >> REGION_SHIFT */
    uint32_t recorded, locals; /* entries recorded; those of them not global */
    uint64_t bitmap[REGION_PAGES / 64];
    uint64_t pte[REGION_PAGES];
    uint32_t pfn[REGION_PAGES];
    uint8_t flags[REGION_PAGES];
};

struct window {
    uintptr_t base;
    unsigned number;
    bool used;
    uint64_t last_use;
    bool sparse;        /* of a user window: its data are looked up, and mapped only where that cannot be; */
    uint32_t reaches, useful; /* how often, and how often the page was new (runtime/sparse_windows.c), */
    uint64_t touched[WINDOW_TOUCHED_WORDS]; /* which they were, by a hash */
    uint32_t vmas;      /* upper bound of host mappings */
    uint16_t active_count;
    struct shadow_region *regions[2048];
    uint16_t active[2048]; /* indexes of the regions present, dense */
};

struct shadow_node {
    uint32_t next;
    uint32_t page; /* gva >> 12 */
    uint16_t window;
};

/* A linear page, in all windows, whose accesses are to be seen: none is mapped writable, and with
 * `reads` none at all. */
struct shadow_watch {
    uint32_t page;
    bool reads;
};
#define SHADOW_WATCHED_MAX 32u

struct shadow {
    struct ram *ram;
    struct counters *counters;
    struct window windows[WINDOW_COUNT];
    uint32_t window_cr3[WINDOW_COUNT]; /* keys of the user's; together, as they are looked through */
    uint32_t *page_nodes;    /* reverse map: head of each RAM page's list, 0 ends */
    struct shadow_node *nodes;
    uint32_t node_free, node_next, node_max;
    uint8_t *page_code;      /* 1: the page holds translated code and is mapped read-only */
    struct shadow_region *region_pool, *region_free;
    uint32_t region_next, region_max;
    uint16_t window_hints[WINDOW_HINTS]; /* by CR3: which window was it? */
    uint16_t windows_recent[WINDOWS_RECENT]; /* user windows, last used first; 0: none */
    uint64_t use_clock;
    uint32_t vmas;      /* upper bound, of all windows */
    uint32_t vma_limit; /* lowered when the host refuses a mapping before it is reached */
    bool no_prefault;
    struct shadow_watch watched[SHADOW_WATCHED_MAX]; /* pages that are not mapped in the usual way */
    unsigned watched_count;
    bool watch_open; /* for the moment they are mapped as others */
    int host_error; /* errno of the mmap that could not be recovered from */
    /* A recorded page with SHADOW_EXEC is gone from a window. */
    void (*dropped)(void *opaque, unsigned window, gva_t gva, gpa_t gpa);
    void (*clearing)(void *opaque, unsigned window); /* all of them, one by one, are about to go; or NULL */
    void *opaque;
};

/* Reserves tables, those that say what is mapped in `tables` if there is one, and checks that the window
 * region is free. 0, or a negative errno. */
int shadow_init(struct shadow *s, struct ram *ram, struct counters *counters, struct arena *tables);

enum fill_result {
    FILL_OK,
    FILL_NOT_RAM, /* the physical page is not RAM: nothing was mapped */
    FILL_HOST,    /* the host refused memory; s->host_error says why */
};

/* Maps the page of `gva` (and contiguous neighbours) into a window with the rights that `walk`,
 * made for this very access with A/D set, grants; records the entries. */
enum fill_result shadow_fill(struct shadow *s, struct window *w, const struct paging *paging,
                             gva_t gva, const struct walk *walk, bool write);
/* Records that code was translated from this page of a window. */
void shadow_record_exec(struct shadow *s, struct window *w, const struct paging *paging, gva_t gva,
                        const struct walk *walk);
uint8_t shadow_flags(const struct window *w, gva_t gva);

/* Compares recorded entries with the guest's tables and drops what differs. */
void shadow_flush_window(struct shadow *s, struct window *w, const struct paging *paging,
                         bool global_too);
void shadow_flush_page(struct shadow *s, struct window *w, const struct paging *paging, gva_t gva);
/* Drops everything in a window. */
void shadow_clear_window(struct shadow *s, struct window *w);
/* Takes the mapping of one page away; what is recorded of it goes too. */
void shadow_unmap_page(struct shadow *s, struct window *w, gva_t gva);

/* The user window of an address space; `*fresh` when it starts empty. Least recently used ones
 * are evicted. */
struct window *shadow_user_window(struct shadow *s, uint32_t cr3, bool *fresh);

/* Write-protects a RAM page in every window (its code was translated), or lifts that. */
void shadow_protect_code(struct shadow *s, gpa_t gpa);
void shadow_release_code(struct shadow *s, gpa_t gpa);

/* Replaces the list of watched pages; what is mapped of old and new ones goes. `watch_open` ends. */
void shadow_watch(struct shadow *s, const struct shadow_watch *pages, unsigned count);
/* Would a mapping hide such an access? */
bool shadow_watches(const struct shadow *s, gva_t gva, bool write);
/* Ends `watch_open`: what was mapped goes. */
void shadow_watch_close(struct shadow *s);

/* The window that a host address lies in (guards included), or NULL. */
struct window *shadow_window_at(struct shadow *s, uintptr_t host);

/* Used between the parts of the module. */
struct shadow_region *shadow_region_get(struct shadow *s, struct window *w,
                                        const struct paging *paging, gva_t gva,
                                        const struct walk *walk);
void shadow_region_drop(struct shadow *s, struct window *w, struct shadow_region *r);
void shadow_entry_record(struct shadow_region *r, unsigned page, uint64_t pte, uint32_t pfn,
                         uint8_t flags);
void shadow_drop_pages(struct shadow *s, struct window *w, struct shadow_region *r, unsigned first,
                       unsigned count);
/* Takes the right to write from pages that are mapped with it; false: the host refused, nothing is changed. */
bool shadow_protect_pages(struct shadow *s, struct window *w, struct shadow_region *r, unsigned first,
                          unsigned count);
bool shadow_map_run(struct shadow *s, struct window *w, struct shadow_region *r, unsigned first,
                    unsigned count, bool writable);
gpa_t shadow_pde_gpa(const struct shadow *s, const struct paging *paging, gva_t gva);
uint64_t shadow_read_entry(const struct shadow *s, gpa_t gpa, unsigned size);

#endif
