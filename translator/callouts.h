/* The table of callouts: which privileged or sensitive instruction goes where.
 *
 * A callout is a C function that carries out one instruction that translated code cannot. The
 * fragment stores EIP and the next EIP in the cpu struct, loads the argument (r10d) and the
 * operand (r11d) and calls through STUB_CALLOUT; handlers get both. Rows: id, argument, operand,
 * the instructions. The table prints itself with `ring3 run --help-callouts`.
 *
 * Operand size in arguments: bit 31 set means 16-bit. */
#ifndef RING3_TRANSLATOR_CALLOUTS_H
#define RING3_TRANSLATOR_CALLOUTS_H

#define CALLOUT_ARG16 0x80000000u

/* id, argument, operand, instructions */
#define CALLOUTS(X)                                                                               \
    X(raise, "vector, or 0x100|vector with error code 0", "-", "#UD, #NM, #GP found at translation; #DE by a divisor of zero") \
    X(int_n, "vector", "-", "INT n (gate DPL is checked)")                                        \
    X(int3, "-", "-", "INT3")                                                                     \
    X(into, "-", "-", "INTO (only called with OF set)")                                           \
    X(int1, "-", "-", "INT1/ICEBP")                                                               \
    X(bound, "segment | ARG16", "linear address of the bounds (index in cpu->result)", "BOUND")             \
    X(iret, "ARG16", "-", "IRET, IRETD")                                                          \
    X(sysenter, "-", "-", "SYSENTER")                                                             \
    X(sysexit, "-", "-", "SYSEXIT")                                                               \
    X(call_far, "selector | ARG16", "offset", "CALL ptr16:32, ptr16:16")                          \
    X(call_far_mem, "segment << 16 | ARG16", "linear address of the pointer", "CALL m16:32, m16:16")              \
    X(jmp_far, "selector | ARG16", "offset", "JMP ptr16:32, ptr16:16")                            \
    X(jmp_far_mem, "segment << 16 | ARG16", "linear address of the pointer", "JMP m16:32, m16:16")                \
    X(ret_far, "bytes to release | ARG16", "-", "RETF, RETF imm16")                               \
    X(mov_to_seg, "segment", "selector", "MOV Sreg, r/m16")                                       \
    X(pop_seg, "segment | ARG16", "-", "POP Sreg")                                                \
    X(load_far, "segment | gpr << 8 | pointer's segment << 16 | ARG16", "linear address of the pointer", "LDS LES LSS LFS LGS") \
    X(pushf, "ARG16", "-", "PUSHF, PUSHFD in virtual-8086 mode")                                  \
    X(popf, "ARG16", "-", "POPF, POPFD")                                                          \
    X(cli, "-", "-", "CLI above CPL 0")                                                           \
    X(sti, "-", "-", "STI above CPL 0")                                                           \
    X(hlt, "-", "-", "HLT")                                                                       \
    X(lgdt, "ARG16", "linear address", "LGDT")                                                    \
    X(lidt, "ARG16", "linear address", "LIDT")                                                    \
    X(sgdt, "ARG16", "linear address", "SGDT")                                                    \
    X(sidt, "ARG16", "linear address", "SIDT")                                                    \
    X(lldt, "-", "selector", "LLDT")                                                              \
    X(ltr, "-", "selector", "LTR")                                                                \
    X(sldt, "-", "- (result: selector)", "SLDT")                                                  \
    X(str, "-", "- (result: selector)", "STR")                                                    \
    X(smsw, "-", "- (result: CR0)", "SMSW")                                                       \
    X(lmsw, "-", "value", "LMSW")                                                                 \
    X(clts, "-", "-", "CLTS")                                                                     \
    X(mov_to_cr, "control register", "value", "MOV CRn, r32")                                     \
    X(mov_from_cr, "control register", "- (result: value)", "MOV r32, CRn above CPL 0 and the unusual ones") \
    X(mov_to_dr, "debug register", "value", "MOV DRn, r32")                                       \
    X(mov_from_dr, "debug register", "- (result: value)", "MOV r32, DRn")                         \
    X(invlpg, "-", "linear address", "INVLPG")                                                    \
    X(wbinvd, "-", "-", "INVD, WBINVD")                                                           \
    X(rdmsr, "-", "-", "RDMSR")                                                                   \
    X(wrmsr, "-", "-", "WRMSR")                                                                   \
    X(rdpmc, "-", "-", "RDPMC")                                                                   \
    X(rdtsc, "1: RDTSCP", "-", "RDTSC, RDTSCP where they are not the host's own")                 \
    X(cpuid, "-", "-", "CPUID")                                                                   \
    X(xgetbv, "-", "-", "XGETBV")                                                                 \
    X(xsetbv, "-", "-", "XSETBV")                                                                 \
    X(lar, "-", "selector (result, ZF)", "LAR")                                                   \
    X(lsl, "-", "selector (result, ZF)", "LSL")                                                   \
    X(verr, "-", "selector (ZF)", "VERR")                                                         \
    X(verw, "-", "selector (ZF)", "VERW")                                                         \
    X(arpl, "source selector's gpr | 0x100 (memory) | segment << 16",                                \
      "destination selector (result, ZF), or its linear address", "ARPL")                         \
    X(in, "size (1, 2, 4) << 16 | port; bit 24: the port is in DX", "-", "IN")  \
    X(out, "as for IN", "-", "OUT")                                                               \
    X(ins, "size << 16 | bit 24 REP | bit 25 16-bit address", "-", "INS, REP INS")                \
    X(outs, "size << 16 | bit 24 REP | bit 25 16-bit address | segment", "-", "OUTS, REP OUTS")   \
    X(daa, "-", "-", "DAA")                                                                       \
    X(das, "-", "-", "DAS")                                                                       \
    X(aaa, "-", "-", "AAA")                                                                       \
    X(aas, "-", "-", "AAS")                                                                       \
    X(aam, "base", "-", "AAM")                                                                    \
    X(aad, "base", "-", "AAD")                                                                    \
    X(salc, "-", "-", "SALC")                                                                     \
    X(enter, "size << 8 | level (1..31), ARG16", "-", "ENTER with a nesting level")               \
    X(fxsave, "-", "linear address", "FXSAVE")                                                    \
    X(fxrstor, "-", "linear address", "FXRSTOR")                                                  \
    X(xsave, "segment << 16, 1: XSAVEOPT", "linear address", "XSAVE, XSAVEOPT")                   \
    X(xrstor, "segment << 16", "linear address", "XRSTOR")                                        \
    X(fnsave, "ARG16", "linear address", "FNSAVE")                                                \
    X(fnstenv, "ARG16", "linear address", "FNSTENV")                                              \
    X(check, "size | access kind << 12 | segment << 16 | CHECK_*", "effective address (result2: linear address)", \
      "memory operands through a segment that is not flat, or under alignment checks; branches in a code segment with a limit") \
    X(reach, "size | instruction's length << 8 | access kind << 12 | a bit for each byte written << 16", "linear address (cpu->reached: host address)",               \
      "memory operands of sites that go past the windows")                                            \
    X(reach_string, "opcode | bit 16 REP | ARG16", "- (cpu->reached, reached2: host addresses; result, result2: ESI, EDI behind it)", \
      "MOVS and STOS of sites that go past the windows")                                              \
    X(string, "opcode | segment << 8 | bit 16 REPE | 17 REPNE | 18 16-bit address | ARG16", "-",       \
      "MOVS CMPS STOS LODS SCAS through segments that are not flat, with 16-bit addresses, or stepped") \
    X(probe, "index of the user callout", "-", "entry to a watched guest address")                \
    X(instrument, "what a plugin has asked for (runtime/instrument.c)", "-",                            \
      "before an instruction that a plugin instruments")                                              \
    X(pusha, "ARG16", "-", "PUSHA, PUSHAD on a stack segment with a limit or of 16 bits")              \
    X(popa, "ARG16", "-", "POPA, POPAD on a stack segment with a limit or of 16 bits")                 \
    X(gather, "CALLOUT_GATHER_*", "effective address without the index",                           \
      "VGATHER and VPGATHER that the host cannot do alone")

enum callout_id {
#define CALLOUT_ENUM(id, arg, operand, insns) CALLOUT_##id,
    CALLOUTS(CALLOUT_ENUM)
#undef CALLOUT_ENUM
        CALLOUT_COUNT
};

/* check: the size of the access (12 bits), its kind (enum access_kind; ACCESS_FETCH: a branch's
 * target, of CS), the segment, and what is special. */
#define CHECK_ARG(size, kind, segment)                                                            \
    ((uint32_t)(size) | (uint32_t)(kind) << 12 | (uint32_t)(segment) << 16)
#define CHECK_SIZE_MAX 0xfffu
/* reach: of the size eight bits are enough. */
#define REACH_SIZE(arg) ((arg) & 0xffu)
#define REACH_LENGTH_SHIFT 8 /* of the instruction, which next_eip does not tell */
#define REACH_LENGTH(arg) ((arg) >> REACH_LENGTH_SHIFT & 15u)
#define REACH_ALIGNED 0x4000u /* else #GP, which comes before #PF */
#define REACH_WRITTEN_SHIFT 16
#define CHECK_SIZE(arg) ((arg) & CHECK_SIZE_MAX)
#define CHECK_KIND(arg) ((arg) >> 12 & 3u)
#define CHECK_SEGMENT(arg) ((arg) >> 16 & 7u)
#define CHECK_QWORDS 0x01000000u /* aligned to eight bytes, whatever the size */
#define CHECK_FLUSH 0x02000000u  /* CLFLUSH and its kin */
#define CHECK_MASKED 0x04000000u /* of the elements only those that a vector register's signs name */
#define CHECK_MASK_SHIFT 20      /* its number */
#define CHECK_WIDE_ELEMENTS 0x08000000u /* of eight bytes, not four */
#define CHECK_READS 0x10000000u  /* what is written is read before */
#define CALLOUT_POINTER_SEGMENT(arg) ((arg) >> 16 & 7u)
#define CALLOUT_ARPL_MEMORY 0x100u
#define CALLOUT_STRING_REPE 0x10000u
#define CALLOUT_STRING_REPNE 0x20000u
#define CALLOUT_STRING_ADDR16 0x40000u
#define CALLOUT_PORT_DX 0x01000000u /* in, out: the port is in DX */
/* gather: the fields of its argument, each at its shift. */
#define CALLOUT_GATHER_DESTINATION 0 /* vector registers: 3 bits */
#define CALLOUT_GATHER_INDEX 3
#define CALLOUT_GATHER_MASK 6
#define CALLOUT_GATHER_SCALE 9 /* 2 bits */
#define CALLOUT_GATHER_WIDE (1u << 11)       /* 256 bits */
#define CALLOUT_GATHER_QWORDS (1u << 12)     /* elements of 64 bits */
#define CALLOUT_GATHER_BY_QWORDS (1u << 13)  /* indexes of 64 bits */
#define CALLOUT_GATHER_SEGMENT 16
#define CALLOUT_REP 0x01000000u     /* ins, outs */
#define RAISE_NM_UNLESS_EM 0x200u      /* raise: #NM instead while CR0.EM is clear */
#define CALLOUT_ADDR16 0x02000000u  /* ins, outs */

#endif
