/* Renewal of the translation cache.
 *
 * What a guest boots with is translated once and never runs again, and the code that does run later lies among it:
 * a few fragments in each page, far from those that they lead to, and their jump cache slots and lists as well. When
 * hardly anything is translated any more, a phase is over: everything is thrown away then, and what is in use is
 * made anew, in the order of its use and close together. That is paid for by the translations made since the last time,
 * which were several times as many. Meanwhile more is learned of what runs, and sites are translated again, away from
 * the rest: so there are further renewals, each after twice the time of the one before. What the guest has overwritten
 * does not count, as a compiler at run time goes round in a few parts. Neither does time in HLT, as nothing is
 * translated in it. */
#include "runtime/engine_private.h"

#define PERIOD_NS 200000000u
#define QUIET 1000u      /* fragments made in a period, at most: some 4 % of the time */
#define LEAST 8192u      /* made since the last renewal, and so many times what that one made necessary: a phase; */
#define TIMES 2u
#define FIRST_NS 400000000u /* else so long after it, if one of so many was made besides */
#define BESIDES 8u

static bool is_phase(const struct renewal *r, uint64_t since) {
    return since >= LEAST && since >= TIMES * r->working_set;
}

static bool has_scattered(const struct renewal *r, uint64_t now, uint64_t since) {
    return r->working_set && now - r->renewed_ns >= r->interval && since > r->working_set &&
           since - r->working_set >= r->working_set / BESIDES && since - r->working_set >= LEAST / BESIDES;
}

bool renewal_is_due(struct renewal *r, uint64_t now, uint64_t fragments, uint64_t gone) {
    if (now < r->period_end)
        return false;
    uint64_t made = fragments - r->period_from, kept = fragments - gone;
    uint64_t since = kept > r->renewed_at ? kept - r->renewed_at : 0;
    r->period_end = now + PERIOD_NS;
    r->period_from = fragments;
    if (made > QUIET)
        return false;
    if (r->settling)
        r->working_set = since;
    r->settling = false;
    bool phase = is_phase(r, since);
    if (!phase && !has_scattered(r, now, since))
        return false;
    r->interval = phase ? FIRST_NS : 2 * r->interval;
    r->renewed_at = kept;
    r->renewed_ns = now;
    r->settling = true;
    return true;
}

void renewal_consider(struct vcpu *v) {
    struct engine *e = v->engine;
    if (e->options.no_renewal || e->options.perf_map || v->cpu.halted)
        return;
    struct counters *counters = v->counters;
    uint64_t gone = counters->invalidate_write + counters->invalidate_device;
    if (renewal_is_due(&e->renewal, clock_now(v->clock) - counters->halt_ns, counters->fragments, gone)) {
        counters->renewals++;
        e->flush_cache = true;
    }
}
