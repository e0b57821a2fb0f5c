/* Fragments: the translation cache, its index, links between fragments.
 *
 * The cache is one memfd mapped twice, writable here and executable there. It only grows, from its
 * start with code and from two thirds on with the stubs that are seldom executed; when either
 * part is full, everything goes (a generation ends). Fragments lie in the order of their code, so a
 * host address is found by bisection. A link is an incoming-list entry of its target, so that a
 * fragment that goes can send everybody who jumps to it back to their stubs. */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/engine_private.h"
#include "runtime/instrument.h"
#include "runtime/plugins.h"
#include "translator/tripwire.h"

#define EXITS_MAX (2u << 20)

static void empty(struct engine *e) {
    e->fragment_count = 1;
    e->exit_count = 1;
    e->map_count = 0;
    e->cache_used = SCRATCH_CODE;
    e->cold_used = e->cold_start;
}

static int map_cache(struct engine *e) {
    int fd = memfd_create("ring3-cache", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, e->cache_size))
        return -errno;
    void *exec = mmap(NULL, e->cache_size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    void *write = mmap(NULL, e->cache_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (exec == MAP_FAILED || write == MAP_FAILED)
        return -errno;
    e->cache_exec = exec;
    e->cache_write = write;
    return 0;
}

/* In anonymous shared memory, of `tables` if there are some: mremap of no bytes makes a second mapping of it
 * and leaves the old one. */
static int map_anonymous_cache(struct engine *e, struct arena *tables) {
    void *write = tables ? arena_reserve(tables, e->cache_size)
                         : mmap(NULL, e->cache_size, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (write == MAP_FAILED)
        return -errno;
    void *exec = mremap(write, 0, e->cache_size, MREMAP_MAYMOVE);
    if (exec == MAP_FAILED || mprotect(exec, e->cache_size, PROT_READ | PROT_EXEC))
        return -errno;
    e->cache_exec = exec;
    e->cache_write = write;
    return 0;
}

int fragments_init(struct vcpu *v, uint64_t cache_bytes) {
    struct engine *e = v->engine;
    struct arena *tables = e->options.tables;
    uint64_t pages = ram_page_count(v->ram);
    if (!cache_bytes)
        cache_bytes = CACHE_DEFAULT;
    if (cache_bytes < CACHE_MINIMUM)
        cache_bytes = CACHE_MINIMUM;
    e->cache_size = (uint32_t)((cache_bytes + PAGE_MASK) & ~(uint64_t)PAGE_MASK);
    /* The host's perf asks its map of names about anonymous memory only. */
    bool anonymous = tables || e->options.perf_map;
    int status = anonymous ? map_anonymous_cache(e, tables) : map_cache(e);
    if (status)
        return status;
    e->fragment_max = FRAGMENTS_MAX;
    e->map_max = MAPS_MAX;
    e->exit_max = EXITS_MAX;
    e->exits = arena_reserve(NULL, e->exit_max * sizeof *e->exits);
    e->cold_start = (e->cache_size / 3 * 2 + 15u) & ~15u;
    e->fragments = arena_reserve(tables, e->fragment_max * sizeof *e->fragments);
    if (tables)
        e->heat = arena_reserve(tables, e->fragment_max * sizeof *e->heat);
    e->maps = arena_reserve(tables, e->map_max * sizeof *e->maps);
    e->page_fragments = arena_reserve(NULL, pages * sizeof(uint32_t));
    e->page2_fragments = arena_reserve(NULL, pages * sizeof(uint32_t));
    e->code_bits = arena_reserve(NULL, (pages + 1) * (PAGE_SIZE / 8)); /* stub_reach reads a little more */
    if (!e->code_bits || !e->fragments || !e->maps || !e->exits || !e->page_fragments || !e->page2_fragments)
        return -ENOMEM;
    v->cpu.reach_bits = (uint64_t)(uintptr_t)e->code_bits - (uint64_t)(uintptr_t)v->ram->base / 8;
    empty(e);
    return 0;
}

static uint32_t page_of(gpa_t gpa) { return (uint32_t)(gpa >> PAGE_SHIFT); }

static uint32_t hash_of(gpa_t gpa, uint32_t mode) {
    uint64_t key = (gpa ^ (uint64_t)mode << 32) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(key >> 40) & (HASH_SIZE - 1);
}

void fragments_flush_all(struct vcpu *v) {
    struct engine *e = v->engine;
    for (uint32_t i = 1; i < e->fragment_count; i++) {
        struct fragment *f = &e->fragments[i];
        if (f->dead)
            continue;
        e->hash[hash_of(f->gpa, f->space.mode)] = NO_FRAGMENT;
        code_bytes_clear(e, f);
        uint32_t pages[2] = {page_of(f->gpa), page_of(f->gpa2)};
        for (unsigned k = 0; k < (f->gpa2 ? 2u : 1u); k++) {
            e->page_fragments[pages[k]] = e->page2_fragments[pages[k]] = NO_FRAGMENT;
            shadow_release_code(&e->shadow, (gpa_t)pages[k] << PAGE_SHIFT);
        }
    }
    if (e->heat)
        memset(e->heat, 0, e->fragment_count * sizeof *e->heat);
    TRACE(v->trace, empty_cache, e->fragment_count - 1, e->cache_used);
    empty(e);
    jump_caches_reset(e);
    return_stacks_forget(e);
    return_stack_settle(v, false);
    e->flush_cache = false;
    v->counters->cache_flushes++;
    instrument_forget(v->plugins);
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
        if (guest >= f->guest_len || f->gpa2 || f->probed || f->eip + guest != eip ||
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

struct fragment *fragment_new(struct vcpu *v) {
    struct engine *e = v->engine;
    /* Room for a block, and behind it for a few pads and thunks. */
    if (e->cache_used + TRANSLATION_CODE_MAX + 512 > e->cold_start ||
        e->cold_used + COLD_CODE_MAX > e->cache_size || e->fragment_count >= e->fragment_max ||
        e->map_count + TRANSLATION_INSNS_MAX > e->map_max ||
        e->exit_count + TRANSLATION_EXITS_MAX > e->exit_max)
        return NULL;
    struct fragment *f = &e->fragments[e->fragment_count];
    memset(f, 0, sizeof *f);
    f->code = e->cache_used;
    f->map = e->map_count;
    f->exits = e->exit_count;
    return f;
}

void fragment_commit(struct vcpu *v, struct fragment *f, const struct translation *t) {
    struct engine *e = v->engine;
    uint32_t index = fragment_index(e, f);
    assert(index == e->fragment_count);
    f->code_len = t->code_len;
    f->guest_len = t->guest_len;
    f->map_count = t->insn_count;
    f->undecoded = t->undecoded;
    f->live = t->live;
    memcpy(&e->maps[f->map], t->map, t->insn_count * sizeof *t->map);
    f->exit_count = (uint8_t)t->exit_count;
    for (unsigned i = 0; i < t->exit_count; i++) {
        struct fragment_exit *exit = &e->exits[f->exits + i];
        *exit = (struct fragment_exit){.to = NO_FRAGMENT};
        exit->site = f->code + t->exits[i].site;
        exit->target = t->exits[i].target;
        memcpy(&exit->stub_rel, e->cache_write + exit->site, sizeof exit->stub_rel);
    }
    e->fragment_count++;
    e->map_count += t->insn_count;
    e->exit_count += t->exit_count;
    e->cold_used += (t->cold_len + 15u) & ~15u;
    e->cache_used = (f->code + t->code_len + 15u) & ~15u;
    uint32_t *bucket = &e->hash[hash_of(f->gpa, f->space.mode)];
    f->hash_next = *bucket;
    *bucket = index;
    f->page_next = e->page_fragments[page_of(f->gpa)];
    e->page_fragments[page_of(f->gpa)] = index;
    if (f->gpa2) {
        f->page2_next = e->page2_fragments[page_of(f->gpa2)];
        e->page2_fragments[page_of(f->gpa2)] = index;
    }
    code_bytes_mark(e, f);
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
    uint32_t low = 1, high = e->fragment_count;
    while (low < high) { /* the last fragment that starts at or before `offset` */
        uint32_t middle = low + (high - low) / 2;
        if (e->fragments[middle].code <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 1)
        return NULL;
    struct fragment *f = &e->fragments[low - 1];
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

static void patch(struct engine *e, uint32_t site, uint32_t rel) {
    __atomic_store_n((uint32_t *)(void *)(e->cache_write + site), rel, __ATOMIC_RELAXED);
}

static void unlink_exit(struct vcpu *v, struct fragment_exit *exit) {
    patch(v->engine, exit->site, exit->stub_rel);
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

static void unlink_outgoing(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    for (unsigned i = 0; i < f->exit_count; i++) {
        struct fragment_exit *exit = &e->exits[f->exits + i];
        if (exit->to == NO_FRAGMENT)
            continue;
        uint32_t self = f->exits + i;
        uint32_t *link = &e->fragments[exit->to].incoming;
        while (*link != self) {
            assert(*link);
            link = &e->exits[*link].next;
        }
        *link = exit->next;
        unlink_exit(v, exit); /* a return may still land in it */
    }
}

/* A thunk (translate_thunk) for a target that may not be linked directly. */
static void link_thunk(struct engine *e, struct fragment_exit *exit) {
    uint32_t at = e->cache_used;
    uint32_t len = translate_thunk(e->cache_write + at, e->cold_start - at, exit->target);
    if (!len)
        return;
    e->cache_used += (len + 15u) & ~15u;
    patch(e, exit->site, at - (exit->site + 4));
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
        /* User code: a straddling fragment's second page is the address space's own. */
        if (to->gpa2 && (to->space.mode & MODE_CPL) == 3) {
            link_thunk(e, exit);
            return;
        }
        exit->to = fragment_index(e, to);
        exit->next = to->incoming;
        to->incoming = from->exits + i;
        patch(e, exit->site, to->code + at - (exit->site + 4));
        v->counters->links_made++;
        PLUGIN_EVENT(v, LINK, fragment_linear(from), v->cpu.seg[SEG_CS].base + v->cpu.eip);
        TRACE(v->trace, link, site, fragment_index(e, from), exit->to, fragment_linear(to));
        return;
    }
}

void fragment_make_wary(struct vcpu *v, uint32_t at, uint32_t return_eip) {
    struct engine *e = v->engine;
    uint32_t to = e->cache_used;
    uint32_t len = translate_wary_landing(e->cache_write + to, e->cold_start - to, e->cache_exec + to,
                                          return_eip, e->cache_exec + at + TRIPWIRE_LEN);
    if (!len)
        return; /* no room: it trips again */
    e->cache_used += (len + 15u) & ~15u;
    e->cache_write[at] = 0xe9; /* jmp rel32; nobody is between here and there */
    patch(e, at + 1, to - (at + 5));
    v->counters->landings_wary++;
}

uint64_t fragment_pad(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    if (!f->pad) {
        uint32_t at = e->cache_used;
        uint32_t len = translate_pad(e->cache_write + at, e->cold_start - at, e->cache_exec + at,
                                     f->eip, e->cache_exec + f->code, poll_address(e));
        if (!len)
            return 0;
        e->cache_used += (len + 15u) & ~15u;
        f->pad = at;
    }
    return (uint64_t)(uintptr_t)(e->cache_exec + f->pad);
}

static void remove_from(uint32_t *head, struct engine *e, uint32_t index, size_t next_field) {
    uint32_t *link = head;
    while (*link != index) {
        assert(*link);
        link = (uint32_t *)(void *)((uint8_t *)&e->fragments[*link] + next_field);
    }
    *link = *(uint32_t *)(void *)((uint8_t *)&e->fragments[index] + next_field);
}

static void kill_fragment(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    uint32_t index = fragment_index(e, f);
    unlink_incoming(v, f);
    jump_caches_forget(e, f);
    unlink_outgoing(v, f);
    remove_from(&e->hash[hash_of(f->gpa, f->space.mode)], e, index,
                __builtin_offsetof(struct fragment, hash_next));
    remove_from(&e->page_fragments[page_of(f->gpa)], e, index,
                __builtin_offsetof(struct fragment, page_next));
    if (f->gpa2)
        remove_from(&e->page2_fragments[page_of(f->gpa2)], e, index,
                    __builtin_offsetof(struct fragment, page2_next));
    f->dead = true;
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
    code_bytes_clear_page(e, gpa);
    shadow_release_code(&e->shadow, gpa);
}

static void kill_covering(struct vcpu *v, uint32_t *list, bool second, gpa_t gpa, uint32_t len,
                          uint64_t *counter) {
    struct engine *e = v->engine;
    for (uint32_t i = *list, next; i; i = next) {
        struct fragment *f = &e->fragments[i];
        next = second ? f->page2_next : f->page_next;
        if (!fragment_covers(e, f, gpa, len))
            continue;
        code_bytes_patched(v, f, gpa, len);
        code_bytes_clear(e, f);
        kill_fragment(v, f);
        ++*counter;
        return_stacks_forget(e); /* a landing behind a call must not go on in what was there */
    }
}

void fragments_invalidate_range(struct vcpu *v, gpa_t gpa, uint32_t len, uint64_t *counter) {
    struct engine *e = v->engine;
    uint32_t page = page_of(gpa);
    if (!fragments_on(e, gpa, len))
        return;
    PLUGIN_EVENT(v, INVALIDATE, gpa, len, v->cpu.eip);
    TRACE(v->trace, code_bytes, len, gpa);
    kill_covering(v, &e->page_fragments[page], false, gpa, len, counter);
    kill_covering(v, &e->page2_fragments[page], true, gpa, len, counter);
    code_bytes_clear_range(e, gpa, len);
    for (uint32_t i = e->page_fragments[page]; i; i = e->fragments[i].page_next)
        code_bytes_mark(e, &e->fragments[i]);
    for (uint32_t i = e->page2_fragments[page]; i; i = e->fragments[i].page2_next)
        code_bytes_mark(e, &e->fragments[i]);
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
    for (uint32_t i = 1; i < e->fragment_count; i++) {
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
