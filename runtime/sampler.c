/* The sampler: see sampler.h.
 *
 * The handler of SIGPROF may interrupt anything: translated code, C code between fragments, the
 * handler of a host fault. It reads, and writes to the sampler's ring alone; it makes one system
 * call, for the time. */
#include "runtime/sampler.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "runtime/engine_private.h"

#define NS_PER_SECOND 1000000000ull
#define CALL_BYTES_MAX 7u /* FF /2 with SIB and disp32 */

/* The one machine of this process: a handler gets no argument. */
static struct vcpu *sampled;

/* One page of guest memory, as the last access found it. */
struct reader {
    const struct vcpu *v;
    gva_t page;
    const uint8_t *bytes; /* NULL: none yet */
};

/* Bytes that do not cross a page; nothing in the guest's tables changes. */
static const uint8_t *read_at(struct reader *reader, gva_t gva, uint32_t len) {
    const struct vcpu *v = reader->v;
    gva_t page = gva & ~(gva_t)PAGE_MASK;
    if ((gva & PAGE_MASK) + len > PAGE_SIZE)
        return NULL;
    if (!reader->bytes || reader->page != page) {
        struct walk walk =
            walk_page(v->ram, &v->cpu.paging, page, ACCESS_READ, cpu_cpl(&v->cpu) == 3, false);
        reader->bytes = walk.ok ? ram_ptr(v->ram, walk.gpa, PAGE_SIZE) : NULL;
        reader->page = page;
    }
    return reader->bytes ? reader->bytes + (gva & PAGE_MASK) : NULL;
}

/* Is there a call right before `eip`? CALL rel32, or FF /2 of any length. */
static bool is_behind_call(struct reader *reader, uint32_t eip) {
    const uint8_t *bytes = read_at(reader, eip - CALL_BYTES_MAX, CALL_BYTES_MAX);
    if (!bytes)
        return (eip & PAGE_MASK) < CALL_BYTES_MAX; /* across pages: it may be */
    if (bytes[CALL_BYTES_MAX - 5] == 0xe8)
        return true;
    for (unsigned len = 2; len <= CALL_BYTES_MAX; len++) {
        const uint8_t *call = bytes + CALL_BYTES_MAX - len;
        if (call[0] == 0xff && (call[1] >> 3 & 7) == 2)
            return true;
    }
    return false;
}

/* The chain of frame pointers, as long as it looks like one: upwards, and to places behind calls.
 */
static unsigned walk_frames(const struct vcpu *v, uint32_t ebp, uint32_t *frames) {
    struct reader stack = {.v = v}, code = {.v = v};
    uint32_t base = v->cpu.seg[SEG_SS].base, cs = v->cpu.seg[SEG_CS].base;
    unsigned count = 0;
    while (count < SAMPLE_FRAMES_MAX && !(ebp & 3)) {
        const uint8_t *frame = read_at(&stack, base + ebp, 8);
        uint32_t words[2];
        if (!frame)
            break;
        memcpy(words, frame, sizeof words);
        if (!is_behind_call(&code, cs + words[1]))
            break;
        frames[count++] = cs + words[1];
        if (words[0] <= ebp)
            break;
        ebp = words[0];
    }
    return count;
}

/* The way to a callout and back belongs to it; other stubs to the run loop. */
static uint32_t stub_activity(const struct vcpu *v, const greg_t *regs) {
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    uint32_t id = (uint32_t)regs[REG_R9];
    if (pc >= (uintptr_t)stub_callout && pc < (uintptr_t)stub_callout_back && id < CALLOUT_COUNT)
        return SAMPLER_CALLOUT(id);
    if (pc >= (uintptr_t)stub_reach && pc < (uintptr_t)stub_reach_end)
        return SAMPLER_CALLOUT(CALLOUT_reach);
    if (pc >= (uintptr_t)stub_callout_back && pc < (uintptr_t)stub_return)
        return v->sampler->activity;
    return SAMPLE_dispatch;
}

static bool on_handler_stack(const struct engine *e, uintptr_t rsp) {
    return rsp - (uintptr_t)e->handler_stack < e->handler_stack_size;
}

/* Translated code. Between fragments r11d is where it is about to go (pads, thunks), or EIP was
 * stored (cold code: callouts). */
static void note_fragment(struct sample *sample, struct vcpu *v, const greg_t *regs, uintptr_t pc) {
    struct engine *e = v->engine;
    const struct fragment *f = fragment_at(e, pc);
    uint32_t offset = (uint32_t)(pc - (uintptr_t)e->cache_exec);
    bool cold = offset >= SCRATCH_CODE && !cache_part_at(e, offset);
    uint32_t eip = cold ? v->cpu.eip : (uint32_t)regs[REG_R11];
    sample->kind = SAMPLE_guest;
    if (f) {
        eip = f->eip + fragment_insn(e, f, pc)->guest;
        sample->fragment = f == &e->scratch ? NO_FRAGMENT : fragment_index(e, f);
        if (e->heat)
            e->heat[sample->fragment]++;
    }
    sample->eip = v->cpu.seg[SEG_CS].base + eip;
}

static void note_our_code(struct sample *sample, const struct vcpu *v, const greg_t *regs) {
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    bool stub = pc >= (uintptr_t)engine_enter && pc < (uintptr_t)stubs_end;
    uint32_t activity = stub ? stub_activity(v, regs) : v->sampler->activity;
    sample->kind = (uint8_t)activity;
    sample->callout = (uint8_t)(activity >> 8);
    sample->eip = v->cpu.seg[SEG_CS].base + v->cpu.eip;
}

static uint64_t processor_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void note(struct sample *sample, struct vcpu *v, const greg_t *regs) {
    struct engine *e = v->engine;
    bool fault = on_handler_stack(e, (uintptr_t)regs[REG_RSP]);
    if (fault && e->fault_context) /* in a handler's first instructions, EIP is not stored yet */
        regs = ((const ucontext_t *)e->fault_context)->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)regs[REG_RIP];
    uint64_t now = processor_ns(), weight = now - v->sampler->last_ns;
    uint32_t ebp = v->cpu.gpr[EBP];
    v->sampler->last_ns = now;
    sample->tsc = clock_host_tsc();
    sample->weight_ns = weight > UINT32_MAX ? UINT32_MAX : (uint32_t)weight;
    sample->cr3 = v->cpu.paging.cr3;
    sample->cpl = (uint8_t)cpu_cpl(&v->cpu);
    sample->generation = (uint32_t)e->evictions;
    sample->fragment = NO_FRAGMENT;
    sample->callout = 0;
    if (pc - (uintptr_t)e->cache_exec < e->cache_size) {
        note_fragment(sample, v, regs, pc);
        ebp = (uint32_t)regs[REG_RBP];
    } else {
        note_our_code(sample, v, regs);
    }
    if (fault)
        sample->kind = SAMPLE_hidden_fault;
    sample->frame_count = (uint8_t)walk_frames(v, ebp, sample->frames);
}

static void on_sample(int signal, siginfo_t *info, void *context) {
    struct sampler *s = sampled->sampler;
    uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
    (void)signal, (void)info;
    signals_clear_alignment_checks();
    if (head - atomic_load_explicit(&s->tail, memory_order_acquire) >= SAMPLER_SAMPLES) {
        atomic_fetch_add(&s->lost, 1);
        return;
    }
    note(&s->samples[head % SAMPLER_SAMPLES], sampled, ((ucontext_t *)context)->uc_mcontext.gregs);
    atomic_store_explicit(&s->head, head + 1, memory_order_release);
}

bool sampler_take(struct sampler *sampler, struct sample *sample) {
    uint64_t tail = atomic_load_explicit(&sampler->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&sampler->head, memory_order_acquire);
    while (tail != head && head - tail <= SAMPLER_SAMPLES) {
        *sample = sampler->samples[tail++ % SAMPLER_SAMPLES];
        atomic_store_explicit(&sampler->tail, tail, memory_order_release);
        if (sample->kind < SAMPLE_KIND_COUNT && sample->frame_count <= SAMPLE_FRAMES_MAX &&
            sample->cpl <= 3)
            return true;
        atomic_fetch_add(&sampler->lost, 1); /* nonsense: the other side runs the guest */
    }
    return false;
}

static void set_timer(const struct engine *e, uint64_t first_ns, uint64_t period_ns,
                      struct itimerspec *old) {
    const struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(first_ns / NS_PER_SECOND),
                     .tv_nsec = (long)(first_ns % NS_PER_SECOND)},
        .it_interval = {.tv_sec = (time_t)(period_ns / NS_PER_SECOND),
                        .tv_nsec = (long)(period_ns % NS_PER_SECOND)},
    };
    timer_settime(e->sampler_timer, 0, &spec, old);
}

static uint64_t period(uint32_t rate) { return rate ? NS_PER_SECOND / rate : 0; }

int sampler_init(struct vcpu *v) {
    struct engine *e = v->engine;
    if (!v->sampler)
        return 0;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
    struct sigaction action = {.sa_sigaction = on_sample,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sampled = v;
    sigfillset(&action.sa_mask);
    if (sigaction(SIGPROF, &action, NULL) ||
        timer_create(CLOCK_MONOTONIC, &event, &e->sampler_timer))
        return -errno;
    sampler_arm(v);
    return 0;
}

void sampler_arm(struct vcpu *v) {
    struct sampler *s = v->sampler;
    uint32_t rate = atomic_load(&s->rate);
    if (rate > SAMPLER_RATE_MAX)
        rate = SAMPLER_RATE_MAX;
    if (rate != s->armed) {
        s->last_ns = processor_ns();
        set_timer(v->engine, period(rate), period(rate), NULL);
    }
    s->armed = rate;
}

/* What is left of the period is taken up again, so that short turns of work are met as often as
 * they should. */
void sampler_pause(struct vcpu *v) {
    struct itimerspec left;
    if (!v->sampler || !v->sampler->armed)
        return;
    set_timer(v->engine, 0, 0, &left);
    v->engine->sampler_left =
        (uint64_t)left.it_value.tv_sec * NS_PER_SECOND + (uint64_t)left.it_value.tv_nsec;
}

void sampler_resume(struct vcpu *v) {
    struct engine *e = v->engine;
    if (v->sampler && v->sampler->armed)
        set_timer(e, e->sampler_left ? e->sampler_left : 1, period(v->sampler->armed), NULL);
}
