/* Windows against the guest's page tables: what is mapped of what could be.
 *
 * A page with U=1 belongs to user windows, any other to the supervisor's (all of them with paging
 * off), so each page that the guest's tables have stands in one window only. The tables are walked
 * here by reading alone: no accessed bit is set. */
#include <stdlib.h>
#include <string.h>

#include "inspect/web_private.h"

#define BLOCK_SHIFT 22 /* 4 MiB */
#define BLOCKS 1024u
#define BLOCK_PAGES 1024u
#define REGIONS_OF_BLOCK 2u

/* The letters of web_pages. */
enum page_state {
    PAGE_NOTHING = '.', /* not in the guest's tables, and no window has it */
    PAGE_PRESENT = 'p', /* in the guest's tables, never touched since the last flush */
    PAGE_WRITABLE = 'w',
    PAGE_READ_ONLY = 'r',
    PAGE_TRACED = 'x', /* holds translated code: writes are caught */
    PAGE_STALE = 's',  /* mapped, and gone from the tables: as a TLB may have it until the flush */
};

struct space {
    const struct web_server *server;
    unsigned window;
    struct paging paging;
    bool user;
};

/* The paging of a window's address space; PAE's pointers are read again, as a load of CR3 would. */
static bool open_space(const struct web_server *server, unsigned window, struct space *space) {
    struct window_view view;
    if (!engine_view_window(web_tables(server), window, &view) || !view.used)
        return false;
    *space =
        (struct space){.server = server, .window = window, .user = window != WINDOW_SUPERVISOR};
    struct paging *paging = &space->paging;
    web_copy_paging(server, paging);
    if (!space->user || !(paging->cr0 & CR0_PG) || view.cr3 == paging->cr3)
        return true;
    paging->cr3 = view.cr3;
    const void *pointers = ram_ptr(web_ram(server), view.cr3 & ~31u, sizeof paging->pdpte);
    if (paging->cr4 & CR4_PAE && pointers)
        memcpy(paging->pdpte, pointers, sizeof paging->pdpte);
    return true;
}

/* What the guest's tables say of the pages of a block: present, and this window's. */
static void walk_block(const struct space *space, unsigned block, bool present[BLOCK_PAGES]) {
    gva_t start = (gva_t)block << BLOCK_SHIFT;
    bool paged = (space->paging.cr0 & CR0_PG) != 0;
    memset(present, 0, BLOCK_PAGES * sizeof *present);
    for (unsigned page = 0; page < BLOCK_PAGES;) {
        struct walk walk = walk_page(web_ram(space->server), &space->paging,
                                     start + (page << PAGE_SHIFT), ACCESS_READ, false, false);
        unsigned step = 1;
        if (!paged || (walk.pde & PTE_P && walk.large) ||
            !(walk.pde & PTE_P)) /* one entry says it all */
            step = paged && space->paging.cr4 & CR4_PAE ? BLOCK_PAGES / 2 : BLOCK_PAGES;
        bool there = walk.ok && (paged ? walk.user == space->user : !space->user) &&
                     ram_is_page(web_ram(space->server), walk.gpa & ~(gpa_t)PAGE_MASK);
        for (unsigned end = page + step; page < end && page < BLOCK_PAGES; page++)
            present[page] =
                there && (step == 1 || ram_is_page(web_ram(space->server),
                                                   (walk.gpa & ~(gpa_t)PAGE_MASK) +
                                                       ((gpa_t)(page % step) << PAGE_SHIFT)));
    }
}

static enum page_state state_of(uint8_t flags, bool code, bool present) {
    bool mapped = flags & SHADOW_MAPPED, traced = flags & SHADOW_EXEC || (mapped && code);
    if (traced)
        return PAGE_TRACED;
    if (!mapped)
        return present ? PAGE_PRESENT : PAGE_NOTHING;
    if (!present)
        return PAGE_STALE;
    return flags & SHADOW_WRITABLE ? PAGE_WRITABLE : PAGE_READ_ONLY;
}

/* The letters of a block's pages. */
static void look_at_block(const struct space *space, unsigned block, char letters[BLOCK_PAGES]) {
    const struct web_server *server = space->server;
    bool present[BLOCK_PAGES];
    walk_block(space, block, present);
    for (unsigned half = 0; half < REGIONS_OF_BLOCK; half++) {
        struct region_view region;
        if (!engine_view_region(web_tables(server), space->window, block * REGIONS_OF_BLOCK + half,
                                ram_page_count(web_ram(server)), &region))
            memset(&region, 0, sizeof region);
        for (unsigned i = 0; i < REGION_PAGES; i++) {
            unsigned page = half * REGION_PAGES + i;
            letters[page] = (char)state_of(region.flags[i], region.code[i], present[page]);
        }
    }
}

json_t *web_pages(const struct web_server *server, unsigned window, unsigned block) {
    struct space space;
    char letters[BLOCK_PAGES];
    if (block >= BLOCKS || !open_space(server, window, &space))
        return NULL;
    look_at_block(&space, block, letters);
    return json_pack("{sisiss#}", "window", (int)window, "block", (int)block, "pages", letters,
                     (int)BLOCK_PAGES);
}

/* [block, present, writable, read-only, traced, stale], or NULL for one that is empty. */
static json_t *block_json(const struct space *space, unsigned block) {
    char letters[BLOCK_PAGES];
    unsigned counts[256] = {0};
    look_at_block(space, block, letters);
    for (unsigned i = 0; i < BLOCK_PAGES; i++)
        counts[(unsigned char)letters[i]]++;
    if (counts[PAGE_NOTHING] == BLOCK_PAGES)
        return NULL;
    return json_pack("[iiiiii]", (int)block, (int)counts[PAGE_PRESENT], (int)counts[PAGE_WRITABLE],
                     (int)counts[PAGE_READ_ONLY], (int)counts[PAGE_TRACED],
                     (int)counts[PAGE_STALE]);
}

json_t *web_blocks(const struct web_server *server, unsigned window) {
    struct space space;
    if (!open_space(server, window, &space))
        return NULL;
    json_t *blocks = json_array();
    for (unsigned block = 0; block < BLOCKS; block++)
        json_array_append_new(blocks, block_json(&space, block)); /* NULL is not appended */
    return json_pack("{siso*}", "window", (int)window, "blocks", blocks);
}

json_t *web_windows(const struct web_server *server) {
    json_t *list = json_array();
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        struct window_view view;
        if (!engine_view_window(web_tables(server), i, &view) || !view.used)
            continue;
        json_array_append_new(
            list, json_pack("{sisIsIsi}", "number", (int)i, "cr3", (json_int_t)view.cr3, "last_use",
                            (json_int_t)view.last_use, "regions", (int)view.region_count));
    }
    return list;
}
