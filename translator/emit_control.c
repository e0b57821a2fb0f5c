/* Near control transfers. Each ends its block through exits.c. */
#include "translator/block.h"
#include "translator/tripwire.h"

#define GP_WITH_ERROR 0x10du /* of the callout `raise` */

/* 16-bit operand size cuts EIP (SDM vol. 2, JMP, Jcc, CALL, LOOP). */
static uint32_t relative_target(const struct insn *in) {
    uint32_t target = in->next_eip + (uint32_t)in->z.raw.imm[0].value.s;
    return in->opsize16 ? target & 0xffffu : target;
}

/* Does the branch fault on the limit of CS? Then nothing of it is done. */
static bool is_beyond_limit(const struct block *b, uint32_t target) {
    return (b->req->mode & MODE_GENERAL_CS) && target > b->req->code_limit;
}

static void raise_gp(struct block *b, const struct insn *in) {
    block_raise(b, in->eip, in->next_eip, GP_WITH_ERROR);
}

/* The same for a target in `reg`, which only the running code knows. */
static void check_target(struct block *b, const struct insn *in, unsigned reg) {
    struct pending_check check = {.eip = in->eip, .next_eip = in->next_eip,
                                  .arg = CHECK_ARG(1, ACCESS_FETCH, SEG_CS)};
    struct memref keep = CPU_FIELD(result);
    if (!(b->req->mode & MODE_GENERAL_CS) ||
        b->req->code_limit >= (in->opsize16 ? 0xffffu : UINT32_MAX))
        return;
    emit_store(&b->e, &keep, reg);
    if (reg != REG_TARGET)
        emit_mov_reg_reg(&b->e, REG_TARGET, reg);
    block_check_access(&b->e, &check);
    emit_load(&b->e, reg, &keep);
}

static unsigned slot_size(const struct insn *in) { return in->opsize16 ? 2 : 4; }

/* Zero-extends what is 16 bits wide. */
static void load_slot(struct block *b, const struct insn *in, unsigned reg,
                      const struct memref *m) {
    struct encoding load = {.opcode = 0x8b, .has_modrm = true, .reg = (uint8_t)reg, .mem = m};
    if (in->opsize16) {
        load.map = MAP_0F;
        load.opcode = 0xb7;
    }
    emit_insn(&b->e, &load);
}

/* Two bytes less than by GS; as for steps along a chain, what wraps faults (operand.c). Nobody waits for
 * return addresses, which forward sooner without an index. */
static struct memref shorter(const struct insn *in, struct memref m) {
    if (m.gs && m.base == REG_GUEST_ESP && !(in->hint & HINT_WRAPS))
        return (struct memref){.base = REG_WINDOW, .index = m.base, .disp = m.disp};
    return m;
}

static void push_return(struct block *b, const struct insn *in) {
    unsigned size = slot_size(in);
    struct memref m = shorter(in, operand_stack(b, in, -(int32_t)size, size, ACCESS_WRITE));
    struct encoding store = {.opcode = 0xc7, .has_modrm = true, .mem = &m};
    if (size == 2)
        store.legacy[store.legacy_count++] = 0x66;
    emit_insn(&b->e, &store);
    emit_bytes(&b->e, (const uint8_t *)&in->next_eip, size);
    block_add_esp(b, -(int32_t)size);
}

/* MOV r32, [ESP]; RET: how position-independent code asks where it is. 8B /r 24 C3, little-endian,
 * without the register. */
#define GET_PC_THUNK 0xc324048bu
#define GET_PC_REGISTER 0x00003800u

/* A call of such a thunk loads a constant. That the thunk is still one is checked each time, by
 * reading it; the return address is left below the stack as the call would leave it. */
static bool get_pc(struct block *b, const struct insn *in) {
    uint32_t target = relative_target(in), bytes;
    uint32_t other = MODE_GENERAL_CS | MODE_CODE16 | MODE_STACK16 | MODE_SPARSE;
    bool plain = (b->req->mode & MODE_CPL) == 3 && !(b->req->mode & other) && !in->opsize16 &&
                 !b->req->no_links && !block_checked(b) &&
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
    uint32_t target = relative_target(in);
    if (get_pc(b, in))
        return;
    if (is_beyond_limit(b, target)) {
        raise_gp(b, in);
        return;
    }
    push_return(b, in);
    exit_call(b, target, in->next_eip);
}

void e_jmp_rel(struct block *b, const struct insn *in) {
    if (is_beyond_limit(b, relative_target(in)))
        raise_gp(b, in);
    else if (!join_jump(b, relative_target(in)))
        exit_to(b, relative_target(in));
}

void e_jcc(struct block *b, const struct insn *in) {
    unsigned cc = in->z.opcode & 15u;
    if (!is_beyond_limit(b, relative_target(in))) {
        exit_conditional(b, cc, relative_target(in), in->next_eip);
        return;
    }
    uint8_t *not_taken = emit_short_jump(&b->e, (uint8_t)(0x70u | (cc ^ 1u)));
    raise_gp(b, in);
    emit_short_land(&b->e, not_taken);
    exit_to(b, in->next_eip);
}

/* LEA of ECX, or of CX alone. */
static void count(struct block *b, const struct insn *in, int32_t delta) {
    struct memref sum = {.base = RCX, .index = NO_REG, .disp = delta};
    struct encoding lea = {.opcode = 0x8d, .has_modrm = true, .reg = RCX, .mem = &sum};
    if (in->addr16)
        lea.legacy[lea.legacy_count++] = 0x66;
    emit_insn(&b->e, &lea);
}

/* A LOOP or JCXZ that faults when it is taken: the count is then as it was. */
static void loop_beyond_limit(struct block *b, const struct insn *in) {
    unsigned opcode = in->z.opcode;
    bool jcxz = opcode == 0xe3;
    uint8_t *other = NULL;
    if (!jcxz)
        count(b, in, -1);
    emit_mov_reg_reg(&b->e, R8, RCX);
    if (in->addr16)
        emit_bytes(&b->e, (const uint8_t[]){0x0f, 0xb7, 0xc9}, 3); /* movzx ecx, cx */
    emit8(&b->e, 0x67);
    uint8_t *zero = emit_short_jump(&b->e, 0xe3);
    emit_mov_reg_reg(&b->e, RCX, R8);
    if (opcode == 0xe0 || opcode == 0xe1)
        other = emit_short_jump(&b->e, opcode == 0xe0 ? 0x74 : 0x75);
    if (jcxz) {
        exit_to(b, in->next_eip);
    } else {
        count(b, in, 1);
        raise_gp(b, in);
    }
    emit_short_land(&b->e, zero);
    emit_mov_reg_reg(&b->e, RCX, R8);
    emit_short_land(&b->e, other);
    if (jcxz)
        raise_gp(b, in);
    else
        exit_to(b, in->next_eip);
}

void e_loop(struct block *b, const struct insn *in) {
    if (is_beyond_limit(b, relative_target(in)))
        loop_beyond_limit(b, in);
    else if (in->addr16)
        exit_counted16(b, in->z.opcode, relative_target(in), in->next_eip);
    else
        exit_counted(b, in->z.opcode, relative_target(in), in->next_eip);
}

/* Loads the operand of an indirect jump or call into `reg`. */
static void load_target(struct block *b, const struct insn *in, unsigned reg) {
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = (uint8_t)reg};
    if (in->z.raw.modrm.mod != 3) {
        struct memref m = operand_memory(b, in, 0);
        load_slot(b, in, reg, &m);
    } else if (in->opsize16) {
        movzx.rm = (uint8_t)host_gpr(in->z.raw.modrm.rm);
        emit_insn(&b->e, &movzx);
    } else {
        emit_mov_reg_reg(&b->e, reg, host_gpr(in->z.raw.modrm.rm));
    }
    check_target(b, in, reg);
}

void e_jmp_rm(struct block *b, const struct insn *in) {
    load_target(b, in, REG_TARGET);
    exit_indirect(b);
}

/* Does pushing leave r11d as it is? */
static bool pushes_plainly(const struct block *b, const struct insn *in) {
    return !block_calls_out(b, SEG_SS) && block_segment_class(b, SEG_SS) == SEGMENT_FLAT &&
           !(b->req->mode & MODE_STACK16) && HINT_SECOND(in->hint) == WINDOW_SUPER;
}

/* The target waits in r9 if not in r11d, or in cpu->result where pushing calls out. */
void e_call_rm(struct block *b, const struct insn *in) {
    struct memref keep = CPU_FIELD(result);
    bool calls_out = block_calls_out(b, SEG_SS);
    if (pushes_plainly(b, in)) {
        load_target(b, in, REG_TARGET);
        push_return(b, in);
        exit_call_indirect(b, in->next_eip);
        return;
    }
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
    unsigned size = slot_size(in);
    int32_t release = (int32_t)size;
    if (in->z.opcode == 0xc2)
        release += in->bytes[in->imm_at + 1] << 8 | in->bytes[in->imm_at];
    struct memref m = shorter(in, operand_stack(b, in, 0, size, ACCESS_READ));
    load_slot(b, in, REG_TARGET, &m);
    check_target(b, in, REG_TARGET);
    block_add_esp(b, release);
    exit_return(b);
}
