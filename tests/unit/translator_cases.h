/* Random single instructions for every row of the instruction table, with operands that mostly
 * lie in the data area: every addressing form, prefixes, and registers that lead there. */
#ifndef RING3_TESTS_TRANSLATOR_CASES_H
#define RING3_TESTS_TRANSLATOR_CASES_H

#include <Zydis/Zydis.h>

#include "tests/common/insn_random.h"
#include "tests/unit/translator_segments.h"
#include "translator/block.h"

struct insn_case {
    const struct insn_row *row;
    uint8_t bytes[64];
    unsigned len;
    ZydisDecodedInstruction z;
    struct outcome in;
    uint8_t data[DATA_BYTES];
    uint32_t mode;
    uint8_t hint;
    bool wraps; /* it has met an address beside its window */
    bool no_links, attention, cold;
    uint32_t branches; /* that need not end the block */
    uint32_t target;   /* the data address that the memory operand was steered to */
    bool based;        /* through FS or GS with a base */
    struct setting setting;
};

#ifndef CASE_SEED
#define CASE_SEED 0x9e3779b97f4a7c15ull
#endif
static struct random case_random = {CASE_SEED};

static inline uint32_t rnd(void) { return random_word(&case_random); }
static inline bool chance(unsigned percent) { return random_chance(&case_random, percent); }
static inline uint32_t rnd_value(void) { return random_value(&case_random); }

/* Mostly aligned and inside, sometimes crossing the end of the area, sometimes outside. */
static inline uint32_t rnd_place(void) {
    if (chance(3))
        return DATA_AT + DATA_BYTES - rnd() % 40;
    if (chance(2))
        return rnd_value();
    uint32_t at = DATA_AT + 0x400 + rnd() % (DATA_BYTES - 0x800);
    return chance(75) ? at & ~63u : at;
}

static const uint32_t case_landings[3] = {CODE_AT + 0x40, CODE_AT - 0x40, CODE_AT + 0x1000};

static inline bool has_emitter(const struct insn_case *c, emitter_fn emit) {
    return c->row->emit == emit;
}
static inline bool is_branch(const struct insn_case *c) {
    static const emitter_fn branches[] = {e_call_rel, e_call_rm, e_jmp_rel, e_jmp_rm,
                                          e_jcc,      e_loop,    e_ret};
    for (unsigned i = 0; i < sizeof branches / sizeof *branches; i++)
        if (has_emitter(c, branches[i]))
            return true;
    return false;
}
static inline bool is_gather(const struct insn_row *row) { return random_is_gather(row); }

/* Prefixes, opcode, ModRM and enough random bytes behind it. */
static inline void write_bytes(struct insn_case *c, unsigned opcode, enum row_prefix prefix,
                               unsigned ext, bool mod3) {
    const struct insn_row *row = c->row;
    uint8_t *p = c->bytes;
    static const uint8_t segments[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    bool other = !mod3 && chance(c->setting.code16 ? 20 : 6) && dual.ldt_selector;
    bool addr16 = other && !c->setting.code16;
    if (other)
        *p++ = 0x67;
    if (addr16 || chance(10))
        *p++ = segments[addr16 || (chance(50) && dual.ldt_selector) ? 4 + rnd() % 2 : rnd() % 4];
    if (!row->vex && (prefix == PFX_66 || (prefix == PFX_ANY && chance(25))))
        *p++ = 0x66;
    if (!row->vex && (prefix == PFX_F2 || prefix == PFX_F3))
        *p++ = prefix == PFX_F2 ? 0xf2 : 0xf3;
    else if (prefix == PFX_ANY && !row->vex && chance(row->emit == e_string ? 60 : 4))
        *p++ = chance(50) ? 0xf2 : 0xf3;
    if (!row->vex && !mod3 && row->unit == UNIT_INT && chance(8))
        *p++ = 0xf0;
    random_opcode(&case_random, row, opcode, prefix, ext, mod3, p);
}

static inline bool decode_case(struct insn_case *c) {
    ZydisDecoder decoder;
    if (c->setting.code16)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    else
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, c->bytes, 15, &c->z)))
        return false;
    c->len = c->z.length;
    return true;
}

static inline void set_displacement(struct insn_case *c, uint32_t value) {
    memcpy(c->bytes + c->z.raw.disp.offset, &value, c->z.raw.disp.size / 8u);
    decode_case(c);
}

/* Registers or displacement such that the operand's offset becomes `offset`. */
static inline void steer32(struct insn_case *c, uint32_t offset) {
    const ZydisDecodedInstruction *z = &c->z;
    bool sib = z->raw.modrm.rm == 4;
    unsigned base = sib ? z->raw.sib.base : z->raw.modrm.rm;
    bool has_base = base != EBP || z->raw.modrm.mod != 0;
    bool has_index = sib && z->raw.sib.index != 4 && !is_gather(c->row);
    uint32_t index = has_index ? c->in.gpr[z->raw.sib.index] << z->raw.sib.scale : 0;
    if (!has_base || (has_index && base == z->raw.sib.index)) {
        if (z->raw.disp.size == 32)
            set_displacement(c, offset - index - (has_base ? c->in.gpr[base] : 0));
        return;
    }
    c->in.gpr[base] = offset - index - (uint32_t)z->raw.disp.value;
}

static inline void steer16(struct insn_case *c, uint32_t offset) {
    static const uint8_t bases[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
    static const uint8_t indexes[8] = {ESI, EDI, ESI, EDI, 8, 8, 8, 8};
    unsigned rm = c->z.raw.modrm.rm;
    if (rm == 6 && c->z.raw.modrm.mod == 0) {
        set_displacement(c, offset);
        return;
    }
    uint32_t index = indexes[rm] < 8 ? c->in.gpr[indexes[rm]] : 0;
    uint32_t sum = offset - index - (uint32_t)c->z.raw.disp.value;
    c->in.gpr[bases[rm]] = (c->in.gpr[bases[rm]] & 0xffff0000u) | (sum & 0xffff);
}

static inline bool has_memory(const struct insn_case *c) {
    return (c->z.attributes & ZYDIS_ATTRIB_HAS_MODRM) && c->z.raw.modrm.mod != 3;
}

/* The segment of the memory operand: the last override, or SS with EBP or ESP for a base. */
static inline unsigned operand_segment(const struct insn_case *c) {
    unsigned segment = SEG_COUNT;
    for (unsigned i = 0; i < c->z.raw.prefix_count; i++)
        switch (c->z.raw.prefixes[i].value) {
        case 0x26: segment = SEG_ES; break;
        case 0x2e: segment = SEG_CS; break;
        case 0x36: segment = SEG_SS; break;
        case 0x3e: segment = SEG_DS; break;
        case 0x64: segment = SEG_FS; break;
        case 0x65: segment = SEG_GS; break;
        default: break;
        }
    unsigned rm = c->z.raw.modrm.rm, mod = c->z.raw.modrm.mod, base = c->z.raw.sib.base;
    bool stack = c->z.address_width == 16 ? rm == 2 || rm == 3 || (rm == 6 && mod)
                 : rm == 4                ? base == ESP || (base == EBP && mod)
                                          : rm == EBP && mod;
    if (segment != SEG_COUNT)
        return segment;
    return has_memory(c) && stack ? SEG_SS : SEG_DS;
}

static inline void steer(struct insn_case *c) {
    uint32_t offset = c->target - setting_base(&c->setting, operand_segment(c));
    if (has_emitter(c, e_moffs)) {
        bool wide = c->z.address_width != 16;
        memcpy(c->bytes + c->len - (wide ? 4 : 2), &offset, wide ? 4 : 2);
        decode_case(c);
    } else if (has_memory(c) && c->z.address_width == 16) {
        steer16(c, offset);
    } else if (has_memory(c)) {
        steer32(c, offset);
    } else if (has_emitter(c, e_xlat)) {
        c->in.gpr[EBX] = offset - (c->in.gpr[EAX] & 0xff);
    } else if (has_emitter(c, e_maskmov)) {
        c->in.gpr[EDI] = offset;
    }
}

/* Where a branch goes: one of the landings, by immediate, register or memory. */
static inline void steer_branch(struct insn_case *c) {
    uint32_t base = setting_base(&c->setting, SEG_CS);
    uint32_t landing = case_landings[rnd() % 3] - base;
    unsigned bits = c->z.raw.imm[0].size;
    if (bits == 8)
        landing = case_landings[rnd() % 2] - base;
    if (c->z.raw.imm[0].is_relative) {
        uint32_t relative = landing - (CODE_AT - base + c->len);
        memcpy(c->bytes + c->z.raw.imm[0].offset, &relative, bits / 8u);
        decode_case(c);
    } else if (!has_memory(c) && (c->z.attributes & ZYDIS_ATTRIB_HAS_MODRM)) {
        c->in.gpr[c->z.raw.modrm.rm] = landing;
    }
    for (unsigned i = 0; i < DATA_BYTES; i += 4)
        memcpy(c->data + i, &landing, 4);
    c->target &= ~3u;
    c->in.gpr[ESP] &= ~3u;
}

static inline bool is_bit_string(const struct insn_case *c) {
    return c->row->map == 1 && (c->z.opcode & 0xe7) == 0xa3 && has_memory(c);
}

/* Cases that the two sides cannot share: a CALL through ESP pushes into the native code, and
 * only there is code that could be read; a masked store to CS that stores nothing faults in one of
 * them. */
static inline bool is_apart(const struct insn_case *c) {
    bool uses_esp = has_emitter(c, e_call_rm) && !has_memory(c) && c->z.raw.modrm.rm == ESP;
    bool masked = c->row->vex && c->row->map == 2 &&
                  (c->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS) &&
                  (c->z.opcode == 0x2e || c->z.opcode == 0x2f || c->z.opcode == 0x8e);
    bool reads_code = c->setting.code16 && (c->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS);
    return uses_esp || masked || reads_code;
}

static inline void rnd_state(struct insn_case *c) {
    for (unsigned i = 0; i < 8; i++)
        c->in.gpr[i] = rnd_value();
    uint32_t ss = setting_base(&c->setting, SEG_SS);
    c->in.gpr[ESP] = (rnd_place() - ss) & ~(chance(80) ? 3u : 0);
    if (has_emitter(c, e_leave))
        c->in.gpr[EBP] = rnd_place() - ss;
    if (c->setting.ss != PLACE_FLAT) { /* only SP counts */
        c->in.gpr[ESP] = (c->in.gpr[ESP] & 0xffff) | (chance(50) ? rnd() << 16 : 0);
        c->in.gpr[EBP] ^= chance(50) ? rnd() << 16 : 0;
    }
    if (has_emitter(c, e_string)) {
        c->in.gpr[ESI] = rnd_place() - setting_base(&c->setting, operand_segment(c));
        c->in.gpr[EDI] = rnd_place() - setting_base(&c->setting, SEG_ES);
        c->in.gpr[ECX] = rnd() % 40;
    }
    if (is_bit_string(c)) /* the register is an offset: it stays near */
        c->in.gpr[c->z.raw.modrm.reg] = (uint32_t)((int32_t)(rnd() & 0x3fff) - 0x2000);
    if (has_emitter(c, e_loop))
        c->in.gpr[ECX] = chance(60) ? rnd() % 3 : rnd_value();
    if (chance(50) && c->row->map == 0 && (c->row->lo & 0xfe) == 0xf6)
        c->in.gpr[EDX] = 0; /* a quotient that fits */
    c->in.flags = rnd() & (FL_ARITH | (chance(30) ? FL_DF : 0));
    c->in.trap = TRAP_NONE;
}

static inline void rnd_vector(struct insn_case *c) {
    uint32_t words[VECTOR_BYTES / 4];
    for (unsigned i = 0; i < VECTOR_BYTES / 4; i++)
        words[i] = chance(20) ? 0x3f800000u + (rnd() & 0xffffff) : rnd_value();
    if (is_gather(c->row)) /* the index register: small numbers, of 32 or of 64 bits */
        for (unsigned i = 0; i < 4; i++)
            words[(160 + 7 * 16) / 4 + i] = words[(576 + 7 * 16) / 4 + i] = i & 1 ? 0 : rnd() & 63;
    memcpy(c->in.vector, words, VECTOR_BYTES);
    uint8_t *v = c->in.vector;
    memcpy(v, (const uint8_t[]){0x7f, 0x03, 0, 0, 0, 0, 0, 0}, 8);
    v[4] = (uint8_t)rnd();                               /* which registers are empty */
    v[3] = (uint8_t)(chance(50) ? 0 : (rnd() & 7) << 3); /* TOP */
    v[1] |= (uint8_t)((rnd() & 3) << 2);                 /* rounding */
    uint32_t mxcsr = 0x1f80 | (rnd() & 3) << 13;
    memcpy(v + 24, &mxcsr, 4);
    memset(v + 464, 0, 48);
    memset(v + 512, 0, 64);
    v[512] = 7;
}

static inline void rnd_setting(struct insn_case *c) {
    struct setting *s = &c->setting;
    *s = (struct setting){.code16 = false};
    if (!dual.limits)
        return;
    s->code16 = chance(80);
    s->ds = (enum place)(chance(15) ? PLACE_FLAT : PLACE_LOW + rnd() % 2);
    s->es = (enum place)(chance(15) ? PLACE_FLAT : PLACE_LOW + rnd() % 2);
    s->ss = (enum place)(chance(15) ? PLACE_FLAT : PLACE_LOW + rnd() % 2);
    s->gs = (enum place)(rnd() % PLACE_COUNT);
}

static inline void rnd_mode(struct insn_case *c) {
    c->mode = chance(50) ? 3 : 0;
    if (dual.limits) { /* at CPL 3, the processor's: the window does not matter here */
        c->mode |= setting_mode(&c->setting);
        goto rest;
    }
    c->mode |= (c->based ? 1u : 0u) * SEGMENT_BASED << MODE_FS_SHIFT;
    c->mode |= (c->based ? 1u : 0u) * SEGMENT_BASED << MODE_GS_SHIFT;
    if (c->based && chance(15))
        c->mode |= SEGMENT_GENERAL << MODE_FS_SHIFT | SEGMENT_GENERAL << MODE_GS_SHIFT;
    if ((c->mode >> MODE_FS_SHIFT & 3) == 3)
        c->mode ^= SEGMENT_BASED << MODE_FS_SHIFT | SEGMENT_BASED << MODE_GS_SHIFT;
    static const uint32_t general[] = {MODE_GENERAL_CS, MODE_GENERAL_DS, MODE_GENERAL_ES,
                                       MODE_GENERAL_SS, MODE_ALIGN,      MODE_DEBUG};
    if (chance(10))
        c->mode |= general[rnd() % 6];
rest:
    c->wraps = false;
    c->hint = (uint8_t)(rnd() % 3 | (rnd() % 3) << 2);
    c->no_links = chance(30);
    c->attention = chance(20);
    c->cold = chance(50);
    c->branches = rnd() % 4;
}

static inline bool segment_override(struct insn_case *c, bool *fs) {
    bool based = false;
    for (unsigned i = 0; i < c->z.raw.prefix_count; i++) {
        uint8_t byte = c->z.raw.prefixes[i].value;
        if (byte == 0x64 || byte == 0x65)
            based = true, *fs = byte == 0x64;
        else if (byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e)
            based = false;
    }
    return based;
}

/* False: these bytes are no instruction of this row. */
static inline bool make_case(struct insn_case *c, const struct insn_row *row, unsigned opcode,
                             enum row_prefix prefix, unsigned ext, bool mod3) {
    bool fs;
    c->row = row;
    rnd_setting(c);
    write_bytes(c, opcode, prefix, ext, mod3);
    if (!decode_case(c) || is_apart(c))
        return false;
    for (unsigned i = 0; i < DATA_BYTES; i += 4)
        memcpy(c->data + i, &(uint32_t){rnd_value()}, 4);
    c->based = segment_override(c, &fs);
    c->target = rnd_place();
    rnd_state(c);
    rnd_vector(c);
    rnd_mode(c);
    if (is_branch(c))
        steer_branch(c);
    steer(c);
    if (chance(30) && c->target >= DATA_AT && c->target <= DATA_AT + DATA_BYTES - 4 &&
        !is_branch(c))
        memcpy(c->data + (c->target - DATA_AT), &c->in.gpr[EAX], 4); /* CMPXCHG: equal */
    return true;
}

#endif
