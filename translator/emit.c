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
    if (len == 4 && e->end - e->at >= 4) { /* most immediates */
        __builtin_memcpy(e->at, bytes, 4);
        e->at += 4;
        return;
    }
    for (unsigned i = 0; i < len; i++)
        emit8(e, bytes[i]);
}

/* ModRM, SIB and displacement of a memory operand. mod=00 rm=101 means RIP-relative in 64-bit
 * mode, so a bare displacement takes the SIB form; bases RSP and R12 need a SIB, bases RBP and
 * R13 a displacement (SDM vol. 2A, tables 2-2, 2-3). */
static void emit_modrm_mem(struct emit *e, unsigned reg, const struct memref *m) {
    unsigned field = (reg & 7u) << 3;
    assert(m->index != RSP || m->vector_index);
    if (m->base == NO_REG) {
        emit8(e, field | 4u);
        emit8(e, (unsigned)m->scale << 6 | (m->index == NO_REG ? 4u : m->index & 7u) << 3 | 5u);
        emit32(e, (uint32_t)m->disp);
        return;
    }
    bool sib = m->index != NO_REG || (m->base & 7u) == RSP;
    unsigned mod = 0x80;
    if (m->disp == 0 && (m->base & 7u) != RBP)
        mod = 0;
    else if (m->disp >= -128 && m->disp <= 127)
        mod = 0x40;
    emit8(e, mod | field | (sib ? 4u : m->base & 7u));
    if (sib)
        emit8(e, (unsigned)m->scale << 6 | (m->index == NO_REG ? 4u : m->index & 7u) << 3 |
                     (m->base & 7u));
    if (mod == 0x40)
        emit8(e, (uint8_t)m->disp);
    else if (mod == 0x80)
        emit32(e, (uint32_t)m->disp);
}

static void emit_vex(struct emit *e, const struct encoding *enc, bool r, bool x, bool b) {
    unsigned tail = (~(unsigned)enc->vvvv & 15u) << 3 | (unsigned)enc->vex_l << 2 | enc->vex_pp;
    if (!x && !b && !enc->vex_w && enc->map == MAP_0F) {
        emit8(e, 0xc5);
        emit8(e, (r ? 0u : 0x80u) | tail);
    } else {
        emit8(e, 0xc4);
        emit8(e, (r ? 0u : 0x80u) | (x ? 0u : 0x40u) | (b ? 0u : 0x20u) | enc->map);
        emit8(e, (enc->vex_w ? 0x80u : 0u) | tail);
    }
}

void emit_insn(struct emit *e, const struct encoding *enc) {
    const struct memref *m = enc->mem;
    bool r = enc->has_modrm && enc->reg >= 8;
    bool x = m && m->index != NO_REG && m->index >= 8;
    bool b = m ? m->base != NO_REG && m->base >= 8
               : (enc->has_modrm || enc->opcode_reg) && enc->rm >= 8;
    if (m && m->gs)
        emit8(e, 0x65);
    if (m && m->addr32)
        emit8(e, 0x67);
    emit_bytes(e, enc->legacy, enc->legacy_count);
    if (enc->vex) {
        emit_vex(e, enc, r, x, b);
    } else {
        unsigned rex = (enc->rex_w ? 8u : 0u) | (r ? 4u : 0u) | (x ? 2u : 0u) | (b ? 1u : 0u);
        if (rex || enc->rex_force)
            emit8(e, 0x40u | rex);
        if (enc->map != MAP_PRIMARY)
            emit8(e, 0x0f);
        if (enc->map == MAP_0F38)
            emit8(e, 0x38);
        if (enc->map == MAP_0F3A)
            emit8(e, 0x3a);
    }
    emit8(e, enc->opcode_reg ? enc->opcode | (enc->rm & 7u) : enc->opcode);
    if (enc->has_modrm) {
        if (m)
            emit_modrm_mem(e, enc->reg, m);
        else
            emit8(e, 0xc0u | (enc->reg & 7u) << 3 | (enc->rm & 7u));
    }
    emit_bytes(e, enc->imm, enc->imm_len);
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
