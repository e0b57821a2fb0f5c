/* The instruction table against itself and against the decoder: no two rows overlap, every callout
 * has its handler, and what decodes has a row or a reason for having none. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "runtime/system.h"
#include "translator/block.h"

static bool matches(const struct insn_row *row, bool vex, unsigned map, unsigned opcode,
                    unsigned prefix, unsigned ext, bool mod3) {
    return row->vex == vex && row->map == map && row->lo <= opcode && opcode <= row->hi &&
           (row->prefix == PFX_ANY || row->prefix == prefix) &&
           (row->ext == ROW_ANY || row->ext == ext) &&
           (row->mod == MOD_ANY || (row->mod == MOD_REG) == mod3);
}

START_TEST(no_two_rows_overlap) {
    for (unsigned vex = 0; vex < 2; vex++)
        for (unsigned key = 0; key < 4 * 256 * 4 * 8 * 2; key++) {
            unsigned map = key >> 14, opcode = key >> 6 & 255, prefix = PFX_NONE + (key >> 4 & 3);
            unsigned ext = key >> 1 & 7, mod3 = key & 1, found = 0;
            const struct insn_row *first = NULL;
            for (unsigned i = 0; i < insn_row_count; i++)
                if (matches(&insn_rows[i], vex, map, opcode, prefix, ext, mod3)) {
                    first = first ? first : &insn_rows[i];
                    found++;
                }
            ck_assert_msg(found <= 1,
                          "%u rows for vex %u map %u opcode %02x prefix %u /%u mod3 %u (%s)", found,
                          vex, map, opcode, prefix, ext, mod3, first->name);
            ck_assert_ptr_eq(insn_row_find(vex, map, opcode, (enum row_prefix)prefix, ext, mod3),
                             first);
        }
}
END_TEST

START_TEST(rows_are_well_formed) {
    for (unsigned i = 0; i < insn_row_count; i++) {
        const struct insn_row *row = &insn_rows[i];
        ck_assert_msg(row->lo <= row->hi && row->map < 4 && row->emit && row->name[0], "row %u", i);
        ck_assert_msg(row->callout <= CALLOUT_COUNT, "%s", row->name);
        ck_assert_msg(row->cls != CLASS_CALLOUT || row->callout < CALLOUT_COUNT, "%s: no callout",
                      row->name);
        ck_assert_msg(row->callout == CALLOUT_COUNT || callout_handlers[row->callout],
                      "%s: no handler", row->name);
        ck_assert_msg(!row->vex || row->map != 0, "%s: VEX has no primary map", row->name);
    }
    for (unsigned id = 0; id < CALLOUT_COUNT; id++)
        ck_assert_msg(callout_handlers[id] && callout_name(id)[0], "callout %u", id);
}
END_TEST

struct notation {
    bool vex;
    unsigned map, opcode;
    enum row_prefix prefix;
    unsigned ext;
    struct operand_kinds kinds;
};

START_TEST(operand_notation_is_read) {
    static const struct notation samples[] = {
        {0,
         0,
         0x00,
         PFX_NONE,
         0,
         {.reg_gpr = 1, .reg_byte = 1, .rm_gpr = 1, .rm_byte = 1, .any_gpr = 1, .sized = 1}},
        {0, 0, 0x01, PFX_NONE, 0, {.reg_gpr = 1, .rm_gpr = 1, .any_gpr = 1, .sized = 1}},
        {0, 0, 0x80, PFX_NONE, 0, {.rm_gpr = 1, .rm_byte = 1, .any_gpr = 1, .sized = 1}},
        {0, 0, 0x90, PFX_NONE, 0, {.opcode_reg = 1, .any_gpr = 1, .sized = 1}},
        {0, 0, 0xb0, PFX_NONE, 0, {.opcode_reg = 1, .opcode_byte = 1, .any_gpr = 1, .sized = 1}},
        {0, 0, 0xd8, PFX_NONE, 0, {.sized = 1}},
        {0, 1, 0xb6, PFX_NONE, 0, {.reg_gpr = 1, .rm_gpr = 1, .rm_byte = 1, .any_gpr = 1, .sized = 1}},
        {0, 1, 0xc7, PFX_NONE, 6, {.rm_gpr = 1, .any_gpr = 1, .sized = 1}},
        {0, 1, 0xc8, PFX_NONE, 0, {.opcode_reg = 1, .any_gpr = 1, .sized = 1}},
        {0, 1, 0x2a, PFX_NONE, 0, {0}},
        {0, 1, 0x2a, PFX_F3, 0, {.rm_gpr = 1, .any_gpr = 1}},
        {0, 1, 0x2d, PFX_F2, 0, {.reg_gpr = 1, .any_gpr = 1}},
        {0, 1, 0xc3, PFX_NONE, 0, {.reg_gpr = 1, .any_gpr = 1}},
        {0, 2, 0xf0, PFX_F2, 0, {.reg_gpr = 1, .rm_gpr = 1, .rm_byte = 1, .any_gpr = 1}},
        {1, 1, 0x58, PFX_NONE, 0, {0}},
        {1, 2, 0xf2, PFX_NONE, 0, {.reg_gpr = 1, .rm_gpr = 1, .vvvv_gpr = 1, .any_gpr = 1}},
        {1, 3, 0xf0, PFX_F2, 0, {.reg_gpr = 1, .rm_gpr = 1, .any_gpr = 1}},
    };
    for (unsigned i = 0; i < sizeof samples / sizeof *samples; i++) {
        const struct notation *n = &samples[i];
        const struct insn_row *row =
            insn_row_find(n->vex, n->map, n->opcode, n->prefix, n->ext, n->ext == 6);
        row = row ? row : insn_row_find(n->vex, n->map, n->opcode, n->prefix, n->ext, true);
        row = row ? row : insn_row_find(n->vex, n->map, n->opcode, n->prefix, n->ext, false);
        ck_assert_msg(row != NULL, "sample %u has no row", i);
        ck_assert_msg(memcmp(insn_row_kinds(row), &n->kinds, sizeof n->kinds) == 0, "%s %s",
                      row->name, row->operands);
    }
}
END_TEST

/* Instruction sets that the decoder knows and the guest's CPUID does not offer. */
static const char *const not_offered[] = {
#define NOT_OFFERED(set, reason) set,
#include "tests/unit/not_offered.h"
};

static bool is_offered(const char *set, const char *mnemonic) {
    for (unsigned i = 0; i < sizeof not_offered / sizeof *not_offered; i++)
        if (strcmp(not_offered[i], set) == 0 || strcmp(not_offered[i], mnemonic) == 0)
            return false;
    return true;
}

/* One encoding of (map, opcode, prefix, /ext, mod), with some immediate bytes. */
static unsigned encode(uint8_t *p, bool vex, unsigned map, unsigned opcode, unsigned prefix,
                       unsigned ext, bool mod3, unsigned variant) {
    static const uint8_t legacy[] = {0, 0, 0x66, 0xf3, 0xf2}, pp[] = {0, 0, 1, 2, 3};
    uint8_t *start = p;
    if (vex) {
        *p++ = 0xc4, *p++ = (uint8_t)(0xe0 | map);
        *p++ = (uint8_t)((variant & 1 ? 0x80 : 0) | (variant & 4 ? 0x60 : 0x78) |
                         (variant & 2 ? 4 : 0) | pp[prefix]);
    } else {
        if (prefix != PFX_NONE)
            *p++ = legacy[prefix];
        if (map)
            *p++ = 0x0f;
        if (map > 1)
            *p++ = map == 2 ? 0x38 : 0x3a;
    }
    *p++ = (uint8_t)opcode;
    *p++ = (uint8_t)((mod3 ? 0xc0 : 0) | ext << 3 | (map == 2 && vex && opcode >> 4 == 9 ? 4 : 1));
    memset(p, 0x08, 12);
    return (unsigned)(p - start) + 12;
}

static bool is_prefix(unsigned opcode) {
    static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
                                       0x66, 0x67, 0xf0, 0xf2, 0xf3};
    return memchr(prefixes, (int)opcode, sizeof prefixes) != NULL;
}

static unsigned check_encoding(const ZydisDecoder *decoder, bool vex, unsigned map, unsigned opcode,
                               unsigned prefix, unsigned ext, bool mod3) {
    unsigned missing = 0;
    for (unsigned variant = 0; variant < (vex ? 8u : 1u); variant++) {
        uint8_t bytes[24];
        ZydisDecodedInstruction z;
        encode(bytes, vex, map, opcode, prefix, ext, mod3, variant);
        if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(decoder, NULL, bytes, 15, &z)) ||
            z.opcode != opcode || (unsigned)z.opcode_map != map)
            continue;
        bool modrm = (z.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
        if (insn_row_find(vex, map, opcode, (enum row_prefix)prefix, modrm ? ext : ROW_ANY,
                          !modrm || mod3))
            continue;
        const char *set = ZydisISASetGetString(z.meta.isa_set);
        const char *mnemonic = ZydisMnemonicGetString(z.mnemonic);
        if (!is_offered(set, mnemonic))
            continue;
        fprintf(stderr, "no row: %s (%s) vex %d map %u opcode %02x prefix %u /%u mod3 %d\n",
                mnemonic, set, vex, map, opcode, prefix, ext, mod3);
        missing++;
    }
    return missing;
}

START_TEST(what_decodes_has_a_row_or_a_reason) {
    ZydisDecoder decoder;
    unsigned missing = 0;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    for (unsigned vex = 0; vex < 2; vex++)
        for (unsigned key = vex << 14; key < 4 * 256 * 4 * 8 * 2; key++) {
            unsigned map = key >> 14, opcode = key >> 6 & 255, prefix = PFX_NONE + (key >> 4 & 3);
            unsigned ext = key >> 1 & 7, mod3 = key & 1;
            if (!vex && ((map == 0 && (is_prefix(opcode) || opcode == 0x0f)) ||
                         (map == 1 && (opcode == 0x38 || opcode == 0x3a))))
                continue;
            missing += check_encoding(&decoder, vex, map, opcode, prefix, ext, mod3);
        }
    ck_assert_uint_eq(missing, 0);
}
END_TEST

static bool is_offset_or_push(const struct insn *in) {
    return in->row->emit == e_jcc || in->row->emit == e_jmp_rel || in->row->emit == e_call_rel ||
           in->row->emit == e_push_imm;
}

static void compare_decoded(const struct insn *plain, const struct insn *full) {
    const ZydisDecodedInstruction *a = &plain->z, *b = &full->z;
    const ZydisInstructionAttributes form = ZYDIS_ATTRIB_HAS_MODRM | ZYDIS_ATTRIB_HAS_SIB;
    const size_t from = __builtin_offsetof(struct insn, kinds);
    ck_assert_mem_eq((const char *)plain + from, (const char *)full + from, sizeof *plain - from);
    ck_assert_uint_eq(a->length, b->length);
    ck_assert_uint_eq(a->opcode, b->opcode);
    ck_assert_uint_eq(a->opcode_map, b->opcode_map);
    ck_assert_uint_eq(a->encoding, b->encoding);
    ck_assert_uint_eq(a->address_width, b->address_width);
    ck_assert_uint_eq(a->attributes & form, b->attributes & form);
    ck_assert_uint_eq(a->raw.disp.size, b->raw.disp.size);
    if (b->raw.disp.size)
        ck_assert_int_eq(a->raw.disp.value, b->raw.disp.value);
    if (b->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        ck_assert_mem_eq(&a->raw.modrm, &b->raw.modrm, sizeof a->raw.modrm);
    if (b->attributes & ZYDIS_ATTRIB_HAS_SIB)
        ck_assert_mem_eq(&a->raw.sib, &b->raw.sib, sizeof a->raw.sib);
    if (is_offset_or_push(full))
        ck_assert_int_eq((int32_t)a->raw.imm[0].value.s, (int32_t)b->raw.imm[0].value.s);
}

static unsigned decoded_by_zydis;
static void count_zydis(void *opaque) { (void)opaque, decoded_by_zydis++; }

/* Every opcode with every kind of ModRM, three SIB bytes in turn, and prefixes. */
START_TEST(plain_decoding_agrees_with_zydis) {
    static const uint8_t prefixes[][3] = {{0}, {0x66}, {0x64}, {0x66, 0x65}, {0x2e, 0x66}, {0x66, 0x66},
                                          {0x26, 0x36}, {0x66, 0x3e, 0x66}, {0xf3}, {0xf0}, {0x67},
                                          {0xf2}, {0xf3, 0x66}, {0x64, 0xf3, 0x66}, {0xf3, 0xf2}};
    static const uint8_t sibs[] = {0x24, 0x9d, 0x45}, rms[] = {0, 4, 5, 7};
    unsigned plain_ones = 0;
    for (unsigned key = 0; key < sizeof prefixes / sizeof *prefixes * 2 * 256 * 128; key++) {
        unsigned modrm = (key & 0x7cu) << 1 | rms[key & 3], opcode = key >> 7 & 255, map = key >> 15 & 1;
        uint8_t bytes[32], *p = bytes;
        memset(bytes, 0x81, sizeof bytes); /* negative displacements and immediates */
        for (const uint8_t *q = prefixes[key >> 16]; q < prefixes[key >> 16] + 3 && *q; q++)
            *p++ = *q;
        if (map)
            *p++ = 0x0f;
        *p++ = (uint8_t)opcode, *p++ = (uint8_t)modrm, *p = sibs[key % 3];
        struct translate_request req = {.bytes = bytes, .len = sizeof bytes, .page_bytes = sizeof bytes,
                                        .eip = 0x1000, .foreign = count_zydis};
        struct insn plain, full;
        decoded_by_zydis = 0;
        int got = insn_decode(&req, 0, &plain);
        if (decoded_by_zydis)
            continue;
        req.thorough = true;
        ck_assert_int_eq(got, insn_decode(&req, 0, &full));
        ck_assert_uint_eq(decoded_by_zydis, 1);
        plain_ones++;
        if (!got)
            compare_decoded(&plain, &full);
    }
    ck_assert_uint_gt(plain_ones, 50000);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("instruction table");
    TCase *tcase = tcase_create("table");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, no_two_rows_overlap);
    tcase_add_test(tcase, rows_are_well_formed);
    tcase_add_test(tcase, operand_notation_is_read);
    tcase_add_test(tcase, what_decodes_has_a_row_or_a_reason);
    tcase_add_test(tcase, plain_decoding_agrees_with_zydis);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
