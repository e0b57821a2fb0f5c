/* The run loop.
 *
 *   1. attention: devices, timers, interrupts        (attention.c)
 *   2. find or build the fragment for EIP            (build.c)
 *   3. link the exit we came from                    (fragments.c)
 *   4. enter translated code                         (stubs.S)
 *   5. act on the reason it came back
 *   6. deliver what the instruction raised           (exception.c) */
#include "runtime/engine.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"
#include "runtime/guest_access.h"
#include "runtime/inspection.h"
#include "runtime/plugins.h"
#include "runtime/sandbox.h"
#include "runtime/system.h"
#include "runtime/vector_state.h"
#include "runtime/stepping.h"

#define SPECIAL_PAGES_MAX 8u
#define HWCAP2_FSGSBASE_BIT (1ul << 1)

void engine_host_failure(struct vcpu *v, const char *what, int error_number) {
    if (!v->exit_text[0]) {
        size_t len = strlen(what) < sizeof v->exit_text - 1 ? strlen(what) : sizeof v->exit_text - 1;
        memcpy(v->exit_text, what, len);
        v->exit_text[len] = 0;
        v->exit_value = (uint32_t)error_number;
    }
    vcpu_request_exit(v, EXIT_HOST_FAILURE, (uint32_t)error_number);
}

const char *engine_leave_name(uint64_t reason) {
    static const char *const names[] = {
        [LEAVE_NEXT_] = "nothing",       [LEAVE_JUMP_] = "a jump",
        [LEAVE_STOP] = "a callout",      [LEAVE_CHAIN_] = "a link not yet made",
        [LEAVE_LOOKUP_] = "a look-up",   [LEAVE_ATTENTION_] = "attention",
        [LEAVE_FAULT] = "a fault",       [LEAVE_RETRY] = "another translation",
        [LEAVE_CODE_WRITE] = "a write to code", [LEAVE_UNCLAIMED] = "unclaimed memory",
        [LEAVE_CROSSING] = "an operand across 4 GiB",
    };
    return reason < sizeof names / sizeof *names ? names[reason] : NULL;
}

static bool has_bmi2(void) {
    uint32_t eax = 7, ebx, ecx = 0, edx;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return ebx >> 8 & 1;
}

static void set_stubs(struct cpu *cpu, bool bmi2) {
    cpu->stubs[STUB_CALLOUT] = (uint64_t)(uintptr_t)stub_callout;
    cpu->stubs[STUB_CHAIN] = (uint64_t)(uintptr_t)stub_chain;
    cpu->stubs[STUB_MISS] = (uint64_t)(uintptr_t)stub_miss;
    cpu->stubs[STUB_ATTENTION] = (uint64_t)(uintptr_t)stub_attention;
    cpu->stubs[STUB_RETURN] = (uint64_t)(uintptr_t)stub_return;
    cpu->stubs[STUB_LEAVE] = (uint64_t)(uintptr_t)stub_leave_miss;
    cpu->stubs[STUB_REACH] = (uint64_t)(uintptr_t)stub_reach;
    cpu->stubs[STUB_REACH_READ] = (uint64_t)(uintptr_t)(bmi2 ? stub_reach_read_bmi2 : stub_reach_read);
    cpu->stubs[STUB_LOAD_SEGMENT] = (uint64_t)(uintptr_t)stub_load_segment;
}

static int set_up(struct vcpu *v, const struct engine_options *options) {
    struct engine *e = arena_reserve(options->tables, sizeof *e);
    uint32_t eax = 1, ebx, ecx = 0, edx;
    if (!e)
        return -ENOMEM;
    v->engine = e;
    e->options = *options;
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    e->use_xsave = ecx >> 27 & 1;
    bool crc32 = ecx >> 20 & 1; /* SSE4.2 */
    if (!crc32 || !(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT))
        return -ENOTSUP;
    e->vector_area = mmap(NULL, 2 * VECTOR_AREA_SIZE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (e->vector_area == MAP_FAILED)
        return -errno;
    uint8_t *pages = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
        return -errno;
    e->stand_ins[0] = pages;
    e->stand_ins[1] = pages + PAGE_SIZE;
    set_stubs(&v->cpu, has_bmi2() && !options->no_bmi2);
    int status = mmu_init(v);
    if (!status)
        status = cache_init(v, options->cache_bytes);
    if (!status)
        status = insn_starts_init(v);
    if (!status)
        status = jump_caches_init(v);
    if (!status)
        status = return_stacks_init(v);
    if (!status)
        status = signals_init(v);
    if (!status)
        status = sampler_init(v);
    if (!status)
        status = attention_init(v);
    if (!status && options->sandbox)
        status = sandbox_enter(options->sandbox_rules);
    return status;
}

/* The instruction at EIP writes to a page with translated code: that code goes, and the write is
 * done by a fragment of its own, beside any cache. */
static int run_one_shot(struct vcpu *v) {
    struct engine *e = v->engine;
    e->finishing = true;
    struct fragment *f = build_one_shot(v);
    e->finishing = false;
    if (!f)
        return LEAVE_FAULT;
    e->runs_alone = true;
    int reason = engine_enter(&v->cpu, e->cache_exec + f->code);
    e->runs_alone = false;
    return reason;
}

static int run_special(struct vcpu *v, int reason, unsigned pages);

/* For one instruction a page stands in a window where none is of its own: of RAM, or a private one for memory
 * that cannot be written, or of all ones for none. False: a host failure. */
static bool stand_in(struct vcpu *v, void *at, uint64_t place, bool write) {
    bool is_private = place == RAM_NOWHERE || !ram_is_writable(v->ram, place);
    int flags = MAP_FIXED | (is_private ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    int protection = write || is_private ? PROT_READ | PROT_WRITE : PROT_READ;
    bool allocated = is_private || !ram_allocate(v->ram, place, PAGE_SIZE);
    void *got = mmap(at, PAGE_SIZE, protection, flags, is_private ? -1 : v->ram->fd, is_private ? 0 : (off_t)place);
    if (got != at || !allocated) {
        engine_host_failure(v, "a page for one instruction", errno);
        return false;
    }
    if (place == RAM_NOWHERE)
        memset(at, 0xff, PAGE_SIZE);
    else if (is_private)
        memcpy(at, v->ram->base + place, PAGE_SIZE);
    return true;
}

static int write_to_code(struct vcpu *v, unsigned pages) {
    fragments_invalidate_page(v, v->engine->written_gpa, &v->counters->invalidate_write);
    return run_special(v, run_one_shot(v), pages);
}

/* No memory: reads are all ones, writes vanish. Memory that cannot be written: reads are what it
 * holds. The page stands in the window that the instruction's site reaches memory through. */
static int access_unclaimed(struct vcpu *v, unsigned pages) {
    struct engine *e = v->engine;
    struct window *w = e->unclaimed_window;
    void *at = (void *)(w->base + (e->unclaimed_gva & ~PAGE_MASK));
    TRACE(v->trace, unclaimed, e->unclaimed_gva);
    shadow_unmap_page(&e->shadow, w, e->unclaimed_gva);
    if (!stand_in(v, at, e->unclaimed_place, true))
        return LEAVE_STOP;
    int reason = run_special(v, run_one_shot(v), pages);
    munmap(at, PAGE_SIZE);
    return reason;
}

/* Every operand is checked: an offset that wraps faults in a segment with a base, and only there (SDM vol. 3A,
 * 5.3, leaves it open; so do processors). */
static int run_checked(struct vcpu *v) {
    v->engine->check_operands = true;
    int reason = run_one_shot(v);
    v->engine->check_operands = false;
    return reason;
}

/* An operand goes on at linear address 0, and no window is a ring: page 0 stands behind the window's end. */
static int access_crossing(struct vcpu *v, unsigned pages) {
    struct engine *e = v->engine;
    void *at = (void *)(e->crossing_window->base + WINDOW_SIZE);
    gva_t gva = e->crossing_gva;
    bool write = e->crossing_write, user = cpu_cpl(&v->cpu) == 3;
    struct walk walk =
        walk_page(v->ram, &v->cpu.paging, gva, write ? ACCESS_WRITE : ACCESS_READ, user, true);
    if (!walk.ok) {
        int reason = run_checked(v);
        if (reason == LEAVE_CROSSING)
            v->fault = (struct guest_fault){.vector = VEC_PF, .has_error = true, .error = walk.error, .cr2 = gva};
        return reason == LEAVE_CROSSING ? LEAVE_FAULT : reason;
    }
    uint64_t place = ram_locate(v->ram, walk.gpa & ~(gpa_t)PAGE_MASK);
    if (write && place != RAM_NOWHERE && e->shadow.page_code[place >> PAGE_SHIFT])
        fragments_invalidate_page(v, place, &v->counters->invalidate_write);
    if (!stand_in(v, at, place, write))
        return LEAVE_STOP;
    int reason = run_special(v, run_checked(v), pages);
    munmap(at, PAGE_SIZE);
    return reason;
}

/* An instruction may meet several such pages, with two operands that cross pages; those met before
 * stay as they are until it is done. A repeated string that meets more of them comes back here. */
static int run_special(struct vcpu *v, int reason, unsigned pages) {
    if (pages < SPECIAL_PAGES_MAX && reason == LEAVE_CROSSING)
        return access_crossing(v, pages + 1);
    if (pages < SPECIAL_PAGES_MAX && reason == LEAVE_CODE_WRITE)
        return write_to_code(v, pages + 1);
    if (pages < SPECIAL_PAGES_MAX && reason == LEAVE_UNCLAIMED)
        return access_unclaimed(v, pages + 1);
    return reason;
}

/* The instruction at EIP waits for another translation, and plugins know already that it has begun: it is
 * entered behind what they have put before it, at once, so that nothing comes in between. */
static int resume_begun(struct vcpu *v) {
    struct engine *e = v->engine;
    int reason;
    do {
        uint32_t at;
        fragments_invalidate_insn(v, e->retranslate_gpa);
        struct fragment *f = build_find(v, false, &at);
        if (!f)
            return LEAVE_FAULT;
        v->behind_mov_ss = v->cpu.debug_shadow;
        v->cpu.interrupt_shadow = v->cpu.debug_shadow = false;
        reason = engine_enter(&v->cpu, e->cache_exec + f->code + fragment_body(e, f, at));
        reason = run_special(v, reason, 0);
    } while (reason == LEAVE_RETRY);
    return reason;
}

static void deliver_fault(struct vcpu *v) {
    v->engine->delivered = true;
    engine_activity(v, SAMPLE_true_fault);
    exception_deliver(v);
    engine_activity(v, SAMPLE_dispatch);
}

/* What an instruction under EFLAGS.TF or armed breakpoints owes when it is done (SDM vol. 3B,
 * 17.3). */
static void after_step(struct vcpu *v, uint32_t mode) {
    if (v->exit)
        return;
    debug_after_instruction(v, (mode & MODE_TF) != 0);
}

static void prepare(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    if (cpu->mode_dirty || (cpu->mode & MODE_SPARSE && !cpu->user_sparse))
        cpu_update_mode(cpu, cpu_cpl(cpu));
    if (cpu->interrupt_shadow == SHADOW_OF_STI)
        cpu->interrupt_shadow = !cpu->if_before_sti;
    if (v->engine->flush_cache)
        fragments_flush_all(v);
    else if (v->engine->part_full)
        cache_open_part(v);
    mmu_activate(v);
    inject_before_instruction(v);
    if (vcpu_intr_is_due(cpu) || vcpu_nmi_is_due(cpu))
        cpu->attention = 1;
    v->engine->delivered = v->engine->step_dropped = v->traps_dropped = false;
}

/* What the exit that led here is to be linked to, if that must be a copy. */
static struct fragment *find_copy(struct vcpu *v) {
    uint32_t origin;
    const struct fragment *from = tails_origin(v->engine, (uintptr_t)v->cpu.chain_site, v->cpu.eip, &origin);
    return from && !inject_covers(v) ? build_copy(v, (uint8_t)(from->copy + 1), origin) : NULL;
}

/* Finds, links and enters; returns the reason for coming back. */
static int step(struct vcpu *v, int last) {
    struct engine *e = v->engine;
    struct cpu *cpu = &v->cpu;
    uint32_t mode = cpu->mode;
    uint8_t shadow = cpu->interrupt_shadow;
    bool debug_shadow = cpu->debug_shadow, resume = cpu->sys_flags & FL_RF;
    uint64_t opened = e->parts_opened;
    if (mode & MODE_DEBUG && debug_before_instruction(v))
        return LEAVE_STOP;
    uint32_t at;
    struct fragment *f = last == LEAVE_CHAIN_ ? find_copy(v) : NULL;
    if (f)
        at = 0;
    else
        f = build_find(v, last == LEAVE_LOOKUP_ && !e->options.no_jump_cache, &at);
    if (!f)
        return LEAVE_FAULT;
    bool chainable = !e->options.no_chain && !inject_covers(v) && f != &e->scratch;
    if (chainable && last == LEAVE_CHAIN_ && opened == e->parts_opened) /* else the site may be gone */
        fragment_link(v, (uintptr_t)cpu->chain_site, f, at);
    else if (chainable && last == LEAVE_LOOKUP_)
        jump_cache_set(v, f);
    v->behind_mov_ss = cpu->debug_shadow;
    cpu->interrupt_shadow = false;
    cpu->debug_shadow = false;
    if (!(mode & MODE_DEBUG))
        cpu->sys_flags &= ~FL_RF;
    TRACE(v->trace, enter, f == &e->scratch ? NO_FRAGMENT : fragment_index(e, f),
          (uintptr_t)e->cache_exec + f->code + at);
    PLUGIN_EVENT(v, ENTER, cpu->seg[SEG_CS].base + cpu->eip);
    e->stepping = mode & MODE_STEPWISE; /* even where the instruction clears TF */
    int reason = engine_enter(cpu, e->cache_exec + f->code + at);
    PLUGIN_EVENT(v, EXIT, (unsigned)reason, cpu->seg[SEG_CS].base + cpu->eip);
    engine_activity(v, SAMPLE_dispatch);
    if (e->options.no_reuse && ++e->uses % e->options.no_reuse == 0)
        fragment_forget(v, f);
    if (shadow && (cpu->irq_pending || cpu->nmi_pending))
        cpu->attention = 1;
    if (reason != LEAVE_RETRY)
        e->fault_repeats = 0;
    reason = run_special(v, reason, 0);
    if (reason == LEAVE_WATCHED)
        inspection_check_next(v);
    if ((reason == LEAVE_RETRY || reason == LEAVE_WATCHED) && shadow) { /* which covers one instruction, still to come */
        cpu->interrupt_shadow = shadow;
        cpu->debug_shadow = debug_shadow;
    }
    if (reason == LEAVE_RETRY && resume && mode & MODE_DEBUG) /* so does RF */
        cpu->sys_flags |= FL_RF;
    if (reason == LEAVE_RETRY && v->plugins)
        reason = resume_begun(v);
    else if (reason == LEAVE_RETRY)
        fragments_invalidate_insn(v, e->retranslate_gpa);
    if (mode & (MODE_TF | MODE_DEBUG) && (reason == LEAVE_LOOKUP_ || reason == LEAVE_STOP))
        after_step(v, mode);
    return reason;
}

bool engine_iterate(struct vcpu *v) {
    struct engine *e = v->engine;
    /* A poll that failed counts, too: an STI may have cleared the flag meanwhile. */
    if (v->cpu.attention || e->sync_wanted || e->poll_closed || e->last_leave == LEAVE_ATTENTION_) {
        if (e->polled_pc)
            loops_learn(v);
        attention_pay(v);
        e->last_leave = LEAVE_STOP;
    }
    if (v->cpu.halted) {
        attention_halt(v);
        inspection_awake(v);
    }
    if (v->exit)
        return false;
    prepare(v);
    if (v->cpu.attention)
        return false;
    if (inspection_before_instruction(v)) {
        e->last_leave = LEAVE_STOP;
        return false;
    }
    uint32_t eip = v->cpu.eip;
    int last = e->last_leave = step(v, e->last_leave);
    TRACE(v->trace, exit, (unsigned)last);
    if (last == LEAVE_LOOKUP_)
        v->counters->jump_cache_misses++;
    else if (last == LEAVE_CHAIN_)
        v->counters->exits_chain++;
    else if (last == LEAVE_FAULT)
        deliver_fault(v);
    else if (last == LEAVE_STOP && e->why_dead)
        engine_host_failure(v, e->why_dead, e->shadow.host_error);
    bool again = last == LEAVE_RETRY || last == LEAVE_WATCHED;
    inspection_after_instruction(v, !again && (last != LEAVE_ATTENTION_ || v->cpu.eip != eip));
    return last == LEAVE_LOOKUP_ || last == LEAVE_CHAIN_ || last == LEAVE_STOP || last == LEAVE_FAULT;
}

static void run(struct vcpu *v) {
    v->engine->last_leave = LEAVE_STOP;
    while (!v->exit)
        engine_iterate(v);
    if (v->engine->options.progress && v->exit == EXIT_QUIT)
        progress_prove(v);
}

int engine_run(struct vcpu *v, const struct engine_options *options) {
    int status = set_up(v, options);
    if (status) {
        engine_host_failure(v, status == -ENOTSUP ? "this host lacks SSE4.2 or FSGSBASE (Linux 5.9 or later)"
                                                  : "setting up the engine",
                            -status);
        return status;
    }
    cpu_update_mode(&v->cpu, cpu_cpl(&v->cpu));
    inspection_init(v);
    plugins_begin(v);
    run(v);
    inspection_at_end(v);
    plugins_end(v);
    return v->exit == EXIT_HOST_FAILURE ? -EIO : 0;
}
