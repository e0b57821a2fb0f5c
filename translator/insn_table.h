/* The instruction table: one row an opcode (or a run of alike opcodes).
 *
 * Classifier, trace names, coverage and documentation read the same rows. Operands are in the
 * notation of the Intel SDM, vol. 2D, appendix A.2: E/G general registers (b: byte), V/W/P/Q/U/N
 * vector and MMX, B/H VEX.vvvv (general, vector), M memory only, Z register in the opcode's low
 * bits. An opcode without a row raises #UD: the guest's CPUID does not offer it. Which flags an
 * instruction reads and writes comes from the decoder. */
#ifndef RING3_TRANSLATOR_INSN_TABLE_H
#define RING3_TRANSLATOR_INSN_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "translator/callouts.h"

struct block;
struct insn;

/* Emits one instruction; may end the block. */
typedef void (*emitter_fn)(struct block *b, const struct insn *in);

#define ROW_ANY 0xffu

enum row_prefix { PFX_ANY, PFX_NONE, PFX_66, PFX_F3, PFX_F2 };
enum row_mod { MOD_ANY, MOD_MEM, MOD_REG };
enum row_unit { UNIT_INT, UNIT_X87, UNIT_MMX, UNIT_SSE, UNIT_AVX };

/* What happens to an instruction; the column "class" of the documentation. */
enum insn_class {
    CLASS_IDENTICAL, /* same bytes but for prefixes and operand encoding */
    CLASS_REWRITTEN, /* written anew */
    CLASS_INLINE,    /* on the virtual state, without a call */
    CLASS_CALLOUT,
    CLASS_UNDEFINED, /* raises #UD although it decodes */
};

struct insn_row {
    uint8_t vex, map, lo, hi; /* opcodes lo..hi of a map */
    uint8_t prefix, ext, mod; /* enum row_prefix; modrm.reg or ROW_ANY; enum row_mod */
    uint8_t unit, cls;
    bool ends;                /* always the last of its block */
    uint8_t callout;          /* CALLOUT_COUNT: none */
    const char *name, *operands;
    emitter_fn emit;
};

extern const struct insn_row insn_rows[];
extern const unsigned insn_row_count;

/* Operand encoding of a row, parsed once from its notation. */
struct operand_kinds {
    bool reg_gpr, reg_byte;   /* modrm.reg is a general register, a byte register */
    bool rm_gpr, rm_byte;     /* the same for modrm.rm in its register form */
    bool vvvv_gpr;
    bool opcode_reg, opcode_byte; /* register in the opcode */
    bool any_gpr;
    bool sized; /* 66h means the operand size, not another instruction */
};

const struct operand_kinds *insn_row_kinds(const struct insn_row *row);

/* One line that names a row and stays the same when others are added: prefix, map, opcodes, ModRM,
 * name, operands. Uses stdio. */
#define INSN_ROW_ID_MAX 96
void insn_row_id(const struct insn_row *row, char id[INSN_ROW_ID_MAX]);
/* Sets the row's bit, counted from the first row. */
static inline void insn_row_mark(uint8_t *rows, const struct insn_row *row) {
    rows[(row - insn_rows) >> 3] |= (uint8_t)(1u << ((row - insn_rows) & 7));
}

/* NULL when no row matches. `mod3`: modrm.mod is 3 (or there is no ModRM). */
const struct insn_row *insn_row_find(bool vex, unsigned map, unsigned opcode,
                                     enum row_prefix prefix, unsigned ext, bool mod3);

#endif
