/* Divisions, good and bad, at the same sites again and again: the quotient, or #DE with every register and flag as
 * it was. What is right is found by shifting and subtracting. */
#include "tests/guests/stage.h"

/* EBX is DATA; the divisor stands at DATA + 0x10, too. */
SNIPPET(by_eax, "nop; div %eax" DONE);
SNIPPET(by_edx, "nop; idiv %edx" DONE);
SNIPPET(by_ecx, "nop; div %ecx" DONE);
SNIPPET(by_esi, "nop; idiv %esi" DONE);
SNIPPET(by_si, "nop; div %si" DONE);
SNIPPET(by_cx, "nop; idiv %cx" DONE);
SNIPPET(by_cl, "nop; div %cl" DONE);
SNIPPET(by_ch, "nop; idiv %ch" DONE);
SNIPPET(by_bh, "nop; div %bh" DONE);
SNIPPET(by_esp, "nop; xchg %esi, %esp; div %esp; xchg %esi, %esp" DONE);
SNIPPET(by_memory, "nop; divl 0x10(%ebx)" DONE);
SNIPPET(by_memory16, "nop; idivw 0x10(%ebx)" DONE);
SNIPPET(by_memory8, "nop; divb 0x10(%ebx)" DONE);
SNIPPET(by_indexed, "nop; idivl 0x10(%ebx,%ecx)" DONE);
SNIPPET(by_pushed, "nop; push %esi; divl (%esp); pop %esi" DONE);

enum where { IN_EAX, IN_EDX, IN_ECX, IN_ESI, IN_CH, IN_BH, IN_MEMORY };
static const struct site {
    const char *name;
    const uint8_t *code, *end;
    unsigned bits, at; /* the division's offset */
    enum where where;
    bool is_signed;
} sites[] = {
    {"eax", by_eax, by_eax_end, 32, 1, IN_EAX, false},
    {"edx", by_edx, by_edx_end, 32, 1, IN_EDX, true},
    {"ecx", by_ecx, by_ecx_end, 32, 1, IN_ECX, false},
    {"esi", by_esi, by_esi_end, 32, 1, IN_ESI, true},
    {"si", by_si, by_si_end, 16, 1, IN_ESI, false},
    {"cx", by_cx, by_cx_end, 16, 1, IN_ECX, true},
    {"cl", by_cl, by_cl_end, 8, 1, IN_ECX, false},
    {"ch", by_ch, by_ch_end, 8, 1, IN_CH, true},
    {"bh", by_bh, by_bh_end, 8, 1, IN_BH, false},
    {"esp", by_esp, by_esp_end, 32, 3, IN_ESI, false},
    {"memory", by_memory, by_memory_end, 32, 1, IN_MEMORY, false},
    {"memory16", by_memory16, by_memory16_end, 16, 1, IN_MEMORY, true},
    {"memory8", by_memory8, by_memory8_end, 8, 1, IN_MEMORY, false},
    {"indexed", by_indexed, by_indexed_end, 32, 1, IN_MEMORY, true},
    {"pushed", by_pushed, by_pushed_end, 32, 2, IN_ESI, false},
};

static const uint32_t values[] = {0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x1234, 0x7fff, 0x8000, 0xffff, 0x10000,
                                  0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
enum { VALUES = sizeof values / sizeof *values, FLAGS = 0x8d5 };

struct result {
    bool good;
    uint32_t quotient, remainder;
};

static uint32_t mask_of(unsigned bits) { return bits == 32 ? 0xffffffffu : (1u << bits) - 1; }

/* high < divisor */
static struct result divide_unsigned(uint32_t high, uint32_t low, uint32_t divisor, unsigned bits) {
    struct result r = {.good = high < divisor, .remainder = high};
    for (unsigned i = bits; r.good && i-- > 0;) {
        bool carry = r.remainder >> (bits - 1) & 1;
        r.remainder = (r.remainder << 1 | (low >> i & 1)) & mask_of(bits);
        r.quotient <<= 1;
        if (carry || r.remainder >= divisor) {
            r.remainder = (r.remainder - divisor) & mask_of(bits);
            r.quotient |= 1;
        }
    }
    return r;
}

static struct result divide(uint32_t high, uint32_t low, uint32_t divisor, unsigned bits, bool is_signed) {
    uint32_t mask = mask_of(bits), top = 1u << (bits - 1);
    bool minus = is_signed && high & top, other = is_signed && divisor & top;
    if (minus) {
        low = -low & mask;
        high = (~high + !low) & mask;
    }
    if (other)
        divisor = -divisor & mask;
    struct result r = divide_unsigned(high, low, divisor, bits);
    if (!is_signed || !r.good)
        return r;
    r.good = r.quotient < top || (r.quotient == top && minus != other);
    if (minus != other)
        r.quotient = -r.quotient & mask;
    if (minus)
        r.remainder = -r.remainder & mask;
    return r;
}

static void put_divisor(struct machine *m, const struct site *s, uint32_t value) {
    *word_at(DATA + 0x10) = value;
    if (s->where == IN_EAX)
        m->eax = value;
    else if (s->where == IN_EDX)
        m->edx = value;
    else if (s->where == IN_ECX)
        m->ecx = value;
    else if (s->where == IN_ESI)
        m->esi = value;
    else if (s->where == IN_CH)
        m->ecx = value << 8;
    else if (s->where == IN_BH)
        m->ebx = (m->ebx & ~0xff00u) | (value & 0xff) << 8;
}

static uint32_t wrong;
static void equal(uint32_t expected, uint32_t got) { wrong += expected != got; }

static void compare(const struct site *s, const struct machine *before, const struct machine *m, struct result r) {
    uint32_t eax = before->eax, edx = before->edx, mask = mask_of(s->bits);
    if (r.good && s->bits == 8)
        eax = (eax & ~0xffffu) | r.remainder << 8 | r.quotient;
    else if (r.good) {
        eax = (eax & ~mask) | r.quotient;
        edx = (edx & ~mask) | r.remainder;
    }
    equal(eax, m->eax);
    equal(edx, m->edx);
    equal(before->ecx, m->ecx);
    equal(before->ebx, m->ebx);
    equal(before->ebp, m->ebp);
    equal(before->edi, m->edi);
    equal(r.good ? VECTOR_DONE : VECTOR_DE, m->vector);
    if (r.good) {
        equal(before->esi, m->esi);
        equal(before->esp, m->esp);
        return;
    }
    equal(CODE + s->at, m->eip);
    equal(before->eflags & FLAGS, m->eflags & FLAGS);
    if (s->code == by_pushed)
        equal(before->esp - 4, m->esp);
}

static void try(const struct site *s, const struct machine *start, uint32_t high, uint32_t low, uint32_t divisor,
                uint32_t flags) {
    struct machine before = *start;
    before.edx = high;
    before.eax = s->bits == 8 ? (low & 0xff) | (high & 0xff) << 8 | 0x55aa0000 : low;
    before.ecx = before.esi = 0;
    before.eflags = 2 | (flags & FLAGS);
    put_divisor(&before, s, divisor);
    uint32_t mask = mask_of(s->bits);
    high = s->bits == 8 ? before.eax >> 8 & mask : before.edx & mask;
    struct machine m = before;
    guest_run(&m);
    compare(s, &before, &m, divide(high, before.eax & mask, divisor & mask, s->bits, s->is_signed));
}

/* The code is put in place once: a site that is translated anew each time learns nothing. At ring 3, so that a
 * frame for #DE lies elsewhere than what was pushed. */
static void rounds(const struct site *s) {
    struct machine start = stage_at(s->code == by_esp ? 3 : 0, CODE, s->code, (uint32_t)(s->end - s->code));
    wrong = 0;
    start.ebp = 0x13579bdf;
    start.edi = 0x2468ace0;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned h = 0; h < VALUES; h += 2)
            for (unsigned l = 0; l < VALUES; l += 5)
                for (unsigned d = round ? 0 : 1; d < VALUES; d++)
                    try(s, &start, values[h], values[l], values[d], (h * 0x51u + l * 0x135u + d) << (d & 3));
    check("wrong", 0, wrong);
}

void guest_main(void) {
    stage_start();
    for (unsigned i = 0; i < sizeof sites / sizeof *sites; i++) {
        check_variant(sites[i].name);
        rounds(&sites[i]);
        check_variant(NULL);
    }
    check_finish("divides");
}
