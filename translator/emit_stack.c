/* The stack: PUSH, POP and their relatives, written anew on guest ESP in r12d.
 *
 * Memory first, ESP after it, so that a fault leaves nothing to undo; neither step touches
 * flags. Runs of pushes and pops only count: r12d lags behind until somebody needs it (b->esp). */
#include "translator/block.h"

static unsigned slot_size(const struct insn *in) { return in->opsize16 ? 2 : 4; }

static void store_sized(struct block *b, const struct memref *m, unsigned reg, unsigned size) {
    struct encoding enc = {.opcode = 0x89, .has_modrm = true, .reg = (uint8_t)reg, .mem = m};
    if (size == 2)
        enc.legacy[enc.legacy_count++] = 0x66;
    emit_insn(&b->e, &enc);
}

static void load_sized(struct block *b, unsigned reg, const struct memref *m, unsigned size) {
    struct encoding enc = {.opcode = 0x8b, .has_modrm = true, .reg = (uint8_t)reg, .mem = m};
    if (size == 2)
        enc.legacy[enc.legacy_count++] = 0x66;
    emit_insn(&b->e, &enc);
}

/* Pushes a register that operand_stack leaves alone (a guest register, or r9). */
static void push_reg(struct block *b, const struct insn *in, unsigned reg, unsigned size) {
    struct memref m = operand_stack(b, in, -(int32_t)size, size, ACCESS_WRITE);
    store_sized(b, &m, reg, size);
    b->esp -= (int32_t)size;
}

void e_push_reg(struct block *b, const struct insn *in) {
    push_reg(b, in, host_gpr(in->z.opcode & 7u), slot_size(in));
}

static int32_t immediate(const struct insn *in) { return (int32_t)in->z.raw.imm[0].value.s; }

void e_push_imm(struct block *b, const struct insn *in) {
    unsigned size = slot_size(in);
    struct memref m = operand_stack(b, in, -(int32_t)size, size, ACCESS_WRITE);
    struct encoding enc = {.opcode = 0xc7, .has_modrm = true, .mem = &m};
    if (block_is_live(b, in)) {
        block_load_live(b, in, R9);
        store_sized(b, &m, R9, size);
    } else {
        if (size == 2)
            enc.legacy[enc.legacy_count++] = 0x66;
        emit_insn(&b->e, &enc);
        emit_bytes(&b->e, (const uint8_t *)&(int32_t){immediate(in)}, size);
    }
    b->esp -= (int32_t)size;
}

void e_push_rm(struct block *b, const struct insn *in) {
    unsigned size = slot_size(in);
    if (in->z.raw.modrm.mod == 3) {
        push_reg(b, in, host_gpr(in->z.raw.modrm.rm), size);
        return;
    }
    /* Two addresses in turn: the checked path calls out, so the value waits in result. */
    struct memref from = operand_memory(b, in, 0), keep = CPU_FIELD(result);
    load_sized(b, R9, &from, size);
    if (block_calls_out(b, SEG_SS)) {
        emit_store(&b->e, &keep, R9);
        struct memref to = operand_stack(b, in, -(int32_t)size, size, ACCESS_WRITE);
        emit_load(&b->e, R9, &keep);
        store_sized(b, &to, R9, size);
        block_add_esp(b, -(int32_t)size);
        return;
    }
    push_reg(b, in, R9, size);
}

void e_push_seg(struct block *b, const struct insn *in) {
    unsigned segment = in->z.opcode_map == ZYDIS_OPCODE_MAP_0F ? (in->z.opcode == 0xa0 ? SEG_FS : SEG_GS)
                                                               : in->z.opcode >> 3 & 3u;
    /* Two bytes of the slot are written, as recent processors do it (SDM vol. 2B, PUSH). */
    unsigned size = slot_size(in);
    struct memref m = operand_stack(b, in, -(int32_t)size, 2, ACCESS_WRITE);
    struct memref selector = mem_cpu((uint32_t)(__builtin_offsetof(struct cpu, seg) +
                                                segment * sizeof(struct segment)));
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = R9,
                             .mem = &selector};
    emit_insn(&b->e, &movzx);
    store_sized(b, &m, R9, 2);
    block_add_esp(b, -(int32_t)size);
}

void e_pop_reg(struct block *b, const struct insn *in) {
    unsigned reg = host_gpr(in->z.opcode & 7u), size = slot_size(in);
    struct memref m = operand_stack(b, in, 0, size, ACCESS_READ);
    if (reg != REG_GUEST_ESP) {
        load_sized(b, reg, &m, size);
        b->esp += (int32_t)size;
        return;
    }
    /* POP ESP: the popped value wins; POP SP replaces the low half of the incremented ESP. */
    if (size == 4) {
        load_sized(b, reg, &m, size);
        return;
    }
    load_sized(b, R9, &m, size);
    block_add_esp(b, (int32_t)size);
    struct encoding mov = {.opcode = 0x8b, .has_modrm = true, .reg = REG_GUEST_ESP, .rm = R9,
                           .legacy = {0x66}, .legacy_count = 1};
    emit_insn(&b->e, &mov);
}

/* With a 16-bit stack only SP is incremented, and may wrap in an address that has all of ESP. */
static struct memref pop_destination(struct block *b, const struct insn *in, unsigned size) {
    bool from_esp = !in->addr16 && in->z.raw.modrm.rm == 4 && in->z.raw.sib.base == ESP;
    if (!(b->req->mode & MODE_STACK16) || !from_esp)
        return operand_memory(b, in, (int32_t)size);
    struct memref above = {.base = R11, .index = NO_REG, .disp = (int32_t)size};
    struct encoding lea = {.opcode = 0x8d, .has_modrm = true, .reg = R11, .mem = &above,
                           .legacy = {0x66}, .legacy_count = 1};
    emit_mov_reg_reg(&b->e, R11, REG_GUEST_ESP);
    emit_insn(&b->e, &lea);
    struct memref ea = operand_effective(b, in, 0);
    ea.base = R11;
    return operand_sum(b, in, ea, size, ACCESS_WRITE, false);
}

void e_pop_rm(struct block *b, const struct insn *in) {
    unsigned size = slot_size(in);
    struct memref m = operand_stack(b, in, 0, size, ACCESS_READ), keep = CPU_FIELD(result);
    load_sized(b, R9, &m, size);
    if (in->z.raw.modrm.mod == 3) {
        block_add_esp(b, (int32_t)size);
        struct encoding mov = {.opcode = 0x8b, .has_modrm = true, .rm = R9,
                               .reg = (uint8_t)host_gpr(in->z.raw.modrm.rm)};
        if (size == 2)
            mov.legacy[mov.legacy_count++] = 0x66;
        emit_insn(&b->e, &mov);
        return;
    }
    /* An ESP-relative destination is computed with the incremented ESP (SDM vol. 2B, POP). */
    emit_store(&b->e, &keep, R9);
    struct memref to = pop_destination(b, in, size);
    emit_load(&b->e, R9, &keep);
    store_sized(b, &to, R9, size);
    block_add_esp(b, (int32_t)size);
}

/* Where slots wrap or are checked one by one, C code does it. */
static bool frame_calls_out(const struct block *b) {
    return b->req->mode & MODE_STACK16 || block_segment_class(b, SEG_SS) >= SEGMENT_GENERAL;
}

void e_pusha(struct block *b, const struct insn *in) {
    if (frame_calls_out(b)) {
        block_callout(b, in, CALLOUT_pusha, in->opsize16 ? CALLOUT_ARG16 : 0);
        return;
    }
    unsigned size = slot_size(in);
    for (unsigned i = 0; i < 8; i++) {
        int32_t at = -(int32_t)(size * (i + 1));
        struct memref m = operand_stack(b, in, at, size, ACCESS_WRITE);
        store_sized(b, &m, host_gpr(i), size);
    }
    block_add_esp(b, -(int32_t)(8 * size));
}

/* EDI first. A fault on a later slot leaves what was popped in the registers and ESP as it was, as
 * on processors: POPA can then be done again. */
void e_popa(struct block *b, const struct insn *in) {
    if (frame_calls_out(b)) {
        block_callout(b, in, CALLOUT_popa, in->opsize16 ? CALLOUT_ARG16 : 0);
        return;
    }
    unsigned size = slot_size(in);
    for (unsigned i = 0; i < 8; i++) {
        unsigned gpr = 7 - i; /* ESP's slot is read for nothing */
        struct memref m = operand_stack(b, in, (int32_t)(size * i), size, ACCESS_READ);
        load_sized(b, gpr == ESP ? R9 : gpr, &m, size);
    }
    block_add_esp(b, (int32_t)(8 * size));
}

/* The image of EFLAGS is a sum of disjoint bits: what the host holds (its IF and bit 1 are
 * always set), the virtual IF and the rest. LEA adds without touching flags. VM and RF read as
 * zero (SDM vol. 2B, PUSHF). */
void e_pushf(struct block *b, const struct insn *in) {
    if (b->req->mode & MODE_VM86) { /* IOPL decides */
        block_callout(b, in, CALLOUT_pushf, in->opsize16 ? CALLOUT_ARG16 : 0);
        return;
    }
    unsigned size = slot_size(in);
    struct memref iflag = CPU_FIELD(iflag), sys = CPU_FIELD(sys_flags);
    struct memref m = operand_stack(b, in, -(int32_t)size, size, ACCESS_WRITE);
    struct memref add_iflag = {.base = R9, .index = R8, .disp = -(int32_t)FL_IF};
    struct memref add_sys = {.base = R9, .index = R8};
    emit8(&b->e, 0x9c);                                 /* pushfq */
    emit_bytes(&b->e, (const uint8_t[]){0x41, 0x59}, 2); /* pop r9 */
    emit_load(&b->e, R8, &iflag);
    emit_lea(&b->e, R9, &add_iflag);
    emit_load(&b->e, R8, &sys);
    emit_lea(&b->e, R9, &add_sys);
    store_sized(b, &m, R9, size);
    block_add_esp(b, -(int32_t)size);
}

void e_leave(struct block *b, const struct insn *in) {
    unsigned size = slot_size(in);
    struct memref frame = {.base = RBP, .index = NO_REG};
    struct insn through_ss = *in;
    bool narrow = b->req->mode & MODE_STACK16;
    through_ss.segment = SEG_SS;
    through_ss.hint = HINT_SECOND(in->hint);
    if (narrow)
        frame = operand_cut16(b, frame);
    struct memref m = operand_sum(b, &through_ss, frame, size, ACCESS_READ, narrow);
    struct memref above = {.base = RBP, .index = NO_REG, .disp = (int32_t)size};
    struct encoding lea = {.opcode = 0x8d, .has_modrm = true, .reg = REG_GUEST_ESP, .mem = &above};
    if (narrow)
        lea.legacy[lea.legacy_count++] = 0x66;
    load_sized(b, R9, &m, size);
    emit_insn(&b->e, &lea);
    struct encoding mov = {.opcode = 0x8b, .has_modrm = true, .reg = RBP, .rm = R9};
    if (size == 2)
        mov.legacy[mov.legacy_count++] = 0x66;
    emit_insn(&b->e, &mov);
}

void e_enter(struct block *b, const struct insn *in) {
    uint32_t bytes = (uint32_t)in->bytes[in->imm_at + 1] << 8 | in->bytes[in->imm_at];
    uint32_t level = in->bytes[in->imm_at + 2] & 31u;
    if (level || in->opsize16 || b->req->mode & MODE_STACK16) {
        block_callout(b, in, CALLOUT_enter,
                      bytes << 8 | level | (in->opsize16 ? CALLOUT_ARG16 : 0));
        return;
    }
    struct memref m = operand_stack(b, in, -4, 4, ACCESS_WRITE);
    struct memref frame = {.base = REG_GUEST_ESP, .index = NO_REG, .disp = -4};
    store_sized(b, &m, RBP, 4);
    if (bytes) { /* a write where ESP will stand must not fault (SDM vol. 2A, ENTER) */
        struct memref last = operand_stack(b, in, -4 - (int32_t)bytes, 4, ACCESS_WRITE);
        struct encoding xchg = {.opcode = 0x87, .has_modrm = true, .reg = R9, .mem = &last};
        emit_insn(&b->e, &xchg); /* twice: a write that leaves what was there, and no read before it */
        emit_insn(&b->e, &xchg);
    }
    emit_lea(&b->e, RBP, &frame);
    block_add_esp(b, -4 - (int32_t)bytes);
}
