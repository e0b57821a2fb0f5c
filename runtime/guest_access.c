/* The monitor's own accesses to guest memory (guest_access.h).
 *
 * A small translation look-aside buffer of our own stands before the page walk; like a
 * processor's it is stale until the guest flushes. Writable entries never name pages with
 * translated code. */
#include "runtime/guest_access.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "runtime/engine_private.h"
#include "runtime/inspection.h"
#include "runtime/plugins.h"
#include "runtime/stepping.h"

#define LARGE_SHIFT 22 /* 4 MiB: of 2 MiB, two go together */

static void forget_loaded(struct vcpu *v) {
    if (!v->engine->loaded_noted)
        return;
    cpu_forget_all_loaded(&v->cpu);
    v->engine->loaded_noted = false;
}

/* Entries that are not global, of one privilege half. */
static void drop_locals(struct engine *e, unsigned user) {
    for (unsigned word = 0; word < TLB_SIZE / 64; word++) {
        for (uint64_t left = e->tlb_locals[user][word]; left; left &= left - 1)
            e->tlb[user][word * 64 + (unsigned)__builtin_ctzll(left)].tag = 0;
        e->tlb_locals[user][word] = 0;
    }
}

/* May a segment have been loaded from what this INVLPG drops? */
static bool loaded_from(const struct engine *e, gva_t gva) {
    unsigned shift = e->loaded_large ? LARGE_SHIFT : PAGE_SHIFT;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        if (e->loaded_at[i] >> shift == gva >> shift)
            return true;
    return false;
}

void guest_tlb_flush(struct vcpu *v, bool global_too) {
    struct engine *e = v->engine;
    drop_locals(e, 0);
    drop_locals(e, 1);
    for (unsigned i = 0; global_too && i < 2 * TLB_SIZE; i++)
        e->tlb[i / TLB_SIZE][i % TLB_SIZE].tag = 0;
    if (global_too)
        memset(e->tlb_large, 0, sizeof e->tlb_large);
    clean_range_forget(v);
    if (global_too || !e->loaded_global)
        forget_loaded(v);
}

/* What INVLPG drops of a large page is all of it, whatever its size (SDM vol. 3A, 4.10.4.1). */
static void flush_large(struct engine *e, gva_t gva) {
    for (unsigned i = 0; i < 2 * TLB_SIZE; i++) {
        struct tlb_entry *entry = &e->tlb[i / TLB_SIZE][i % TLB_SIZE];
        if (entry->large && ~entry->tag >> (LARGE_SHIFT - PAGE_SHIFT) == gva >> LARGE_SHIFT)
            entry->tag = 0;
    }
}

void guest_tlb_flush_page(struct vcpu *v, gva_t gva) {
    for (unsigned user = 0; user < 2; user++) {
        struct tlb_entry *entry = &v->engine->tlb[user][gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
        if (entry->tag == tlb_tag(gva))
            entry->tag = 0;
    }
    if (v->engine->tlb_large[gva >> LARGE_SHIFT >> 6] >> (gva >> LARGE_SHIFT & 63u) & 1u)
        flush_large(v->engine, gva);
    clean_range_forget(v);
    if (loaded_from(v->engine, gva))
        forget_loaded(v);
}

void guest_note_loaded(struct vcpu *v, unsigned index, uint32_t selector, gva_t gva, uint64_t descriptor) {
    struct engine *e = v->engine;
    const struct tlb_entry *entry = &e->tlb[0][gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
    if (v->plugins || inspection_has_watchpoints(v->inspection) || entry->tag != tlb_tag(gva) ||
        (gva & PAGE_MASK) + sizeof descriptor > PAGE_SIZE)
        return;
    e->loaded_global = entry->global && (e->loaded_global || !e->loaded_noted);
    e->loaded_large = entry->large || (e->loaded_large && e->loaded_noted);
    e->loaded_noted = true;
    e->loaded_at[index] = gva;
    const uint8_t *at = tlb_host(entry, gva);
    if (index == SEG_FS || index == SEG_GS) {
        cpu_note_kernels(&v->cpu, index, selector, at, descriptor);
        return;
    }
    v->cpu.loaded[index] = (struct loaded_segment){
        .at = (uint64_t)(uintptr_t)at,
        .minus_descriptor = -descriptor,
        .minus_selector = -(uint64_t)selector,
    };
}

void guest_tlb_drop_writable(struct engine *e) {
    if (!e->tlb_has_writable)
        return;
    for (unsigned i = 0; i < 2 * TLB_SIZE; i++)
        e->tlb[i / TLB_SIZE][i % TLB_SIZE].writable = false;
    e->tlb_has_writable = false;
}

/* Host address of a byte for a read or write; the rest of its page lies behind it. */
struct place {
    uint8_t *host; /* NULL: no RAM there */
    bool fault;
    bool unclaimed; /* no memory at `gpa`, or not to be written: `page` */
    gpa_t gpa;
    uint64_t page;
};

static struct place walk_place(struct vcpu *v, gva_t gva, uint32_t len, bool write, bool user) {
    struct engine *e = v->engine;
    struct walk walk =
        walk_page(v->ram, &v->cpu.paging, gva, write ? ACCESS_WRITE : ACCESS_READ, user, true);
    if (!walk.ok) {
        v->fault = (struct guest_fault){.vector = VEC_PF, .has_error = true, .error = walk.error,
                                        .cr2 = gva};
        return (struct place){.fault = true};
    }
    uint64_t page = ram_locate(v->ram, walk.gpa & ~(gpa_t)PAGE_MASK);
    if (page == RAM_NOWHERE || (write && !ram_is_writable(v->ram, page)))
        return (struct place){.unclaimed = true, .gpa = walk.gpa, .page = page};
    if (ram_allocate(v->ram, page, PAGE_SIZE)) {
        engine_host_failure(v, "guest memory", ENOMEM);
        return (struct place){0};
    }
    unsigned slot = gva >> PAGE_SHIFT & (TLB_SIZE - 1);
    struct tlb_entry *entry = &e->tlb[user][slot];
    bool writable = write && !e->shadow.page_code[page >> PAGE_SHIFT];
    *entry = (struct tlb_entry){.tag = tlb_tag(gva), .dirty = write, .writable = writable,
                                .global = walk.global, .large = walk.large, .delta = (uint64_t)(uintptr_t)(v->ram->base + page) - (gva & ~PAGE_MASK)};
    if (walk.large)
        e->tlb_large[gva >> LARGE_SHIFT >> 6] |= 1ull << (gva >> LARGE_SHIFT & 63u);
    if (!walk.global)
        e->tlb_locals[user][slot / 64] |= 1ull << slot % 64;
    e->tlb_has_writable |= writable;
    if (write && !writable && len) {
        e->wrote_self |= e->calls_out && past_windows_writes_self(v, page + (gva & PAGE_MASK), len);
        fragments_invalidate_range(v, page + (gva & PAGE_MASK), len, &v->counters->invalidate_device);
    }
    return (struct place){.host = v->ram->base + page + (gva & PAGE_MASK)};
}

static struct place find_place(struct vcpu *v, gva_t gva, uint32_t len, bool write, bool system) {
    bool user = !system && cpu_cpl(&v->cpu) == 3;
    const struct tlb_entry *entry = &v->engine->tlb[user][gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
    if (entry->tag == tlb_tag(gva) && (!write || entry->writable))
        return (struct place){.host = tlb_host(entry, gva)};
    return walk_place(v, gva, len, write, user);
}

static uint32_t room(gva_t gva, uint32_t len) {
    uint32_t left = PAGE_SIZE - (gva & PAGE_MASK);
    return left < len ? left : len;
}

/* Small copies dominate: descriptors, frames. */
static void copy_out(uint8_t *to, const uint8_t *host, uint32_t len) {
    if (!host)
        memset(to, 0xff, len);
    else if (len == 4)
        *(uint32_t *)(void *)to = *(const volatile uint32_t *)(const void *)host;
    else if (len == 8)
        *(uint64_t *)(void *)to = *(const volatile uint64_t *)(const void *)host;
    else
        memcpy(to, host, len);
}

/* Data breakpoints know no difference between what the program and what the processor accesses. */
static void tell_breakpoints(struct vcpu *v, gva_t gva, uint32_t len, bool write, bool system) {
    if (system && v->cpu.mode & MODE_DEBUG)
        debug_data_access(v, gva, len, write);
}

bool guest_read(struct vcpu *v, gva_t gva, void *to, uint32_t len, bool system) {
    if (inspection_has_watchpoints(v->inspection))
        inspection_access(v, gva, len, false);
    tell_breakpoints(v, gva, len, false, system);
    uint32_t first = room(gva, len);
    struct place place = find_place(v, gva, first, false, system);
    if (place.fault)
        return false;
    if (first == len) {
        copy_out(to, place.host, len);
        return true;
    }
    /* Every page must allow it before anything is reported as read. */
    for (uint32_t done = first; done < len; done += room(gva + done, len - done))
        if (find_place(v, gva + done, 1, false, system).fault)
            return false;
    for (uint32_t done = 0; done < len;) {
        uint32_t part = room(gva + done, len - done);
        place = find_place(v, gva + done, part, false, system);
        copy_out((uint8_t *)to + done, place.host, part);
        done += part;
    }
    return true;
}

bool guest_probe_write(struct vcpu *v, gva_t gva, uint32_t len, bool system) {
    for (uint32_t done = 0; done < len; done += room(gva + done, len - done))
        if (find_place(v, gva + done, room(gva + done, len - done), true, system).fault)
            return false;
    return true;
}

bool guest_write(struct vcpu *v, gva_t gva, const void *from, uint32_t len, bool system) {
    tell_breakpoints(v, gva, len, true, system);
    if (room(gva, len) != len && !guest_probe_write(v, gva, len, system))
        return false;
    if (inspection_has_watchpoints(v->inspection))
        inspection_access(v, gva, len, true);
    for (uint32_t done = 0; done < len;) {
        uint32_t part = room(gva + done, len - done);
        struct place place = find_place(v, gva + done, part, true, system);
        if (place.fault)
            return false;
        if (place.host)
            memcpy(place.host, (const uint8_t *)from + done, part);
        done += part;
    }
    return true;
}

/* Reads are all ones, or what the ROM holds; what is written is forgotten. */
static uint8_t *stand_in(struct vcpu *v, const struct place *place, gva_t gva, uint32_t len, bool write) {
    uint32_t offset = gva & PAGE_MASK;
    uint8_t *host = v->engine->stand_ins[write] + offset;
    TRACE(v->trace, unclaimed, gva);
    PLUGIN_EVENT(v, MMIO, gva, place->gpa, write, v->cpu.eip);
    assert(offset + len <= PAGE_SIZE);
    if (place->page == RAM_NOWHERE)
        memset(host, 0xff, len);
    else
        memcpy(host, v->ram->base + place->page + offset, len);
    return host;
}

bool guest_reach(struct vcpu *v, gva_t gva, uint32_t len, bool write, uint8_t **host, enum reach_use *use) {
    struct engine *e = v->engine;
    bool user = cpu_cpl(&v->cpu) == 3;
    struct tlb_entry *entry = &e->tlb[user][gva >> PAGE_SHIFT & (TLB_SIZE - 1)];
    *use = REACH_KNOWN;
    *host = tlb_host(entry, gva);
    bool known = entry->tag == tlb_tag(gva);
    if (known && (!write || entry->writable) && !shadow_watches(&e->shadow, gva, write))
        return true;
    *use = REACH_LOOKED_UP;
    if (shadow_watches(&e->shadow, gva, write)) { /* seen in a window */
        *host = NULL;
        return true;
    }
    if (!known || !entry->dirty) {
        struct place place = walk_place(v, gva, 0, write, user);
        if (place.fault || place.unclaimed)
            *use = REACH_NEEDED;
        *host = place.unclaimed ? stand_in(v, &place, gva, len, write) : place.host;
        if (!place.host || !write)
            return !place.fault;
    }
    gpa_t place = (gpa_t)(*host - v->ram->base);
    if (!e->shadow.page_code[place >> PAGE_SHIFT]) /* no code any more */
        entry->writable = e->tlb_has_writable = true;
    else
        *use = REACH_NEEDED;
    if (!fragments_on(e, place, len))
        return true;
    if (past_windows_writes_self(v, place, len)) {
        *host = NULL;
        return true;
    }
    fragments_invalidate_range(v, place, len, &v->counters->invalidate_write);
    if (sweeps_note(v, past_windows_running(v), place, &v->counters->invalidate_write) && past_windows_may_hit(v))
        clean_range_set(v, gva, place);
    return true;
}

/* The place of the page that an access may be made to; RAM_NOWHERE: it may not, or there is none. No bit is set. */
static uint64_t peek_page(const struct vcpu *v, gva_t gva, bool write) {
    struct walk walk = walk_page(v->ram, &v->cpu.paging, gva, write ? ACCESS_WRITE : ACCESS_READ,
                                 cpu_cpl(&v->cpu) == 3, false);
    uint64_t page = walk.ok ? ram_locate(v->ram, walk.gpa & ~(gpa_t)PAGE_MASK) : RAM_NOWHERE;
    return page != RAM_NOWHERE && ram_is_writable(v->ram, page) ? page : RAM_NOWHERE;
}

uint8_t *guest_reach_two(struct vcpu *v, gva_t gva, uint32_t len, bool write, enum reach_use *use) {
    gva_t next = (gva | PAGE_MASK) + 1;
    uint32_t first = next - gva;
    uint64_t page = peek_page(v, gva, write), page2 = peek_page(v, next, write);
    uint8_t *pair = page != RAM_NOWHERE && page2 != RAM_NOWHERE ? page_pair(v, page, page2) : NULL;
    uint8_t *host, *host2;
    enum reach_use use2;
    assert(next && first < len);
    if (!pair || !guest_reach(v, gva, first, write, &host, use) || !host ||
        !guest_reach(v, next, len - first, write, &host2, &use2) || !host2)
        return NULL;
    *use = *use > use2 ? *use : use2;
    return pair + (gva & PAGE_MASK);
}
