/* A block from its first byte to its exits (translate.h). */
#include "translator/translate.h"

#include <assert.h>

#include "translator/block.h"

static void record(struct block *b, uint32_t guest_offset) {
    struct insn_map *entry = &b->out->map[b->out->insn_count++];
    entry->host = (uint16_t)(b->e.at - b->code);
    entry->body = entry->host;
    entry->guest = (uint16_t)guest_offset;
    entry->undo = UNDO_NONE;
    entry->esp = (int8_t)b->esp;
    translation_start(b->out, guest_offset, b->esp);
}

void block_settle_esp(struct block *b) {
    if (!b->esp)
        return;
    struct memref sum = {.base = REG_GUEST_ESP, .index = NO_REG, .disp = b->esp};
    struct encoding lea = {.opcode = 0x8d, .has_modrm = true, .reg = REG_GUEST_ESP, .mem = &sum};
    if (b->req->mode & MODE_STACK16) /* SP alone */
        lea.legacy[lea.legacy_count++] = 0x66;
    emit_insn(&b->e, &lea);
    b->esp = 0;
}

/* Its target is loaded before anything is pushed. */
static bool is_plain_call_rm(const struct insn *in) {
    bool of_esp = in->z.raw.modrm.mod == 3 && in->z.raw.modrm.rm == ESP;
    return in->row->emit == e_call_rm && !of_esp && HINT_SECOND(in->hint) == WINDOW_SUPER;
}

/* Can the instruction be emitted while r12d lags behind ESP? Pushes and pops of registers, and
 * whatever uses ESP for nothing but an address. */
bool block_bears_lag(const struct block *b, const struct insn *in) {
    const uint32_t checked = MODE_GENERAL_CS | MODE_GENERAL_DS | MODE_GENERAL_ES | MODE_GENERAL_SS |
                             MODE_ALIGN | MODE_DEBUG | MODE_STACK16;
    const uint32_t units_off = MODE_NO_FPU | MODE_NO_SSE;
    const ZydisDecodedInstruction *z = &in->z;
    emitter_fn emit = in->row->emit;
    uint32_t arg;
    bool stack = emit == e_push_reg || emit == e_push_imm || emit == e_ret ||
                 emit == e_call_rel || is_plain_call_rm(in) || (emit == e_pop_reg && (z->opcode & 7u) != ESP);
    if (b->req->mode & checked || block_lags_far(b) || in->row->vex || in->hint & HINT_DIVIDES ||
        (in->row->unit != UNIT_INT && b->req->mode & units_off) ||
        block_segment_class(b, in->segment) >= SEGMENT_GENERAL || operand_can_reach(b, in, &arg) ||
        (emit == e_moffs && operand_goes_past(b, in)))
        return false;
    if (stack)
        return (emit != e_push_reg || (z->opcode & 7u) != ESP) && !in->opsize16;
    if (emit == e_incdec)
        return (z->opcode & 7u) != ESP;
    if (emit == e_nop || emit == e_moffs)
        return true;
    if (emit != e_ident && emit != e_lea)
        return false;
    if (in->kinds->opcode_reg && !in->kinds->opcode_byte && (z->opcode & 7u) == ESP)
        return false;
    if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM))
        return true;
    if (in->kinds->reg_gpr && !in->kinds->reg_byte && z->raw.modrm.reg == ESP)
        return false;
    return z->raw.modrm.mod != 3 || !in->kinds->rm_gpr || in->kinds->rm_byte ||
           z->raw.modrm.rm != ESP;
}

static void probe(struct block *b, uint32_t offset) {
    int index = b->req->watch ? b->req->watch(b->req->opaque, b->req->linear + offset) : -1;
    if (index < 0)
        return;
    struct insn here = {.eip = b->req->eip + offset, .next_eip = b->req->eip + offset};
    block_callout(b, &here, CALLOUT_probe, (uint32_t)index);
}

/* One instruction; returns its length, 0 when the block ended before it, -1 for more bytes. */
static int one_insn(struct block *b, uint32_t offset) {
    struct insn in;
    unsigned number = b->out->insn_count;
    int verdict = insn_decode(b->req, offset, &in);
    if (verdict == DECODE_MORE)
        return -1;
    b->pc = b->req->eip + offset;
    b->undo = UNDO_NONE;
    in.hint = b->req->hint ? b->req->hint(b->req->opaque, b->pc) : 0;
    bool watched = probes_call(b, number) ||
                   (b->req->watch && b->req->watch(b->req->opaque, b->req->linear + offset) >= 0);
    if (verdict || watched || !block_bears_lag(b, &in))
        block_settle_esp(b);
    record(b, offset);
    probe(b, offset);
    probes_emit(b, number, offset);
    b->out->map[number].body = (uint16_t)(b->e.at - b->code);
    if (verdict) {
        bool gp = verdict == 13;
        b->out->guest_len = offset + 1;
        b->out->undecoded = INSN_BYTES_MAX - 1;
        block_raise(b, b->pc, b->pc + 1, gp ? 0x10d : (uint32_t)verdict);
        return 1;
    }
    b->out->guest_len = offset + in.len;
    if (b->req->rows)
        insn_row_mark(b->req->rows, in.row);
    in.row->emit(b, &in);
    b->out->map[b->out->insn_count - 1].undo = b->undo;
    b->out->live |= (b->undo & MAP_LIVE) != 0;
    return in.len;
}

/* The block ends before `eip` for want of room. Right behind STI the next instruction's shadow is
 * the dispatcher's business. */
static void stop_before(struct block *b, uint32_t eip, bool shadow) {
    block_settle_esp(b);
    if (!shadow) {
        exit_onward(b, eip);
        return;
    }
    struct memref field = CPU_FIELD(interrupt_shadow);
    struct encoding set = {.opcode = 0xc6, .has_modrm = true, .mem = &field};
    emit_insn(&b->e, &set);
    emit8(&b->e, SHADOW_OF_STI);
    emit_mov_reg_imm(&b->e, REG_TARGET, eip);
    emit_jump_stub(&b->e, STUB_LEAVE);
    b->ended = true;
}

/* The block would end, but a branch leads right behind it. */
static bool is_joined(const struct block *b) {
    return b->next_join == b->out->guest_len && !b->check_exits;
}

enum translate_status translate_block(const struct translate_request *req, uint8_t *code,
                                      uint32_t room, struct translation *out) {
    struct block b;
    __builtin_memset(&b, 0, __builtin_offsetof(struct block, exits));
    b.stub_sites.count = 0;
    struct stub_sites *sites = req->stubs ? &b.stub_sites : NULL;
    b.e = (struct emit){.at = code, .end = code + room, .stub_sites = sites};
    b.req = req;
    b.out = out;
    b.code = code;
    b.quick = quick_goes(req);
    b.next_join = NO_JOIN;
    b.cold = &b.e;
    if (req->cold) {
        b.cold_part = (struct emit){.at = req->cold, .end = req->cold + req->cold_room, .stub_sites = sites};
        b.cold = &b.cold_part;
    }
    uint32_t offset = 0;
    uint32_t limit = req->max_insns && req->max_insns < TRANSLATION_INSNS_MAX ? req->max_insns
                                                                              : TRANSLATION_INSNS_MAX;
    bool after_sti = false;
    assert(req->len > 0 && req->page_bytes <= req->len);
    out->insn_count = out->exit_count = out->guest_len = out->loop_at = 0;
    out->undecoded = 0;
    for (unsigned i = 0; i < TRANSLATION_START_WORDS; i++)
        out->starts[i] = 0;
    out->live = out->crosses = false;
    exits_enter_loop(&b);
    while (!b.ended || is_joined(&b)) {
        b.ended = false;
        if (b.quick && !b.check_exits && !after_sti) {
            offset = quick_run(&b, offset, limit);
            if (b.ended)
                continue;
        }
        joins_pass(&b, offset);
        bool full = out->insn_count >= limit || offset >= req->page_bytes || after_sti ||
                    (uint32_t)(b.e.end - b.e.at) < 2 * INSN_CODE_MAX + probes_room(&b, out->insn_count) ||
                    block_exits_full(&b);
        bool stop = (req->stop_before && req->stop_before(req->opaque, req->linear + offset)) ||
                    (req->hint && req->hint(req->opaque, req->eip + offset) & HINT_LOOP);
        if ((full || stop) && out->insn_count) {
            stop_before(&b, req->eip + offset, b.check_exits && !after_sti);
            break;
        }
        bool shadowed = after_sti;
        after_sti = b.check_exits;
        int len = one_insn(&b, offset);
        if (len < 0 && !out->insn_count)
            return TRANSLATE_MORE;
        if (len < 0) {
            stop_before(&b, req->eip + offset, b.check_exits && !shadowed);
            break;
        }
        if (after_sti)
            out->map[out->insn_count - 1].undo |= UNDO_SHADOWED;
        offset += (uint32_t)len;
    }
    if (b.loop)
        out->map[0].host = 0; /* with what stands before it */
    exits_finish(&b);
    if (b.e.overflow || b.cold_part.overflow)
        return TRANSLATE_FULL;
    out->cold_len = req->cold ? (uint32_t)(b.cold_part.at - req->cold) : 0;
    for (unsigned i = 0; i < b.exit_count; i++) {
        bool crosses = b.exits[i].fixed != NO_FIXED_SLOT;
        out->exits[i] = (struct translation_exit){.site = (uint32_t)(b.exits[i].site - b.code),
                                                    .target = b.exits[i].target,
                                                    .copied = b.exits[i].copied,
                                                    .crosses = crosses};
        out->crosses |= crosses;
    }
    out->exit_count = b.exit_count;
    out->code = b.code;
    out->code_len = (uint32_t)(b.e.at - b.code);
    return TRANSLATE_OK;
}
