/* Where an operand lies: effective address -> linear address -> host memory.
 *
 * This file is the whole of "how an effective address becomes a host address": segments (flat:
 * nothing; based: the base is added, 67h wraps; 64 KiB with a 16-bit offset: a callout only where
 * the access may reach beyond; others: a checking callout) and windows (GS and r14, which hold the
 * current one, the user's, or a choice by address). */
#include <assert.h>

#include "translator/block.h"

bool operand_steps(const struct insn_row *row, unsigned opcode) {
    return row->emit == e_ident && !row->vex && row->unit == UNIT_INT &&
           (row->map == 0 ? opcode == 0x8b : row->map == 1 && (opcode & 0xf6u) == 0xb6);
}

/* MOV to the register that the address is made of: a step along a chain, which somebody waits for. */
static bool is_step(const struct insn *in, const struct memref *ea) {
    return operand_steps(in->row, in->z.opcode) && operand_step_is_near(ea->index, ea->disp) &&
           ea->base == host_gpr(in->z.raw.modrm.reg);
}

/* r14 and the register come two cycles sooner than GS and the register. Such a sum does not wrap, but it
 * misses the window by less than its guards: that faults, and the site is translated again
 * (HINT_WRAPS). A displacement far below zero is an address that something is added to, and wraps.
 * Other instructions are no faster so; memory that was just written comes back sooner without an index. */
static struct memref window_relative(const struct insn *in, struct memref ea) {
    if (is_step(in, &ea) && !(in->hint & HINT_WRAPS))
        return (struct memref){.base = REG_WINDOW, .index = ea.base, .disp = ea.disp};
    ea.gs = ea.addr32 = true;
    return ea;
}

enum segment_class block_segment_class(const struct block *b, unsigned segment) {
    uint32_t mode = b->req->mode;
    switch (segment) {
    /* Protected mode: data in code segments; readable or not is checked. */
    case SEG_CS: return mode & MODE_DATA_CS ? SEGMENT_64K : SEGMENT_GENERAL;
    case SEG_DS: return (enum segment_class)(mode >> MODE_DS_SHIFT & 3u);
    case SEG_ES: return (enum segment_class)(mode >> MODE_ES_SHIFT & 3u);
    case SEG_SS: return (enum segment_class)(mode >> MODE_SS_SHIFT & 3u);
    case SEG_FS: return (enum segment_class)(mode >> MODE_FS_SHIFT & 3u);
    default: return (enum segment_class)(mode >> MODE_GS_SHIFT & 3u);
    }
}

struct memref operand_cut16(struct block *b, struct memref sum) {
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = R11, .rm = R11};
    bool is_register = sum.base != NO_REG && sum.index == NO_REG && sum.disp == 0;
    if (is_register)
        movzx.rm = sum.base;
    else
        emit_lea(&b->e, R11, &sum);
    emit_insn(&b->e, &movzx);
    return (struct memref){.base = R11, .index = NO_REG};
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
    return operand_cut16(b, sum);
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
    bool plain = !in->prefix66 && !in->rep && !in->repne; /* PSHUFW, PINSRW of MMX */
    bool mmx = in->row->unit == UNIT_SSE && in->row->map == 1 &&
               ((plain && (in->z.opcode == 0x70 || in->z.opcode == 0xc4)) ||
                (!in->rep && !in->repne && (in->z.opcode & 0xfeu) == 0x2c)); /* CVT(T)Px2PI */
    return in->row->unit == UNIT_MMX || mmx;
}

/* A pending x87 exception comes before the operand's faults. */
static void wait_for_x87(struct block *b, const struct insn *in) {
    if (waits_for_x87(in))
        emit8(&b->e, 0x9b);
}

static bool is_far_pointer(const struct insn *in) {
    return in->row->emit == e_load_far || in->row->callout == CALLOUT_call_far_mem ||
           in->row->callout == CALLOUT_jmp_far_mem;
}

/* The checking callout: limits, rights, alignment, data breakpoints. The linear address comes back in result2, and
 * from there in r11d. */
static struct memref checked(struct block *b, const struct insn *in, uint32_t arg,
                             struct memref ea) {
    struct pending_check check = {.eip = in->eip, .next_eip = in->next_eip, .arg = arg};
    emit_lea(&b->e, R11, &ea);
    wait_for_x87(b, in);
    block_check_access(&b->e, &check);
    return (struct memref){.base = R11, .index = NO_REG};
}

/* An offset of 16 bits, in a segment that has them all. The last byte's offset has bit 16 set
 * when the access reaches beyond: BSWAP brings it to where MOVZX reads it, and no flag changes. */
static struct memref inside_64k(struct block *b, const struct insn *in, uint32_t arg,
                                struct memref ea) {
    unsigned segment = CHECK_SEGMENT(arg), size = CHECK_SIZE(arg);
    struct pending_check check = {.eip = in->eip, .next_eip = in->next_eip, .arg = arg};
    bool is_constant = ea.base == NO_REG;
    if (size == 1 || (is_constant && (uint32_t)ea.disp + (size - 1) <= 0xffff))
        return add_base(b, segment, ea);
    struct memref last = {.base = R11, .index = NO_REG, .disp = (int32_t)size - 1};
    struct memref base = mem_cpu(segment_field(segment));
    wait_for_x87(b, in);
    if (is_constant)
        emit_lea(&b->e, R11, &ea);
    emit_mov_reg_reg(&b->e, R8, RCX);
    emit_lea(&b->e, RCX, &last);
    emit_bytes(&b->e, (const uint8_t[]){0x0f, 0xc9, 0x0f, 0xb6, 0xcd, 0x67}, 6);
    uint8_t *inside = emit_short_jump(&b->e, 0xe3); /* bswap ecx; movzx ecx, ch; jecxz */
    if (b->check_count < BLOCK_CHECKS_MAX) {
        emit8(&b->e, 0xe9);
        check.site = b->e.at;
        emit32(&b->e, 0);
    } else {
        emit_mov_reg_reg(&b->e, RCX, R8);
        block_check_access(&b->e, &check);
        emit_mov_reg_imm(&b->e, R10, 0);
    }
    uint8_t *done = check.site ? NULL : emit_short_jump(&b->e, 0xeb);
    emit_short_land(&b->e, inside);
    emit_mov_reg_reg(&b->e, RCX, R8);
    emit_load(&b->e, R10, &base);
    emit_short_land(&b->e, done);
    check.back = b->e.at;
    if (check.site)
        b->checks[b->check_count++] = check;
    return (struct memref){.base = R10, .index = R11};
}

/* What the state-saving instructions reach; 0: another instruction. */
static unsigned state_area(const struct insn *in, enum access_kind *kind) {
    *kind = ACCESS_WRITE;
    switch (in->row->callout) {
    case CALLOUT_fxrstor: *kind = ACCESS_READ; return 512;
    case CALLOUT_fxsave: return 512;
    case CALLOUT_xrstor: *kind = ACCESS_READ; return 576;
    case CALLOUT_xsave: return 576;
    case CALLOUT_fnsave: return in->opsize16 ? 94 : 108;
    case CALLOUT_fnstenv: return in->opsize16 ? 14 : 28;
    default: return 0;
    }
}

/* CLFLUSH and CLFLUSHOPT read a byte of their line. */
static bool is_flush(const struct insn *in) {
    return in->row->emit == e_ident && in->row->map == 1 && in->z.opcode == 0xae &&
           in->z.raw.modrm.reg == 7;
}

/* VMASKMOV and VPMASKMOV: an element that the mask leaves out is not accessed (SDM vol. 2C). */
static uint32_t masked_elements(const struct insn *in) {
    unsigned opcode = in->z.opcode;
    bool floats = opcode >= 0x2c && opcode <= 0x2f, integers = opcode == 0x8c || opcode == 0x8e;
    if (!in->row->vex || in->row->map != 2 || !(floats || integers))
        return 0;
    const uint8_t *vex = in->bytes + in->z.raw.vex.offset;
    unsigned mask = ~(vex[2] >> 3) & 7u;
    bool wide = floats ? opcode & 1 : vex[2] >> 7;
    return CHECK_MASKED | mask << CHECK_MASK_SHIFT | (wide ? CHECK_WIDE_ELEMENTS : 0);
}

/* Size and kind of the explicit memory operand: only the checked path asks. */
static uint32_t explicit_access(const struct block *b, const struct insn *in) {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const ZydisDecoder *decoder = insn_decoder(b->req->mode);
    enum access_kind kind;
    uint32_t both = 0;
    unsigned size = state_area(in, &kind);
    if (size)
        return CHECK_ARG(size, kind, in->segment);
    kind = ACCESS_READ;
    size = 1;
    if (is_flush(in))
        return CHECK_ARG(size, kind, in->segment) | CHECK_FLUSH;
    if (in->row->emit == e_bound || is_far_pointer(in)) /* the handler looks at the second item */
        return CHECK_ARG(in->opsize16 ? 2 : 4, kind, in->segment);
    if (b->req->foreign)
        b->req->foreign(b->req->opaque);
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(decoder, in->bytes, in->len, &z, operands)))
        return CHECK_ARG(size, kind, in->segment);
    for (unsigned i = 0; i < z.operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY ||
            operands[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            continue;
        if (operands[i].size / 8u)
            size = operands[i].size / 8u <= CHECK_SIZE_MAX ? operands[i].size / 8u : CHECK_SIZE_MAX;
        if (operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE && !in->reads)
            kind = ACCESS_WRITE;
        if (kind == ACCESS_WRITE && operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_READ)
            both = CHECK_READS;
        break;
    }
    return CHECK_ARG(size, kind, in->segment) | masked_elements(in) | both;
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
static struct memref to_window(struct block *b, const struct insn *in, struct memref linear, unsigned hint) {
    if ((b->req->mode & MODE_CPL) == 3 || hint == WINDOW_SUPER)
        return window_relative(in, linear);
    emit_lea(&b->e, R11, &linear);
    operand_window(b, R10, R11, hint);
    return (struct memref){.base = R10, .index = R11};
}

/* From an offset to a linear sum. `narrow`: the offset has 16 bits. */
static struct memref linear_sum(struct block *b, const struct insn *in, uint32_t arg,
                                struct memref ea, bool narrow) {
    unsigned segment = CHECK_SEGMENT(arg);
    enum segment_class cls = block_segment_class(b, segment);
    if (block_checked(b) || cls == SEGMENT_GENERAL || (cls == SEGMENT_64K && !narrow))
        return checked(b, in, arg, ea);
    if (cls == SEGMENT_64K)
        return inside_64k(b, in, arg, ea);
    return cls == SEGMENT_BASED ? add_base(b, segment, ea) : ea;
}

static struct memref linear_operand(struct block *b, const struct insn *in, int32_t esp_bias) {
    struct memref ea = operand_effective(b, in, esp_bias);
    uint32_t arg = block_calls_out(b, in->segment) ? explicit_access(b, in)
                                                   : CHECK_ARG(1, ACCESS_READ, in->segment);
    return linear_sum(b, in, arg, ea, in->addr16);
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
    unsigned scale = in->opsize16 ? 1 : 2, size = in->opsize16 ? 2 : 4;
    enum access_kind kind = in->z.opcode == 0xa3 ? ACCESS_READ : ACCESS_WRITE;
    struct memref ea = operand_effective(b, in, 0);
    struct memref sum = {.base = R11, .index = R10, .scale = (uint8_t)scale};
    struct memref less = {.base = R11, .index = R10, .scale = (uint8_t)scale,
                          .disp = (int32_t)size}; /* minus x is NOT x plus one */
    emit_lea(&b->e, R11, &ea);
    load_bit_element(b, in);
    emit_lea(&b->e, R11, &sum);
    ea = (struct memref){.base = R11, .index = NO_REG};
    if (in->addr16)
        ea = operand_cut16(b, ea);
    ea = linear_sum(b, in, CHECK_ARG(size, kind, in->segment), ea, in->addr16);
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
    bool gs = (b->req->mode & MODE_CPL) == 3 || HINT_OPERAND(in->hint) == WINDOW_SUPER;
    return gs && !in->addr16 && !block_calls_out(b, in->segment);
}

/* A kernel's FS and GS, whose classes its mode does not tell: cpu_place_segments says where they are. What such a sum cannot
 * reach, beyond 4 GiB or in segments that are not flat, faults beyond the window. */
static bool is_kernels_own(const struct block *b, const struct insn *in) {
    uint32_t others = MODE_CPL | MODE_REAL | MODE_VM86;
    return (in->segment == SEG_FS || in->segment == SEG_GS) && !(b->req->mode & others) && !block_checked(b) &&
           block_segment_class(b, in->segment) == SEGMENT_GENERAL && HINT_OPERAND(in->hint) == WINDOW_SUPER &&
           !(in->hint & HINT_WRAPS) && !in->addr16 && !is_bit_string(in);
}

static struct memref kernels_own(struct block *b, const struct insn *in, int32_t esp_bias) {
    struct memref windows[2] = {CPU_FIELD(fs_window), CPU_FIELD(gs_window)};
    struct memref window = windows[in->segment == SEG_GS];
    struct memref ea = operand_effective(b, in, esp_bias);
    bool constant = ea.base == NO_REG && ea.index == NO_REG;
    if (constant && ea.disp < 0)
        window.disp += 8;
    if (!constant)
        emit_lea(&b->e, R11, &ea);
    emit_load64(&b->e, R10, &window);
    return (struct memref){.base = R10, .index = constant ? NO_REG : R11, .disp = constant ? ea.disp : 0};
}

/* Memory that is named from ESP is the stack's, which a sparse window does map. */
static bool is_from_esp(const struct insn *in) {
    const ZydisDecodedInstruction *z = &in->z;
    return z->address_width == 32 && z->raw.modrm.rm == 4 && z->raw.sib.base == ESP;
}

bool operand_goes_past(const struct block *b, const struct insn *in) {
    unsigned hint = HINT_OPERAND(in->hint);
    return hint == WINDOW_PAST || (b->req->mode & MODE_SPARSE && hint == WINDOW_SUPER);
}

/* Size and kind of a plain instruction's memory operand: what explicit_access says, decoded once for each opcode. */
static uint32_t plain_access(const struct block *b, const struct insn *in) {
    static uint16_t known[2][256][8][2];
    bool plain = in->row->unit == UNIT_INT && in->row->map < 2 && !in->rep && !in->repne;
    uint16_t *access = plain ? &known[in->row->map][in->z.opcode][in->z.raw.modrm.reg][in->opsize16] : NULL;
    uint32_t arg = access && *access ? *access : explicit_access(b, in) & 0xffffu;
    if (access)
        *access = (uint16_t)arg;
    return arg;
}

/* MOVUPS, MOVUPD, MOVDQU, LDDQU: the SSE accesses of 16 bytes that need not be aligned. */
static bool bears_any_address(const struct insn *in) {
    unsigned opcode = in->z.opcode;
    return in->row->map == 1 && ((opcode & 0xfeu) == 0x10 || (in->rep && (opcode & 0xefu) == 0x6f) || opcode == 0xf0);
}

/* Instructions whose one access is known in place and size. MOV with an offset may come with r12d lagging, which
 * a callout must not see. */
bool operand_can_reach(const struct block *b, const struct insn *in, uint32_t *arg) {
    const ZydisDecodedInstruction *z = &in->z;
    emitter_fn emit = in->row->emit;
    bool has_operand = z->attributes & ZYDIS_ATTRIB_HAS_MODRM && z->raw.modrm.mod != 3;
    bool plain = emit == e_ident || emit == e_push_rm || emit == e_call_rm || emit == e_jmp_rm ||
                 (emit == e_moffs && !b->esp);
    if (!operand_goes_past(b, in) || !plain || !has_operand || is_bit_string(in) ||
        (is_from_esp(in) && HINT_OPERAND(in->hint) != WINDOW_PAST) || in->row->unit == UNIT_X87 ||
        in->row->unit == UNIT_MMX || in->row->vex || block_calls_out(b, in->segment) ||
        block_segment_class(b, in->segment) == SEGMENT_64K)
        return false;
    *arg = plain_access(b, in);
    uint32_t size = *arg & CHECK_SIZE_MAX;
    if (size != 1 && size != 2 && size != 4 && size != 8 && size != 16)
        return false;
    if (size == 16 && !bears_any_address(in))
        *arg |= REACH_ALIGNED;
    if (CHECK_KIND(*arg) == ACCESS_WRITE)
        *arg |= ((1u << size) - 1) << REACH_WRITTEN_SHIFT;
    return true;
}

struct memref operand_memory(struct block *b, const struct insn *in, int32_t esp_bias) {
    uint32_t arg;
    if (is_bit_string(in) && !is_plain_bit_string(b, in))
        return bit_string_operand(b, in);
    if (is_kernels_own(b, in))
        return kernels_own(b, in, esp_bias);
    if (operand_can_reach(b, in, &arg)) {
        struct memref linear = linear_operand(b, in, esp_bias);
        emit_lea(&b->e, R11, &linear);
        block_reach(b, in, arg);
        return (struct memref){.base = R11, .index = NO_REG};
    }
    return to_window(b, in, linear_operand(b, in, esp_bias), HINT_OPERAND(in->hint));
}

void operand_linear(struct block *b, const struct insn *in) {
    struct memref linear = linear_operand(b, in, 0);
    emit_lea(&b->e, R11, &linear);
}

struct memref operand_stack(struct block *b, const struct insn *in, int32_t disp, unsigned size,
                            enum access_kind kind) {
    struct memref ea = {.base = REG_GUEST_ESP, .index = NO_REG, .disp = disp + b->esp};
    bool narrow = b->req->mode & MODE_STACK16;
    if (narrow)
        ea = operand_cut16(b, ea);
    ea = linear_sum(b, in, CHECK_ARG(size, kind, SEG_SS), ea, narrow);
    return to_window(b, in, ea, HINT_SECOND(in->hint));
}

void operand_linear_sum(struct block *b, const struct insn *in, uint32_t check, struct memref ea,
                        bool narrow) {
    struct memref linear = linear_sum(b, in, check, ea, narrow);
    emit_lea(&b->e, R11, &linear);
}

struct memref operand_sum(struct block *b, const struct insn *in, struct memref ea, unsigned size,
                          enum access_kind kind, bool narrow) {
    ea = linear_sum(b, in, CHECK_ARG(size, kind, in->segment), ea, narrow);
    return to_window(b, in, ea, HINT_OPERAND(in->hint));
}
