/* The engine's tables, looked at from another process.
 *
 * With engine_options.tables the engine puts its fragments, cache and windows into an arena that
 * was mapped before the fork, and goes on as ever: nothing is locked or announced. What is read
 * here may be torn, and it is nonsense if the guest has taken over the vCPU process. So every value
 * is copied once, and an index, pointer or size is checked before it is used: functions return
 * false or 0 where there is nothing sensible to see. */
#ifndef RING3_RUNTIME_ENGINE_VIEW_H
#define RING3_RUNTIME_ENGINE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "memory/shadow.h"
#include "translator/translate.h"

/* Bytes that the tables of an engine with such a cache take at most. */
size_t engine_tables_size(uint64_t cache_bytes, uint64_t ram_pages);

struct engine_summary {
    uint32_t cache_size, cache_used; /* by code, */
    uint32_t cold_used;              /* and by stubs that are seldom executed */
    uint32_t fragment_count;         /* numbers from 1 to below this are in use */
    uint64_t generation;             /* another one: fragments have other numbers now */
};
bool engine_view_summary(const struct arena *tables, struct engine_summary *summary);

/* Fragments are numbered from 1 on, without gaps, in the order of their places in the cache. */
struct fragment_view {
    uint64_t place, place2; /* of its bytes in RAM; of what lies on a second page, or 0 */
    uint32_t eip, linear, mode;
    uint32_t code, code_len, guest_len, insn_count; /* `code` is an offset in the cache */
    bool dead;
};
bool engine_view_fragment(const struct arena *tables, uint32_t number, struct fragment_view *view);
/* Its instruction map, ascending in host and guest bytes and inside the fragment. Returns how many.
 */
unsigned engine_view_insns(const struct arena *tables, uint32_t number,
                           struct insn_map insns[TRANSLATION_INSNS_MAX]);
/* Copies its host code, `room` bytes at most. Returns how many. */
uint32_t engine_view_code(const struct arena *tables, uint32_t number, uint8_t *to, uint32_t room);
/* Times that a sample found the processor in it. */
uint32_t engine_view_heat(const struct arena *tables, uint32_t number);

struct window_view {
    bool used;
    uint32_t cr3; /* of a user window */
    uint64_t last_use;
    unsigned region_count;
    uint16_t regions[2048]; /* indexes of the regions that it has */
};
bool engine_view_window(const struct arena *tables, unsigned number, struct window_view *view);

struct region_view {
    uint8_t flags[REGION_PAGES]; /* SHADOW_* */
    bool code[REGION_PAGES];     /* the page that is mapped here holds translated code */
};
bool engine_view_region(const struct arena *tables, unsigned window, unsigned index,
                        uint64_t ram_pages, struct region_view *view);

#endif
