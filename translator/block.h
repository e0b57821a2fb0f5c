/* A block while it is being translated: shared by the emitters, invisible outside.
 *
 * Contracts of every emitter: guest registers are in their host registers before and after; the
 * host flags hold the guest's; r8-r11 are scratch; nothing guest-visible changes before the
 * instruction's last possible fault, unless `undo` says how to take it back. */
#ifndef RING3_TRANSLATOR_BLOCK_H
#define RING3_TRANSLATOR_BLOCK_H

#include <Zydis/Zydis.h>

#include "translator/cpu.h"
#include "translator/emit.h"
#include "translator/insn_table.h"
#include "translator/translate.h"

struct insn {
    ZydisDecodedInstruction z;
    const struct insn_row *row;
    const struct operand_kinds *kinds;
    const uint8_t *bytes;
    uint32_t eip, next_eip; /* offsets in CS */
    uint8_t len;
    uint8_t segment;  /* of the memory operand, override applied; enum segment_index */
    bool override;    /* a segment prefix was there */
    bool opsize16, addr16; /* effective: prefixes and the code segment's size taken together */
    bool prefix66, rep, repne, lock;
    bool reads; /* of its memory operand only the reading access is being emitted */
    uint8_t imm_at, imm_len;
    uint8_t hint; /* how its operands reach memory (HINT_*) */
};

struct pending_exit {
    uint8_t *site; /* the rel32 field */
    uint32_t target;
    bool copied;
    uint32_t fixed; /* of an exit across a page end: the slot that its stub goes through; else NO_FIXED_SLOT */
};

/* Code that leaves the hot path for good: ecx comes back from r8 or r11, then a stub. */
struct pending_leave {
    uint8_t *site; /* rel32 that leads there */
    uint8_t ecx_in;
    uint8_t stub;
    uint32_t target; /* for r11d, when ecx waits there */
};
#define BLOCK_LEAVES_MAX 40u

/* The check of a 16-bit offset whose access may reach beyond 64 KiB: the callout waits in cold
 * code, comes in with the offset in r11d and ecx in r8d, and goes back with the linear address in
 * r11d and zero in r10d. */
struct pending_check {
    uint8_t *site;       /* rel32 that leads there */
    const uint8_t *back;
    uint32_t eip, next_eip, arg;
};
#define BLOCK_CHECKS_MAX 16u /* those beyond stand in the hot code */

#define BLOCK_EXITS_MAX TRANSLATION_EXITS_MAX

/* A branch to an instruction behind it that the block has not come to, or that it has joined. */
struct pending_join {
    uint8_t *site;   /* its displacement */
    uint8_t *to;     /* where it lands; NULL: nowhere yet */
    uint32_t target; /* offset in the guest's code */
    bool near;       /* one byte of displacement */
};
#define BLOCK_JOINS_MAX 24u
#define NO_JOIN UINT32_MAX

static inline void translation_start(struct translation *t, uint32_t offset, int32_t esp) {
    t->starts[offset / 64] |= (uint64_t)(esp == 0) << offset % 64;
}

/* Direct calls of stubs and jumps to them: they are pointed there when the block lies where it stays. */
#define STUB_SITES_MAX 128u /* those beyond go through r15 */
struct stub_sites {
    unsigned count;
    struct stub_site {
        uint8_t *site; /* the rel32 field */
        uint8_t stub;
    } list[STUB_SITES_MAX];
};

struct block {
    struct emit e;
    struct emit *cold; /* where rarely executed code goes: `cold_part`, or `e` at the very end */
    struct emit cold_part;
    const struct translate_request *req;
    struct translation *out;
    uint8_t *code;    /* the block's first byte */
    uint32_t pc;      /* eip of the instruction being emitted */
    bool ended;
    bool quick;       /* plain instructions may take the quick way */
    bool check_exits; /* an STI stands before: every exit tests for attention */
    uint8_t undo;     /* of the instruction being emitted */
    bool loop;        /* exits to the block's start need no look for attention */
    unsigned branches; /* that did not end the block */
    /* Pushes and pops only count here; ESP itself is brought up to date before anything else
     * looks at it (block_settle_esp). */
    int32_t esp;
    unsigned exit_count, leave_count, check_count, join_count;
    unsigned waiting;    /* joins that have not landed: exits, if they never do */
    uint32_t next_join;  /* the least offset that one of them wants to land at */
    /* From here on nothing is set before it is counted. */
    struct pending_exit exits[BLOCK_EXITS_MAX];
    struct pending_leave leaves[BLOCK_LEAVES_MAX];
    struct pending_check checks[BLOCK_CHECKS_MAX];
    struct pending_join joins[BLOCK_JOINS_MAX];
    struct stub_sites stub_sites;
};

/* decode.c. 0 and *in filled; or a vector (>= 1) to raise; or DECODE_MORE: bytes missing. */
#define DECODE_MORE 0x100
int insn_decode(const struct translate_request *req, uint32_t offset, struct insn *in);
/* SEG_COUNT: no segment prefix. */
unsigned insn_segment_of_prefix(uint8_t byte);
/* decode_plain.c. False, and nothing but in->z changed: left to the decoder proper. */
bool insn_decode_plain(const uint8_t *bytes, uint32_t room, struct insn *in);
/* The decoder of a mode. */
const ZydisDecoder *insn_decoder(uint32_t mode);

/* quick.c: the plainest instructions, as the emitters would write them. */
bool quick_goes(const struct translate_request *req);
/* Those from `offset` on, up to one that is not among them or does not fit; returns its offset. */
uint32_t quick_run(struct block *b, uint32_t offset, uint32_t limit);

/* operand.c: where an operand lies. May emit code that computes an address (r10, r11). */
struct memref operand_memory(struct block *b, const struct insn *in, int32_t esp_bias);
/* [esp + disp] through SS; `size` and `write` serve the checked path. */
struct memref operand_stack(struct block *b, const struct insn *in, int32_t disp, unsigned size,
                            enum access_kind kind);
/* The same effective address as a plain sum of registers (LEA, and linear addresses). */
struct memref operand_effective(struct block *b, const struct insn *in, int32_t esp_bias);
/* Any sum of registers through the instruction's segment (XLAT, LEAVE); `narrow`: it has 16 bits
 * at most, and where it is not a constant it stands in r11d. */
struct memref operand_sum(struct block *b, const struct insn *in, struct memref ea, unsigned size,
                          enum access_kind kind, bool narrow);
/* The same through any segment, by the argument of `check`; the linear address goes to r11d. */
void operand_linear_sum(struct block *b, const struct insn *in, uint32_t check, struct memref ea,
                        bool narrow);
/* MOV, MOVZX or MOVSX to a register: one that its address is made of is reached by r14 where the
 * displacement is good for that. */
bool operand_steps(const struct insn_row *row, unsigned opcode);
#define OPERAND_NEAR_BELOW 0x10000
static inline bool operand_step_is_near(unsigned index, int32_t disp) {
    return index == NO_REG && disp >= -OPERAND_NEAR_BELOW;
}
/* Is the explicit operand to be looked up, if it can be? */
bool operand_goes_past(const struct block *b, const struct insn *in);
/* Can the explicit operand go past the windows (WINDOW_PAST)? Then size and kind for the callout. */
bool operand_can_reach(const struct block *b, const struct insn *in, uint32_t *arg);
/* Loads the linear address of the memory operand into r11d. */
void operand_linear(struct block *b, const struct insn *in);
/* 64-bit base of the window that linear addresses in `reg` go through, by hint, into `to`. */
void operand_window(struct block *b, unsigned to, unsigned reg, unsigned hint);
enum segment_class block_segment_class(const struct block *b, unsigned segment);
/* r11d: the sum's low 16 bits. */
struct memref operand_cut16(struct block *b, struct memref sum);
static inline unsigned host_gpr(unsigned guest) {
    return guest == ESP ? REG_GUEST_ESP : guest;
}
static inline bool block_checked(const struct block *b) {
    return (b->req->mode & (MODE_ALIGN | MODE_DEBUG)) != 0;
}

/* May an access through the segment call out, which leaves r8-r11 changed? */
static inline bool block_calls_out(const struct block *b, unsigned segment) {
    return block_checked(b) || block_segment_class(b, segment) >= SEGMENT_GENERAL;
}

/* stack: r12d becomes ESP again. */
void block_settle_esp(struct block *b);
/* Can the instruction be emitted while r12d lags? */
bool block_bears_lag(const struct block *b, const struct insn *in);
/* r12d may not lag further. */
#define BLOCK_LAG_MAX 96
static inline bool block_lags_far(const struct block *b) {
    return b->esp < -BLOCK_LAG_MAX || b->esp > BLOCK_LAG_MAX;
}
/* Would one more control transfer be too many? */
static inline bool block_exits_full(const struct block *b) {
    return b->exit_count + b->waiting + 3 > BLOCK_EXITS_MAX || b->leave_count + 3 > BLOCK_LEAVES_MAX;
}

/* Moves ESP, or SP with a 16-bit stack segment. */
static inline void block_add_esp(struct block *b, int32_t delta) {
    b->esp += delta;
    block_settle_esp(b);
}

/* exits.c: how control leaves a block. Each ends it, but that the block may go on behind a
 * conditional branch or a call. */
void exit_to(struct block *b, uint32_t target);       /* a known eip */
/* Would a way round be without a look for attention, if there were none at an exit to `target`? */
bool block_goes_back(const struct block *b, uint32_t target);
void exit_onward(struct block *b, uint32_t target);   /* the same, behind an instruction that is no branch */
void exit_indirect(struct block *b);                  /* r11d */
void exit_call(struct block *b, uint32_t target, uint32_t return_eip);
void exit_call_indirect(struct block *b, uint32_t return_eip); /* r11d */
void exit_return(struct block *b);                    /* r11d */
void exit_conditional(struct block *b, unsigned cc, uint32_t target, uint32_t fall);
/* `opcode` is a host LOOPcc/JECXZ opcode, used with 67h. */
void exit_counted(struct block *b, unsigned opcode, uint32_t target, uint32_t fall);
/* The same with CX for ECX. */
void exit_counted16(struct block *b, unsigned opcode, uint32_t target, uint32_t fall);
/* What stands before a loop: a look for attention. */
void exits_enter_loop(struct block *b);
void exits_finish(struct block *b);

/* joins.c: a branch that need not leave the block. False: it must, nothing was emitted. */
bool join_conditional(struct block *b, unsigned cc, uint32_t target);
bool join_jump(struct block *b, uint32_t target);
/* The instruction at `offset` is next: whoever waits for it lands here, ESP settled. */
void joins_land(struct block *b, uint32_t offset);
static inline void joins_pass(struct block *b, uint32_t offset) {
    if (offset >= b->next_join)
        joins_land(b, offset);
}
/* Joins that have not landed become exits. */
void joins_finish(struct block *b);

/* callout.c */
/* Jumps to an entry point of the run loop's side (enum stub). */
void emit_jump_stub(struct emit *e, enum stub stub);
void block_callout(struct block *b, const struct insn *in, unsigned id, uint32_t arg);
void block_raise(struct block *b, uint32_t eip, uint32_t next_eip, uint32_t vector);
/* The callout `reach` of a memory operand at linear address r11d: its host address comes back in r11. */
void block_reach(struct block *b, const struct insn *in, uint32_t arg);
/* The callout `check` of a memory operand at offset r11d: its linear address comes back in r11d. */
void block_check_access(struct emit *e, const struct pending_check *check);

/* probes.c: what stands before the instruction with this number; does any of it call out, and how much
 * code is it at most? */
bool probes_call(const struct block *b, unsigned insn);
uint32_t probes_room(const struct block *b, unsigned insn);
void probes_emit(struct block *b, unsigned insn, uint32_t offset);

/* emit_ident.c. Raises #NM or #UD, and ends the block, when the row's unit is switched off. */
bool block_unit_off(struct block *b, const struct insn *in);
/* emit_live.c: is the instruction's immediate to be read when it runs (HINT_LIVE)? */
bool block_is_live(const struct block *b, const struct insn *in);
/* reg = that immediate, sign-extended; r9 changes. */
void block_load_live(struct block *b, const struct insn *in, unsigned reg);
/* The whole instruction that way; false: it has no such form, nothing was emitted. */
bool emit_live(struct block *b, const struct insn *in);
/* The row's instruction with another register form or memory operand. */
void emit_identical(struct block *b, const struct insn *in);

#define EMITTER(name) void name(struct block *b, const struct insn *in)
EMITTER(e_ident); EMITTER(e_incdec); EMITTER(e_alias82); EMITTER(e_lea); EMITTER(e_moffs);
EMITTER(e_xlat); EMITTER(e_maskmov); EMITTER(e_string); EMITTER(e_nop);
EMITTER(e_push_reg); EMITTER(e_push_imm); EMITTER(e_push_rm); EMITTER(e_push_seg);
EMITTER(e_pop_reg); EMITTER(e_pop_rm); EMITTER(e_pusha); EMITTER(e_popa); EMITTER(e_pushf); EMITTER(e_popf);
EMITTER(e_enter); EMITTER(e_leave);
EMITTER(e_call_rel); EMITTER(e_call_rm); EMITTER(e_jmp_rel); EMITTER(e_jmp_rm); EMITTER(e_jcc);
EMITTER(e_loop); EMITTER(e_ret); EMITTER(e_into);
EMITTER(e_callout); EMITTER(e_callout_imm); EMITTER(e_callout_size); EMITTER(e_callout_mem);
EMITTER(e_callout_mem_to); EMITTER(e_callout_rm); EMITTER(e_callout_to_rm);
EMITTER(e_callout_to_reg); EMITTER(e_far_ptr);
EMITTER(e_ret_far); EMITTER(e_mov_to_seg); EMITTER(e_mov_from_seg); EMITTER(e_pop_seg);
EMITTER(e_load_far); EMITTER(e_cli); EMITTER(e_sti); EMITTER(e_mov_to_sys);
EMITTER(e_mov_from_cr); EMITTER(e_mov_from_dr); EMITTER(e_rdtsc); EMITTER(e_arpl);
EMITTER(e_bound); EMITTER(e_port); EMITTER(e_port_string); EMITTER(e_undefined);
#undef EMITTER

#endif
