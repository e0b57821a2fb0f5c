/* Blocks of several instructions against the real processor: what the translator carries over from
 * one instruction to the next (the stack pointer above all) must be right on every way out, faults
 * in the middle and branches that do not end the block included. */
#include "tests/unit/translator_compare.h"

#ifndef BLOCKS
#define BLOCKS 20000u
#endif
#define BLOCK_BYTES 44u

struct writer {
    uint8_t *at, *end;
};

static void put_bytes(struct writer *w, const uint8_t *bytes, unsigned len) {
    memcpy(w->at, bytes, len);
    w->at += len;
}

/* ModRM of a register, or of [reg + disp8], often ESP. */
static void put_modrm(struct writer *w, unsigned reg) {
    static const uint8_t displacements[] = {0, 4, 8, 0xfc, 0xf8, 2, 0x20};
    unsigned rm = chance(40) ? ESP : rnd() & 7u;
    if (chance(30)) {
        *w->at++ = (uint8_t)(0xc0 | reg << 3 | rm);
        return;
    }
    *w->at++ = (uint8_t)(0x40 | reg << 3 | rm);
    if (rm == ESP)
        *w->at++ = 0x24;
    *w->at++ = displacements[rnd() % sizeof displacements];
}

static void put_stack_insn(struct writer *w) {
    static const uint8_t plain[] = {0x9c, 0x60, 0x61, 0xc9};
    switch (rnd() % 8) {
    case 0:
    case 1:
        *w->at++ = (uint8_t)(0x50 | (rnd() & 7));
        break;
    case 2:
    case 3:
        *w->at++ = (uint8_t)(0x58 | (rnd() & 7));
        break;
    case 4:
        put_bytes(w, (const uint8_t[]){0x6a, (uint8_t)rnd()}, 2);
        break;
    case 5:
        *w->at++ = 0xff, put_modrm(w, 6);
        break;
    case 6:
        *w->at++ = 0x8f, put_modrm(w, 0);
        break;
    default:
        if (chance(20))
            put_bytes(w, (const uint8_t[]){0xc8, (uint8_t)(rnd() & 0x3c), 0, 0}, 4);
        else
            *w->at++ = plain[rnd() % sizeof plain];
    }
}

static void put_plain_insn(struct writer *w) {
    static const uint8_t opcodes[] = {0x8b, 0x89, 0x03, 0x01, 0x39, 0x2b, 0x85, 0x8a, 0x88, 0x87};
    switch (rnd() % 6) {
    case 0:
        *w->at++ = 0x8d, *w->at++ = (uint8_t)(0x44 | (rnd() & 7) << 3);
        *w->at++ = 0x24, *w->at++ = (uint8_t)(rnd() & 0x1c);
        break;
    case 1:
        *w->at++ = 0x83, put_modrm(w, rnd() & 7u), *w->at++ = (uint8_t)(rnd() & 0xc);
        break;
    case 2:
        *w->at++ = (uint8_t)(0x40 | (rnd() & 15));
        break;
    default:
        *w->at++ = opcodes[rnd() % sizeof opcodes], put_modrm(w, rnd() & 7u);
    }
}

/* Jcc to a landing; the block may go on behind it. */
static void put_branch(struct writer *w, const struct insn_case *c) {
    uint32_t landing = case_landings[rnd() % 3];
    uint32_t next = CODE_AT + (uint32_t)(w->at - c->bytes) + 6, relative = landing - next;
    put_bytes(w, (const uint8_t[]){0x0f, (uint8_t)(0x80 | (rnd() & 15))}, 2);
    put_bytes(w, (const uint8_t *)&relative, 4);
}

static void put_last(struct writer *w, const struct insn_case *c) {
    uint32_t landing = case_landings[rnd() % 3];
    uint32_t relative = landing - (CODE_AT + (uint32_t)(w->at - c->bytes) + 5);
    switch (rnd() % 5) {
    case 0:
        *w->at++ = 0xe8, put_bytes(w, (const uint8_t *)&relative, 4);
        break;
    case 1:
        *w->at++ = 0xe9, put_bytes(w, (const uint8_t *)&relative, 4);
        break;
    case 2: /* push the landing, then return to it */
        *w->at++ = 0x68, put_bytes(w, (const uint8_t *)&landing, 4);
        if (chance(50))
            put_bytes(w, (const uint8_t[]){0xc2, 8, 0}, 3);
        else
            *w->at++ = 0xc3;
        break;
    default:
        break;
    }
}

static void make_block(struct insn_case *c) {
    static const struct insn_row row = {.name = "block", .operands = ""};
    struct writer w = {c->bytes, c->bytes + BLOCK_BYTES - 12};
    unsigned count = 1 + rnd() % 6;
    c->row = &row;
    for (unsigned i = 0; i < count && w.at < w.end; i++) {
        if (chance(12))
            put_branch(&w, c);
        else if (chance(12))
            *w.at++ = 0x66;
        else if (chance(60))
            put_stack_insn(&w);
        else
            put_plain_insn(&w);
    }
    put_last(&w, c);
    c->len = (unsigned)(w.at - c->bytes);
    memset(c->data, 0, DATA_BYTES);
    for (unsigned i = 0; i < 8; i++)
        c->in.gpr[i] = chance(85) ? DATA_AT + 0x400 + (rnd() % 0x1800) : DATA_AT + rnd() % 0x60;
    c->in.gpr[ESP] &= ~3u;
    c->in.flags = rnd() & FL_ARITH;
    c->in.trap = TRAP_NONE;
    c->based = false;
    rnd_vector(c);
    rnd_mode(c);
    c->mode &= ~(MODE_ALIGN | MODE_DEBUG | MODE_GENERAL_CS);
}

/* A 66h that came to stand before a branch cuts EIP, which the native side cannot follow. */
static bool decodes_as_meant(struct insn_case *c) {
    ZydisDecoder decoder;
    ZydisDecodedInstruction z;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    unsigned at = 0;
    while (at < c->len) {
        if (ZYAN_FAILED(
                ZydisDecoderDecodeInstruction(&decoder, NULL, c->bytes + at, c->len - at, &z)))
            return false;
        bool word = (z.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0;
        if (word && (z.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || z.raw.imm[0].size))
            return false;
        c->z = z;
        at += z.length;
    }
    return true;
}

START_TEST(blocks_do_what_the_processor_does) {
    static struct insn_case c;
    for (unsigned i = 0; i < BLOCKS; i++) {
        make_block(&c);
        if (decodes_as_meant(&c))
            run_case(&c);
    }
    fprintf(stderr, "%u blocks, %u compared, %u faults, %u failed\n", tally.made,
            tally.run, tally.faults, tally.failed);
    ck_assert_uint_gt(tally.run, BLOCKS / 2);
    ck_assert_uint_gt(tally.faults, 200);
    ck_assert_uint_eq(tally.failed, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("translator, blocks");
    TCase *tcase = tcase_create("differential");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, blocks_do_what_the_processor_does);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
