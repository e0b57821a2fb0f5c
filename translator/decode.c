/* Guest bytes -> struct insn: Zydis decodes, the instruction table classifies. */
#include <string.h>

#include "translator/block.h"

/* Indexed by MODE_CODE16. Real and virtual-8086 mode decode as 16-bit protected mode does, and what
 * they do not know is sorted out behind that. */
static const ZydisDecoder decoders[2] = {
    {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, {0}},
    {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, {0}},
};

const ZydisDecoder *insn_decoder(uint32_t mode) { return &decoders[(mode & MODE_CODE16) != 0]; }

#define VECTOR_UD 6
#define VECTOR_GP 13

unsigned insn_segment_of_prefix(uint8_t byte) {
    switch (byte) {
    case 0x26: return SEG_ES;
    case 0x2e: return SEG_CS;
    case 0x36: return SEG_SS;
    case 0x3e: return SEG_DS;
    case 0x64: return SEG_FS;
    case 0x65: return SEG_GS;
    default: return SEG_COUNT;
    }
}

/* The last of several prefixes of a group wins (as the processors do it). */
static void scan_prefixes(struct insn *in, bool code16) {
    in->addr16 = code16;
    for (unsigned i = 0; i < in->z.raw.prefix_count; i++) {
        uint8_t byte = in->z.raw.prefixes[i].value;
        if (insn_segment_of_prefix(byte) != SEG_COUNT) {
            in->segment = (uint8_t)insn_segment_of_prefix(byte);
            in->override = true;
        } else if (byte == 0x66) {
            in->prefix66 = true;
        } else if (byte == 0x67) {
            in->addr16 = !code16;
        } else if (byte == 0xf2 || byte == 0xf3) {
            in->rep = byte == 0xf3;
            in->repne = byte == 0xf2;
        } else if (byte == 0xf0) {
            in->lock = true;
        }
    }
    in->opsize16 = in->prefix66 != code16;
}

/* DS, or SS where the base is ESP or EBP (SDM vol. 1, 3.7.4). */
static void default_segment(struct insn *in) {
    const ZydisDecodedInstruction *z = &in->z;
    in->segment = SEG_DS;
    if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM) || z->raw.modrm.mod == 3)
        return;
    unsigned mod = z->raw.modrm.mod, rm = z->raw.modrm.rm;
    bool stack;
    if (z->address_width == 16)
        stack = rm == 2 || rm == 3 || (rm == 6 && mod != 0);
    else if (rm == 4)
        stack = z->raw.sib.base == ESP || (z->raw.sib.base == EBP && mod != 0);
    else
        stack = rm == EBP && mod != 0;
    if (stack)
        in->segment = SEG_SS;
}

static void find_immediate(struct insn *in) {
    const ZydisDecodedInstruction *z = &in->z;
    unsigned at = 0;
    if (z->raw.disp.size)
        at = z->raw.disp.offset + z->raw.disp.size / 8u;
    else if (z->attributes & ZYDIS_ATTRIB_HAS_SIB)
        at = z->raw.sib.offset + 1u;
    else if (z->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        at = z->raw.modrm.offset + 1u;
    else if (z->raw.imm[0].size)
        at = z->raw.imm[0].offset;
    else
        at = z->length;
    in->imm_at = (uint8_t)at;
    in->imm_len = (uint8_t)(z->length - at);
}

static enum row_prefix mandatory_prefix(const struct insn *in, bool vex) {
    if (vex) {
        static const enum row_prefix by_pp[4] = {PFX_NONE, PFX_66, PFX_F3, PFX_F2};
        return by_pp[in->z.raw.vex.pp & 3];
    }
    if (in->rep)
        return PFX_F3;
    if (in->repne)
        return PFX_F2;
    return in->prefix66 ? PFX_66 : PFX_NONE;
}

/* Real and virtual-8086 mode know no VEX, and of the selectors' instructions none (SDM vol. 3B,
 * 21.1.3). */
static bool is_unknown_there(const struct insn *in, bool vex) {
    switch (in->row->callout) {
    case CALLOUT_arpl: case CALLOUT_lar: case CALLOUT_lsl: case CALLOUT_verr: case CALLOUT_verw:
    case CALLOUT_sldt: case CALLOUT_str: case CALLOUT_lldt: case CALLOUT_ltr: return true;
    default: return vex;
    }
}

/* 0, a vector, or DECODE_MORE. */
static int decode_any(const struct translate_request *req, uint32_t room, struct insn *in) {
    if (req->foreign)
        req->foreign(req->opaque);
    ZyanStatus status = ZydisDecoderDecodeInstruction(insn_decoder(req->mode), NULL, in->bytes,
                                                      room > 15 ? 15 : room, &in->z);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return room >= 15 ? VECTOR_GP : DECODE_MORE;
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG)
        return VECTOR_GP;
    if (ZYAN_FAILED(status))
        return VECTOR_UD;
    const ZydisDecodedInstruction *z = &in->z;
    if ((z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
         z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) ||
        z->opcode_map > 3)
        return VECTOR_UD; /* EVEX, XOP, 3DNow: not in the guest's CPUID */
    default_segment(in);
    scan_prefixes(in, (req->mode & MODE_CODE16) != 0);
    return 0;
}

int insn_decode(const struct translate_request *req, uint32_t offset, struct insn *in) {
    memset(&in->kinds, 0, sizeof *in - __builtin_offsetof(struct insn, kinds));
    in->bytes = req->bytes + offset;
    in->eip = req->eip + offset;
    uint32_t room = req->len - offset;
    const ZydisDecodedInstruction *z = &in->z;
    if (!(req->mode & MODE_CODE16) && !req->thorough && insn_decode_plain(in->bytes, room, in)) {
        if (!in->override)
            default_segment(in);
    } else {
        int verdict = decode_any(req, room, in);
        if (verdict)
            return verdict;
    }
    bool vex = z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    in->len = z->length;
    in->next_eip = in->eip + in->len;
    find_immediate(in);
    bool modrm = (z->attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    in->row = insn_row_find(vex, (unsigned)z->opcode_map, z->opcode, mandatory_prefix(in, vex),
                            modrm ? z->raw.modrm.reg : ROW_ANY,
                            !modrm || z->raw.modrm.mod == 3);
    if (!in->row || (req->mode & (MODE_REAL | MODE_VM86) && is_unknown_there(in, vex)))
        return VECTOR_UD;
    in->kinds = insn_row_kinds(in->row);
    return 0;
}
