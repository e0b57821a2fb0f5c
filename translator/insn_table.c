/* The rows of the instruction table (insn_table.h) and their look-up.
 *
 * Columns: VEX?, map, opcodes lo-hi, mandatory prefix, modrm.reg, modrm.mod, unit, class, ends the
 * block?, callout, name, operands, emitter. */
#include "translator/insn_table.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "translator/block.h"
#include "translator/plain.h"

#define X_ ROW_ANY
#define NOCALL CALLOUT_COUNT
#define ID CLASS_IDENTICAL
#define RW CLASS_REWRITTEN
#define IN CLASS_INLINE
#define CO CLASS_CALLOUT
#define UD CLASS_UNDEFINED
/* Legacy-encoded integer row, any prefix. */
#define I(map, lo, hi, ext, mod, cls, ends, call, name, ops, emit)                                \
    {0, map, lo, hi, PFX_ANY, ext, MOD_##mod, UNIT_INT, cls, ends, call, name, ops, emit},
/* Legacy-encoded row of another unit with a mandatory prefix. */
#define S(unit, map, lo, hi, pfx, ext, mod, name, ops, emit)                                      \
    {0, map, lo, hi, PFX_##pfx, ext, MOD_##mod, UNIT_##unit, ID, false, NOCALL, name, ops, emit},
/* VEX-encoded row. */
#define V(map, lo, hi, pfx, ext, mod, name, ops, emit)                                            \
    {1, map, lo, hi, PFX_##pfx, ext, MOD_##mod, UNIT_AVX, ID, false, NOCALL, name, ops, emit},
#define VI(map, lo, hi, pfx, ext, name, ops)                                                      \
    {1, map, lo, hi, PFX_##pfx, ext, MOD_ANY, UNIT_INT, ID, false, NOCALL, name, ops, e_ident},
/* An arithmetic family: op Eb,Gb / Ev,Gv / Gb,Eb / Gv,Ev / AL,Ib / eAX,Iz. */
#define ALU(op, name)                                                                             \
    I(0, op, op, X_, ANY, ID, 0, NOCALL, name, "Eb,Gb", e_ident)                                  \
    I(0, op + 1, op + 1, X_, ANY, ID, 0, NOCALL, name, "Ev,Gv", e_ident)                          \
    I(0, op + 2, op + 2, X_, ANY, ID, 0, NOCALL, name, "Gb,Eb", e_ident)                          \
    I(0, op + 3, op + 3, X_, ANY, ID, 0, NOCALL, name, "Gv,Ev", e_ident)                          \
    I(0, op + 4, op + 5, X_, ANY, ID, 0, NOCALL, name, "eAX,Iz", e_ident)

const struct insn_row insn_rows[] = {
    /* Primary map */
    ALU(0x00, "ADD") ALU(0x08, "OR") ALU(0x10, "ADC") ALU(0x18, "SBB")
    ALU(0x20, "AND") ALU(0x28, "SUB") ALU(0x30, "XOR") ALU(0x38, "CMP")
    I(0, 0x06, 0x06, X_, ANY, IN, 0, NOCALL, "PUSH", "ES", e_push_seg)
    I(0, 0x0e, 0x0e, X_, ANY, IN, 0, NOCALL, "PUSH", "CS", e_push_seg)
    I(0, 0x16, 0x16, X_, ANY, IN, 0, NOCALL, "PUSH", "SS", e_push_seg)
    I(0, 0x1e, 0x1e, X_, ANY, IN, 0, NOCALL, "PUSH", "DS", e_push_seg)
    I(0, 0x07, 0x07, X_, ANY, CO, 1, CALLOUT_pop_seg, "POP", "ES", e_pop_seg)
    I(0, 0x17, 0x17, X_, ANY, CO, 1, CALLOUT_pop_seg, "POP", "SS", e_pop_seg)
    I(0, 0x1f, 0x1f, X_, ANY, CO, 1, CALLOUT_pop_seg, "POP", "DS", e_pop_seg)
    I(0, 0x27, 0x27, X_, ANY, CO, 0, CALLOUT_daa, "DAA", "", e_callout)
    I(0, 0x2f, 0x2f, X_, ANY, CO, 0, CALLOUT_das, "DAS", "", e_callout)
    I(0, 0x37, 0x37, X_, ANY, CO, 0, CALLOUT_aaa, "AAA", "", e_callout)
    I(0, 0x3f, 0x3f, X_, ANY, CO, 0, CALLOUT_aas, "AAS", "", e_callout)
    I(0, 0x40, 0x4f, X_, ANY, RW, 0, NOCALL, "INC/DEC", "Zv", e_incdec)
    I(0, 0x50, 0x57, X_, ANY, RW, 0, NOCALL, "PUSH", "Zv", e_push_reg)
    I(0, 0x58, 0x5f, X_, ANY, RW, 0, NOCALL, "POP", "Zv", e_pop_reg)
    I(0, 0x60, 0x60, X_, ANY, RW, 0, NOCALL, "PUSHA", "", e_pusha)
    I(0, 0x61, 0x61, X_, ANY, RW, 0, NOCALL, "POPA", "", e_popa)
    I(0, 0x62, 0x62, X_, MEM, CO, 0, CALLOUT_bound, "BOUND", "Gv,Ma", e_bound)
    I(0, 0x63, 0x63, X_, ANY, CO, 0, CALLOUT_arpl, "ARPL", "Ew,Gw", e_arpl)
    I(0, 0x68, 0x68, X_, ANY, RW, 0, NOCALL, "PUSH", "Iz", e_push_imm)
    I(0, 0x69, 0x69, X_, ANY, ID, 0, NOCALL, "IMUL", "Gv,Ev,Iz", e_ident)
    I(0, 0x6a, 0x6a, X_, ANY, RW, 0, NOCALL, "PUSH", "Ib", e_push_imm)
    I(0, 0x6b, 0x6b, X_, ANY, ID, 0, NOCALL, "IMUL", "Gv,Ev,Ib", e_ident)
    I(0, 0x6c, 0x6d, X_, ANY, CO, 0, CALLOUT_ins, "INS", "Y,DX", e_port_string)
    I(0, 0x6e, 0x6f, X_, ANY, CO, 0, CALLOUT_outs, "OUTS", "DX,X", e_port_string)
    I(0, 0x70, 0x7f, X_, ANY, RW, 1, NOCALL, "Jcc", "Jb", e_jcc)
    I(0, 0x80, 0x80, X_, ANY, ID, 0, NOCALL, "GRP1", "Eb,Ib", e_ident)
    I(0, 0x81, 0x81, X_, ANY, ID, 0, NOCALL, "GRP1", "Ev,Iz", e_ident)
    I(0, 0x82, 0x82, X_, ANY, RW, 0, NOCALL, "GRP1", "Eb,Ib", e_alias82)
    I(0, 0x83, 0x83, X_, ANY, ID, 0, NOCALL, "GRP1", "Ev,Ib", e_ident)
    I(0, 0x84, 0x84, X_, ANY, ID, 0, NOCALL, "TEST", "Eb,Gb", e_ident)
    I(0, 0x85, 0x85, X_, ANY, ID, 0, NOCALL, "TEST", "Ev,Gv", e_ident)
    I(0, 0x86, 0x86, X_, ANY, ID, 0, NOCALL, "XCHG", "Eb,Gb", e_ident)
    I(0, 0x87, 0x87, X_, ANY, ID, 0, NOCALL, "XCHG", "Ev,Gv", e_ident)
    I(0, 0x88, 0x88, X_, ANY, ID, 0, NOCALL, "MOV", "Eb,Gb", e_ident)
    I(0, 0x89, 0x89, X_, ANY, ID, 0, NOCALL, "MOV", "Ev,Gv", e_ident)
    I(0, 0x8a, 0x8a, X_, ANY, ID, 0, NOCALL, "MOV", "Gb,Eb", e_ident)
    I(0, 0x8b, 0x8b, X_, ANY, ID, 0, NOCALL, "MOV", "Gv,Ev", e_ident)
    I(0, 0x8c, 0x8c, X_, ANY, IN, 0, NOCALL, "MOV", "Ev,Sw", e_mov_from_seg)
    I(0, 0x8d, 0x8d, X_, MEM, RW, 0, NOCALL, "LEA", "Gv,M", e_lea)
    I(0, 0x8e, 0x8e, X_, ANY, CO, 1, CALLOUT_mov_to_seg, "MOV", "Sw,Ew", e_mov_to_seg)
    I(0, 0x8f, 0x8f, 0, ANY, RW, 0, NOCALL, "POP", "Ev", e_pop_rm)
    I(0, 0x90, 0x97, X_, ANY, ID, 0, NOCALL, "XCHG", "Zv,eAX", e_ident)
    I(0, 0x98, 0x99, X_, ANY, ID, 0, NOCALL, "CBW/CWD", "", e_ident)
    I(0, 0x9a, 0x9a, X_, ANY, CO, 1, CALLOUT_call_far, "CALL", "Ap", e_far_ptr)
    {0, 0, 0x9b, 0x9b, PFX_ANY, X_, MOD_ANY, UNIT_X87, ID, false, NOCALL, "FWAIT", "", e_ident},
    I(0, 0x9c, 0x9c, X_, ANY, IN, 0, NOCALL, "PUSHF", "", e_pushf)
    I(0, 0x9d, 0x9d, X_, ANY, CO, 1, CALLOUT_popf, "POPF", "", e_popf)
    I(0, 0x9e, 0x9f, X_, ANY, ID, 0, NOCALL, "SAHF/LAHF", "", e_ident)
    I(0, 0xa0, 0xa3, X_, ANY, RW, 0, NOCALL, "MOV", "moffs", e_moffs)
    I(0, 0xa4, 0xa7, X_, ANY, RW, 0, NOCALL, "MOVS/CMPS", "", e_string)
    I(0, 0xa8, 0xa9, X_, ANY, ID, 0, NOCALL, "TEST", "eAX,Iz", e_ident)
    I(0, 0xaa, 0xaf, X_, ANY, RW, 0, NOCALL, "STOS/LODS/SCAS", "", e_string)
    I(0, 0xb0, 0xb7, X_, ANY, ID, 0, NOCALL, "MOV", "Zb,Ib", e_ident)
    I(0, 0xb8, 0xbf, X_, ANY, ID, 0, NOCALL, "MOV", "Zv,Iv", e_ident)
    I(0, 0xc0, 0xc0, X_, ANY, ID, 0, NOCALL, "GRP2", "Eb,Ib", e_ident)
    I(0, 0xc1, 0xc1, X_, ANY, ID, 0, NOCALL, "GRP2", "Ev,Ib", e_ident)
    I(0, 0xc2, 0xc3, X_, ANY, RW, 1, NOCALL, "RET", "", e_ret)
    I(0, 0xc4, 0xc5, X_, MEM, CO, 1, CALLOUT_load_far, "LES/LDS", "Gv,Mp", e_load_far)
    I(0, 0xc6, 0xc6, 0, ANY, ID, 0, NOCALL, "MOV", "Eb,Ib", e_ident)
    I(0, 0xc7, 0xc7, 0, ANY, ID, 0, NOCALL, "MOV", "Ev,Iz", e_ident)
    I(0, 0xc8, 0xc8, X_, ANY, RW, 0, CALLOUT_enter, "ENTER", "Iw,Ib", e_enter)
    I(0, 0xc9, 0xc9, X_, ANY, RW, 0, NOCALL, "LEAVE", "", e_leave)
    I(0, 0xca, 0xcb, X_, ANY, CO, 1, CALLOUT_ret_far, "RETF", "", e_ret_far)
    I(0, 0xcc, 0xcc, X_, ANY, CO, 1, CALLOUT_int3, "INT3", "", e_callout)
    I(0, 0xcd, 0xcd, X_, ANY, CO, 1, CALLOUT_int_n, "INT", "Ib", e_callout_imm)
    I(0, 0xce, 0xce, X_, ANY, CO, 0, CALLOUT_into, "INTO", "", e_into)
    I(0, 0xcf, 0xcf, X_, ANY, CO, 1, CALLOUT_iret, "IRET", "", e_callout_size)
    I(0, 0xd0, 0xd0, X_, ANY, ID, 0, NOCALL, "GRP2", "Eb,1", e_ident)
    I(0, 0xd1, 0xd1, X_, ANY, ID, 0, NOCALL, "GRP2", "Ev,1", e_ident)
    I(0, 0xd2, 0xd2, X_, ANY, ID, 0, NOCALL, "GRP2", "Eb,CL", e_ident)
    I(0, 0xd3, 0xd3, X_, ANY, ID, 0, NOCALL, "GRP2", "Ev,CL", e_ident)
    I(0, 0xd4, 0xd4, X_, ANY, CO, 0, CALLOUT_aam, "AAM", "Ib", e_callout_imm)
    I(0, 0xd5, 0xd5, X_, ANY, CO, 0, CALLOUT_aad, "AAD", "Ib", e_callout_imm)
    I(0, 0xd6, 0xd6, X_, ANY, CO, 0, CALLOUT_salc, "SALC", "", e_callout)
    I(0, 0xd7, 0xd7, X_, ANY, RW, 0, NOCALL, "XLAT", "", e_xlat)
    S(X87, 0, 0xd8, 0xd8, ANY, X_, ANY, "x87 D8", "E", e_ident)
    S(X87, 0, 0xd9, 0xd9, ANY, X_, REG, "x87 D9", "E", e_ident)
    S(X87, 0, 0xd9, 0xd9, ANY, 0, MEM, "FLD", "M", e_ident)
    S(X87, 0, 0xd9, 0xd9, ANY, 2, MEM, "FST", "M", e_ident)
    S(X87, 0, 0xd9, 0xd9, ANY, 3, MEM, "FSTP", "M", e_ident)
    S(X87, 0, 0xd9, 0xd9, ANY, 4, MEM, "FLDENV", "M", e_ident)
    S(X87, 0, 0xd9, 0xd9, ANY, 5, MEM, "FLDCW", "M", e_ident)
    {0, 0, 0xd9, 0xd9, PFX_ANY, 6, MOD_MEM, UNIT_X87, CO, false, CALLOUT_fnstenv, "FNSTENV", "M",
     e_callout_mem},
    S(X87, 0, 0xd9, 0xd9, ANY, 7, MEM, "FNSTCW", "M", e_ident)
    S(X87, 0, 0xda, 0xdc, ANY, X_, ANY, "x87 DA-DC", "E", e_ident)
    S(X87, 0, 0xdd, 0xdd, ANY, X_, REG, "x87 DD", "E", e_ident)
    S(X87, 0, 0xdd, 0xdd, ANY, 0, MEM, "FLD", "M", e_ident)
    S(X87, 0, 0xdd, 0xdd, ANY, 1, MEM, "FISTTP", "M", e_ident)
    S(X87, 0, 0xdd, 0xdd, ANY, 2, MEM, "FST", "M", e_ident)
    S(X87, 0, 0xdd, 0xdd, ANY, 3, MEM, "FSTP", "M", e_ident)
    S(X87, 0, 0xdd, 0xdd, ANY, 4, MEM, "FRSTOR", "M", e_ident)
    {0, 0, 0xdd, 0xdd, PFX_ANY, 6, MOD_MEM, UNIT_X87, CO, false, CALLOUT_fnsave, "FNSAVE", "M",
     e_callout_mem},
    S(X87, 0, 0xdd, 0xdd, ANY, 7, MEM, "FNSTSW", "M", e_ident)
    S(X87, 0, 0xde, 0xdf, ANY, X_, ANY, "x87 DE-DF", "E", e_ident)
    I(0, 0xe0, 0xe3, X_, ANY, RW, 1, NOCALL, "LOOP/JCXZ", "Jb", e_loop)
    I(0, 0xe4, 0xe5, X_, ANY, CO, 0, CALLOUT_in, "IN", "eAX,Ib", e_port)
    I(0, 0xe6, 0xe7, X_, ANY, CO, 0, CALLOUT_out, "OUT", "Ib,eAX", e_port)
    I(0, 0xe8, 0xe8, X_, ANY, RW, 1, NOCALL, "CALL", "Jz", e_call_rel)
    I(0, 0xe9, 0xe9, X_, ANY, RW, 1, NOCALL, "JMP", "Jz", e_jmp_rel)
    I(0, 0xea, 0xea, X_, ANY, CO, 1, CALLOUT_jmp_far, "JMP", "Ap", e_far_ptr)
    I(0, 0xeb, 0xeb, X_, ANY, RW, 1, NOCALL, "JMP", "Jb", e_jmp_rel)
    I(0, 0xec, 0xed, X_, ANY, CO, 0, CALLOUT_in, "IN", "eAX,DX", e_port)
    I(0, 0xee, 0xef, X_, ANY, CO, 0, CALLOUT_out, "OUT", "DX,eAX", e_port)
    I(0, 0xf1, 0xf1, X_, ANY, CO, 1, CALLOUT_int1, "INT1", "", e_callout)
    I(0, 0xf4, 0xf4, X_, ANY, CO, 1, CALLOUT_hlt, "HLT", "", e_callout)
    I(0, 0xf5, 0xf5, X_, ANY, ID, 0, NOCALL, "CMC", "", e_ident)
    I(0, 0xf6, 0xf6, 0, ANY, ID, 0, NOCALL, "TEST", "Eb,Ib", e_ident)
    I(0, 0xf6, 0xf6, 1, ANY, ID, 0, NOCALL, "TEST", "Eb,Ib", e_ident)
    I(0, 0xf6, 0xf6, 2, ANY, ID, 0, NOCALL, "NOT", "Eb", e_ident)
    I(0, 0xf6, 0xf6, 3, ANY, ID, 0, NOCALL, "NEG", "Eb", e_ident)
    I(0, 0xf6, 0xf6, 4, ANY, ID, 0, NOCALL, "MUL", "Eb", e_ident)
    I(0, 0xf6, 0xf6, 5, ANY, ID, 0, NOCALL, "IMUL", "Eb", e_ident)
    I(0, 0xf6, 0xf6, 6, ANY, ID, 0, NOCALL, "DIV", "Eb", e_ident)
    I(0, 0xf6, 0xf6, 7, ANY, ID, 0, NOCALL, "IDIV", "Eb", e_ident)
    I(0, 0xf7, 0xf7, X_, ANY, ID, 0, NOCALL, "GRP3", "Ev", e_ident)
    I(0, 0xf8, 0xf9, X_, ANY, ID, 0, NOCALL, "CLC/STC", "", e_ident)
    I(0, 0xfa, 0xfa, X_, ANY, IN, 0, CALLOUT_cli, "CLI", "", e_cli)
    I(0, 0xfb, 0xfb, X_, ANY, IN, 0, CALLOUT_sti, "STI", "", e_sti)
    I(0, 0xfc, 0xfd, X_, ANY, ID, 0, NOCALL, "CLD/STD", "", e_ident)
    I(0, 0xfe, 0xfe, 0, ANY, ID, 0, NOCALL, "INC", "Eb", e_ident)
    I(0, 0xfe, 0xfe, 1, ANY, ID, 0, NOCALL, "DEC", "Eb", e_ident)
    I(0, 0xff, 0xff, 0, ANY, ID, 0, NOCALL, "INC", "Ev", e_ident)
    I(0, 0xff, 0xff, 1, ANY, ID, 0, NOCALL, "DEC", "Ev", e_ident)
    I(0, 0xff, 0xff, 2, ANY, RW, 1, NOCALL, "CALL", "Ev", e_call_rm)
    I(0, 0xff, 0xff, 3, MEM, CO, 1, CALLOUT_call_far_mem, "CALL", "Mp", e_callout_mem)
    I(0, 0xff, 0xff, 4, ANY, RW, 1, NOCALL, "JMP", "Ev", e_jmp_rm)
    I(0, 0xff, 0xff, 5, MEM, CO, 1, CALLOUT_jmp_far_mem, "JMP", "Mp", e_callout_mem)
    I(0, 0xff, 0xff, 6, ANY, RW, 0, NOCALL, "PUSH", "Ev", e_push_rm)

    /* 0F map: system */
    I(1, 0x00, 0x00, 0, ANY, CO, 0, CALLOUT_sldt, "SLDT", "Ew", e_callout_to_rm)
    I(1, 0x00, 0x00, 1, ANY, CO, 0, CALLOUT_str, "STR", "Ew", e_callout_to_rm)
    I(1, 0x00, 0x00, 2, ANY, CO, 0, CALLOUT_lldt, "LLDT", "Ew", e_callout_rm)
    I(1, 0x00, 0x00, 3, ANY, CO, 0, CALLOUT_ltr, "LTR", "Ew", e_callout_rm)
    I(1, 0x00, 0x00, 4, ANY, CO, 0, CALLOUT_verr, "VERR", "Ew", e_callout_rm)
    I(1, 0x00, 0x00, 5, ANY, CO, 0, CALLOUT_verw, "VERW", "Ew", e_callout_rm)
    I(1, 0x01, 0x01, 0, MEM, CO, 0, CALLOUT_sgdt, "SGDT", "Ms", e_callout_mem)
    I(1, 0x01, 0x01, 1, MEM, CO, 0, CALLOUT_sidt, "SIDT", "Ms", e_callout_mem)
    I(1, 0x01, 0x01, 2, MEM, CO, 0, CALLOUT_lgdt, "LGDT", "Ms", e_callout_mem)
    I(1, 0x01, 0x01, 3, MEM, CO, 0, CALLOUT_lidt, "LIDT", "Ms", e_callout_mem)
    I(1, 0x01, 0x01, 2, REG, CO, 1, CALLOUT_xgetbv, "XGETBV/XSETBV", "", e_callout)
    I(1, 0x01, 0x01, 4, ANY, CO, 0, CALLOUT_smsw, "SMSW", "Ew", e_callout_to_rm)
    I(1, 0x01, 0x01, 6, ANY, CO, 1, CALLOUT_lmsw, "LMSW", "Ew", e_callout_rm)
    I(1, 0x01, 0x01, 7, MEM, CO, 1, CALLOUT_invlpg, "INVLPG", "M", e_callout_mem)
    I(1, 0x01, 0x01, 7, REG, CO, 0, CALLOUT_rdtsc, "RDTSCP", "", e_rdtsc)
    I(1, 0x02, 0x02, X_, ANY, CO, 0, CALLOUT_lar, "LAR", "Gv,Ew", e_callout_to_reg)
    I(1, 0x03, 0x03, X_, ANY, CO, 0, CALLOUT_lsl, "LSL", "Gv,Ew", e_callout_to_reg)
    I(1, 0x05, 0x05, X_, ANY, UD, 1, NOCALL, "SYSCALL", "", e_undefined)
    I(1, 0x06, 0x06, X_, ANY, CO, 1, CALLOUT_clts, "CLTS", "", e_callout)
    I(1, 0x07, 0x07, X_, ANY, UD, 1, NOCALL, "SYSRET", "", e_undefined)
    I(1, 0x08, 0x09, X_, ANY, CO, 0, CALLOUT_wbinvd, "INVD/WBINVD", "", e_callout)
    I(1, 0x0b, 0x0b, X_, ANY, UD, 1, NOCALL, "UD2", "", e_undefined)
    I(1, 0x0d, 0x0d, X_, ANY, ID, 0, NOCALL, "PREFETCHW", "Ev", e_nop)
    I(1, 0x18, 0x1f, X_, ANY, ID, 0, NOCALL, "NOP", "Ev", e_nop)
    I(1, 0x20, 0x20, X_, ANY, IN, 0, CALLOUT_mov_from_cr, "MOV", "Rd,Cd", e_mov_from_cr)
    I(1, 0x21, 0x21, X_, ANY, CO, 0, CALLOUT_mov_from_dr, "MOV", "Rd,Dd", e_mov_from_dr)
    I(1, 0x22, 0x22, X_, ANY, CO, 1, CALLOUT_mov_to_cr, "MOV", "Cd,Rd", e_mov_to_sys)
    I(1, 0x23, 0x23, X_, ANY, CO, 1, CALLOUT_mov_to_dr, "MOV", "Dd,Rd", e_mov_to_sys)
    I(1, 0x30, 0x30, X_, ANY, CO, 1, CALLOUT_wrmsr, "WRMSR", "", e_callout)
    I(1, 0x31, 0x31, X_, ANY, ID, 0, CALLOUT_rdtsc, "RDTSC", "", e_rdtsc)
    I(1, 0x32, 0x32, X_, ANY, CO, 0, CALLOUT_rdmsr, "RDMSR", "", e_callout)
    I(1, 0x33, 0x33, X_, ANY, CO, 0, CALLOUT_rdpmc, "RDPMC", "", e_callout)
    I(1, 0x34, 0x34, X_, ANY, CO, 1, CALLOUT_sysenter, "SYSENTER", "", e_callout)
    I(1, 0x35, 0x35, X_, ANY, CO, 1, CALLOUT_sysexit, "SYSEXIT", "", e_callout)
    /* 0F map: integer */
    I(1, 0x40, 0x4f, X_, ANY, ID, 0, NOCALL, "CMOVcc", "Gv,Ev", e_ident)
    I(1, 0x80, 0x8f, X_, ANY, RW, 1, NOCALL, "Jcc", "Jz", e_jcc)
    I(1, 0x90, 0x9f, X_, ANY, ID, 0, NOCALL, "SETcc", "Eb", e_ident)
    I(1, 0xa0, 0xa0, X_, ANY, IN, 0, NOCALL, "PUSH", "FS", e_push_seg)
    I(1, 0xa1, 0xa1, X_, ANY, CO, 1, CALLOUT_pop_seg, "POP", "FS", e_pop_seg)
    I(1, 0xa2, 0xa2, X_, ANY, CO, 0, CALLOUT_cpuid, "CPUID", "", e_callout)
    I(1, 0xa3, 0xa3, X_, ANY, ID, 0, NOCALL, "BT", "Ev,Gv", e_ident)
    I(1, 0xa4, 0xa4, X_, ANY, ID, 0, NOCALL, "SHLD", "Ev,Gv,Ib", e_ident)
    I(1, 0xa5, 0xa5, X_, ANY, ID, 0, NOCALL, "SHLD", "Ev,Gv,CL", e_ident)
    I(1, 0xa8, 0xa8, X_, ANY, IN, 0, NOCALL, "PUSH", "GS", e_push_seg)
    I(1, 0xa9, 0xa9, X_, ANY, CO, 1, CALLOUT_pop_seg, "POP", "GS", e_pop_seg)
    I(1, 0xab, 0xab, X_, ANY, ID, 0, NOCALL, "BTS", "Ev,Gv", e_ident)
    I(1, 0xac, 0xac, X_, ANY, ID, 0, NOCALL, "SHRD", "Ev,Gv,Ib", e_ident)
    I(1, 0xad, 0xad, X_, ANY, ID, 0, NOCALL, "SHRD", "Ev,Gv,CL", e_ident)
    I(1, 0xae, 0xae, 0, MEM, CO, 0, CALLOUT_fxsave, "FXSAVE", "M", e_callout_mem)
    I(1, 0xae, 0xae, 1, MEM, CO, 0, CALLOUT_fxrstor, "FXRSTOR", "M", e_callout_mem)
    S(SSE, 1, 0xae, 0xae, ANY, 2, MEM, "LDMXCSR", "M", e_ident)
    S(SSE, 1, 0xae, 0xae, ANY, 3, MEM, "STMXCSR", "M", e_ident)
    {0, 1, 0xae, 0xae, PFX_NONE, 4, MOD_MEM, UNIT_INT, CO, false, CALLOUT_xsave, "XSAVE", "M",
     e_callout_mem},
    {0, 1, 0xae, 0xae, PFX_NONE, 5, MOD_MEM, UNIT_INT, CO, false, CALLOUT_xrstor, "XRSTOR", "M",
     e_callout_mem},
    {0, 1, 0xae, 0xae, PFX_NONE, 6, MOD_MEM, UNIT_INT, CO, false, CALLOUT_xsave, "XSAVEOPT", "M",
     e_callout_mem},
    {0, 1, 0xae, 0xae, PFX_NONE, 7, MOD_MEM, UNIT_INT, ID, false, NOCALL, "CLFLUSH", "M", e_ident},
    {0, 1, 0xae, 0xae, PFX_66, 7, MOD_MEM, UNIT_INT, ID, false, NOCALL, "CLFLUSHOPT", "M", e_ident},
    {0, 1, 0xae, 0xae, PFX_NONE, 5, MOD_REG, UNIT_INT, ID, false, NOCALL, "LFENCE", "", e_ident},
    {0, 1, 0xae, 0xae, PFX_NONE, 6, MOD_REG, UNIT_INT, ID, false, NOCALL, "MFENCE", "", e_ident},
    {0, 1, 0xae, 0xae, PFX_NONE, 7, MOD_REG, UNIT_INT, ID, false, NOCALL, "SFENCE", "", e_ident},
    I(1, 0xaf, 0xaf, X_, ANY, ID, 0, NOCALL, "IMUL", "Gv,Ev", e_ident)
    I(1, 0xb0, 0xb0, X_, ANY, ID, 0, NOCALL, "CMPXCHG", "Eb,Gb", e_ident)
    I(1, 0xb1, 0xb1, X_, ANY, ID, 0, NOCALL, "CMPXCHG", "Ev,Gv", e_ident)
    I(1, 0xb2, 0xb2, X_, MEM, CO, 1, CALLOUT_load_far, "LSS", "Gv,Mp", e_load_far)
    I(1, 0xb3, 0xb3, X_, ANY, ID, 0, NOCALL, "BTR", "Ev,Gv", e_ident)
    I(1, 0xb4, 0xb5, X_, MEM, CO, 1, CALLOUT_load_far, "LFS/LGS", "Gv,Mp", e_load_far)
    I(1, 0xb6, 0xb6, X_, ANY, ID, 0, NOCALL, "MOVZX", "Gv,Eb", e_ident)
    I(1, 0xb7, 0xb7, X_, ANY, ID, 0, NOCALL, "MOVZX", "Gv,Ew", e_ident)
    {0, 1, 0xb8, 0xb8, PFX_F3, X_, MOD_ANY, UNIT_INT, ID, false, NOCALL, "POPCNT", "Gv,Ev", e_ident},
    I(1, 0xb9, 0xb9, X_, ANY, UD, 1, NOCALL, "UD1", "Gv,Ev", e_undefined)
    I(1, 0xba, 0xba, X_, ANY, ID, 0, NOCALL, "GRP8", "Ev,Ib", e_ident)
    I(1, 0xbb, 0xbb, X_, ANY, ID, 0, NOCALL, "BTC", "Ev,Gv", e_ident)
    I(1, 0xbc, 0xbd, X_, ANY, ID, 0, NOCALL, "BSF/BSR/TZCNT/LZCNT", "Gv,Ev", e_ident)
    I(1, 0xbe, 0xbe, X_, ANY, ID, 0, NOCALL, "MOVSX", "Gv,Eb", e_ident)
    I(1, 0xbf, 0xbf, X_, ANY, ID, 0, NOCALL, "MOVSX", "Gv,Ew", e_ident)
    I(1, 0xc0, 0xc0, X_, ANY, ID, 0, NOCALL, "XADD", "Eb,Gb", e_ident)
    I(1, 0xc1, 0xc1, X_, ANY, ID, 0, NOCALL, "XADD", "Ev,Gv", e_ident)
    I(1, 0xc7, 0xc7, 1, MEM, ID, 0, NOCALL, "CMPXCHG8B", "M", e_ident)
    I(1, 0xc7, 0xc7, 6, REG, ID, 0, NOCALL, "RDRAND", "Rv", e_ident)
    I(1, 0xc7, 0xc7, 7, REG, ID, 0, NOCALL, "RDSEED", "Rv", e_ident)
    I(1, 0xc8, 0xcf, X_, ANY, ID, 0, NOCALL, "BSWAP", "Zv", e_ident)
    I(1, 0xff, 0xff, X_, ANY, UD, 1, NOCALL, "UD0", "Gv,Ev", e_undefined)
    /* 0F map: MMX, SSE */
    S(SSE, 1, 0x10, 0x17, ANY, X_, ANY, "MOVUPS..MOVHPS", "V,W", e_ident)
    S(SSE, 1, 0x28, 0x29, ANY, X_, ANY, "MOVAPS", "V,W", e_ident)
    S(SSE, 1, 0x2a, 0x2a, NONE, X_, ANY, "CVTPI2PS", "V,Q", e_ident)
    S(SSE, 1, 0x2a, 0x2a, 66, X_, ANY, "CVTPI2PD", "V,Q", e_ident)
    S(SSE, 1, 0x2a, 0x2a, F3, X_, ANY, "CVTSI2SS", "V,Ed", e_ident)
    S(SSE, 1, 0x2a, 0x2a, F2, X_, ANY, "CVTSI2SD", "V,Ed", e_ident)
    S(SSE, 1, 0x2b, 0x2b, NONE, X_, MEM, "MOVNTPS", "M,V", e_ident)
    S(SSE, 1, 0x2b, 0x2b, 66, X_, MEM, "MOVNTPD", "M,V", e_ident)
    S(SSE, 1, 0x2c, 0x2d, NONE, X_, ANY, "CVTPS2PI", "P,W", e_ident)
    S(SSE, 1, 0x2c, 0x2d, 66, X_, ANY, "CVTPD2PI", "P,W", e_ident)
    S(SSE, 1, 0x2c, 0x2d, F3, X_, ANY, "CVTSS2SI", "Gd,W", e_ident)
    S(SSE, 1, 0x2c, 0x2d, F2, X_, ANY, "CVTSD2SI", "Gd,W", e_ident)
    S(SSE, 1, 0x2e, 0x2f, ANY, X_, ANY, "UCOMISS/COMISS", "V,W", e_ident)
    S(SSE, 1, 0x50, 0x50, ANY, X_, REG, "MOVMSKPS", "Gd,U", e_ident)
    S(SSE, 1, 0x51, 0x5f, ANY, X_, ANY, "SSE arithmetic", "V,W", e_ident)
    S(MMX, 1, 0x60, 0x6b, NONE, X_, ANY, "MMX pack", "P,Q", e_ident)
    S(SSE, 1, 0x60, 0x6d, 66, X_, ANY, "SSE2 pack", "V,W", e_ident)
    S(MMX, 1, 0x6e, 0x6e, NONE, X_, ANY, "MOVD", "P,Ed", e_ident)
    S(SSE, 1, 0x6e, 0x6e, 66, X_, ANY, "MOVD", "V,Ed", e_ident)
    S(MMX, 1, 0x6f, 0x6f, NONE, X_, ANY, "MOVQ", "P,Q", e_ident)
    S(SSE, 1, 0x6f, 0x6f, 66, X_, ANY, "MOVDQA", "V,W", e_ident)
    S(SSE, 1, 0x6f, 0x6f, F3, X_, ANY, "MOVDQU", "V,W", e_ident)
    S(SSE, 1, 0x70, 0x70, ANY, X_, ANY, "PSHUF", "V,W,Ib", e_ident)
    S(MMX, 1, 0x71, 0x73, NONE, X_, REG, "MMX shift", "N,Ib", e_ident)
    S(SSE, 1, 0x71, 0x73, 66, X_, REG, "SSE2 shift", "U,Ib", e_ident)
    S(MMX, 1, 0x74, 0x77, NONE, X_, ANY, "PCMPEQ/EMMS", "P,Q", e_ident)
    S(SSE, 1, 0x74, 0x76, 66, X_, ANY, "PCMPEQ", "V,W", e_ident)
    S(SSE, 1, 0x7c, 0x7d, ANY, X_, ANY, "HADD/HSUB", "V,W", e_ident)
    S(MMX, 1, 0x7e, 0x7e, NONE, X_, ANY, "MOVD", "Ed,P", e_ident)
    S(SSE, 1, 0x7e, 0x7e, 66, X_, ANY, "MOVD", "Ed,V", e_ident)
    S(SSE, 1, 0x7e, 0x7e, F3, X_, ANY, "MOVQ", "V,W", e_ident)
    S(MMX, 1, 0x7f, 0x7f, NONE, X_, ANY, "MOVQ", "Q,P", e_ident)
    S(SSE, 1, 0x7f, 0x7f, 66, X_, ANY, "MOVDQA", "W,V", e_ident)
    S(SSE, 1, 0x7f, 0x7f, F3, X_, ANY, "MOVDQU", "W,V", e_ident)
    S(SSE, 1, 0xc2, 0xc2, ANY, X_, ANY, "CMPPS", "V,W,Ib", e_ident)
    {0, 1, 0xc3, 0xc3, PFX_NONE, X_, MOD_MEM, UNIT_INT, ID, false, NOCALL, "MOVNTI", "M,Gd", e_ident},
    S(SSE, 1, 0xc4, 0xc4, ANY, X_, ANY, "PINSRW", "V,Ed,Ib", e_ident)
    S(SSE, 1, 0xc5, 0xc5, ANY, X_, REG, "PEXTRW", "Gd,U,Ib", e_ident)
    S(SSE, 1, 0xc6, 0xc6, ANY, X_, ANY, "SHUFPS", "V,W,Ib", e_ident)
    S(MMX, 1, 0xd1, 0xd5, NONE, X_, ANY, "MMX arithmetic", "P,Q", e_ident)
    S(SSE, 1, 0xd0, 0xd6, 66, X_, ANY, "SSE2 arithmetic", "V,W", e_ident)
    S(SSE, 1, 0xd0, 0xd0, F2, X_, ANY, "ADDSUBPS", "V,W", e_ident)
    S(SSE, 1, 0xd6, 0xd6, F2, X_, REG, "MOVDQ2Q", "P,U", e_ident)
    S(SSE, 1, 0xd6, 0xd6, F3, X_, REG, "MOVQ2DQ", "V,N", e_ident)
    S(SSE, 1, 0xd7, 0xd7, ANY, X_, REG, "PMOVMSKB", "Gd,U", e_ident)
    S(MMX, 1, 0xd8, 0xef, NONE, X_, ANY, "MMX arithmetic", "P,Q", e_ident)
    S(SSE, 1, 0xd8, 0xef, 66, X_, ANY, "SSE2 arithmetic", "V,W", e_ident)
    S(SSE, 1, 0xe6, 0xe6, F3, X_, ANY, "CVTDQ2PD", "V,W", e_ident)
    S(SSE, 1, 0xe6, 0xe6, F2, X_, ANY, "CVTPD2DQ", "V,W", e_ident)
    S(SSE, 1, 0xf0, 0xf0, F2, X_, MEM, "LDDQU", "V,M", e_ident)
    S(MMX, 1, 0xf1, 0xf6, NONE, X_, ANY, "MMX arithmetic", "P,Q", e_ident)
    S(SSE, 1, 0xf1, 0xf6, 66, X_, ANY, "SSE2 arithmetic", "V,W", e_ident)
    S(MMX, 1, 0xf7, 0xf7, NONE, X_, REG, "MASKMOVQ", "P,N", e_maskmov)
    S(SSE, 1, 0xf7, 0xf7, 66, X_, REG, "MASKMOVDQU", "V,U", e_maskmov)
    S(MMX, 1, 0xf8, 0xfe, NONE, X_, ANY, "MMX arithmetic", "P,Q", e_ident)
    S(SSE, 1, 0xf8, 0xfe, 66, X_, ANY, "SSE2 arithmetic", "V,W", e_ident)
    /* 0F 38 and 0F 3A maps */
    S(MMX, 2, 0x00, 0x0b, NONE, X_, ANY, "SSSE3", "P,Q", e_ident)
    S(SSE, 2, 0x00, 0x0b, 66, X_, ANY, "SSSE3", "V,W", e_ident)
    S(SSE, 2, 0x10, 0x17, 66, X_, ANY, "SSE4.1", "V,W", e_ident)
    S(MMX, 2, 0x1c, 0x1e, NONE, X_, ANY, "PABS", "P,Q", e_ident)
    S(SSE, 2, 0x1c, 0x1e, 66, X_, ANY, "PABS", "V,W", e_ident)
    S(SSE, 2, 0x20, 0x41, 66, X_, ANY, "SSE4.1", "V,W", e_ident)
    S(SSE, 2, 0xc8, 0xcd, NONE, X_, ANY, "SHA", "V,W", e_ident)
    S(SSE, 2, 0xdb, 0xdf, 66, X_, ANY, "AES", "V,W", e_ident)
    {0, 2, 0xf0, 0xf1, PFX_NONE, X_, MOD_MEM, UNIT_INT, ID, false, NOCALL, "MOVBE", "Gv,M", e_ident},
    {0, 2, 0xf0, 0xf1, PFX_66, X_, MOD_MEM, UNIT_INT, ID, false, NOCALL, "MOVBE", "Gv,M", e_ident},
    {0, 2, 0xf0, 0xf0, PFX_F2, X_, MOD_ANY, UNIT_INT, ID, false, NOCALL, "CRC32", "Gd,Eb", e_ident},
    {0, 2, 0xf1, 0xf1, PFX_F2, X_, MOD_ANY, UNIT_INT, ID, false, NOCALL, "CRC32", "Gd,Ev", e_ident},
    {0, 2, 0xf6, 0xf6, PFX_66, X_, MOD_ANY, UNIT_INT, ID, false, NOCALL, "ADCX", "Gd,Ed", e_ident},
    {0, 2, 0xf6, 0xf6, PFX_F3, X_, MOD_ANY, UNIT_INT, ID, false, NOCALL, "ADOX", "Gd,Ed", e_ident},
    S(SSE, 3, 0x08, 0x0e, 66, X_, ANY, "SSE4.1", "V,W,Ib", e_ident)
    S(MMX, 3, 0x0f, 0x0f, NONE, X_, ANY, "PALIGNR", "P,Q,Ib", e_ident)
    S(SSE, 3, 0x0f, 0x0f, 66, X_, ANY, "PALIGNR", "V,W,Ib", e_ident)
    S(SSE, 3, 0x14, 0x17, 66, X_, ANY, "PEXTR", "Ed,V,Ib", e_ident)
    S(SSE, 3, 0x20, 0x20, 66, X_, ANY, "PINSRB", "V,Ed,Ib", e_ident)
    S(SSE, 3, 0x21, 0x21, 66, X_, ANY, "INSERTPS", "V,W,Ib", e_ident)
    S(SSE, 3, 0x22, 0x22, 66, X_, ANY, "PINSRD", "V,Ed,Ib", e_ident)
    S(SSE, 3, 0x40, 0x44, 66, X_, ANY, "DPPS/PCLMULQDQ", "V,W,Ib", e_ident)
    S(SSE, 3, 0x60, 0x63, 66, X_, ANY, "PCMPxSTRx", "V,W,Ib", e_ident)
    S(SSE, 3, 0xcc, 0xcc, NONE, X_, ANY, "SHA1RNDS4", "V,W,Ib", e_ident)
    S(SSE, 3, 0xdf, 0xdf, 66, X_, ANY, "AESKEYGENASSIST", "V,W,Ib", e_ident)

    /* VEX, 0F map */
    V(1, 0x10, 0x17, ANY, X_, ANY, "VMOVUPS..", "V,H,W", e_ident)
    V(1, 0x28, 0x29, ANY, X_, ANY, "VMOVAPS", "V,W", e_ident)
    V(1, 0x2a, 0x2a, ANY, X_, ANY, "VCVTSI2SS", "V,H,Ed", e_ident)
    V(1, 0x2b, 0x2b, ANY, X_, MEM, "VMOVNTPS", "M,V", e_ident)
    V(1, 0x2c, 0x2d, ANY, X_, ANY, "VCVTSS2SI", "Gd,W", e_ident)
    V(1, 0x2e, 0x2f, ANY, X_, ANY, "VUCOMISS", "V,W", e_ident)
    V(1, 0x50, 0x50, ANY, X_, REG, "VMOVMSKPS", "Gd,U", e_ident)
    V(1, 0x51, 0x6d, ANY, X_, ANY, "AVX arithmetic", "V,H,W", e_ident)
    V(1, 0x6e, 0x6e, ANY, X_, ANY, "VMOVD", "V,Ed", e_ident)
    V(1, 0x6f, 0x77, ANY, X_, ANY, "AVX", "V,H,W", e_ident)
    V(1, 0x7c, 0x7d, ANY, X_, ANY, "VHADD", "V,H,W", e_ident)
    V(1, 0x7e, 0x7e, 66, X_, ANY, "VMOVD", "Ed,V", e_ident)
    V(1, 0x7e, 0x7e, F3, X_, ANY, "VMOVQ", "V,W", e_ident)
    V(1, 0x7f, 0x7f, ANY, X_, ANY, "VMOVDQ", "W,V", e_ident)
    V(1, 0xae, 0xae, ANY, 2, MEM, "VLDMXCSR", "M", e_ident)
    V(1, 0xae, 0xae, ANY, 3, MEM, "VSTMXCSR", "M", e_ident)
    V(1, 0xc2, 0xc2, ANY, X_, ANY, "VCMPPS", "V,H,W,Ib", e_ident)
    V(1, 0xc4, 0xc4, ANY, X_, ANY, "VPINSRW", "V,H,Ed,Ib", e_ident)
    V(1, 0xc5, 0xc5, ANY, X_, REG, "VPEXTRW", "Gd,U,Ib", e_ident)
    V(1, 0xc6, 0xc6, ANY, X_, ANY, "VSHUFPS", "V,H,W,Ib", e_ident)
    V(1, 0xd0, 0xd6, ANY, X_, ANY, "AVX arithmetic", "V,H,W", e_ident)
    V(1, 0xd7, 0xd7, ANY, X_, REG, "VPMOVMSKB", "Gd,U", e_ident)
    V(1, 0xd8, 0xf6, ANY, X_, ANY, "AVX arithmetic", "V,H,W", e_ident)
    V(1, 0xf7, 0xf7, 66, X_, REG, "VMASKMOVDQU", "V,U", e_maskmov)
    V(1, 0xf8, 0xfe, ANY, X_, ANY, "AVX arithmetic", "V,H,W", e_ident)
    /* VEX, 0F 38 and 0F 3A maps */
    V(2, 0x00, 0x1e, ANY, X_, ANY, "AVX", "V,H,W", e_ident)
    V(2, 0x20, 0x41, ANY, X_, ANY, "AVX", "V,H,W", e_ident)
    V(2, 0x45, 0x47, ANY, X_, ANY, "VPSxLV", "V,H,W", e_ident)
    V(2, 0x58, 0x5a, ANY, X_, ANY, "VPBROADCAST", "V,W", e_ident)
    V(2, 0x78, 0x79, ANY, X_, ANY, "VPBROADCAST", "V,W", e_ident)
    V(2, 0x8c, 0x8e, ANY, X_, ANY, "VPMASKMOV", "V,H,M", e_ident)
    V(2, 0x90, 0x93, 66, X_, MEM, "VGATHER", "V,M,H", e_ident)
    V(2, 0x96, 0x9f, 66, X_, ANY, "FMA", "V,H,W", e_ident)
    V(2, 0xa6, 0xaf, 66, X_, ANY, "FMA", "V,H,W", e_ident)
    V(2, 0xb6, 0xbf, 66, X_, ANY, "FMA", "V,H,W", e_ident)
    V(2, 0xdb, 0xdf, 66, X_, ANY, "VAES", "V,H,W", e_ident)
    VI(2, 0xf2, 0xf2, NONE, X_, "ANDN", "Gd,Bd,Ed")
    VI(2, 0xf3, 0xf3, NONE, X_, "BLSR/BLSMSK/BLSI", "Bd,Ed")
    VI(2, 0xf5, 0xf5, NONE, X_, "BZHI", "Gd,Ed,Bd")
    VI(2, 0xf5, 0xf5, F3, X_, "PEXT", "Gd,Bd,Ed")
    VI(2, 0xf5, 0xf5, F2, X_, "PDEP", "Gd,Bd,Ed")
    VI(2, 0xf6, 0xf6, F2, X_, "MULX", "Gd,Bd,Ed")
    VI(2, 0xf7, 0xf7, ANY, X_, "BEXTR/SHLX/SARX/SHRX", "Gd,Ed,Bd")
    V(3, 0x00, 0x0f, 66, X_, ANY, "AVX", "V,H,W,Ib", e_ident)
    V(3, 0x14, 0x17, 66, X_, ANY, "VPEXTR", "Ed,V,Ib", e_ident)
    V(3, 0x18, 0x1d, 66, X_, ANY, "VINSERTF128..", "V,H,W,Ib", e_ident)
    V(3, 0x20, 0x20, 66, X_, ANY, "VPINSRB", "V,H,Ed,Ib", e_ident)
    V(3, 0x21, 0x21, 66, X_, ANY, "VINSERTPS", "V,H,W,Ib", e_ident)
    V(3, 0x22, 0x22, 66, X_, ANY, "VPINSRD", "V,H,Ed,Ib", e_ident)
    V(3, 0x38, 0x46, 66, X_, ANY, "AVX", "V,H,W,Ib", e_ident)
    V(3, 0x4a, 0x4c, 66, X_, ANY, "VBLENDV", "V,H,W,Ib", e_ident)
    V(3, 0x60, 0x63, 66, X_, ANY, "VPCMPxSTRx", "V,W,Ib", e_ident)
    V(3, 0xdf, 0xdf, 66, X_, ANY, "VAESKEYGENASSIST", "V,W,Ib", e_ident)
    VI(3, 0xf0, 0xf0, F2, X_, "RORX", "Gd,Ed,Ib")
};
const unsigned insn_row_count = sizeof insn_rows / sizeof insn_rows[0];

/* Rows by (vex, map, opcode): the first matching row and the next one, 1-based; 0 ends. Built
 * once before main; constant after that. */
static uint16_t first_row[2][4][256];
static uint16_t chain_rows[4096];
static unsigned chain_used;
static struct operand_kinds row_kinds[sizeof insn_rows / sizeof insn_rows[0]];

/* CMPXCHG8B has one size; where a prefix is part of the opcode, "v" names the operand size. */
static bool is_sized(const struct insn_row *row) {
    bool cmpxchg8b = row->map == 1 && row->lo == 0xc7 && row->ext == 1;
    if (row->unit != UNIT_INT)
        return row->unit == UNIT_X87;
    return (row->prefix == PFX_ANY && !cmpxchg8b) || strchr(row->operands, 'v');
}

static void parse_operands(const struct insn_row *row, struct operand_kinds *kinds) {
    kinds->sized = is_sized(row);
    for (const char *p = row->operands; *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : "") {
        bool byte = p[1] == 'b', bare = p[1] == ',' || p[1] == 0;
        if (*p == 'G')
            kinds->reg_gpr = true, kinds->reg_byte = byte;
        else if ((*p == 'E' || *p == 'R') && !bare)
            kinds->rm_gpr = true, kinds->rm_byte = byte;
        else if (*p == 'B')
            kinds->vvvv_gpr = true;
        else if (*p == 'Z')
            kinds->opcode_reg = true, kinds->opcode_byte = byte;
        else
            continue;
        kinds->any_gpr = true;
    }
}

__attribute__((constructor)) static void index_rows(void) {
    /* chain_rows holds, for each (vex, map, opcode), a 0-terminated run of row numbers. */
    chain_used = 1;
    for (unsigned key = 0; key < 2 * 4 * 256; key++) {
        unsigned vex = key >> 10, map = key >> 8 & 3, opcode = key & 255;
        unsigned start = chain_used;
        for (unsigned i = 0; i < insn_row_count; i++) {
            const struct insn_row *row = &insn_rows[i];
            if (row->vex == vex && row->map == map && row->lo <= opcode && opcode <= row->hi)
                chain_rows[chain_used++] = (uint16_t)(i + 1);
        }
        if (chain_used != start) {
            first_row[vex][map][opcode] = (uint16_t)start;
            chain_rows[chain_used++] = 0;
        }
        assert(chain_used < sizeof chain_rows / sizeof chain_rows[0]);
    }
    for (unsigned i = 0; i < insn_row_count; i++)
        parse_operands(&insn_rows[i], &row_kinds[i]);
    plain_index();
    quick_index();
}

const struct operand_kinds *insn_row_kinds(const struct insn_row *row) {
    return &row_kinds[row - insn_rows];
}

const struct insn_row *insn_row_find(bool vex, unsigned map, unsigned opcode,
                                     enum row_prefix prefix, unsigned ext, bool mod3) {
    assert(map < 4 && opcode < 256);
    for (const uint16_t *p = &chain_rows[first_row[vex][map][opcode]]; *p; p++) {
        const struct insn_row *row = &insn_rows[*p - 1];
        if ((row->prefix == PFX_ANY || row->prefix == prefix) &&
            (row->ext == ROW_ANY || row->ext == ext) &&
            (row->mod == MOD_ANY || (row->mod == MOD_REG) == mod3))
            return row;
    }
    return NULL;
}
