/* How control leaves a block: direct links, the jump cache, the dispatcher.
 *
 * A direct exit is a jmp, jcc or call rel32 that first leads to a stub in cold code (r10: the rel32
 * to patch, r11d: the target) and is patched to the target fragment's body when that is known. An
 * exit to another page goes through a slot of the current jump cache, which is kept true by the
 * shadow's entry diff, unless the caller promised to undo direct links itself (direct_cross_page).
 * What goes back tests for attention first. A guest call is a host call whose landing checks where
 * the guest really returns to. */
#include <assert.h>
#include <string.h>

#include "translator/block.h"
#include "translator/tripwire.h"

static bool same_page(const struct block *b, uint32_t target) {
    uint32_t linear = b->req->linear + (target - b->req->eip);
    return linear >> PAGE_SHIFT == b->req->linear >> PAGE_SHIFT;
}

/* The fixed slot of an exit that is a link although it crosses a page end. */
static uint32_t crossing_slot(const struct block *b, uint32_t target) {
    const struct translate_request *req = b->req;
    if (!req->crosses || !req->fixed_slot || req->no_links || !b->out->insn_count)
        return NO_FIXED_SLOT;
    uint32_t from = req->eip + b->out->map[b->out->insn_count - 1].guest;
    return req->crosses(req->opaque, from, target) ? req->fixed_slot(req->opaque, target) : NO_FIXED_SLOT;
}

static bool direct(const struct block *b, uint32_t target) {
    if (b->req->no_links)
        return false;
    if (b->req->direct_cross_page || crossing_slot(b, target) != NO_FIXED_SLOT)
        return true;
    /* Beyond its first page a straddling block knows nothing. */
    return same_page(b, target) && b->pc - b->req->eip < b->req->page_bytes &&
           b->req->page_bytes >= b->out->guest_len;
}

static void add_site(struct block *b, uint32_t target) {
    assert(b->exit_count < BLOCK_EXITS_MAX);
    b->exits[b->exit_count++] =
        (struct pending_exit){.site = b->e.at, .target = target, .fixed = crossing_slot(b, target)};
    emit32(&b->e, 0);
}

static struct memref hashed_slot(uint32_t target) {
    return (struct memref){.base = REG_JUMP_CACHE, .index = NO_REG,
                           .disp = (int32_t)(jump_cache_slot(target) * 8u)};
}

/* Does the exit not lead further on? Where nobody looks, a copy has brought the guest back, but no further than from
 * the branch that it was made for; so each way round has a look on it. */
bool block_goes_back(const struct block *b, uint32_t target) {
    bool before_origin = b->req->copy && (int32_t)(target - b->req->origin) <= 0;
    return (int32_t)(target - b->pc) <= 0 || before_origin;
}

static bool wants_check(const struct block *b, uint32_t target) { return b->check_exits || block_goes_back(b, target); }

/* Is the branch to have a copy of its target, so that nobody need look? */
static bool is_copied(const struct block *b, uint32_t target) {
    const struct translate_request *req = b->req;
    return req->copies && req->copy < COPIES_MAX && req->poll_address && !b->check_exits && !b->loop && direct(b, target) && same_page(b, target) &&
           crossing_slot(b, target) == NO_FIXED_SLOT && req->copies(req->opaque, target);
}

/* Goes on when ecx is zero; otherwise leaves by cold code. ecx's own value waits in `ecx_in`, and
 * is back behind this. */
static void leave_unless_zero(struct block *b, unsigned ecx_in, enum stub stub, uint32_t target) {
    emit8(&b->e, 0x67);
    uint8_t *zero = emit_short_jump(&b->e, 0xe3);
    emit8(&b->e, 0xe9);
    assert(b->leave_count < BLOCK_LEAVES_MAX);
    b->leaves[b->leave_count++] =
        (struct pending_leave){b->e.at, (uint8_t)ecx_in, (uint8_t)stub, target};
    emit32(&b->e, 0);
    emit_short_land(&b->e, zero);
    emit_mov_reg_reg(&b->e, RCX, ecx_in);
}

/* Leaves flags and ecx as they are. */
static void attention_check(struct block *b, uint32_t target) {
    struct memref attention = CPU_FIELD(attention);
    emit_mov_reg_reg(&b->e, R11, RCX);
    emit_load(&b->e, RCX, &attention);
    leave_unless_zero(b, R11, STUB_ATTENTION, target);
}

/* The same before a branch that can simply be run again: a load that faults when attention is
 * wanted, with EIP at the branch. */
static void attention_poll(struct block *b, uint32_t target) {
    if (!b->req->poll_address || b->check_exits) {
        attention_check(b, target);
        return;
    }
    struct memref page = {.base = NO_REG, .index = NO_REG, .disp = (int32_t)b->req->poll_address};
    emit_load(&b->e, R11, &page);
}

/* When an exit is taken, is attention tested for before it? */
enum look {
    LOOK_NOT,
    LOOK_AGAIN, /* if it goes back; the instruction may be run again from its start */
    LOOK_ONCE,  /* if it goes back; the instruction has done something already */
};

static void look(struct block *b, uint32_t target, enum look how) {
    bool again = b->loop && target == b->req->eip && !b->check_exits;
    if (how == LOOK_NOT || again || !wants_check(b, target))
        return;
    if (how == LOOK_AGAIN)
        attention_poll(b, target);
    else
        attention_check(b, target);
}

/* A call that goes back need not look: what it calls returns to a landing behind the call, or goes
 * round by a jump, a pad or another return; each of them looks. */
static enum look look_of_call(const struct block *b) {
    return b->check_exits || !b->req->poll_address ? LOOK_ONCE : LOOK_NOT;
}

/* May translation go on behind a branch or call? */
static bool goes_on(struct block *b) {
    if (b->req->no_links || b->check_exits || b->branches + b->waiting >= b->req->max_branches ||
        b->exit_count + b->waiting + 4 > BLOCK_EXITS_MAX || b->leave_count + 4 > BLOCK_LEAVES_MAX)
        return false;
    b->branches++;
    return true;
}

static struct memref fixed_slot(uint32_t fixed) {
    return (struct memref){.base = REG_JUMP_CACHE, .index = NO_REG,
                           .disp = (int32_t)(JUMP_CACHE_FIXED_OFFSET + fixed * 8u)};
}

/* Through the target's own slot, behind which nobody tests for attention; or a hashed one. */
static struct memref slot_of(struct block *b, uint32_t target, enum look how) {
    uint32_t fixed =
        b->req->fixed_slot ? b->req->fixed_slot(b->req->opaque, target) : NO_FIXED_SLOT;
    if (fixed == NO_FIXED_SLOT)
        return hashed_slot(target);
    look(b, target, how);
    return fixed_slot(fixed);
}

static void jump_cached(struct block *b, uint32_t target, enum look how) {
    struct memref slot = slot_of(b, target, how);
    emit_mov_reg_imm(&b->e, REG_TARGET, target);
    emit_jump_mem(&b->e, &slot);
}

static void add_copied_site(struct block *b, uint32_t target) {
    add_site(b, target);
    b->exits[b->exit_count - 1].copied = true;
}

/* E9 or E8 with a link behind it. */
static void linked(struct block *b, uint8_t opcode, uint32_t target, enum look how) {
    look(b, target, how);
    emit8(&b->e, opcode);
    add_site(b, target);
}

static void leave_to(struct block *b, uint32_t target, enum look how) {
    if (b->req->no_links) {
        emit_mov_reg_imm(&b->e, REG_TARGET, target);
        emit_jump_stub(&b->e, STUB_LEAVE);
    } else if (!direct(b, target)) {
        jump_cached(b, target, how);
    } else {
        linked(b, 0xe9, target, how);
    }
}

void exit_to(struct block *b, uint32_t target) {
    b->ended = true;
    if (!is_copied(b, target)) {
        leave_to(b, target, LOOK_AGAIN);
        return;
    }
    emit8(&b->e, 0xe9);
    add_copied_site(b, target);
}

void exit_onward(struct block *b, uint32_t target) {
    b->ended = true;
    leave_to(b, target, LOOK_ONCE);
}

/* jump_cache_slot of r11d without touching flags. Windows are aligned to 4 GiB, so r14b is zero. */
static struct memref slot_of_register(struct block *b) {
    static const uint8_t hash[] = {
        0x45, 0x89, 0xda,                   /* mov r10d, r11d */
        0xf2, 0x45, 0x0f, 0x38, 0xf0, 0xd6, /* crc32 r10d, r14b */
        0x45, 0x0f, 0xb7, 0xd2,             /* movzx r10d, r10w */
    };
    emit_bytes(&b->e, hash, sizeof hash);
    return (struct memref){.base = REG_JUMP_CACHE, .index = R10, .scale = 3};
}

void exit_indirect(struct block *b) {
    b->ended = true;
    if (b->req->no_links) {
        emit_jump_stub(&b->e, STUB_LEAVE);
        return;
    }
    struct memref slot = slot_of_register(b);
    emit_jump_mem(&b->e, &slot);
}

/* Where the host's RET arrives: only when the guest really returns here does the block behind the
 * call follow; any other address takes the jump cache. */
static void landing(struct block *b, uint32_t return_eip) {
    if (b->req->poll_address) {
        emit_tripwire(&b->e, TRIPWIRE_LANDING, return_eip, b->req->poll_address);
    } else {
        struct memref difference = {.base = R11, .index = NO_REG, .disp = (int32_t)-return_eip};
        emit_mov_reg_reg(&b->e, R8, RCX);
        emit_lea(&b->e, RCX, &difference);
        leave_unless_zero(b, R8, STUB_RETURN, 0);
    }
    b->ended = !goes_on(b);
    if (b->ended)
        leave_to(b, return_eip, LOOK_ONCE);
}

/* A guest call is a host call, so that the host predicts the return; the return address on the
 * host's side is checked against the guest's when it is used. */
void exit_call(struct block *b, uint32_t target, uint32_t return_eip) {
    b->ended = true;
    if (b->req->no_links) {
        leave_to(b, target, LOOK_ONCE);
        return;
    }
    if (direct(b, target)) {
        linked(b, 0xe8, target, look_of_call(b));
    } else {
        struct memref slot = slot_of(b, target, look_of_call(b));
        emit_mov_reg_imm(&b->e, REG_TARGET, target);
        emit_call_mem(&b->e, &slot);
    }
    landing(b, return_eip);
}

void exit_call_indirect(struct block *b, uint32_t return_eip) {
    if (b->req->no_links) {
        exit_indirect(b);
        return;
    }
    b->ended = true;
    struct memref slot = slot_of_register(b);
    emit_call_mem(&b->e, &slot);
    landing(b, return_eip);
}

void exit_return(struct block *b) {
    if (b->req->no_links) {
        exit_indirect(b);
        return;
    }
    b->ended = true;
    emit8(&b->e, 0xc3);
}

void exit_conditional(struct block *b, unsigned cc, uint32_t target, uint32_t fall) {
    bool polls = b->req->poll_address && !b->check_exits;
    if (join_conditional(b, cc, target))
        return;
    if (is_copied(b, target)) {
        emit8(&b->e, 0x0f);
        emit8(&b->e, 0x80u | cc);
        add_copied_site(b, target);
    } else if (direct(b, target) && (polls || !wants_check(b, target))) {
        look(b, target, LOOK_AGAIN); /* also where it is not taken: one load, but one jump less */
        emit8(&b->e, 0x0f);
        emit8(&b->e, 0x80u | cc);
        add_site(b, target);
    } else {
        uint8_t *not_taken = emit_short_jump(&b->e, (uint8_t)(0x70u | (cc ^ 1u)));
        leave_to(b, target, LOOK_AGAIN);
        emit_short_land(&b->e, not_taken);
    }
    b->ended = !goes_on(b);
    if (b->ended)
        leave_to(b, fall, LOOK_AGAIN);
}

void exit_counted(struct block *b, unsigned opcode, uint32_t target, uint32_t fall) {
    b->ended = true;
    emit8(&b->e, 0x67);
    uint8_t *taken = emit_short_jump(&b->e, (uint8_t)opcode);
    leave_to(b, fall, LOOK_ONCE);
    emit_short_land(&b->e, taken);
    leave_to(b, target, LOOK_ONCE);
}

/* The host's prefix makes it ECX at most. CX is counted down by LEA, tested in ECX, and ECX comes
 * back from r8d on either way. */
void exit_counted16(struct block *b, unsigned opcode, uint32_t target, uint32_t fall) {
    bool jcxz = opcode == 0xe3;
    uint8_t *other = NULL;
    b->ended = true;
    if (!jcxz)
        emit_bytes(&b->e, (const uint8_t[]){0x66, 0x8d, 0x49, 0xff}, 4); /* lea cx, [rcx - 1] */
    emit_mov_reg_reg(&b->e, R8, RCX);
    emit_bytes(&b->e, (const uint8_t[]){0x0f, 0xb7, 0xc9, 0x67}, 4); /* movzx ecx, cx; jecxz */
    uint8_t *zero = emit_short_jump(&b->e, 0xe3);
    emit_mov_reg_reg(&b->e, RCX, R8);
    if (opcode == 0xe0 || opcode == 0xe1) /* LOOPNE ends with ZF, LOOPE without */
        other = emit_short_jump(&b->e, opcode == 0xe0 ? 0x74 : 0x75);
    leave_to(b, jcxz ? fall : target, LOOK_ONCE);
    emit_short_land(&b->e, zero);
    emit_mov_reg_reg(&b->e, RCX, R8);
    emit_short_land(&b->e, other);
    leave_to(b, jcxz ? target : fall, LOOK_ONCE);
}

void exits_enter_loop(struct block *b) {
    b->loop = b->req->loop && b->req->poll_address && !b->req->no_links;
    if (!b->loop)
        return;
    attention_poll(b, b->req->eip);
    assert(b->e.overflow || b->e.at - b->code == LOOP_ENTRY);
    b->out->loop_at = LOOP_ENTRY;
}

static void point_at(uint8_t *site, const uint8_t *at) {
    uint32_t distance = (uint32_t)(int32_t)(at - site - 4);
    for (unsigned k = 0; k < 4; k++)
        site[k] = (uint8_t)(distance >> (8 * k));
}

/* Every block has some, so it is written at once: lea r10, [rip + site]; mov r11d, target. */
static void chain_stub(struct emit *e, const struct pending_exit *exit) {
    const int32_t site = (int32_t)(exit->site - (e->at + 7));
    uint8_t stub[13] = {0x4c, 0x8d, 0x15, 0, 0, 0, 0, 0x41, 0xbb};
    memcpy(stub + 3, &site, sizeof site);
    memcpy(stub + 9, &exit->target, sizeof exit->target);
    emit_bytes(e, stub, sizeof stub);
    emit_jump_stub(e, STUB_CHAIN);
}

/* Of an exit across a page end: on through the slot. */
static void slot_stub(struct emit *e, const struct pending_exit *exit) {
    struct memref slot = fixed_slot(exit->fixed);
    emit_mov_reg_imm(e, REG_TARGET, exit->target);
    emit_jump_mem(e, &slot);
}

/* By words, towards where nothing lies yet: the last one may take more than there is. */
static void copy_down(uint8_t *from, uint8_t *end, ptrdiff_t by) {
    uint64_t word;
    while (end > from) {
        end -= sizeof word;
        memcpy(&word, end, sizeof word);
        memcpy(end + by, &word, sizeof word);
    }
}

static void copy_up(uint8_t *from, uint8_t *end, ptrdiff_t by) {
    uint64_t word;
    for (; from < end; from += sizeof word) {
        memcpy(&word, from, sizeof word);
        memcpy(from + by, &word, sizeof word);
    }
}

/* To the block's place: so far nothing knows where it lies but pointers of ours. */
static void move_to_place(struct block *b) {
    const struct translation_place *place = &b->req->place;
    uintptr_t len = (uintptr_t)(b->e.at - b->code), skew = (uintptr_t)(intptr_t)place->skew, mask = place->alignment - 1;
    uintptr_t first = place->end ? (uintptr_t)place->end - len + skew : (uintptr_t)place->start + place->before + skew + mask;
    ptrdiff_t by = (ptrdiff_t)((first & ~mask) - skew - (uintptr_t)b->code);
    assert(b->cold == &b->cold_part && place->alignment);
    (place->end ? copy_down : copy_up)(b->code - place->before, b->e.at, by);
    b->code += by;
    b->e.at += by;
    for (unsigned i = 0; i < b->leave_count; i++)
        b->leaves[i].site += by;
    for (unsigned i = 0; i < b->check_count; i++) {
        b->checks[i].site += by;
        b->checks[i].back += by;
    }
    for (unsigned i = 0; i < b->exit_count; i++)
        b->exits[i].site += by;
    for (unsigned i = 0; i < b->stub_sites.count; i++)
        b->stub_sites.list[i].site += by;
}

static void point_at_stubs(const struct block *b) {
    for (unsigned i = 0; i < b->stub_sites.count; i++) {
        const struct stub_site *to = &b->stub_sites.list[i];
        point_at(to->site, (const uint8_t *)b->req->stubs[to->stub]);
    }
}

/* The cold code: what leaves for good, and a stub for each link not yet made. */
void exits_finish(struct block *b) {
    struct emit *e = b->cold;
    joins_finish(b);
    if ((b->req->place.end || b->req->place.start) && !b->e.overflow)
        move_to_place(b);
    for (unsigned i = 0; i < b->leave_count && !b->e.overflow; i++) {
        const struct pending_leave *leave = &b->leaves[i];
        point_at(leave->site, e->at);
        emit_mov_reg_reg(e, RCX, leave->ecx_in);
        if (leave->ecx_in == R11)
            emit_mov_reg_imm(e, REG_TARGET, leave->target);
        emit_jump_stub(e, (enum stub)leave->stub);
    }
    for (unsigned i = 0; i < b->check_count && !b->e.overflow; i++) {
        const struct pending_check *check = &b->checks[i];
        point_at(check->site, e->at);
        emit_mov_reg_reg(e, RCX, R8);
        block_check_access(e, check);
        emit_mov_reg_imm(e, R10, 0);
        emit8(e, 0xe9);
        emit32(e, (uint32_t)(int32_t)(check->back - (e->at + 4)));
    }
    for (unsigned i = 0; i < b->exit_count && !b->e.overflow; i++) {
        point_at(b->exits[i].site, e->at);
        if (b->exits[i].fixed == NO_FIXED_SLOT)
            chain_stub(e, &b->exits[i]);
        else
            slot_stub(e, &b->exits[i]);
    }
    if (!b->e.overflow && !e->overflow)
        point_at_stubs(b);
}

uint32_t translate_thunk(uint8_t *code, uint32_t room, uint32_t target) {
    struct emit e = {.at = code, .end = code + room};
    struct memref slot = hashed_slot(target);
    emit_mov_reg_imm(&e, REG_TARGET, target);
    emit_jump_mem(&e, &slot);
    return e.overflow ? 0 : (uint32_t)(e.at - code);
}

uint32_t translate_pad(uint8_t *code, uint32_t room, const uint8_t *code_exec, uint32_t eip,
                       const uint8_t *body, uint32_t poll_address) {
    struct emit e = {.at = code, .end = code + room};
    emit_tripwire(&e, TRIPWIRE_PAD, eip, poll_address);
    if (body) {
        emit8(&e, 0xe9);
        emit32(&e, (uint32_t)(int32_t)(body - (code_exec + (e.at - code) + 4)));
    }
    return e.overflow ? 0 : (uint32_t)(e.at - code);
}

uint32_t translate_wary_landing(uint8_t *code, uint32_t room, const uint8_t *code_exec,
                                uint32_t return_eip, const uint8_t *back) {
    struct emit e = {.at = code, .end = code + room};
    struct memref difference = {.base = R11, .index = NO_REG, .disp = (int32_t)-return_eip};
    emit_mov_reg_reg(&e, R8, RCX);
    emit_lea(&e, RCX, &difference);
    emit8(&e, 0x67);
    uint8_t *same = emit_short_jump(&e, 0xe3);
    emit_mov_reg_reg(&e, RCX, R8);
    emit_jump_stub(&e, STUB_RETURN);
    emit_short_land(&e, same);
    emit_mov_reg_reg(&e, RCX, R8);
    emit8(&e, 0xe9);
    emit32(&e, (uint32_t)(int32_t)(back - (code_exec + (e.at - code) + 4)));
    return e.overflow ? 0 : (uint32_t)(e.at - code);
}
