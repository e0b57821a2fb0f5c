/* Loops that were found running.
 *
 * When attention is wanted, the branch back whose look for it fails is where the guest spends its time: what it
 * goes back to gets a hint, and from then on a fragment of its own, which looks for attention only when it
 * is entered. Its branches back are told to the handler of signals, which turns them to their stubs: all those
 * of the fragment that the signal has interrupted; when it has interrupted our own code, which may go on in any of
 * them, all there are. Paying attention turns them back. The handler only reads the table and stores to the cache. */
#include <assert.h>

#include "runtime/engine_private.h"
#include "runtime/plugins.h"

static void point(struct engine *e, const struct loop_edge *edge, uint32_t rel) { cache_patch(e, edge->site, rel); }

void loops_suspend(struct engine *e, uintptr_t pc) {
    uintptr_t offset = pc - (uintptr_t)e->cache_exec;
    bool all = offset >= e->cache_size || (offset >= SCRATCH_CODE && !cache_part_at(e, (uint32_t)offset));
    for (uint32_t i = 0; i < e->loop_edge_count; i++) {
        const struct loop_edge *edge = &e->loop_edges[i];
        if (edge->site && (all || offset - edge->start < edge->len)) {
            e->loops_suspended = true;
            point(e, edge, edge->stub_rel);
        }
    }
}

void loops_resume(struct engine *e) {
    if (!e->loops_suspended)
        return;
    e->loops_suspended = false;
    for (uint32_t i = 0; i < e->loop_edge_count; i++)
        point(e, &e->loop_edges[i], e->loop_edges[i].loop_rel);
}

/* The table first: a signal that comes in between finds the edge there. */
static void add_edge(struct engine *e, const struct fragment *f, const struct fragment_exit *exit, uint32_t rel) {
    struct loop_edge *edge = &e->loop_edges[e->loop_edge_count];
    *edge = (struct loop_edge){.site = exit->site, .loop_rel = rel, .stub_rel = exit->stub_rel, .start = f->code,
                               .len = f->code_len, .fragment = fragment_index(e, f)};
    __atomic_store_n(&e->loop_edge_count, e->loop_edge_count + 1, __ATOMIC_RELEASE);
    point(e, edge, rel);
    if (e->poll_closed)
        loops_suspend(e, 0);
}

void loops_add(struct vcpu *v, struct fragment *f, uint32_t loop_at) {
    struct engine *e = v->engine;
    uint32_t index = fragment_index(e, f);
    f->is_loop = true;
    v->counters->loops++;
    for (unsigned i = 0; i < f->exit_count && e->loop_edge_count < LOOP_EDGES_MAX; i++) {
        struct fragment_exit *exit = &e->exits[f->exits + i];
        if (exit->target != f->eip)
            continue;
        exit->to = index;
        exit->next = f->incoming;
        exit->previous = 0;
        if (exit->next)
            e->exits[exit->next].previous = f->exits + i;
        f->incoming = f->exits + i;
        v->counters->links_made++;
        PLUGIN_EVENT(v, LINK, fragment_linear(f), fragment_linear(f));
        TRACE(v->trace, link, (uintptr_t)e->cache_exec + exit->site, index, index, fragment_linear(f));
        add_edge(e, f, exit, f->code + loop_at - (exit->site + 4));
    }
}

/* A signal that comes in between finds no site there, and the other edge where it was. */
static void replace_edge(struct loop_edge *edge, struct loop_edge by) {
    uint32_t site = by.site;
    by.site = 0;
    edge->site = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    *edge = by;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    edge->site = site;
}

void loops_forget(struct engine *e, const struct fragment *f) {
    uint32_t index = fragment_index(e, f);
    if (f->crosses)
        crossings_forget(e, f);
    for (uint32_t i = e->loop_edge_count; f->is_loop && i-- > 0;) {
        if (e->loop_edges[i].fragment != index)
            continue;
        replace_edge(&e->loop_edges[i], e->loop_edges[e->loop_edge_count - 1]);
        __atomic_store_n(&e->loop_edge_count, e->loop_edge_count - 1, __ATOMIC_RELEASE);
    }
}

/* The exit that the instruction takes to what lies before it, on the same page; NULL: none. */
static const struct fragment_exit *exit_back(const struct engine *e, const struct fragment *f,
                                             const struct insn_map *insn) {
    bool is_last = insn + 1 == &e->maps[f->map] + f->map_count;
    uint32_t start = f->code + insn->host, end = is_last ? f->code + f->code_len : f->code + insn[1].host;
    gva_t page = fragment_linear(f) >> PAGE_SHIFT;
    for (unsigned i = 0; i < f->exit_count; i++) {
        const struct fragment_exit *exit = &e->exits[f->exits + i];
        bool back = exit->target <= f->eip + insn->guest && (f->space.base + exit->target) >> PAGE_SHIFT == page;
        if (back && exit->site >= start && exit->site < end)
            return exit;
    }
    return NULL;
}

static bool is_call(const struct vcpu *v, gpa_t gpa) {
    const uint8_t *code = ram_ptr(v->ram, gpa, 2);
    return code && (code[0] == 0xe8 || (code[0] == 0xff && (code[1] & 0x38) == 0x10));
}

/* Is there a call on the way round? The return from it looks for attention. */
static bool calls(const struct vcpu *v, const struct fragment *f, uint32_t head, uint32_t branch) {
    const struct engine *e = v->engine;
    for (uint32_t i = e->page_fragments[f->gpa >> PAGE_SHIFT]; i; i = e->fragments[i].page_next) {
        const struct fragment *other = &e->fragments[i];
        const struct insn_map *map = &e->maps[other->map];
        for (unsigned k = 0; k < other->map_count; k++)
            if (other->eip + map[k].guest - head <= branch - head && is_call(v, other->gpa + map[k].guest))
                return true;
    }
    return false;
}

void loops_learn(struct vcpu *v) {
    struct engine *e = v->engine;
    uintptr_t pc = e->polled_pc;
    e->polled_pc = 0;
    const struct fragment *f = pc ? fragment_at(e, pc) : NULL;
    if (!f || f == &e->scratch || f->dead || f->probed || e->options.no_loops)
        return;
    const struct insn_map *insn = fragment_insn(e, f, pc);
    crossings_learn(v, f, insn);
    if (f->dead || f->gpa2)
        return;
    const struct fragment_exit *exit = exit_back(e, f, insn);
    if (!exit || tails_learn(v, f, exit->target) || e->loop_edge_count > LOOP_EDGES_MAX / 2 ||
        calls(v, f, exit->target, f->eip + insn->guest))
        return;
    gpa_t branch = f->gpa + insn->guest, head = f->gpa + (gpa_t)(int64_t)(int32_t)(exit->target - f->eip);
    uint8_t hint = build_get_hint(e, head);
    if (hint & HINT_LOOP)
        return;
    build_hint(e, head, hint | HINT_LOOP);
    TRACE(v->trace, hint, head, f->space.base + exit->target, hint, build_get_hint(e, head));
    fragments_invalidate_insn(v, head);
    fragments_invalidate_insn(v, branch);
}
