/* Instrumentation: what plugins put before instructions, counters, and the calls that come back.
 *
 * A fragment is translated once as it would be, then the plugins are told; if one asks for
 * something, it is translated again with probes (translator/probes.c). A probe that calls out names
 * a site, which holds whom to call. Sites last as long as the translations: they are evicted
 * together. Counters last. Both lie in memory that is reserved before the fork. */
#include "runtime/instrument.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/engine_private.h"
#include "runtime/plugin_private.h"
#include "runtime/system.h"
#include "translator/accesses.h"

#define INSNS_MAX 16u
#define PROBES_EACH 3u                   /* that every instruction has room for */
#define PROBE_COST (PROBE_CODE_MAX + 8u) /* and ESP is settled before it */
#define PROBES_MAX (TRANSLATION_CODE_MAX / PROBE_COST)
#define SITES_MAX (256u << 10)
#define SITES_ONCE PROBES_MAX /* the first ones: of what is translated for one use */
#define COUNTERS_MAX (1u << 20)

struct probe_site {
    uint8_t kind; /* enum ring3_event_kind */
    uint8_t plugin;
    uint8_t access_count;
    uint32_t linear;
    ring3_callback callback;
    void *opaque;
    uint64_t every, cell;
    struct access accesses[ACCESSES_MAX];
};

struct instrumentation {
    struct probe_site sites[SITES_MAX];
    uint64_t counters[COUNTERS_MAX];
    uint8_t owners[COUNTERS_MAX];
    uint32_t site_count, site_end, counter_count; /* sites: of the open part of the cache */
    /* The fragment that is being made. */
    struct insn_probe probes[PROBES_MAX];
    uint32_t probe_count, probe_max, next_site;
    const struct translate_request *req;
    const struct translation *t;
};

int instrumentation_make(struct plugins *plugins) {
    if (plugins->instrumentation)
        return 0;
    void *at = mmap(NULL, sizeof(struct instrumentation), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return -1;
    plugins->instrumentation = at;
    plugins->instrumentation->site_count = plugins->instrumentation->site_end = SITES_ONCE;
    return 0;
}

void instrument_protect(struct plugins *plugins) {
    if (plugins->instrumentation)
        plugins_protect(plugins, plugins->instrumentation, sizeof(struct instrumentation));
}

void instrumentation_free(struct plugins *plugins) {
    if (plugins->instrumentation)
        munmap(plugins->instrumentation, sizeof(struct instrumentation));
}

/* Branches in code without a poll address are not run again (translator/exits.c). */
void instrument_prepare(struct translate_request *req) {
    req->poll_address = 0;
    req->peek = NULL;
    if (!req->max_insns || req->max_insns > INSNS_MAX)
        req->max_insns = INSNS_MAX;
}

static uint32_t probes_that_fit(const struct translation *t) {
    uint32_t used = t->code_len + 2 * INSN_CODE_MAX;
    return used < TRANSLATION_CODE_MAX ? (TRANSLATION_CODE_MAX - used) / PROBE_COST : 0;
}

bool instrument_fits(const struct translation *t) {
    return t->insn_count == 1 || probes_that_fit(t) >= PROBES_EACH * t->insn_count;
}

bool instrument_has_room(const struct plugins *plugins) {
    return !plugins || !plugins->instrumentation ||
           plugins->instrumentation->site_count + PROBES_MAX <= plugins->instrumentation->site_end;
}

void instrument_open_part(struct plugins *plugins, unsigned part, unsigned part_count) {
    uint32_t each = (SITES_MAX - SITES_ONCE) / part_count;
    assert(part < part_count && each >= PROBES_MAX);
    if (!plugins || !plugins->instrumentation)
        return;
    plugins->instrumentation->site_count = SITES_ONCE + part * each;
    plugins->instrumentation->site_end = SITES_ONCE + (part + 1) * each;
}

static void tell_translation(struct vcpu *v, const struct translate_request *req,
                             const struct translation *t, gpa_t gpa, bool once) {
    PLUGIN_EVENT(v, TRANSLATE, req->linear, gpa, t->guest_len, t->insn_count, t->code_len, once);
}

bool instrument_ask(struct vcpu *v, struct translate_request *req, const struct translation *t,
                    gpa_t gpa, bool once) {
    struct instrumentation *in = v->plugins->instrumentation;
    if (!in || v->plugins->phase) { /* nobody that hears of it has a way to ask */
        tell_translation(v, req, t, gpa, once);
        return false;
    }
    in->req = req;
    in->t = t;
    in->probe_count = 0;
    in->probe_max = probes_that_fit(t);
    in->next_site = once ? 0 : in->site_count;
    assert(in->probe_max <= PROBES_MAX && in->next_site + PROBES_MAX <= SITES_MAX);
    tell_translation(v, req, t, gpa, once);
    in->t = NULL;
    if (!once)
        in->site_count = in->next_site;
    req->probes = in->probes;
    req->probe_count = in->probe_count;
    return in->probe_count != 0;
}

/* The fragment that plugins may instrument now; NULL: none. */
static struct instrumentation *asked(struct plugins **plugins) {
    *plugins = plugin_caller(PHASE_TRANSLATE);
    struct instrumentation *in = *plugins ? (*plugins)->instrumentation : NULL;
    return in && in->t ? in : NULL;
}

static const uint8_t *insn_bytes(const struct instrumentation *in, uint32_t index, uint32_t *len) {
    const struct translation *t = in->t;
    uint32_t start = t->map[index].guest;
    *len = (index + 1 < t->insn_count ? t->map[index + 1].guest : t->guest_len) - start;
    return in->req->bytes + start;
}

/* Fragments go on behind what may branch. */
static bool leads(const struct instrumentation *in, uint32_t index) {
    uint32_t len;
    if (!index)
        return true;
    const uint8_t *before = insn_bytes(in, index - 1, &len);
    return insn_branches(in->req->mode, before, len);
}

int plugin_get_insn(uint32_t index, struct ring3_insn *insn) {
    struct plugins *plugins;
    const struct instrumentation *in = asked(&plugins);
    struct ring3_insn made = {.size = sizeof made};
    uint32_t size;
    if (!in)
        return RING3_WRONG_TIME;
    if (index >= in->t->insn_count)
        return RING3_BAD_ARGUMENT;
    if (plugin_take(&size, &insn->size, sizeof size))
        return RING3_BAD_POINTER;
    if (size < offsetof(struct ring3_insn, bytes) || size > PAGE_SIZE)
        return RING3_BAD_ARGUMENT;
    const uint8_t *bytes = insn_bytes(in, index, &made.len);
    made.address = in->req->linear + in->t->map[index].guest;
    made.leads = leads(in, index);
    memcpy(made.bytes, bytes, made.len < sizeof made.bytes ? made.len : sizeof made.bytes);
    return plugin_put(plugins, insn, &made, size < sizeof made ? size : sizeof made);
}

/* Room for one more probe before instruction `index`; NULL and a status: there is none. */
static struct insn_probe *new_probe(struct instrumentation *in, uint32_t index,
                                    enum probe_kind kind, int *status) {
    *status = index < in->t->insn_count ? RING3_NO_ROOM : RING3_BAD_ARGUMENT;
    if (index >= in->t->insn_count || in->probe_count >= in->probe_max)
        return NULL;
    *status = RING3_OK;
    struct insn_probe *probe = &in->probes[in->probe_count++];
    *probe = (struct insn_probe){.insn = (uint8_t)index, .kind = (uint8_t)kind};
    return probe;
}

static int new_site(uint32_t index, enum probe_kind how, const struct probe_site *wanted) {
    struct plugins *plugins;
    struct instrumentation *in = asked(&plugins);
    int status;
    uint32_t len;
    if (!in)
        return RING3_WRONG_TIME;
    if (plugin_check_code((void (*)(void))wanted->callback))
        return RING3_BAD_POINTER;
    struct insn_probe *probe = new_probe(in, index, how, &status);
    if (!probe)
        return status;
    struct probe_site *site = &in->sites[probe->site = in->next_site++];
    *site = *wanted;
    site->plugin = (uint8_t)plugins->current;
    site->linear = in->req->linear + in->t->map[index].guest;
    site->cell = site->every;
    probe->cell = (uint64_t)(uintptr_t)&site->cell;
    const uint8_t *bytes = insn_bytes(in, index, &len);
    if (site->kind == RING3_EVENT_MEMORY)
        site->access_count = (uint8_t)insn_accesses(in->req->mode, bytes, len, site->accesses);
    if (site->kind == RING3_EVENT_MEMORY && !site->access_count) { /* there is nothing to tell */
        in->probe_count--;
        in->next_site--;
    }
    return RING3_OK;
}

int plugin_on_execute(uint32_t index, ring3_callback callback, void *opaque) {
    return new_site(
        index, PROBE_CALL,
        &(struct probe_site){.kind = RING3_EVENT_EXECUTE, .callback = callback, .opaque = opaque});
}

int plugin_on_memory(uint32_t index, ring3_callback callback, void *opaque) {
    return new_site(
        index, PROBE_CALL,
        &(struct probe_site){.kind = RING3_EVENT_MEMORY, .callback = callback, .opaque = opaque});
}

int plugin_sample(uint32_t index, uint64_t every, ring3_callback callback, void *opaque) {
    if (!plugin_caller(PHASE_TRANSLATE))
        return RING3_WRONG_TIME;
    if (!every)
        return RING3_BAD_ARGUMENT;
    return new_site(
        index, PROBE_SAMPLE,
        &(struct probe_site){
            .kind = RING3_EVENT_SAMPLE, .every = every, .callback = callback, .opaque = opaque});
}

int plugin_new_counter(ring3_handle *counter) {
    struct plugins *plugins = plugin_caller(PHASE_START | PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    if (instrumentation_make(plugins))
        return RING3_HOST;
    struct instrumentation *in = plugins->instrumentation;
    if (in->counter_count == COUNTERS_MAX)
        return RING3_NO_ROOM;
    ring3_handle made = handle_make(HANDLE_COUNTER, plugins->current, 0, in->counter_count);
    int status = plugin_put(plugins, counter, &made, sizeof made);
    if (status)
        return status;
    in->owners[in->counter_count++] = (uint8_t)plugins->current;
    return RING3_OK;
}

static uint64_t *find_counter(struct plugins *plugins, ring3_handle counter) {
    struct instrumentation *in = plugins->instrumentation;
    uint32_t index = (uint32_t)counter;
    bool is_one = in && index < in->counter_count && in->owners[index] == plugins->current;
    return is_one && counter == handle_make(HANDLE_COUNTER, plugins->current, 0, index)
               ? &in->counters[index]
               : NULL;
}

int plugin_read_counter(ring3_handle counter, uint64_t *value) {
    struct plugins *plugins = plugin_caller(PHASE_START | PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    const uint64_t *cell = find_counter(plugins, counter);
    return cell ? plugin_put(plugins, value, cell, sizeof *cell) : RING3_BAD_HANDLE;
}

int plugin_set_counter(ring3_handle counter, uint64_t value) {
    struct plugins *plugins = plugin_caller(PHASE_START | PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    uint64_t *cell = find_counter(plugins, counter);
    if (cell)
        *cell = value;
    return cell ? RING3_OK : RING3_BAD_HANDLE;
}

int plugin_count(uint32_t index, ring3_handle counter) {
    struct plugins *plugins;
    struct instrumentation *in = asked(&plugins);
    int status;
    if (!in)
        return RING3_WRONG_TIME;
    uint64_t *cell = find_counter(plugins, counter);
    if (!cell)
        return RING3_BAD_HANDLE;
    struct insn_probe *probe = new_probe(in, index, PROBE_COUNT, &status);
    if (probe)
        probe->cell = (uint64_t)(uintptr_t)cell;
    return status;
}

static void tell_accesses(struct vcpu *v, const struct probe_site *site) {
    struct ring3_event event = {.size = sizeof event, .kind = RING3_EVENT_MEMORY};
    int64_t step = v->cpu.flags & FL_DF ? -1 : 1;
    const struct access *one = &site->accesses[0];
    uint32_t count = access_count(&v->cpu, one);
    if (count > 1 && one->flags & ACCESS_COMPARES)
        count = plugin_compare_count(v, site->accesses, site->access_count, count);
    for (unsigned i = 0; i < site->access_count; i++) {
        const struct access *a = &site->accesses[i];
        event.memory = (struct ring3_memory){
            .address = access_address(&v->cpu, a),
            .size = a->size,
            .kind = (a->flags & ACCESS_READS ? RING3_READ : 0) |
                    (a->flags & ACCESS_WRITES ? RING3_WRITE : 0),
            .count = count,
            .step = (uint64_t)(a->flags & ACCESS_STEPS ? step * a->size : a->size),
            .insn = site->linear};
        if (event.memory.count)
            plugin_call(v, site->plugin, site->callback, site->opaque, &event);
    }
}

bool plugins_site(struct vcpu *v, uint32_t number) {
    struct plugins *plugins = v->plugins;
    struct probe_site *site = &plugins->instrumentation->sites[number];
    struct ring3_event event = {.size = sizeof event, .kind = site->kind};
    assert(number < SITES_MAX && site->callback && !plugins->phase);
    plugins->v = v;
    plugins->moved = false;
    site->cell = site->every;
    event.value[0] = site->linear;
    event.value[1] = site->every;
    plugin_vectors_save(v);
    if (site->kind == RING3_EVENT_MEMORY)
        tell_accesses(v, site);
    else
        plugin_call(v, site->plugin, site->callback, site->opaque, &event);
    plugin_vectors_restore(v);
    return plugins->moved;
}

enum callout_result callout_instrument(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    return plugins_site(v, arg) ? CALLOUT_JUMP : CALLOUT_NEXT;
}
