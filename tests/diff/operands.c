/* Steering: what an instruction reads and writes is led to interesting places. */
#include <string.h>

#include "tests/diff/generator.h"

bool locks_bus(const struct insn *in) {
    return in->lock || (in->row->map == 0 && (in->z.opcode & 0xfe) == 0x86);
}

bool may_split_lock(const struct insn *in) {
    const ZydisDecodedInstruction *z = &in->z;
    bool memory = (z->attributes & ZYDIS_ATTRIB_HAS_MODRM) && z->raw.modrm.mod != 3;
    if (!memory || !locks_bus(in) || z->address_width == 16 || z->raw.modrm.rm != 4)
        return false;
    unsigned base = z->raw.sib.base;
    return base == ESP || base == z->raw.sib.index || (base == EBP && z->raw.modrm.mod == 0);
}

/* BT BTS BTR BTC with a register */
static bool is_bit_string(const struct insn *in) {
    return in->row->map == 1 && !in->row->vex && (in->z.opcode & 0xe7) == 0xa3;
}

static bool has_memory(const struct insn *in) {
    return (in->z.attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->z.raw.modrm.mod != 3;
}

static uint32_t offset_in(const struct generator *g, unsigned segment, uint32_t linear) {
    return linear - selector_base(loaded_selector(g, segment));
}

static void set_displacement(struct element *e, const struct insn *in, uint32_t value) {
    memcpy(e->bytes + in->z.raw.disp.offset, &value, in->z.raw.disp.size / 8u);
}

static void steer32(struct generator *g, struct element *e, struct insn *in, uint32_t offset) {
    const ZydisDecodedInstruction *z = &in->z;
    bool sib = z->raw.modrm.rm == 4;
    unsigned base = sib ? z->raw.sib.base : z->raw.modrm.rm;
    bool has_base = base != EBP || z->raw.modrm.mod != 0;
    bool has_index = sib && z->raw.sib.index != 4 && !random_is_gather(in->row);
    uint32_t index = 0;
    if (has_index && has_base && z->raw.sib.index != base) {
        uint32_t value = random_chance(&g->r, 50) ? random_word(&g->r) & 15 : random_word(&g->r);
        prepare_gpr(g, z->raw.sib.index, value);
        index = value << z->raw.sib.scale;
    }
    if (has_base && base == ESP) {
        if (g->first && z->raw.disp.size == 32)
            set_displacement(e, in, offset - index - g->s->job.in.gpr[ESP]);
    } else if (has_base && !(has_index && z->raw.sib.index == base)) {
        prepare_gpr(g, base, offset - index - (uint32_t)z->raw.disp.value);
    } else if (has_index) { /* no base, or the index again */
        unsigned scale = (1u << z->raw.sib.scale) + has_base;
        prepare_gpr(g, z->raw.sib.index, (offset - (uint32_t)z->raw.disp.value) / scale);
    } else if (z->raw.disp.size == 32) {
        set_displacement(e, in, offset);
    }
}

static void steer16(struct generator *g, struct element *e, struct insn *in, uint32_t offset) {
    static const uint8_t bases[8] = {EBX, EBX, EBP, EBP, ESI, EDI, EBP, EBX};
    static const uint8_t indexes[8] = {ESI, EDI, ESI, EDI, 8, 8, 8, 8};
    unsigned rm = in->z.raw.modrm.rm;
    uint32_t index = 0;
    if (rm == 6 && in->z.raw.modrm.mod == 0) {
        set_displacement(e, in, offset);
        return;
    }
    if (indexes[rm] < 8) {
        index = random_word(&g->r);
        prepare_gpr(g, indexes[rm], index);
    }
    uint32_t sum = offset - index - (uint32_t)in->z.raw.disp.value;
    prepare_gpr(g, bases[rm], (random_word(&g->r) & 0xffff0000u) | (sum & 0xffff));
}

static void steer_memory(struct generator *g, struct element *e, struct insn *in, uint32_t linear) {
    uint32_t offset = offset_in(g, in->segment, linear);
    if (in->z.address_width == 16)
        steer16(g, e, in, offset);
    else
        steer32(g, e, in, offset);
}

/* Forwards, mostly: what leads back may never end. */
static void steer_relative(struct generator *g, struct element *e, const struct insn *in) {
    bool counted = in->row->emit == e_loop && in->z.opcode != 0xe3;
    unsigned here = g->s->count, back = counted ? 30 : in->row->emit == e_jcc ? 3 : 0;
    e->rel_at = in->z.raw.imm[0].offset;
    e->rel_len = in->z.raw.imm[0].size / 8u;
    e->target = (uint8_t)(here + 1 + random_word(&g->r) % 3);
    if (random_chance(&g->r, back))
        e->target = (uint8_t)(random_word(&g->r) % (here + 1));
}

static void steer_loop(struct generator *g, struct element *e, const struct insn *in) {
    prepare_gpr(g, ECX, random_chance(&g->r, 85) ? random_word(&g->r) % 4 : random_value(&g->r));
    steer_relative(g, e, in);
}

/* JMP and CALL through a register or memory, near and far. */
static void steer_indirect(struct generator *g, struct element *e, struct insn *in) {
    unsigned behind = 1 + random_word(&g->r) % 2;
    bool far = in->row->callout == CALLOUT_call_far_mem || in->row->callout == CALLOUT_jmp_far_mem;
    if (!has_memory(in)) {
        prepare_gpr_address(g, in->z.raw.modrm.rm, behind);
        return;
    }
    uint32_t linear = random_place(g);
    steer_memory(g, e, in, linear);
    int at = patch(g, linear, 0);
    if (at >= 0)
        add_fixup(g, FIX_PATCH, (unsigned)at, 0, behind);
    if (far && !in->opsize16)
        patch(g, linear + 4, random_chance(&g->r, 60) ? SELECTOR_CODE : random_selector(g));
}

static void steer_far_pointer(struct generator *g, struct element *e, const struct insn *in) {
    unsigned at = in->imm_at + (in->opsize16 ? 2u : 4u);
    uint16_t selector = random_chance(&g->r, 60) ? SELECTOR_CODE : random_selector(g);
    memcpy(e->bytes + at, &selector, 2);
    if (!in->opsize16)
        add_fixup(g, FIX_IMMEDIATE, g->s->count, in->imm_at, 1 + random_word(&g->r) % 2);
}

static void steer_return(struct generator *g, struct element *e, const struct insn *in) {
    unsigned behind = 1 + random_word(&g->r) % 2;
    if (random_chance(&g->r, 12))
        return;
    if (in->row->emit == e_ret || in->row->callout == CALLOUT_ret_far)
        if (!(in->z.opcode & 1)) { /* with a number of bytes to release */
            uint16_t release =
                (uint16_t)(random_chance(&g->r, 80) ? random_word(&g->r) & 63 : random_word(&g->r));
            memcpy(e->bytes + in->imm_at, &release, 2);
        }
    uint16_t selector = random_chance(&g->r, 70) ? SELECTOR_CODE : random_selector(g);
    if (in->row->callout == CALLOUT_iret)
        prepare_push(g, FL_ONE | FL_IF | (random_word(&g->r) & (FL_ARITH | FL_DF | FL_ID)));
    if (in->row->emit != e_ret)
        prepare_push(g, selector);
    prepare_push_address(g, behind);
}

static void steer_segment_load(struct generator *g, struct element *e, struct insn *in) {
    if (in->row->emit == e_pop_seg) {
        if (random_chance(&g->r, 85))
            prepare_push(g, random_selector(g));
    } else if (!has_memory(in)) {
        prepare_gpr(g, in->z.raw.modrm.rm, random_selector(g) | (random_word(&g->r) & 0xffff0000));
    } else {
        uint32_t linear = random_place(g);
        bool far = in->row->emit == e_load_far;
        steer_memory(g, e, in, linear);
        patch(g, linear + (far ? (in->opsize16 ? 2u : 4u) : 0), random_selector(g));
    }
}

static void steer_string(struct generator *g, const struct insn *in) {
    unsigned segment = in->override ? in->segment : SEG_DS;
    uint32_t source = random_place(g), destination = random_place(g);
    if (random_chance(&g->r, 25)) /* they overlap */
        destination = source + random_word(&g->r) % 33 - 16;
    prepare_gpr(g, ESI, offset_in(g, segment, source));
    prepare_gpr(g, EDI, offset_in(g, SEG_ES, destination));
    if (in->rep || in->repne)
        prepare_gpr(g, ECX,
                    random_chance(&g->r, 90) ? random_word(&g->r) % 40 : random_value(&g->r));
}

/* MOV EAX and MOV EDX become part of the element: the host has components that the guest does not
 * have, and no sequence may ask for them. */
static void choose_components(struct element *e, uint8_t components) {
    const uint8_t moves[10] = {0xb8, components, 0, 0, 0, 0xba};
    if (e->len + sizeof moves > ELEMENT_BYTES)
        e->len = 0; /* with that many prefixes: never mind */
    memmove(e->bytes + sizeof moves, e->bytes, e->len);
    memcpy(e->bytes, moves, sizeof moves);
    e->len = (uint8_t)(e->len + sizeof moves);
}

/* XSAVE and its kin: components that both sides have; a header that may be loaded. */
static void steer_state_area(struct generator *g, struct element *e, struct insn *in) {
    unsigned callout = in->row->callout;
    bool wild = random_chance(&g->r, 10);
    uint32_t linear = random_place(g), mxcsr = 0x1f80 | (random_word(&g->r) & 0x603f);
    if (!random_chance(&g->r, 8))
        linear &= callout == CALLOUT_fxsave || callout == CALLOUT_fxrstor ? ~15u : ~63u;
    steer_memory(g, e, in, linear);
    if (callout == CALLOUT_xsave || callout == CALLOUT_xrstor)
        choose_components(e, random_word(&g->r) & 7);
    if (callout == CALLOUT_fxrstor || callout == CALLOUT_xrstor)
        patch(g, linear + 24, wild ? random_word(&g->r) : mxcsr);
    if (callout == CALLOUT_xrstor || callout == CALLOUT_xsave)
        for (unsigned i = 0; i < 16; i++)
            patch(g, linear + 512 + 4 * i,
                  i == 0 ? random_word(&g->r) & 7 : wild && i < 6 && random_chance(&g->r, 10));
}

/* Contents that an instruction's memory operand had better have. */
static void steer_contents(struct generator *g, const struct insn *in, uint32_t linear) {
    const struct insn_row *row = in->row;
    struct random *r = &g->r;
    bool cmpxchg = row->map == 1 && (in->z.opcode & 0xfe) == 0xb0;
    if (row->map == 1 && in->z.opcode == 0xae && in->z.raw.modrm.reg == 2) /* (V)LDMXCSR */
        patch(g, linear,
              random_chance(r, 90) ? 0x1f80 | (random_word(r) & 0xe07f) : random_word(r));
    else if (row->map == 0 && in->z.opcode == 0xd9 && in->z.raw.modrm.reg == 5) /* FLDCW */
        patch(g, linear, random_chance(r, 80) ? 0x37f : random_word(r));
    else if (row->map == 1 && in->z.opcode == 0xc7 && random_chance(r, 50)) /* CMPXCHG8B */
        patch(g, linear, g->s->job.in.gpr[EAX]), patch(g, linear + 4, g->s->job.in.gpr[EDX]);
    else if (cmpxchg ? random_chance(r, 60) : random_chance(r, 15))
        patch(g, linear, g->s->job.in.gpr[EAX]);
    else if (random_chance(r, 30))
        patch(g, linear, random_value(r));
}

static void steer_registers(struct generator *g, struct element *e, struct insn *in) {
    const struct insn_row *row = in->row;
    struct random *r = &g->r;
    bool bits = is_bit_string(in);
    if (row->emit == e_xlat)
        prepare_gpr(g, EBX,
                    offset_in(g, in->segment, random_place(g)) - (g->s->job.in.gpr[EAX] & 0xff));
    else if (row->emit == e_maskmov)
        prepare_gpr(g, EDI, offset_in(g, in->segment, random_place(g)));
    else if (row->emit == e_moffs) {
        uint32_t offset = offset_in(g, in->segment, random_place(g));
        memcpy(e->bytes + e->len - (in->addr16 ? 2 : 4), &offset, in->addr16 ? 2 : 4);
    } else if (row->emit == e_leave || row->emit == e_enter) {
        if (random_chance(r, 70))
            prepare_gpr(g, EBP, offset_in(g, SEG_SS, random_place(g)));
    } else if (row->callout == CALLOUT_popf) {
        uint32_t odd = random_chance(r, 20) ? FL_TF | FL_AC | FL_NT | FL_IOPL | FL_IF : 0;
        prepare_push(g, random_word(r) & (FL_ARITH | FL_DF | FL_ID | odd));
    } else if (bits && has_memory(in)) {
        prepare_gpr(g, in->z.raw.modrm.reg, (random_word(r) & 0x3fff) - 0x2000);
    }
    if (row->emit == e_enter && random_chance(r, 90))
        e->bytes[in->imm_at + 1] = (uint8_t)(random_word(r) & 1);
    if (row->map == 0 && (in->z.opcode & 0xfe) == 0xf6 && in->z.raw.modrm.reg >= 6 &&
        random_chance(r, 60))
        prepare_gpr(g, EDX, 0); /* a quotient that fits */
}

static bool is_state_area(const struct insn *in) {
    unsigned callout = in->row->callout;
    return callout == CALLOUT_fxsave || callout == CALLOUT_fxrstor || callout == CALLOUT_xsave ||
           callout == CALLOUT_xrstor;
}

void steer(struct generator *g, struct element *e, struct insn *in) {
    emitter_fn emit = in->row->emit;
    if (in->z.raw.imm[0].is_relative) {
        emit == e_loop ? steer_loop(g, e, in) : steer_relative(g, e, in);
    } else if (emit == e_call_rm || emit == e_jmp_rm || in->row->callout == CALLOUT_call_far_mem ||
               in->row->callout == CALLOUT_jmp_far_mem) {
        steer_indirect(g, e, in);
    } else if (emit == e_far_ptr) {
        steer_far_pointer(g, e, in);
    } else if (emit == e_ret || emit == e_ret_far || in->row->callout == CALLOUT_iret) {
        steer_return(g, e, in);
    } else if (emit == e_pop_seg || emit == e_mov_to_seg || emit == e_load_far) {
        steer_segment_load(g, e, in);
    } else if (emit == e_string || emit == e_port_string) {
        steer_string(g, in);
    } else if (is_state_area(in)) {
        steer_state_area(g, e, in);
    } else {
        steer_registers(g, e, in);
        if (has_memory(in)) {
            uint32_t linear = random_place(g);
            g->exactly = locks_bus(in);
            if (g->exactly)
                linear = (linear & ~63u) + (is_bit_string(in) ? random_word(&g->r) % 14 * 4
                                                              : random_word(&g->r) % 57);
            steer_memory(g, e, in, linear);
            steer_contents(g, in, linear);
        }
    }
}
