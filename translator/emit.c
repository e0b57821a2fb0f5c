/* Encoding of host instructions (emit.h). */
#include "translator/emit.h"

#include <assert.h>
#include <stddef.h>

void emit32(struct emit *e, uint32_t value) {
    if (e->end - e->at < 4) {
        e->overflow = true;
        return;
    }
    __builtin_memcpy(e->at, &value, sizeof value);
    e->at += sizeof value;
}

void emit64(struct emit *e, uint64_t value) {
    emit32(e, (uint32_t)value);
    emit32(e, (uint32_t)(value >> 32));
}

void emit_bytes(struct emit *e, const uint8_t *bytes, unsigned len) {
    if (e->end - e->at >= (ptrdiff_t)len) {
        __builtin_memcpy(e->at, bytes, len);
        e->at += len;
        return;
    }
    for (unsigned i = 0; i < len; i++)
        emit8(e, bytes[i]);
}

static uint8_t *put32(uint8_t *to, uint32_t value) {
    __builtin_memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

/* ModRM, SIB and displacement of a memory operand. mod=00 rm=101 means RIP-relative in 64-bit
 * mode, so a bare displacement takes the SIB form; bases RSP and R12 need a SIB, bases RBP and
 * R13 a displacement (SDM vol. 2A, tables 2-2, 2-3). */
static inline uint8_t *put_modrm_mem(uint8_t *to, unsigned reg, const struct memref *m) {
    unsigned field = (reg & 7u) << 3;
    assert(m->index != RSP || m->vector_index);
    if (m->base == NO_REG) {
        *to++ = (uint8_t)(field | 4u);
        *to++ = (uint8_t)((unsigned)m->scale << 6 | (m->index == NO_REG ? 4u : m->index & 7u) << 3 | 5u);
        return put32(to, (uint32_t)m->disp);
    }
    bool sib = m->index != NO_REG || (m->base & 7u) == RSP;
    unsigned mod = 0x80;
    if (m->disp == 0 && (m->base & 7u) != RBP)
        mod = 0;
    else if (m->disp >= -128 && m->disp <= 127)
        mod = 0x40;
    *to++ = (uint8_t)(mod | field | (sib ? 4u : m->base & 7u));
    if (sib)
        *to++ = (uint8_t)((unsigned)m->scale << 6 | (m->index == NO_REG ? 4u : m->index & 7u) << 3 |
                          (m->base & 7u));
    put32(to, (uint32_t)m->disp);
    return to + (mod == 0 ? 0 : mod == 0x40 ? 1 : 4);
}

static uint8_t *put_vex(uint8_t *to, const struct encoding *enc, bool r, bool x, bool b) {
    unsigned tail = (~(unsigned)enc->vvvv & 15u) << 3 | (unsigned)enc->vex_l << 2 | enc->vex_pp;
    if (!x && !b && !enc->vex_w && enc->map == MAP_0F) {
        *to++ = 0xc5;
        *to++ = (uint8_t)((r ? 0u : 0x80u) | tail);
    } else {
        *to++ = 0xc4;
        *to++ = (uint8_t)((r ? 0u : 0x80u) | (x ? 0u : 0x40u) | (b ? 0u : 0x20u) | enc->map);
        *to++ = (uint8_t)((enc->vex_w ? 0x80u : 0u) | tail);
    }
    return to;
}

static uint32_t load32(const uint8_t *from) {
    uint32_t value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

#define ENCODING_MAX 32u /* bytes that put_insn may write, those behind the instruction's end included */

static inline uint8_t *put_insn(uint8_t *to, const struct encoding *enc) {
    const struct memref *m = enc->mem;
    bool r = enc->has_modrm && enc->reg >= 8;
    bool x = m && m->index != NO_REG && m->index >= 8;
    bool b = m ? m->base != NO_REG && m->base >= 8
               : (enc->has_modrm || enc->opcode_reg) && enc->rm >= 8;
    if (m && m->gs)
        *to++ = 0x65;
    if (m && m->addr32)
        *to++ = 0x67;
    for (unsigned i = 0; i < enc->legacy_count; i++)
        *to++ = enc->legacy[i];
    if (enc->vex) {
        to = put_vex(to, enc, r, x, b);
    } else {
        unsigned rex = (enc->rex_w ? 8u : 0u) | (r ? 4u : 0u) | (x ? 2u : 0u) | (b ? 1u : 0u);
        if (rex || enc->rex_force)
            *to++ = (uint8_t)(0x40u | rex);
        if (enc->map != MAP_PRIMARY)
            *to++ = 0x0f;
        if (enc->map == MAP_0F38)
            *to++ = 0x38;
        if (enc->map == MAP_0F3A)
            *to++ = 0x3a;
    }
    *to++ = (uint8_t)(enc->opcode_reg ? enc->opcode | (enc->rm & 7u) : enc->opcode);
    if (enc->has_modrm && m)
        to = put_modrm_mem(to, enc->reg, m);
    else if (enc->has_modrm)
        *to++ = (uint8_t)(0xc0u | (enc->reg & 7u) << 3 | (enc->rm & 7u));
    if (enc->imm_len == 4) /* most immediates */
        return put32(to, load32(enc->imm));
    for (unsigned i = 0; i < enc->imm_len; i++)
        *to++ = enc->imm[i];
    return to;
}

void emit_insn(struct emit *e, const struct encoding *enc) {
    if (e->end - e->at >= (ptrdiff_t)ENCODING_MAX) {
        e->at = put_insn(e->at, enc);
        return;
    }
    uint8_t apart[ENCODING_MAX];
    emit_bytes(e, apart, (unsigned)(put_insn(apart, enc) - apart));
}

void emit_mov_reg_imm(struct emit *e, unsigned reg, uint32_t imm) {
    if (reg >= 8)
        emit8(e, 0x41);
    emit8(e, 0xb8u | (reg & 7u));
    emit32(e, imm);
}

static void emit_mem_op(struct emit *e, uint8_t opcode, unsigned reg, const struct memref *mem,
                        bool wide) {
    struct encoding enc = {.opcode = opcode, .has_modrm = true, .reg = (uint8_t)reg, .mem = mem,
                           .rex_w = wide};
    emit_insn(e, &enc);
}

void emit_mov_reg_reg(struct emit *e, unsigned to, unsigned from) {
    struct encoding enc = {.opcode = 0x8b, .has_modrm = true, .reg = (uint8_t)to,
                           .rm = (uint8_t)from};
    emit_insn(e, &enc);
}

void emit_load(struct emit *e, unsigned reg, const struct memref *mem) {
    emit_mem_op(e, 0x8b, reg, mem, false);
}

void emit_load64(struct emit *e, unsigned reg, const struct memref *mem) {
    emit_mem_op(e, 0x8b, reg, mem, true);
}

void emit_store(struct emit *e, const struct memref *mem, unsigned reg) {
    emit_mem_op(e, 0x89, reg, mem, false);
}

void emit_store64(struct emit *e, const struct memref *mem, unsigned reg) {
    struct encoding enc = {.opcode = 0x89, .rex_w = true, .has_modrm = true, .reg = (uint8_t)reg, .mem = mem};
    emit_insn(e, &enc);
}

void emit_store_imm(struct emit *e, const struct memref *mem, uint32_t imm) {
    emit_mem_op(e, 0xc7, 0, mem, false);
    emit32(e, imm);
}

void emit_lea(struct emit *e, unsigned reg, const struct memref *mem) {
    struct memref plain = *mem;
    plain.gs = plain.addr32 = false; /* the 32-bit result wraps by itself */
    emit_mem_op(e, 0x8d, reg, &plain, false);
}

void emit_lea64(struct emit *e, unsigned reg, const struct memref *mem) {
    emit_mem_op(e, 0x8d, reg, mem, true);
}

void emit_jump_mem(struct emit *e, const struct memref *mem) { emit_mem_op(e, 0xff, 4, mem, false); }

void emit_call_mem(struct emit *e, const struct memref *mem) { emit_mem_op(e, 0xff, 2, mem, false); }

uint8_t *emit_short_jump(struct emit *e, uint8_t opcode) {
    emit8(e, opcode);
    emit8(e, 0);
    return e->overflow ? NULL : e->at - 1;
}

void emit_short_land(struct emit *e, uint8_t *displacement) {
    if (!displacement)
        return;
    ptrdiff_t distance = e->at - displacement - 1;
    assert(distance >= 0 && distance <= 127);
    *displacement = (uint8_t)distance;
}
