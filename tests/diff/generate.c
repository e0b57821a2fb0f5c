/* Sequence N of a seed: a state, and one to eight instructions of random rows with what prepares
 * them. Every sequence has a generator of its own, so that any can be made again by its number. */
#include <string.h>

#include "tests/diff/generator.h"

#define INSNS_MAX 8u
#define PREPARED_MAX 6u /* elements that prepare one instruction */

struct element *add_element(struct generator *g, const uint8_t *bytes, unsigned len, unsigned row) {
    struct element *e = &g->s->elements[g->s->count++];
    memset(e, 0, sizeof *e);
    memcpy(e->bytes, bytes, len);
    e->len = (uint8_t)len;
    e->row = (uint16_t)row;
    return e;
}

void add_fixup(struct generator *g, enum fixup_kind kind, unsigned index, unsigned at,
               unsigned behind) {
    struct sequence *s = g->s;
    if (s->fixup_count < FIXUPS_MAX)
        s->fixups[s->fixup_count++] =
            (struct fixup){kind, (uint8_t)index, (uint8_t)at, (uint8_t)(s->count + behind)};
}

static void add_move(struct generator *g, unsigned gpr, uint32_t value) {
    uint8_t mov[5] = {(uint8_t)(0xb8 + gpr)};
    memcpy(mov + 1, &value, 4);
    add_element(g, mov, sizeof mov, NO_ROW);
}

/* ESP is left where it is: it is the stack's. */
void prepare_gpr(struct generator *g, unsigned gpr, uint32_t value) {
    if (gpr == ESP)
        return;
    bool is_open = g->first && !(g->claimed & 1u << gpr);
    g->claimed |= 1u << gpr;
    if (is_open)
        g->s->job.in.gpr[gpr] = value;
    else if (g->exactly || random_chance(&g->r, 90))
        add_move(g, gpr, value);
}

void prepare_gpr_address(struct generator *g, unsigned gpr, unsigned behind) {
    if (gpr == ESP)
        return;
    add_move(g, gpr, 0);
    add_fixup(g, FIX_IMMEDIATE, g->s->count - 1, 1, behind);
}

void prepare_push(struct generator *g, uint32_t value) {
    uint8_t push[5] = {0x68};
    memcpy(push + 1, &value, 4);
    add_element(g, push, sizeof push, NO_ROW);
}

void prepare_push_address(struct generator *g, unsigned behind) {
    prepare_push(g, 0);
    add_fixup(g, FIX_IMMEDIATE, g->s->count - 1, 1, behind);
}

static bool is_writable(uint32_t linear) {
    uint32_t page = (linear - DATA_AT) >> 12;
    return page == writable_page[0] || page == writable_page[1] || page == writable_page[2];
}

int patch(struct generator *g, uint32_t linear, uint32_t value) {
    struct job *job = &g->s->job;
    if (job->patch_count == PATCHES_MAX || !is_writable(linear) || !is_writable(linear + 3))
        return -1;
    for (uint32_t i = 0; i < job->patch_count; i++)
        if (linear - job->patches[i].at + 3 < 7)
            return -1; /* an instruction before wants it otherwise */
    job->patches[job->patch_count] = (struct patch){linear, value};
    return (int)job->patch_count++;
}

static bool is_near_branch(const struct insn_row *row) {
    static const emitter_fn branches[] = {e_call_rel, e_call_rm, e_jmp_rel, e_jmp_rm,
                                          e_jcc,      e_loop,    e_ret};
    for (unsigned i = 0; i < sizeof branches / sizeof *branches; i++)
        if (row->emit == branches[i])
            return true;
    return false;
}

static void shuffle(struct random *r, uint8_t *list, unsigned count) {
    for (unsigned i = count; i > 1; i--) {
        unsigned j = random_word(r) % i;
        uint8_t byte = list[i - 1];
        list[i - 1] = list[j];
        list[j] = byte;
    }
}

/* Legacy prefixes, those that the row must have and some that it need not. */
static uint8_t *write_prefixes(struct random *r, const struct insn_row *row, enum row_prefix prefix,
                               bool mod3, uint8_t *p) {
    static const uint8_t segments[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    static const uint8_t vex_killers[4] = {0x66, 0xf2, 0xf3, 0xf0};
    uint8_t list[10];
    unsigned n = 0, opsize = is_near_branch(row) ? 2 : 25;
    bool string = row->emit == e_string || row->emit == e_port_string;
    bool any = prefix == PFX_ANY, addr16 = random_chance(r, mod3 ? 2 : 6);
    if (addr16)
        list[n++] = 0x67;
    if (random_chance(r, addr16 ? 90 : 14))
        list[n++] = segments[addr16 ? 4 + random_word(r) % 2 : random_word(r) % 6];
    if (random_chance(r, 1))
        list[n++] = segments[random_word(r) % 6];
    if (row->vex) {
        if (random_chance(r, 1))
            list[n++] = vex_killers[random_word(r) % 4];
    } else {
        if (prefix == PFX_66 || random_chance(r, any ? opsize : 2))
            list[n++] = 0x66;
        if (prefix == PFX_F2 || prefix == PFX_F3)
            list[n++] = prefix == PFX_F2 ? 0xf2 : 0xf3;
        else if (random_chance(r, any ? (string ? 60 : 4) : 1))
            list[n++] = random_chance(r, 50) ? 0xf2 : 0xf3;
        if (random_chance(r, row->unit == UNIT_INT && !mod3 ? 8 : 1))
            list[n++] = 0xf0;
        if (n && random_chance(r, 2))
            list[n] = list[random_word(r) % n], n++;
    }
    if (random_chance(r, 40))
        shuffle(r, list, n);
    memcpy(p, list, n);
    return p + n;
}

static enum row_prefix pick_prefix(struct random *r, const struct insn_row *row) {
    bool vector = !row->vex && row->map != 0 && row->unit != UNIT_INT;
    if (row->prefix != PFX_ANY || !vector)
        return (enum row_prefix)row->prefix;
    return (enum row_prefix)(PFX_NONE + random_word(r) % 4);
}

/* Bytes that are mostly an instruction of the row. Returns their number. */
static unsigned write_insn(struct random *r, const struct insn_row *row, uint8_t *bytes) {
    enum row_prefix prefix = pick_prefix(r, row);
    unsigned opcode = row->lo + random_word(r) % (row->hi - row->lo + 1u);
    bool mod3 = row->mod == MOD_ANY ? random_chance(r, 40) : row->mod == MOD_REG;
    uint8_t *p = write_prefixes(r, row, prefix, mod3, bytes);
    p = random_opcode(r, row, opcode, prefix, row->ext, mod3, p);
    return (unsigned)(p - bytes);
}

/* INT 80h is the host's system call. */
static bool is_host_call(const struct insn *in) {
    return in->row->callout == CALLOUT_int_n && in->bytes[in->imm_at] == 0x80;
}

/* False: try again. Bytes that are no instruction are kept now and then: they must raise #UD. */
static bool draw_insn(struct generator *g, const struct row_choice *rows) {
    uint8_t bytes[64];
    struct insn in;
    const struct insn_row *wanted = &insn_rows[rows->rows[random_word(&g->r) % rows->count]];
    unsigned len = write_insn(&g->r, wanted, bytes);
    const struct translate_request req = {.bytes = bytes, .len = len, .page_bytes = len};
    int status = insn_decode(&req, 0, &in);
    if (status) {
        if (!random_chance(&g->r, 3) || in.z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
            return false;
        add_element(g, bytes, len < 16 ? len : 16, (unsigned)(wanted - insn_rows));
        return true;
    }
    g->exactly = false;
    if (row_left_out(in.row) || is_host_call(&in) || may_split_lock(&in))
        return false;
    struct element e = {.len = in.len, .row = (uint16_t)(in.row - insn_rows)};
    memcpy(e.bytes, bytes, in.len);
    steer(g, &e, &in);
    g->s->elements[g->s->count++] = e;
    return true;
}

static void clamp_targets(struct sequence *s) {
    for (unsigned i = 0; i < s->count; i++)
        if (s->elements[i].target > s->count)
            s->elements[i].target = (uint8_t)s->count;
    for (unsigned i = 0; i < s->fixup_count; i++)
        if (s->fixups[i].element > s->count)
            s->fixups[i].element = (uint8_t)s->count;
}

static uint64_t mix(uint64_t x) { /* splitmix64 */
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

void generate(struct sequence *s, const struct row_choice *rows, uint64_t seed, uint64_t number) {
    struct generator g = {.r = {mix(mix(seed) + number) | 1}, .s = s, .first = true};
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->number = number;
    random_state(&g);
    unsigned insns = random_chance(&g.r, 45) ? 1 : 2 + random_word(&g.r) % (INSNS_MAX - 1);
    for (unsigned i = 0; i < insns && s->count + PREPARED_MAX < ELEMENTS_MAX; i++) {
        while (!draw_insn(&g, rows)) {
        }
        g.first = false;
    }
    clamp_targets(s);
}
