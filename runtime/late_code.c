/* Late code: what a fragment is given after it was made. Landing pads of fragments that are reached indirectly
 * only later on, thunks, landings without tripwires.
 *
 * It lies in the part that is open, which is mostly another one than the fragment's. The part notes it,
 * so that the fragment can go on without when the part is evicted. */
#include <assert.h>
#include <string.h>

#include "runtime/engine_private.h"
#include "translator/tripwire.h"

static uint32_t room(const struct engine *e) { return cache_part_room(e->part); }

/* `late.at` has `len` bytes of code for something in `owner`. False: there is no room for it, and will be only when
 * the next part is open. */
static bool keep(struct engine *e, uint32_t len, struct late_code late, const struct cache_part *owner) {
    struct cache_part *part = e->part;
    bool foreign = owner != part;
    assert(owner->opened && late.at == part->code.used);
    if (!len || (foreign && part->late.used == part->late.end)) {
        e->part_full = true;
        return false;
    }
    part->code.used += (len + 15u) & ~15u;
    if (part->code.used > part->lowest)
        part->code.used = part->lowest;
    late.opened = owner->opened;
    if (foreign)
        e->late[part->late.used++] = late;
    return true;
}

void fragment_link_thunk(struct engine *e, struct fragment_exit *exit) {
    uint32_t at = e->part->code.used, index = (uint32_t)(exit - e->exits);
    uint32_t len = translate_thunk(e->cache_write + at, room(e), exit->target);
    struct late_code late = {.at = at, .owner = index, .kind = LATE_THUNK};
    if (keep(e, len, late, cache_part_of_exit(e, index)))
        cache_patch(e, exit->site, at - (exit->site + 4));
}

void fragment_make_wary(struct vcpu *v, uint32_t at, uint32_t return_eip) {
    struct engine *e = v->engine;
    uint32_t to = e->part->code.used;
    const struct cache_part *owner = cache_part_at(e, at);
    if (!owner)
        return;
    uint32_t len = translate_wary_landing(e->cache_write + to, room(e), e->cache_exec + to, return_eip,
                                          e->cache_exec + at + TRIPWIRE_LEN);
    struct late_code late = {.at = to, .owner = at, .kind = LATE_LANDING};
    memcpy(late.before, e->cache_write + at, sizeof late.before);
    if (!keep(e, len, late, owner))
        return; /* it trips again */
    e->cache_write[at] = 0xe9; /* jmp rel32; nobody is between here and there */
    cache_patch(e, at + 1, to - (at + LATE_JUMP));
    v->counters->landings_wary++;
}

uint64_t fragment_pad(struct vcpu *v, struct fragment *f) {
    struct engine *e = v->engine;
    if (!f->pad) {
        uint32_t at = e->part->code.used, index = fragment_index(e, f);
        uint32_t len = translate_pad(e->cache_write + at, room(e), e->cache_exec + at, f->eip,
                                     e->cache_exec + f->code, poll_address(e));
        struct late_code late = {.at = at, .owner = index, .kind = LATE_PAD};
        if (!keep(e, len, late, cache_part_of_fragment(e, index)))
            return 0;
        f->pad = at;
    }
    return (uint64_t)(uintptr_t)(e->cache_exec + f->pad);
}

/* NULL: where it was, there is no code now. */
static const struct cache_part *owner_part(struct engine *e, const struct late_code *late) {
    switch (late->kind) {
    case LATE_PAD:
        return cache_part_of_fragment(e, late->owner);
    case LATE_THUNK:
        return cache_part_of_exit(e, late->owner);
    default:
        return cache_part_at(e, late->owner);
    }
}

static void undo(struct engine *e, const struct late_code *late) {
    if (late->kind == LATE_PAD) {
        struct fragment *f = &e->fragments[late->owner];
        assert(f->pad == late->at);
        if (!f->dead)
            jump_caches_forget(e, f);
        f->pad = 0;
        f->table = 0;
    } else if (late->kind == LATE_THUNK) {
        const struct fragment_exit *exit = &e->exits[late->owner];
        assert(exit->to == NO_FRAGMENT);
        cache_patch(e, exit->site, exit->stub_rel);
    } else {
        memcpy(e->cache_write + late->owner, late->before, sizeof late->before);
    }
}

void late_code_undo(struct engine *e, const struct cache_part *part) {
    for (uint32_t i = part->late.start; i < part->late.used; i++) {
        const struct cache_part *owner = owner_part(e, &e->late[i]);
        if (owner && owner->opened == e->late[i].opened)
            undo(e, &e->late[i]);
    }
}
