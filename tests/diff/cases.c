/* Sequences that once came out otherwise than on the processor, by their subject. They run before
 * the random ones; the processor says what is right.
 *
 * Registers are zero but for those named; ESP is the middle of a writable page (TOP). */
#include <string.h>

#include "tests/diff/generator.h"

#define TOP (DATA_PAGE(5) + 0x800u)
#define RW DATA_PAGE(1)
#define RO DATA_PAGE(3)
#define ABSENT DATA_PAGE(4)
#define LIMITED LDT_SELECTOR(2) /* base RW, limit two pages */
#define BASED LDT_SELECTOR(1)   /* RW less 0x4560, no limit */
#define ENDING LDT_SELECTOR(12) /* at RO, four bytes into ABSENT */
#define EXECUTE_ONLY LDT_SELECTOR(8)
#define CODE(...) .code = {__VA_ARGS__}, .len = sizeof((uint8_t[]){__VA_ARGS__})
#define ALL_ONES 0xc5, 0xf1, 0x76, 0xc9                     /* vpcmpeqd xmm1, xmm1, xmm1 */
#define LOWEST_ELEMENT ALL_ONES, 0xc5, 0xf1, 0x73, 0xd9, 12 /* vpsrldq xmm1, xmm1, 12 */
#define HIGHEST_ELEMENT ALL_ONES, 0xc5, 0xf1, 0x73, 0xf9, 12
#define LOWER_ELEMENTS ALL_ONES, 0xc5, 0xf1, 0x73, 0xd9, 8
#define NO_ELEMENT 0xc5, 0xf1, 0xef, 0xc9 /* vpxor xmm1, xmm1, xmm1 */
#define SET(r, v)                                                                                  \
    { true, r, v }

struct fixed_case {
    const char *name;
    uint8_t code[ELEMENT_BYTES], len;
    struct {
        bool given;
        uint8_t gpr;
        uint32_t value;
    } set[4];
    struct patch memory[3];
    uint32_t eflags;
    uint16_t cs, ds, fs;
    bool pending; /* an x87 exception */
};

static const struct fixed_case cases[] = {
    {"PUSH Sreg writes two bytes of its slot", CODE(0x1e, 0x0f, 0xa0)},
    {"PUSH Sreg at the start of a page", CODE(0x1e), .set = {SET(ESP, DATA_PAGE(5) + 2)}},
    {"POP Sreg reads two bytes", CODE(0x0f, 0xa1), .set = {SET(ESP, DATA_PAGE(6) - 2)},
     .memory = {{DATA_PAGE(6) - 4, 0x002b0000}}},
    {"POPA keeps what it has popped at a fault", CODE(0x61), .set = {SET(ESP, ABSENT - 16)}},
    {"POPA across a slot that is skipped", CODE(0x61), .set = {SET(ESP, ABSENT - 14)}},
    {"nested ENTER that cannot read a frame", CODE(0xc8, 0x10, 0x00, 0x04),
     .set = {SET(EBP, ABSENT + 8)}},
    {"nested ENTER with 16-bit operands keeps EBP's upper half", CODE(0x66, 0xc8, 0x10, 0x00, 0x02),
     .set = {SET(EBP, RW + 0x40)}},
    {"ENTER that cannot write its new top", CODE(0xc8, 0x00, 0x18, 0x00)},
    {"nested ENTER on a misaligned stack", CODE(0xc8, 0x10, 0x00, 0x02), .eflags = FL_AC,
     .set = {SET(ESP, TOP + 1), SET(EBP, RW + 0x40)}},
    {"LLDT looks at the privilege first", CODE(0x0f, 0x00, 0x10), .set = {SET(EAX, ABSENT)}},
    {"LGDT looks at the privilege first", CODE(0x0f, 0x01, 0x10), .set = {SET(EAX, 0x2000)},
     .ds = LIMITED},
    {"ARPL writes where the selector changes only", CODE(0x63, 0x08), .set = {SET(EAX, RO + 0x10)}},
    {"ARPL that cannot write keeps ZF", CODE(0x63, 0x08),
     .set = {SET(EAX, CODE_AT + 0x40), SET(ECX, 3)}},
    {"ARPL reads before it writes", CODE(0x63, 0x08), .set = {SET(EAX, ABSENT)},
     .ds = LDT_SELECTOR(6)},
    {"BT with 16-bit addresses wraps at 64 KiB", CODE(0x67, 0x64, 0x0f, 0xab, 0x07), .fs = BASED,
     .set = {SET(EAX, 0x40000), SET(EBX, 0xd900)}},
    {"BT's bit offset counts for the limit", CODE(0x0f, 0xa3, 0x03), .ds = LIMITED,
     .set = {SET(EAX, 0x10000), SET(EBX, 0x100)}},
    {"BTS below its operand", CODE(0x0f, 0xab, 0x03), .ds = LIMITED,
     .set = {SET(EAX, 0xfffffe00), SET(EBX, 0x100)}},
    {"BTC of words", CODE(0x66, 0x0f, 0xbb, 0x03), .ds = LIMITED,
     .set = {SET(EAX, 0xff35), SET(EBX, 0x100)}},
    {"REPNE CMPS keeps the flags at a fault", CODE(0xf2, 0xa7), .ds = BASED,
     .eflags = FL_CF | FL_SF, .set = {SET(ECX, 8), SET(EDI, ABSENT - 8), SET(ESI, 0x4600)}},
    {"REPNE SCAS stepped: RF, and the flags of before", CODE(0xf2, 0xaf), .eflags = FL_TF | FL_CF,
     .set = {SET(ECX, 8), SET(EDI, RW)}},
    {"CMPS reads its destination first", CODE(0x67, 0x64, 0xa7), .fs = LIMITED,
     .set = {SET(ESI, 0x8000)}},
    {"REP OUTS with nothing left looks at its permission", CODE(0xf3, 0x6e), .set = {SET(ESI, RW)}},
    {"AAD's flags are an addition's", CODE(0xd5, 0xc8, 0x83, 0xd2, 0x00),
     .set = {SET(EAX, 0x7799)}},
    {"VPERMIL2PS is not there", CODE(0xc4, 0xe3, 0x7d, 0x48, 0x08, 0x00), .set = {SET(EAX, 0x8000)},
     .ds = LIMITED},
    {"far CALL pushes CS first", CODE(0x9a, 0x49, 0x00, 0x00, 0x10, 0x23, 0x00),
     .set = {SET(ESP, ABSENT + 8)}},
    {"far CALL beyond the new limit", CODE(0x9a, 0x00, 0x00, 0x00, 0x10, LDT_SELECTOR(9), 0x00)},
    {"far CALL on a misaligned stack", CODE(0x9a, 0x49, 0x00, 0x00, 0x10, 0x23, 0x00),
     .eflags = FL_AC, .set = {SET(ESP, TOP + 2)}},
    {"far RET reads CS first", CODE(0xcb), .set = {SET(ESP, ABSENT)}},
    {"IRET reads EFLAGS first", CODE(0xcf), .set = {SET(ESP, ABSENT)}},
    {"FXSAVE counts 512 bytes for the limit", CODE(0x0f, 0xae, 0x03), .ds = LIMITED,
     .set = {SET(EBX, 0x1f00)}},
    {"FXSAVE into a code segment", CODE(0x2e, 0x0f, 0xae, 0x03), .set = {SET(EBX, RW)}},
    {"FXSAVE's fault is its last byte's", CODE(0x0f, 0xae, 0x03), .set = {SET(EBX, RO - 0x20)}},
    {"FXRSTOR's fault is its last byte's", CODE(0x0f, 0xae, 0x0b),
     .set = {SET(EBX, ABSENT - 0x20)}},
    {"FNSAVE's first word, then its last byte", CODE(0xdd, 0x33), .set = {SET(EBX, ABSENT - 2)}},
    {"FNSTENV on a misaligned operand", CODE(0xd9, 0x33), .set = {SET(EBX, RW + 2)},
     .eflags = FL_AC},
    {"XSAVE's fault is the header's end", CODE(0xb8, 1, 0, 0, 0, 0x0f, 0xae, 0x23),
     .set = {SET(EBX, RO - 0x40)}},
    {"XSAVE without x87 begins at MXCSR", CODE(0xb8, 2, 0, 0, 0, 0x0f, 0xae, 0x23),
     .set = {SET(EBX, DATA_PAGE(1) - 0x40)}},
    {"XRSTOR's header comes first", CODE(0xb8, 3, 0, 0, 0, 0x0f, 0xae, 0x2b),
     .set = {SET(EBX, ABSENT + 0x40)}},
    {"XSAVE of AVX beyond the limit", CODE(0xb8, 5, 0, 0, 0, 0x0f, 0xae, 0x23), .ds = LIMITED,
     .set = {SET(EBX, 0x1d00)}},
    {"XSAVE without AVX up to the limit", CODE(0xb8, 3, 0, 0, 0, 0x0f, 0xae, 0x23), .ds = LIMITED,
     .set = {SET(EBX, 0x1dc0)}},
    {"XRSTOR of AVX beyond the limit", CODE(0xb8, 4, 0, 0, 0, 0x0f, 0xae, 0x2b), .ds = LIMITED,
     .set = {SET(EBX, 0x1d00)}, .memory = {{RW + 0x1f00, 0}, {RW + 0x1f04, 0}, {RW + 0x1f08, 0}}},
    {"CLFLUSHOPT of the last byte", CODE(0x66, 0x0f, 0xae, 0x3b), .ds = LIMITED,
     .set = {SET(EBX, 0x1fff)}},
    {"CLFLUSH in execute-only code", CODE(0x2e, 0x0f, 0xae, 0x3b), .cs = EXECUTE_ONLY,
     .set = {SET(EBX, RW)}},
    {"a limit comes before alignment", CODE(0x8b, 0x03), .ds = LIMITED, .eflags = FL_AC,
     .set = {SET(EBX, 0x2ffd)}},
    {"alignment comes before the wrap at 4 GiB", CODE(0x8b, 0x03), .eflags = FL_AC,
     .set = {SET(EBX, 0xfffffffe)}},
    {"the wrap at 4 GiB through a flat CS", CODE(0x2e, 0x8b, 0x03), .set = {SET(EBX, 0xfffffffe)}},
    {"m16:16 need be aligned to two bytes only", CODE(0x66, 0x0f, 0xb4, 0x03), .eflags = FL_AC,
     .set = {SET(EBX, RW + 2)}, .memory = {{RW, 0}, {RW + 4, 0x2b}}},
    {"BOUND's lower bound comes first", CODE(0x62, 0x03), .set = {SET(EBX, DATA_PAGE(6) - 4)},
     .memory = {{DATA_PAGE(6) - 4, 1}}},
    {"BOUND is aligned to its items", CODE(0x62, 0x03), .set = {SET(EBX, RW + 4)}, .eflags = FL_AC},
    {"PEXT of ESP behind a push", CODE(0x50, 0xc4, 0xe2, 0x5a, 0xf5, 0xf1),
     .set = {SET(ECX, 0xfff)}},
    {"a single step behind MOV SS", CODE(0x8e, 0xd0, 0x90, 0x90), .set = {SET(EAX, 0x2b)},
     .eflags = FL_TF},
    {"a single step behind two MOV SS", CODE(0x8e, 0xd0, 0x8e, 0xd0, 0x90, 0x90),
     .set = {SET(EAX, 0x2b)}, .eflags = FL_TF},
    {"a single step behind two POP SS", CODE(0x8e, 0xd0, 0x17, 0x90, 0x90), .set = {SET(EAX, 0x2b)},
     .memory = {{TOP, 0x2b}}, .eflags = FL_TF},
    {"a single step behind three MOV SS", CODE(0x8e, 0xd0, 0x8e, 0xd0, 0x8e, 0xd0, 0x90, 0x90),
     .set = {SET(EAX, 0x2b)}, .eflags = FL_TF},
    {"a LOOP of CX that never ends", CODE(0xb9, 0, 0, 0, 0, 0x67, 0xe2, 0xf8)},
    {"a LOOPE of CX that never ends", CODE(0x31, 0xc9, 0x67, 0xe1, 0xfb)},
    {"a far pointer's offset comes first", CODE(0xc4, 0x0b), .set = {SET(EBX, ABSENT)}},
    {"a far pointer across pages", CODE(0xc4, 0x0b), .set = {SET(EBX, ABSENT - 2)}},
    {"a far pointer's selector across pages", CODE(0xc4, 0x0b), .set = {SET(EBX, ABSENT - 5)}},
    {"a far pointer on a page before its limit", CODE(0xc4, 0x0b), .set = {SET(EBX, 0x1000)},
     .ds = ENDING},
    {"a far JMP's pointer on a page before its limit", CODE(0xff, 0x2b), .set = {SET(EBX, 0x1000)},
     .ds = ENDING},
    {"a far pointer of words on a misaligned operand", CODE(0x66, 0xff, 0x2b),
     .set = {SET(EBX, RW + 1)}, .eflags = FL_AC},
    {"a far pointer behind its limit", CODE(0xc4, 0x0b), .set = {SET(EBX, 0xffe)}, .ds = ENDING},
    {"MASKMOVDQU is aligned to eight bytes", CODE(0x66, 0x0f, 0xf7, 0xd1),
     .set = {SET(EDI, RW + 4)}, .eflags = FL_AC},
    {"a gather's mask is widened at a fault", CODE(0x2e, 0xc4, 0xe2, 0x75, 0x90, 0x14, 0x3b),
     .set = {SET(EBX, ABSENT)}},
    {"a gather with half as many indexes", CODE(0x2e, 0xc4, 0xe2, 0x79, 0x93, 0x14, 0x3b),
     .set = {SET(EBX, RO)}},
    {"a gather is not checked for alignment", CODE(0xc4, 0xe2, 0x75, 0x90, 0x14, 0x3b),
     .set = {SET(EBX, RO + 1)}, .eflags = FL_AC},
    /* The mask is one element: of XMM1 the lowest, or the highest. */
    {"VMASKMOVPS loads inside a limit", CODE(LOWEST_ELEMENT, 0xc4, 0xe2, 0x71, 0x2c, 0x13),
     .ds = LIMITED, .set = {SET(EBX, 0x1ffc)}},
    {"VMASKMOVPS stores inside a limit", CODE(LOWEST_ELEMENT, 0xc4, 0xe2, 0x71, 0x2e, 0x13),
     .ds = LIMITED, .set = {SET(EBX, 0x1ffc)}},
    {"VMASKMOVPS across a limit", CODE(LOWEST_ELEMENT, 0xc4, 0xe2, 0x71, 0x2e, 0x13), .ds = LIMITED,
     .set = {SET(EBX, 0x1ffd)}},
    {"VMASKMOVPD of a masked element across a limit",
     CODE(LOWEST_ELEMENT, 0xc4, 0xe2, 0x71, 0x2d, 0x13), .ds = LIMITED, .set = {SET(EBX, 0x1fff)}},
    {"VPMASKMOVD below a segment", CODE(HIGHEST_ELEMENT, 0xc4, 0xe2, 0x71, 0x8c, 0x13),
     .ds = LIMITED, .set = {SET(EBX, 0u - 12)}},
    {"VPMASKMOVQ of words of eight", CODE(HIGHEST_ELEMENT, 0xc4, 0xe2, 0xf1, 0x8e, 0x13),
     .ds = LIMITED, .set = {SET(EBX, 0u - 8)}},
    {"VPMASKMOVD of nothing", CODE(NO_ELEMENT, 0xc4, 0xe2, 0x75, 0x8e, 0x13), .ds = LIMITED,
     .set = {SET(EBX, 0x10000)}},
    {"VPMASKMOVD that writes nothing through a read-only segment",
     CODE(NO_ELEMENT, 0xc4, 0xe2, 0x75, 0x8e, 0x13), .ds = LDT_SELECTOR(6), .set = {SET(EBX, RW)}},
    {"VMASKMOVPS is not checked for alignment", CODE(LOWEST_ELEMENT, 0xc4, 0xe2, 0x71, 0x2c, 0x13),
     .set = {SET(EBX, RW + 1)}, .eflags = FL_AC},
    {"VMASKMOVPS of two elements across a limit",
     CODE(LOWER_ELEMENTS, 0xc4, 0xe2, 0x71, 0x2c, 0x13), .ds = LIMITED, .set = {SET(EBX, 0x1ffc)}},
    {"a pending x87 exception comes before the operand's limit", CODE(0xd8, 0x03), .ds = LIMITED,
     .set = {SET(EBX, 0x8000)}, .pending = true},
    {"a pending x87 exception leaves MASKMOVQ's pointers", CODE(0x0f, 0xf7, 0xfb), .ds = LIMITED,
     .set = {SET(ESI, RW + 0x10), SET(EDI, RW + 0x20)}, .pending = true},
};
const unsigned fixed_case_count = sizeof cases / sizeof *cases;

static void set_state(struct state *in, const struct fixed_case *c) {
    memset(in->gpr, 0, sizeof in->gpr);
    in->gpr[ESP] = TOP;
    for (unsigned i = 0; i < sizeof c->set / sizeof *c->set; i++)
        if (c->set[i].given)
            in->gpr[c->set[i].gpr] = c->set[i].value;
    in->eflags = FL_ONE | FL_IF | c->eflags;
    for (unsigned i = 0; i < 6; i++)
        in->seg[i] = SELECTOR_DATA;
    in->seg[SEG_CS] = c->cs ? c->cs : SELECTOR_CODE;
    if (c->ds)
        in->seg[SEG_DS] = c->ds;
    if (c->fs)
        in->seg[SEG_FS] = c->fs;
    memcpy(in->vector, (const uint8_t[]){0x7f, 0x03, 0, 0}, 4);
}

static void set_pending(struct state *in) {
    in->vector[0] = 0x7e;
    in->vector[2] = 0x81;
    in->vector[3] = 0x80;
}

const char *generate_fixed(struct sequence *s, unsigned number) {
    const struct fixed_case *c = &cases[number];
    struct generator g = {.r = {0x2545f4914f6cdd1dull}, .s = s};
    memset(s, 0, sizeof *s);
    s->number = number;
    random_state(&g);
    set_state(&s->job.in, c);
    s->code_base = selector_base(s->job.in.seg[SEG_CS]);
    s->job.code_at = CODE_AT + 0x40;
    s->job.in.eip = s->job.code_at - s->code_base;
    if (c->pending)
        set_pending(&s->job.in);
    add_element(&g, c->code, c->len, NO_ROW);
    for (unsigned i = 0; i < sizeof c->memory / sizeof *c->memory; i++)
        if (c->memory[i].at)
            patch(&g, c->memory[i].at, c->memory[i].value);
    return c->name;
}
