/* Sparse windows: address spaces whose data are looked up instead of being mapped.
 *
 * A page in a window costs a mapping of the host's, a signal or two, and unmapping: as much as a thousand accesses
 * past the windows (past_windows.c). A short process, and one that forks, touches most of its pages
 * seldom. So user windows begin sparse: code at CPL 3 is translated with MODE_SPARSE, in which operands that can be
 * looked up are, but for those named from ESP; the stack and what cannot be looked up is mapped. Instructions that
 * look up again and again what a window would have had use the window all the same (hint WINDOW_USER),
 * and when all of an address space together is of that kind, its window is dense from then on. */
#include <string.h>

#include "runtime/engine_private.h"

/* So many accesses are looked at before an instruction or an address space is judged, and one in WORTH must
 * have been new: a fault for a window. */
#define SITE_TRIAL 1024u
#define SPACE_TRIAL 16384u
#define WORTH 512u

void sparse_begin(struct vcpu *v, struct window *w) {
    w->sparse = !v->engine->options.no_sparse && v->cpu.paging.cr0 & CR0_PG;
    w->reaches = w->useful = 0;
    memset(w->touched, 0, sizeof w->touched);
}

void sparse_chosen(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    cpu->user_sparse = v->engine->user->sparse ? MODE_SPARSE : 0;
    cpu->mode_dirty |= cpu_cpl(cpu) == 3 && (cpu->mode & MODE_SPARSE) != cpu->user_sparse;
}

/* Pages share bits; an address space that touches so many does not stay sparse. */
static bool is_new(struct window *w, gva_t gva) {
    uint32_t page = (gva >> PAGE_SHIFT) % (WINDOW_TOUCHED_WORDS * 64);
    uint64_t bit = 1ull << page % 64, *word = &w->touched[page / 64];
    bool was = *word & bit;
    *word |= bit;
    return !was;
}

static bool is_worth(uint32_t useful, uint32_t reaches) { return useful >= reaches / WORTH; }

/* Its mode changes when an instruction is complete: at the next look for attention, or at the next return from the
 * kernel. */
static void make_dense(struct vcpu *v, struct window *w) {
    w->sparse = false;
    v->cpu.user_sparse = 0;
    v->cpu.attention = 1;
    v->counters->windows_dense++;
}

void sparse_judge(struct vcpu *v, gva_t gva, enum reach_use use, uint32_t count) {
    struct window *w = v->engine->user;
    uint32_t useful = use == REACH_NEEDED || (use == REACH_LOOKED_UP && is_new(w, gva));
    if (!w->sparse || (!useful && count == 1)) /* a page that the look-aside buffer has lost since: it tells nothing */
        return;
    struct site *site = past_windows_site(v);
    site->reaches += count;
    site->useful += useful;
    if (site->reaches >= SITE_TRIAL) {
        if (!is_worth(site->useful, site->reaches))
            past_windows_give_up(v, WINDOW_USER);
        site->reaches = site->useful = 0;
    }
    w->reaches += count;
    w->useful += useful;
    if (w->reaches < SPACE_TRIAL)
        return;
    if (!is_worth(w->useful, w->reaches))
        make_dense(v, w);
    w->reaches = w->useful = 0;
}
