/* A piece of code as the fragments that it would become (explain.h), and mode words. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/explain.h"
#include "translator/cpu.h"

#define ATTR_CODE32 0xc09bu /* present, DPL 0, code, readable, accessed; DB, G */
#define ATTR_DATA32 0xc093u
#define ATTR_CODE16 0x009bu
#define ATTR_DATA16 0x0093u

uint32_t explain_mode_word(enum explain_mode mode, unsigned cpl) {
    struct cpu cpu = {.paging = {.cr0 = CR0_PE | CR0_PG | CR0_MP, .cr4 = CR4_OSFXSR | CR4_OSXSAVE},
                      .xcr0 = 7};
    bool wide = mode == EXPLAIN_32;
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        struct segment *segment = &cpu.seg[i];
        segment->usable = true;
        segment->limit = wide ? UINT32_MAX : 0xffff;
        segment->attr =
            i == SEG_CS ? (wide ? ATTR_CODE32 : ATTR_CODE16) : (wide ? ATTR_DATA32 : ATTR_DATA16);
        cpu_segment_changed(&cpu, segment);
    }
    if (mode == EXPLAIN_REAL) {
        cpu.paging.cr0 &= ~(CR0_PE | CR0_PG);
        cpl = 0;
    }
    if (mode == EXPLAIN_VM86) {
        cpu.sys_flags |= FL_VM;
        cpl = 3;
    }
    cpu_update_mode(&cpu, cpl);
    return cpu.mode;
}

/* Is `linear` where an instruction of a fragment begins? The run loop enters it there. */
static bool is_known(const struct explanation *e, gva_t linear) {
    for (unsigned i = 0; i < e->count; i++)
        for (unsigned k = 0; k < e->fragments[i].insn_count; k++)
            if (e->fragments[i].insns[k].linear == linear)
                return true;
    return false;
}

static bool is_inside(const struct explain_code *code, gva_t linear) {
    return linear - code->linear < code->len;
}

/* The next place that an exit leads to and that no fragment has. */
static bool next_target(const struct explain_code *code, const struct explanation *e,
                        gva_t *linear) {
    for (unsigned i = 0; i < e->count; i++)
        for (unsigned k = 0; k < e->fragments[i].exit_count; k++) {
            *linear = e->fragments[i].exits[k].linear;
            if (is_inside(code, *linear) && !is_known(e, *linear))
                return true;
        }
    return false;
}

/* The first byte that no fragment covers. */
static bool next_gap(const struct explain_code *code, const struct explanation *e, gva_t *linear) {
    *linear = code->linear;
    for (bool moved = true; moved && is_inside(code, *linear);) {
        moved = false;
        for (unsigned i = 0; i < e->count; i++) {
            const struct explained_fragment *f = &e->fragments[i];
            if (*linear - f->linear < f->guest_len) {
                *linear = f->linear + f->guest_len;
                moved = true;
            }
        }
    }
    return is_inside(code, *linear);
}

static void count(struct explanation *e, const struct explained_fragment *f) {
    e->insns += f->insn_count;
    e->guest_bytes += f->guest_len;
    e->hot_bytes += f->code_len;
    e->cold_bytes += f->cold_len;
    for (unsigned i = 0; i < f->insn_count; i++)
        e->hows[f->insns[i].how]++;
}

static int compare(const void *one, const void *other) {
    const struct explained_fragment *a = one, *b = other;
    return a->linear < b->linear ? -1 : a->linear > b->linear;
}

static int add(const struct explain_code *code, gva_t linear, struct explanation *e,
               struct error *error) {
    struct explain_code here = *code;
    uint32_t offset = linear - code->linear;
    assert(offset < code->len && e->count < UINT32_MAX);
    struct explained_fragment *fragments =
        realloc(e->fragments, (e->count + 1) * sizeof *e->fragments);
    if (!fragments)
        return error_set(error, "no memory");
    e->fragments = fragments;
    here.bytes += offset;
    here.len -= offset;
    here.linear += offset;
    here.eip += offset;
    if (explain_fragment(&here, &fragments[e->count], error))
        return -1;
    count(e, &fragments[e->count++]);
    return 0;
}

int explain_piece(const struct explain_code *code, unsigned max, struct explanation *e,
                  struct error *error) {
    gva_t linear = code->linear;
    assert(code->len > 0 && max > 0);
    *e = (struct explanation){0};
    do {
        if (e->count == max) {
            e->cut = true;
            break;
        }
        if (add(code, linear, e, error)) {
            if (e->count) { /* what came before is worth showing */
                e->cut = true;
                break;
            }
            explanation_release(e);
            return -1;
        }
    } while (next_target(code, e, &linear) || next_gap(code, e, &linear));
    qsort(e->fragments, e->count, sizeof *e->fragments, compare);
    return 0;
}

void explanation_release(struct explanation *e) {
    for (unsigned i = 0; i < e->count; i++)
        explained_fragment_release(&e->fragments[i]);
    free(e->fragments);
    *e = (struct explanation){0};
}
