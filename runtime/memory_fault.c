/* A data access of translated code met no mapping: hidden fault, wrong window, or a true fault.
 *
 * Runs in the SIGSEGV handler. At CPL 3 there is one window. Below, a page with U=1 belongs to
 * the user window and any other to the supervisor's; a site that was translated for the wrong
 * one is retranslated, and one that needs both looks its window up by address. */
#include <assert.h>

#include "runtime/engine_private.h"
#include "runtime/plugins.h"

/* Does this supervisor access go through the user window? */
static bool wants_user(const struct vcpu *v, const struct walk *walk, bool write) {
    return (v->cpu.paging.cr0 & CR0_PG) && walk->user && (!write || walk->writable);
}

static uint8_t set_field(uint8_t hint, unsigned shift, unsigned value) {
    return (uint8_t)((hint & ~(3u << shift)) | value << shift);
}

/* Super -> user -> both. The second operand is the stack's (or a string's destination): it is
 * taken when the address lies on the page that ESP or EDI points at. */
static void change_hint(struct vcpu *v, gpa_t insn, gva_t gva, bool to_user) {
    struct engine *e = v->engine;
    uint8_t hint = build_get_hint(e, insn);
    gva_t page = gva >> PAGE_SHIFT;
    uint32_t esp = v->cpu.gpr[ESP], edi = v->cpu.gpr[EDI], ebp = v->cpu.gpr[EBP];
    bool second = page == esp >> PAGE_SHIFT || page == (esp - 4) >> PAGE_SHIFT ||
                  page == (esp - 32) >> PAGE_SHIFT || page == (esp + 32) >> PAGE_SHIFT ||
                  page == edi >> PAGE_SHIFT || page == (edi + 15) >> PAGE_SHIFT ||
                  page == ebp >> PAGE_SHIFT;
    if (second && HINT_SECOND(hint) == WINDOW_BOTH)
        second = false; /* that operand is settled: it was the other one */
    else if (!second && HINT_OPERAND(hint) >= WINDOW_BOTH)
        second = true;
    unsigned shift = second ? 2 : 0;
    unsigned old = (unsigned)hint >> shift & 3u;
    unsigned value = old == WINDOW_SUPER && to_user ? WINDOW_USER : WINDOW_BOTH;
    build_hint(e, insn, set_field(hint, shift, value));
    v->counters->retranslations++;
    TRACE(v->trace, hint, insn, gva, hint, build_get_hint(e, insn));
}

static bool uses_both(const struct vcpu *v, gpa_t insn) {
    uint8_t hint = build_get_hint(v->engine, insn);
    return HINT_OPERAND(hint) >= WINDOW_BOTH || HINT_SECOND(hint) == WINDOW_BOTH;
}

/* The same access faults again and again with nothing else in between: say so, do not spin. */
static bool repeats(struct engine *e, gva_t gva, gpa_t insn) {
    if (e->last_fault_gva == gva && e->last_fault_insn == insn)
        return ++e->fault_repeats > 64;
    e->last_fault_gva = gva;
    e->last_fault_insn = insn;
    e->fault_repeats = 0;
    return false;
}

static bool is_settled(const struct vcpu *v, gpa_t insn) {
    uint8_t hint = build_get_hint(v->engine, insn);
    return HINT_OPERAND(hint) >= WINDOW_BOTH && HINT_SECOND(hint) == WINDOW_BOTH;
}

/* One instruction that needs both windows at neighbouring pages, or in one granule: no choice by
 * address will do. */
static bool crosses_windows(struct engine *e, gva_t gva, gpa_t insn, bool to_user) {
    gva_t page = gva >> PAGE_SHIFT, last = e->wrong_page;
    bool near = gva >> 24 == last >> (24 - PAGE_SHIFT) || page == last + 1 || page + 1 == last;
    bool crosses = insn == e->wrong_insn && to_user != e->wrong_to_user && near;
    e->wrong_page = page;
    e->wrong_insn = insn;
    e->wrong_to_user = to_user;
    return crosses;
}

/* The supervisor's window takes the user's page in as well: the kernel may reach both. */
static enum leave take_in(struct vcpu *v, gva_t gva, const struct walk *walk, bool write) {
    struct engine *e = v->engine;
    unsigned granule = gva >> 24;
    v->cpu.granule_window[granule] = v->cpu.super_window;
    e->granule_user[granule] = false;
    if (shadow_fill(&e->shadow, &e->shadow.windows[WINDOW_SUPERVISOR], &v->cpu.paging, gva, walk,
                    write) == FILL_OK)
        return LEAVE_JUMP_;
    e->why_dead = "the host refused a mapping";
    return LEAVE_STOP;
}

static enum leave wrong_window(struct vcpu *v, gva_t gva, gpa_t insn, const struct walk *walk,
                               bool write) {
    struct engine *e = v->engine;
    bool to_user = wants_user(v, walk, write);
    unsigned granule = gva >> 24;
    uint64_t right = to_user ? v->cpu.user_window : v->cpu.super_window;
    bool looked_up = uses_both(v, insn) && v->cpu.granule_window[granule] != right;
    bool stuck = is_settled(v, insn) && !looked_up; /* it started in the granule before */
    bool code = write && e->shadow.page_code[ram_locate(v->ram, walk->gpa) >> PAGE_SHIFT];
    if (((looked_up && crosses_windows(e, gva, insn, to_user)) || stuck) && to_user && !code)
        return take_in(v, gva, walk, write);
    if (stuck && !to_user) {
        granule = (gva - PAGE_SIZE) >> 24;
        looked_up = true;
    }
    v->cpu.granule_window[granule] = right;
    e->granule_user[granule] = to_user;
    if (looked_up)
        return LEAVE_JUMP_;
    change_hint(v, insn, gva, to_user);
    e->retranslate_gpa = insn;
    return LEAVE_RETRY;
}

/* Its operand is looked up from now on. */
static enum leave go_past(struct vcpu *v, gpa_t insn, gva_t gva, uint8_t old) {
    v->counters->retranslations++;
    TRACE(v->trace, hint, insn, gva, old, build_get_hint(v->engine, insn));
    v->engine->retranslate_gpa = insn;
    return LEAVE_RETRY;
}

/* A page with a watchpoint on it. True: the instruction must leave; else the page is mapped until it is
 * done, as its operands are checked. */
static bool is_watched(struct engine *e, gva_t gva, bool write, bool checks) {
    if (!shadow_watches(&e->shadow, gva, write))
        return false;
    e->shadow.watch_open = checks;
    return !checks;
}

void memory_fault_ask(struct vcpu *v, gva_t gva, bool write) {
    const struct cpu *cpu = &v->cpu;
    v->engine->asked = (struct asked_page){.gva = gva, .eip = cpu->eip, .cr3 = cpu->paging.cr3,
                                           .write = write, .waits = true};
}

enum leave memory_fault(struct vcpu *v, uintptr_t address, bool write, gpa_t insn) {
    struct engine *e = v->engine;
    struct cpu *cpu = &v->cpu;
    struct window *w = shadow_window_at(&e->shadow, address);
    gva_t gva = (gva_t)(address - w->base); /* beyond 4 GiB it wraps, as the guest's sum does */
    bool user = cpu_cpl(cpu) == 3;
    uint8_t hint = build_get_hint(e, insn);
    struct walk walk =
        walk_page(v->ram, &cpu->paging, gva, write ? ACCESS_WRITE : ACCESS_READ, user, true);
    if (!walk.ok) {
        if (past_windows_trouble(v, insn, false))
            return go_past(v, insn, gva, hint);
        v->fault = (struct guest_fault){
            .vector = VEC_PF, .has_error = true, .error = walk.error, .cr2 = gva};
        v->counters->true_faults++;
        PLUGIN_EVENT(v, TRUE_FAULT, gva, walk.error, cpu->eip);
        memory_fault_ask(v, gva, write);
        return LEAVE_FAULT;
    }
    if (repeats(e, gva, insn)) {
        e->why_dead = "the same access faults without end";
        return LEAVE_STOP;
    }
    if (is_watched(e, gva, write, cpu->mode & MODE_DEBUG))
        return LEAVE_WATCHED;
    uint64_t page = ram_locate(v->ram, walk.gpa & ~(gpa_t)PAGE_MASK);
    if (page == RAM_NOWHERE || (write && !ram_is_writable(v->ram, page))) {
        if (past_windows_trouble(v, insn, false))
            return go_past(v, insn, gva, hint);
        e->unclaimed_gva = gva;
        e->unclaimed_place = page;
        e->unclaimed_window = w;
        PLUGIN_EVENT(v, MMIO, gva, walk.gpa, write, cpu->eip);
        return LEAVE_UNCLAIMED;
    }
    if (!user) {
        bool to_user = wants_user(v, &walk, write);
        if (to_user != (w->number != WINDOW_SUPERVISOR))
            return wrong_window(v, gva, insn, &walk, write);
    }
    if (address - w->base >= WINDOW_SIZE)
        return LEAVE_JUMP_; /* a string ran past 4 GiB: it goes on at 0 */
    if (write && e->shadow.page_code[page >> PAGE_SHIFT]) {
        e->written_gpa = page;
        return past_windows_trouble(v, insn, true) ? go_past(v, insn, gva, hint) : LEAVE_CODE_WRITE;
    }
    v->counters->hidden_faults++;
    if (user)
        past_windows_unasked(v, gva);
    PLUGIN_EVENT(v, HIDDEN_FAULT, gva, walk.gpa, write, cpu->eip);
    if (!user && w->number == WINDOW_SUPERVISOR && !walk.large && past_windows_churns(e, gva) &&
        past_windows_trouble(v, insn, true))
        return go_past(v, insn, gva, hint);
    if (w->sparse && !user && past_windows_trouble(v, insn, true))
        return go_past(v, insn, gva, hint);
    TRACE(v->trace, fill, w->number, gva, walk.gpa, write);
    if (shadow_fill(&e->shadow, w, &cpu->paging, gva, &walk, write) != FILL_OK) {
        e->why_dead = "the host refused a mapping";
        return LEAVE_STOP;
    }
    return LEAVE_NEXT_;
}

static bool is_accessed(const struct walk *walk) {
    return walk->pde & PTE_A && (walk->large || walk->pte & PTE_A);
}

/* Maps a page of the user's before it is accessed, which spares a signal. Where D for a write, or A unless it may be
 * set `early`, is still to be set, that is left to the fault. So are the kernel's accesses to its own pages. */
static bool map_ahead(struct vcpu *v, gva_t gva, bool write, bool early) {
    struct engine *e = v->engine;
    const struct cpu *cpu = &v->cpu;
    uint8_t needed = write ? SHADOW_MAPPED | SHADOW_WRITABLE : SHADOW_MAPPED;
    if ((shadow_flags(e->user, gva) & needed) == needed || e->options.no_prefault)
        return false;
    struct walk walk = walk_page(v->ram, &cpu->paging, gva, ACCESS_READ, cpu_cpl(cpu) == 3, early);
    uint64_t page = walk.ok && walk.user && (early || is_accessed(&walk))
                        ? ram_locate(v->ram, walk.gpa & ~(gpa_t)PAGE_MASK) : RAM_NOWHERE;
    bool writable = walk.writable && walk.dirty;
    if (page == RAM_NOWHERE || (write && (!writable || e->shadow.page_code[page >> PAGE_SHIFT])))
        return false;
    /* A mapping that the host refuses is met again by the access itself. */
    return shadow_fill(&e->shadow, e->user, &cpu->paging, gva, &walk, false) == FILL_OK;
}

/* The access that a true fault was raised for is about to be made again. */
void memory_fault_answered(struct vcpu *v) {
    const struct cpu *cpu = &v->cpu;
    struct asked_page *asked = &v->engine->asked;
    if (!asked->waits || cpu->eip != asked->eip)
        return;
    asked->waits = false;
    if (cpu->paging.cr3 == asked->cr3 && map_ahead(v, asked->gva, asked->write, false))
        v->counters->faults_answered++;
}

void memory_fault_returned(struct vcpu *v) {
    const struct cpu *cpu = &v->cpu;
    if (v->engine->user->sparse && cpu_cpl(cpu) == 3 && !(shadow_flags(v->engine->user, cpu->gpr[ESP]) & SHADOW_MAPPED))
        map_ahead(v, cpu->gpr[ESP], false, true);
}
