/* Events at run time: which functions one calls, and with which values.
 *
 * Nothing here allocates; a cif is prepared when its function is subscribed, and ffi_call lays
 * plain scalars out on the stack. Guest strings are read through the page walk without setting A
 * bits, so that watching a guest does not change it. What is called may do as it likes with vector
 * registers: the guest's are saved, and what it finds is a fresh x87 and MXCSR. An event that a
 * plugin's own call brings about is told to nobody. */
#include "runtime/plugins.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "memory/walk.h"
#include "runtime/engine_private.h"
#include "runtime/plugin_private.h"
#include "runtime/subscription_types.h"
#include "runtime/vector_state.h"

#define MXCSR_DEFAULT 0x1f80u

unsigned plugin_guest_string(const struct vcpu *v, gva_t gva, char *to, unsigned room) {
    unsigned used = 0;
    while (used < room - 1) {
        struct walk walk = walk_page(v->ram, &v->cpu.paging, gva, ACCESS_READ, false, false);
        const char *from = walk.ok ? ram_ptr(v->ram, walk.gpa, 1) : NULL;
        if (!from)
            break;
        for (uint32_t left = PAGE_SIZE - (gva & PAGE_MASK); left && used < room - 1; left--, gva++)
            if (!(to[used++] = *from++))
                return used - 1;
    }
    to[used] = 0;
    return used;
}

void plugin_vectors_save(struct vcpu *v) {
    uint32_t mxcsr = MXCSR_DEFAULT;
    if (!v->engine)
        return;
    vector_save(v->engine->vector_area + VECTOR_AREA_SIZE, v->engine->use_xsave);
    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

void plugin_vectors_restore(struct vcpu *v) {
    if (v->engine)
        vector_restore(v->engine->vector_area + VECTOR_AREA_SIZE, v->engine->use_xsave);
}

unsigned plugin_phases(enum ring3_event_kind kind) {
    switch (kind) {
    case RING3_EVENT_CALLOUT:
    case RING3_EVENT_CR_WRITE:
    case RING3_EVENT_SYSCALL:
    case RING3_EVENT_USER_RETURN:
        return PHASE_CALLBACK | PHASE_STOPPED;
    case RING3_EVENT_ENTRY:
    case RING3_EVENT_EXECUTE:
    case RING3_EVENT_SAMPLE:
        return PHASE_CALLBACK | PHASE_STOPPED | PHASE_MOVABLE;
    case RING3_EVENT_TRANSLATE:
        return PHASE_CALLBACK | PHASE_TRANSLATE;
    default:
        return PHASE_CALLBACK;
    }
}

void plugin_call(struct vcpu *v, unsigned plugin, ring3_callback callback, void *opaque,
                 const struct ring3_event *event) {
    struct ring3_event copy = *event; /* whatever it does with it */
    plugin_call_begin(v->plugins, plugin, plugin_phases((enum ring3_event_kind)event->kind));
    callback(opaque, &copy);
    plugin_call_end(v->plugins);
}

union typed_value {
    uint64_t bits; /* little endian: the low bytes are the narrower types */
    const char *string;
};

/* Signed types narrower than the value are taken from its low bits, i64 extends the sign of what
 * has 32. */
static uint64_t widen(uint64_t value, enum typed_kind type) {
    return type == TYPED_I64 && value <= UINT32_MAX ? (uint64_t)(int64_t)(int32_t)value : value;
}

static void call_typed(struct vcpu *v, struct subscription *s, const uint64_t *values) {
    union typed_value cells[RING3_VALUES_MAX];
    void *pointers[RING3_VALUES_MAX];
    char strings[RING3_VALUES_MAX][PLUGIN_STRING_MAX];
    assert(s->type_count + s->skip <= RING3_VALUES_MAX && s->cif.nargs == s->type_count);
    for (unsigned i = 0; i < s->type_count; i++) {
        uint64_t value = values[s->skip + i];
        if (s->types[i] == TYPED_STR) {
            plugin_guest_string(v, (gva_t)value, strings[i], PLUGIN_STRING_MAX);
            cells[i].string = strings[i];
        } else {
            cells[i].bits = widen(value, (enum typed_kind)s->types[i]);
        }
        pointers[i] = &cells[i];
    }
    ffi_arg ignored;
    plugin_call_begin(v->plugins, s->plugin, plugin_phases((enum ring3_event_kind)s->kind));
    ffi_call(&s->cif, s->function, &ignored, pointers);
    plugin_call_end(v->plugins);
}

/* Calls whoever wants the event; `sub` and `address` tell the events of a kind apart. */
static void call_all(struct vcpu *v, enum ring3_event_kind kind, int sub, gva_t address,
                     const uint64_t *values) {
    struct plugins *plugins = v->plugins;
    struct ring3_event event = {.size = sizeof event, .kind = kind};
    memcpy(event.value, values, sizeof event.value);
    for (unsigned i = 0; i < plugins->count; i++) {
        struct subscription *s = &plugins->list[i];
        if (s->kind != kind || (s->sub >= 0 && s->sub != sub) || s->address != address)
            continue;
        if (s->callback)
            plugin_call(v, s->plugin, s->callback, s->opaque, &event);
        else
            call_typed(v, s, values);
    }
}

/* False: a plugin is being called already, and gets no events of its own. */
static bool open_calls(struct vcpu *v) {
    if (v->plugins->phase)
        return false;
    v->plugins->v = v;
    plugin_vectors_save(v);
    return true;
}

void plugin_fire(struct vcpu *v, enum ring3_event_kind kind, const uint64_t *values) {
    if (!open_calls(v))
        return;
    call_all(v, kind, -1, 0, values);
    plugin_vectors_restore(v);
}

static uint32_t control_register(const struct cpu *cpu, uint32_t number) {
    switch (number) {
    case 0:
        return cpu->paging.cr0;
    case 2:
        return cpu->cr2;
    case 3:
        return cpu->paging.cr3;
    case 4:
        return cpu->paging.cr4;
    default:
        return 0;
    }
}

void plugins_callout(struct vcpu *v, enum callout_id id, uint32_t arg, uint32_t operand) {
    uint32_t eip = v->cpu.eip;
    if (!plugins_want_callout(v->plugins, id) || !open_calls(v))
        return;
    call_all(v, RING3_EVENT_CALLOUT, (int)id, 0,
             (const uint64_t[RING3_VALUES_MAX]){id, arg, operand, eip});
    if (id == CALLOUT_mov_to_cr)
        call_all(
            v, RING3_EVENT_CR_WRITE, (int)(arg & 7u), 0,
            (const uint64_t[RING3_VALUES_MAX]){arg, control_register(&v->cpu, arg), operand, eip});
    plugin_vectors_restore(v);
}

int plugins_entry(const struct plugins *plugins, gva_t eip) {
    if (!plugins_want(plugins, RING3_EVENT_ENTRY))
        return -1;
    for (unsigned i = 0; i < plugins->count; i++)
        if (plugins->list[i].kind == RING3_EVENT_ENTRY && plugins->list[i].address == eip)
            return (int)i;
    return -1;
}

bool plugins_enter(struct vcpu *v, uint32_t index) {
    uint64_t values[RING3_VALUES_MAX] = {v->cpu.eip};
    assert(index < v->plugins->count && v->plugins->list[index].kind == RING3_EVENT_ENTRY);
    if (!open_calls(v))
        return false;
    v->plugins->moved = false;
    for (unsigned i = 0; i < 8; i++)
        values[1 + i] = v->cpu.gpr[i];
    call_all(v, RING3_EVENT_ENTRY, -1, v->plugins->list[index].address, values);
    plugin_vectors_restore(v);
    return v->plugins->moved;
}

/* The ranges that belong to the engine; the machine's own are known before the fork. */
static void protect_engine(struct plugins *plugins, const struct vcpu *v) {
    const struct engine *e = v->engine;
    const struct window *first = &e->shadow.windows[0],
                        *last = &e->shadow.windows[WINDOW_COUNT - 1];
    plugins_protect(plugins, e, sizeof *e);
    plugins_protect(plugins, e->cache_write, e->cache_size);
    plugins_protect(plugins, (const void *)first->base, last->base + WINDOW_SIZE - first->base);
    plugins_protect(plugins, v->ram->base, v->ram->size + v->ram->rom_size);
}

void plugins_begin(struct vcpu *v) {
    if (!v->plugins)
        return;
    if (v->engine)
        protect_engine(v->plugins, v);
    PLUGIN_EVENT(v, BEGIN, v->plugins->boot);
}

void plugins_end(struct vcpu *v) { PLUGIN_EVENT(v, END, v->exit, v->exit_value); }
