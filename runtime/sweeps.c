/* Code that is overwritten from front to back.
 *
 * A compiler whose memory is full starts anew at its beginning, and what stands there is overwritten function by
 * function. To invalidate one fragment at a time costs a callout and a walk along the page's list for each;
 * where writes have gone upwards through code for a while, everything that the page has further on goes at once. Too
 * much of it costs a translation, no more. */
#include "runtime/engine_private.h"
#include "runtime/plugins.h"

#define STRIDE_MAX 512u /* from one write to the next that meets code, on a page */
#define FIRST_BYTES 64u /* of another page, where a sweep goes on */
#define RUN_MIN 2u

static bool goes_on(const struct sweep *sweep, gpa_t gpa) {
    bool same_page = !((sweep->last ^ gpa) >> PAGE_SHIFT);
    return same_page ? gpa > sweep->last && gpa - sweep->last <= STRIDE_MAX
                     : sweep->run >= RUN_MIN && (gpa & PAGE_MASK) < FIRST_BYTES;
}

static uint32_t sweep_page(struct vcpu *v, gpa_t gpa) {
    struct engine *e = v->engine;
    uint32_t count = 0;
    for (uint32_t i = e->page_fragments[gpa >> PAGE_SHIFT]; i; i = e->fragments[i].page_next)
        if (e->fragments[i].gpa > gpa)
            fragment_forget_soon(e, &e->fragments[i]);
    for (uint32_t i = e->page_fragments[gpa >> PAGE_SHIFT], next; i; i = next) {
        struct fragment *f = &e->fragments[i];
        next = f->page_next;
        if (f->gpa <= gpa)
            continue;
        fragment_overwritten(v, f, f->gpa2 != 0); /* the bits of this page are made anew below */
        count++;
    }
    return count;
}

bool sweeps_note(struct vcpu *v, const struct fragment *running, gpa_t gpa, uint64_t *counter) {
    struct engine *e = v->engine;
    struct sweep *sweep = &e->sweep;
    sweep->run = goes_on(sweep, gpa) ? sweep->run + 1 : 0;
    sweep->last = gpa;
    if (sweep->run < RUN_MIN || !running || !((running->gpa ^ gpa) >> PAGE_SHIFT) || running->gpa2)
        return false;
    uint32_t count = sweep_page(v, gpa), behind = PAGE_SIZE - (uint32_t)(gpa & PAGE_MASK);
    if (!count)
        return false;
    *counter += count;
    PLUGIN_EVENT(v, INVALIDATE, gpa, behind, v->cpu.eip);
    TRACE(v->trace, code_bytes, behind, gpa);
    fragments_note_again(v, gpa, gpa + behind);
    return true;
}
