/* The CPU's side of the shadow engine: address spaces, flushes, which windows are live. */
#include "runtime/mmu.h"

#include <string.h>

#include "runtime/engine_private.h"
#include "runtime/plugins.h"

#define CR3_UNPAGED 0xffffffffu
#define CR3_EVICTED 0xfffffffeu

static void on_dropped(void *opaque, unsigned window, gva_t gva, gpa_t gpa) {
    struct vcpu *v = opaque;
    crossings_take_back(v, window);
    fragments_unmapped(v, window, gpa, gva);
    return_stacks_forget(v->engine);
}

static void on_clearing(void *opaque, unsigned window) {
    struct vcpu *v = opaque;
    crossings_take_back(v, window);
    jump_caches_forget_window(v->engine, window);
}

int mmu_init(struct vcpu *v) {
    struct engine *e = v->engine;
    int status = shadow_init(&e->shadow, v->ram, v->counters, e->options.tables);
    if (status)
        return status;
    e->shadow.dropped = on_dropped;
    e->shadow.clearing = on_clearing;
    e->shadow.opaque = v;
    e->shadow.no_prefault = e->options.no_prefault;
    v->cpu.super_window = e->shadow.windows[WINDOW_SUPERVISOR].base;
    cpu_place_segments(&v->cpu);
    for (unsigned i = 0; i < 256; i++)
        v->cpu.granule_window[i] = v->cpu.super_window;
    mmu_user_window_changed(v);
    return 0;
}

struct window *mmu_window(struct vcpu *v) {
    struct engine *e = v->engine;
    return cpu_cpl(&v->cpu) == 3 ? e->user : &e->shadow.windows[WINDOW_SUPERVISOR];
}

static uint64_t read_gs_base(void) {
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

static void write_gs_base(uint64_t base) { __asm__ volatile("wrgsbase %0" : : "r"(base)); }

/* GS follows the privilege level; r13 and r14 are loaded from the struct by the stubs. */
void mmu_activate(struct vcpu *v) {
    struct window *w = mmu_window(v);
    if (read_gs_base() != w->base)
        write_gs_base(w->base);
    v->cpu.window = w->base;
    uint64_t tlb = past_windows_tlb(v);
    if (v->cpu.reach_tlb != tlb)
        clean_range_forget(v);
    v->cpu.reach_tlb = tlb;
    struct code_space space = code_space_of(&v->cpu);
    return_stack_switch(v, w->number, &space);
    v->cpu.jump_cache = (uint64_t)(uintptr_t)jump_cache_get(v, w->number, &space);
    if (w->number != WINDOW_SUPERVISOR && (w->number != v->engine->linked_window || v->engine->crossings_wait))
        crossings_enter(v, w->number);
}

void mmu_user_window_changed(struct vcpu *v) {
    struct engine *e = v->engine;
    uint32_t cr3 = v->cpu.paging.cr0 & CR0_PG ? v->cpu.paging.cr3 : CR3_UNPAGED;
    bool fresh;
    e->user = shadow_user_window(&e->shadow, cr3, &fresh);
    if (fresh) {
        crossings_take_back(v, e->user->number);
        jump_caches_forget_window(e, e->user->number);
        sparse_begin(v, e->user);
    }
    sparse_chosen(v);
    v->cpu.user_window = e->user->base;
    for (unsigned i = 0; i < 256; i++)
        if (e->granule_user[i])
            v->cpu.granule_window[i] = e->user->base;
}

static struct window *super(struct vcpu *v) {
    return &v->engine->shadow.windows[WINDOW_SUPERVISOR];
}

/* Torture: what the windows hold is gone, and the next address space gets another one. */
static void evict_windows(struct vcpu *v) {
    struct shadow *s = &v->engine->shadow;
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        shadow_clear_window(s, &s->windows[i]);
        s->window_cr3[i] = CR3_EVICTED;
    }
    mmu_user_window_changed(v);
}

void mmu_cr3_loaded(struct vcpu *v) {
    struct engine *e = v->engine;
    bool global_survive = v->cpu.paging.cr4 & CR4_PGE;
    v->counters->flush_cr3++;
    PLUGIN_EVENT(v, FLUSH, RING3_FLUSH_SPACE, 0, v->cpu.eip);
    e->fault_repeats = 0;
    TRACE(v->trace, load_cr3, e->shadow.window_cr3[e->user->number], v->cpu.paging.cr3);
    if (!(v->cpu.paging.cr0 & CR0_PG))
        return;
    if (e->options.evict_always)
        evict_windows(v);
    mmu_user_window_changed(v);
    if (e->options.flush_always) {
        shadow_clear_window(&e->shadow, super(v));
        shadow_clear_window(&e->shadow, e->user);
    }
    shadow_flush_window(&e->shadow, super(v), &v->cpu.paging, !global_survive);
    shadow_flush_window(&e->shadow, e->user, &v->cpu.paging, !global_survive);
    guest_tlb_flush(v, !global_survive);
}

/* Rights may mean something else now: every user window goes, and the supervisor's too. */
void mmu_paging_changed(struct vcpu *v) {
    struct engine *e = v->engine;
    v->counters->flush_all++;
    PLUGIN_EVENT(v, FLUSH, RING3_FLUSH_ALL, 0, v->cpu.eip);
    TRACE(v->trace, paging, v->cpu.paging.cr0, v->cpu.paging.cr3, v->cpu.paging.cr4);
    uint32_t rights0 = v->cpu.paging.cr0 & (CR0_PG | CR0_WP);
    uint32_t rights4 = v->cpu.paging.cr4 & (CR4_PSE | CR4_PAE | CR4_SMEP | CR4_SMAP);
    uint32_t nx = v->cpu.paging.efer & EFER_NXE;
    bool same = e->rights[0] == rights0 && e->rights[1] == rights4 && e->rights[2] == nx;
    e->rights[0] = rights0;
    e->rights[1] = rights4;
    e->rights[2] = nx;
    for (unsigned i = 0; i < WINDOW_COUNT; i++) {
        struct window *w = &e->shadow.windows[i];
        if (!same || e->options.flush_always)
            shadow_clear_window(&e->shadow, w);
    }
    if (e->options.evict_always)
        evict_windows(v);
    guest_tlb_flush(v, true);
    mmu_user_window_changed(v);
    /* Only PGE was toggled: a flush of everything, global entries too. */
    shadow_flush_window(&e->shadow, super(v), &v->cpu.paging, true);
    shadow_flush_window(&e->shadow, e->user, &v->cpu.paging, true);
}

void mmu_memory_changed(struct vcpu *v) {
    struct engine *e = v->engine;
    if (!e)
        return; /* nothing runs yet */
    for (unsigned i = 0; i < WINDOW_COUNT; i++)
        shadow_clear_window(&e->shadow, &e->shadow.windows[i]);
    guest_tlb_flush(v, true);
    e->flush_cache = true;
    v->cpu.mode_dirty = true; /* so that the fragment is left */
}

void mmu_invlpg(struct vcpu *v, gva_t gva) {
    struct engine *e = v->engine;
    v->counters->flush_page++;
    PLUGIN_EVENT(v, FLUSH, RING3_FLUSH_PAGE, gva, v->cpu.eip);
    TRACE(v->trace, invlpg, gva);
    e->fault_repeats = 0;
    if (!(v->cpu.paging.cr0 & CR0_PG))
        return;
    if (e->options.evict_always)
        evict_windows(v);
    shadow_flush_page(&e->shadow, super(v), &v->cpu.paging, gva);
    shadow_flush_page(&e->shadow, e->user, &v->cpu.paging, gva);
    guest_tlb_flush_page(v, gva);
}

void mmu_retranslate_all(struct vcpu *v) { v->engine->flush_cache = true; }
