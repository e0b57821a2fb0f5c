/* Joins: branches to an instruction further on in the same block.
 *
 * A forward branch that stays on the page is written as a short jump, in the hope that the block comes to its target;
 * there it lands. Nothing is linked then, nobody looks for attention, and the block goes on as if there were no
 * branch. One whose hope fails is made an exit when the block is finished: what stands behind it moves by the bytes
 * that it is longer, as does what stands behind one that has to jump too far. Nothing in the code knows by
 * then where it is, and everything that does stands in the block's lists. */
#include <assert.h>
#include <string.h>

#include "translator/block.h"

#define NEAR_GUEST_BYTES 112u /* host code is mostly somewhat longer */
#define JUMP_SHORT 0xebu
#define JUMP_NEAR 0xe9u
#define JCC_SHORT 0x70u
#define JCC_NEAR 0x80u /* behind 0f */

/* Offset of a target that the block may come to, or NO_JOIN: where somebody has to look for attention as well. */
static uint32_t offset_ahead(const struct block *b, uint32_t target) {
    uint32_t offset = target - b->req->eip, here = b->out->guest_len;
    bool ahead = offset >= here && offset < b->req->page_bytes && !block_goes_back(b, target);
    bool room = b->join_count < BLOCK_JOINS_MAX && b->exit_count + b->waiting + 4 <= BLOCK_EXITS_MAX;
    return ahead && room && !b->req->no_links && !b->check_exits ? offset : NO_JOIN;
}

static void add_join(struct block *b, uint32_t offset, bool near) {
    b->joins[b->join_count++] = (struct pending_join){.site = b->e.at, .target = offset, .near = near};
    b->waiting++;
    if (offset < b->next_join)
        b->next_join = offset;
    if (near)
        emit8(&b->e, 0);
    else
        emit32(&b->e, 0);
}

static bool is_near(const struct block *b, uint32_t offset) { return offset - b->out->guest_len < NEAR_GUEST_BYTES; }

bool join_conditional(struct block *b, unsigned cc, uint32_t target) {
    uint32_t offset = offset_ahead(b, target);
    if (offset == NO_JOIN || b->branches + b->waiting >= b->req->max_branches)
        return false;
    bool near = is_near(b, offset);
    if (!near)
        emit8(&b->e, 0x0f);
    emit8(&b->e, (near ? JCC_SHORT : JCC_NEAR) | cc);
    add_join(b, offset, near);
    return true;
}

/* Only where somebody waits for what stands behind it. */
bool join_jump(struct block *b, uint32_t target) {
    uint32_t offset = offset_ahead(b, target);
    if (offset == NO_JOIN || b->next_join != b->out->guest_len || b->branches + b->waiting >= b->req->max_branches)
        return false;
    bool near = is_near(b, offset);
    emit8(&b->e, near ? JUMP_SHORT : JUMP_NEAR);
    add_join(b, offset, near);
    return true;
}

void joins_land(struct block *b, uint32_t offset) {
    b->next_join = NO_JOIN;
    for (unsigned i = 0; i < b->join_count; i++) {
        struct pending_join *join = &b->joins[i];
        if (join->to)
            continue;
        if (join->target == offset && !b->check_exits) {
            block_settle_esp(b);
            join->to = b->e.at;
            b->waiting--;
        } else if (join->target > offset && join->target < b->next_join) {
            b->next_join = join->target;
        }
    }
}

static void move(uint8_t **place, const uint8_t *behind, unsigned by) {
    if (*place > behind)
        *place += by;
}

/* Everything behind `site` moves. */
static void move_rest(struct block *b, const uint8_t *site, unsigned by) {
    for (unsigned i = 0; i < b->exit_count; i++)
        move(&b->exits[i].site, site, by);
    for (unsigned i = 0; i < b->leave_count; i++)
        move(&b->leaves[i].site, site, by);
    for (unsigned i = 0; i < b->check_count; i++) {
        move(&b->checks[i].site, site, by);
        if (b->checks[i].back > site)
            b->checks[i].back += by;
    }
    for (unsigned i = 0; i < b->stub_sites.count; i++)
        move(&b->stub_sites.list[i].site, site, by);
    for (unsigned i = 0; i < b->join_count; i++) {
        move(&b->joins[i].site, site, by);
        move(&b->joins[i].to, site, by);
    }
    for (unsigned i = b->out->insn_count; i-- > 0 && b->code + b->out->map[i].body > site;) {
        b->out->map[i].body = (uint16_t)(b->out->map[i].body + by);
        if (b->code + b->out->map[i].host > site)
            b->out->map[i].host = (uint16_t)(b->out->map[i].host + by);
    }
}

/* From one byte of displacement to four. */
static void widen(struct block *b, struct pending_join *join) {
    uint8_t *site = join->site;
    unsigned opcode = site[-1], by = opcode == JUMP_SHORT ? 3 : 4;
    if (!join->near || b->e.overflow)
        return;
    if (b->e.end - b->e.at < (ptrdiff_t)by) {
        b->e.overflow = true;
        return;
    }
    memmove(site + 1 + by, site + 1, (size_t)(b->e.at - (site + 1)));
    b->e.at += by;
    move_rest(b, site, by);
    if (opcode == JUMP_SHORT) {
        site[-1] = JUMP_NEAR;
    } else {
        site[-1] = 0x0f;
        site[0] = (uint8_t)(opcode - JCC_SHORT + JCC_NEAR);
        join->site++;
    }
    join->near = false;
}

static ptrdiff_t distance(const struct pending_join *join) {
    return join->to - (join->site + (join->near ? 1 : 4));
}

/* One that grows may put others out of reach. */
static void widen_far(struct block *b) {
    for (unsigned i = 0; i < b->join_count; i++)
        if (b->joins[i].near && distance(&b->joins[i]) > INT8_MAX) {
            widen(b, &b->joins[i]);
            i = UINT32_MAX; /* from the first one again */
        }
}

void joins_finish(struct block *b) {
    unsigned landed = 0;
    for (unsigned i = 0; i < b->join_count && !b->e.overflow; i++) {
        struct pending_join join = b->joins[i];
        if (join.to) {
            b->joins[landed++] = join;
            continue;
        }
        assert(b->exit_count < BLOCK_EXITS_MAX);
        widen(b, &b->joins[i]);
        b->exits[b->exit_count++] = (struct pending_exit){
            .site = b->joins[i].site, .target = b->req->eip + join.target, .fixed = NO_FIXED_SLOT};
    }
    b->join_count = landed;
    if (b->e.overflow)
        return;
    widen_far(b);
    for (unsigned i = 0; i < landed && !b->e.overflow; i++) {
        int32_t by = (int32_t)distance(&b->joins[i]);
        memcpy(b->joins[i].site, &by, b->joins[i].near ? 1 : 4);
    }
}
