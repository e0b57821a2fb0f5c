/* Renewal of the translation cache.
 *
 * What a guest boots with is translated once and never runs again, and the code that does run later lies among it:
 * a few fragments in each page, far from those that they lead to, and their jump cache slots and lists as well. When
 * hardly anything is translated any more, a phase is over: everything is thrown away then, and what is in use is
 * made anew, in the order of its use and close together. That is paid for by the translations made since the last time,
 * which were several times as many. Time in HLT does not count, as nothing is translated in it either. */
#include "runtime/engine_private.h"

#define PERIOD_NS 200000000u
#define QUIET 1000u      /* fragments made in a period, at most: some 4 % of the time */
#define LEAST 8192u      /* made since the last renewal, and so many times what that one made necessary */
#define TIMES 2u

bool renewal_is_due(struct renewal *r, uint64_t now, uint64_t fragments) {
    if (now < r->period_end)
        return false;
    uint64_t made = fragments - r->period_from, since = fragments - r->renewed_at;
    r->period_end = now + PERIOD_NS;
    r->period_from = fragments;
    if (made > QUIET)
        return false;
    if (r->settling)
        r->working_set = since;
    r->settling = false;
    if (since < LEAST || since < TIMES * r->working_set)
        return false;
    r->renewed_at = fragments;
    r->settling = true;
    return true;
}

void renewal_consider(struct vcpu *v) {
    struct engine *e = v->engine;
    if (e->options.no_renewal || e->options.perf_map || v->cpu.halted)
        return;
    if (renewal_is_due(&e->renewal, clock_now(v->clock) - v->counters->halt_ns, v->counters->fragments)) {
        v->counters->renewals++;
        e->flush_cache = true;
    }
}
