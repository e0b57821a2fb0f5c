/* Where fragments' callouts arrive, and the callouts that are the engine's own. */
#include <assert.h>

#include "runtime/engine_private.h"
#include "runtime/fpu_state.h"
#include "runtime/inspection.h"
#include "runtime/plugins.h"
#include "runtime/segment_access.h"
#include "runtime/system.h"

/* May translated code go on through the jump cache, without the run loop? */
static bool may_jump(const struct vcpu *v) {
    const struct cpu *cpu = &v->cpu;
    return !cpu->halted && !cpu->interrupt_shadow && !v->exit && !(cpu->mode & MODE_STEPWISE) &&
           !v->engine->flush_cache && !v->engine->options.no_chain && !v->engine->runs_alone && !v->engine->stepping;
}

static unsigned jump(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    if (cpu->mode_dirty)
        cpu_update_mode(cpu, cpu_cpl(cpu));
    if (cpu->irq_pending && cpu->iflag)
        cpu->attention = 1;
    if (cpu->attention || !may_jump(v))
        return LEAVE_STOP;
    mmu_activate(v);
    return LEAVE_JUMP_;
}

/* Is there nothing that the run loop would look at before the next fragment is entered? */
static bool may_stay(const struct vcpu *v) {
    const struct engine *e = v->engine;
    const struct cpu *cpu = &v->cpu;
    bool wanted = cpu->attention || e->sync_wanted || e->poll_closed || e->part_full;
    bool told = v->plugins || e->options.no_jump_cache || e->options.no_reuse || inject_covers(v);
    return may_jump(v) && !cpu->debug_shadow && !cpu->mode_dirty && !wanted && !told;
}

const void *engine_missed(struct vcpu *v) {
    if (!may_stay(v))
        return NULL;
    __builtin_prefetch((uint64_t *)(uintptr_t)v->cpu.jump_cache + jump_cache_slot(v->cpu.eip), 1);
    engine_activity(v, SAMPLE_dispatch);
    uint32_t code = cpu_cpl(&v->cpu) == 3 ? build_enter_page(v) : 0;
    if (!code) {
        struct fragment *f = build_known(v);
        f = f ? f : build_at_once(v);
        if (!f)
            return NULL;
        jump_cache_set(v, f);
        code = f->code;
    }
    v->counters->jump_cache_misses++;
    v->behind_mov_ss = false;
    v->cpu.sys_flags &= ~FL_RF;
    v->engine->fault_repeats = 0;
    return_stack_settle(v, false);
    return v->engine->cache_exec + code;
}

/* What plugins are told before a callout. */
static void tell_plugins(struct vcpu *v, enum callout_id id, uint32_t arg, uint32_t operand) {
    const struct cpu *cpu = &v->cpu;
    bool sysenter = id == CALLOUT_sysenter;
    if ((id == CALLOUT_int_n || sysenter) && cpu_cpl(cpu) == 3)
        PLUGIN_EVENT(v, SYSCALL, cpu->gpr[EAX], sysenter ? RING3_SYSENTER : arg, cpu->eip);
    if (plugins_want_callout(v->plugins, id))
        plugins_callout(v, id, arg, operand);
}

/* IRET or SYSEXIT has gone where the CPU is now. */
static void tell_return(struct vcpu *v, unsigned from_cpl) {
    const struct cpu *cpu = &v->cpu;
    if (from_cpl != 3 && cpu_cpl(cpu) == 3)
        PLUGIN_EVENT(v, USER_RETURN, cpu->gpr[EAX], cpu->gpr[ESP], cpu->eip);
}

static bool is_event(uint32_t id) {
    return id == CALLOUT_int_n || id == CALLOUT_int3 || id == CALLOUT_into || id == CALLOUT_int1 ||
           id == CALLOUT_sysenter;
}

/* System calls and returns; other events say so themselves. */
static void trace_transfer(struct vcpu *v, uint32_t id) {
    const struct cpu *cpu = &v->cpu;
    if (id == CALLOUT_sysenter)
        TRACE(v->trace, syscall, cpu->gpr[EAX]);
    else if (id == CALLOUT_iret || id == CALLOUT_sysexit || id == CALLOUT_ret_far)
        TRACE(v->trace, resume, cpu_cpl(cpu), cpu->seg[SEG_CS].base + cpu->eip);
}

/* Is there more to do in the fragment when the handler has come to its end? */
static bool goes_on(uint32_t id) {
    switch (id) {
    case CALLOUT_check:
    case CALLOUT_reach:
    case CALLOUT_reach_string:
    case CALLOUT_probe:
    case CALLOUT_instrument:
    case CALLOUT_lar:
    case CALLOUT_lsl:
    case CALLOUT_arpl:
        return true;
    default:
        return false;
    }
}

/* The run loop is next, without a poll that faults: a device's line has risen by an OUT, or an access was watched. */
static bool leaves_for_attention(const struct vcpu *v, uint32_t id) {
    if (v->cpu.mode & MODE_DEBUG)
        return false; /* it is alone in its fragment */
    return id == CALLOUT_out || (inspection_was_met(v->inspection) && !goes_on(id));
}

unsigned engine_callout(struct vcpu *v, uint32_t id, uint32_t arg, uint32_t operand) {
    struct cpu *cpu = &v->cpu;
    assert(id < CALLOUT_COUNT);
    cpu->callout_counts[id]++;
    engine_activity(v, SAMPLER_CALLOUT(id));
    TRACE(v->trace, callout, id, arg, operand);
    unsigned cpl = cpu_cpl(cpu);
    if (v->plugins)
        tell_plugins(v, (enum callout_id)id, arg, operand);
    v->engine->wrote_self = false;
    v->engine->calls_out = true;
    enum callout_result result = callout_handlers[id](v, arg, operand);
    v->engine->calls_out = false;
    v->engine->delivered |= v->traps_dropped;
    v->engine->step_dropped |= is_event(id);
    v->traps_dropped = false;
    if (v->timers->changed)
        attention_arm_timer(v);
    switch (result) {
    case CALLOUT_NEXT:
        if (v->exit ||
            v->engine->wrote_self) { /* what follows in the fragment is not the guest's any more */
            cpu->eip = cpu->next_eip;
            return LEAVE_STOP;
        }
        if (cpu->attention && leaves_for_attention(v, id)) {
            cpu->eip = cpu->next_eip;
            return LEAVE_STOP;
        }
        if (cpu->attention) /* the handler asked for it; its instruction may not be done yet */
            attention_close_poll(v->engine, 0);
        if (!cpu->mode_dirty) {
            return_stack_settle(v, true);
            return LEAVE_NEXT_;
        }
        cpu->eip = cpu->next_eip;
        return jump(v);
    case CALLOUT_FAULT:
        v->engine->delivered = true;
        engine_activity(v, SAMPLE_true_fault);
        exception_deliver(v);
        return v->exit ? LEAVE_STOP : jump(v);
    case CALLOUT_JUMP:
        trace_transfer(v, id);
        if (id == CALLOUT_iret)
            memory_fault_answered(v);
        if (id == CALLOUT_iret || id == CALLOUT_sysexit)
            memory_fault_returned(v);
        if (v->plugins && (id == CALLOUT_iret || id == CALLOUT_sysexit))
            tell_return(v, cpl);
        return jump(v);
    case CALLOUT_EXIT:
        return LEAVE_STOP;
    }
    return LEAVE_STOP;
}

enum callout_result callout_check(struct vcpu *v, uint32_t arg, uint32_t operand) {
    uint32_t size = CHECK_SIZE(arg), kind = CHECK_KIND(arg), segment = CHECK_SEGMENT(arg);
    uint32_t *linear = &v->cpu.result2;
    bool write = kind == ACCESS_WRITE, ok;
    if (kind == ACCESS_FETCH) /* a branch's target */
        return operand <= v->cpu.seg[segment].limit ? CALLOUT_NEXT : fault_raise_gp(v, 0);
    if (arg & CHECK_FLUSH)
        ok = segment_flush(v, segment, operand, linear);
    else if (arg & CHECK_MASKED)
        ok = segment_access_masked(v, segment, operand, arg, write, linear);
    else if (arg & CHECK_QWORDS)
        ok = segment_access_aligned(v, segment, operand, size, 8, write, linear);
    else
        ok = segment_access(v, segment, operand, size ? size : 1, write, linear);
    if (ok && arg & CHECK_READS && v->cpu.mode & MODE_DEBUG)
        inspection_access(v, *linear, size, false);
    return ok ? CALLOUT_NEXT : CALLOUT_FAULT;
}

/* Entry to a watched address: the functions are called, then the instruction runs. */
enum callout_result callout_probe(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    return plugins_enter(v, arg) ? CALLOUT_JUMP : CALLOUT_NEXT;
}

uint32_t engine_guest_fip(struct vcpu *v, uint64_t host_ip) {
    struct engine *e = v->engine;
    struct fragment *f = fragment_at(e, (uintptr_t)host_ip);
    return f ? f->eip + fragment_insn(e, f, (uintptr_t)host_ip)->guest : 0;
}
