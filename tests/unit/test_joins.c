/* Branches that stay inside their block (translator/joins.c): where they land, what becomes of those that cannot,
 * and that everything behind a branch that grew is where the lists say. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "translator/translate.h"

#define AT 0x401000u
#define BYTES 512u

static uint8_t guest[BYTES], code[TRANSLATION_CODE_MAX], cold[2048];
static struct translation out;
static struct translate_request req;

static uint8_t *put(uint8_t *to, const char *bytes, unsigned len) {
    memcpy(to, bytes, len);
    return to + len;
}

/* INT3 behind them. */
static void translate(const uint8_t *end, bool quick) {
    uint32_t len = (uint32_t)(end - guest);
    guest[len] = 0xcc;
    req = (struct translate_request){.bytes = guest, .len = len + 1, .page_bytes = len + 1, .eip = AT, .linear = AT,
                                     .mode = 3, .code_limit = UINT32_MAX, .cold = cold, .cold_room = sizeof cold,
                                     .poll_address = 0x10000, .max_branches = 4, .thorough = !quick};
    ck_assert_int_eq(translate_block(&req, code, sizeof code, &out), TRANSLATE_OK);
}

/* Where the branch goes that instruction `insn` is; its length by the way. */
static uint32_t goes_to(unsigned insn, unsigned *len) {
    const uint8_t *at = code + out.map[insn].host;
    int32_t distance;
    bool far = *at == 0x0f || *at == 0xe9;
    *len = far ? (*at == 0x0f ? 6 : 5) : 2;
    if (far)
        memcpy(&distance, at + *len - 4, 4);
    else
        distance = (int8_t)at[1];
    return out.map[insn].host + *len + (uint32_t)distance;
}

static bool is_exit(unsigned insn, uint32_t target) {
    for (unsigned i = 0; i < out.exit_count; i++)
        if (out.exits[i].target == target && out.exits[i].site > out.map[insn].host &&
            (insn + 1 == out.insn_count || out.exits[i].site < out.map[insn + 1].host))
            return true;
    return false;
}

/* ADD EAX, imm32: each another one, so that an instruction is known by its bytes. */
static uint8_t *put_adds(uint8_t *to, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        *to++ = 0x05;
        uint32_t value = 0x01010101u * (uint32_t)(to - guest);
        to = put(to, (const char *)&value, 4);
    }
    return to;
}

static void check_adds(void) {
    for (unsigned i = 0; i < out.insn_count; i++)
        if (guest[out.map[i].guest] == 0x05)
            ck_assert_mem_eq(code + out.map[i].host, guest + out.map[i].guest, 5);
}

START_TEST(either_way_of_a_condition_is_in_the_block) {
    uint8_t *at = put(guest, "\x74\x07", 2); /* je 1f; add; jmp 2f; 1: add; 2: ret */
    at = put(put_adds(at, 1), "\xeb\x05", 2);
    at = put(put_adds(at, 1), "\xc3", 1);
    unsigned len;
    for (unsigned quick = 0; quick < 2; quick++) {
        translate(at, quick);
        ck_assert_uint_eq(out.insn_count, 5);
        ck_assert_uint_eq(out.exit_count, 0);
        ck_assert_uint_eq(goes_to(0, &len), out.map[3].host);
        ck_assert_uint_eq(len, 2);
        ck_assert_uint_eq(goes_to(2, &len), out.map[4].host);
        ck_assert_uint_eq(len, 2);
        check_adds();
    }
}
END_TEST

START_TEST(a_block_goes_on_behind_its_end_for_a_branch) {
    uint8_t *at = put(guest, "\x74\x01\xc3", 3); /* je 1f; ret; 1: add; ret */
    at = put(put_adds(at, 1), "\xc3", 1);
    unsigned len;
    translate(at, true);
    ck_assert_uint_eq(out.insn_count, 4);
    ck_assert_uint_eq(goes_to(0, &len), out.map[2].host);
}
END_TEST

START_TEST(one_into_the_middle_of_an_instruction_leaves) {
    uint8_t *at = put_adds(put(guest, "\x75\x0a\x74\x07", 4), 3); /* jne 3rd add; je into the second */
    at = put(at, "\xc3", 1);
    unsigned len;
    for (unsigned quick = 0; quick < 2; quick++) {
        translate(at, quick);
        ck_assert_uint_eq(out.insn_count, 6);
        ck_assert_uint_eq(out.exit_count, 2);
        ck_assert(is_exit(0, AT + 12));
        ck_assert(is_exit(1, AT + 11));
        goes_to(1, &len);
        ck_assert_uint_eq(len, 6);
        check_adds();
    }
    guest[1] = 0x0c; /* to the third */
    translate(at, true);
    ck_assert_uint_eq(out.exit_count, 1);
    ck_assert_uint_eq(goes_to(0, &len), out.map[4].host);
    ck_assert(is_exit(1, AT + 11));
    check_adds();
}
END_TEST

/* Lengths of host code on both sides of what one byte of displacement reaches; the branch inside, which
 * leads nowhere, grows. */
START_TEST(far_ones_have_four_bytes) {
    unsigned near = 0, far = 0;
    for (unsigned count = 15; count < 26; count++) {
        uint8_t *at = put(guest, "\x74\x00\x75\x7f", 4), *nowhere = at - 1;
        at = put_adds(at, count);
        guest[1] = (uint8_t)(at - guest - 2);
        *nowhere = (uint8_t)(at - guest - 4 - 7);
        at = put(at, "\x40\xc3", 2);
        unsigned len;
        translate(at, true);
        ck_assert_uint_eq(goes_to(0, &len), out.map[2 + count].host);
        ck_assert_uint_eq(len, out.map[2 + count].host - out.map[1].host > 127 || count * 5 + 2 >= 112 ? 6 : 2);
        ck_assert(is_exit(1, AT + 4 + *nowhere));
        near += len == 2, far += len == 6;
        check_adds();
    }
    ck_assert_uint_gt(near, 2);
    ck_assert_uint_gt(far, 2);
}
END_TEST

START_TEST(esp_is_settled_where_a_branch_lands) {
    uint8_t *at = put(guest, "\x74\x01\x50\x58\xc3", 5); /* je 1f; push; 1: pop; ret */
    translate(at, true);
    ck_assert_uint_eq(out.insn_count, 4);
    ck_assert_int_eq(out.map[2].esp, 0);
    ck_assert_int_eq(out.map[3].esp, 4);
}
END_TEST

START_TEST(branches_stay_exits_where_they_must) {
    uint8_t *at = put_adds(put(guest, "\x74\x05", 2), 1);
    at = put(at, "\xc3", 1);
    translate(at, true);
    ck_assert_uint_eq(out.exit_count, 0);
    req.no_links = true;
    ck_assert_int_eq(translate_block(&req, code, sizeof code, &out), TRANSLATE_OK);
    ck_assert_uint_eq(out.insn_count, 1);
    at = put(guest, "\x74\x01\xfb\x90\x90\xc3", 6); /* over an STI: what follows it is in its shadow */
    translate(at, true);
    req.mode = 0;
    ck_assert_int_eq(translate_block(&req, code, sizeof code, &out), TRANSLATE_OK);
    ck_assert(is_exit(0, AT + 3));
}
END_TEST

/* More than may wait at a time: the block ends at one of them, and each has an exit of its own. */
START_TEST(too_many_end_the_block) {
    uint8_t *at = guest;
    for (unsigned i = 0; i < 12; i++)
        at = put(at, (char[]){(char)(0x70 + i), (char)(100 - 2 * i)}, 2);
    at = put(put_adds(at, 10), "\xc3", 1);
    translate(at, true);
    ck_assert_uint_lt(out.insn_count, 12);
    ck_assert_uint_le(out.exit_count, TRANSLATION_EXITS_MAX);
    for (unsigned i = 0; i < out.insn_count; i++)
        ck_assert(is_exit(i, AT + 102));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("joins");
    TCase *tcase = tcase_create("joins");
    tcase_add_test(tcase, either_way_of_a_condition_is_in_the_block);
    tcase_add_test(tcase, a_block_goes_on_behind_its_end_for_a_branch);
    tcase_add_test(tcase, one_into_the_middle_of_an_instruction_leaves);
    tcase_add_test(tcase, far_ones_have_four_bytes);
    tcase_add_test(tcase, esp_is_settled_where_a_branch_lands);
    tcase_add_test(tcase, branches_stay_exits_where_they_must);
    tcase_add_test(tcase, too_many_end_the_block);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
