/* Near-identity: the guest's instruction with its registers and memory operand re-encoded.
 *
 * What changes: prefixes, guest ESP (r12d), the memory operand, and encodings that mean
 * something else in 64-bit mode. Byte registers AH-DH cannot go with a REX prefix: such an
 * instruction is done on the low byte between two swaps, and a fault in between is undone. */
#include <assert.h>

#include "translator/block.h"

#define VECTOR_DE 0
#define VECTOR_UD 6
#define VECTOR_NM 7

/* #NM and #UD by CR0.EM, CR0.TS, CR4.OSFXSR, CR4.OSXSAVE (SDM vol. 3A, tables 2-2, 13-1). */
bool block_unit_off(struct block *b, const struct insn *in) {
    uint32_t mode = b->req->mode;
    unsigned vector = 0;
    switch ((enum row_unit)in->row->unit) {
    case UNIT_INT: return false;
    case UNIT_X87:
        if (in->z.opcode == 0x9b)
            vector = mode & MODE_WAIT_NM ? VECTOR_NM : 0;
        else
            vector = mode & MODE_NO_FPU ? VECTOR_NM : 0;
        break;
    /* #UD by EM, #NM by TS: OSFXSR, which MODE_NO_SSE has too, is not MMX's. */
    case UNIT_MMX: vector = mode & MODE_NO_FPU ? (mode & MODE_NO_SSE ? VECTOR_UD | RAISE_NM_UNLESS_EM : VECTOR_NM) : 0; break;
    case UNIT_SSE: vector = mode & MODE_NO_SSE ? VECTOR_UD : mode & MODE_NO_FPU ? VECTOR_NM : 0; break;
    case UNIT_AVX: vector = mode & MODE_NO_AVX ? VECTOR_UD : mode & MODE_NO_FPU ? VECTOR_NM : 0; break;
    }
    if (vector)
        block_raise(b, in->eip, in->next_eip, vector);
    return vector != 0;
}

static void set_vex(const struct insn *in, struct encoding *enc) {
    const uint8_t *bytes = in->bytes + in->z.raw.vex.offset;
    unsigned last = bytes[0] == 0xc5 ? bytes[1] : bytes[2];
    enc->vex = true;
    enc->vex_pp = last & 3u;
    enc->vex_l = last >> 2 & 1u;
    /* VEX.W is ignored outside 64-bit mode where an operand is a general register (of PCMPxSTRx:
     * the lengths in EAX and EDX). */
    bool counts = in->z.opcode_map == ZYDIS_OPCODE_MAP_0F3A && (in->z.opcode & 0xfcu) == 0x60;
    enc->vex_w = bytes[0] == 0xc4 && last >> 7 && !in->kinds->any_gpr && !counts;
    /* Outside 64-bit mode the highest bit of vvvv is ignored: registers 8-15 are not the guest's. */
    enc->vvvv = (uint8_t)(~(last >> 3) & 7u);
    if (in->kinds->vvvv_gpr)
        enc->vvvv = (uint8_t)host_gpr(enc->vvvv);
}

static void set_prefixes(const struct insn *in, struct encoding *enc) {
    if (in->kinds->sized ? in->opsize16 : in->prefix66)
        enc->legacy[enc->legacy_count++] = 0x66;
    if (in->rep || in->repne)
        enc->legacy[enc->legacy_count++] = in->rep ? 0xf3 : 0xf2;
    if (in->lock)
        enc->legacy[enc->legacy_count++] = 0xf0;
}

static void emit_swap_bytes(struct block *b, unsigned low) {
    emit8(&b->e, 0x86); /* xchg low byte, high byte */
    emit8(&b->e, 0xc0u | low << 3 | (low + 4u));
}

static bool needs_rex(const struct encoding *enc) {
    const struct memref *m = enc->mem;
    return enc->reg >= 8 || (m ? (m->base != NO_REG && m->base >= 8) ||
                                     (m->index != NO_REG && m->index >= 8)
                               : enc->rm >= 8);
}

/* The high byte register that the encoding names, as its low sibling 0-3; or NO_REG. */
static unsigned high_byte(const struct insn *in, const struct encoding *enc) {
    if (in->kinds->reg_byte && enc->reg >= 4)
        return enc->reg & 3u;
    if (in->kinds->rm_byte && !enc->mem && enc->rm >= 4)
        return enc->rm & 3u;
    return NO_REG;
}

static void emit_high_byte(struct block *b, const struct insn *in, struct encoding *enc,
                           unsigned low) {
    struct memref moved, copy = CPU_FIELD(scratch);
    bool compares_al = in->z.opcode_map == ZYDIS_OPCODE_MAP_0F && in->z.opcode == 0xb0;
    if (compares_al) { /* CMPXCHG: AL must stay; its source is only read, a copy does */
        struct encoding movzx = {.map = MAP_0F, .opcode = 0xb6, .has_modrm = true, .reg = R9,
                                 .mem = &copy};
        emit_store(&b->e, &copy, low);
        copy.disp += 1;
        emit_insn(&b->e, &movzx);
        enc->reg = R9;
        emit_insn(&b->e, enc);
        return;
    }
    if (enc->mem && (enc->mem->base == low || enc->mem->index == low)) {
        emit_lea(&b->e, R11, enc->mem); /* the swap would change the address */
        moved = (struct memref){.gs = enc->mem->gs, .addr32 = enc->mem->addr32, .base = R11,
                                .index = NO_REG};
        enc->mem = &moved;
    }
    if (in->kinds->reg_byte && enc->reg >= 4)
        enc->reg = (uint8_t)low;
    else
        enc->rm = (uint8_t)low;
    if (enc->mem)
        b->undo = (uint8_t)(UNDO_SWAP_BYTES | low);
    emit_swap_bytes(b, low);
    emit_insn(&b->e, enc);
    emit_swap_bytes(b, low);
}

static bool is_gather(const struct insn *in) {
    return in->row->vex && in->z.opcode_map == ZYDIS_OPCODE_MAP_0F38 && in->z.opcode >= 0x90 &&
           in->z.opcode <= 0x93;
}

/* Base and displacement; the index is a vector, and stays out of address arithmetic. */
static struct memref gather_base(const struct block *b, const struct insn *in) {
    const ZydisDecodedInstruction *z = &in->z;
    unsigned base = z->raw.sib.base;
    bool none = base == EBP && z->raw.modrm.mod == 0;
    return (struct memref){.base = (uint8_t)(none ? NO_REG : host_gpr(base)),
                           .index = NO_REG,
                           .disp = (int32_t)z->raw.disp.value + (base == ESP ? b->esp : 0)};
}

/* The host does it alone in one flat window. Elsewhere a callout takes the elements one by one. */
static bool gathered(struct block *b, const struct insn *in, const struct encoding *enc) {
    const ZydisDecodedInstruction *z = &in->z;
    bool plain = block_segment_class(b, in->segment) == SEGMENT_FLAT && !block_checked(b) &&
                 HINT_OPERAND(in->hint) == WINDOW_SUPER;
    if (!is_gather(in) || plain)
        return false;
    struct memref base = gather_base(b, in);
    uint32_t arg = z->raw.modrm.reg | (uint32_t)z->raw.sib.index << CALLOUT_GATHER_INDEX |
                   (uint32_t)enc->vvvv << CALLOUT_GATHER_MASK |
                   (uint32_t)z->raw.sib.scale << CALLOUT_GATHER_SCALE |
                   (uint32_t)in->segment << CALLOUT_GATHER_SEGMENT;
    arg |= enc->vex_l ? CALLOUT_GATHER_WIDE : 0;
    arg |= enc->vex_w ? CALLOUT_GATHER_QWORDS : 0;
    arg |= z->opcode & 1 ? CALLOUT_GATHER_BY_QWORDS : 0;
    emit_lea(&b->e, R11, &base);
    block_callout(b, in, CALLOUT_gather, arg);
    return true;
}

static struct memref gather_operand(const struct block *b, const struct insn *in) {
    struct memref m = gather_base(b, in);
    m.gs = m.addr32 = m.vector_index = true;
    m.index = in->z.raw.sib.index;
    m.scale = in->z.raw.sib.scale;
    return m;
}

void emit_identical(struct block *b, const struct insn *in) {
    const ZydisDecodedInstruction *z = &in->z;
    const struct operand_kinds *kinds = in->kinds;
    struct memref m;
    struct encoding enc = {.map = (uint8_t)z->opcode_map, .opcode = z->opcode,
                           .imm = in->bytes + in->imm_at, .imm_len = in->imm_len};
    uint8_t fourth = in->imm_len ? in->bytes[in->imm_at] & 0x7fu : 0;
    if (in->hint & HINT_LIVE && emit_live(b, in))
        return;
    if (in->row->vex)
        set_vex(in, &enc);
    else
        set_prefixes(in, &enc);
    if (in->row->vex && z->opcode_map == ZYDIS_OPCODE_MAP_0F3A && z->opcode >= 0x4a &&
        z->opcode <= 0x4c)
        enc.imm = &fourth; /* VBLENDVx: a register in bits 7-4, of which bit 7 is ignored */
    if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
        if (kinds->opcode_reg && !kinds->opcode_byte) {
            enc.opcode_reg = true;
            enc.rm = (uint8_t)host_gpr(z->opcode & 7u);
            enc.opcode &= 0xf8u;
        }
        emit_insn(&b->e, &enc);
        return;
    }
    enc.has_modrm = true;
    enc.reg = z->raw.modrm.reg;
    enc.rm = z->raw.modrm.rm;
    if (kinds->reg_gpr && !kinds->reg_byte)
        enc.reg = (uint8_t)host_gpr(enc.reg);
    if (z->raw.modrm.mod != 3) {
        if (gathered(b, in, &enc))
            return;
        m = is_gather(in) ? gather_operand(b, in) : operand_memory(b, in, 0);
        enc.mem = &m;
    } else if (kinds->rm_gpr && !kinds->rm_byte) {
        enc.rm = (uint8_t)host_gpr(enc.rm);
    }
    unsigned high = high_byte(in, &enc);
    if (high != NO_REG && needs_rex(&enc))
        emit_high_byte(b, in, &enc, high);
    else
        emit_insn(&b->e, &enc);
}

static bool is_divide(const struct insn *in) {
    return in->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (in->z.opcode & 0xfeu) == 0xf6 &&
           in->z.raw.modrm.reg >= 6;
}

/* ecx: the divisor, zero-extended; a high byte can be named here. Nothing has changed where its load faults. */
static void load_divisor(struct block *b, const struct insn *in, const struct memref *m) {
    unsigned rm = in->z.raw.modrm.rm;
    bool byte = !(in->z.opcode & 1);
    struct encoding load = {.opcode = 0x8b, .has_modrm = true, .reg = RCX, .mem = m,
                            .rm = (uint8_t)(byte ? rm : host_gpr(rm))};
    if (byte || in->opsize16) {
        load.map = MAP_0F;
        load.opcode = byte ? 0xb6 : 0xb7;
    }
    emit_insn(&b->e, &load);
}

/* A site that has divided by zero looks first, and then raises #DE without a signal of the host. Flags
 * and registers must be what they were: JECXZ, and ECX waits in r8d. */
static void emit_checked_divide(struct block *b, const struct insn *in) {
    bool byte = !(in->z.opcode & 1), memory = in->z.raw.modrm.mod != 3;
    struct encoding divide = {.opcode = in->z.opcode, .has_modrm = true, .reg = in->z.raw.modrm.reg, .rm = R9};
    struct memref m;
    if (!byte && in->opsize16)
        divide.legacy[divide.legacy_count++] = 0x66;
    if (memory)
        m = operand_memory(b, in, 0);
    emit_mov_reg_reg(&b->e, R8, RCX);
    load_divisor(b, in, memory ? &m : NULL);
    emit8(&b->e, 0x67);
    uint8_t *zero = emit_short_jump(&b->e, 0xe3); /* jecxz */
    emit_mov_reg_reg(&b->e, R9, RCX);
    emit_mov_reg_reg(&b->e, RCX, R8);
    emit_insn(&b->e, &divide);
    uint8_t *done = emit_short_jump(&b->e, 0xeb);
    emit_short_land(&b->e, zero);
    emit_mov_reg_reg(&b->e, RCX, R8);
    block_callout(b, in, CALLOUT_raise, VECTOR_DE);
    emit_short_land(&b->e, done);
}

void e_ident(struct block *b, const struct insn *in) {
    if (block_unit_off(b, in))
        return;
    if (in->hint & HINT_DIVIDES && is_divide(in))
        emit_checked_divide(b, in);
    else
        emit_identical(b, in);
}

/* 40-4F are REX prefixes in 64-bit mode. */
void e_incdec(struct block *b, const struct insn *in) {
    struct encoding enc = {.opcode = 0xff, .has_modrm = true, .reg = in->z.opcode >> 3 & 1u,
                           .rm = (uint8_t)host_gpr(in->z.opcode & 7u)};
    if (in->opsize16)
        enc.legacy[enc.legacy_count++] = 0x66;
    emit_insn(&b->e, &enc);
}

/* 82 is invalid in 64-bit mode; it is 80. */
void e_alias82(struct block *b, const struct insn *in) {
    struct insn alias = *in;
    alias.z.opcode = 0x80;
    emit_identical(b, &alias);
}

/* Hints and prefetches: no memory operand is ever touched, none is emitted. */
void e_nop(struct block *b, const struct insn *in) {
    (void)in;
    emit8(&b->e, 0x90);
}

void e_lea(struct block *b, const struct insn *in) {
    struct memref ea = operand_effective(b, in, 0);
    struct encoding enc = {.opcode = 0x8d, .has_modrm = true,
                           .reg = (uint8_t)host_gpr(in->z.raw.modrm.reg), .mem = &ea};
    if (in->opsize16)
        enc.legacy[enc.legacy_count++] = 0x66;
    emit_insn(&b->e, &enc);
}

static struct insn with_offset(const struct insn *in, uint8_t opcode, int32_t disp) {
    struct insn plain = *in;
    plain.z.opcode = opcode;
    plain.z.attributes |= ZYDIS_ATTRIB_HAS_MODRM;
    plain.z.address_width = 32;
    plain.z.raw.modrm.reg = 0;
    plain.z.raw.modrm.mod = 0;
    plain.z.raw.modrm.rm = EBP;
    plain.z.raw.disp.value = disp;
    plain.imm_len = 0;
    return plain;
}

/* MOV with an offset becomes the ModRM form: in 64-bit mode the offset has 64 bits, and 67h on
 * it stalls the decoder. */
void e_moffs(struct block *b, const struct insn *in) {
    static const uint8_t forms[4] = {0x8a, 0x8b, 0x88, 0x89};
    int32_t offset = (int32_t)(in->z.raw.disp.size ? in->z.raw.disp.value : in->z.raw.imm[0].value.s);
    if (in->addr16)
        offset &= 0xffff;
    struct insn plain = with_offset(in, forms[in->z.opcode & 3u], offset);
    plain.kinds = insn_row_kinds(insn_row_find(false, MAP_PRIMARY, plain.z.opcode, PFX_NONE, 0, false));
    emit_identical(b, &plain);
}

/* AL = [EBX + AL]: the sum goes to r11d, then an ordinary byte load. */
void e_xlat(struct block *b, const struct insn *in) {
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb6, .has_modrm = true, .reg = R11, .rm = RAX};
    struct memref sum = {.base = RBX, .index = R11};
    emit_insn(&b->e, &movzx);
    emit_lea(&b->e, R11, &sum);
    struct memref ea = {.base = R11, .index = NO_REG};
    if (in->addr16)
        ea = operand_cut16(b, ea);
    struct memref m = operand_sum(b, in, ea, 1, ACCESS_READ, in->addr16);
    struct encoding load = {.opcode = 0x8a, .has_modrm = true, .reg = RAX, .mem = &m};
    emit_insn(&b->e, &load);
}
