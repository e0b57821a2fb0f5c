/* Every row of the instruction table against the real processor.
 *
 * Random instructions of each row run natively in 32-bit compatibility mode and as translated code in
 * a window; registers, flags, memory, vector state, the fault and the next EIP must agree. The
 * emitted code must also be what a second decoder can read to the last byte. Both sides run on the
 * same processor, so undefined flags are compared as well. */
#include <capstone/capstone.h>

#include "tests/unit/translator_cases.h"

#ifndef CASES_A_FORM
#define CASES_A_FORM 16u /* of each opcode, prefix, and register or memory form */
#endif

static csh second_decoder;
static struct {
    unsigned made, run, faults, called_out, refused, failed;
    unsigned rows_run;
} tally;

static void set_up(void) {
    dual_set_up();
    ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &second_decoder), CS_ERR_OK);
}

/* VBROADCASTI128, VAES and VPCLMULQDQ on YMM registers are unknown to Capstone 4. */
static bool decodes_fully(const struct insn_case *c) {
    const uint8_t *at = dual.emitted;
    size_t left = dual.out.code_len;
    uint64_t address = 0;
    cs_insn *insn = cs_malloc(second_decoder);
    while (left && cs_disasm_iter(second_decoder, &at, &left, &address, insn)) {
    }
    cs_free(insn, 1);
    uint8_t opcode = c->z.opcode;
    bool young = c->row->vex && (c->row->map == 2 ? opcode == 0x5a || (opcode >= 0xdc && opcode <= 0xdf)
                                                  : c->row->map == 3 && opcode == 0x44);
    bool fence = c->row->map == 1 && c->z.opcode == 0xae && c->z.raw.modrm.mod == 3; /* any rm */
    return left == 0 || young || fence;
}

static uint8_t hint_of(void *opaque, uint32_t eip) {
    (void)eip;
    return ((const struct insn_case *)opaque)->hint;
}

static void translate(struct insn_case *c) {
    struct translate_request req = {
        .bytes = c->bytes, .len = c->len, .page_bytes = c->len, .eip = CODE_AT, .linear = CODE_AT,
        .mode = c->mode, .max_insns = 1, .no_links = c->no_links, .tsc_is_host = true,
        .hint = (c->mode & MODE_CPL) == 3 ? NULL : hint_of, .opaque = c,
    };
    ck_assert_int_eq(translate_block(&req, dual.emitted, EMITTED_BYTES, &dual.out), TRANSLATE_OK);
    ck_assert_uint_eq(dual.out.guest_len, c->len);
}

static void place_code(struct insn_case *c) {
    uint8_t *code = dual.native.code + (CODE_AT - CODE_AREA);
    bool fs = false;
    memset(code - 16, 0xcc, 0x50);
    memcpy(code, c->bytes, c->len);
    /* GS stands for FS, which is the C library's. */
    if (segment_override(c, &fs) && fs)
        for (unsigned i = 0; i < c->z.raw.prefix_count; i++)
            if (c->z.raw.prefixes[i].value == 0x64)
                code[i] = 0x65;
    put_landing(CODE_AT + c->len, 0);
}

/* The callouts that only C code answers end the comparison. */
static bool comparable(const struct insn_case *c, int reason) {
    (void)c;
    if (reason != LEAVE_STOP || dual.callout == CALLOUT_raise)
        return true;
    if (dual.callout == CALLOUT_refuse)
        tally.refused++;
    else
        tally.called_out++;
    return false;
}

/* VZEROALL and VZEROUPPER reach registers 8-15 in 64-bit mode; they are not the guest's. A fault that
 * translated code finds before the instruction spares the vector state altogether; the processor may
 * have set exception flags, or made the x87 stack an MMX register file. */
static bool vector_differs(const struct insn_case *c, struct outcome *native,
                           struct outcome *translated) {
    if (c->row->vex && c->row->map == 1 && c->z.opcode == 0x77)
        for (unsigned i = 0; i < 128; i++)
            native->vector[288 + i] = translated->vector[288 + i] = native->vector[704 + i] =
                translated->vector[704 + i] = 0;
    if (dual.callout == CALLOUT_raise)
        return false;
    return memcmp(native->vector, translated->vector, VECTOR_BYTES) != 0;
}

/* What the manual leaves open: POPA's registers after a fault in the middle, and the kind of fault of
 * an operand that wraps around the end of a segment. */
static bool is_open(const struct insn_case *c, const struct outcome *native,
                    const struct outcome *translated) {
    bool popa = has_emitter(c, e_popa) && native->trap == 14 && translated->trap == 14 &&
                native->cr2 >> PAGE_SHIFT == translated->cr2 >> PAGE_SHIFT;
    bool wraps = c->based && native->trap == 13 && translated->trap == 14;
    return popa || wraps;
}

static const char *difference(const struct insn_case *c, struct outcome *native,
                              struct outcome *translated) {
    if (native->trap != translated->trap)
        return "trap";
    if (native->eip != translated->eip)
        return "eip";
    for (unsigned i = 0; i < 8; i++)
        if (native->gpr[i] != translated->gpr[i])
            return "general registers";
    if (native->flags != translated->flags)
        return "flags";
    if (native->cr2 != translated->cr2)
        return "fault address";
    if (memcmp(dual.native.data, dual.window.data, DATA_BYTES))
        return "memory";
    return vector_differs(c, native, translated) ? "vector state" : NULL;
}

static void print_outcome(const char *name, const struct outcome *o) {
    fprintf(stderr, "  %-10s trap %d eip %x cr2 %x flags %x gpr", name, o->trap, o->eip, o->cr2, o->flags);
    for (unsigned i = 0; i < 8; i++)
        fprintf(stderr, " %08x", o->gpr[i]);
    fprintf(stderr, "\n");
}

static void report(const struct insn_case *c, const char *what, const struct outcome *native,
                   const struct outcome *translated) {
    static const struct insn_row *last;
    tally.failed++;
    if (c->row == last)
        return; /* one of a row is enough */
    last = c->row;
    fprintf(stderr, "%s %s: %s differ; mode %x hint %x guest", c->row->name, c->row->operands, what,
            c->mode, c->hint);
    for (unsigned i = 0; i < c->len; i++)
        fprintf(stderr, " %02x", c->bytes[i]);
    fprintf(stderr, " host");
    for (unsigned i = 0; i < dual.out.code_len && i < 80; i++)
        fprintf(stderr, " %02x", dual.emitted[i]);
    fprintf(stderr, "\n");
    print_outcome("before", &c->in);
    print_outcome("native", native);
    print_outcome("translated", translated);
    for (unsigned i = 0; i < VECTOR_BYTES; i++)
        if (native->vector[i] != translated->vector[i]) {
            fprintf(stderr, "  vector state differs first at %u\n", i);
            break;
        }
}

static void run_case(struct insn_case *c) {
    struct outcome native, translated;
    tally.made++;
    translate(c);
    if (!decodes_fully(c))
        report(c, "Capstone's and our idea of the host code", &c->in, &c->in);
    memcpy(dual.window.data, c->data, DATA_BYTES);
    dual.v.cpu.attention = c->attention;
    int reason = run_translated(&c->in, c->mode, &translated);
    if (!comparable(c, reason))
        return;
    memcpy(dual.native.data, c->data, DATA_BYTES);
    place_code(c);
    run_native(&c->in, &native);
    tally.run++;
    tally.faults += native.trap != TRAP_NONE;
    const char *what = difference(c, &native, &translated);
    if (what && !is_open(c, &native, &translated))
        report(c, what, &native, &translated);
}

/* What must not run natively here, or has no answer to compare. */
static bool is_left_out(const struct insn_row *row) {
    static const emitter_fn emitters[] = {e_cli, e_sti, e_mov_from_cr, e_rdtsc, e_undefined};
    for (unsigned i = 0; i < sizeof emitters / sizeof *emitters; i++)
        if (row->emit == emitters[i])
            return true;
    return row->cls == CLASS_CALLOUT || strcmp(row->name, "RDRAND") == 0 ||
           strcmp(row->name, "RDSEED") == 0;
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

static void run_row(const struct insn_row *row, unsigned repeat) {
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
    tally.rows_run += run != 0;
    if (!run)
        fprintf(stderr, "row %s %s (map %u opcode %02x) has no case\n", row->name, row->operands,
                row->map, row->lo);
    ck_assert_msg(run != 0, "a row without a case");
}

START_TEST(every_row_does_what_the_processor_does) {
    unsigned rows = 0;
    for (unsigned i = 0; i < 3; i++)
        put_landing(case_landings[i], 1 + i);
    for (unsigned i = 0; i < insn_row_count; i++)
        if (!is_left_out(&insn_rows[i])) {
            run_row(&insn_rows[i], CASES_A_FORM);
            rows++;
        }
    fprintf(stderr, "%u rows, %u cases, %u compared, %u faults, %u callouts, %u refusals, %u failed\n",
            rows, tally.made, tally.run, tally.faults, tally.called_out, tally.refused, tally.failed);
    ck_assert_uint_gt(tally.run, 5000);
    ck_assert_uint_eq(tally.failed, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("translator");
    TCase *tcase = tcase_create("differential");
    tcase_set_timeout(tcase, 100);
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_test(tcase, every_row_does_what_the_processor_does);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
