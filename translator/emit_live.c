/* Instructions whose immediate is read from the guest's own code each time they run (HINT_LIVE).
 *
 * Programs that patch an immediate operand again and again (inline caches, counters in code) change
 * nothing then that was translated. The immediate goes to r9, and a form with a register in its place does
 * the rest. It is read by its place in the mapping of RAM, which no guest mapping has a say in: the bytes
 * have been fetched already, so nothing faults, no accessed bit is set and no breakpoint sees it. */
#include "translator/block.h"

/* The form with a register: `opcode` without its lowest bit, which says that the operand is no byte. */
struct live_form {
    uint8_t opcode;
    bool to_eax; /* one operand is AL, AX or EAX */
    bool moves_to_register; /* in the opcode */
    bool multiplies;
};

static bool find_form(const struct insn *in, struct live_form *form) {
    unsigned opcode = in->z.opcode, digit = in->z.raw.modrm.reg;
    *form = (struct live_form){0};
    if (opcode < 0x40 && (opcode & 7u) >= 4 && (opcode & 7u) <= 5) { /* ADD to CMP with EAX */
        form->opcode = opcode & 0x38u;
        form->to_eax = true;
    } else if (opcode >= 0x80 && opcode <= 0x83) {
        form->opcode = (uint8_t)(digit << 3);
    } else if (opcode == 0xa8 || opcode == 0xa9) {
        form->opcode = 0x84;
        form->to_eax = true;
    } else if ((opcode == 0xf6 || opcode == 0xf7) && digit < 2) {
        form->opcode = 0x84;
    } else if ((opcode == 0xc6 || opcode == 0xc7) && !digit) {
        form->opcode = 0x88;
    } else if (opcode >= 0xb0 && opcode <= 0xbf) {
        form->opcode = 0x88;
        form->moves_to_register = true;
    } else if (opcode == 0x69 || opcode == 0x6b) {
        form->multiplies = true;
    } else {
        return false;
    }
    return true;
}

static bool is_byte(const struct insn *in) {
    unsigned opcode = in->z.opcode;
    if (opcode >= 0xb0 && opcode <= 0xbf)
        return opcode < 0xb8;
    return !(opcode & 1u);
}

/* The last byte is on the same page: a straddling instruction's second page may be another. */
bool block_is_live(const struct block *b, const struct insn *in) {
    uint32_t end = in->eip - b->req->eip + in->len;
    bool sized = in->imm_len == 1 || in->imm_len == 2 || in->imm_len == 4;
    return in->hint & HINT_LIVE && b->req->live_code && sized && end <= b->req->page_bytes;
}

void block_load_live(struct block *b, const struct insn *in, unsigned reg) {
    uint64_t at = b->req->live_code + (in->eip - b->req->eip) + in->imm_at;
    struct memref there = {.base = R9, .index = NO_REG};
    emit_bytes(&b->e, (const uint8_t[]){0x49, 0xb9}, 2); /* movabs r9 */
    emit64(&b->e, at);
    struct encoding load = {.opcode = 0x8b, .has_modrm = true, .reg = (uint8_t)reg, .mem = &there};
    if (in->imm_len < 4) { /* MOVSX, which does for immediates as long as the operand, too */
        load.map = MAP_0F;
        load.opcode = in->imm_len == 1 ? 0xbe : 0xbf;
    }
    emit_insn(&b->e, &load);
    b->undo |= (uint8_t)((in->imm_len == 4 ? 3u : in->imm_len) << MAP_LIVE_SHIFT);
}

/* IMUL r, r/m, imm: the product is made in r11, as the operand may lie in memory that r9 to r11 lead to. */
static void multiply(struct block *b, const struct insn *in, const struct memref *m) {
    struct encoding load = {.opcode = 0x8b, .has_modrm = true, .reg = R11, .mem = m};
    struct encoding imul = {.map = MAP_0F, .opcode = 0xaf, .has_modrm = true, .reg = R11, .rm = R9};
    struct encoding store = {.opcode = 0x8b, .has_modrm = true,
                             .reg = (uint8_t)host_gpr(in->z.raw.modrm.reg), .rm = R11};
    if (!m)
        load.rm = (uint8_t)host_gpr(in->z.raw.modrm.rm);
    if (in->opsize16) {
        load.legacy[load.legacy_count++] = 0x66;
        imul.legacy[imul.legacy_count++] = 0x66;
        store.legacy[store.legacy_count++] = 0x66;
    }
    emit_insn(&b->e, &load);
    block_load_live(b, in, R9);
    emit_insn(&b->e, &imul);
    emit_insn(&b->e, &store);
}

bool emit_live(struct block *b, const struct insn *in) {
    struct live_form form;
    struct memref m;
    if (in->row->vex || in->row->map || in->row->unit != UNIT_INT || !block_is_live(b, in) || !find_form(in, &form))
        return false;
    bool byte = is_byte(in), has_modrm = in->z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
    bool memory = has_modrm && in->z.raw.modrm.mod != 3;
    unsigned rm = form.to_eax ? EAX : form.moves_to_register ? in->z.opcode & 7u : in->z.raw.modrm.rm;
    if (byte && !memory && rm >= 4)
        return false; /* AH to DH do not go with r9 */
    if (memory)
        m = operand_memory(b, in, 0);
    if (form.multiplies) {
        multiply(b, in, memory ? &m : NULL);
        return true;
    }
    struct encoding enc = {.opcode = (uint8_t)(form.opcode | (byte ? 0 : 1)), .has_modrm = true, .reg = R9,
                           .rm = (uint8_t)(byte ? rm : host_gpr(rm))};
    if (in->opsize16 && !byte)
        enc.legacy[enc.legacy_count++] = 0x66;
    if (in->lock)
        enc.legacy[enc.legacy_count++] = 0xf0;
    if (memory)
        enc.mem = &m;
    if (form.moves_to_register && in->imm_len == 4) {
        block_load_live(b, in, host_gpr(rm));
        return true;
    }
    block_load_live(b, in, R9);
    emit_insn(&b->e, &enc);
    return true;
}
