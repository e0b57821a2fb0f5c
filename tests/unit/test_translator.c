/* Every row of the instruction table against the real processor.
 *
 * Random instructions of each row run natively in compatibility mode, 32 and 16 bits, and as
 * translated code in a window; registers, flags, memory, vector state, the fault and the next EIP
 * must agree. The emitted code must also be what a second decoder can read to the last byte. Both
 * sides run on the same processor, so undefined flags are compared as well. */
#include "tests/unit/translator_compare.h"

#ifndef CASES_A_FORM
#define CASES_A_FORM 16u /* of each opcode, prefix, and register or memory form */
#endif

/* What must not run natively here, or has no answer to compare. */
static bool is_left_out(const struct insn_row *row) {
    static const emitter_fn emitters[] = {e_cli, e_sti, e_mov_from_cr, e_rdtsc, e_undefined};
    for (unsigned i = 0; i < sizeof emitters / sizeof *emitters; i++)
        if (row->emit == emitters[i])
            return true;
    return (row->cls == CLASS_CALLOUT && !answered_callout(row->callout)) ||
           strcmp(row->name, "RDRAND") == 0 || strcmp(row->name, "RDSEED") == 0;
}

/* The prefix decides what an opcode of the vector units means: each is tried. */
static unsigned run_variants(const struct insn_row *row, unsigned opcode, enum row_prefix prefix,
                             bool mod3, unsigned repeat) {
    static struct insn_case c;
    unsigned run = 0;
    for (unsigned i = 0; i < 12 * repeat && run < repeat; i++) {
        unsigned ext = row->ext != ROW_ANY ? row->ext : i & 7u;
        if (!make_case(&c, row, opcode, prefix, ext, mod3))
            continue;
        run_case(&c);
        run++;
    }
    return run;
}

/* For coverage reports: the rows with a case that ran on both sides, added to a file. */
static void note_row(const struct insn_row *row, unsigned compared_before) {
    const char *path = getenv("RING3_ROWS");
    char id[INSN_ROW_ID_MAX];
    FILE *file = path && tally.run > compared_before ? fopen(path, "a") : NULL;
    if (!file)
        return;
    insn_row_id(row, id);
    fprintf(file, "%s\n", id);
    fclose(file);
}

static void run_row(const struct insn_row *row, unsigned repeat) {
    unsigned compared = tally.run;
    bool vector = !row->vex && row->map != 0 && row->unit != UNIT_INT;
    unsigned run = 0;
    for (unsigned opcode = row->lo; opcode <= row->hi; opcode++)
        for (unsigned mod3 = 0; mod3 < 2; mod3++) {
            if (row->mod != MOD_ANY && mod3 != (row->mod == MOD_REG))
                continue;
            if (row->prefix != PFX_ANY || !vector) {
                run += run_variants(row, opcode, (enum row_prefix)row->prefix, mod3, repeat);
                continue;
            }
            for (unsigned prefix = PFX_NONE; prefix <= PFX_F2; prefix++)
                run += run_variants(row, opcode, (enum row_prefix)prefix, mod3, repeat);
        }
    if (!run)
        fprintf(stderr, "row %s %s (map %u opcode %02x) has no case\n", row->name, row->operands,
                row->map, row->lo);
    ck_assert_msg(run != 0, "a row without a case");
    note_row(row, compared);
}

static void run_rows(unsigned cases) {
    unsigned rows = 0;
    for (unsigned i = 0; i < insn_row_count; i++)
        if (!is_left_out(&insn_rows[i])) {
            run_row(&insn_rows[i], cases);
            rows++;
        }
    fprintf(stderr, "%u rows, %u cases, %u compared, %u faults, %u callouts, %u failed\n", rows,
            tally.made, tally.run, tally.faults, tally.called_out, tally.failed);
    ck_assert_uint_gt(tally.run, 5000);
    ck_assert_uint_eq(tally.failed, 0);
}

START_TEST(every_row_does_what_the_processor_does) { run_rows(CASES_A_FORM); }
END_TEST

/* The same in 16-bit code, with 16-bit stacks and through segments of 64 KiB. */
START_TEST(every_row_does_so_in_16_bit_segments) {
    dual.limits = setting_make_segments();
    if (dual.limits)
        run_rows(CASES_A_FORM);
    else
        fprintf(stderr, "this kernel gives no 16-bit segments\n");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("translator");
    TCase *tcase = tcase_create("differential");
    tcase_set_timeout(tcase, 100);
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, every_row_does_what_the_processor_does);
    tcase_add_test(tcase, every_row_does_so_in_16_bit_segments);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
