/* String instructions and MASKMOV.
 *
 * Their ES side takes no segment override, so both pointers become 64-bit host pointers: the
 * window's base is added before and cut off behind. Windows are aligned to 4 GiB, so the low
 * halves of RSI and RDI are the guest's at any moment, and a fault in the middle of a REP needs
 * no undoing. Bases are chosen per operand, once per instruction. */
#include "translator/block.h"

#define SOURCE 1u
#define DESTINATION 2u

static unsigned string_operands(uint8_t opcode) {
    switch (opcode & 0xfeu) {
    case 0xa4: case 0xa6: return SOURCE | DESTINATION; /* MOVS, CMPS */
    case 0xac: return SOURCE;                          /* LODS */
    default: return DESTINATION;                       /* STOS, SCAS */
    }
}

static void rebase(struct block *b, unsigned pointer, unsigned hint) {
    unsigned window = REG_USER_WINDOW;
    if ((b->req->mode & MODE_CPL) != 3 && hint != WINDOW_USER) {
        operand_window(b, R10, pointer, hint);
        window = R10;
    }
    struct memref sum = {.base = (uint8_t)pointer, .index = (uint8_t)window};
    emit_lea64(&b->e, pointer, &sum);
}

/* Element by element, with every check, in a callout. */
static void checked_string(struct block *b, const struct insn *in) {
    uint32_t arg = in->z.opcode | (uint32_t)in->segment << 8 | (in->opsize16 ? CALLOUT_ARG16 : 0);
    arg |= in->rep ? CALLOUT_STRING_REPE : in->repne ? CALLOUT_STRING_REPNE : 0;
    arg |= in->addr16 ? CALLOUT_STRING_ADDR16 : 0;
    block_callout(b, in, CALLOUT_string, arg);
}

void e_string(struct block *b, const struct insn *in) {
    unsigned operands = string_operands(in->z.opcode);
    bool stepped = (in->rep || in->repne) && b->req->mode & MODE_TF; /* a trap an iteration */
    bool flat = !block_checked(b) && !in->addr16 && !stepped;
    if (operands & SOURCE)
        flat = flat && block_segment_class(b, in->segment) == SEGMENT_FLAT;
    if (operands & DESTINATION)
        flat = flat && block_segment_class(b, SEG_ES) == SEGMENT_FLAT;
    if (!flat) {
        checked_string(b, in);
        return;
    }
    if (operands & SOURCE)
        rebase(b, RSI, HINT_OPERAND(in->hint));
    if (operands & DESTINATION)
        rebase(b, RDI, HINT_SECOND(in->hint));
    struct encoding enc = {.opcode = in->z.opcode};
    if (in->opsize16)
        enc.legacy[enc.legacy_count++] = 0x66;
    if (in->rep || in->repne)
        enc.legacy[enc.legacy_count++] = in->rep ? 0xf3 : 0xf2;
    emit_insn(&b->e, &enc);
    if (operands & SOURCE)
        emit_mov_reg_reg(&b->e, RSI, RSI);
    if (operands & DESTINATION)
        emit_mov_reg_reg(&b->e, RDI, RDI);
}

/* MASKMOVQ, MASKMOVDQU, VMASKMOVDQU store to DS:[EDI]. */
void e_maskmov(struct block *b, const struct insn *in) {
    if (block_checked(b) || block_segment_class(b, in->segment) != SEGMENT_FLAT || in->addr16) {
        block_refuse(b, in, REFUSE_masked_store);
        return;
    }
    rebase(b, RDI, HINT_OPERAND(in->hint));
    struct insn plain = *in;
    plain.addr16 = false;
    e_ident(b, &plain);
    emit_mov_reg_reg(&b->e, RDI, RDI);
}
