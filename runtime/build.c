/* Find or build: the fragment for the current EIP.
 *
 * An instruction fetch is a guest page walk here, without a signal. The page is write-protected
 * before its bytes are copied, once; the copy is what is translated. */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "runtime/engine_private.h"
#include "runtime/fpu_state.h"
#include "runtime/inspection.h"
#include "runtime/instrument.h"
#include "runtime/plugins.h"
#include "runtime/system.h"
#include "runtime/vector_state.h"
#include "translator/tripwire.h"

#define COPY_MAX 512u
#define TIMED 8u /* one translation of so many stands for all in the statistics: to ask for the time takes 20 cycles */
#define BRANCHES_MAX 4u
#define LOOP_BRANCHES_MAX 10u
#define LOOP_ALIGNMENT 32u
#define CODE_ALIGNMENT 4u
#define LINE_BYTES 64u /* of the host's caches */
#define ALL_CLASSES(class)                                                                        \
    ((class) << MODE_DS_SHIFT | (class) << MODE_ES_SHIFT | (class) << MODE_SS_SHIFT |              \
     (class) << MODE_FS_SHIFT | (class) << MODE_GS_SHIFT)
#define MODE_DATA_CLASSES ALL_CLASSES(3u)
#define MODE_CHECK_ALL ALL_CLASSES((uint32_t)SEGMENT_GENERAL)

struct fetched {
    const uint8_t *bytes; /* where they lie, or `copy` */
    uint8_t copy[COPY_MAX + 16];
    uint32_t len, page_bytes;
    uint32_t beyond; /* bytes of CS behind the one at EIP */
    gpa_t gpa, gpa2;
};

struct hint_context {
    struct vcpu *v;
    struct engine *engine;
    const struct plugins *plugins;
    gpa_t gpa;
    uint32_t eip;
    bool vectors_saved;
};

static uint8_t hint_at(void *opaque, uint32_t eip) {
    const struct hint_context *context = opaque;
    uint8_t hint = build_get_hint(context->engine, context->gpa + (eip - context->eip));
    const struct engine_options *options = &context->engine->options;
    if (options->past_windows)
        hint |= WINDOW_PAST;
    return options->live_immediates ? hint | HINT_LIVE : hint;
}

/* At CPL 3 there is one window, and what goes past it. */
static uint8_t user_hint_at(void *opaque, uint32_t eip) {
    uint8_t hint = hint_at(opaque, eip);
    uint8_t kept = HINT_LOOP | HINT_WRAPS | HINT_DIVIDES | HINT_LIVE;
    return (uint8_t)((hint & kept) | (HINT_OPERAND(hint) == WINDOW_PAST ? WINDOW_PAST : 0));
}

/* NULL: no instruction of the block has one. Where options give all instructions a hint, the first has it, too. */
static uint8_t (*hints_for(struct hint_context *context, unsigned cpl, uint32_t len))(void *opaque, uint32_t eip) {
    uint8_t (*hint)(void *opaque, uint32_t eip) = cpl == 3 ? user_hint_at : hint_at;
    return build_has_hints(context->engine, context->gpa, len) || hint(context, context->eip) ? hint : NULL;
}

static int watch_at(void *opaque, uint32_t linear) {
    return plugins_entry(((const struct hint_context *)opaque)->plugins, linear);
}

static uint32_t fixed_slot_of(void *opaque, uint32_t target) {
    return jump_cache_fixed_slot(((const struct hint_context *)opaque)->engine, target);
}

static bool copies(void *opaque, uint32_t target) {
    const struct hint_context *context = opaque;
    return tails_at(context->engine, context->gpa + (gpa_t)(int64_t)(int32_t)(target - context->eip));
}

static bool crosses(void *opaque, uint32_t eip, uint32_t target) {
    const struct vcpu *v = ((const struct hint_context *)opaque)->v;
    uint32_t base = v->cpu.seg[SEG_CS].base;
    return crossings_link(v->engine, base + eip, base + target);
}

/* The decoder is not ours. */
static void before_foreign(void *opaque) {
    struct hint_context *context = opaque;
    if (!context->vectors_saved)
        vector_save(context->engine->vector_area, context->engine->use_xsave);
    context->vectors_saved = true;
}

static void after_foreign(struct hint_context *context) {
    if (context->vectors_saved)
        vector_restore(context->engine->vector_area, context->engine->use_xsave);
    context->vectors_saved = false;
}

static bool breaks_at(void *opaque, uint32_t linear) {
    return inspection_breaks_at(((const struct hint_context *)opaque)->v->inspection, linear, 1);
}

/* Only a guess hangs on it: nothing is recorded, no bit is set. */
static bool peek_at(void *opaque, uint32_t eip, uint32_t *bytes) {
    struct vcpu *v = ((const struct hint_context *)opaque)->v;
    gva_t gva = v->cpu.seg[SEG_CS].base + eip;
    if (inspection_breaks_at(v->inspection, gva, sizeof *bytes))
        return false; /* it is to be gone through */
    struct walk walk =
        walk_page(v->ram, &v->cpu.paging, gva, ACCESS_READ, cpu_cpl(&v->cpu) == 3, false);
    const void *from = walk.ok && (gva & PAGE_MASK) <= PAGE_SIZE - 4 ? ram_ptr(v->ram, walk.gpa, 4)
                                                                     : NULL;
    if (from)
        memcpy(bytes, from, sizeof *bytes);
    return from != NULL;
}

/* Fetch rights and the byte's place in memory (RAM_NOWHERE: there is none), by which fragments are
 * known; recorded in the window, so that the entry diff covers what will be translated from it.
 * False: v->fault is the fetch's #PF. */
static bool fetch_page(struct vcpu *v, gva_t gva, gpa_t *gpa) {
    struct engine *e = v->engine;
    struct window *w = mmu_window(v);
    if (shadow_flags(w, gva) & SHADOW_EXEC) {
        const struct shadow_region *r = w->regions[gva >> REGION_SHIFT];
        *gpa = (gpa_t)r->pfn[gva >> PAGE_SHIFT & (REGION_PAGES - 1)] << PAGE_SHIFT |
               (gva & PAGE_MASK);
        return true;
    }
    struct walk walk = walk_page(v->ram, &v->cpu.paging, gva, ACCESS_FETCH, cpu_cpl(&v->cpu) == 3,
                                 true);
    if (!walk.ok) {
        v->fault = (struct guest_fault){.vector = VEC_PF, .has_error = true, .error = walk.error,
                                        .cr2 = gva};
        PLUGIN_EVENT(v, TRUE_FAULT, gva, walk.error, v->cpu.eip);
        return false;
    }
    *gpa = ram_locate(v->ram, walk.gpa);
    TRACE(v->trace, fetch, gva & ~PAGE_MASK, walk.gpa & ~(gpa_t)PAGE_MASK);
    if (*gpa != RAM_NOWHERE)
        shadow_record_exec(&e->shadow, w, &v->cpu.paging, gva, &walk);
    return true;
}

static void protect_page(struct vcpu *v, gpa_t gpa) {
    if (gpa == RAM_NOWHERE || v->engine->shadow.page_code[gpa >> PAGE_SHIFT])
        return;
    guest_tlb_drop_writable(v->engine);
    shadow_protect_code(&v->engine->shadow, gpa);
}

/* Copies what may be translated from one page on. Where there is no memory, fetches read all
 * ones. */
static void copy_bytes(const struct vcpu *v, gpa_t gpa, uint8_t *to, uint32_t len) {
    if (gpa == RAM_NOWHERE)
        memset(to, 0xff, len);
    else
        memcpy(to, v->ram->base + gpa, len);
}

/* Nobody writes to RAM while a block is translated but plugins, which may be asked about it: then, and where the
 * first instruction goes on elsewhere, the bytes are copied. */
static void take_first(struct vcpu *v, struct fetched *code, gva_t linear, bool protect) {
    uint32_t left = PAGE_SIZE - (linear & PAGE_MASK);
    code->len = left < COPY_MAX ? left : COPY_MAX;
    if (code->beyond < code->len - 1)
        code->len = code->beyond + 1;
    code->page_bytes = code->len;
    if (protect)
        protect_page(v, code->gpa);
    code->bytes = v->ram->base + code->gpa;
    if (code->gpa != RAM_NOWHERE && code->len == COPY_MAX && !v->plugins)
        return;
    copy_bytes(v, code->gpa, code->copy, code->len);
    code->bytes = code->copy;
}

/* The first instruction goes on in the next page. False: its fetch faults, by the page or by the
 * limit of CS. */
static bool copy_second(struct vcpu *v, struct fetched *code, gva_t linear, bool protect) {
    gva_t next = (linear | PAGE_MASK) + 1;
    uint32_t left = code->beyond - (code->len - 1), more = left < 15 ? left : 15;
    if (!more) {
        fault_raise_gp(v, 0);
        return false;
    }
    if (!fetch_page(v, next, &code->gpa2))
        return false;
    if (protect)
        protect_page(v, code->gpa2);
    copy_bytes(v, code->gpa, code->copy, code->len);
    copy_bytes(v, code->gpa2, code->copy + code->len, more);
    code->bytes = code->copy;
    code->len += more;
    return true;
}

/* For which branch a block is made (tails.c); `number` 0: for all. */
struct copy_of {
    uint8_t number;
    uint32_t origin;
};

/* Instrumented code and plain code are never mixed up. */
static bool can_copy(const struct vcpu *v, bool one_shot) {
    return !one_shot && !v->plugins && !v->engine->options.no_loops && !(v->cpu.mode & (MODE_GENERAL_CS | MODE_CODE16));
}

static struct translate_request request_for(struct vcpu *v, const struct fetched *code,
                                            struct hint_context *context, bool one_shot, struct copy_of copy) {
    struct engine *e = v->engine;
    struct cpu *cpu = &v->cpu;
    bool injects = inject_covers(v);
    bool loop = !one_shot && !copy.number && build_get_hint(e, code->gpa) & HINT_LOOP;
    bool live = !one_shot && code->gpa != RAM_NOWHERE && !plugins_want(v->plugins, RING3_EVENT_TRANSLATE); /* they look at bytes */
    bool alone = one_shot || cpu->interrupt_shadow || injects || cpu->mode & MODE_STEPWISE;
    *context = (struct hint_context){.v = v, .engine = e, .plugins = v->plugins, .gpa = code->gpa,
                                     .eip = cpu->eip};
    return (struct translate_request){
        .bytes = code->bytes, .len = code->len, .page_bytes = code->page_bytes, .eip = cpu->eip,
        .linear = cpu->seg[SEG_CS].base + cpu->eip,
        .mode = one_shot && e->check_operands ? (cpu->mode & ~MODE_DATA_CLASSES) | MODE_CHECK_ALL
                                              : cpu->mode,
        .code_limit = cpu->seg[SEG_CS].limit,
        .live_code = live ? (uint64_t)(uintptr_t)(v->ram->base + code->gpa) : 0,
        .max_insns = alone || e->options.one_insn ? 1 : 0,
        .rows = e->options.rows,
        .max_branches = loop ? LOOP_BRANCHES_MAX : BRANCHES_MAX,
        .loop = loop,
        .copy = copy.number, .origin = copy.origin,
        .copies = can_copy(v, one_shot) && tails_near(e, code->gpa) ? copies : NULL,
        .poll_address = poll_address(e),
        .cold = one_shot ? NULL : e->cache_write + e->part->cold.used, .cold_room = COLD_CODE_MAX,
        .stubs = e->stubs_near ? e->stubs_seen : NULL,
        .no_links = alone || e->options.no_chain,
        .direct_cross_page = cpu_cpl(cpu) != 3,
        .tsc_is_host = cpu->tsc_offset == 0 && !(cpu->paging.cr4 & CR4_TSD),
        .hint = hints_for(context, cpu_cpl(cpu), code->page_bytes),
        .watch = v->plugins && !e->finishing ? watch_at : NULL,
        .stop_before = inspection_has_breakpoints(v->inspection) ? breaks_at : NULL,
        .fixed_slot = cpu_cpl(cpu) == 3 && !e->options.no_jump_cache ? fixed_slot_of : NULL,
        .crosses = !one_shot && cpu_cpl(cpu) == 3 && crossings_near(e, cpu->seg[SEG_CS].base + cpu->eip) ? crosses : NULL,
        .peek = e->options.no_chain ? NULL : peek_at,
        .foreign = before_foreign,
        .opaque = context,
    };
}

_Static_assert(DRAFT_BEFORE >= TRIPWIRE_LEN + PLACE_SLACK, "a block's pad, and what is read before it");

static bool has_place(const struct translate_request *req) { return req->place.end || req->place.start; }

/* The decoder is not ours: it may use vector registers. */
static enum translate_status translate_once(struct engine *e, const struct translate_request *req,
                                            struct translation *t) {
    const struct vcpu *v = ((const struct hint_context *)req->opaque)->v;
    bool one_shot = !has_place(req);
    uint8_t *code = one_shot ? e->cache_write : e->draft + DRAFT_BEFORE;
    uint32_t room = one_shot ? TRANSLATION_CODE_MAX : fragment_room(v);
    enum translate_status status = translate_block(req, code, room, t);
    after_foreign(req->opaque);
    return status;
}

/* Plugins see the block, and what they want put into it is. */
static void instrument(struct vcpu *v, struct translate_request *req, const struct fetched *code,
                       struct translation *t) {
    struct engine *e = v->engine;
    bool one_shot = !has_place(req);
    while (!instrument_fits(t)) {
        req->max_insns = t->insn_count / 2;
        enum translate_status status = translate_once(e, req, t);
        assert(status == TRANSLATE_OK);
    }
    uint32_t count = t->insn_count;
    e->probed = instrument_ask(v, req, t, code->gpa, one_shot);
    if (!e->probed)
        return;
    enum translate_status status = translate_once(e, req, t);
    assert(status == TRANSLATE_OK && t->insn_count == count);
}

/* Translates to a place in the cache; NULL: a one-shot. False: a fetch fault in v->fault. */
static bool translate_to(struct vcpu *v, struct fetched *code, const struct translation_place *place, struct copy_of copy,
                         struct translation *t) {
    bool one_shot = !place;
    struct engine *e = v->engine;
    struct hint_context context;
    struct translate_request req = request_for(v, code, &context, one_shot, copy);
    if (place)
        req.place = *place;
    bool asks = plugins_want(v->plugins, RING3_EVENT_TRANSLATE) && !e->finishing;
    bool timed = v->counters->fragments % TIMED == 0;
    uint64_t start = timed ? clock_host_tsc() : 0;
    uint32_t activity = engine_activity(v, SAMPLE_translation);
    e->probed = false;
    if (asks)
        instrument_prepare(&req);
    enum translate_status status = translate_once(e, &req, t);
    bool more = status == TRANSLATE_MORE;
    bool there = !more || copy_second(v, code, req.linear, !one_shot);
    if (more && there) {
        req.len = code->len;
        req.bytes = code->bytes;
        status = translate_once(e, &req, t);
    }
    engine_activity(v, activity);
    if (!there)
        return false;
    if (status == TRANSLATE_MORE) {
        assert(code->len - 1 == code->beyond);
        fault_raise_gp(v, 0);
        return false;
    }
    assert(status == TRANSLATE_OK);
    if (asks)
        instrument(v, &req, code, t);
    if (timed)
        v->counters->translate_cycles += (clock_host_tsc() - start) * TIMED;
    return true;
}

/* The host code is given with the landing pad before it; its cold part is the last that was made. */
static void trace_translation(struct vcpu *v, const struct fragment *f, gva_t linear,
                              const struct translation *t) {
    const struct engine *e = v->engine;
    uint32_t index = fragment_index(e, f), start = f->pad ? f->pad : f->code;
    uint32_t cold = e->part->cold.used - ((t->cold_len + 15u) & ~15u);
    TRACE(v->trace, translate, linear, f->gpa, f->space.mode, f->guest_len, index);
    TRACE(v->trace, emit, index, f->code + f->code_len - start,
          (uintptr_t)e->cache_exec + start, t->cold_len, (uintptr_t)e->cache_exec + cold);
}

/* Fragments lie in the order in which they were made, as they will run in it again. But where most of them will be
 * overwritten soon, the newest one lies lowest: when one runs for the first time, the host fetches beyond its end what
 * nobody has told it not to, and if the next one were written there, each line of it would cost a clearing of the pipeline,
 * as for code that modifies itself.
 * The place that a loop's branches go back to starts a block of the host's fetches. A function that its compiler has
 * put at the start of a cache line starts one here, too: it is meant to touch no more lines than it fills. So does each one
 * while most of what is made will be overwritten: then the next one's end is not in a line that has run. */
static struct translation_place next_place(const struct engine *e, bool loop, gva_t linear, bool with_pad) {
    const struct cache_part *part = e->part;
    struct translation_place place = {.before = with_pad ? TRIPWIRE_LEN : 0,
                                      .alignment = CODE_ALIGNMENT, .skew = with_pad ? -(int32_t)TRIPWIRE_LEN : 0};
    *(part->goes_down ? &place.end : &place.start) = e->cache_write + (part->goes_down ? part->lowest : part->code.used);
    if (loop) {
        place.alignment = LOOP_ALIGNMENT;
        place.skew = LOOP_ENTRY;
    } else if (with_pad && (linear % LINE_BYTES == 0 || cache_is_overwritten(e))) {
        place.alignment = LINE_BYTES;
    }
    return place;
}

static struct fragment *translate_new(struct vcpu *v, struct fetched *code, bool with_pad, struct copy_of copy) {
    struct engine *e = v->engine;
    struct cpu *cpu = &v->cpu;
    struct translation t;
    struct fragment *f = instrument_has_room(v->plugins) ? fragment_new(v) : NULL;
    if (!f) {
        cache_open_part(v);
        f = fragment_new(v);
        assert(f);
    }
    gva_t linear = cpu->seg[SEG_CS].base + cpu->eip;
    fragment_expect(e, code->gpa, cpu->mode);
    take_first(v, code, linear, true);
    PLUGIN_EVENT(v, FETCH, linear, code->gpa, code->len);
    f->copy = copy.number;
    f->origin = copy.origin;
    v->counters->copies += copy.number > 0;
    bool loop = !copy.number && build_get_hint(e, code->gpa) & HINT_LOOP;
    struct translation_place place = next_place(e, loop, linear, with_pad);
    if (with_pad) /* reached indirectly: its pad stands right before it */
        translate_pad(e->draft + DRAFT_BEFORE - TRIPWIRE_LEN, TRIPWIRE_LEN, NULL, cpu->eip, NULL, poll_address(e));
    if (!translate_to(v, code, &place, copy, &t))
        return NULL;
    f->pad = with_pad ? (uint32_t)(t.code - e->cache_write) - TRIPWIRE_LEN : 0;
    f->gpa = code->gpa;
    f->gpa2 = t.guest_len > code->page_bytes ? code->gpa2 : 0;
    f->eip = cpu->eip;
    f->space = code_space_of(cpu);
    f->probed = e->probed;
    fragment_commit(v, f, &t);
    trace_translation(v, f, linear, &t);
    return f;
}

static uint32_t bytes_to_limit(const struct cpu *cpu) {
    return code_space_of(cpu).limit - cpu->eip;
}

struct fragment *build_one_shot(struct vcpu *v) {
    struct engine *e = v->engine;
    struct fetched code = {.beyond = bytes_to_limit(&v->cpu)};
    struct translation t;
    gva_t linear = v->cpu.seg[SEG_CS].base + v->cpu.eip;
    if (!fetch_page(v, linear, &code.gpa))
        return NULL;
    fpu_forget_code(v, (uintptr_t)e->cache_exec, SCRATCH_CODE);
    take_first(v, &code, linear, false);
    if (!translate_to(v, &code, NULL, (struct copy_of){0}, &t))
        return NULL;
    e->scratch = (struct fragment){.gpa = code.gpa, .eip = v->cpu.eip,
                                   .space = code_space_of(&v->cpu), .code_len = t.code_len,
                                   .guest_len = t.guest_len, .map_count = t.insn_count};
    memcpy(e->scratch_map, t.map, t.insn_count * sizeof *t.map);
    v->counters->one_shots++;
    TRACE(v->trace, one_shot, code.gpa, t.code_len);
    return &e->scratch;
}

uint32_t build_enter_page(struct vcpu *v) {
    const struct cpu *cpu = &v->cpu;
    gva_t linear = cpu->seg[SEG_CS].base + cpu->eip;
    struct pad_view view = {.linear = linear >> PAGE_SHIFT, .space = code_space_of(cpu)};
    gpa_t gpa;
    if (cpu->eip > view.space.limit || !fetch_page(v, linear, &gpa) || gpa == RAM_NOWHERE)
        return 0;
    view.page = (uint32_t)(gpa >> PAGE_SHIFT);
    return jump_cache_enter_page(v, &view, cpu->eip);
}

struct fragment *build_known(struct vcpu *v) {
    struct engine *e = v->engine;
    const struct cpu *cpu = &v->cpu;
    struct code_space space = code_space_of(cpu);
    gva_t linear = cpu->seg[SEG_CS].base + cpu->eip;
    gpa_t gpa, second;
    if (cpu->eip > space.limit || !fetch_page(v, linear, &gpa) || gpa == RAM_NOWHERE || !insn_starts_at(e, gpa))
        return NULL;
    struct fragment *f = fragment_find(e, gpa, cpu->eip, &space);
    bool there = f && (!f->gpa2 || (fetch_page(v, (linear | PAGE_MASK) + 1, &second) &&
                                    second >> PAGE_SHIFT == f->gpa2 >> PAGE_SHIFT));
    v->counters->lookup_hits += there;
    return there ? f : NULL;
}

struct fragment *build_at_once(struct vcpu *v) {
    const struct cpu *cpu = &v->cpu;
    struct fetched code;
    gva_t linear = cpu->seg[SEG_CS].base + cpu->eip;
    bool denser = cpu->mode & MODE_SPARSE && !cpu->user_sparse;
    if (cpu->eip > code_space_of(cpu).limit || denser || inspection_has_breakpoints(v->inspection))
        return NULL;
    code.gpa2 = 0;
    code.beyond = bytes_to_limit(cpu);
    if (!fetch_page(v, linear, &code.gpa) || code.gpa == RAM_NOWHERE || !fragment_has_room(v))
        return NULL;
    struct fragment *f = translate_new(v, &code, true, (struct copy_of){0});
    v->counters->lookup_misses += f != NULL;
    return f;
}

struct fragment *build_copy(struct vcpu *v, uint8_t copy, uint32_t origin) {
    struct engine *e = v->engine;
    struct fetched code = {.beyond = bytes_to_limit(&v->cpu)};
    struct code_space space = code_space_of(&v->cpu);
    if (v->cpu.interrupt_shadow || !fetch_page(v, space.base + v->cpu.eip, &code.gpa) || code.gpa == RAM_NOWHERE)
        return NULL;
    struct fragment *f = tails_find(e, code.gpa, v->cpu.eip, &space, copy, origin);
    return f ? f : translate_new(v, &code, false, (struct copy_of){copy, origin});
}

struct fragment *build_find(struct vcpu *v, bool indirect, uint32_t *at) {
    struct engine *e = v->engine;
    struct cpu *cpu = &v->cpu;
    struct fetched code;
    struct code_space space = code_space_of(cpu);
    gva_t linear = cpu->seg[SEG_CS].base + cpu->eip;
    if (cpu->eip > space.limit) {
        fault_raise_gp(v, 0);
        return NULL;
    }
    *at = 0;
    code.gpa2 = 0;
    code.beyond = bytes_to_limit(cpu);
    if (cpu->interrupt_shadow)
        return build_one_shot(v);
    if (!fetch_page(v, linear, &code.gpa))
        return NULL;
    if (code.gpa == RAM_NOWHERE)
        return build_one_shot(v);
    bool known = insn_starts_at(e, code.gpa);
    struct fragment *f = known ? fragment_find(e, code.gpa, cpu->eip, &space) : NULL;
    if (known && !f && !indirect)
        f = fragment_inside(e, code.gpa, cpu->eip, &space, at);
    if (f && f->gpa2) { /* its second page must be this address space's */
        gpa_t second;
        if (!fetch_page(v, (linear | PAGE_MASK) + 1, &second))
            return NULL;
        if (second >> PAGE_SHIFT != f->gpa2 >> PAGE_SHIFT) {
            v->counters->lookup_misses++;
            return build_one_shot(v);
        }
    }
    if (f) {
        v->counters->lookup_hits++;
        return f;
    }
    v->counters->lookup_misses++;
    return translate_new(v, &code, indirect, (struct copy_of){0});
}
