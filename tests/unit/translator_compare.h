/* Runs a case on both sides and says what differs. */
#ifndef RING3_TESTS_TRANSLATOR_COMPARE_H
#define RING3_TESTS_TRANSLATOR_COMPARE_H

#include <capstone/capstone.h>

#include "tests/unit/translator_cases.h"

static csh second_decoder;
static struct tally { unsigned made, run, faults, called_out, failed; } tally;

static inline void set_up(void) {
    dual_set_up();
    ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &second_decoder), CS_ERR_OK);
}

/* VBROADCASTI128, VAES and VPCLMULQDQ on YMM registers are unknown to Capstone 4. */
static inline bool decodes(const struct insn_case *c, const uint8_t *at, size_t left) {
    uint64_t address = 0;
    cs_insn *insn = cs_malloc(second_decoder);
    while (left && cs_disasm_iter(second_decoder, &at, &left, &address, insn)) {
    }
    cs_free(insn, 1);
    uint8_t opcode = c->z.opcode;
    bool young =
        c->row->vex && (c->row->map == 2 ? opcode == 0x5a || (opcode >= 0xdc && opcode <= 0xdf)
                                         : c->row->map == 3 && opcode == 0x44);
    bool fence = c->row->map == 1 && c->z.opcode == 0xae && c->z.raw.modrm.mod == 3; /* any rm */
    return left == 0 || young || fence;
}

static inline bool decodes_fully(const struct insn_case *c) {
    return decodes(c, dual.emitted, dual.out.code_len) &&
           decodes(c, dual.emitted + COLD_AT, dual.out.cold_len);
}

static inline uint8_t hint_of(void *opaque, uint32_t eip) {
    (void)eip;
    const struct insn_case *c = opaque;
    return c->wraps ? c->hint | HINT_WRAPS : c->hint;
}

static inline uint8_t user_hint_of(void *opaque, uint32_t eip) {
    (void)eip;
    return ((const struct insn_case *)opaque)->wraps ? HINT_WRAPS : 0;
}

static inline void translate(struct insn_case *c) {
    struct translate_request req = {
        .bytes = c->bytes,
        .len = c->len,
        .page_bytes = c->len,
        .eip = CODE_AT - setting_base(&c->setting, SEG_CS),
        .linear = CODE_AT,
        .mode = c->mode,
        .code_limit = c->setting.code16 ? 0xffff : UINT32_MAX,
        .no_links = c->no_links,
        .tsc_is_host = true,
        .max_branches = c->branches,
        .cold = c->cold ? dual.emitted + COLD_AT : NULL,
        .cold_room = EMITTED_BYTES - COLD_AT,
        .hint = (c->mode & MODE_CPL) == 3 ? user_hint_of : hint_of,
        .opaque = c,
    };
    ck_assert_int_eq(translate_block(&req, dual.emitted, COLD_AT, &dual.out), TRANSLATE_OK);
}

static inline void place_code(struct insn_case *c) {
    uint8_t *code = dual.native.code + (CODE_AT - CODE_AREA);
    bool fs = false;
    memset(dual.native.code, 0xcc, CODE_BYTES);
    for (unsigned i = 0; i < 3; i++)
        put_landing(case_landings[i], 1 + i, c->setting.code16);
    memcpy(code, c->bytes, c->len);
    /* GS stands for FS, which is the C library's. */
    if (segment_override(c, &fs) && fs)
        for (unsigned i = 0; i < c->z.raw.prefix_count; i++)
            if (c->z.raw.prefixes[i].value == 0x64)
                code[i] = 0x65;
    put_landing(CODE_AT + c->len, 0, c->setting.code16);
}

/* The callouts that only C code answers end the comparison. */
static inline bool comparable(const struct insn_case *c, int reason) {
    (void)c;
    if (reason != LEAVE_STOP || dual.callout == CALLOUT_raise)
        return true;
    tally.called_out++;
    return false;
}

/* VZEROALL and VZEROUPPER reach registers 8-15 in 64-bit mode; they are not the guest's. A fault
 * that translated code finds before the instruction spares the vector state altogether; the
 * processor may have set exception flags, or made the x87 stack an MMX register file. */
static inline bool vector_differs(const struct insn_case *c, struct outcome *native,
                                  struct outcome *translated) {
    if (c->row->vex && c->row->map == 1 && c->z.opcode == 0x77)
        for (unsigned i = 0; i < 128; i++)
            native->vector[288 + i] = translated->vector[288 + i] = native->vector[704 + i] =
                translated->vector[704 + i] = 0;
    if (dual.callout == CALLOUT_raise)
        return false;
    return memcmp(native->vector, translated->vector, VECTOR_BYTES) != 0;
}

/* What the manual leaves open: POPA's registers and what nested ENTER and PUSHA have written after
 * a fault in the middle, which of two operands that both fault comes first, the kind of fault of an
 * operand that wraps around the end of a segment, and whether a limit or alignment comes first.
 * Natively alignment is not checked here. Masked moves are checked whole against a limit, by us
 * alone. */
static inline bool is_open(const struct insn_case *c, const struct outcome *native,
                           const struct outcome *translated) {
    uint32_t into = native->eip - (CODE_AT - dual.code_base);
    const uint8_t *at = c->bytes + (into < 64 ? into : 0);
    while (*at == 0x66 || *at == 0x67 || (*at & 0xe7) == 0x26 || (*at & 0xfe) == 0x64 ||
           *at >= 0xf0)
        at++;
    bool both = native->trap == 14 && translated->trap == 14;
    bool popa = *at == 0x61 && both && native->cr2 >> PAGE_SHIFT == translated->cr2 >> PAGE_SHIFT;
    bool faults = native->trap >= 12 && native->trap <= 14 && translated->trap >= 12 &&
                  translated->trap <= 14;
    bool enter = (*at == 0xc8 || *at == 0x60) && faults;
    bool cmps = ((*at & 0xfe) == 0xa6 || (c->row->unit == UNIT_X87 && c->z.raw.modrm.reg == 4)) &&
                faults; /* FRSTOR and FLDENV have many operands */
    bool wraps = c->based && native->trap == 13 && translated->trap == 14;
    bool aligned = (c->mode & MODE_ALIGN) && translated->trap == 17;
    bool misaligned = c->row->unit >= UNIT_SSE && native->trap == 13 && translated->trap == 12;
    uint8_t opcode = c->z.opcode;
    bool masked = c->row->vex && c->row->map == 2 && native->trap == TRAP_NONE && dual.limits &&
                  (translated->trap == 12 || translated->trap == 13) &&
                  ((opcode >= 0x2c && opcode <= 0x2f) || opcode == 0x8c || opcode == 0x8e);
    return popa || enter || cmps || wraps || aligned || misaligned || masked;
}

/* A branch that led where there is no landing, below 64 KiB mostly: the processor faults on the
 * fetch there or meets an INT3, translated code has left by then. */
static inline void forget_fetch(const struct insn_case *c, struct outcome *native,
                                const struct outcome *translated) {
    if (!is_branch(c) || translated->trap != TRAP_NONE)
        return;
    bool nothing = native->trap == 14 && native->cr2 == native->eip + dual.code_base;
    bool int3 = native->trap == 3;
    if (!nothing && !int3)
        return;
    native->eip -= int3;
    native->trap = TRAP_NONE;
    native->cr2 = 0;
}

static inline const char *difference(const struct insn_case *c, struct outcome *native,
                                     struct outcome *translated) {
    forget_fetch(c, native, translated);
    if (native->trap != translated->trap)
        return "trap";
    if (native->eip != translated->eip)
        return "eip";
    for (unsigned i = 0; i < 8; i++)
        if (native->gpr[i] != translated->gpr[i])
            return "general registers";
    /* Where C code stands for the instruction, undefined flags are not the processor's. */
    bool called = c->row->cls == CLASS_CALLOUT && c->z.cpu_flags;
    uint32_t undefined = called ? (uint32_t)c->z.cpu_flags->undefined : 0;
    if ((native->flags ^ translated->flags) & ~undefined)
        return "flags";
    if (native->cr2 != translated->cr2)
        return "fault address";
    if (memcmp(dual.native.data, dual.window.data, DATA_BYTES))
        return "memory";
    return vector_differs(c, native, translated) ? "vector state" : NULL;
}

static inline void print_outcome(const char *name, const struct outcome *o) {
    fprintf(stderr, "  %-10s trap %d eip %x cr2 %x flags %x gpr", name, o->trap, o->eip, o->cr2,
            o->flags);
    for (unsigned i = 0; i < 8; i++)
        fprintf(stderr, " %08x", o->gpr[i]);
    fprintf(stderr, "\n");
}

static inline void report(const struct insn_case *c, const char *what, const struct outcome *native,
                          const struct outcome *translated) {
    static const struct insn_row *last;
    tally.failed++;
    if (c->row == last && tally.failed > 20)
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

static inline void run_case(struct insn_case *c) {
    struct outcome native, translated;
    tally.made++;
    if (dual.limits)
        setting_enter(&c->setting);
    translate(c);
    if (!decodes_fully(c))
        report(c, "Capstone's and our idea of the host code", &c->in, &c->in);
    memcpy(dual.window.data, c->data, DATA_BYTES);
    dual.v.cpu.attention = c->attention;
    int reason = run_translated(&c->in, c->mode, &translated);
    if (dual.missed && !c->wraps) { /* as the run loop does it */
        c->wraps = true;
        translate(c);
        memcpy(dual.window.data, c->data, DATA_BYTES);
        reason = run_translated(&c->in, c->mode, &translated);
    }
    if (!comparable(c, reason))
        return;
    memcpy(dual.native.data, c->data, DATA_BYTES);
    c->len = dual.out.guest_len; /* a branch may have ended the block */
    place_code(c);
    run_native(&c->in, &native);
    tally.run++;
    tally.faults += native.trap != TRAP_NONE;
    const char *what = difference(c, &native, &translated);
    if (what && !is_open(c, &native, &translated))
        report(c, what, &native, &translated);
}

#endif
