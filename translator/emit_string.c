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

static bool is_move_or_fill(const struct insn *in) {
    unsigned family = in->z.opcode & 0xfeu;
    return family == 0xa4 || family == 0xaa;
}

static void rebase(struct block *b, unsigned pointer, unsigned hint) {
    unsigned window = REG_WINDOW;
    if ((b->req->mode & MODE_CPL) != 3 && hint != WINDOW_SUPER) {
        operand_window(b, R10, pointer, hint);
        window = R10;
    }
    struct memref sum = {.base = (uint8_t)pointer, .index = (uint8_t)window};
    emit_lea64(&b->e, pointer, &sum);
}

/* Both pointers become host pointers for one host instruction; the guest's wait in r8d and r9d. */
static void keep_pointers(struct block *b) {
    emit_mov_reg_reg(&b->e, R8, RSI);
    emit_mov_reg_reg(&b->e, R9, RDI);
    b->undo = UNDO_POINTERS;
}

/* The 64-bit host address of a linear address: in `to`, from r11d or r10d. */
static void point_into_window(struct block *b, unsigned to, unsigned from, unsigned hint) {
    struct memref sum = {.base = (uint8_t)from, .index = (uint8_t)to};
    operand_window(b, to, from, hint);
    emit_lea64(&b->e, to, &sum);
}

/* Behind the instruction `pointer` has moved by one element, up or down, from the linear address
 * that its offset stood for. The base is taken off again, x - y being ~(~x + y), and only the
 * low half goes back where addresses have 16 bits. */
static void take_base_off(struct block *b, const struct insn *in, unsigned pointer, unsigned segment,
                          unsigned kept) {
    struct memref base = mem_cpu((uint32_t)(__builtin_offsetof(struct cpu, seg) +
                                            segment * sizeof(struct segment) +
                                            __builtin_offsetof(struct segment, base)));
    struct memref sum = {.base = (uint8_t)pointer, .index = R10};
    struct encoding invert = {.opcode = 0xf7, .has_modrm = true, .reg = 2, .rm = (uint8_t)pointer};
    struct encoding low = {.opcode = 0x8b, .has_modrm = true, .reg = (uint8_t)kept,
                           .rm = (uint8_t)pointer, .legacy = {0x66}, .legacy_count = 1};
    emit_load(&b->e, R10, &base);
    emit_insn(&b->e, &invert);
    emit_lea(&b->e, pointer, &sum);
    emit_insn(&b->e, &invert);
    if (!in->addr16)
        return;
    emit_insn(&b->e, &low);
    emit_mov_reg_reg(&b->e, pointer, kept);
}

static void linear_pointer(struct block *b, const struct insn *in, unsigned pointer,
                           uint32_t check) {
    struct memref ea = {.base = (uint8_t)pointer, .index = NO_REG};
    if (in->addr16)
        ea = operand_cut16(b, ea);
    operand_linear_sum(b, in, check, ea, in->addr16);
}

/* One element through segments with a base. */
static void based_string(struct block *b, const struct insn *in, unsigned operands) {
    unsigned size = !(in->z.opcode & 1) ? 1 : in->opsize16 ? 2 : 4;
    bool writes = (in->z.opcode & 0xfe) == 0xa4 || (in->z.opcode & 0xfe) == 0xaa;
    enum access_kind to = writes ? ACCESS_WRITE : ACCESS_READ;
    struct memref keep = CPU_FIELD(result);
    if (operands & SOURCE)
        linear_pointer(b, in, RSI, CHECK_ARG(size, ACCESS_READ, in->segment));
    if (operands == (SOURCE | DESTINATION))
        emit_store(&b->e, &keep, R11);
    if (operands & DESTINATION)
        linear_pointer(b, in, RDI, CHECK_ARG(size, to, SEG_ES));
    keep_pointers(b);
    if (operands & DESTINATION)
        point_into_window(b, RDI, R11, HINT_SECOND(in->hint));
    if (operands == (SOURCE | DESTINATION))
        emit_load(&b->e, R11, &keep);
    if (operands & SOURCE)
        point_into_window(b, RSI, R11, HINT_OPERAND(in->hint));
    struct encoding enc = {.opcode = in->z.opcode};
    if (size == 2)
        enc.legacy[enc.legacy_count++] = 0x66;
    emit_insn(&b->e, &enc);
    if (operands & SOURCE)
        take_base_off(b, in, RSI, in->segment, R8);
    if (operands & DESTINATION)
        take_base_off(b, in, RDI, SEG_ES, R9);
}

/* Element by element, with every check, in a callout. */
static void checked_string(struct block *b, const struct insn *in) {
    uint32_t arg = in->z.opcode | (uint32_t)in->segment << 8 | (in->opsize16 ? CALLOUT_ARG16 : 0);
    arg |= in->rep ? CALLOUT_STRING_REPE : in->repne ? CALLOUT_STRING_REPNE : 0;
    arg |= in->addr16 ? CALLOUT_STRING_ADDR16 : 0;
    block_callout(b, in, CALLOUT_string, arg);
}

/* The worst class among the segments that it goes through. */
static enum segment_class string_class(const struct block *b, const struct insn *in,
                                       unsigned operands) {
    enum segment_class source = operands & SOURCE ? block_segment_class(b, in->segment) : SEGMENT_FLAT;
    enum segment_class to = operands & DESTINATION ? block_segment_class(b, SEG_ES) : SEGMENT_FLAT;
    if (source == SEGMENT_GENERAL || to == SEGMENT_GENERAL)
        return SEGMENT_GENERAL;
    return source > to ? source : to;
}

static void plain_string(struct block *b, const struct insn *in) {
    struct encoding enc = {.opcode = in->z.opcode};
    if (in->opsize16)
        enc.legacy[enc.legacy_count++] = 0x66;
    if (in->rep || in->repne)
        enc.legacy[enc.legacy_count++] = in->rep ? 0xf3 : 0xf2;
    emit_insn(&b->e, &enc);
}

/* Behind the choice of a loop for fewer than REPEAT_SHORT elements. ECX is tested without flags: eight times it, less its
 * lowest byte, is zero. */
#define REPEAT_SHORT 32u
static uint8_t *jump_if_short(struct block *b) {
    _Static_assert(REPEAT_SHORT * 8 == 256, "what is left when the lowest byte is gone");
    struct memref times8 = {.base = NO_REG, .index = RCX, .scale = 3};
    struct memref scratch = CPU_FIELD(bit_offset), beyond = scratch;
    beyond.disp += 1;
    emit_mov_reg_reg(&b->e, R8, RCX);
    emit_lea64(&b->e, RCX, &times8);
    emit_store64(&b->e, &scratch, RCX);
    emit_load(&b->e, RCX, &beyond);
    uint8_t *is_short = emit_short_jump(&b->e, 0xe3); /* jrcxz */
    emit_mov_reg_reg(&b->e, RCX, R8);
    return is_short;
}

/* REP MOVS and REP STOS. What a kernel's entry copies are a few words that were just pushed, one by one: the host's REP
 * begins slowly, and waits for such stores to reach the cache. A few elements are moved one after the other; where one
 * faults, ECX, ESI and EDI are what they are within a REP. */
static void repeat_string(struct block *b, const struct insn *in) {
    struct insn once = *in;
    struct memref less = {.base = RCX, .index = NO_REG, .disp = -1};
    once.rep = once.repne = false;
    uint8_t *is_short = jump_if_short(b);
    plain_string(b, in);
    uint8_t *done = emit_short_jump(&b->e, 0xeb);
    emit_short_land(&b->e, is_short);
    emit_mov_reg_reg(&b->e, RCX, R8);
    const uint8_t *loop = b->e.at;
    uint8_t *done_too = emit_short_jump(&b->e, 0xe3);
    plain_string(b, &once);
    emit_lea(&b->e, RCX, &less);
    emit8(&b->e, 0xeb);
    emit8(&b->e, (uint8_t)(loop - b->e.at - 1));
    emit_short_land(&b->e, done);
    emit_short_land(&b->e, done_too);
}

static void move_or_fill(struct block *b, const struct insn *in) {
    if ((in->rep || in->repne) && !(b->req->mode & MODE_CPL))
        repeat_string(b, in);
    else
        plain_string(b, in);
}

/* MOVS and STOS past the windows (WINDOW_PAST), with host pointers that a callout finds. */
static bool string_past_windows(struct block *b, const struct insn *in, unsigned operands) {
    struct memref from = CPU_FIELD(result), to = CPU_FIELD(result2);
    struct memref from_host = mem_cpu((uint32_t)__builtin_offsetof(struct cpu, reached));
    struct memref to_host = mem_cpu((uint32_t)__builtin_offsetof(struct cpu, reached2));
    bool repeats = in->rep || in->repne;
    if (!operand_goes_past(b, in) || !is_move_or_fill(in))
        return false;
    if (repeats)
        emit8(&b->e, 0x67);
    uint8_t *nothing = repeats ? emit_short_jump(&b->e, 0xe3) : NULL; /* jecxz: what copies to a boundary often has none */
    block_callout(b, in, CALLOUT_reach_string,
                  in->z.opcode | (repeats ? CALLOUT_STRING_REPE : 0) | (in->opsize16 ? CALLOUT_ARG16 : 0));
    if (operands & SOURCE)
        emit_load64(&b->e, RSI, &from_host);
    emit_load64(&b->e, RDI, &to_host);
    move_or_fill(b, in);
    if (operands & SOURCE)
        emit_load(&b->e, RSI, &from);
    emit_load(&b->e, RDI, &to);
    emit_short_land(&b->e, nothing);
    return true;
}

void e_string(struct block *b, const struct insn *in) {
    unsigned operands = string_operands(in->z.opcode);
    bool repeats = in->rep || in->repne;
    bool stepped = repeats && b->req->mode & MODE_TF; /* a trap an iteration */
    enum segment_class cls = string_class(b, in, operands);
    bool inside = cls == SEGMENT_FLAT || cls == SEGMENT_BASED || (cls == SEGMENT_64K && in->addr16);
    if (!block_checked(b) && !repeats && inside && (cls != SEGMENT_FLAT || in->addr16)) {
        based_string(b, in, operands);
        return;
    }
    if (block_checked(b) || in->addr16 || stepped || cls != SEGMENT_FLAT) {
        checked_string(b, in);
        return;
    }
    if (string_past_windows(b, in, operands))
        return;
    if (operands & SOURCE)
        rebase(b, RSI, HINT_OPERAND(in->hint));
    if (operands & DESTINATION)
        rebase(b, RDI, HINT_SECOND(in->hint));
    if (is_move_or_fill(in))
        move_or_fill(b, in);
    else
        plain_string(b, in);
    if (operands & SOURCE)
        emit_mov_reg_reg(&b->e, RSI, RSI);
    if (operands & DESTINATION)
        emit_mov_reg_reg(&b->e, RDI, RDI);
}

/* MASKMOVQ, MASKMOVDQU, VMASKMOVDQU store to DS:[EDI]. All the bytes are checked, masked or not, and
 * alignment to eight. */
void e_maskmov(struct block *b, const struct insn *in) {
    struct insn plain = *in;
    plain.addr16 = false;
    if (!block_checked(b) && block_segment_class(b, in->segment) == SEGMENT_FLAT && !in->addr16) {
        rebase(b, RDI, HINT_OPERAND(in->hint));
        e_ident(b, &plain);
        emit_mov_reg_reg(&b->e, RDI, RDI);
        return;
    }
    if (block_unit_off(b, in))
        return;
    unsigned size = in->row->unit == UNIT_MMX ? 8 : 16;
    linear_pointer(b, in, RDI, CHECK_ARG(size, ACCESS_WRITE, in->segment) | CHECK_QWORDS);
    keep_pointers(b);
    point_into_window(b, RDI, R11, HINT_OPERAND(in->hint));
    e_ident(b, &plain);
    emit_mov_reg_reg(&b->e, RDI, R9);
}
