/* What stands before an instruction at somebody's wish: counters, samples, calls.
 *
 * All of it leaves flags and guest registers as they are, so it consists of MOV, LEA and JRCXZ on
 * r8-r11 (and ecx for a moment). ESP is settled before a call. */
#include "translator/block.h"

/* r10 = [cell] + by, and back; r11 is the cell. */
static void add_to_cell(struct emit *e, uint64_t cell, int32_t by) {
    struct memref at = {.base = R11, .index = NO_REG};
    struct memref sum = {.base = R10, .index = NO_REG, .disp = by};
    emit_bytes(e, (const uint8_t[]){0x49, 0xbb}, 2); /* mov r11, imm64 */
    emit64(e, cell);
    emit_load64(e, R10, &at);
    emit_lea64(e, R10, &sum);
    emit_store64(e, &at, R10);
}

static void call(struct block *b, uint32_t offset, uint32_t site) {
    struct insn here = {.eip = b->req->eip + offset, .next_eip = b->req->eip + offset};
    block_callout(b, &here, CALLOUT_instrument, site);
}

/* The cell counts down; at zero comes the call, which sets it anew. */
static void sample(struct block *b, uint32_t offset, const struct insn_probe *probe) {
    struct emit *e = &b->e;
    add_to_cell(e, probe->cell, -1);
    emit_mov_reg_reg(e, R8, RCX);
    emit_bytes(e, (const uint8_t[]){0x4c, 0x89, 0xd1}, 3); /* mov rcx, r10 */
    uint8_t *zero = emit_short_jump(e, 0xe3);
    emit_mov_reg_reg(e, RCX, R8);
    uint8_t *past = emit_short_jump(e, 0xeb);
    emit_short_land(e, zero);
    emit_mov_reg_reg(e, RCX, R8);
    call(b, offset, probe->site);
    emit_short_land(e, past);
}

bool probes_call(const struct block *b, unsigned insn) {
    for (unsigned i = 0; i < b->req->probe_count; i++)
        if (b->req->probes[i].insn == insn && b->req->probes[i].kind != PROBE_COUNT)
            return true;
    return false;
}

uint32_t probes_room(const struct block *b, unsigned insn) {
    uint32_t room = 0;
    for (unsigned i = 0; i < b->req->probe_count; i++)
        room += b->req->probes[i].insn == insn ? PROBE_CODE_MAX : 0;
    return room;
}

void probes_emit(struct block *b, unsigned insn, uint32_t offset) {
    for (unsigned i = 0; i < b->req->probe_count; i++) {
        const struct insn_probe *probe = &b->req->probes[i];
        if (probe->insn != insn)
            continue;
        if (probe->kind == PROBE_COUNT)
            add_to_cell(&b->e, probe->cell, 1);
        else if (probe->kind == PROBE_SAMPLE)
            sample(b, offset, probe);
        else
            call(b, offset, probe->site);
    }
}
