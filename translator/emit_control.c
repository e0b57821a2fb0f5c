/* Near control transfers. Each ends its block through exits.c. */
#include "translator/block.h"
#include "translator/tripwire.h"

static uint32_t relative_target(const struct insn *in) {
    return in->next_eip + (uint32_t)in->z.raw.imm[0].value.s;
}

static void add_esp(struct block *b, int32_t delta) {
    b->esp += delta;
    block_settle_esp(b);
}

/* 66h truncates EIP to 16 bits: nobody does it in 32-bit code on purpose. */
static bool unusual(struct block *b, const struct insn *in, bool stack) {
    if (in->opsize16)
        block_refuse(b, in, REFUSE_branch16);
    else if (stack && b->req->mode & MODE_STACK16)
        block_refuse(b, in, REFUSE_stack16);
    return b->ended;
}

static void push_return(struct block *b, const struct insn *in) {
    struct memref m = operand_stack(b, in, -4, 4, ACCESS_WRITE);
    emit_store_imm(&b->e, &m, in->next_eip);
    add_esp(b, -4);
}

/* MOV r32, [ESP]; RET: how position-independent code asks where it is. 8B /r 24 C3, little-endian,
 * without the register. */
#define GET_PC_THUNK 0xc324048bu
#define GET_PC_REGISTER 0x00003800u

/* A call of such a thunk loads a constant. That the thunk is still one is checked each time, by
 * reading it; the return address is left below the stack as the call would leave it. */
static bool get_pc(struct block *b, const struct insn *in) {
    uint32_t target = relative_target(in), bytes;
    bool plain = (b->req->mode & MODE_CPL) == 3 && !b->req->no_links && !block_checked(b) &&
                 block_segment_class(b, SEG_SS) == SEGMENT_FLAT &&
                 block_segment_class(b, SEG_DS) == SEGMENT_FLAT;
    if (!plain || !b->req->poll_address || !b->req->peek || !b->req->peek(b->req->opaque, target, &bytes) ||
        (bytes & ~GET_PC_REGISTER) != GET_PC_THUNK)
        return false;
    unsigned reg = bytes >> 11 & 7u;
    if (reg == ESP)
        return false;
    struct memref code = {.gs = true, .addr32 = true, .base = NO_REG, .index = NO_REG,
                          .disp = (int32_t)target};
    b->undo = UNDO_GUESS;
    emit_load(&b->e, R9, &code);
    emit_tripwire(&b->e, TRIPWIRE_GUESS, bytes, b->req->poll_address);
    struct memref below = operand_stack(b, in, -4, 4, ACCESS_WRITE);
    emit_store_imm(&b->e, &below, in->next_eip);
    emit_mov_reg_imm(&b->e, reg, in->next_eip);
    return true;
}

void e_call_rel(struct block *b, const struct insn *in) {
    if (unusual(b, in, true) || get_pc(b, in))
        return;
    push_return(b, in);
    exit_call(b, relative_target(in), in->next_eip);
}

void e_jmp_rel(struct block *b, const struct insn *in) {
    if (!unusual(b, in, false))
        exit_to(b, relative_target(in));
}

void e_jcc(struct block *b, const struct insn *in) {
    if (!unusual(b, in, false))
        exit_conditional(b, in->z.opcode & 15u, relative_target(in), in->next_eip);
}

void e_loop(struct block *b, const struct insn *in) {
    if (unusual(b, in, false))
        return;
    if (in->addr16)
        block_refuse(b, in, REFUSE_loop16);
    else
        exit_counted(b, in->z.opcode, relative_target(in), in->next_eip);
}

/* Loads the operand of an indirect jump or call into `reg`. */
static void load_target(struct block *b, const struct insn *in, unsigned reg) {
    if (in->z.raw.modrm.mod == 3) {
        emit_mov_reg_reg(&b->e, reg, host_gpr(in->z.raw.modrm.rm));
        return;
    }
    struct memref m = operand_memory(b, in, 0);
    emit_load(&b->e, reg, &m);
}

void e_jmp_rm(struct block *b, const struct insn *in) {
    if (unusual(b, in, false))
        return;
    load_target(b, in, REG_TARGET);
    exit_indirect(b);
}

/* The target waits in r9, or in cpu->result where pushing calls out. */
void e_call_rm(struct block *b, const struct insn *in) {
    if (unusual(b, in, true))
        return;
    struct memref keep = CPU_FIELD(result);
    bool calls_out = block_checked(b) || block_segment_class(b, SEG_SS) == SEGMENT_GENERAL;
    load_target(b, in, R9);
    if (calls_out)
        emit_store(&b->e, &keep, R9);
    push_return(b, in);
    if (calls_out)
        emit_load(&b->e, REG_TARGET, &keep);
    else
        emit_mov_reg_reg(&b->e, REG_TARGET, R9);
    exit_call_indirect(b, in->next_eip);
}

void e_ret(struct block *b, const struct insn *in) {
    if (unusual(b, in, true))
        return;
    int32_t release = 4;
    if (in->z.opcode == 0xc2)
        release += in->bytes[in->imm_at + 1] << 8 | in->bytes[in->imm_at];
    struct memref m = operand_stack(b, in, 0, 4, ACCESS_READ);
    emit_load(&b->e, REG_TARGET, &m);
    add_esp(b, release);
    exit_return(b);
}
