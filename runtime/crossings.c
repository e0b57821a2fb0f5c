/* Links of running loops across the end of a page.
 *
 * User code goes to another page through slots of the jump cache, since another address space may have another page
 * there. Where a loop is found running across an end (its branch back is where attention was noticed), its exits to the
 * other page become links. The stub of such an exit goes through the fixed slot, and a link is made only where
 * that leads. All links hold for one window: they are taken back before user code of another one is entered, and as
 * soon as a page of code leaves the window. Nobody changes mappings but code of another level, so no link is wrong while
 * user code runs. They are made when user code is entered after it has noticed attention: then it runs for long. */
#include <string.h>

#include "runtime/engine_private.h"

static bool in_loop(const struct crossing_loop *loop, gva_t at) { return at - loop->head <= loop->branch - loop->head; }

static bool same_page(gva_t a, gva_t b) { return a >> PAGE_SHIFT == b >> PAGE_SHIFT; }

static bool is_free(const struct crossing_loop *loop) { return loop->head == loop->branch; }

static bool is_full(const struct engine *e) { return e->crossing_count > CROSSINGS_MAX - TRANSLATION_EXITS_MAX; }

static uint32_t page_bit(gva_t linear) { return linear >> PAGE_SHIFT & (CROSSING_PAGE_WORDS * 64u - 1); }

static void note_page(struct engine *e, gva_t linear) {
    e->crossing_pages[page_bit(linear) / 64] |= 1ull << page_bit(linear) % 64;
}

bool crossings_near(const struct engine *e, gva_t linear) {
    bool noted = e->crossing_pages[page_bit(linear) / 64] >> page_bit(linear) % 64 & 1;
    if (!noted || is_full(e))
        return false;
    for (unsigned i = 0; i < CROSSING_LOOPS; i++) {
        const struct crossing_loop *loop = &e->crossing_loops[i];
        if (!is_free(loop) && (same_page(linear, loop->head) || same_page(linear, loop->branch)))
            return true;
    }
    return false;
}

bool crossings_link(const struct engine *e, gva_t from, gva_t to) {
    for (unsigned i = 0; i < CROSSING_LOOPS; i++) {
        const struct crossing_loop *loop = &e->crossing_loops[i];
        bool crosses = !same_page(from, to) || (loop->straddler && (loop->straddler == from || loop->straddler == to));
        if (crosses && !is_free(loop) && in_loop(loop, from) && in_loop(loop, to))
            return true;
    }
    return false;
}

void crossings_add(struct engine *e, struct fragment *f, const struct translation *t) {
    for (unsigned i = 0; i < t->exit_count && e->crossing_count < CROSSINGS_MAX; i++) {
        if (!t->exits[i].crosses)
            continue;
        e->crossings[e->crossing_count++] = (struct crossing){f->exits + i, fragment_index(e, f)};
        f->crosses = e->crossings_wait = true;
    }
}

void crossings_forget(struct engine *e, const struct fragment *f) {
    for (uint32_t i = e->crossing_count; i-- > 0;)
        if (e->crossings[i].fragment == fragment_index(e, f))
            e->crossings[i] = e->crossings[--e->crossing_count];
}

void crossings_take_back(struct vcpu *v, unsigned window) {
    struct engine *e = v->engine;
    if (window != e->linked_window)
        return;
    for (uint32_t i = 0; i < e->crossing_count && e->crossings_linked; i++)
        if (e->exits[e->crossings[i].exit].to != NO_FRAGMENT)
            fragment_unlink_exit(v, e->crossings[i].exit);
    e->crossings_linked = false;
}

/* Exits of other code spaces keep what they have: their code does not run now. */
void crossings_enter(struct vcpu *v, unsigned window) {
    struct engine *e = v->engine;
    struct code_space space = code_space_of(&v->cpu);
    if (window != e->linked_window)
        crossings_take_back(v, e->linked_window);
    e->linked_window = window;
    for (uint32_t i = 0; i < e->crossing_count && e->crossings_wait; i++) {
        const struct crossing *c = &e->crossings[i];
        const struct fragment_exit *exit = &e->exits[c->exit];
        if (exit->to != NO_FRAGMENT || !code_space_equal(&e->fragments[c->fragment].space, &space))
            continue;
        struct fragment *to = jump_cache_fixed_target(v, exit->target);
        if (!to)
            continue;
        fragment_link_exit(v, &e->fragments[c->fragment], c->exit, to);
        e->crossings_linked = true;
    }
    e->crossings_wait = false;
}

/* Most of what is in the table ran long ago; what runs still is found again. */
static void forget_all(struct vcpu *v) {
    struct engine *e = v->engine;
    crossings_take_back(v, e->linked_window);
    e->crossing_count = e->crossing_loop_next = 0;
    memset(e->crossing_loops, 0, sizeof e->crossing_loops);
}

/* A byte of a fragment's code, by its offset there. */
static uint8_t code_byte(const struct vcpu *v, const struct fragment *f, uint32_t at) {
    uint32_t first = PAGE_SIZE - (uint32_t)(f->gpa & PAGE_MASK);
    gpa_t gpa = at < first ? f->gpa + at : (f->gpa2 & ~(gpa_t)PAGE_MASK) + (at - first);
    const uint8_t *byte = at < first || f->gpa2 ? ram_ptr(v->ram, gpa, 1) : NULL;
    return byte ? *byte : 0;
}

/* Where the JMP or Jcc at an offset in the fragment leads, as an EIP; its own: it is none. */
static uint32_t branch_target(const struct vcpu *v, const struct fragment *f, uint32_t at) {
    uint8_t opcode = code_byte(v, f, at);
    uint32_t start = at++, wide = 0;
    if (opcode == 0xeb || (opcode & 0xf0u) == 0x70) {
        int32_t narrow = (int8_t)code_byte(v, f, at);
        return f->eip + at + 1 + (uint32_t)narrow;
    }
    if (opcode == 0x0f)
        opcode = (code_byte(v, f, at++) & 0xf0u) == 0x80 ? 0xe9 : 0;
    if (opcode != 0xe9)
        return f->eip + start;
    for (unsigned k = 0; k < 4; k++)
        wide |= (uint32_t)code_byte(v, f, at + k) << 8 * k;
    return f->eip + at + 4 + wide;
}

static bool has_crossing_to(const struct engine *e, const struct fragment *f, uint32_t target) {
    for (uint32_t i = 0; f->crosses && i < e->crossing_count; i++)
        if (e->crossings[i].fragment == fragment_index(e, f) && e->exits[e->crossings[i].exit].target == target)
            return true;
    return false;
}

/* The fragments of the loop on one of its pages go; with an instruction on both it gets to know that. */
static void forget_code(struct vcpu *v, struct crossing_loop *loop, const struct code_space *space, gva_t gva) {
    struct engine *e = v->engine;
    if (!(shadow_flags(e->user, gva) & SHADOW_EXEC))
        return;
    uint32_t page = e->user->regions[gva >> REGION_SHIFT]->pfn[gva >> PAGE_SHIFT & (REGION_PAGES - 1)];
    for (uint32_t i = e->page_fragments[page], next; i; i = next) {
        struct fragment *f = &e->fragments[i];
        gva_t linear = fragment_linear(f);
        next = f->page_next;
        if (code_space_equal(&f->space, space) && (in_loop(loop, linear) || loop->head - linear < f->guest_len)) {
            if (f->gpa2 && in_loop(loop, linear))
                loop->straddler = linear;
            fragment_forget(v, f);
        }
    }
}

void crossings_learn(struct vcpu *v, const struct fragment *f, const struct insn_map *insn) {
    struct engine *e = v->engine;
    const struct engine_options *options = &e->options;
    const struct code_space space = f->space;
    e->crossings_wait = true;
    if ((space.mode & (MODE_CPL | MODE_CODE16)) != 3 || options->no_jump_cache || options->no_chain ||
        options->inject.raise)
        return;
    uint32_t target = branch_target(v, f, insn->guest);
    struct crossing_loop loop = {.head = space.base + target, .branch = fragment_linear(f) + insn->guest};
    if (loop.branch - loop.head >= PAGE_SIZE || is_free(&loop) || has_crossing_to(e, f, target) ||
        (same_page(loop.head, loop.branch) && !f->gpa2))
        return;
    if (is_full(e))
        forget_all(v);
    forget_code(v, &loop, &space, loop.head);
    forget_code(v, &loop, &space, loop.branch);
    struct crossing_loop *to = &e->crossing_loops[e->crossing_loop_next];
    for (unsigned i = 0; i < CROSSING_LOOPS; i++)
        if (e->crossing_loops[i].head == loop.head && e->crossing_loops[i].branch == loop.branch)
            to = &e->crossing_loops[i];
    if (to == &e->crossing_loops[e->crossing_loop_next])
        e->crossing_loop_next = (e->crossing_loop_next + 1) % CROSSING_LOOPS;
    *to = loop;
    note_page(e, loop.head);
    note_page(e, loop.branch);
    v->counters->crossings++;
}
