/* Attention: devices, interrupts, timers and HLT.
 *
 * A host timer and the monitor's signals set one flag; translated code tests it on back edges and
 * indirect transfers and comes here at an instruction boundary. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "runtime/engine_private.h"
#include "runtime/inspection.h"
#include "runtime/plugins.h"
#include "runtime/system.h"
#include "translator/tripwire.h"

#define NS_PER_SECOND 1000000000ull

void attention_close_poll(struct engine *e, uintptr_t pc) {
    if (!e->poll_closed && !mprotect(e->poll_page, PAGE_SIZE, PROT_NONE))
        e->poll_closed = true;
    loops_suspend(e, pc);
}

void attention_open_poll(struct engine *e) {
    if (e->poll_closed && !mprotect(e->poll_page, PAGE_SIZE, PROT_READ))
        e->poll_closed = false;
    loops_resume(e);
}

static int make_poll_page(struct engine *e) {
    void *at = mmap((void *)POLL_PAGE, PAGE_SIZE, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED)
        return -errno;
    e->poll_page = at;
    void *behind = mmap((void *)(POLL_PAGE + PAGE_SIZE), TRIPWIRE_REACH, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (behind == MAP_FAILED)
        return -errno;
    return at == (void *)POLL_PAGE && behind == (void *)(POLL_PAGE + PAGE_SIZE) ? 0 : -EEXIST;
}

int attention_init(struct vcpu *v) {
    struct engine *e = v->engine;
    int status = make_poll_page(e);
    if (status)
        return status;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    sigset_t none;
    if (timer_create(CLOCK_MONOTONIC, &event, &e->timer))
        return -errno;
    e->timer_armed = TIMER_NEVER;
    v->timers->changed = true;
    sigfillset(&e->wait_mask);
    sigdelset(&e->wait_mask, SIGUSR1);
    sigdelset(&e->wait_mask, SIGALRM);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

static struct timespec to_timespec(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                             .tv_nsec = (long)(ns % NS_PER_SECOND)};
}

void attention_arm_timer(struct vcpu *v) {
    struct engine *e = v->engine;
    uint64_t next = v->timers->next;
    v->timers->changed = false;
    if (next == e->timer_armed)
        return;
    struct itimerspec spec = {0};
    if (next != TIMER_NEVER) {
        uint64_t now = clock_now(v->clock);
        spec.it_value = to_timespec(next > now ? next - now : 1);
    }
    timer_settime(e->timer, 0, &spec, NULL);
    e->timer_armed = next;
}

static void run_devices(struct vcpu *v) {
    struct engine *e = v->engine;
    e->sync_wanted = false;
    if (e->options.poll)
        e->options.poll(e->options.poll_opaque);
    timers_run(v->timers, clock_now(v->clock));
    e->timer_armed = TIMER_NEVER; /* it has fired, or is armed again here */
    attention_arm_timer(v);
}

static void deliver_external(struct vcpu *v, unsigned vector) {
    PLUGIN_EVENT(v, IRQ, vector, v->cpu.eip);
    TRACE(v->trace, interrupt, vector);
    v->cpu.halted = false;
    if (interrupt_deliver(v, (uint8_t)vector, DELIVER_EXTERNAL, v->cpu.eip, false, 0) ==
        CALLOUT_FAULT)
        exception_deliver(v);
    v->engine->delivered = true;
}

static void deliver_interrupt(struct vcpu *v) {
    int vector = v->pic.acknowledge(v->pic.pic);
    if (vector >= 0)
        deliver_external(v, (unsigned)vector);
}

/* Blocked from here on, even if its delivery faults. */
static void deliver_nmi(struct vcpu *v) {
    v->cpu.nmi_pending = false;
    v->cpu.nmi_blocked = true;
    deliver_external(v, VEC_NMI);
}

void attention_pay(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    attention_open_poll(v->engine);
    cpu->attention = 0;
    if (v->sampler && atomic_load(&v->sampler->rate) != v->sampler->armed)
        sampler_arm(v);
    if (v->engine->sync_wanted)
        run_devices(v);
    if (v->timers->changed)
        attention_arm_timer(v);
    inspection_pay(v);
    renewal_consider(v);
    if (v->exit)
        cpu->attention = 1;
    else if (vcpu_nmi_is_due(cpu))
        deliver_nmi(v);
    else if (vcpu_intr_is_due(cpu))
        deliver_interrupt(v);
    if (v->exit)
        cpu->attention = 1;
}

/* Sleeps until a signal. Signals are blocked from the last look at the flags to the wait. */
static void wait_for_signal(struct vcpu *v) {
    struct engine *e = v->engine;
    sigset_t old;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    if (!e->sync_wanted && !v->exit) {
        uint64_t now = clock_now(v->clock), next = v->timers->next;
        struct timespec wait = to_timespec(next > now ? next - now : 0);
        sampler_pause(v);
        ppoll(NULL, 0, next == TIMER_NEVER ? NULL : &wait, &e->wait_mask);
        sampler_resume(v);
        e->sync_wanted = true;
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
}

void attention_halt(struct vcpu *v) {
    uint64_t start = clock_now(v->clock);
    v->counters->halts++;
    while (v->cpu.halted && !v->exit) {
        attention_pay(v);
        if (v->cpu.halted && !v->exit)
            wait_for_signal(v);
    }
    v->counters->halt_ns += clock_now(v->clock) - start;
}
