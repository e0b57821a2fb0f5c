/* The quick way of translating (translator/quick.c) against the way round by Zydis and the emitters: the same
 * code, map and exits, byte for byte. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "translator/block.h"

#define BLOCKS 12000u
#define CODE_BYTES 480u
#define COLD_BYTES 2048u

static uint32_t seed = 77;

static uint32_t draw(void) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

struct side {
    uint8_t code[TRANSLATION_CODE_MAX], cold[COLD_BYTES];
    struct translation out;
    enum translate_status status;
};

static uint8_t guest[CODE_BYTES + 32];

/* Opcodes of all kinds, registers and displacements that mean something special more often than others. */
static void draw_insn(uint8_t *to) {
    uint32_t kind = draw();
    for (unsigned i = 0; i < 16; i++)
        to[i] = draw() & 1 ? (uint8_t)draw() : draw() & 1 ? 0 : 0xff;
    if ((kind & 7) == 0)
        *to++ = 0x66;
    if ((kind >> 3 & 15) == 0)
        *to++ = (const uint8_t[]){0x64, 0x2e, 0x65, 0xf3}[kind >> 7 & 3];
    if ((kind >> 9 & 3) == 0)
        *to++ = 0x0f;
    *to++ = (uint8_t)draw();
    *to = (uint8_t)draw();
    if (kind >> 12 & 1)
        *to = (uint8_t)((*to & 0xc0) | (kind >> 13 & 1 ? 4 : 5) | (kind >> 14 & 1 ? *to & 0x38 : 0x20));
}

/* Few that end a block. */
static uint32_t fill(uint32_t mode) {
    uint32_t at = 0;
    memset(guest, 0x90, sizeof guest);
    while (at < CODE_BYTES - 16) {
        uint8_t bytes[20];
        draw_insn(bytes);
        struct insn in;
        struct translate_request req = {.bytes = bytes, .len = 16, .page_bytes = 16, .mode = mode, .thorough = true};
        if (insn_decode(&req, 0, &in) || (in.row->ends && draw() % 16))
            continue;
        memcpy(guest + at, bytes, in.len);
        at += in.len;
    }
    return at;
}

static unsigned hint_kind;

/* None, for a few instructions, for many. */
static uint8_t hint_of(void *opaque, uint32_t eip) {
    (void)opaque;
    uint32_t hash = eip * 0x9e3779b1u >> 20;
    return hash & (hint_kind == 1 ? 15u : 1u) ? 0 : (uint8_t)(hash >> 4 & 15u);
}

static uint8_t user_hint_of(void *opaque, uint32_t eip) {
    return hint_of(opaque, eip) & 1 ? HINT_WRAPS : 0;
}

static uint32_t fixed_slot_of(void *opaque, uint32_t target) {
    (void)opaque;
    return target & 1 ? NO_FIXED_SLOT : target & 0xfff;
}

static struct translate_request request(uint32_t mode, uint32_t start) {
    uint32_t kind = draw();
    hint_kind = kind & 3;
    return (struct translate_request){
        .bytes = guest, .len = CODE_BYTES, .page_bytes = CODE_BYTES, .eip = start, .linear = start, .mode = mode,
        .code_limit = UINT32_MAX, .max_insns = kind >> 2 & 7 ? 0 : kind >> 5 & 15,
        .no_links = (kind >> 9 & 15) == 0, .direct_cross_page = (mode & MODE_CPL) != 3, .tsc_is_host = true,
        .cold_room = COLD_BYTES, .max_branches = 4, .poll_address = kind >> 13 & 7 ? 0x10000 : 0,
        .hint = hint_kind ? (mode & MODE_CPL) == 3 ? user_hint_of : hint_of : NULL,
        .fixed_slot = (mode & MODE_CPL) == 3 ? fixed_slot_of : NULL,
    };
}

/* What stands between code and cold code is a distance, so both sides use the same places in turn. */
static void run(struct translate_request req, bool thorough, struct side *side) {
    static struct side place;
    memset(&place, 0, sizeof place);
    req.cold = place.cold;
    req.thorough = thorough;
    place.status = translate_block(&req, place.code, sizeof place.code, &place.out);
    *side = place;
}

static void compare(const struct side *a, const struct side *b, unsigned block) {
    const struct translation *s = &a->out, *t = &b->out;
    ck_assert_int_eq(a->status, b->status);
    if (a->status != TRANSLATE_OK)
        return;
    for (unsigned i = 0; i < s->insn_count && i < t->insn_count; i++)
        ck_assert_msg(memcmp(&s->map[i], &t->map[i], sizeof *s->map) == 0,
                      "block %u: instruction %u differs, or the one before: %02x %02x %02x %02x", block, i,
                      guest[s->map[i ? i - 1 : 0].guest], guest[s->map[i ? i - 1 : 0].guest + 1],
                      guest[s->map[i].guest], guest[s->map[i].guest + 1]);
    ck_assert_uint_eq(s->insn_count, t->insn_count);
    ck_assert_uint_eq(s->guest_len, t->guest_len);
    ck_assert_uint_eq(s->code_len, t->code_len);
    ck_assert_uint_eq(s->cold_len, t->cold_len);
    for (unsigned i = 0; i < s->insn_count; i++) {
        uint32_t from = s->map[i].host, to = i + 1 < s->insn_count ? s->map[i + 1].host : s->code_len;
        const uint8_t *bytes = guest + s->map[i].guest;
        ck_assert_msg(memcmp(a->code + from, b->code + from, to - from) == 0,
                      "block %u: %02x %02x %02x %02x is written otherwise", block, bytes[0], bytes[1], bytes[2], bytes[3]);
    }
    ck_assert_mem_eq(a->cold, b->cold, s->cold_len);
    ck_assert_uint_eq(s->exit_count, t->exit_count);
    ck_assert_mem_eq(s->exits, t->exits, s->exit_count * sizeof *s->exits);
}

START_TEST(the_quick_way_writes_the_same_code) {
    static const uint32_t modes[] = {
        3,
        SEGMENT_GENERAL << MODE_GS_SHIFT | SEGMENT_BASED << MODE_FS_SHIFT,
        MODE_NO_AVX | MODE_NO_SSE | SEGMENT_GENERAL << MODE_GS_SHIFT,
        3 | SEGMENT_BASED << MODE_GS_SHIFT | MODE_NO_FPU,
        SEGMENT_BASED << MODE_DS_SHIFT | SEGMENT_BASED << MODE_SS_SHIFT,
        MODE_GENERAL_ES, MODE_GENERAL_DS, MODE_GENERAL_SS, MODE_STACK16, MODE_ALIGN | 3, MODE_DEBUG,
    };
    static struct side quick, round;
    unsigned instructions = 0;
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint32_t mode = modes[i % 16 < sizeof modes / sizeof *modes ? i % 16 : i % 2];
        fill(mode);
        uint32_t start = 0x400000 + draw() % (4096 - CODE_BYTES);
        struct translate_request req = request(mode, start);
        run(req, true, &round);
        run(req, false, &quick);
        compare(&round, &quick, i);
        instructions += round.out.insn_count;
    }
    ck_assert_uint_gt(instructions, 20 * BLOCKS);
}
END_TEST

/* A block whose bytes end anywhere: nothing behind them is looked at, and what is cut off is asked for. */
START_TEST(bytes_that_end_early_are_the_same_either_way) {
    static struct side quick, round;
    for (unsigned i = 0; i < BLOCKS / 4; i++) {
        uint32_t filled = fill(3), len = 1 + draw() % (filled < 64 ? filled : 64);
        uint8_t *exact = malloc(len); /* for sanitizers */
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, guest, len);
        struct translate_request req = request(3, 0x401000 - len);
        req.bytes = exact;
        req.len = req.page_bytes = len;
        run(req, true, &round);
        run(req, false, &quick);
        compare(&round, &quick, i);
        free(exact);
    }
}
END_TEST

#define BEFORE 14u

/* The same block made elsewhere and moved: to the very place where it would have been written, and to one that is
 * aligned. What stands in front of it goes with it, and what lies behind stays. */
START_TEST(a_moved_block_is_the_one_written_in_place) {
    static struct { uint8_t before[64]; struct side side; } draft;
    static struct side there, moved;
    static uint8_t place[TRANSLATION_CODE_MAX + 256];
    uintptr_t stubs[STUB_COUNT];
    for (unsigned i = 0; i < BLOCKS / 4; i++) {
        fill(3);
        struct translate_request req = request(i % 2 ? 3 : MODE_STACK16, 0x400000 + draw() % (4096 - CODE_BYTES));
        uint32_t alignment = 1u << draw() % 7;
        memset(place, 0xee, sizeof place);
        for (unsigned k = 0; k < STUB_COUNT; k++)
            stubs[k] = (uintptr_t)place + (1u << 20) + 16 * k;
        req.stubs = i % 2 ? stubs : NULL;
        req.cold = moved.cold;
        there.status = translate_block(&req, place + 128, TRANSLATION_CODE_MAX, &there.out);
        if (there.status != TRANSLATE_OK)
            continue;
        uint32_t len = there.out.code_len;
        memcpy(there.code, place + 128, len);
        memcpy(there.cold, moved.cold, there.out.cold_len);
        memset(place, 0xee, sizeof place);
        memset(draft.before, 0xdd, sizeof draft.before);
        req.place = (struct translation_place){.end = place + 128 + len, .before = BEFORE, .alignment = 1};
        moved.status = translate_block(&req, draft.side.code, TRANSLATION_CODE_MAX, &moved.out);
        ck_assert_ptr_eq(moved.out.code, place + 128);
        memcpy(moved.code, place + 128, len);
        compare(&there, &moved, i);
        for (unsigned k = 0; k < 64; k++) {
            ck_assert_uint_eq(place[128 - BEFORE - PLACE_SLACK - 1], 0xee);
            ck_assert_uint_eq(place[128 + len + k], 0xee);
            ck_assert_uint_eq(place[127 - k % BEFORE], 0xdd);
        }
        req.place.end = place + sizeof place;
        req.place.alignment = alignment;
        req.place.skew = i % 3 ? -(int32_t)BEFORE : (int32_t)LOOP_ENTRY;
        ck_assert_int_eq(translate_block(&req, draft.side.code, TRANSLATION_CODE_MAX, &moved.out), TRANSLATE_OK);
        uintptr_t at = (uintptr_t)moved.out.code, end = (uintptr_t)place + sizeof place;
        ck_assert_uint_eq((at + (uintptr_t)(intptr_t)req.place.skew) % alignment, 0);
        ck_assert(at + len <= end && end - (at + len) < alignment);
    }
}
END_TEST

/* By bits what the map has, for those that r12d does not lag at. */
START_TEST(starts_are_those_of_the_map) {
    static struct side side;
    for (unsigned i = 0; i < BLOCKS / 4; i++) {
        fill(3);
        run(request(3, 0x400000 + draw() % (4096 - CODE_BYTES)), i % 4 == 0, &side);
        const struct translation *t = &side.out;
        uint64_t starts[TRANSLATION_START_WORDS] = {0};
        for (unsigned k = 0; k < t->insn_count && side.status == TRANSLATE_OK; k++)
            starts[t->map[k].guest / 64] |= (uint64_t)(t->map[k].esp == 0) << t->map[k].guest % 64;
        for (unsigned k = 0; k < TRANSLATION_START_WORDS && side.status == TRANSLATE_OK; k++)
            ck_assert_uint_eq(starts[k] & ~t->starts[k], 0);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quick");
    TCase *tcase = tcase_create("quick");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_quick_way_writes_the_same_code);
    tcase_add_test(tcase, bytes_that_end_early_are_the_same_either_way);
    tcase_add_test(tcase, a_moved_block_is_the_one_written_in_place);
    tcase_add_test(tcase, starts_are_those_of_the_map);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
