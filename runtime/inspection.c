/* Stopping, stepping and going on (inspection.h). Requests are in inspection_requests.c. */
#include "runtime/inspection.h"

#include <assert.h>
#include <poll.h>
#include <unistd.h>

#include "runtime/engine_private.h"
#include "runtime/inspection_requests.h"
#include "runtime/mmu.h"

static gva_t current(const struct vcpu *v) { return v->cpu.seg[SEG_CS].base + v->cpu.eip; }

static void tell(const struct inspection *i) {
    const uint64_t one = 1;
    ssize_t written = i->event_fd >= 0 ? write(i->event_fd, &one, sizeof one) : 0;
    (void)written; /* its counter is full: the monitor has been told */
}

/* Whether instructions run one by one is part of the mode. */
static void set_inspected(struct cpu *cpu, bool on) {
    if (cpu->inspected == on)
        return;
    cpu->inspected = on;
    cpu_update_mode(cpu, cpu_cpl(cpu));
}

static void set_stepping(struct vcpu *v, enum inspection_stepping how) {
    v->inspection->stepping = how;
    v->cpu.events_held = how == STEPPING_OVER || how == STEPPING_ONE;
    set_inspected(&v->cpu, v->cpu.events_held);
}

static void serve_posted(struct vcpu *v) {
    struct inspection *i = v->inspection;
    uint32_t posted = atomic_load(&i->posted);
    if (posted == atomic_load(&i->served))
        return;
    i->result = inspection_serve(v, &i->request);
    atomic_store(&i->served, posted);
    tell(i);
}

/* Sleeps between requests. Signals are blocked from the look at the mailbox to the wait. */
static void stand(struct vcpu *v) {
    struct inspection *i = v->inspection;
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    for (;;) {
        serve_posted(v);
        if (v->exit || atomic_load(&i->state) != INSPECTION_STOPPED)
            break;
        ppoll(NULL, 0, NULL, &v->engine->wait_mask);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
}

/* The guest has not lived through the time since `start`. */
static void skip_time(struct vcpu *v, uint64_t start) {
    uint64_t ticks = clock_host_tsc() - start;
    if (v->cpu.tsc_offset == 0)
        mmu_retranslate_all(v); /* RDTSC was the host's own */
    v->cpu.tsc_offset -= ticks;
    v->clock->tsc_base += ticks;
    v->timers->changed = true;
    v->engine->timer_armed = TIMER_NEVER;
}

/* All that was under way for this stop ends; then others have the word. */
static void stop(struct vcpu *v, struct inspection_stop why) {
    struct inspection *i = v->inspection;
    uint64_t start = clock_host_tsc();
    assert(why.reason != STOP_NONE && atomic_load(&i->state) == INSPECTION_RUNS);
    set_stepping(v, STEPPING_NOT);
    i->hit.reason = STOP_NONE;
    i->stop = why;
    atomic_store(&i->asked, STOP_NONE);
    atomic_store(&i->state, INSPECTION_STOPPED);
    atomic_fetch_add(&i->stops, 1);
    TRACE(v->trace, stopped, why.reason);
    tell(i);
    stand(v);
    i->hit.reason = STOP_NONE; /* of what requests have looked at */
    atomic_store(&i->state, INSPECTION_RUNS);
    skip_time(v, start);
    v->engine->sync_wanted = true;
    v->cpu.attention = 1;
}

void inspection_resume(struct vcpu *v, bool step) {
    struct inspection *i = v->inspection;
    if (step)
        set_stepping(v, v->cpu.halted ? STEPPING_AWAKE : STEPPING_ONE);
    else if (!v->cpu.halted && inspection_breaks_at(i, current(v), 1))
        set_stepping(v, STEPPING_OVER);
    i->over = current(v);
    atomic_store(&i->state, INSPECTION_RUNS);
}

void inspection_init(struct vcpu *v) {
    if (!v->inspection)
        return;
    assert(v->inspection->breakpoint_count <= INSPECTION_BREAKPOINTS_MAX);
    inspection_watch_pages(v);
    if (inspection_wanted(v->inspection))
        v->cpu.attention = 1;
}

void inspection_pay(struct vcpu *v) {
    struct inspection *i = v->inspection;
    if (!i)
        return;
    if (i->hit.reason)
        stop(v, i->hit);
    else if (inspection_wanted(i))
        stop(v, (struct inspection_stop){.reason = STOP_ASKED, .address = current(v)});
}

/* The end waits, and a request to exit meanwhile is another one. */
void inspection_at_end(struct vcpu *v) {
    struct inspection *i = v->inspection;
    if (!i || v->exit != EXIT_TRIPLE_FAULT || !atomic_load(&i->held))
        return;
    v->exit = EXIT_NONE;
    stop(v, (struct inspection_stop){.reason = STOP_TRIPLE_FAULT, .address = current(v)});
    if (v->exit == EXIT_NONE)
        v->exit = EXIT_TRIPLE_FAULT;
}

void inspection_awake(struct vcpu *v) {
    struct inspection *i = v->inspection;
    if (i && i->stepping == STEPPING_AWAKE && !v->exit)
        stop(v, (struct inspection_stop){.reason = STOP_STEP, .address = current(v)});
}

bool inspection_before_instruction(struct vcpu *v) {
    struct inspection *i = v->inspection;
    if (!inspection_has_breakpoints(i) || i->stepping != STEPPING_NOT ||
        !inspection_breaks_at(i, current(v), 1))
        return false;
    stop(v, (struct inspection_stop){.reason = STOP_BREAKPOINT, .address = current(v)});
    return true;
}

void inspection_after_instruction(struct vcpu *v, bool ran) {
    struct inspection *i = v->inspection;
    if (!i)
        return;
    if (v->engine->shadow.watch_open)
        shadow_watch_close(&v->engine->shadow);
    if (!ran || v->exit)
        return;
    bool stepped = i->stepping == STEPPING_ONE;
    bool repeats = v->cpu.sys_flags & FL_RF && current(v) == i->over; /* a string, between two elements */
    if (i->stepping == STEPPING_OVER && repeats && !i->hit.reason)
        return;
    if (v->cpu.inspected)
        set_stepping(v, STEPPING_NOT);
    if (i->hit.reason)
        stop(v, i->hit);
    else if (stepped)
        stop(v, (struct inspection_stop){.reason = STOP_STEP, .address = current(v)});
}

void inspection_check_next(struct vcpu *v) {
    assert(v->inspection && v->inspection->watchpoint_count);
    set_inspected(&v->cpu, true);
}
