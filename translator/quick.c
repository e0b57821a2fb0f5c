/* The quick way: what is plain in all respects goes from the guest's bytes to host code in one step.
 *
 * Most instructions are of the integer unit, in flat code, with operands in registers or in memory that one
 * window shows. For them the whole way over struct insn, rows and encodings only copies bytes: the ModRM
 * byte stays, guest ESP gets a REX prefix, memory the prefixes of the window. One entry for each opcode,
 * made from the plain shapes and the instruction table, says which way its instructions go; what an entry does not
 * cover declines and is translated as all others are. Both ways write the same code, byte for byte:
 * a test compares them. */
#include <string.h>

#include "translator/block.h"
#include "translator/plain.h"

enum quick_kind {
    QUICK_NOT,
    QUICK_COPY,     /* no operand in memory, none in ModRM: the same bytes */
    QUICK_MODRM,    /* e_ident */
    QUICK_LEA,
    QUICK_OFFSET,   /* MOV of the accumulator with an offset */
    QUICK_NOTHING,  /* e_nop */
    QUICK_INCDEC,
    QUICK_PUSH,
    QUICK_POP,
    QUICK_RETURN,   /* without an immediate */
    QUICK_EMITTER,  /* no ModRM: only decoding is quick */
};

struct quick {
    const struct insn_row *row; /* where there is one for all forms */
    uint16_t shape;
    uint8_t kind;
    uint8_t regs;      /* ModRM.reg that it is about */
    bool reg32, rm32;  /* a register there is the whole one, or its low half */
    bool reg8;
    bool steps;        /* MOV, MOVZX, MOVSX to a register */
};

static struct quick table[2][256];

/* The commonest of all are the same bytes on the host: one byte of opcode, registers and an immediate. What ModRM
 * names (of an instruction that has none: whatever stands there) and what must not be named are sets, so that they
 * are told from others by one test. */
#define NAMES_MEMORY 1u
#define NAMES_ESP_REG 2u
#define NAMES_ESP_RM 4u
#define NAMES_REG(reg) (0x100u << (reg))
#define COPY_BYTES 8u /* more than any of them has */

static struct { uint16_t refused; uint8_t len; } copies[256];
static uint16_t names[256];

static unsigned kind_of(const struct insn_row *row, unsigned opcode, unsigned shape) {
    static const struct { emitter_fn emit; enum quick_kind kind; } by_emitter[] = {
        {e_lea, QUICK_LEA}, {e_moffs, QUICK_OFFSET}, {e_nop, QUICK_NOTHING}, {e_incdec, QUICK_INCDEC},
        {e_push_reg, QUICK_PUSH}, {e_pop_reg, QUICK_POP}, {e_push_imm, QUICK_EMITTER}, {e_jcc, QUICK_EMITTER},
        {e_jmp_rel, QUICK_EMITTER}, {e_call_rel, QUICK_EMITTER}, {e_ret, QUICK_EMITTER},
    };
    const struct operand_kinds *kinds = insn_row_kinds(row);
    bool names_register = row->emit == e_incdec || row->emit == e_push_reg || row->emit == e_pop_reg ||
                          (kinds->opcode_reg && !kinds->opcode_byte);
    if (row->unit != UNIT_INT || (names_register && (opcode & 7u) == ESP))
        return QUICK_NOT;
    if (row->emit == e_ident)
        return shape & PLAIN_STRING ? QUICK_NOT : shape & PLAIN_MODRM ? QUICK_MODRM : QUICK_COPY;
    for (unsigned i = 0; i < sizeof by_emitter / sizeof *by_emitter; i++)
        if (row->emit == by_emitter[i].emit)
            return row->emit == e_ret && opcode == 0xc3 ? QUICK_RETURN : by_emitter[i].kind;
    return QUICK_NOT;
}

/* The row of all forms with this ModRM.reg, with or without 66h; NULL: there are several. */
static const struct insn_row *only_row(unsigned map, unsigned opcode, unsigned reg) {
    const struct insn_row *row = NULL;
    for (unsigned form = 0; form < 4; form++) {
        const struct insn_row *found =
            insn_row_find(false, map, opcode, form & 1 ? PFX_66 : PFX_NONE, reg, form & 2);
        if (row && found && found != row)
            return NULL;
        row = found ? found : row;
    }
    return row;
}

static bool same_kinds(const struct insn_row *a, const struct insn_row *b) {
    return a->emit == b->emit && memcmp(insn_row_kinds(a), insn_row_kinds(b), sizeof(struct operand_kinds)) == 0;
}

static void index_opcode(unsigned map, unsigned opcode) {
    struct quick *q = &table[map][opcode];
    unsigned regs, shape = plain_shape(map, opcode, &regs);
    bool modrm = shape & PLAIN_MODRM;
    if (!shape)
        return;
    for (unsigned reg = 0; reg < (modrm ? 8u : 1u); reg++) {
        const struct insn_row *row = only_row(map, opcode, modrm ? reg : ROW_ANY);
        if (!row || !(regs >> reg & 1u) || (q->row && !same_kinds(q->row, row)))
            continue;
        unsigned kind = kind_of(row, opcode, shape);
        const struct operand_kinds *kinds = insn_row_kinds(row);
        if (kind == QUICK_NOT)
            continue;
        *q = (struct quick){.row = row, .shape = (uint16_t)shape, .kind = (uint8_t)kind,
                            .regs = (uint8_t)(q->regs | 1u << reg), .reg32 = kinds->reg_gpr && !kinds->reg_byte,
                            .rm32 = kinds->rm_gpr && !kinds->rm_byte, .reg8 = kinds->reg_byte,
                            .steps = operand_steps(row, opcode)};
    }
}

static void index_copy(unsigned opcode) {
    const struct quick *q = &table[0][opcode];
    unsigned imm = q->shape & PLAIN_IMM8 ? 1 : q->shape & PLAIN_IMMZ ? 4 : 0, refused = UINT16_MAX;
    if (q->kind == QUICK_COPY)
        refused = 0;
    else if (q->kind == QUICK_MODRM && !(q->shape & PLAIN_TESTS))
        refused = (0xff00u & ~((unsigned)q->regs << 8)) | NAMES_MEMORY | (q->reg32 ? NAMES_ESP_REG : 0) |
                  (q->rm32 ? NAMES_ESP_RM : 0);
    copies[opcode].refused = (uint16_t)refused;
    copies[opcode].len = (uint8_t)((q->kind == QUICK_MODRM ? 2 : 1) + imm);
}

void quick_index(void) {
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        index_opcode(0, opcode);
        index_opcode(1, opcode);
        index_copy(opcode);
        unsigned reg = opcode >> 3 & 7u, rm = opcode & 7u;
        names[opcode] = (uint16_t)(NAMES_REG(reg) | (opcode < 0xc0 ? NAMES_MEMORY : 0) |
                                   (reg == ESP ? NAMES_ESP_REG : 0) | (rm == ESP ? NAMES_ESP_RM : 0));
    }
}

bool quick_goes(const struct translate_request *req) {
    const uint32_t other = MODE_CODE16 | MODE_STACK16 | MODE_GENERAL_CS | MODE_DATA_CS | MODE_VM86 | MODE_REAL |
                           MODE_TF | MODE_DEBUG | MODE_ALIGN | MODE_GENERAL_ES | 3u << MODE_DS_SHIFT |
                           3u << MODE_SS_SHIFT;
    return !(req->mode & other) && !req->thorough && !req->watch && !req->probe_count && !req->rows &&
           !req->stop_before;
}

static uint32_t load32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline uint8_t *put32(uint8_t *to, uint32_t value) {
    memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

static inline void record(struct block *b, uint32_t offset) {
    uint16_t host = (uint16_t)(b->e.at - b->code);
    b->out->map[b->out->insn_count++] =
        (struct insn_map){.host = host, .body = host, .guest = (uint16_t)offset, .undo = UNDO_NONE, .esp = (int8_t)b->esp};
    translation_start(b->out, offset, b->esp);
}

/* ModRM, SIB and displacement, as emit_insn writes them; r12 is encoded as ESP is, r14 as ESI. */
static inline uint8_t *put_memory(uint8_t *to, unsigned reg, unsigned base, unsigned index, unsigned scale, int32_t disp) {
    unsigned field = reg << 3, sib = scale << 6 | (index == NO_REG ? 4u : index) << 3;
    if (base == NO_REG) {
        *to++ = (uint8_t)(field | 4u);
        *to++ = (uint8_t)(sib | 5u);
        return put32(to, (uint32_t)disp);
    }
    unsigned mod = disp == 0 && base != EBP ? 0 : disp == (int8_t)disp ? 0x40 : 0x80;
    if (index != NO_REG || base == ESP) {
        *to++ = (uint8_t)(mod | field | 4u);
        *to++ = (uint8_t)(sib | base);
    } else {
        *to++ = (uint8_t)(mod | field | base);
    }
    put32(to, (uint32_t)disp);
    return to + (mod == 0 ? 0 : mod == 0x40 ? 1 : 4);
}

/* The host's store or load of a stack slot: push (89) and pop (8b) of a register. */
static void quick_stack(struct block *b, uint8_t opcode, unsigned reg, int32_t disp) {
    uint8_t *to = b->e.at;
    *to++ = 0x65;
    *to++ = 0x67;
    *to++ = 0x41;
    *to++ = opcode;
    b->e.at = put_memory(to, reg, ESP, NO_REG, 0, disp);
}

struct sum {
    unsigned base, index, scale; /* NO_REG where absent */
    int32_t disp;
};

/* What lies behind a ModRM byte that names memory, from `at` on; returns where it ends. */
static inline unsigned take_sum(const uint8_t *bytes, unsigned at, unsigned modrm, struct sum *sum) {
    unsigned mod = modrm >> 6;
    *sum = (struct sum){.base = modrm & 7u, .index = NO_REG};
    if (sum->base == ESP) {
        uint8_t sib = bytes[at++];
        sum->base = sib & 7u;
        if ((sib & 0x38) != 0x20) {
            sum->index = sib >> 3 & 7u;
            sum->scale = sib >> 6;
        }
    }
    if (mod == 1) {
        sum->disp = (int8_t)bytes[at++];
    } else if (mod == 2 || sum->base == EBP) {
        sum->disp = (int32_t)load32(bytes + at);
        at += 4;
        sum->base = mod ? sum->base : NO_REG;
    }
    return at;
}

/* `at` is where the ModRM byte is; returns the instruction's length, 0: it is not for here. */
static unsigned quick_modrm(struct block *b, const struct quick *q, const uint8_t *bytes, unsigned at, bool prefix66) {
    uint8_t *to = b->e.at;
    unsigned opcode = bytes[at - 1], modrm = bytes[at++], mod = modrm >> 6, reg = modrm >> 3 & 7u, rm = modrm & 7u;
    bool lea = q->kind == QUICK_LEA, two_bytes = at - 2 > prefix66;
    if (!(q->regs >> reg & 1u) || (q->reg32 && reg == ESP))
        return 0;
    if (mod == 3) {
        if (lea || (q->rm32 && rm == ESP))
            return 0;
        *to = 0x66;
        to += prefix66;
        *to = 0x0f;
        to += two_bytes;
        *to++ = (uint8_t)opcode;
        *to++ = (uint8_t)modrm;
    } else {
        struct sum sum;
        at = take_sum(bytes, at, modrm, &sum);
        unsigned base = sum.base, index = sum.index;
        if (b->req->mode & MODE_SPARSE && base != ESP && !lea && q->kind != QUICK_NOTHING)
            return 0;
        bool steps = q->steps && reg == base && operand_step_is_near(index, sum.disp), rex = base == ESP || steps;
        if (base == ESP)
            sum.disp += b->esp;
        if (rex && q->reg8 && reg >= 4)
            return 0;
        if (steps) {
            index = base;
            base = REG_WINDOW & 7u;
        } else if (!lea) {
            *to++ = 0x65;
            *to++ = 0x67;
        }
        *to = 0x66;
        to += prefix66;
        *to = 0x41;
        to += rex;
        *to = 0x0f;
        to += two_bytes;
        *to++ = (uint8_t)opcode;
        to = put_memory(to, reg, base, index, sum.scale, sum.disp);
    }
    if (q->kind == QUICK_NOTHING) {
        *b->e.at++ = 0x90;
        return at;
    }
    unsigned imm = q->shape & PLAIN_IMM8 ? 1 : q->shape & PLAIN_IMMZ ? (prefix66 ? 2 : 4) : 0;
    if (q->shape & PLAIN_TESTS && reg >= 2)
        imm = 0;
    memcpy(to, bytes + at, 4);
    b->e.at = to + imm;
    return at + imm;
}

/* For instructions with an emitter of their own: decoded without a ModRM byte, and at most an immediate. */
static unsigned quick_emitter(struct block *b, const struct quick *q, uint32_t offset, unsigned map) {
    const uint8_t *bytes = b->req->bytes + offset;
    unsigned at = map + 1;
    unsigned imm = q->shape & PLAIN_IMM8 ? 1 : q->shape & PLAIN_IMM16 ? 2 : q->shape & PLAIN_IMMZ ? 4 : 0;
    struct insn in;
    memset(&in.kinds, 0, sizeof in - __builtin_offsetof(struct insn, kinds));
    in.row = q->row;
    in.kinds = insn_row_kinds(q->row);
    in.bytes = bytes;
    in.len = in.z.length = (uint8_t)(at + imm);
    in.eip = b->pc = b->req->eip + offset;
    in.next_eip = in.eip + in.len;
    in.segment = SEG_DS;
    in.imm_at = (uint8_t)at;
    in.imm_len = (uint8_t)imm;
    in.z.encoding = ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    in.z.opcode_map = map ? ZYDIS_OPCODE_MAP_0F : ZYDIS_OPCODE_MAP_DEFAULT;
    in.z.opcode = bytes[map];
    in.z.address_width = 32;
    in.z.attributes = 0;
    in.z.raw.disp.size = in.z.raw.disp.offset = 0;
    in.z.raw.disp.value = 0;
    in.z.raw.imm[0].size = (ZyanU8)(imm * 8);
    in.z.raw.imm[0].offset = (ZyanU8)(imm ? at : 0);
    in.z.raw.imm[0].value.s = imm == 4 ? (int32_t)load32(bytes + at) : imm == 1 ? (int8_t)bytes[at] : 0;
    if (!block_bears_lag(b, &in))
        block_settle_esp(b);
    record(b, offset);
    b->undo = UNDO_NONE;
    b->out->guest_len = offset + in.len;
    q->row->emit(b, &in);
    b->out->map[b->out->insn_count - 1].undo = b->undo;
    return in.len;
}

/* As e_ret and exit_return have it. */
static void quick_return(struct block *b) {
    uint8_t *to = b->e.at;
    *to++ = 0x47; /* mov r11d, [r14 + r12 + esp] */
    *to++ = 0x8b;
    to = put_memory(to, REG_TARGET & 7u, REG_WINDOW & 7u, REG_GUEST_ESP & 7u, 0, b->esp);
    b->esp += 4;
    if (b->esp) { /* lea r12d, [r12 + esp] */
        *to++ = 0x45;
        *to++ = 0x8d;
        to = put_memory(to, ESP, ESP, NO_REG, 0, b->esp);
    }
    *to++ = 0xc3;
    b->e.at = to;
    b->esp = 0;
    b->ended = true;
}

/* Instructions without a ModRM byte, `at` bytes behind whose start their opcode lies. */
static unsigned quick_bare(struct block *b, const struct quick *q, const uint8_t *bytes, unsigned at, bool prefix66) {
    uint8_t *to = b->e.at;
    unsigned opcode = bytes[at++], imm = 0;
    switch ((enum quick_kind)q->kind) {
    case QUICK_COPY:
        imm = q->shape & PLAIN_IMM8 ? 1 : q->shape & PLAIN_IMMZ ? (prefix66 ? 2 : 4) : 0;
        memcpy(to, bytes, 8);
        b->e.at += at + imm;
        return at + imm;
    case QUICK_INCDEC:
        *to = 0x66;
        to += prefix66;
        *to++ = 0xff;
        *to++ = (uint8_t)(0xc0u | (opcode & 15u));
        b->e.at = to;
        return at;
    case QUICK_OFFSET:
        if (b->req->mode & MODE_SPARSE)
            return 0;
        *to++ = 0x65;
        *to++ = 0x67;
        *to = 0x66;
        to += prefix66;
        *to++ = (uint8_t)(opcode & 2u ? 0x88u | (opcode & 1u) : 0x8au | (opcode & 1u));
        b->e.at = put_memory(to, EAX, NO_REG, NO_REG, 0, (int32_t)load32(bytes + at));
        return at + 4;
    case QUICK_PUSH:
        quick_stack(b, 0x89, opcode & 7u, b->esp - 4);
        b->esp -= 4;
        return at;
    case QUICK_RETURN:
        quick_return(b);
        return at;
    default:
        quick_stack(b, 0x8b, opcode & 7u, b->esp);
        b->esp += 4;
        return at;
    }
}

/* One instruction; returns its length, 0: nothing is done. */
static unsigned quick_insn(struct block *b, uint32_t offset) {
    joins_pass(b, offset);
    const uint8_t *bytes = b->req->bytes + offset;
    unsigned prefix66 = bytes[0] == 0x66, map = bytes[prefix66] == 0x0f, at = prefix66 + map;
    const struct quick *q = &table[map][bytes[at]];
    if (q->kind == QUICK_NOT || (prefix66 && (q->shape & PLAIN_DWORD || q->kind >= QUICK_PUSH)))
        return 0;
    if (b->req->hint && b->req->hint(b->req->opaque, b->req->eip + offset))
        return 0;
    if (q->kind >= QUICK_RETURN && block_exits_full(b))
        return 0;
    if (q->kind == QUICK_EMITTER || (q->kind == QUICK_RETURN && b->req->no_links))
        return quick_emitter(b, q, offset, map);
    if (block_lags_far(b))
        block_settle_esp(b);
    uint32_t count = b->out->insn_count;
    unsigned len;
    record(b, offset);
    if (q->shape & PLAIN_MODRM)
        len = quick_modrm(b, q, bytes, at + 1, prefix66);
    else
        len = quick_bare(b, q, bytes, at, prefix66);
    if (!len) {
        b->out->insn_count = count;
        return 0;
    }
    b->pc = b->req->eip + offset;
    b->out->guest_len = offset + len;
    return len;
}

static bool has_room(const struct block *b, uint32_t offset, uint32_t limit) {
    return !b->ended && b->out->insn_count < limit && offset + PLAIN_LONGEST <= b->req->page_bytes &&
           (uint32_t)(b->e.end - b->e.at) >= 2 * INSN_CODE_MAX;
}

/* Those that are the same bytes on the host, from `offset` on; returns the offset behind them. An entry of the map is
 * one word, and from one to the next host, body and guest offset grow by as much. The next opcode comes from the word at
 * hand: a load less to wait for between one length and the next. */
static uint32_t copy_run(struct block *b, uint32_t offset, uint32_t limit) {
    const struct translate_request *req = b->req;
    const uint8_t *from = req->bytes + offset, *start = from, *last = from;
    const uint8_t *const stop = req->bytes + req->page_bytes;
    const uint8_t *const joined = req->bytes + (b->next_join < req->page_bytes ? b->next_join : req->page_bytes);
    uint8_t *to = b->e.at;
    struct insn_map *at = &b->out->map[b->out->insn_count], *const full = &b->out->map[limit];
    const uint8_t *const to_stop = b->e.end - 2 * INSN_CODE_MAX;
    uint16_t host = (uint16_t)(to - b->code);
    struct insn_map first = {.host = host, .body = host, .guest = (uint16_t)offset, .undo = UNDO_NONE, .esp = (int8_t)b->esp};
    uint64_t entry, word;
    unsigned opcode = from[0];
    memcpy(&entry, &first, sizeof entry);
    if (block_lags_far(b))
        return offset;
    while (at < full && from + PLAIN_LONGEST <= stop && to <= to_stop && from < joined) {
        memcpy(&word, from, COPY_BYTES);
        if (copies[opcode].refused & names[word >> 8 & 0xff])
            break;
        if (req->hint && req->hint(req->opaque, req->eip + (uint32_t)(from - req->bytes)))
            break;
        unsigned len = copies[opcode].len;
        memcpy(to, &word, COPY_BYTES);
        opcode = word >> 8 * len & 0xff;
        memcpy(at++, &entry, sizeof entry);
        translation_start(b->out, (uint32_t)(from - req->bytes), b->esp);
        entry += len * 0x0000000100010001ull;
        last = from;
        from += len;
        to += len;
    }
    if (from == start)
        return offset;
    b->e.at = to;
    b->out->insn_count = (uint32_t)(at - b->out->map);
    b->pc = req->eip + (uint32_t)(last - req->bytes);
    return b->out->guest_len = (uint32_t)(from - req->bytes);
}

uint32_t quick_run(struct block *b, uint32_t offset, uint32_t limit) {
    while (has_room(b, offset, limit)) {
        offset = copy_run(b, offset, limit);
        unsigned len = has_room(b, offset, limit) ? quick_insn(b, offset) : 0;
        if (!len)
            break;
        offset += len;
    }
    return offset;
}
