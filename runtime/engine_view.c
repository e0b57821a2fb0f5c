/* The engine's tables, looked at from another process: see engine_view.h. */
#include "runtime/engine_view.h"

#include <assert.h>
#include <string.h>

#include "runtime/engine_private.h"

/* The engine is the first table of its arena; nothing of it is believed. */
static const volatile struct engine *engine_of(const struct arena *tables) {
    assert(tables->base && tables->size >= sizeof(struct engine));
    return (const volatile struct engine *)(const void *)tables->base;
}

size_t engine_tables_size(uint64_t cache_bytes, uint64_t ram_pages) {
    uint64_t cache = cache_bytes > CACHE_MINIMUM ? cache_bytes : CACHE_DEFAULT;
    uint64_t size =
        sizeof(struct engine) + cache + (uint64_t)FRAGMENTS_MAX * sizeof(struct fragment) +
        (uint64_t)MAPS_MAX * sizeof(struct insn_map) + FRAGMENTS_MAX * sizeof(uint32_t) +
        ram_pages + (uint64_t)SHADOW_REGIONS_MAX * sizeof(struct shadow_region);
    return (size_t)size + 16 * PAGE_SIZE;
}

/* `at` if [at, at + len) lies in the tables, else NULL. */
static const void *checked(const struct arena *tables, const volatile void *at, uint64_t len,
                           unsigned align) {
    uintptr_t offset = (uintptr_t)at - (uintptr_t)tables->base;
    bool inside = offset < tables->size && len <= tables->size - offset;
    return inside && offset % align == 0 ? (const void *)(tables->base + offset) : NULL;
}

/* Element `index` of the array at `array`, of `limit` at most. */
static const void *element(const struct arena *tables, const volatile void *array, uint32_t index,
                           uint32_t limit, unsigned size, unsigned align) {
    uintptr_t offset = (uintptr_t)array - (uintptr_t)tables->base;
    if (index >= limit || offset >= tables->size)
        return NULL;
    return checked(tables, tables->base + offset + (uint64_t)index * size, size, align);
}

/* How much of a span is taken, which is `most` at most. */
static uint32_t taken(const volatile struct span *span, uint32_t most) {
    uint32_t start = span->start, used = span->used;
    return used >= start && used - start <= most ? used - start : 0;
}

static unsigned part_count(const volatile struct engine *e) {
    uint32_t count = e->part_count;
    return count < CACHE_PARTS_MAX ? count : CACHE_PARTS_MAX;
}

/* A fragment's index in the pool; NO_FRAGMENT: there is no such number. */
static uint32_t index_of(const struct arena *tables, uint32_t number) {
    const volatile struct engine *e = engine_of(tables);
    uint32_t before = 1;
    for (unsigned i = 0; i < part_count(e) && number >= before; i++) {
        const volatile struct span *span = &e->parts[i].fragments;
        uint32_t count = taken(span, FRAGMENTS_MAX), start = span->start;
        if (number - before < count && start < FRAGMENTS_MAX)
            return start + (number - before);
        before += count;
    }
    return NO_FRAGMENT;
}

bool engine_view_summary(const struct arena *tables, struct engine_summary *summary) {
    const volatile struct engine *e = engine_of(tables);
    unsigned parts = part_count(e);
    uint32_t size = e->cache_size, count = 1, used = 0, cold = 0;
    if (!parts)
        return false;
    for (unsigned i = 0; i < parts; i++) {
        const volatile struct cache_part *part = &e->parts[i];
        count += taken(&part->fragments, FRAGMENTS_MAX - count);
        used += part->opened ? taken(&part->code, size - used - cold) : 0;
        used += part->opened ? taken(&(struct span){.start = part->lowest, .used = part->code.end}, size - used - cold) : 0;
        cold += part->opened ? taken(&part->cold, size - used - cold) : 0;
    }
    *summary = (struct engine_summary){.cache_size = size,
                                       .cache_used = used,
                                       .cold_used = cold,
                                       .fragment_count = count,
                                       .generation = e->evictions};
    return true;
}

static bool copy_fragment(const struct arena *tables, uint32_t number, struct fragment *f) {
    uint32_t index = index_of(tables, number);
    const struct fragment *at = element(tables, engine_of(tables)->fragments, index, FRAGMENTS_MAX,
                                        sizeof *f, _Alignof(struct fragment));
    if (!at || index == NO_FRAGMENT)
        return false;
    memcpy(f, at, sizeof *f);
    return f->code_len <= TRANSLATION_CODE_MAX && f->map_count <= TRANSLATION_INSNS_MAX &&
           f->guest_len <= TRANSLATION_INSNS_MAX * 15u;
}

bool engine_view_fragment(const struct arena *tables, uint32_t number, struct fragment_view *view) {
    struct fragment f;
    if (!copy_fragment(tables, number, &f))
        return false;
    *view = (struct fragment_view){
        .place = f.gpa,
        .place2 = f.gpa2,
        .eip = f.eip,
        .linear = fragment_linear(&f),
        .mode = f.space.mode,
        .code = f.code,
        .code_len = f.code_len,
        .guest_len = f.guest_len,
        .insn_count = f.map_count,
        .dead = *(const uint8_t *)&f.dead != 0, /* whatever a bool holds */
    };
    return true;
}

unsigned engine_view_insns(const struct arena *tables, uint32_t number,
                           struct insn_map insns[TRANSLATION_INSNS_MAX]) {
    struct fragment f;
    if (!copy_fragment(tables, number, &f) || f.map > MAPS_MAX - TRANSLATION_INSNS_MAX)
        return 0;
    const struct insn_map *maps =
        checked(tables, engine_of(tables)->maps, (uint64_t)MAPS_MAX * sizeof *maps,
                _Alignof(struct insn_map));
    if (!maps)
        return 0;
    memcpy(insns, maps + f.map, f.map_count * sizeof *insns);
    for (unsigned i = 0; i < f.map_count; i++)
        if (insns[i].host > f.code_len || insns[i].guest > f.guest_len ||
            (i && (insns[i].host < insns[i - 1].host || insns[i].guest < insns[i - 1].guest)))
            return 0;
    return f.map_count;
}

uint32_t engine_view_code(const struct arena *tables, uint32_t number, uint8_t *to, uint32_t room) {
    struct fragment f;
    if (!copy_fragment(tables, number, &f))
        return 0;
    uint32_t len = f.code_len < room ? f.code_len : room;
    const volatile struct engine *e = engine_of(tables);
    uint32_t size = e->cache_size;
    const uint8_t *cache = checked(tables, e->cache_write, size, 1);
    if (!cache || f.code > size || len > size - f.code)
        return 0;
    memcpy(to, cache + f.code, len);
    return len;
}

uint32_t engine_view_heat(const struct arena *tables, uint32_t number) {
    const volatile uint32_t *heat = element(tables, engine_of(tables)->heat, index_of(tables, number),
                                            FRAGMENTS_MAX, sizeof(uint32_t), _Alignof(uint32_t));
    return heat ? *heat : 0;
}

bool engine_view_window(const struct arena *tables, unsigned number, struct window_view *view) {
    if (number >= WINDOW_COUNT)
        return false;
    const volatile struct window *w = &engine_of(tables)->shadow.windows[number];
    unsigned count = w->active_count, kept = 0;
    if (count > sizeof view->regions / sizeof *view->regions)
        return false;
    view->used = number == WINDOW_SUPERVISOR || *(const volatile uint8_t *)&w->used;
    view->cr3 = *(const volatile uint32_t *)&engine_of(tables)->shadow.window_cr3[number];
    view->last_use = w->last_use;
    for (unsigned i = 0; i < count; i++) {
        uint16_t index = w->active[i];
        if (index < sizeof w->regions / sizeof *w->regions)
            view->regions[kept++] = index;
    }
    view->region_count = kept;
    return true;
}

bool engine_view_region(const struct arena *tables, unsigned window, unsigned index,
                        uint64_t ram_pages, struct region_view *view) {
    const volatile struct engine *e = engine_of(tables);
    if (window >= WINDOW_COUNT || index >= sizeof e->shadow.windows->regions / sizeof(void *))
        return false;
    const struct shadow_region *region = checked(tables, e->shadow.windows[window].regions[index],
                                                 sizeof *region, _Alignof(struct shadow_region));
    const volatile uint8_t *page_code = checked(tables, e->shadow.page_code, ram_pages, 1);
    if (!region || !page_code)
        return false;
    memcpy(view->flags, region->flags, sizeof view->flags);
    for (unsigned i = 0; i < REGION_PAGES; i++) {
        uint32_t pfn = ((const volatile uint32_t *)region->pfn)[i];
        view->code[i] = view->flags[i] & SHADOW_RECORDED && pfn < ram_pages && page_code[pfn];
    }
    return true;
}
