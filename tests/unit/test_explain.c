/* Explanations: every guest byte and host byte accounted for, classes and reasons as the table has
 * them, pieces walked to their end, and random bytes in every mode. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/explain_output.h"
#include "translator/callouts.h"
#include "translator/cpu.h"
#include "translator/insn_why.h"

static struct error error;
static struct explained_fragment fragment;

static struct explain_code code_of(const void *bytes, uint32_t len, uint32_t mode) {
    return (struct explain_code){.bytes = bytes,
                                 .len = len,
                                 .linear = 0xc0100000,
                                 .eip = 0xc0100000,
                                 .mode = mode,
                                 .code_limit = UINT32_MAX};
}

/* All bytes of both sides belong to exactly one instruction. */
static void check_whole(const struct explained_fragment *f) {
    uint32_t guest = 0, hot = 0, cold = 0, hot_at = 0, cold_at = 0;
    ck_assert_uint_gt(f->insn_count, 0);
    for (unsigned i = 0; i < f->insn_count; i++) {
        ck_assert_uint_eq(f->insns[i].linear, f->linear + guest);
        ck_assert_uint_gt(strlen(f->insns[i].label), 0);
        ck_assert_uint_gt(strlen(f->insns[i].why), 0);
        guest += f->insns[i].len;
        hot += f->insns[i].hot_bytes;
        cold += f->insns[i].cold_bytes;
    }
    ck_assert_uint_eq(hot, f->code_len);
    ck_assert_uint_eq(cold, f->cold_len);
    ck_assert_uint_eq(guest, f->guest_len);
    for (unsigned i = 0; i < f->host_count; i++) {
        uint32_t *at = f->hosts[i].cold ? &cold_at : &hot_at;
        ck_assert_uint_eq(f->hosts[i].offset, *at);
        ck_assert_uint_lt(f->hosts[i].insn, f->insn_count);
        *at += f->hosts[i].len;
    }
    ck_assert_uint_eq(hot_at, f->code_len);
    ck_assert_uint_eq(cold_at, f->cold_len);
}

static void explain(const char *bytes, uint32_t len, enum explain_mode mode, unsigned cpl) {
    struct explain_code code = code_of(bytes, len, explain_mode_word(mode, cpl));
    int rc = explain_fragment(&code, &fragment, &error);
    ck_assert_msg(rc == 0, "%s", error.text);
    check_whole(&fragment);
}

/* The first instruction's label. */
static void labelled(const char *bytes, uint32_t len, unsigned cpl, const char *label) {
    explain(bytes, len, EXPLAIN_32, cpl);
    ck_assert_str_eq(fragment.insns[0].label, label);
    explained_fragment_release(&fragment);
}

static bool has_note(unsigned insn, const char *note) {
    for (unsigned i = 0; i < fragment.host_count; i++)
        if (fragment.hosts[i].insn == insn && strstr(fragment.hosts[i].note, note))
            return true;
    return false;
}

START_TEST(labels_say_what_became_of_an_instruction) {
    labelled("\x01\xd8", 2, 0, "copied");
    labelled("\x8b\x03", 2, 0, "re-encoded");
    labelled("\x40", 1, 0, "rewritten");
    labelled("\xfa", 1, 0, "inline");
    labelled("\xfa", 1, 3, "callout cli");
    labelled("\x0f\x01\x00", 3, 3, "callout sgdt");
    labelled("\x0f\x01\x10", 3, 3, "raises #GP");
    labelled("\x9d", 1, 0, "inline, or callout popf");
    labelled("\x9d", 1, 3, "callout popf");
    labelled("\x0f\x0b", 2, 0, "raises #UD");
    labelled("\x62\xf1\x7c\x48\x58\xc0", 6, 0, "raises #UD"); /* EVEX */
    labelled("\xf0\x90", 2, 0, "raises #UD");
    labelled("\xce", 1, 0, "inline, or callout into");
}
END_TEST

START_TEST(notes_name_what_is_not_the_guests) {
    explain("\x8b\x03\xe8\x00\x10\x00\x00\xc3", 8, EXPLAIN_32, 0);
    ck_assert(has_note(0, "by the window in GS"));
    ck_assert(has_note(1, "host call, linked to c0101007"));
    ck_assert(has_note(1, "landing: faults unless the guest returns to c0100007"));
    ck_assert(has_note(1, "stub: makes the link to c0101007"));
    ck_assert(has_note(2, "to the landing behind the guest's call"));
    ck_assert(fragment.insns[2].starts_block);
    ck_assert(!fragment.insns[1].starts_block);
    explained_fragment_release(&fragment);
    explain("\xeb\xfe", 2, EXPLAIN_32, 0);
    ck_assert(has_note(0, "somebody wants attention"));
    ck_assert_uint_eq(fragment.exit_count, 1);
    ck_assert_uint_eq(fragment.exits[0].linear, 0xc0100000);
    explained_fragment_release(&fragment);
    explain("\x74\x02\x40\x40\xc3", 5, EXPLAIN_32, 0);
    ck_assert(has_note(0, "branch to c0100004, further on in the fragment"));
    ck_assert_uint_eq(fragment.exit_count, 0);
    ck_assert(fragment.insns[1].starts_block);
    ck_assert(!fragment.insns[2].starts_block);
    ck_assert(fragment.insns[3].starts_block);
    explained_fragment_release(&fragment);
    explain("\xe9\x00\x20\x00\x00", 5, EXPLAIN_32, 3); /* a user's, into another page */
    ck_assert(has_note(0, "the slot of c0102005 alone"));
    explained_fragment_release(&fragment);
    explain("\xff\xe0", 2, EXPLAIN_32, 0);
    ck_assert(has_note(0, "jump cache: by the target in r11d"));
    explained_fragment_release(&fragment);
    explain("\x50\x51\x8e\xd8", 4, EXPLAIN_32, 0);
    ck_assert_int_eq(fragment.insns[1].lag, -4);
    ck_assert(has_note(1, "ESP brought up to date"));
    ck_assert(has_note(2, "callout mov_to_seg"));
    explained_fragment_release(&fragment);
}
END_TEST

START_TEST(both_syntaxes) {
    struct explain_code code = code_of("\x89\xd8", 2, explain_mode_word(EXPLAIN_32, 0));
    ck_assert_int_eq(explain_fragment(&code, &fragment, &error), 0);
    ck_assert_str_eq(fragment.insns[0].text, "mov eax, ebx");
    explained_fragment_release(&fragment);
    code.syntax = SYNTAX_ATT;
    ck_assert_int_eq(explain_fragment(&code, &fragment, &error), 0);
    ck_assert_str_eq(fragment.insns[0].text, "movl %ebx, %eax");
    ck_assert_str_eq(fragment.hosts[0].text, "movl %ebx, %eax");
    explained_fragment_release(&fragment);
}
END_TEST

START_TEST(sixteen_bit_code) {
    explain("\x8b\x07\xcd\x10", 4, EXPLAIN_REAL, 0);
    ck_assert_str_eq(fragment.insns[0].text, "mov ax, word ptr [bx]");
    ck_assert_str_eq(fragment.insns[1].label, "callout int_n");
    explained_fragment_release(&fragment);
    ck_assert_uint_eq(explain_mode_word(EXPLAIN_REAL, 0) & (MODE_REAL | MODE_CODE16 | MODE_CPL),
                      MODE_REAL | MODE_CODE16);
    ck_assert_uint_eq(explain_mode_word(EXPLAIN_VM86, 0) & (MODE_VM86 | MODE_CPL), MODE_VM86 | 3);
    ck_assert_uint_eq(explain_mode_word(EXPLAIN_32, 3) & (MODE_CPL | MODE_CODE16), 3);
}
END_TEST

START_TEST(a_piece_is_walked_to_its_end) {
    /* je over a hlt; jmp to the last byte; two bytes that nothing leads to; ret */
    static const char bytes[] = "\x74\x01\xf4\xeb\x02\x90\x90\xc3";
    struct explain_code code = code_of(bytes, 8, explain_mode_word(EXPLAIN_32, 0));
    struct explanation e;
    ck_assert_int_eq(explain_piece(&code, 64, &e, &error), 0);
    uint32_t next = code.linear, sum = 0;
    for (unsigned i = 0; i < e.count; i++) {
        check_whole(&e.fragments[i]);
        ck_assert_uint_le(e.fragments[i].linear, next);
        if (e.fragments[i].linear + e.fragments[i].guest_len > next)
            next = e.fragments[i].linear + e.fragments[i].guest_len;
        sum += e.fragments[i].insn_count;
    }
    ck_assert_uint_eq(next, code.linear + 8);
    ck_assert_uint_eq(sum, e.insns);
    ck_assert(!e.cut);
    explanation_release(&e);
    ck_assert_int_eq(explain_piece(&code, 1, &e, &error), 0);
    ck_assert_uint_eq(e.count, 1);
    ck_assert(e.cut);
    explanation_release(&e);
}
END_TEST

START_TEST(bytes_that_end_inside_an_instruction) {
    struct explain_code code = code_of("\x81\xc3\x01", 3, explain_mode_word(EXPLAIN_32, 0));
    struct explanation e;
    ck_assert_int_eq(explain_fragment(&code, &fragment, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "c0100000: the bytes end inside"));
    ck_assert_int_eq(explain_piece(&code, 64, &e, &error), -1);
    code = code_of("\x90\x81\xc3\x01", 4, explain_mode_word(EXPLAIN_32, 0));
    ck_assert_int_eq(explain_piece(&code, 64, &e, &error), 0);
    ck_assert_uint_eq(e.insns, 1);
    ck_assert(e.cut);
    explanation_release(&e);
    code = code_of("\xe8\x00\x00\x00\x00", 5, explain_mode_word(EXPLAIN_32, 0));
    code.linear = code.eip = 0xc0100ffd; /* straddles a page's end */
    ck_assert_int_eq(explain_fragment(&code, &fragment, &error), 0);
    ck_assert_uint_eq(fragment.guest_len, 5);
    check_whole(&fragment);
    explained_fragment_release(&fragment);
}
END_TEST

START_TEST(every_row_and_callout_has_its_reason) {
    static const enum callout_id internal[] = {CALLOUT_raise, CALLOUT_check,        CALLOUT_probe,
                                               CALLOUT_reach, CALLOUT_reach_string, CALLOUT_string};
    for (unsigned i = 0; i < insn_row_count; i++) {
        char id[INSN_ROW_ID_MAX];
        insn_row_id(&insn_rows[i], id);
        ck_assert_msg(*insn_why(&insn_rows[i]), "%s has no reason", id);
        if (insn_rows[i].callout < CALLOUT_COUNT)
            ck_assert_msg(*insn_why(&insn_rows[i]) != 0, "%s", id);
    }
    for (unsigned i = 0; i < sizeof internal / sizeof *internal; i++)
        ck_assert_str_eq(callout_why(internal[i]), "");
    ck_assert_str_eq(insn_class_name(CLASS_CALLOUT), "callout");
}
END_TEST

START_TEST(random_bytes_in_every_mode) {
    uint64_t seed = 0x9e3779b97f4a7c15u + (uint64_t)_i;
    for (unsigned round = 0; round < 60; round++) {
        uint8_t bytes[160];
        for (unsigned i = 0; i < sizeof bytes; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(seed >> 56);
        }
        struct explain_code code =
            code_of(bytes, sizeof bytes, explain_mode_word((enum explain_mode)_i, round & 3));
        if (_i != EXPLAIN_32) {
            code.eip = 0x100;
            code.code_limit = 0xffff;
        }
        struct explanation e;
        ck_assert_int_eq(explain_piece(&code, 200, &e, &error), 0);
        for (unsigned i = 0; i < e.count; i++)
            check_whole(&e.fragments[i]);
        explanation_release(&e);
    }
}
END_TEST

/* Each way of printing takes what a hostile name and odd bytes give, and the JSON reads back. */
START_TEST(output_in_every_form) {
    static const char bytes[] = "\x74\x01\xf4\x55\x9d\x0f\x01\x00\xc3";
    struct explain_code code = code_of(bytes, 9, explain_mode_word(EXPLAIN_32, 0));
    struct explain_view view = {.title = "<b>\"&\n", .context = "x", .colour = true, .cold = true};
    struct explanation e;
    char *text = NULL;
    size_t size = 0;
    ck_assert_int_eq(explain_piece(&code, 64, &e, &error), 0);
    FILE *out = open_memstream(&text, &size);
    explain_print_html(out, &e, &view);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "&lt;b&gt;&quot;&amp;?"));
    ck_assert_ptr_null(strstr(text, "<b>"));
    ck_assert_ptr_null(strstr(text, "<script"));
    ck_assert_ptr_null(strstr(text, "http"));
    free(text);
    out = open_memstream(&text, &size);
    explain_print_text(out, &e, &view);
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "callout sgdt"));
    ck_assert_ptr_nonnull(strstr(text, "\33["));
    free(text);
    json_t *json = explain_json(&e, &view);
    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "guest_bytes")), e.guest_bytes);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "fragments")), e.count);
    json_decref(json);
    explanation_release(&e);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("explain");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, labels_say_what_became_of_an_instruction);
    tcase_add_test(tc, notes_name_what_is_not_the_guests);
    tcase_add_test(tc, both_syntaxes);
    tcase_add_test(tc, sixteen_bit_code);
    tcase_add_test(tc, a_piece_is_walked_to_its_end);
    tcase_add_test(tc, bytes_that_end_inside_an_instruction);
    tcase_add_test(tc, every_row_and_callout_has_its_reason);
    tcase_add_loop_test(tc, random_bytes_in_every_mode, EXPLAIN_32, EXPLAIN_VM86 + 1);
    tcase_add_test(tc, output_in_every_form);
    Suite *suite = suite_create("explain");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
