/* The state that a sequence starts from: registers, flags, segments, vector state, memory. */
#include <string.h>

#include "tests/diff/generator.h"

/* Where in the data area, in per cent. */
uint32_t random_place(struct generator *g) {
    struct random *r = &g->r;
    uint32_t near = random_word(r) % 72;
    unsigned kind = random_word(r) % 100;
    if (kind < 58)
        return DATA_PAGE(random_chance(r, 70) ? 1 : 5) + ((0x400 + random_word(r) % 0x800) & ~63u);
    if (kind < 76)
        return DATA_PAGE(random_chance(r, 70) ? 1 : 5) + 0x200 + random_word(r) % 0xc00;
    if (kind < 82)
        return DATA_PAGE(2) + 12 - near; /* across two writable pages */
    if (kind < 86)
        return DATA_PAGE(3) + 12 - near; /* into the read-only one */
    if (kind < 90)
        return DATA_PAGE(4) + 12 - near; /* out of it */
    if (kind < 92)
        return DATA_PAGE(6) + 12 - near;
    if (kind < 94)
        return DATA_PAGE(random_chance(r, 50) ? 1 : 5) + 12 - near;
    if (kind < 96)
        return CODE_AT + random_word(r) % CODE_BYTES;
    return kind < 98 ? DATA_PAGE(3) + (random_word(r) & 0xff0) : random_value(r);
}

uint16_t random_selector(struct generator *g) {
    struct random *r = &g->r;
    unsigned kind = random_word(r) % 100;
    if (kind < 30)
        return SELECTOR_DATA;
    if (kind < 80)
        return LDT_SELECTOR(random_word(r) % (ldt_count + 1));
    if (kind < 88)
        return (uint16_t)(random_word(r) & 3);
    if (kind < 92)
        return SELECTOR_CODE;
    return (uint16_t)(random_word(r) % 0x78 & ~(random_chance(r, 50) ? 3u : 0));
}

uint16_t loaded_selector(const struct generator *g, unsigned segment) {
    return g->s->job.in.seg[segment];
}

static bool is_loadable(const struct ldt_entry *l, bool stack) {
    return !l->absent &&
           (stack ? l->kind != LDT_CODE && !l->closed : !(l->kind == LDT_CODE && l->closed));
}

static uint16_t loadable(struct generator *g, unsigned others, bool stack) {
    if (!random_chance(&g->r, others))
        return SELECTOR_DATA;
    if (!stack && random_chance(&g->r, 8))
        return 0;
    for (;;) {
        unsigned i = 1 + random_word(&g->r) % (ldt_count - 1);
        if (is_loadable(&ldt_entries[i], stack))
            return LDT_SELECTOR(i);
    }
}

static void random_segments(struct generator *g) {
    struct job *job = &g->s->job;
    static const uint16_t code[] = {LDT_SELECTOR(7), LDT_SELECTOR(8), LDT_SELECTOR(9)};
    job->in.seg[SEG_CS] = random_chance(&g->r, 95) ? SELECTOR_CODE : code[random_word(&g->r) % 3];
    job->in.seg[SEG_DS] = loadable(g, 8, false);
    job->in.seg[SEG_ES] = loadable(g, 8, false);
    job->in.seg[SEG_SS] = loadable(g, 5, true);
    job->in.seg[SEG_FS] = loadable(g, 80, false);
    job->in.seg[SEG_GS] = loadable(g, 80, false);
    g->s->code_base = selector_base(job->in.seg[SEG_CS]);
}

static void random_registers(struct generator *g) {
    struct state *in = &g->s->job.in;
    for (unsigned i = 0; i < 8; i++)
        in->gpr[i] = random_chance(&g->r, 20) ? random_place(g) : random_value(&g->r);
    uint32_t top = random_chance(&g->r, 85) ? DATA_PAGE(5) + 0x400 + (random_word(&g->r) & 0x7fc)
                                            : random_place(g);
    in->gpr[ESP] = top - selector_base(in->seg[SEG_SS]);
    if (random_chance(&g->r, 50))
        in->gpr[EBP] = random_place(g) - selector_base(in->seg[SEG_SS]);
    in->eflags = FL_ONE | FL_IF | (random_word(&g->r) & FL_ARITH);
    static const struct {
        uint32_t flag, percent;
    } others[] = {{FL_DF, 20}, {FL_AC, 2}, {FL_ID, 10}, {FL_TF, 2}, {FL_NT, 1}};
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        if (random_chance(&g->r, others[i].percent))
            in->eflags |= others[i].flag;
}

/* Single or double precision numbers of any kind, or integers. */
static uint32_t random_lane(struct random *r, unsigned kind) {
    static const uint32_t odd[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7fa00000, 0x00000001,
                                   0x80000000, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
                                   0x7ff00000, 0xfff80000, 0x7ff40000, 0x000fffff, 0x41dfffff};
    if (kind == 0 && random_chance(r, 30))
        return odd[random_word(r) % (sizeof odd / sizeof *odd)];
    if (kind <= 1)
        return 0x3f000000u + (random_word(r) & 0x80ffffff);
    return kind == 2 ? random_word(r) & 63 : random_value(r);
}

static void random_st(struct random *r, uint8_t *st) {
    uint64_t mantissa = (uint64_t)random_word(r) << 32 | random_word(r);
    uint16_t sign_exponent = (uint16_t)random_word(r);
    if (random_chance(r, 60)) { /* a number of moderate size */
        mantissa |= 1ull << 63;
        sign_exponent = (uint16_t)(0x3fe0 + random_word(r) % 80) | (sign_exponent & 0x8000);
    } else if (random_chance(r, 40)) {
        mantissa = random_chance(r, 50) ? 0 : 1ull << 63 | (uint64_t)random_chance(r, 50) << 62;
        sign_exponent = random_chance(r, 50) ? 0 : sign_exponent | 0x7fff;
    }
    memcpy(st, &mantissa, 8);
    memcpy(st + 8, &sign_exponent, 2);
}

static void random_control(struct random *r, uint8_t *v) {
    uint16_t fcw =
        (uint16_t)(0x7f | (random_word(r) & 3) << 10 | (random_chance(r, 70) ? 3u : 2u) << 8);
    uint16_t fsw = (uint16_t)((random_word(r) & 0x4700) |
                              (random_chance(r, 50) ? 0 : (random_word(r) & 7) << 11));
    uint32_t mxcsr = 0x1f80 | (random_word(r) & 3) << 13;
    if (random_chance(r, 6))
        fcw = (uint16_t)(fcw & ~(random_word(r) & 0x3f));
    if (random_chance(r, 15))
        fsw = (uint16_t)(fsw | (random_word(r) & 0x7f));
    if (random_chance(r, 6))
        mxcsr &= ~(random_word(r) & 0x1f80);
    if (random_chance(r, 15))
        mxcsr |= random_word(r) & 0x807f;
    memcpy(v, &fcw, 2);
    memcpy(v + 2, &fsw, 2);
    v[4] = (uint8_t)(random_chance(r, 40) ? 0 : random_word(r)); /* which registers are in use */
    memcpy(v + 24, &mxcsr, 4);
}

static void random_vector(struct generator *g) {
    uint8_t *v = g->s->job.in.vector;
    struct random *r = &g->r;
    memset(v, 0, VECTOR_BYTES);
    random_control(r, v);
    for (unsigned i = 0; i < 8; i++) {
        unsigned kind = i == 7 ? 2 : random_word(r) % 5; /* 7: a gather's index */
        for (unsigned lane = 0; lane < 4; lane++) {
            uint32_t low = random_lane(r, kind), high = random_lane(r, kind);
            memcpy(v + 160 + 16 * i + 4 * lane, &low, 4);
            memcpy(v + 576 + 16 * i + 4 * lane, &high, 4);
        }
        random_st(r, v + 32 + 16 * i);
    }
    v[512] = 7;
}

static void random_position(struct generator *g) {
    struct job *job = &g->s->job;
    uint32_t page = CODE_AT + random_word(&g->r) % CODE_PAGES * 0x1000u;
    uint32_t offset = random_word(&g->r) % 0xe00;
    if (random_chance(&g->r, 12))
        offset = 0x1000 - 1 - random_word(&g->r) % 48;
    else if (random_chance(&g->r, 30))
        offset = 0x40; /* the same place again and again */
    if (g->s->code_base && offset + 0x100 > 0x1000)
        offset = 0x40; /* its limit ends in the last page */
    job->code_at = page + offset;
    job->in.eip = job->code_at - g->s->code_base;
}

void random_state(struct generator *g) {
    struct job *job = &g->s->job;
    random_segments(g);
    random_registers(g);
    random_vector(g);
    random_position(g);
    job->image = (uint8_t)(random_word(&g->r) % IMAGES);
    job->guest_writes_code = random_chance(&g->r, 30);
    job->flush = random_chance(&g->r, 5);
}
