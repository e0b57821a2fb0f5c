/* Sensitive instructions done inline on the virtual state: no call, no flag touched. */
#include "translator/block.h"

void e_cli(struct block *b, const struct insn *in) {
    struct memref iflag = CPU_FIELD(iflag);
    if (b->req->mode & MODE_CPL)
        block_callout(b, in, CALLOUT_cli, 0);
    else
        emit_store_imm(&b->e, &iflag, 0);
}

/* Interrupts are recognised after the next instruction (SDM vol. 2B, STI): it is translated into
 * the same block, which then tests for attention on every way out. */
void e_sti(struct block *b, const struct insn *in) {
    struct memref iflag = CPU_FIELD(iflag), pending = CPU_FIELD(irq_pending);
    struct memref attention = CPU_FIELD(attention);
    if (b->req->mode & MODE_CPL) {
        block_callout(b, in, CALLOUT_sti, 0);
        emit_mov_reg_imm(&b->e, REG_TARGET, in->next_eip);
        emit_jump_stub(&b->e, STUB_MISS);
        b->ended = true;
        return;
    }
    struct memref before = CPU_FIELD(if_before_sti), high = iflag;
    high.disp += 1; /* the byte that holds FL_IF */
    struct encoding load = {.map = MAP_0F, .opcode = 0xb6, .has_modrm = true, .reg = R11, .mem = &high};
    struct encoding store = {.opcode = 0x88, .has_modrm = true, .reg = R11, .mem = &before};
    emit_insn(&b->e, &load);
    emit_insn(&b->e, &store);
    emit_store_imm(&b->e, &iflag, FL_IF);
    emit_load(&b->e, R11, &pending);
    emit_store(&b->e, &attention, R11);
    b->check_exits = true;
}

static uint8_t *jump_if_any(struct block *b, unsigned reg, uint32_t bits) {
    struct encoding test = {.opcode = 0xf7, .has_modrm = true, .rm = (uint8_t)reg};
    emit_insn(&b->e, &test);
    emit32(&b->e, bits);
    return emit_short_jump(&b->e, 0x75);
}

/* The host's arithmetic flags become those of the image in r11d: SAHF loads all but OF, which the
 * addition leaves. eax waits in r9d. */
static void load_arithmetic_flags(struct block *b) {
    static const uint8_t code[] = {
        0x44, 0x8b, 0xc8,       /* mov r9d, eax */
        0x41, 0x8b, 0xc3,       /* mov eax, r11d */
        0x41, 0xc1, 0xeb, 0x0b, /* shr r11d, 11 */
        0x41, 0x83, 0xe3, 0x01, /* and r11d, 1 */
        0xc1, 0xe0, 0x08,       /* shl eax, 8 */
        0x41, 0x0b, 0xc3,       /* or eax, r11d */
        0x04, 0x7f,             /* add al, 0x7f */
        0x9e,                   /* sahf */
        0x41, 0x8b, 0xc1,       /* mov eax, r9d */
    };
    emit_bytes(&b->e, code, sizeof code);
}

/* POPFD of a kernel that changes no more than IF and the arithmetic flags, with no interrupt waiting
 * for IF: inline. Flags are free, as the image replaces them all. */
void e_popf(struct block *b, const struct insn *in) {
    uint32_t rare = MODE_CPL | MODE_REAL | MODE_VM86 | MODE_TF | MODE_DEBUG | MODE_STACK16;
    if (b->req->mode & rare || in->opsize16 || block_segment_class(b, SEG_SS) != SEGMENT_FLAT) {
        e_callout_size(b, in);
        return;
    }
    struct memref image = operand_stack(b, in, 0, 4, ACCESS_READ);
    struct memref sys_flags = CPU_FIELD(sys_flags), iflag = CPU_FIELD(iflag);
    struct memref pending = CPU_FIELD(irq_pending);
    struct encoding xor = {.opcode = 0x33, .has_modrm = true, .reg = R10, .mem = &sys_flags};
    struct encoding and_if = {.opcode = 0x81, .has_modrm = true, .reg = 4, .rm = R10};
    struct encoding none_waits = {.opcode = 0x83, .has_modrm = true, .reg = 7, .mem = &pending};
    emit_load(&b->e, R11, &image);
    emit_mov_reg_reg(&b->e, R10, R11);
    emit_insn(&b->e, &xor);
    uint8_t *changes = jump_if_any(b, R10, FL_TF | FL_IOPL | FL_NT | FL_AC | FL_ID);
    uint8_t *goes_down = jump_if_any(b, R11, FL_DF);
    emit_mov_reg_reg(&b->e, R10, R11);
    emit_insn(&b->e, &and_if);
    emit32(&b->e, FL_IF);
    uint8_t *masked = emit_short_jump(&b->e, 0x74);
    emit_insn(&b->e, &none_waits);
    emit8(&b->e, 0);
    uint8_t *waits = emit_short_jump(&b->e, 0x75);
    emit_short_land(&b->e, masked);
    emit_store(&b->e, &iflag, R10);
    emit8(&b->e, 0xfc); /* cld */
    load_arithmetic_flags(b);
    block_add_esp(b, 4);
    uint8_t *done = emit_short_jump(&b->e, 0xeb);
    emit_short_land(&b->e, changes);
    emit_short_land(&b->e, goes_down);
    emit_short_land(&b->e, waits);
    e_callout_size(b, in);
    b->ended = false;
    emit_short_land(&b->e, done);
}

void e_mov_from_seg(struct block *b, const struct insn *in) {
    unsigned segment = in->z.raw.modrm.reg;
    if (segment >= SEG_COUNT) {
        e_undefined(b, in);
        return;
    }
    struct memref selector = mem_cpu((uint32_t)(__builtin_offsetof(struct cpu, seg) +
                                                segment * sizeof(struct segment)));
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .mem = &selector};
    if (in->z.raw.modrm.mod == 3 && !in->opsize16) {
        movzx.reg = (uint8_t)host_gpr(in->z.raw.modrm.rm);
        emit_insn(&b->e, &movzx);
        return;
    }
    struct memref m;
    struct encoding store = {.opcode = 0x89, .has_modrm = true, .reg = R9, .legacy = {0x66},
                             .legacy_count = 1};
    if (in->z.raw.modrm.mod == 3) {
        store.rm = (uint8_t)host_gpr(in->z.raw.modrm.rm);
    } else {
        m = operand_memory(b, in, 0);
        store.mem = &m;
    }
    movzx.reg = R9;
    emit_insn(&b->e, &movzx);
    emit_insn(&b->e, &store);
}

void e_mov_to_sys(struct block *b, const struct insn *in) {
    emit_mov_reg_reg(&b->e, R11, host_gpr(in->z.raw.modrm.rm));
    block_callout(b, in, in->row->callout, in->z.raw.modrm.reg);
    emit_mov_reg_imm(&b->e, REG_TARGET, in->next_eip);
    exit_indirect(b);
}

static void result_to_gpr(struct block *b, const struct insn *in) {
    struct memref result = CPU_FIELD(result);
    emit_load(&b->e, host_gpr(in->z.raw.modrm.rm), &result);
}

void e_mov_from_cr(struct block *b, const struct insn *in) {
    unsigned cr = in->z.raw.modrm.reg;
    struct memref field;
    if (!(b->req->mode & MODE_CPL) && (cr == 0 || cr == 2 || cr == 3 || cr == 4)) {
        field = cr == 0   ? CPU_FIELD(paging.cr0)
                : cr == 2 ? CPU_FIELD(cr2)
                : cr == 3 ? CPU_FIELD(paging.cr3)
                          : CPU_FIELD(paging.cr4);
        emit_load(&b->e, host_gpr(in->z.raw.modrm.rm), &field);
        return;
    }
    block_callout(b, in, CALLOUT_mov_from_cr, cr);
    result_to_gpr(b, in);
}

void e_mov_from_dr(struct block *b, const struct insn *in) {
    block_callout(b, in, CALLOUT_mov_from_dr, in->z.raw.modrm.reg);
    result_to_gpr(b, in);
}

void e_rdtsc(struct block *b, const struct insn *in) {
    bool rdtscp = in->z.opcode == 0x01;
    if (rdtscp && in->z.raw.modrm.rm != 1) { /* 0F 01 F8 is SWAPGS, others are not the guest's */
        e_undefined(b, in);
        return;
    }
    if (!b->req->tsc_is_host) {
        block_callout(b, in, CALLOUT_rdtsc, rdtscp);
        return;
    }
    struct memref aux = CPU_FIELD(msr.tsc_aux);
    if (rdtscp) /* waits for what comes before it (SDM vol. 2B, RDTSCP): LFENCE does */
        emit_bytes(&b->e, (const uint8_t[]){0x0f, 0xae, 0xe8}, 3);
    emit_bytes(&b->e, (const uint8_t[]){0x0f, 0x31}, 2);
    if (rdtscp)
        emit_load(&b->e, RCX, &aux);
}
