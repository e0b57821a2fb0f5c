/* Where an operand lies: effective address -> linear address -> host memory.
 *
 * This file is the whole of "how an effective address becomes a host address": segments (flat:
 * nothing; based: the base is added, 67h wraps; others: a checking callout) and windows (GS, or
 * the user window in r14, or a choice by address). */
#include <assert.h>

#include "translator/block.h"

static struct memref window_relative(struct memref ea) {
    ea.gs = ea.addr32 = true;
    return ea;
}

enum segment_class block_segment_class(const struct block *b, unsigned segment) {
    uint32_t mode = b->req->mode;
    switch (segment) {
    case SEG_CS: return SEGMENT_GENERAL; /* data in code segments: readable or not is checked */
    case SEG_DS: return mode & MODE_GENERAL_DS ? SEGMENT_GENERAL : SEGMENT_FLAT;
    case SEG_ES: return mode & MODE_GENERAL_ES ? SEGMENT_GENERAL : SEGMENT_FLAT;
    case SEG_SS: return mode & MODE_GENERAL_SS ? SEGMENT_GENERAL : SEGMENT_FLAT;
    case SEG_FS: return (enum segment_class)(mode >> MODE_FS_SHIFT & 3u);
    default: return (enum segment_class)(mode >> MODE_GS_SHIFT & 3u);
    }
}

/* 16-bit addressing (SDM vol. 2A, table 2-1): the sum is taken to 16 bits in r11d. */
static struct memref effective16(struct block *b, const struct insn *in) {
    static const uint8_t bases[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
    static const uint8_t indexes[8] = {ESI, EDI, ESI, EDI, NO_REG, NO_REG, NO_REG, NO_REG};
    unsigned rm = in->z.raw.modrm.rm;
    struct memref sum = {.base = bases[rm], .index = indexes[rm],
                         .disp = (int32_t)in->z.raw.disp.value};
    if (rm == 6 && in->z.raw.modrm.mod == 0)
        return (struct memref){.base = NO_REG, .index = NO_REG,
                               .disp = (int32_t)(in->z.raw.disp.value & 0xffff)};
    emit_lea(&b->e, R11, &sum);
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = R11, .rm = R11};
    emit_insn(&b->e, &movzx);
    return (struct memref){.base = R11, .index = NO_REG};
}

struct memref operand_effective(struct block *b, const struct insn *in, int32_t esp_bias) {
    const ZydisDecodedInstruction *z = &in->z;
    assert((z->attributes & ZYDIS_ATTRIB_HAS_MODRM) && z->raw.modrm.mod != 3);
    if (z->address_width == 16)
        return effective16(b, in);
    struct memref m = {.base = NO_REG, .index = NO_REG, .disp = (int32_t)z->raw.disp.value};
    unsigned rm = z->raw.modrm.rm;
    if (rm != 4) {
        if (rm != EBP || z->raw.modrm.mod != 0)
            m.base = (uint8_t)rm;
        return m;
    }
    unsigned base = z->raw.sib.base;
    if (base != EBP || z->raw.modrm.mod != 0)
        m.base = (uint8_t)host_gpr(base);
    if (base == ESP)
        m.disp += esp_bias + b->esp;
    if (z->raw.sib.index != 4) {
        m.index = z->raw.sib.index;
        m.scale = z->raw.sib.scale;
    }
    return m;
}

static uint32_t segment_field(unsigned segment) {
    return (uint32_t)(__builtin_offsetof(struct cpu, seg) + segment * sizeof(struct segment) +
                      __builtin_offsetof(struct segment, base));
}

/* Adds a segment base to `ea`: in r10d, and r11d where the sum needs both. */
static struct memref add_base(struct block *b, unsigned segment, struct memref ea) {
    struct memref base = mem_cpu(segment_field(segment));
    if (ea.base != NO_REG && ea.index != NO_REG) {
        emit_lea(&b->e, R11, &ea);
        ea = (struct memref){.base = R11, .index = NO_REG};
    }
    emit_load(&b->e, R10, &base);
    if (ea.base != NO_REG) {
        ea.index = ea.base;
        ea.scale = 0;
    }
    ea.base = R10;
    return ea;
}

static bool waits_for_x87(const struct insn *in) {
    bool d9 = in->z.opcode == 0xd9, dd = in->z.opcode == 0xdd;
    if (in->row->unit == UNIT_X87) /* all but FNSTENV, FNSTCW, FNSAVE, FNSTSW */
        return !((d9 || dd) && in->z.raw.modrm.reg >= 6);
    bool plain = !in->opsize16 && !in->rep && !in->repne; /* PSHUFW, PINSRW of MMX */
    bool mmx = in->row->unit == UNIT_SSE && in->row->map == 1 &&
               ((plain && (in->z.opcode == 0x70 || in->z.opcode == 0xc4)) ||
                (!in->rep && !in->repne && (in->z.opcode & 0xfeu) == 0x2c)); /* CVT(T)Px2PI */
    return in->row->unit == UNIT_MMX || mmx;
}

static bool is_far_pointer(const struct insn *in) {
    return in->row->emit == e_load_far || in->row->callout == CALLOUT_call_far_mem ||
           in->row->callout == CALLOUT_jmp_far_mem;
}

/* The checking callout: limits, rights, alignment, data breakpoints. The linear address comes back in result2, and
 * from there in r11d. */
static struct memref checked(struct block *b, const struct insn *in, unsigned segment,
                             struct memref ea, unsigned size, enum access_kind kind) {
    emit_lea(&b->e, R11, &ea);
    if (waits_for_x87(in))
        emit8(&b->e, 0x9b); /* FWAIT: a pending x87 exception comes before the operand's faults */
    bool words = in->opsize16 && is_far_pointer(in); /* m16:16 */
    block_callout(b, in, CALLOUT_check, CHECK_ARG(size, kind, segment) | (words ? CHECK_WORDS : 0));
    struct memref result = CPU_FIELD(result2);
    emit_load(&b->e, R11, &result);
    return (struct memref){.base = R11, .index = NO_REG};
}

/* What the state-saving instructions reach. */
static bool state_area(const struct insn *in, unsigned *size, enum access_kind *kind) {
    *kind = ACCESS_WRITE;
    switch (in->row->callout) {
    case CALLOUT_fxrstor: *kind = ACCESS_READ; *size = 512; return true;
    case CALLOUT_fxsave: *size = 512; return true;
    case CALLOUT_xrstor: *kind = ACCESS_READ; *size = 576; return true;
    case CALLOUT_xsave: *size = 576; return true;
    case CALLOUT_fnsave: *size = in->opsize16 ? 94 : 108; return true;
    case CALLOUT_fnstenv: *size = in->opsize16 ? 14 : 28; return true;
    default: return false;
    }
}

/* CLFLUSH and CLFLUSHOPT read a byte of their line. */
static bool is_flush(const struct insn *in) {
    return in->row->map == 1 && in->z.opcode == 0xae && in->z.raw.modrm.reg == 7;
}

/* Size and kind of the explicit memory operand: only the checked path asks. */
static void explicit_access(const struct insn *in, unsigned *size, enum access_kind *kind) {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    if (state_area(in, size, kind))
        return;
    *size = 1;
    *kind = ACCESS_READ;
    if (in->row->emit == e_ident && is_flush(in)) {
        *kind = ACCESS_FETCH;
        return;
    }
    if (in->row->emit == e_bound) { /* the lower bound; the handler looks at the upper one */
        *size = in->opsize16 ? 2 : 4;
        return;
    }
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, in->bytes, in->len, &z, operands)))
        return;
    for (unsigned i = 0; i < z.operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY ||
            operands[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            continue;
        *size = operands[i].size / 8u ? operands[i].size / 8u : 1;
        if (operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE && !in->reads)
            *kind = ACCESS_WRITE;
        return;
    }
}

void operand_window(struct block *b, unsigned to, unsigned reg, unsigned hint) {
    struct memref super = CPU_FIELD(super_window), user = CPU_FIELD(user_window);
    if ((b->req->mode & MODE_CPL) == 3 || hint == WINDOW_USER) {
        emit_load64(&b->e, to, &user);
        return;
    }
    if (hint == WINDOW_SUPER) {
        emit_load64(&b->e, to, &super);
        return;
    }
    struct memref scratch = CPU_FIELD(scratch);
    emit_store(&b->e, &scratch, reg);
    scratch.disp += 3;
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb6, .has_modrm = true, .reg = (uint8_t)to,
                             .mem = &scratch};
    emit_insn(&b->e, &movzx);
    struct memref table = CPU_FIELD(granule_window);
    table.index = (uint8_t)to;
    table.scale = 3;
    emit_load64(&b->e, to, &table);
}

/* From a linear sum to host memory. */
static struct memref to_window(struct block *b, struct memref linear, unsigned hint) {
    if ((b->req->mode & MODE_CPL) == 3 || hint == WINDOW_SUPER)
        return window_relative(linear);
    emit_lea(&b->e, R11, &linear);
    if (hint == WINDOW_USER)
        return (struct memref){.base = REG_USER_WINDOW, .index = R11};
    operand_window(b, R10, R11, hint);
    return (struct memref){.base = R10, .index = R11};
}

static struct memref linear_operand(struct block *b, const struct insn *in, int32_t esp_bias) {
    struct memref ea = operand_effective(b, in, esp_bias);
    enum segment_class cls = block_segment_class(b, in->segment);
    /* CS never is writable in protected mode, and may be execute-only: who names it is checked. */
    if (cls == SEGMENT_GENERAL || block_checked(b) || in->segment == SEG_CS) {
        unsigned size;
        enum access_kind kind;
        explicit_access(in, &size, &kind);
        return checked(b, in, in->segment, ea, size, kind);
    }
    return cls == SEGMENT_BASED ? add_base(b, in->segment, ea) : ea;
}

/* BT, BTS, BTR and BTC with a register: an offset of any size, in bits. */
static bool is_bit_string(const struct insn *in) {
    return in->row->emit == e_ident && !in->row->vex && in->row->map == 1 &&
           (in->z.opcode & 0xe7u) == 0xa3;
}

/* r10 = which 16 or 32 bits after the operand's address the offset selects. Without flags a shift
 * to the right is one to the left, by way of memory, and a byte forwards. */
static void load_bit_element(struct block *b, const struct insn *in) {
    struct memref scratch = CPU_FIELD(bit_offset), after = scratch;
    struct memref times8 = {.base = NO_REG, .index = R10, .scale = 3};
    struct memref times2 = {.base = R10, .index = R10};
    struct encoding movsx = {.opcode = 0x63, .has_modrm = true, .rex_w = true, .reg = R10,
                             .rm = (uint8_t)host_gpr(in->z.raw.modrm.reg)};
    if (in->opsize16) {
        movsx.map = MAP_0F;
        movsx.opcode = 0xbf;
    }
    emit_insn(&b->e, &movsx);
    emit_lea64(&b->e, R10, &times8);
    if (in->opsize16)
        emit_lea64(&b->e, R10, &times2);
    emit_store64(&b->e, &scratch, R10);
    after.disp += 1;
    struct encoding load = {.opcode = 0x63, .has_modrm = true, .rex_w = true, .reg = R10, .mem = &after};
    emit_insn(&b->e, &load);
}

/* Where the address must be known whole, the offset's part of it is added for the check or the
 * cut to 16 bits, and taken away again for the instruction, which adds it itself. */
static struct memref bit_string_operand(struct block *b, const struct insn *in) {
    unsigned scale = in->opsize16 ? 1 : 2;
    struct insn plain = *in;
    struct memref ea = operand_effective(b, &plain, 0);
    struct memref sum = {.base = R11, .index = R10, .scale = (uint8_t)scale};
    struct memref less = {.base = R11, .index = R10, .scale = (uint8_t)scale,
                          .disp = in->opsize16 ? 2 : 4}; /* minus x is NOT x plus one */
    emit_lea(&b->e, R11, &ea);
    load_bit_element(b, in);
    emit_lea(&b->e, R11, &sum);
    if (in->addr16) {
        struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = R11, .rm = R11};
        emit_insn(&b->e, &movzx);
    }
    ea = (struct memref){.base = R11, .index = NO_REG};
    enum segment_class cls = block_segment_class(b, in->segment);
    if (cls == SEGMENT_GENERAL || block_checked(b) || in->segment == SEG_CS) {
        bool writes = in->z.opcode != 0xa3;
        ea = checked(b, in, in->segment, ea, in->opsize16 ? 2 : 4, writes ? ACCESS_WRITE : ACCESS_READ);
    } else if (cls == SEGMENT_BASED) {
        ea = add_base(b, in->segment, ea);
    }
    emit_lea(&b->e, R11, &ea);
    unsigned hint = HINT_OPERAND(in->hint);
    bool gs = (b->req->mode & MODE_CPL) == 3 || hint == WINDOW_SUPER;
    if (!gs) {
        operand_window(b, R10, R11, hint);
        struct memref host = {.base = R10, .index = R11};
        emit_lea64(&b->e, R11, &host);
    }
    load_bit_element(b, in);
    emit_bytes(&b->e, (const uint8_t[]){0x49, 0xf7, 0xd2}, 3); /* not r10 */
    emit_lea64(&b->e, R11, &less);
    return (struct memref){.base = R11, .index = NO_REG, .gs = gs, .addr32 = gs};
}

/* The plain form is right where the whole sum wraps at 4 GiB, in one window. */
static bool is_plain_bit_string(const struct block *b, const struct insn *in) {
    enum segment_class cls = block_segment_class(b, in->segment);
    bool gs = (b->req->mode & MODE_CPL) == 3 || HINT_OPERAND(in->hint) == WINDOW_SUPER;
    return gs && !in->addr16 && !block_checked(b) && cls != SEGMENT_GENERAL && in->segment != SEG_CS;
}

struct memref operand_memory(struct block *b, const struct insn *in, int32_t esp_bias) {
    if (is_bit_string(in) && !is_plain_bit_string(b, in))
        return bit_string_operand(b, in);
    return to_window(b, linear_operand(b, in, esp_bias), HINT_OPERAND(in->hint));
}

void operand_linear(struct block *b, const struct insn *in) {
    struct memref linear = linear_operand(b, in, 0);
    emit_lea(&b->e, R11, &linear);
}

struct memref operand_stack(struct block *b, const struct insn *in, int32_t disp, unsigned size,
                            enum access_kind kind) {
    struct memref ea = {.base = REG_GUEST_ESP, .index = NO_REG, .disp = disp + b->esp};
    if (block_segment_class(b, SEG_SS) == SEGMENT_GENERAL || block_checked(b))
        ea = checked(b, in, SEG_SS, ea, size, kind);
    return to_window(b, ea, HINT_SECOND(in->hint));
}

struct memref operand_sum(struct block *b, const struct insn *in, struct memref ea, unsigned size,
                          enum access_kind kind) {
    enum segment_class cls = block_segment_class(b, in->segment);
    if (cls == SEGMENT_GENERAL || block_checked(b))
        ea = checked(b, in, in->segment, ea, size, kind);
    else if (cls == SEGMENT_BASED)
        ea = add_base(b, in->segment, ea);
    return to_window(b, ea, HINT_OPERAND(in->hint));
}
