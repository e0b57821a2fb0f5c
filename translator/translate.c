/* A block from its first byte to its exits (translate.h). */
#include "translator/translate.h"

#include <assert.h>

#include "translator/block.h"

/* No single instruction emits more than this. */
#define INSN_CODE_MAX 640u

const char *refusal_text(unsigned reason) {
    static const char *const texts[] = {
#define REFUSAL_TEXT(id, text) text,
        REFUSALS(REFUSAL_TEXT)
#undef REFUSAL_TEXT
    };
    return reason < REFUSAL_COUNT ? texts[reason] : "an unknown guest feature";
}

static void record(struct block *b, uint32_t guest_offset, const uint8_t *code) {
    struct insn_map *entry = &b->out->map[b->out->insn_count++];
    entry->host = (uint16_t)(b->e.at - code);
    entry->guest = (uint16_t)guest_offset;
    entry->undo = UNDO_NONE;
}

/* 16-bit code and virtual-8086 mode are refused by name, at the instruction. */
static bool mode_refused(struct block *b, const struct insn *in) {
    if (!(b->req->mode & (MODE_CODE16 | MODE_REAL | MODE_VM86)))
        return false;
    block_refuse(b, in, REFUSE_code16);
    return true;
}

static void probe(struct block *b, uint32_t offset) {
    int index = b->req->watch ? b->req->watch(b->req->opaque, b->req->linear + offset) : -1;
    if (index < 0)
        return;
    struct insn here = {.eip = b->req->eip + offset, .next_eip = b->req->eip + offset};
    block_callout(b, &here, CALLOUT_probe, (uint32_t)index);
}

/* One instruction; returns its length, 0 when the block ended before it, -1 for more bytes. */
static int one_insn(struct block *b, uint32_t offset, const uint8_t *code) {
    struct insn in;
    int verdict = insn_decode(b->req, offset, &in);
    if (verdict == DECODE_MORE)
        return -1;
    b->pc = b->req->eip + offset;
    b->undo = UNDO_NONE;
    record(b, offset, code);
    probe(b, offset);
    if (verdict) {
        bool gp = verdict == 13;
        b->out->guest_len = offset + 1;
        block_raise(b, b->pc, b->pc + 1, gp ? 0x10d : (uint32_t)verdict);
        return 1;
    }
    b->out->guest_len = offset + in.len;
    in.hint = b->req->hint ? b->req->hint(b->req->opaque, b->pc) : 0;
    if (!mode_refused(b, &in))
        in.row->emit(b, &in);
    b->out->map[b->out->insn_count - 1].undo = b->undo;
    return in.len;
}

/* The block ends before `eip` for want of room. Right behind STI the next instruction's shadow is
 * the dispatcher's business. */
static void stop_before(struct block *b, uint32_t eip, bool shadow) {
    if (!shadow) {
        exit_to(b, eip);
        return;
    }
    struct memref field = CPU_FIELD(interrupt_shadow);
    struct memref miss = mem_cpu((uint32_t)__builtin_offsetof(struct cpu, stubs) + STUB_MISS * 8u);
    struct encoding set = {.opcode = 0xc6, .has_modrm = true, .mem = &field};
    emit_insn(&b->e, &set);
    emit8(&b->e, 1);
    emit_mov_reg_imm(&b->e, REG_TARGET, eip);
    emit_jump_mem(&b->e, &miss);
    b->ended = true;
}

enum translate_status translate_block(const struct translate_request *req, uint8_t *code,
                                      uint32_t room, struct translation *out) {
    struct block b = {.e = {.at = code, .end = code + room}, .req = req, .out = out};
    uint32_t offset = 0;
    uint32_t limit = req->max_insns && req->max_insns < TRANSLATION_INSNS_MAX ? req->max_insns
                                                                              : TRANSLATION_INSNS_MAX;
    bool after_sti = false;
    assert(req->len > 0 && req->page_bytes <= req->len);
    out->insn_count = out->exit_count = out->guest_len = 0;
    while (!b.ended) {
        bool full = out->insn_count >= limit || offset >= req->page_bytes || after_sti ||
                    (uint32_t)(b.e.end - b.e.at) < 2 * INSN_CODE_MAX;
        if (full && out->insn_count) {
            stop_before(&b, req->eip + offset, b.check_exits && !after_sti);
            break;
        }
        bool shadowed = after_sti;
        after_sti = b.check_exits;
        int len = one_insn(&b, offset, code);
        if (len < 0 && !out->insn_count)
            return TRANSLATE_MORE;
        if (len < 0) {
            stop_before(&b, req->eip + offset, b.check_exits && !shadowed);
            break;
        }
        offset += (uint32_t)len;
    }
    exits_finish(&b);
    if (b.e.overflow)
        return TRANSLATE_FULL;
    for (unsigned i = 0; i < b.exit_count; i++)
        out->exits[i] = (struct translation_exit){(uint32_t)(b.exits[i].site - code),
                                                  b.exits[i].target};
    out->exit_count = b.exit_count;
    out->code_len = (uint32_t)(b.e.at - code);
    return TRANSLATE_OK;
}
