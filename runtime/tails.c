/* Ways to an indirect jump, copied for the branches that lead there.
 *
 * An interpreter's handlers all branch back to the few instructions that fetch, decode and jump through a table. When
 * attention is noticed at such a branch, what it goes back to is remembered as a tail, and from then on each branch
 * there is linked to a copy that only it leads to. The indirect jump looks for attention at its end, so the branch need
 * not; and the host predicts each copy's jump on its own. A copy looks where it goes on to its branch or before it: so
 * places at which nobody looks come in ascending order, a copy counting as its branch (wants_check in
 * translator/exits.c). Copies follow each other COPIES_MAX times at most. */
#include "runtime/engine_private.h"

#define WAY_MAX 12u  /* instructions to the indirect jump */
#define JUMPS_MAX 2u /* on the way */

static uint64_t page_bit(gpa_t gpa) { return 1ull << (gpa >> PAGE_SHIFT) % 64; }

bool tails_near(const struct engine *e, gpa_t gpa) { return e->tail_pages & page_bit(gpa); }

bool tails_at(const struct engine *e, gpa_t gpa) {
    for (unsigned i = 0; i < TAILS_MAX && tails_near(e, gpa); i++)
        if (e->tails[i] == gpa)
            return true;
    return false;
}

/* The instruction at an address of the space, in some fragment on the page at `gpa`. */
static const struct fragment *holder(const struct engine *e, gpa_t gpa, uint32_t eip, const struct code_space *space,
                                     unsigned *at) {
    for (uint32_t i = e->page_fragments[gpa >> PAGE_SHIFT]; i; i = e->fragments[i].page_next) {
        const struct fragment *f = &e->fragments[i];
        if (eip - f->eip >= f->guest_len || f->gpa2 || !code_space_equal(&f->space, space))
            continue;
        for (*at = 0; *at < f->map_count; ++*at)
            if (e->maps[f->map + *at].guest == eip - f->eip)
                return f;
    }
    return NULL;
}

enum step { STEP_ON, STEP_JUMP, STEP_ARRIVED, STEP_LOST };

/* Where the way goes on behind an instruction. Another branch back is another loop, which is none of ours. */
static enum step follow(const uint8_t *code, uint32_t len, uint32_t *eip) {
    int32_t by = 0;
    *eip += len;
    if (len > 2 && code[0] == 0x3e) /* NOTRACK */
        code++, len--;
    if (len < 2)
        return code[0] == 0xc3 ? STEP_LOST : STEP_ON;
    if (len == 5)
        __builtin_memcpy(&by, code + 1, sizeof by);
    if (code[0] == 0xff && (code[1] & 0x38) == 0x20)
        return STEP_ARRIVED;
    if ((code[0] & 0xf0) == 0x70)
        return code[1] & 0x80 ? STEP_LOST : STEP_ON;
    if (code[0] == 0x0f && (code[1] & 0xf0) == 0x80)
        return code[len - 1] & 0x80 ? STEP_LOST : STEP_ON;
    if (code[0] == 0xe8 || (code[0] & 0xfc) == 0xe0 || code[0] == 0xc3 ||
        (code[0] == 0xff && (code[1] & 0x38) >= 0x10 && (code[1] & 0x38) < 0x30))
        return STEP_LOST;
    if (code[0] != 0xeb && code[0] != 0xe9)
        return STEP_ON;
    if (code[0] == 0xeb)
        by = (int8_t)code[1];
    *eip += (uint32_t)by;
    return STEP_JUMP;
}

/* The places on the way from `eip` that are branched to, itself first; 0: no indirect jump is near. */
static unsigned find_way(const struct vcpu *v, const struct fragment *from, uint32_t eip, uint32_t *heads) {
    const struct engine *e = v->engine;
    const struct fragment *f = NULL;
    unsigned count = 1, at = 0;
    heads[0] = eip;
    for (unsigned i = 0; i < WAY_MAX; i++) {
        if (!f || ++at >= f->map_count || f->eip + e->maps[f->map + at].guest != eip)
            f = holder(e, from->gpa, eip, &from->space, &at);
        if (!f)
            return 0;
        uint32_t start = e->maps[f->map + at].guest;
        uint32_t end = at + 1 < f->map_count ? e->maps[f->map + at + 1].guest : f->guest_len;
        const uint8_t *code = ram_ptr(v->ram, f->gpa + start, end - start);
        enum step step = code ? follow(code, end - start, &eip) : STEP_LOST;
        if (step == STEP_LOST || (step == STEP_JUMP && count > JUMPS_MAX))
            return 0;
        if (step == STEP_ARRIVED)
            return count;
        if (step == STEP_JUMP)
            heads[count++] = eip;
    }
    return 0;
}

/* Branches there are translated anew. */
static void forget_branches(struct vcpu *v, gpa_t gpa, uint32_t target) {
    struct engine *e = v->engine;
    for (uint32_t i = e->page_fragments[gpa >> PAGE_SHIFT], next; i; i = next) {
        struct fragment *f = &e->fragments[i];
        bool leads = false;
        next = f->page_next;
        for (unsigned k = 0; k < f->exit_count; k++)
            leads |= e->exits[f->exits + k].target == target;
        if (leads)
            fragment_forget(v, f);
    }
}

static void add_tail(struct vcpu *v, gpa_t gpa, uint32_t eip) {
    struct engine *e = v->engine;
    if (tails_at(e, gpa))
        return;
    e->tails[e->tail_next++ % TAILS_MAX] = gpa;
    e->tail_pages |= page_bit(gpa);
    build_hint(e, gpa, build_get_hint(e, gpa) & (uint8_t)~HINT_LOOP);
    fragments_invalidate_insn(v, gpa);
    forget_branches(v, gpa, eip);
}

bool tails_learn(struct vcpu *v, const struct fragment *f, uint32_t target) {
    uint32_t heads[JUMPS_MAX + 1], eip = f->eip;
    gpa_t gpa = f->gpa;
    if (f->probed || v->plugins || f->space.mode & (MODE_GENERAL_CS | MODE_CODE16))
        return false;
    if (tails_at(v->engine, gpa + (gpa_t)(int64_t)(int32_t)(target - eip)))
        return true;
    unsigned count = find_way(v, f, target, heads);
    for (unsigned i = 0; i < count; i++)
        add_tail(v, gpa + (gpa_t)(int64_t)(int32_t)(heads[i] - eip), heads[i]);
    return count > 0;
}

const struct fragment *tails_origin(struct engine *e, uintptr_t site, uint32_t target, uint32_t *origin) {
    const struct fragment *f = e->copied_targets & tail_bit(target) ? fragment_at(e, site) : NULL;
    uint32_t offset = (uint32_t)(site - (uintptr_t)e->cache_exec);
    for (unsigned i = 0; f && f->copied && i < f->exit_count; i++) {
        const struct fragment_exit *exit = &e->exits[f->exits + i];
        if (exit->site != offset || exit->target != target || !(f->copied >> i & 1))
            continue;
        *origin = f->eip + fragment_insn(e, f, site)->guest;
        if (f->copy && (int32_t)(*origin - f->origin) < 0)
            *origin = f->origin;
        return f;
    }
    return NULL;
}

struct fragment *tails_find(struct engine *e, gpa_t gpa, uint32_t eip, const struct code_space *space, uint8_t copy,
                            uint32_t origin) {
    for (uint32_t i = e->page_fragments[gpa >> PAGE_SHIFT]; i; i = e->fragments[i].page_next) {
        struct fragment *f = &e->fragments[i];
        if (f->copy == copy && f->gpa == gpa && f->eip == eip && f->origin == origin && code_space_equal(&f->space, space))
            return f;
    }
    return NULL;
}
