/* Operands that go past the windows.
 *
 * A window serves pages well that stay what they are. Sites that meet others again and again have their
 * memory operand looked up instead (WINDOW_PAST, the callout `reach`), which costs no signal and no change
 * of mappings: those that write to pages with translated code (a compiler at run time), and those that
 * use pages that the guest's kernel maps for a moment (kmap of high memory). Such an operand stands in
 * the linear mapping of RAM. What cannot be had there goes through a window after all: accesses that
 * cross pages or meet no RAM, and writes to the very code that makes them. */
#include "base/clock.h"
#include "runtime/engine_private.h"
#include "runtime/guest_access.h"
#include "runtime/plugins.h"
#include "runtime/system.h"

#define TROUBLES 8u                 /* of a site, in */
#define TROUBLE_CYCLES (100u << 20) /* so many cycles */
#define CHURN_COUNT 8u
/* A site that goes past the windows for nothing goes back. One access of SAMPLE is looked at. */
#define SAMPLE 64u
#define REACHES 1024u

static struct site *site_of(struct engine *e, gpa_t gpa) {
    struct site *site = &e->sites[((uint32_t)gpa * 0x9e3779b1u) >> 16 & (SITE_SLOTS - 1)];
    if (site->gpa != (uint32_t)gpa)
        *site = (struct site){.gpa = (uint32_t)gpa};
    return site;
}

static void set_operand(struct engine *e, gpa_t gpa, enum window_hint hint) {
    build_hint(e, gpa, (uint8_t)((build_get_hint(e, gpa) & ~3u) | hint));
}

bool past_windows_trouble(struct engine *e, gpa_t gpa) {
    struct site *site = site_of(e, gpa);
    uint64_t now = clock_host_tsc();
    if (HINT_OPERAND(build_get_hint(e, gpa)) == WINDOW_PAST)
        return false; /* its emitter cannot do it */
    if (!site->troubles || now - site->first_trouble > TROUBLE_CYCLES)
        *site = (struct site){.gpa = (uint32_t)gpa, .first_trouble = now};
    if (++site->troubles < TROUBLES)
        return false;
    *site = (struct site){.gpa = (uint32_t)gpa};
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

static const struct fragment *running(const struct vcpu *v) {
    uint64_t return_address = *(const uint64_t *)(uintptr_t)(v->cpu.return_rsp - 8);
    return fragment_at(v->engine, (uintptr_t)return_address);
}

static void sample(struct vcpu *v, bool useful) {
    struct engine *e = v->engine;
    const struct fragment *f = running(v);
    if (!f)
        return;
    gpa_t gpa = f->gpa + (v->cpu.eip - f->eip);
    struct site *site = site_of(e, gpa);
    site->useful += useful;
    if (++site->reaches < REACHES)
        return;
    if (!site->useful && HINT_OPERAND(build_get_hint(e, gpa)) == WINDOW_PAST) {
        set_operand(e, gpa, WINDOW_BOTH);
        fragments_invalidate_insn(v, gpa);
    }
    site->reaches = site->useful = 0;
}

/* Assembly counts reach_left down and comes here when it has run out. */
static void sample_some(struct vcpu *v, const uint8_t *host, bool useful) {
    if (!host || --v->cpu.reach_left > 0)
        return;
    v->cpu.reach_left = SAMPLE;
    sample(v, useful);
}

uint64_t past_windows_tlb(struct vcpu *v) {
    static const struct tlb_entry none[TLB_SIZE];
    struct engine *e = v->engine;
    bool seen = e->shadow.watched_count || plugins_want_callout(v->plugins, CALLOUT_reach);
    return (uint64_t)(uintptr_t)(seen ? none : e->tlb[cpu_cpl(&v->cpu) == 3]);
}

bool past_windows_writes_self(struct vcpu *v, gpa_t gpa, uint32_t len) {
    const struct fragment *f = running(v);
    return !f || fragment_covers(v->engine, f, gpa, len);
}

/* Through the window that was right for the address last time; where it is not, the fault tells. */
static uint64_t in_window(const struct cpu *cpu, uint32_t linear) {
    return (cpu_cpl(cpu) == 3 ? cpu->user_window : cpu->granule_window[linear >> 24]) + linear;
}

static bool on_one_page(uint32_t linear, uint64_t len) { return (linear & PAGE_MASK) + len <= PAGE_SIZE; }

enum callout_result callout_reach(struct vcpu *v, uint32_t arg, uint32_t operand) {
    uint32_t size = arg & CHECK_SIZE_MAX;
    bool write = (arg >> 12 & 15u) == ACCESS_WRITE, useful = false;
    uint8_t *host = NULL;
    if (on_one_page(operand, size) && !guest_reach(v, operand, size, write, &host, &useful))
        return CALLOUT_FAULT;
    v->cpu.reached = host ? (uint64_t)(uintptr_t)host : in_window(&v->cpu, operand);
    sample_some(v, host, useful);
    return CALLOUT_NEXT;
}

/* Both operands lie in RAM's mapping or both in windows: there a fault in the middle finds ESI and EDI in
 * the pointers' low halves, and in RAM's mapping there is none. */
enum callout_result callout_reach_string(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct cpu *cpu = &v->cpu;
    bool source = (arg & 0xfeu) == 0xa4, down = cpu->flags & FL_DF, useful = false, useful_too = false;
    uint32_t size = !(arg & 1) ? 1 : arg & CALLOUT_ARG16 ? 2 : 4;
    uint64_t len = arg & CALLOUT_STRING_REPE ? (uint64_t)cpu->gpr[ECX] * size : size;
    uint32_t from = cpu->gpr[ESI], to = cpu->gpr[EDI], bytes = (uint32_t)len;
    uint8_t *from_host = NULL, *to_host = NULL;
    (void)operand;
    if (len && !down && on_one_page(to, len) && (!source || on_one_page(from, len))) {
        if ((source && !guest_reach(v, from, bytes, false, &from_host, &useful)) ||
            !guest_reach(v, to, bytes, true, &to_host, &useful_too))
            return CALLOUT_FAULT;
    }
    if (!to_host || (source && !from_host)) {
        cpu->reached = in_window(cpu, from);
        cpu->reached2 = in_window(cpu, to);
    } else {
        cpu->reached = (uint64_t)(uintptr_t)from_host;
        cpu->reached2 = (uint64_t)(uintptr_t)to_host;
        sample_some(v, to_host, useful || useful_too);
    }
    cpu->result = down ? from - bytes : from + bytes;
    cpu->result2 = down ? to - bytes : to + bytes;
    return CALLOUT_NEXT;
}
