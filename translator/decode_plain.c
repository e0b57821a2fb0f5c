/* The commonest instructions of 32-bit code, without Zydis, which takes several times as long.
 *
 * Here is only what decodes whatever its bytes are: opcodes of the integer unit with at most an operand
 * size and a segment prefix, and strings. All else is left to Zydis; a test holds each field that is filled
 * here against it. */
#include <string.h>

#include "translator/block.h"
#include "translator/plain.h"

#define PREFIXES_MAX 3u

/* Opcodes lo..hi of a map with ModRM.reg in the set `regs`. */
static const struct plain_run {
    uint8_t map, lo, hi, regs;
    uint16_t shape;
} runs[] = {
    {0, 0x40, 0x5f, 0xff, PLAIN_BARE},
    {0, 0x68, 0x68, 0xff, PLAIN_IMMZ | PLAIN_SIGNED},
    {0, 0x69, 0x69, 0xff, PLAIN_MODRM | PLAIN_IMMZ},
    {0, 0x6a, 0x6a, 0xff, PLAIN_IMM8 | PLAIN_SIGNED},
    {0, 0x6b, 0x6b, 0xff, PLAIN_MODRM | PLAIN_IMM8},
    {0, 0x70, 0x7f, 0xff, PLAIN_IMM8 | PLAIN_SIGNED | PLAIN_DWORD},
    {0, 0x80, 0x80, 0xff, PLAIN_MODRM | PLAIN_IMM8},
    {0, 0x81, 0x81, 0xff, PLAIN_MODRM | PLAIN_IMMZ},
    {0, 0x83, 0x83, 0xff, PLAIN_MODRM | PLAIN_IMM8},
    {0, 0x84, 0x8b, 0xff, PLAIN_MODRM},
    {0, 0x8d, 0x8d, 0xff, PLAIN_MODRM | PLAIN_MEMORY},
    {0, 0x90, 0x99, 0xff, PLAIN_BARE},
    {0, 0x9c, 0x9d, 0xff, PLAIN_BARE},
    {0, 0xa0, 0xa3, 0xff, PLAIN_MOFFS},
    {0, 0xa4, 0xa7, 0xff, PLAIN_BARE | PLAIN_STRING},
    {0, 0xa8, 0xa8, 0xff, PLAIN_IMM8},
    {0, 0xa9, 0xa9, 0xff, PLAIN_IMMZ},
    {0, 0xaa, 0xaf, 0xff, PLAIN_BARE | PLAIN_STRING},
    {0, 0xb0, 0xb7, 0xff, PLAIN_IMM8},
    {0, 0xb8, 0xbf, 0xff, PLAIN_IMMZ},
    {0, 0xc0, 0xc1, 0xbf, PLAIN_MODRM | PLAIN_IMM8},
    {0, 0xc2, 0xc2, 0xff, PLAIN_IMM16 | PLAIN_DWORD},
    {0, 0xc3, 0xc3, 0xff, PLAIN_BARE | PLAIN_DWORD},
    {0, 0xc6, 0xc6, 0x01, PLAIN_MODRM | PLAIN_IMM8},
    {0, 0xc7, 0xc7, 0x01, PLAIN_MODRM | PLAIN_IMMZ},
    {0, 0xc9, 0xc9, 0xff, PLAIN_BARE},
    {0, 0xd0, 0xd3, 0xbf, PLAIN_MODRM},
    {0, 0xe8, 0xe9, 0xff, PLAIN_IMMZ | PLAIN_SIGNED | PLAIN_DWORD},
    {0, 0xeb, 0xeb, 0xff, PLAIN_IMM8 | PLAIN_SIGNED | PLAIN_DWORD},
    {0, 0xf6, 0xf6, 0xff, PLAIN_MODRM | PLAIN_IMM8 | PLAIN_TESTS},
    {0, 0xf7, 0xf7, 0xff, PLAIN_MODRM | PLAIN_IMMZ | PLAIN_TESTS},
    {0, 0xfa, 0xfd, 0xff, PLAIN_BARE},
    {0, 0xfe, 0xfe, 0x03, PLAIN_MODRM},
    {0, 0xff, 0xff, 0x57, PLAIN_MODRM | PLAIN_DWORD},
    {1, 0x0b, 0x0b, 0xff, PLAIN_BARE},
    {1, 0x1f, 0x1f, 0x01, PLAIN_MODRM},
    {1, 0x40, 0x4f, 0xff, PLAIN_MODRM},
    {1, 0x80, 0x8f, 0xff, PLAIN_IMMZ | PLAIN_SIGNED | PLAIN_DWORD},
    {1, 0x90, 0x9f, 0xff, PLAIN_MODRM},
    {1, 0xa3, 0xa3, 0xff, PLAIN_MODRM},
    {1, 0xa4, 0xa4, 0xff, PLAIN_MODRM | PLAIN_IMM8},
    {1, 0xa5, 0xa5, 0xff, PLAIN_MODRM},
    {1, 0xab, 0xab, 0xff, PLAIN_MODRM},
    {1, 0xac, 0xac, 0xff, PLAIN_MODRM | PLAIN_IMM8},
    {1, 0xad, 0xad, 0xff, PLAIN_MODRM},
    {1, 0xaf, 0xb1, 0xff, PLAIN_MODRM},
    {1, 0xb3, 0xb3, 0xff, PLAIN_MODRM},
    {1, 0xb6, 0xb7, 0xff, PLAIN_MODRM},
    {1, 0xba, 0xba, 0xf0, PLAIN_MODRM | PLAIN_IMM8},
    {1, 0xbb, 0xbf, 0xff, PLAIN_MODRM},
    {1, 0xc0, 0xc1, 0xff, PLAIN_MODRM},
    {1, 0xc8, 0xcf, 0xff, PLAIN_BARE | PLAIN_DWORD},
};

static uint16_t shapes[2][256]; /* 0: not here; filled once before main */
static uint8_t sets[2][256];

void plain_index(void) {
    for (unsigned opcode = 0; opcode < 0x40; opcode++) { /* the eight arithmetic families */
        unsigned form = opcode & 7u;
        shapes[0][opcode] = form < 4 ? PLAIN_MODRM : form == 4 ? PLAIN_IMM8 : form == 5 ? PLAIN_IMMZ : 0;
        sets[0][opcode] = 0xff;
    }
    for (unsigned i = 0; i < sizeof runs / sizeof runs[0]; i++)
        for (unsigned opcode = runs[i].lo; opcode <= runs[i].hi; opcode++) {
            shapes[runs[i].map][opcode] = runs[i].shape;
            sets[runs[i].map][opcode] = runs[i].regs;
        }
}

static uint32_t load32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

unsigned plain_shape(unsigned map, unsigned opcode, unsigned *regs) {
    *regs = sets[map][opcode];
    return shapes[map][opcode];
}

/* Prefixes, each kind once; returns how many, or more than PREFIXES_MAX. */
static unsigned take_prefixes(struct insn *in, const uint8_t *bytes) {
    unsigned count = 0;
    for (;; count++) {
        uint8_t byte = bytes[count];
        unsigned segment = insn_segment_of_prefix(byte);
        if (segment < SEG_COUNT && !in->override) {
            in->segment = (uint8_t)segment;
            in->override = true;
        } else if (byte == 0x66 && !in->prefix66) {
            in->prefix66 = true;
        } else if ((byte == 0xf2 || byte == 0xf3) && !in->rep && !in->repne) {
            in->rep = byte == 0xf3;
            in->repne = byte == 0xf2;
        } else {
            bool again = segment < SEG_COUNT || byte == 0x66 || byte == 0xf2 || byte == 0xf3;
            return again ? PREFIXES_MAX + 1 : count;
        }
    }
}

static void take_displacement(ZydisDecodedInstruction *z, const uint8_t *bytes, unsigned *at, unsigned size) {
    z->raw.disp.size = (ZyanU8)(size * 8);
    z->raw.disp.offset = (ZyanU8)(size ? *at : 0);
    z->raw.disp.value = size == 4 ? (int32_t)load32(bytes + *at) : size ? (int8_t)bytes[*at] : 0;
    *at += size;
}

static void take_modrm(ZydisDecodedInstruction *z, const uint8_t *bytes, unsigned *at) {
    uint8_t byte = bytes[*at], mod = byte >> 6, rm = byte & 7u;
    z->attributes |= ZYDIS_ATTRIB_HAS_MODRM;
    z->raw.modrm.mod = mod;
    z->raw.modrm.reg = byte >> 3 & 7u;
    z->raw.modrm.rm = rm;
    z->raw.modrm.offset = (ZyanU8)(*at)++;
    bool sib = mod != 3 && rm == ESP;
    if (sib) {
        z->attributes |= ZYDIS_ATTRIB_HAS_SIB;
        z->raw.sib.scale = bytes[*at] >> 6;
        z->raw.sib.index = bytes[*at] >> 3 & 7u;
        z->raw.sib.base = bytes[*at] & 7u;
        z->raw.sib.offset = (ZyanU8)(*at)++;
    }
    bool absolute = mod == 0 && (sib ? z->raw.sib.base : rm) == EBP;
    take_displacement(z, bytes, at, mod == 1 ? 1 : mod == 2 || absolute ? 4 : 0);
}

static void take_immediate(ZydisDecodedInstruction *z, const uint8_t *bytes, unsigned *at, unsigned size,
                           bool is_signed) {
    z->raw.imm[0].size = (ZyanU8)(size * 8);
    z->raw.imm[0].offset = (ZyanU8)(size ? *at : 0);
    if (is_signed)
        z->raw.imm[0].value.s = size == 4   ? (int32_t)load32(bytes + *at)
                                : size == 2 ? (int16_t)load32(bytes + *at)
                                            : (int8_t)bytes[*at];
    *at += size;
}

/* False, and *in as it was: not plain after all. */
static bool decode(const uint8_t *bytes, struct insn *in) {
    ZydisDecodedInstruction *z = &in->z;
    unsigned at = take_prefixes(in, bytes);
    bool two_bytes = bytes[at] == 0x0f;
    unsigned opcode = bytes[at + two_bytes], shape = shapes[two_bytes][opcode];
    bool repeats = in->rep || in->repne;
    bool good = at <= PREFIXES_MAX && shape && !(shape & PLAIN_DWORD && in->prefix66) &&
                (!repeats || shape & PLAIN_STRING);
    at += two_bytes + 1u;
    uint8_t modrm = bytes[at], reg = modrm >> 3 & 7u;
    if (shape & PLAIN_MODRM)
        good = good && sets[two_bytes][opcode] >> reg & 1u && !(shape & PLAIN_MEMORY && modrm >> 6 == 3);
    if (!good) {
        in->override = in->prefix66 = in->rep = in->repne = false;
        return false;
    }
    if (shape & PLAIN_TESTS && reg >= 2)
        shape &= ~(PLAIN_IMM8 | PLAIN_IMMZ);
    z->encoding = ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    z->opcode_map = two_bytes ? ZYDIS_OPCODE_MAP_0F : ZYDIS_OPCODE_MAP_DEFAULT;
    z->opcode = (ZyanU8)opcode;
    z->address_width = 32;
    z->attributes = 0;
    if (shape & PLAIN_MODRM)
        take_modrm(z, bytes, &at);
    else
        take_displacement(z, bytes, &at, shape & PLAIN_MOFFS ? 4 : 0);
    unsigned wide = in->prefix66 ? 2 : 4;
    take_immediate(z, bytes, &at, shape & PLAIN_IMM8 ? 1 : shape & PLAIN_IMM16 ? 2 : shape & PLAIN_IMMZ ? wide : 0,
                   shape & PLAIN_SIGNED);
    z->length = (ZyanU8)at;
    in->opsize16 = in->prefix66;
    return true;
}

/* Near the end of the bytes at hand what is missing counts as zero, and if it is needed the decoder proper
 * says so. */
bool insn_decode_plain(const uint8_t *bytes, uint32_t room, struct insn *in) {
    uint8_t padded[PLAIN_LONGEST] = {0};
    if (room >= PLAIN_LONGEST)
        return decode(bytes, in);
    memcpy(padded, bytes, room);
    if (!decode(padded, in))
        return false;
    if (in->z.length <= room)
        return true;
    in->override = in->prefix66 = in->opsize16 = in->rep = in->repne = false;
    return false;
}
