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
