/* Fragments: their index, and links between them.
 *
 * A link is an incoming-list entry of its target, so that a fragment that goes can send everybody who jumps
 * to it back to their stubs. One that is invalidated leaves its code where it is, until the part of the
 * cache that it lies in is evicted (cache_parts.c); there, each lies before the one made before it, so
 * that a host address is found by bisection. */
#include <assert.h>
#include <string.h>

#include "runtime/engine_private.h"
#include "runtime/fpu_state.h"
#include "runtime/instrument.h"
#include "runtime/plugins.h"

#define HASH_BYTES 8u /* of code that have a bucket together */

static uint32_t page_of(gpa_t gpa) { return (uint32_t)(gpa >> PAGE_SHIFT); }

/* Fragments that are made one after the other are mostly neighbours on a page: so are their buckets. */
static uint32_t hash_of(gpa_t gpa, uint32_t mode) {
    uint64_t key = (page_of(gpa) ^ (uint64_t)mode << 32) * 0x9e3779b97f4a7c15ull;
    return ((uint32_t)(key >> 40) + (uint32_t)(gpa & PAGE_MASK) / HASH_BYTES) & (HASH_SIZE - 1);
}

static void forget_pages(struct engine *e, const struct fragment *f) {
    uint32_t pages[2] = {page_of(f->gpa), page_of(f->gpa2)};
    for (unsigned k = 0; k < (f->gpa2 ? 2u : 1u); k++) {
        e->page_fragments[pages[k]] = e->page2_fragments[pages[k]] = NO_FRAGMENT;
        shadow_release_code(&e->shadow, (gpa_t)pages[k] << PAGE_SHIFT);
    }
}

static void empty_part(struct engine *e, const struct cache_part *part) {
    for (uint32_t i = part->fragments.start; i < part->fragments.used; i++) {
        struct fragment *f = &e->fragments[i];
        if (f->dead)
            continue;
        e->hash[hash_of(f->gpa, f->space.mode)] = NO_FRAGMENT;
        code_bytes_clear(e, f);
        forget_pages(e, f);
    }
    if (e->heat)
        memset(e->heat + part->fragments.start, 0,
               (part->fragments.used - part->fragments.start) * sizeof *e->heat);
}

void fragments_flush_all(struct vcpu *v) {
    struct engine *e = v->engine;
    uint32_t count = 0, bytes = 0;
    fpu_forget_code(v, (uintptr_t)e->cache_exec, e->cache_size);
    for (unsigned i = 0; i < e->part_count; i++) {
        const struct cache_part *part = &e->parts[i];
        empty_part(e, part);
        count += part->fragments.used - part->fragments.start;
        bytes += part->opened ? cache_part_used(part) : 0;
    }
    TRACE(v->trace, empty_cache, count, bytes);
    e->loop_edge_count = e->crossing_count = 0;
    cache_empty(e);
    jump_caches_reset(e);
    return_stacks_forget(e);
    return_stack_settle(v, false);
    e->flush_cache = false;
    e->evictions++;
    v->counters->cache_flushes++;
    instrument_open_part(v->plugins, 0, e->part_count);
    PLUGIN_EVENT(v, FLUSH, RING3_FLUSH_CACHE, 0, v->cpu.eip);
}

struct fragment *fragment_find(struct engine *e, gpa_t gpa, uint32_t eip,
                               const struct code_space *space) {
    for (uint32_t i = e->hash[hash_of(gpa, space->mode)]; i; i = e->fragments[i].hash_next) {
        struct fragment *f = &e->fragments[i];
        if (f->gpa == gpa && f->eip == eip && code_space_equal(&f->space, space))
            return f;
    }
    return NULL;
}

static const struct insn_map *insn_at(const struct engine *e, const struct fragment *f, uint32_t guest) {
    const struct insn_map *map = &e->maps[f->map];
    for (unsigned i = 1; i < f->map_count && map[i].guest <= guest; i++)
        if (map[i].guest == guest)
            return &map[i];
    return NULL;
}

struct fragment *fragment_inside(struct engine *e, gpa_t gpa, uint32_t eip,
                                 const struct code_space *space, uint32_t *at) {
    for (uint32_t i = e->page_fragments[page_of(gpa)]; i; i = e->fragments[i].page_next) {
        struct fragment *f = &e->fragments[i];
        uint32_t guest = (uint32_t)(gpa - f->gpa); /* huge where the fragment starts behind it */
        if (guest >= f->guest_len || f->gpa2 || f->probed || f->is_loop || f->copy || f->eip + guest != eip ||
            !code_space_equal(&f->space, space))
            continue;
        const struct insn_map *insn = insn_at(e, f, guest);
        if (!insn || insn->esp)
            continue;
        *at = insn->host;
        return f;
    }
    return NULL;
}

static void enter_hash(struct engine *e, struct fragment *f) {
    uint32_t *bucket = &e->hash[hash_of(f->gpa, f->space.mode)];
    f->hash_next = *bucket;
    *bucket = fragment_index(e, f);
}

void fragment_commit(struct vcpu *v, struct fragment *f, const struct translation *t) {
    struct engine *e = v->engine;
    uint32_t index = fragment_index(e, f);
    struct cache_part *part = e->part;
    assert(index == part->fragments.used);
    f->code = (uint32_t)(t->code - e->cache_write);
    f->code_len = t->code_len;
    f->guest_len = t->guest_len;
    f->map_count = t->insn_count;
    f->undecoded = t->undecoded;
    f->live = t->live;
    struct insn_map *map = &e->maps[f->map];
    for (uint32_t i = 0; i < t->insn_count; i++) /* REP takes longer to begin */
        map[i] = t->map[i];
    insn_starts_add(e, f->gpa, t);
    f->exit_count = (uint8_t)t->exit_count;
    for (unsigned i = 0; i < t->exit_count; i++) {
        struct fragment_exit *exit = &e->exits[f->exits + i];
        *exit = (struct fragment_exit){.to = NO_FRAGMENT};
        exit->site = f->code + t->exits[i].site;
        exit->target = t->exits[i].target;
        memcpy(&exit->stub_rel, e->cache_write + exit->site, sizeof exit->stub_rel);
        if (t->exits[i].copied) {
            f->copied |= (uint16_t)(1u << i);
            e->copied_targets |= tail_bit(exit->target);
        }
    }
    part->fragments.used++;
    part->live++;
    part->maps.used += t->insn_count;
    part->exits.used += t->exit_count;
    part->cold.used += (t->cold_len + 15u) & ~15u;
    if (part->goes_down)
        part->lowest = f->pad ? f->pad : f->code;
    else
        part->code.used = (f->code + f->code_len + 3u) & ~3u;
    assert(part->lowest >= part->code.used && f->code + f->code_len <= part->code.end);
    if (!f->copy)
        enter_hash(e, f);
    f->page_next = e->page_fragments[page_of(f->gpa)];
    if (f->page_next)
        e->fragments[f->page_next].page_previous = index;
    e->page_fragments[page_of(f->gpa)] = index;
    if (f->gpa2) {
        f->page2_next = e->page2_fragments[page_of(f->gpa2)];
        e->page2_fragments[page_of(f->gpa2)] = index;
    }
    code_bytes_mark(v, f);
    cache_note_made(e, f);
    if (t->loop_at)
        loops_add(v, f, t->loop_at);
    if (t->crosses)
        crossings_add(e, f, t);
    v->counters->fragments++;
    v->counters->fragment_bytes += t->code_len;
    v->counters->guest_bytes += t->guest_len;
    v->counters->guest_insns += t->insn_count;
}

struct fragment *fragment_at(struct engine *e, uintptr_t pc) {
    uintptr_t offset = pc - (uintptr_t)e->cache_exec;
    if (offset >= e->cache_size)
        return NULL;
    if (offset < SCRATCH_CODE)
        return offset < e->scratch.code_len ? &e->scratch : NULL;
    const struct cache_part *part = cache_part_at(e, (uint32_t)offset);
    if (!part)
        return NULL;
    uint32_t start = part->fragments.start, end = part->fragments.used, low = start, high = end;
    while (low < high) { /* going up, the first fragment behind `offset`; going down, the first not behind it */
        uint32_t middle = low + (high - low) / 2;
        if ((e->fragments[middle].code > offset) == part->goes_down)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == (part->goes_down ? end : start))
        return NULL;
    struct fragment *f = &e->fragments[part->goes_down ? low : low - 1];
    return offset < f->code + f->code_len ? f : NULL;
}

const struct insn_map *fragment_insn(const struct engine *e, const struct fragment *f, uintptr_t pc) {
    const struct insn_map *map = f == &e->scratch ? e->scratch_map : &e->maps[f->map];
    uint32_t offset = (uint32_t)(pc - (uintptr_t)e->cache_exec - f->code);
    const struct insn_map *found = map;
    for (uint32_t i = 1; i < f->map_count && map[i].host <= offset; i++)
        found = &map[i];
    return found;
}

uint32_t fragment_body(const struct engine *e, const struct fragment *f, uint32_t at) {
    return fragment_insn(e, f, (uintptr_t)e->cache_exec + f->code + at)->body;
}

static void unlink_exit(struct vcpu *v, struct fragment_exit *exit) {
    cache_patch(v->engine, exit->site, exit->stub_rel);
    exit->to = NO_FRAGMENT;
    v->counters->links_undone++;
    TRACE(v->trace, unlink, (uintptr_t)v->engine->cache_exec + exit->site);
}

static void unlink_incoming(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    while (f->incoming) {
        struct fragment_exit *exit = &e->exits[f->incoming];
        f->incoming = exit->next;
        unlink_exit(v, exit);
    }
}

/* Out of the list of its target's incoming links. */
static void leave_list(struct engine *e, const struct fragment_exit *exit) {
    assert(exit->to != NO_FRAGMENT);
    if (exit->previous)
        e->exits[exit->previous].next = exit->next;
    else
        e->fragments[exit->to].incoming = exit->next;
    if (exit->next)
        e->exits[exit->next].previous = exit->previous;
}

static void unlink_outgoing(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    for (unsigned i = 0; i < f->exit_count; i++) {
        struct fragment_exit *exit = &e->exits[f->exits + i];
        if (exit->to == NO_FRAGMENT)
            continue;
        leave_list(e, exit);
        unlink_exit(v, exit); /* a return may still land in it */
    }
}

void fragment_link(struct vcpu *v, uintptr_t site, struct fragment *to, uint32_t at) {
    struct engine *e = v->engine;
    struct fragment *from = fragment_at(e, site);
    uint32_t offset = (uint32_t)(site - (uintptr_t)e->cache_exec);
    if (!from || from == &e->scratch || from->dead || to == &e->scratch)
        return; /* what it stood in is gone */
    for (unsigned i = 0; i < from->exit_count; i++) {
        struct fragment_exit *exit = &e->exits[from->exits + i];
        if (exit->site != offset || exit->to != NO_FRAGMENT || exit->target != v->cpu.eip)
            continue;
        assert(code_space_equal(&from->space, &to->space));
        if ((from->copied >> i & 1) != (to->copy != 0))
            return; /* nobody looks for attention on the way to a copy */
        /* User code: a straddling fragment's second page is the address space's own. */
        if (to->gpa2 && (to->space.mode & MODE_CPL) == 3) {
            fragment_link_thunk(e, exit);
            return;
        }
        exit->to = fragment_index(e, to);
        exit->next = to->incoming;
        exit->previous = 0;
        if (exit->next)
            e->exits[exit->next].previous = from->exits + i;
        to->incoming = from->exits + i;
        cache_patch(e, exit->site, to->code + at - (exit->site + 4));
        v->counters->links_made++;
        PLUGIN_EVENT(v, LINK, fragment_linear(from), v->cpu.seg[SEG_CS].base + v->cpu.eip);
        TRACE(v->trace, link, site, fragment_index(e, from), exit->to, fragment_linear(to));
        return;
    }
}

void fragment_link_exit(struct vcpu *v, const struct fragment *from, uint32_t index, struct fragment *to) {
    struct engine *e = v->engine;
    struct fragment_exit *exit = &e->exits[index];
    assert(exit->to == NO_FRAGMENT && exit->target == to->eip && !to->dead);
    exit->to = fragment_index(e, to);
    exit->next = to->incoming;
    exit->previous = 0;
    if (exit->next)
        e->exits[exit->next].previous = index;
    to->incoming = index;
    cache_patch(e, exit->site, to->code - (exit->site + 4));
    v->counters->links_made++;
    PLUGIN_EVENT(v, LINK, fragment_linear(from), fragment_linear(to));
    TRACE(v->trace, link, (uintptr_t)e->cache_exec + exit->site, fragment_index(e, from), exit->to, fragment_linear(to));
}

void fragment_unlink_exit(struct vcpu *v, uint32_t index) {
    leave_list(v->engine, &v->engine->exits[index]);
    unlink_exit(v, &v->engine->exits[index]);
}

static void remove_from(uint32_t *head, struct engine *e, uint32_t index, size_t next_field) {
    uint32_t *link = head;
    while (*link != index) {
        assert(*link);
        link = (uint32_t *)(void *)((uint8_t *)&e->fragments[*link] + next_field);
    }
    *link = *(uint32_t *)(void *)((uint8_t *)&e->fragments[index] + next_field);
}

static void leave_page(struct engine *e, const struct fragment *f) {
    if (f->page_previous)
        e->fragments[f->page_previous].page_next = f->page_next;
    else
        e->page_fragments[page_of(f->gpa)] = f->page_next;
    if (f->page_next)
        e->fragments[f->page_next].page_previous = f->page_previous;
}

static void leave_index(struct engine *e, const struct fragment *f) {
    uint32_t index = fragment_index(e, f);
    if (!f->copy)
        remove_from(&e->hash[hash_of(f->gpa, f->space.mode)], e, index,
                    __builtin_offsetof(struct fragment, hash_next));
    leave_page(e, f);
    if (f->gpa2)
        remove_from(&e->page2_fragments[page_of(f->gpa2)], e, index,
                    __builtin_offsetof(struct fragment, page2_next));
}

static void bury(struct engine *e, struct fragment *f) {
    struct cache_part *part = cache_part_of_fragment(e, fragment_index(e, f));
    assert(!f->dead && part->live);
    f->dead = true;
    part->live--;
}

void fragment_forget_soon(const struct engine *e, const struct fragment *f) {
    jump_caches_forget_soon(e, f);
    prefetch(&e->hash[hash_of(f->gpa, f->space.mode)]);
}

void fragment_expect(const struct engine *e, gpa_t gpa, uint32_t mode) {
    prefetch(&e->hash[hash_of(gpa, mode)]);
    cache_expect(e, gpa, mode);
}

static void kill_fragment(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    unlink_incoming(v, f);
    jump_caches_forget(e, f);
    unlink_outgoing(v, f);
    leave_index(e, f);
    loops_forget(e, f);
    bury(e, f);
}

/* Links between fragments of the part need not be undone. */
static void evict_links(struct vcpu *v, const struct fragment *f, const struct cache_part *part) {
    struct engine *e = v->engine;
    for (uint32_t i = f->incoming, next; i; i = next) {
        next = e->exits[i].next;
        if (!span_has(&part->exits, i))
            unlink_exit(v, &e->exits[i]);
    }
    for (unsigned i = 0; i < f->exit_count; i++) {
        const struct fragment_exit *exit = &e->exits[f->exits + i];
        if (exit->to != NO_FRAGMENT && !span_has(&part->fragments, exit->to))
            leave_list(e, exit);
    }
}

static void release_page(struct engine *e, gpa_t gpa) {
    uint32_t page = page_of(gpa);
    if (e->page_fragments[page] || e->page2_fragments[page])
        return;
    code_bytes_clear_page(e, gpa);
    insn_starts_forget_page(e, gpa);
    shadow_release_code(&e->shadow, gpa);
}

void fragment_evict(struct vcpu *v, struct fragment *f, const struct cache_part *part) {
    struct engine *e = v->engine;
    assert(!f->dead && span_has(&part->fragments, fragment_index(e, f)));
    evict_links(v, f, part);
    leave_index(e, f);
    release_page(e, f->gpa);
    if (f->gpa2)
        release_page(e, f->gpa2);
    page_pads_remove(e, f);
    loops_forget(e, f);
    bury(e, f);
}

void fragment_forget(struct vcpu *v, struct fragment *f) {
    if (f != &v->engine->scratch && !f->dead)
        kill_fragment(v, f);
}

void fragments_invalidate_page(struct vcpu *v, gpa_t gpa, uint64_t *counter) {
    struct engine *e = v->engine;
    uint32_t page = page_of(gpa);
    PLUGIN_EVENT(v, INVALIDATE, gpa & ~(gpa_t)PAGE_MASK, PAGE_SIZE, v->cpu.eip);
    TRACE(v->trace, code_page, gpa);
    if (e->page_fragments[page] || e->page2_fragments[page])
        return_stacks_forget(e); /* a landing behind a call must not go on in what was there */
    while (e->page_fragments[page]) {
        kill_fragment(v, &e->fragments[e->page_fragments[page]]);
        ++*counter;
    }
    while (e->page2_fragments[page]) {
        kill_fragment(v, &e->fragments[e->page2_fragments[page]]);
        ++*counter;
    }
    insn_starts_forget_page(e, gpa);
    code_bytes_clear_page(e, gpa);
    shadow_release_code(&e->shadow, gpa);
}

void fragment_overwritten(struct vcpu *v, struct fragment *f, bool clear) {
    struct engine *e = v->engine;
    if (clear)
        code_bytes_clear(e, f);
    kill_fragment(v, f);
    e->part_overwritten++;
    /* A landing behind a call must not go on in what was there. */
    return_stacks_forget_code(v, (uintptr_t)e->cache_exec + f->code, f->code_len);
}

/* The bytes that killed ones hung on, at most: others may hang on some of them. */
struct extent {
    gpa_t from, to;
};

static void kill_covering(struct vcpu *v, uint32_t *list, bool second, gpa_t gpa, uint32_t len, struct extent *cleared,
                          uint64_t *counter) {
    struct engine *e = v->engine;
    for (uint32_t i = *list, next; i; i = next) {
        struct fragment *f = &e->fragments[i];
        next = second ? f->page2_next : f->page_next;
        if (!fragment_covers(e, f, gpa, len))
            continue;
        gpa_t from = second ? gpa & ~(gpa_t)PAGE_MASK : f->gpa, to = from + f->guest_len + f->undecoded;
        cleared->from = from < cleared->from ? from : cleared->from;
        cleared->to = to > cleared->to ? to : cleared->to;
        code_bytes_patched(v, f, gpa, len);
        fragment_overwritten(v, f, true);
        ++*counter;
    }
}

void fragments_invalidate_range(struct vcpu *v, gpa_t gpa, uint32_t len, uint64_t *counter) {
    struct engine *e = v->engine;
    uint32_t page = page_of(gpa);
    if (!fragments_on(e, gpa, len))
        return;
    struct extent cleared = {gpa, gpa + len};
    PLUGIN_EVENT(v, INVALIDATE, gpa, len, v->cpu.eip);
    TRACE(v->trace, code_bytes, len, gpa);
    kill_covering(v, &e->page_fragments[page], false, gpa, len, &cleared, counter);
    kill_covering(v, &e->page2_fragments[page], true, gpa, len, &cleared, counter);
    fragments_note_again(v, cleared.from, cleared.to);
}

void fragments_invalidate_insn(struct vcpu *v, gpa_t gpa) {
    struct engine *e = v->engine;
    for (uint32_t i = e->page_fragments[page_of(gpa)], next; i; i = next) {
        struct fragment *f = &e->fragments[i];
        next = f->page_next;
        if (f->gpa <= gpa && gpa < f->gpa + f->guest_len)
            kill_fragment(v, f);
    }
}

void fragments_invalidate_linear(struct vcpu *v, gva_t linear) {
    struct engine *e = v->engine;
    for (unsigned p = 0; p < e->part_count; p++)
        for (uint32_t i = e->parts[p].fragments.start; i < e->parts[p].fragments.used; i++) {
            struct fragment *f = &e->fragments[i];
            if (f->dead || linear - fragment_linear(f) >= f->guest_len)
                continue;
            kill_fragment(v, f);
            return_stacks_forget(e);
        }
}

/* Direct links into another page exist at supervisor level only. */
static void unlink_unmapped(struct vcpu *v, struct fragment *f, gva_t page) {
    if (page != fragment_linear(f) >> PAGE_SHIFT || (f->space.mode & MODE_CPL) == 3)
        return;
    unlink_incoming(v, f);
    v->counters->invalidate_remap++;
}

void fragments_unmapped(struct vcpu *v, unsigned window, gpa_t gpa, gva_t gva) {
    struct engine *e = v->engine;
    uint32_t page = page_of(gpa);
    gva_t at = gva >> PAGE_SHIFT;
    jump_caches_unmapped(e, window, page, gva);
    if (window != WINDOW_SUPERVISOR)
        return;
    for (uint32_t i = e->page_fragments[page]; i; i = e->fragments[i].page_next)
        unlink_unmapped(v, &e->fragments[i], at);
    for (uint32_t i = e->page2_fragments[page]; i; i = e->fragments[i].page2_next)
        unlink_unmapped(v, &e->fragments[i], at - 1);
}
