/* Shared by the files that make up the plugin interface. */
#ifndef RING3_RUNTIME_PLUGIN_PRIVATE_H
#define RING3_RUNTIME_PLUGIN_PRIVATE_H

#include "runtime/plugins.h"

#define PLUGIN_LENGTH_MAX (1u << 20) /* of one copy */
#define PLUGIN_RESERVE (256ull << 20)

/* When a function may be called: it needs one of these in plugins->phase. */
#define PHASE_START 1u
#define PHASE_CALLBACK 2u
#define PHASE_STOPPED 4u /* the guest stands before an instruction: it may be changed */
#define PHASE_MOVABLE 8u /* EIP, too */
#define PHASE_TRANSLATE 16u

struct plugin_buffer {
    uint32_t used;
    int32_t error; /* a positive errno */
    uint8_t bytes[(64u << 10) - 8];
};

/* Handles: what they are of, whose, a generation, an index. */
enum handle_kind { HANDLE_OUTPUT = 0x51, HANDLE_COUNTER = 0x52 };
static inline ring3_handle handle_make(enum handle_kind kind, unsigned plugin, unsigned generation,
                                       uint32_t index) {
    return (uint64_t)kind << 56 | (uint64_t)plugin << 48 | (uint64_t)(generation & 0xffff) << 32 |
           index;
}

/* plugin_copy.c. The plugins that are being called: the interface's functions take no context.
 * NULL: none, from this thread, in one of these phases. */
struct plugins *plugin_caller(unsigned phases);
/* Calls `callback` or the start of plugin `index` with the caller set. */
void plugin_call_begin(struct plugins *plugins, unsigned index, unsigned phase);
void plugin_call_end(struct plugins *plugins);
/* Copies to and from the plugin's memory. RING3_OK or RING3_BAD_POINTER. */
int plugin_put(const struct plugins *plugins, void *to, const void *from, uint64_t len);
int plugin_take(void *to, const void *from, uint64_t len);
/* A string of less than `room` bytes. RING3_BAD_ARGUMENT: it is longer. */
int plugin_take_string(char *to, const char *from, unsigned room);
/* Does the function lie in code? */
int plugin_check_code(void (*function)(void));
/* While a start runs in the monitor: SIGSEGV and SIGBUS in a copy are what they are in the vCPU
 * process. */
void plugin_guard_begin(void);
void plugin_guard_end(void);

/* guarded_copy.S. 0, or 1: a byte could not be read or written. */
int guarded_copy(void *to, const void *from, uint64_t len);
extern const uint8_t guarded_copy_fault[], guarded_copy_failed[];

/* subscriptions.c. Takes the event's description apart into `subscription`. 0, or -1 with `error`
 * filled. */
int subscription_parse_event(const struct plugins *plugins, struct subscription *subscription,
                             const char *event, struct error *error);
/* Types of a function: also prepares the call. `types` is changed. */
int subscription_parse_types(struct subscription *subscription, char *types, const char *event,
                             struct error *error);
/* Room for one more, zeroed; NULL: there is none. It counts after subscription_add. */
struct subscription *subscription_next(struct plugins *plugins);
void subscription_add(struct plugins *plugins);

/* plugins.c: plugins->fire. */
void plugin_fire(struct vcpu *v, enum ring3_event_kind kind, const uint64_t *values);
/* A zero-terminated copy of the string at `gva` as far as it can be read. */
unsigned plugin_guest_string(const struct vcpu *v, gva_t gva, char *to, unsigned room);
/* The phases of a callback of that kind. */
unsigned plugin_phases(enum ring3_event_kind kind);
void plugin_call(struct vcpu *v, unsigned plugin, ring3_callback callback, void *opaque,
                 const struct ring3_event *event);
void plugin_vectors_save(struct vcpu *v);
void plugin_vectors_restore(struct vcpu *v);

/* plugin_output.c */
int plugin_open_output(const char *path, ring3_handle *output);
int plugin_write_output(ring3_handle output, const void *bytes, size_t len);
int plugin_close_output(ring3_handle output);

/* plugin_memory.c */
int plugin_read_linear(uint32_t address, void *to, size_t len);
int plugin_read_string(uint32_t address, char *to, size_t room);
int plugin_read_physical(uint64_t address, void *to, size_t len);
int plugin_find_physical(uint32_t address, uint64_t *physical);
int plugin_write_linear(uint32_t address, const void *from, size_t len);
int plugin_write_physical(uint64_t address, const void *from, size_t len);

/* plugin_registers.c */
int plugin_get_register(uint32_t reg, uint32_t *value);
int plugin_set_register(uint32_t reg, uint32_t value);

/* plugin_strings.c: how often a repeated SCAS or CMPS will go round, `most` at most. */
struct access;
uint32_t plugin_compare_count(const struct vcpu *v, const struct access *accesses,
                              unsigned access_count, uint32_t most);

/* instrument.c */
int instrumentation_make(struct plugins *plugins);
void instrumentation_free(struct plugins *plugins);
int plugin_new_counter(ring3_handle *counter);
int plugin_read_counter(ring3_handle counter, uint64_t *value);
int plugin_set_counter(ring3_handle counter, uint64_t value);
int plugin_get_insn(uint32_t index, struct ring3_insn *insn);
int plugin_count(uint32_t index, ring3_handle counter);
int plugin_sample(uint32_t index, uint64_t every, ring3_callback callback, void *opaque);
int plugin_on_execute(uint32_t index, ring3_callback callback, void *opaque);
int plugin_on_memory(uint32_t index, ring3_callback callback, void *opaque);

/* plugin_api.c */
extern const struct ring3_api plugin_api;

#endif
