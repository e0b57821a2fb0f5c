/* Plugins: functions of users' shared libraries, called when the guest does something.
 *
 * Everything that is called goes through one list of subscriptions: an event, and a callback
 * (include/ring3/plugin.h) or a function whose arguments libffi lays out. `--plugin` loads a
 * library that subscribes for itself; `--callout 'EVENT=library.so:function(types)'` is one typed
 * subscription. Loading and subscribing happens before the fork, with libc at hand; calls happen in
 * the vCPU process, under its sandbox.
 *
 * What is called may use vector registers: the guest's are kept. Where nobody subscribes an event
 * costs a test of a pointer and a bit. */
#ifndef RING3_RUNTIME_PLUGINS_H
#define RING3_RUNTIME_PLUGINS_H

#include <ffi.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "include/ring3/plugin.h"
#include "runtime/vcpu.h"

#define PLUGINS_MAX 48 /* those that `--callout` makes included */
#define SUBSCRIPTIONS_MAX 128
#define USER_CALLOUTS_MAX 32
#define PLUGIN_OUTPUTS_MAX 12
#define PLUGIN_STRING_MAX 256
#define PLUGIN_RANGES_MAX 8

struct subscription {
    uint8_t kind; /* enum ring3_event_kind */
    uint8_t plugin;
    int sub;                 /* the class of a CALLOUT, the register of a CR_WRITE; -1: any */
    gva_t address;           /* of an ENTRY */
    ring3_callback callback; /* or, when it is NULL, the rest */
    void *opaque;
    void (*function)(void);
    uint8_t skip; /* values that are left out */
    uint8_t type_count;
    uint8_t types[RING3_VALUES_MAX];
    ffi_type *ffi_types[RING3_VALUES_MAX]; /* `cif` points at it: the struct must not move */
    ffi_cif cif;
};

struct plugin {
    char name[64];
    void *library;
    uint8_t *reserve; /* what `alloc` gives out */
    uint64_t reserve_used;
    char refusal[160];
};

struct plugin_buffer;
struct plugin_output {
    int fd; /* -1: closed */
    uint8_t plugin, generation;
    struct plugin_buffer *buffer; /* shared: the monitor writes what is left */
    char path[256];
};

/* Memory that no function of the interface writes to. */
struct plugin_range {
    uintptr_t start, size;
};

/* Who knows the guest's symbols: 0 and *address filled, or -1 with `error` filled. */
struct symbol_source {
    int (*find)(void *opaque, const char *name, gva_t *address, struct error *error); /* NULL: nobody does */
    void *opaque;
};

struct plugins {
    /* Fires an event: a pointer, so that whoever has something to tell need not be linked with what
     * hears it. */
    void (*fire)(struct vcpu *v, enum ring3_event_kind kind, const uint64_t *values);
    uint64_t wanted;                             /* a bit a kind that somebody wants */
    uint64_t classes[(CALLOUT_COUNT + 63) / 64]; /* a bit a callout class */
    struct subscription list[SUBSCRIPTIONS_MAX];
    unsigned count, user_callouts;
    struct plugin plugins[PLUGINS_MAX];
    unsigned plugin_count;
    struct plugin_output outputs[PLUGIN_OUTPUTS_MAX];
    unsigned output_count;
    struct symbol_source symbols;
    unsigned boot;
    struct plugin_range ranges[PLUGIN_RANGES_MAX];
    unsigned range_count;
    struct instrumentation *instrumentation; /* NULL: nobody wants TRANSLATE */

    /* What is being called. */
    struct vcpu *v;
    unsigned phase; /* PHASE_*, 0: nothing is */
    unsigned current;
    bool moved; /* it has set EIP */
    const void *thread;
};

/* plugin_load.c, before the fork: "FILE.so[,key=value...]". 0, or -1 with `error` filled. */
int plugins_load(struct plugins *plugins, const char *text, struct error *error);
/* Monitor, when a machine has ended: what outputs still hold is written. 0, or -1 with `error`
 * filled. */
int plugins_flush(struct plugins *plugins, struct error *error);
/* The outputs' descriptors that are open; at most PLUGIN_OUTPUTS_MAX. */
unsigned plugins_fds(const struct plugins *plugins, int *fds);
void plugins_release(struct plugins *plugins);

/* callout_option.c: adds what `--callout` describes. 0, or -1 with `error` filled and nothing
 * added. */
int plugins_add_callout(struct plugins *plugins, const char *text, struct error *error);

/* vCPU process. The machine is set up; it ends. */
void plugins_begin(struct vcpu *v);
void plugins_end(struct vcpu *v);
/* No function of the interface may write there. */
void plugins_protect(struct plugins *plugins, const void *start, uint64_t size);

static inline bool plugins_want(const struct plugins *plugins, enum ring3_event_kind kind) {
    return __builtin_expect(plugins != NULL, 0) && plugins->wanted >> kind & 1;
}
/* Tells of an event: its values in the order of RING3_EVENTS. The general registers must be in
 * v->cpu. */
#define PLUGIN_EVENT(v, kind, ...)                                                                 \
    do {                                                                                           \
        if (plugins_want((v)->plugins, RING3_EVENT_##kind))                                        \
            (v)->plugins->fire((v), RING3_EVENT_##kind,                                            \
                               (const uint64_t[RING3_VALUES_MAX]){__VA_ARGS__});                   \
    } while (0)

static inline bool plugins_want_callout(const struct plugins *plugins, enum callout_id id) {
    return plugins && (plugins->classes[id / 64] >> id % 64 & 1);
}
void plugins_callout(struct vcpu *v, enum callout_id id, uint32_t arg, uint32_t operand);
/* The index of the first subscription to the entry at `eip` (a linear address), or -1: the argument
 * of CALLOUT_probe. */
int plugins_entry(const struct plugins *plugins, gva_t eip);
/* Calls all that want this entry. True: one of them has set EIP. */
bool plugins_enter(struct vcpu *v, uint32_t index);
/* The callout `instrument`. True: EIP was set. */
bool plugins_site(struct vcpu *v, uint32_t site);

/* Is a function of a plugin's running? Its name, or NULL. */
const char *plugins_running(const struct plugins *plugins);

#endif
