/* Does the guest get anywhere? An endless loop of the guest's does, one of the monitor's around it does not.
 *
 * Asked (--debug progress) when somebody outside has ended the machine, for tests whose guests may loop
 * for ever. State that differs between two moments is progress. Where it is the same again and again,
 * as in a jump to itself, instructions that complete one by one must lead back to it. */
#include <string.h>
#include <time.h>

#include "runtime/engine_private.h"

#define SAMPLES 20u
#define SAMPLE_NS 5000000ul
#define STEPS 4096u

struct snapshot {
    uint32_t gpr[8], eip, flags, sys_flags, iflag;
    uint64_t events;
};

static struct snapshot take(const struct vcpu *v) {
    const struct counters *c = v->counters;
    struct snapshot s = {.eip = v->cpu.eip, .flags = v->cpu.flags, .sys_flags = v->cpu.sys_flags,
                         .iflag = v->cpu.iflag};
    memcpy(s.gpr, v->cpu.gpr, sizeof s.gpr);
    s.events = c->exceptions + c->soft_interrupts + c->interrupts + c->port_reads + c->port_writes;
    return s;
}

static bool stands(const struct vcpu *v, const struct snapshot *before) {
    const struct snapshot now = take(v);
    return memcmp(&now, before, sizeof now) == 0;
}

static bool is_over(const struct vcpu *v) { return v->exit != EXIT_NONE || v->cpu.halted; }

/* The host's timer, armed anew each time round, gets translated code to leave. */
static void run_a_while(struct vcpu *v) {
    const struct itimerspec spec = {.it_value = {.tv_nsec = SAMPLE_NS}};
    uint64_t end = clock_now(v->clock) + SAMPLE_NS;
    while (clock_now(v->clock) < end && !is_over(v)) {
        timer_settime(v->engine->timer, 0, &spec, NULL);
        engine_iterate(v);
    }
}

static bool comes_round(struct vcpu *v, const struct snapshot *start) {
    struct engine *e = v->engine;
    e->options.one_insn = e->options.no_chain = e->flush_cache = true;
    for (unsigned i = 0; i < STEPS; i++) {
        bool done = engine_iterate(v);
        if (is_over(v) || (done && stands(v, start)))
            return true;
    }
    return false;
}

void progress_prove(struct vcpu *v) {
    bool gets_on = v->cpu.halted;
    v->exit = EXIT_NONE;
    const struct snapshot start = take(v);
    for (unsigned i = 0; i < SAMPLES && !gets_on; i++) {
        run_a_while(v);
        gets_on = is_over(v) || !stands(v, &start);
    }
    if (!gets_on && !comes_round(v, &start))
        engine_host_failure(v, "no instruction of the guest's completes", 0);
    if (v->exit == EXIT_NONE)
        v->exit = EXIT_QUIT;
}
