/* Calls out of a fragment, and the emitters of instructions that are nothing but a callout. */
#include <assert.h>

#include "translator/block.h"

#define VECTOR_UD 6
#define VECTOR_NM 7
#define VECTOR_GP 13

#define CALL_NEAR 0xe8u
#define JUMP_NEAR 0xe9u

static bool reaches_directly(struct emit *e, uint8_t opcode, enum stub stub) {
    struct stub_sites *sites = e->stub_sites;
    if (!sites || sites->count == STUB_SITES_MAX)
        return false;
    emit8(e, opcode);
    sites->list[sites->count++] = (struct stub_site){e->at, (uint8_t)stub};
    emit32(e, 0);
    return true;
}

static struct memref entry_of(enum stub stub) {
    return mem_cpu((uint32_t)__builtin_offsetof(struct cpu, stubs) + stub * 8u);
}

void emit_jump_stub(struct emit *e, enum stub stub) {
    struct memref entry = entry_of(stub);
    if (!reaches_directly(e, JUMP_NEAR, stub))
        emit_jump_mem(e, &entry);
}

static void emit_call_stub(struct emit *e, enum stub stub) {
    struct memref entry = entry_of(stub);
    if (!reaches_directly(e, CALL_NEAR, stub))
        emit_call_mem(e, &entry);
}

static void call_out(struct emit *e, uint32_t eip, uint32_t next_eip, unsigned id, uint32_t arg) {
    struct memref eip_field = CPU_FIELD(eip), next = CPU_FIELD(next_eip);
    assert(id < CALLOUT_COUNT);
    emit_store_imm(e, &eip_field, eip);
    emit_store_imm(e, &next, next_eip);
    emit_mov_reg_imm(e, R9, id);
    emit_mov_reg_imm(e, R10, arg);
    emit_call_stub(e, STUB_CALLOUT);
}

void block_callout(struct block *b, const struct insn *in, unsigned id, uint32_t arg) {
    call_out(&b->e, in->eip, in->next_eip, id, arg);
}

void block_raise(struct block *b, uint32_t eip, uint32_t next_eip, uint32_t vector) {
    call_out(&b->e, eip, next_eip, CALLOUT_raise, vector);
    b->ended = true;
}

void block_check_access(struct emit *e, const struct pending_check *check) {
    struct memref result = CPU_FIELD(result2);
    call_out(e, check->eip, check->next_eip, CALLOUT_check, check->arg);
    emit_load(e, R11, &result);
}

void block_reach(struct block *b, const struct insn *in, uint32_t arg) {
    struct memref eip = CPU_FIELD(eip);
    enum stub stub = CHECK_KIND(arg) == ACCESS_WRITE ? STUB_REACH : STUB_REACH_READ;
    emit_store_imm(&b->e, &eip, in->eip);
    emit_mov_reg_imm(&b->e, R10, arg | (uint32_t)in->len << REACH_LENGTH_SHIFT);
    emit_call_stub(&b->e, stub);
}

static uint32_t size_arg(const struct insn *in) { return in->opsize16 ? CALLOUT_ARG16 : 0; }

/* A callout that may change the mode or the mapping of code is followed by a fresh look-up. */
static void after(struct block *b, const struct insn *in) {
    if (!in->row->ends)
        return;
    if (b->ended)
        return;
    emit_mov_reg_imm(&b->e, REG_TARGET, in->next_eip);
    if (b->req->no_links)
        emit_jump_stub(&b->e, STUB_LEAVE);
    else
        exit_indirect(b);
    b->ended = true;
}

void e_callout(struct block *b, const struct insn *in) {
    unsigned id = in->row->callout;
    if (id == CALLOUT_xgetbv && in->z.raw.modrm.rm == 1)
        id = CALLOUT_xsetbv;
    else if (id == CALLOUT_xgetbv && in->z.raw.modrm.rm != 0) {
        block_raise(b, in->eip, in->next_eip, VECTOR_UD);
        return;
    }
    block_callout(b, in, id, 0);
    after(b, in);
}

void e_callout_size(struct block *b, const struct insn *in) {
    block_callout(b, in, in->row->callout, size_arg(in));
    after(b, in);
}

void e_callout_imm(struct block *b, const struct insn *in) {
    block_callout(b, in, in->row->callout, in->bytes[in->imm_at]);
    after(b, in);
}

/* Some instructions look at the privilege level before they touch their operand. */
static bool lacks_privilege(struct block *b, const struct insn *in) {
    unsigned id = in->row->callout;
    bool privileged = id == CALLOUT_lldt || id == CALLOUT_ltr || id == CALLOUT_lmsw ||
                      id == CALLOUT_lgdt || id == CALLOUT_lidt || id == CALLOUT_invlpg;
    if (!privileged || !(b->req->mode & MODE_CPL) || b->req->mode & MODE_VM86)
        return false;
    block_raise(b, in->eip, in->next_eip, 0x100u | VECTOR_GP);
    return true;
}

/* The operand is the linear address of the memory operand. */
void e_callout_mem(struct block *b, const struct insn *in) {
    uint32_t arg = size_arg(in);
    bool fpu = in->row->unit == UNIT_X87 || in->row->callout == CALLOUT_fxsave ||
               in->row->callout == CALLOUT_fxrstor;
    if (fpu && b->req->mode & MODE_NO_FPU) {
        block_raise(b, in->eip, in->next_eip, VECTOR_NM);
        return;
    }
    if (lacks_privilege(b, in))
        return;
    if (in->row->callout == CALLOUT_xsave || in->row->callout == CALLOUT_xrstor)
        arg = (uint32_t)in->segment << 16 | (in->z.raw.modrm.reg == 6);
    if (in->row->callout == CALLOUT_call_far_mem || in->row->callout == CALLOUT_jmp_far_mem)
        arg |= (uint32_t)in->segment << 16;
    struct memref ea;
    bool flat = block_segment_class(b, in->segment) == SEGMENT_FLAT && !block_checked(b);
    if (in->row->callout == CALLOUT_invlpg || flat) {
        /* The handler's own accesses are checked; INVLPG makes none. */
        ea = operand_effective(b, in, 0);
        emit_lea(&b->e, R11, &ea);
    } else {
        operand_linear(b, in);
    }
    block_callout(b, in, in->row->callout, arg);
    after(b, in);
}

/* Loads the value of a 16-bit r/m operand into r11d. */
static void load_rm16(struct block *b, const struct insn *in) {
    struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = R11};
    struct memref m;
    if (in->z.raw.modrm.mod == 3) {
        movzx.rm = (uint8_t)host_gpr(in->z.raw.modrm.rm);
    } else {
        m = operand_memory(b, in, 0);
        movzx.mem = &m;
    }
    emit_insn(&b->e, &movzx);
}

void e_callout_rm(struct block *b, const struct insn *in) {
    if (lacks_privilege(b, in))
        return;
    load_rm16(b, in);
    block_callout(b, in, in->row->callout, 0);
    after(b, in);
}

/* The result goes to a register (16 or 32 bits by operand size) or to 16 bits of memory. */
void e_callout_to_rm(struct block *b, const struct insn *in) {
    struct memref result = CPU_FIELD(result);
    block_callout(b, in, in->row->callout, 0);
    struct encoding mov = {.opcode = 0x8b, .has_modrm = true};
    if (in->z.raw.modrm.mod == 3) {
        mov.reg = (uint8_t)host_gpr(in->z.raw.modrm.rm);
        mov.mem = &result;
        if (in->opsize16)
            mov.legacy[mov.legacy_count++] = 0x66;
        emit_insn(&b->e, &mov);
        return;
    }
    struct memref m = operand_memory(b, in, 0);
    emit_load(&b->e, R9, &result);
    struct encoding store = {.opcode = 0x89, .has_modrm = true, .reg = R9, .mem = &m,
                             .legacy = {0x66}, .legacy_count = 1};
    emit_insn(&b->e, &store);
}

/* LAR, LSL: the register changes only when ZF says so. The handler puts the new flags in place,
 * they are the host's when it returns. */
void e_callout_to_reg(struct block *b, const struct insn *in) {
    struct memref result = CPU_FIELD(result);
    load_rm16(b, in);
    block_callout(b, in, in->row->callout, 0);
    struct encoding cmovz = {.map = MAP_0F, .opcode = 0x44, .has_modrm = true,
                             .reg = (uint8_t)host_gpr(in->z.raw.modrm.reg), .mem = &result};
    if (in->opsize16)
        cmovz.legacy[cmovz.legacy_count++] = 0x66;
    emit_insn(&b->e, &cmovz);
}

/* In memory the handler does it all: it writes only where the selector changes, and ZF must not
 * change before that write has worked. */
void e_arpl(struct block *b, const struct insn *in) {
    struct memref result = CPU_FIELD(result);
    uint32_t source = in->z.raw.modrm.reg;
    if (in->z.raw.modrm.mod != 3) {
        struct insn read = *in;
        read.reads = true;
        operand_linear(b, &read);
        block_callout(b, in, CALLOUT_arpl, source | CALLOUT_ARPL_MEMORY | (uint32_t)in->segment << 16);
        return;
    }
    load_rm16(b, in);
    block_callout(b, in, CALLOUT_arpl, source);
    struct encoding mov = {.opcode = 0x89, .has_modrm = true, .reg = R9, .legacy = {0x66},
                           .legacy_count = 1, .rm = (uint8_t)host_gpr(in->z.raw.modrm.rm)};
    emit_load(&b->e, R9, &result); /* the unchanged selector where ZF is clear */
    emit_insn(&b->e, &mov);
}

void e_bound(struct block *b, const struct insn *in) {
    struct memref result = CPU_FIELD(result);
    operand_linear(b, in);
    emit_store(&b->e, &result, host_gpr(in->z.raw.modrm.reg));
    block_callout(b, in, CALLOUT_bound, size_arg(in) | in->segment);
}

void e_into(struct block *b, const struct insn *in) {
    uint8_t *none = emit_short_jump(&b->e, 0x71); /* jno */
    block_callout(b, in, CALLOUT_into, 0);
    emit_short_land(&b->e, none);
}

void e_far_ptr(struct block *b, const struct insn *in) {
    uint32_t offset = in->opsize16 ? 0 : (uint32_t)in->bytes[in->imm_at + 3] << 24 |
                                             (uint32_t)in->bytes[in->imm_at + 2] << 16;
    offset |= (uint32_t)in->bytes[in->imm_at + 1] << 8 | in->bytes[in->imm_at];
    unsigned at = in->imm_at + (in->opsize16 ? 2u : 4u);
    uint32_t selector = (uint32_t)in->bytes[at + 1] << 8 | in->bytes[at];
    emit_mov_reg_imm(&b->e, R11, offset);
    block_callout(b, in, in->row->callout, selector | size_arg(in));
    after(b, in);
}

void e_ret_far(struct block *b, const struct insn *in) {
    uint32_t release = in->z.opcode == 0xca
                           ? (uint32_t)in->bytes[in->imm_at + 1] << 8 | in->bytes[in->imm_at]
                           : 0;
    block_callout(b, in, CALLOUT_ret_far, release | size_arg(in));
    after(b, in);
}

/* Behind the load of a sum that is zero where two things agree. */
static uint8_t *jump_if_zero(struct block *b, const struct memref *minus, unsigned value) {
    struct memref sum = {.base = RCX, .index = (uint8_t)value};
    emit_load64(&b->e, RCX, minus);
    emit_lea64(&b->e, RCX, &sum);
    return emit_short_jump(&b->e, 0xe3); /* jrcxz */
}

/* Kernels load their own FS or GS when they are entered, and the user's or null when they return. */
static uint8_t *load_kernels(struct block *b, unsigned segment) {
    uint32_t at = (uint32_t)__builtin_offsetof(struct cpu, kernels);
    emit_mov_reg_imm(&b->e, R9, at + (segment == SEG_GS ? (uint32_t)sizeof(struct kernel_load) * KERNEL_LOADS : 0));
    emit_call_stub(&b->e, STUB_LOAD_SEGMENT);
    uint8_t *loaded = emit_short_jump(&b->e, 0xe3); /* jrcxz */
    emit_mov_reg_reg(&b->e, RCX, R8);
    return loaded;
}

/* r11d: a selector. Kernels load what is there already at every entry: where selector and descriptor are what they were
 * when the segment was loaded, nothing is to be done; flags and ECX stay. Returns where to go on then. */
static uint8_t *skip_if_loaded(struct block *b, unsigned segment) {
    if (segment == SEG_FS || segment == SEG_GS)
        return load_kernels(b, segment);
    uint32_t loaded = (uint32_t)(__builtin_offsetof(struct cpu, loaded) + segment * sizeof(struct loaded_segment));
    struct memref at = mem_cpu(loaded + (uint32_t)__builtin_offsetof(struct loaded_segment, at));
    struct memref descriptor = mem_cpu(loaded + (uint32_t)__builtin_offsetof(struct loaded_segment, minus_descriptor));
    struct memref selector = mem_cpu(loaded + (uint32_t)__builtin_offsetof(struct loaded_segment, minus_selector));
    struct memref there = {.base = R9, .index = NO_REG};
    emit_mov_reg_reg(&b->e, R8, RCX);
    uint8_t *same_selector = jump_if_zero(b, &selector, R11);
    uint8_t *other = emit_short_jump(&b->e, 0xeb);
    emit_short_land(&b->e, same_selector);
    emit_load64(&b->e, R9, &at);
    emit_load64(&b->e, R9, &there);
    uint8_t *same = jump_if_zero(b, &descriptor, R9);
    emit_short_land(&b->e, other);
    emit_mov_reg_reg(&b->e, RCX, R8);
    return same;
}

static bool loads_quickly(const struct block *b, unsigned segment) {
    return segment != SEG_SS && !(b->req->mode & (MODE_CPL | MODE_REAL | MODE_VM86)) && !block_checked(b);
}

static void go_on_loaded(struct block *b, uint8_t *same) {
    emit_short_land(&b->e, same);
    emit_mov_reg_reg(&b->e, RCX, R8);
    b->ended = false;
}

void e_mov_to_seg(struct block *b, const struct insn *in) {
    unsigned segment = in->z.raw.modrm.reg;
    if (segment == SEG_CS || segment >= SEG_COUNT) {
        block_raise(b, in->eip, in->next_eip, VECTOR_UD);
        return;
    }
    load_rm16(b, in);
    bool quick = loads_quickly(b, segment);
    uint8_t *same = quick ? skip_if_loaded(b, segment) : NULL;
    block_callout(b, in, CALLOUT_mov_to_seg, segment);
    after(b, in);
    if (quick)
        go_on_loaded(b, same);
}

void e_pop_seg(struct block *b, const struct insn *in) {
    unsigned segment = in->z.opcode_map == ZYDIS_OPCODE_MAP_0F ? (in->z.opcode == 0xa1 ? SEG_FS : SEG_GS)
                                                               : in->z.opcode >> 3 & 3u;
    bool wide = !in->opsize16 && !(b->req->mode & MODE_STACK16) && block_segment_class(b, SEG_SS) == SEGMENT_FLAT;
    bool quick = wide && loads_quickly(b, segment);
    uint8_t *same = NULL;
    if (quick) {
        struct memref m = operand_stack(b, in, 0, 2, ACCESS_READ);
        struct encoding movzx = {.map = MAP_0F, .opcode = 0xb7, .has_modrm = true, .reg = R11, .mem = &m};
        emit_insn(&b->e, &movzx);
        same = skip_if_loaded(b, segment);
    }
    block_callout(b, in, CALLOUT_pop_seg, segment | size_arg(in));
    after(b, in);
    if (quick) {
        go_on_loaded(b, same);
        block_add_esp(b, 4);
    }
}

void e_load_far(struct block *b, const struct insn *in) {
    static const uint8_t by_opcode[8] = {SEG_ES, SEG_DS, SEG_SS, 0, SEG_FS, SEG_GS, 0, 0};
    unsigned segment = in->z.opcode_map == ZYDIS_OPCODE_MAP_0F
                           ? by_opcode[in->z.opcode & 7u]
                           : (in->z.opcode == 0xc4 ? SEG_ES : SEG_DS);
    operand_linear(b, in);
    block_callout(b, in, CALLOUT_load_far,
                  segment | (uint32_t)in->z.raw.modrm.reg << 8 | (uint32_t)in->segment << 16 |
                      size_arg(in));
    after(b, in);
}

void e_port(struct block *b, const struct insn *in) {
    uint32_t size = in->z.opcode & 1 ? (in->opsize16 ? 2 : 4) : 1;
    bool dx = in->z.opcode >= 0xec;
    block_callout(b, in, in->row->callout,
                  size << 16 | (dx ? CALLOUT_PORT_DX : in->bytes[in->imm_at]));
}

void e_port_string(struct block *b, const struct insn *in) {
    uint32_t size = in->z.opcode & 1 ? (in->opsize16 ? 2 : 4) : 1;
    uint32_t arg = size << 16 | (in->addr16 ? CALLOUT_ADDR16 : 0) |
                   (in->rep || in->repne ? CALLOUT_REP : 0);
    unsigned segment = in->override ? in->segment : SEG_DS;
    block_callout(b, in, in->row->callout, arg | (in->row->callout == CALLOUT_outs ? segment : 0));
}

void e_undefined(struct block *b, const struct insn *in) {
    block_raise(b, in->eip, in->next_eip, VECTOR_UD);
}
