/* Host machine code, byte by byte: the lowest layer of the emitter.
 *
 * Knows x86-64 encoding and nothing of guests. Register numbers are hardware numbers 0-15.
 * Writing past the end sets `overflow` and drops bytes; callers look at it once, at the end. */
#ifndef RING3_TRANSLATOR_EMIT_H
#define RING3_TRANSLATOR_EMIT_H

#include <stdbool.h>
#include <stdint.h>

enum host_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
#define NO_REG 0xffu

/* Register roles inside fragments (docs/architecture.md, "Registers"). */
#define REG_GUEST_ESP R12
#define REG_JUMP_CACHE R13
#define REG_WINDOW R14
#define REG_CPU R15
#define REG_TARGET R11 /* operand of callouts, target of indirect transfers, scratch */

struct stub_sites; /* block.h */

struct emit {
    uint8_t *at, *end;
    bool overflow;
    struct stub_sites *stub_sites; /* NULL: stubs are reached through r15 */
};

/* A memory operand of the host. */
struct memref {
    bool gs;      /* relative to the GS window */
    bool addr32;  /* 67h: the sum wraps at 4 GiB */
    bool vector_index; /* VSIB: the index is a vector register */
    uint8_t base, index, scale; /* NO_REG where absent; scale is 0-3 */
    int32_t disp;
};

enum vex_map { MAP_PRIMARY, MAP_0F, MAP_0F38, MAP_0F3A };

/* One host instruction in pieces; emit_insn puts them together. */
struct encoding {
    uint8_t legacy[4]; /* 66, F2, F3, F0 as wanted, in this order */
    uint8_t legacy_count;
    uint8_t map, opcode;
    bool rex_w, rex_force;
    bool has_modrm;
    uint8_t reg;              /* modrm.reg, 0-15 */
    const struct memref *mem; /* NULL: register form */
    uint8_t rm;               /* register form: 0-15; with !has_modrm: register in the opcode */
    bool opcode_reg;
    const uint8_t *imm;
    uint8_t imm_len;
    bool vex;
    uint8_t vex_pp, vex_l, vex_w, vvvv; /* vvvv as a register number */
};

static inline void emit8(struct emit *e, unsigned byte) {
    if (e->at < e->end)
        *e->at++ = (uint8_t)byte;
    else
        e->overflow = true;
}
void emit32(struct emit *e, uint32_t value);
void emit64(struct emit *e, uint64_t value);
void emit_bytes(struct emit *e, const uint8_t *bytes, unsigned len);
void emit_insn(struct emit *e, const struct encoding *enc);

/* The few host instructions that the emitter writes on its own account. None touches flags. */
void emit_mov_reg_imm(struct emit *e, unsigned reg, uint32_t imm);
void emit_mov_reg_reg(struct emit *e, unsigned to, unsigned from); /* 32-bit */
void emit_load(struct emit *e, unsigned reg, const struct memref *mem); /* 32-bit */
void emit_load64(struct emit *e, unsigned reg, const struct memref *mem);
void emit_store(struct emit *e, const struct memref *mem, unsigned reg);
void emit_store64(struct emit *e, const struct memref *mem, unsigned reg);
void emit_store_imm(struct emit *e, const struct memref *mem, uint32_t imm);
void emit_lea(struct emit *e, unsigned reg, const struct memref *mem);   /* 32-bit result */
void emit_lea64(struct emit *e, unsigned reg, const struct memref *mem); /* 64-bit result */
void emit_jump_mem(struct emit *e, const struct memref *mem);
void emit_call_mem(struct emit *e, const struct memref *mem);

/* Forward jumps inside a fragment: returns where the displacement byte is. */
uint8_t *emit_short_jump(struct emit *e, uint8_t opcode);
void emit_short_land(struct emit *e, uint8_t *displacement);

/* [r15 + offset] */
static inline struct memref mem_cpu(uint32_t offset) {
    return (struct memref){.base = REG_CPU, .index = NO_REG, .disp = (int32_t)offset};
}
#define CPU_FIELD(field) mem_cpu((uint32_t)__builtin_offsetof(struct cpu, field))

#endif
