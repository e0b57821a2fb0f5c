/* Flags where a translator goes wrong: counts of zero, instructions that keep some flags, decimal
 * adjustment, and conditions read long after they were made. Undefined flags are masked. */
#include "tests/guests/stage.h"

enum {
    C = FLAG_CF,
    P = FLAG_PF,
    A = FLAG_AF,
    Z = FLAG_ZF,
    S = FLAG_SF,
    O = FLAG_OF,
    ALL = FLAGS_ARITHMETIC,
};

struct flag_case {
    const char *name;
    const uint8_t *code, *end;
    uint32_t before, eax, ecx;
    uint32_t mask, after, result;
};
#define ROW(name) name, name##_end

SNIPPET(shl_cl, "shl %cl, %eax" DONE);
SNIPPET(shr_cl, "shr %cl, %eax" DONE);
SNIPPET(sar_cl, "sar %cl, %eax" DONE);
SNIPPET(rol_cl, "rol %cl, %eax" DONE);
SNIPPET(ror_byte, "ror %cl, %al" DONE);
SNIPPET(rcl_cl, "rcl %cl, %eax" DONE);
SNIPPET(rcr_byte, "rcr %cl, %al" DONE);
SNIPPET(shld_cl, "mov $-1, %edx; shld %cl, %edx, %eax" DONE);
SNIPPET(shl_one, "shl %eax" DONE);
SNIPPET(shr_zero, ".byte 0xc1, 0xe8, 0" DONE);
SNIPPET(inc_eax, "inc %eax" DONE);
SNIPPET(dec_eax, "dec %eax" DONE);
SNIPPET(not_eax, "not %eax" DONE);
SNIPPET(neg_eax, "neg %eax" DONE);
SNIPPET(lea_keeps, "lea 1(%eax), %eax" DONE);
SNIPPET(xchg_keeps, "xchg %eax, %ecx" DONE);
SNIPPET(push_pop_keeps, "push %eax; pop %eax; call 1f; jmp 2f; 1: ret; 2:" DONE);
SNIPPET(bt_keeps, "bt %ecx, %eax" DONE);
SNIPPET(bsf_zero, "bsf %ecx, %eax" DONE);
SNIPPET(mul_high, "mul %ecx" DONE);
SNIPPET(imul_three, "imul $100, %ecx, %eax" DONE);
SNIPPET(cmpxchg_same, "mov $9, %edx; cmpxchg %edx, %ecx; mov %ecx, %eax" DONE);
SNIPPET(xadd_both, "xadd %ecx, %eax" DONE);
SNIPPET(adc_chain, "add %ecx, %eax; adc $0, %ecx; adc %eax, %eax" DONE);
SNIPPET(sbb_self, "sbb %eax, %eax" DONE);
SNIPPET(daa_al, "daa" DONE);
SNIPPET(das_al, "das" DONE);
SNIPPET(aaa_al, "aaa" DONE);
SNIPPET(aam_al, "aam" DONE);
SNIPPET(aad_al, "aad" DONE);
SNIPPET(sahf_all, "sahf" DONE);
SNIPPET(lahf_all, "lahf; movzbl %ah, %eax" DONE);
SNIPPET(cmc_bit, "cmc" DONE);
SNIPPET(salc_bit, ".byte 0xd6" DONE);
SNIPPET(late_condition, "cmp %ecx, %eax; mov $0, %eax; mov $5, %ecx; 1: lea 1(%eax), %eax; loop 1b;"
                        "setl %cl; movzbl %cl, %eax" DONE);
SNIPPET(cmov_taken, "cmovc %ecx, %eax" DONE);
SNIPPET(jecxz_keeps, "jecxz 1f; inc %eax; 1:" DONE);
SNIPPET(popcnt_zero, "popcnt %ecx, %eax" DONE);

static const struct flag_case cases[] = {
    {"shl-0", ROW(shl_cl), ALL, 5, 0, ALL, ALL, 5},
    {"shl-32", ROW(shl_cl), C | O | A, 5, 32, ALL, C | O | A, 5},
    {"shl-33", ROW(shl_cl), 0, 0x80000000, 33, ALL & ~A, C | O | Z | P, 0},
    {"shl-31", ROW(shl_cl), 0, 3, 31, ALL & ~(A | O), C | S | P, 0x80000000},
    {"shr-0", ROW(shr_cl), C | Z, 0x80000000, 0, ALL, C | Z, 0x80000000},
    {"shr-imm-0", ROW(shr_zero), ALL, 1, 0, ALL, ALL, 1},
    {"shr-1", ROW(shr_cl), 0, 0x80000001, 1, ALL & ~A, C | O | P, 0x40000000},
    {"sar-0", ROW(sar_cl), S | P, 1, 0, ALL, S | P, 1},
    {"sar-31", ROW(sar_cl), 0, 0x80000000, 31, ALL & ~(A | O), S | P, 0xffffffff},
    {"rol-0", ROW(rol_cl), ALL, 0x80000000, 0, ALL, ALL, 0x80000000},
    {"rol-32", ROW(rol_cl), Z | S, 0x80000001, 32, ALL, Z | S, 0x80000001},
    {"rol-1", ROW(rol_cl), Z | S | P | A, 0x80000000, 1, ALL, Z | S | P | A | C | O, 1},
    {"ror-byte-8", ROW(ror_byte), Z, 0x81, 8, C | Z | S | P | A, C | Z, 0x81},
    {"rcl-0", ROW(rcl_cl), C, 7, 0, ALL, C, 7},
    {"rcl-1", ROW(rcl_cl), C, 0x40000000, 1, ALL, O, 0x80000001},
    {"rcr-byte-9", ROW(rcr_byte), C, 0xa5, 9, C, C, 0xa5},
    {"rcr-byte-18", ROW(rcr_byte), 0, 0xa5, 18, C, 0, 0xa5},
    {"shld-0", ROW(shld_cl), ALL, 5, 0, ALL, ALL, 5},
    {"shld-32", ROW(shld_cl), C | Z, 5, 32, ALL, C | Z, 5},
    {"shld-4", ROW(shld_cl), 0, 0x10000005, 4, ALL & ~(A | O), C | P, 0x5f},
    {"shl-by-1-form", ROW(shl_one), 0, 0x40000000, 0, ALL & ~A, O | S | P, 0x80000000},
    {"inc-keeps-cf", ROW(inc_eax), C, 0x7fffffff, 0, ALL, C | O | S | A | P, 0x80000000},
    {"dec-keeps-cf", ROW(dec_eax), C, 0, 0, ALL, C | S | A | P, 0xffffffff},
    {"not-keeps-all", ROW(not_eax), ALL, 0, 0, ALL, ALL, 0xffffffff},
    {"neg-zero", ROW(neg_eax), C, 0, 0, ALL, Z | P, 0},
    {"neg-minimum", ROW(neg_eax), 0, 0x80000000, 0, ALL, C | O | S | P, 0x80000000},
    {"lea-keeps-all", ROW(lea_keeps), ALL, 1, 0, ALL, ALL, 2},
    {"xchg-keeps-all", ROW(xchg_keeps), ALL, 1, 2, ALL, ALL, 2},
    {"stack-keeps-all", ROW(push_pop_keeps), ALL, 1, 0, ALL, ALL, 1},
    {"stack-keeps-none", ROW(push_pop_keeps), 0, 1, 0, ALL, 0, 1},
    {"bt-keeps-zf", ROW(bt_keeps), Z, 4, 2, C | Z, C | Z, 4},
    {"bsf-of-zero", ROW(bsf_zero), 0, 77, 0, Z, Z, 77},
    {"mul-high", ROW(mul_high), 0, 0x10000, 0x10000, C | O, C | O, 0},
    {"mul-low", ROW(mul_high), C | O, 3, 4, C | O, 0, 12},
    {"imul-overflow", ROW(imul_three), 0, 0, 0x7fffffff, C | O, C | O, 0xffffff9c},
    {"cmpxchg-equal", ROW(cmpxchg_same), 0, 5, 5, ALL, Z | P, 9},
    {"cmpxchg-different", ROW(cmpxchg_same), Z, 4, 5, ALL, C | S | A | P, 5},
    {"xadd", ROW(xadd_both), 0, 0xffffffff, 1, ALL, C | Z | A | P, 0},
    {"adc-chain", ROW(adc_chain), 0, 0xffffffff, 1, ALL, Z | P, 0},
    {"sbb-self-carry", ROW(sbb_self), C, 5, 0, ALL, C | S | A | P, 0xffffffff},
    {"daa", ROW(daa_al), 0, 0x9b, 0, ALL & ~O, C | A, 0x01},
    {"das", ROW(das_al), A | C, 0x05, 0, ALL & ~O, C | A | S | P, 0x9f},
    {"aaa", ROW(aaa_al), 0, 0x0b, 0, C | A, C | A, 0x0101},
    {"aam", ROW(aam_al), 0, 57, 0, S | Z | P, 0, 0x0507},
    {"aad", ROW(aad_al), 0, 0x0507, 0, S | Z | P, P, 57},
    {"sahf", ROW(sahf_all), O, 0xff00, 0, ALL, ALL, 0xff00},
    {"lahf", ROW(lahf_all), C | Z | O, 0, 0, ALL, C | Z | O, 0x43},
    {"cmc", ROW(cmc_bit), C | Z, 0, 0, ALL, Z, 0},
    {"salc", ROW(salc_bit), C | Z, 0, 0, ALL, C | Z, 0xff},
    {"late-condition", ROW(late_condition), 0, 0xfffffff0, 3, S, S, 1},
    {"cmov", ROW(cmov_taken), C | S, 1, 2, ALL, C | S, 2},
    {"jecxz-taken", ROW(jecxz_keeps), ALL, 1, 0, ALL, ALL, 1},
    {"popcnt-zero", ROW(popcnt_zero), ALL, 1, 0, ALL, Z, 0},
};

static void try_case(const struct flag_case *c, unsigned ring) {
    struct machine m = stage_at(ring, CODE, c->code, (uint32_t)(c->end - c->code));
    m.eflags |= c->before;
    m.eax = c->eax, m.ecx = c->ecx;
    guest_run(&m);
    check_variant(ring_name(ring));
    check_section(c->name);
    check("vector", VECTOR_DONE, m.vector);
    check("flags", c->after & c->mask, m.eflags & c->mask);
    check("result", c->result, m.eax);
}

/* AC, ID and DF are the guest's own; VM, RF and fixed bits do not change by POPF. */
SNIPPET(set_flags, "push %eax; popf; pushf; pop %eax; push $2; popf" DONE);
static void system_flags(void) {
    struct machine m = STAGE(3, set_flags);
    m.eax = FLAG_AC | FLAG_ID | FLAG_DF | FLAG_NT | FLAG_RF | 1u << 17 | ALL | FLAG_IOPL | FLAG_IF;
    guest_run(&m);
    check_section(NULL);
    check_variant(NULL);
    check("popf-ring3", FLAG_AC | FLAG_ID | FLAG_DF | FLAG_NT | ALL | FLAG_FIXED, m.eax);
    m = STAGE(0, set_flags);
    m.eax = FLAG_AC | FLAG_ID | FLAG_DF | FLAG_NT | 1u << 17 | ALL | FLAG_IOPL;
    guest_run(&m);
    check("popf-ring0", FLAG_AC | FLAG_ID | FLAG_DF | FLAG_NT | ALL | FLAG_FIXED | FLAG_IOPL,
          m.eax);
}

void guest_main(void) {
    stage_start();
    bool has_popcnt = cpuid(1).ecx & 1u << 23;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (cases[i].code == popcnt_zero && !has_popcnt)
            continue;
        try_case(cases + i, 0);
        try_case(cases + i, 3);
    }
    system_flags();
    check_finish("flags");
}
