/* Operands that go past the windows.
 *
 * A window serves pages well that stay what they are. Sites that meet others again and again have their
 * memory operand looked up instead (WINDOW_PAST, the callout `reach`), which costs no signal and no change
 * of mappings: those that write to pages with translated code (a compiler at run time), those that
 * use pages that the guest's kernel maps for a moment (kmap of high memory), those that raise #PF, and those that
 * access what is no memory. Such an operand stands in the linear mapping of RAM. What cannot be had there goes
 * through a window after all: accesses that cross pages, and writes to the very code that makes them.
 *
 * The page of a true fault is not mapped for a site that does not need that, until another site
 * meets it as a hidden fault.
 *
 * A site that goes past the windows for nothing goes back, and is tried again after twice as many troubles. */
#include "base/clock.h"
#include "runtime/engine_private.h"
#include "runtime/guest_access.h"
#include "runtime/plugins.h"
#include "runtime/system.h"

#define TROUBLES 8u                 /* of a site, in */
#define TROUBLE_CYCLES (100u << 20) /* so many cycles */
#define CHURN_COUNT 8u
/* So many accesses are looked at before a site is judged, and so many must have been worth it. */
#define SAMPLE 256u
#define TRIAL 1024u
#define TRIAL_SHARE 256u /* one of so many */
#define TRIAL_PATIENT 4096u
#define TRIAL_PATIENT_SHARE 128u
#define REJECTED_MAX 6u

static struct site *site_at(struct engine *e, uint32_t eip) {
    struct site *site = &e->sites[(eip * 0x9e3779b1u) >> 16 & (SITE_SLOTS - 1)];
    if (site->eip != eip)
        *site = (struct site){.eip = eip, .before = WINDOW_BOTH};
    return site;
}

static void set_operand(struct engine *e, gpa_t gpa, unsigned hint) {
    build_hint(e, gpa, (uint8_t)((build_get_hint(e, gpa) & ~3u) | hint));
}

bool past_windows_trouble(struct vcpu *v, gpa_t gpa, bool patient) {
    struct engine *e = v->engine;
    struct site *site = site_at(e, v->cpu.eip);
    uint64_t now = clock_host_tsc();
    uint8_t before = HINT_OPERAND(build_get_hint(e, gpa));
    if (before == WINDOW_PAST)
        return false; /* its emitter cannot do it */
    if (!site->troubles || now - site->first_trouble > TROUBLE_CYCLES) {
        site->troubles = 0;
        site->first_trouble = now;
    }
    if (++site->troubles < TROUBLES << (patient ? 0 : site->rejected))
        return false;
    site->troubles = site->reaches = site->useful = 0;
    site->before = before;
    site->patient = patient;
    set_operand(e, gpa, WINDOW_PAST);
    return true;
}

bool past_windows_churns(struct engine *e, gva_t gva) {
    uint32_t page = gva >> PAGE_SHIFT;
    struct churn *churn = &e->churn[page % CHURN_SLOTS];
    if (churn->page != page)
        *churn = (struct churn){.page = page};
    return ++churn->count >= CHURN_COUNT;
}

const struct fragment *past_windows_running(const struct vcpu *v) {
    uint64_t return_address = *(const uint64_t *)(uintptr_t)(v->cpu.return_rsp - 8);
    return fragment_at(v->engine, (uintptr_t)return_address);
}

struct site *past_windows_site(struct vcpu *v) { return site_at(v->engine, v->cpu.eip); }

void past_windows_give_up(struct vcpu *v, unsigned to) {
    struct engine *e = v->engine;
    struct site *site = past_windows_site(v);
    const struct fragment *f = past_windows_running(v);
    gpa_t gpa = f ? f->gpa + (v->cpu.eip - f->eip) : 0;
    if (!f || HINT_OPERAND(build_get_hint(e, gpa)) == to)
        return;
    set_operand(e, gpa, to);
    fragments_invalidate_insn(v, gpa);
    if (site->rejected < REJECTED_MAX)
        site->rejected++;
}

/* How many accesses this one stands for: assembly counts reach_left down, and comes to C when it has run out. */
static uint32_t weight(struct vcpu *v) {
    if (--v->cpu.reach_left > 0)
        return 1;
    v->cpu.reach_left = SAMPLE;
    return SAMPLE;
}

/* The site at EIP has gone past the windows once more. */
static void judge(struct vcpu *v, gva_t gva, enum reach_use use) {
    uint32_t count = weight(v);
    if (v->cpu.mode & MODE_SPARSE) {
        sparse_judge(v, gva, use, count);
        return;
    }
    struct site *site = site_at(v->engine, v->cpu.eip);
    site->useful += use >= (site->patient ? REACH_LOOKED_UP : REACH_NEEDED) ? count : 0;
    site->reaches += count;
    if (site->reaches < (site->patient ? TRIAL_PATIENT : TRIAL))
        return;
    if (site->useful * (site->patient ? TRIAL_PATIENT_SHARE : TRIAL_SHARE) < site->reaches)
        past_windows_give_up(v, site->before);
    site->reaches = site->useful = 0;
}

static struct asked_page *unasked_at(struct engine *e, gva_t gva) {
    return &e->unasked[gva >> PAGE_SHIFT & (UNASKED_SLOTS - 1)];
}

static void ask(struct vcpu *v, gva_t gva, bool write) {
    const struct cpu *cpu = &v->cpu;
    if (site_at(v->engine, cpu->eip)->asks)
        memory_fault_ask(v, gva, write);
    else
        *unasked_at(v->engine, gva) = (struct asked_page){.gva = gva, .eip = cpu->eip,
                                                          .cr3 = cpu->paging.cr3, .waits = true};
}

void past_windows_unasked(struct vcpu *v, gva_t gva) {
    struct asked_page *page = unasked_at(v->engine, gva);
    if (!page->waits || (page->gva ^ gva) >> PAGE_SHIFT || page->cr3 != v->cpu.paging.cr3)
        return;
    page->waits = false;
    site_at(v->engine, page->eip)->asks = true;
}

/* The true fault that guest_reach has found. */
static enum callout_result true_fault(struct vcpu *v, bool write) {
    const struct cpu *cpu = &v->cpu;
    v->counters->true_faults++;
    PLUGIN_EVENT(v, TRUE_FAULT, v->fault.cr2, v->fault.error, cpu->eip);
    if (!v->engine->user->sparse)
        ask(v, v->fault.cr2, write);
    judge(v, v->fault.cr2, REACH_NEEDED);
    return CALLOUT_FAULT;
}

bool past_windows_may_hit(const struct vcpu *v) {
    return v->cpu.reach_tlb == (uint64_t)(uintptr_t)v->engine->tlb[cpu_cpl(&v->cpu) == 3];
}

uint64_t past_windows_tlb(struct vcpu *v) {
    static const struct tlb_entry none[TLB_SIZE];
    struct engine *e = v->engine;
    bool seen = e->shadow.watched_count || plugins_want_callout(v->plugins, CALLOUT_reach);
    return (uint64_t)(uintptr_t)(seen ? none : e->tlb[cpu_cpl(&v->cpu) == 3]);
}

bool past_windows_writes_self(struct vcpu *v, gpa_t gpa, uint32_t len) {
    const struct fragment *f = past_windows_running(v);
    return !f || fragment_covers(v->engine, f, gpa, len);
}

/* Through the window that was right for the address last time; where it is not, the fault tells. */
static uint64_t in_window(const struct cpu *cpu, uint32_t linear) {
    return (cpu_cpl(cpu) == 3 ? cpu->user_window : cpu->granule_window[linear >> 24]) + linear;
}

static bool on_one_page(uint32_t linear, uint64_t len) { return (linear & PAGE_MASK) + len <= PAGE_SIZE; }

enum callout_result callout_reach(struct vcpu *v, uint32_t arg, uint32_t operand) {
    uint32_t size = REACH_SIZE(arg);
    v->cpu.next_eip = v->cpu.eip + REACH_LENGTH(arg);
    bool write = CHECK_KIND(arg) == ACCESS_WRITE, trapped = arg & REACH_ALIGNED && operand % size;
    enum reach_use use = REACH_KNOWN;
    uint8_t *host = NULL;
    if (!on_one_page(operand, size) && operand + size > operand && !trapped)
        host = guest_reach_two(v, operand, size, write, &use);
    else if (on_one_page(operand, size) && !trapped && !guest_reach(v, operand, size, write, &host, &use))
        return true_fault(v, write);
    v->cpu.reached = host ? (uint64_t)(uintptr_t)host : in_window(&v->cpu, operand);
    judge(v, operand, use);
    return CALLOUT_NEXT;
}

/* Both operands lie in RAM's mapping or both in windows: there a fault in the middle finds ESI and EDI in
 * the pointers' low halves, and in RAM's mapping there is none. */
enum callout_result callout_reach_string(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct cpu *cpu = &v->cpu;
    bool source = (arg & 0xfeu) == 0xa4, down = cpu->flags & FL_DF;
    uint32_t size = !(arg & 1) ? 1 : arg & CALLOUT_ARG16 ? 2 : 4;
    uint64_t len = arg & CALLOUT_STRING_REPE ? (uint64_t)cpu->gpr[ECX] * size : size;
    uint32_t from = cpu->gpr[ESI], to = cpu->gpr[EDI], bytes = (uint32_t)len;
    enum reach_use use = REACH_KNOWN, use_to = REACH_KNOWN;
    uint8_t *from_host = NULL, *to_host = NULL;
    (void)operand;
    if (len && !down && on_one_page(to, len) && (!source || on_one_page(from, len))) {
        if (source && !guest_reach(v, from, bytes, false, &from_host, &use))
            return true_fault(v, false);
        if (!guest_reach(v, to, bytes, true, &to_host, &use_to))
            return true_fault(v, true);
    }
    bool in_windows = !to_host || (source && !from_host);
    cpu->reached = in_windows ? in_window(cpu, from) : (uint64_t)(uintptr_t)from_host;
    cpu->reached2 = in_windows ? in_window(cpu, to) : (uint64_t)(uintptr_t)to_host;
    judge(v, to, in_windows ? REACH_KNOWN : use > use_to ? use : use_to);
    cpu->result = down ? from - bytes : from + bytes;
    cpu->result2 = down ? to - bytes : to + bytes;
    return CALLOUT_NEXT;
}
