/* Descriptions of events and types into subscriptions, before the guest runs. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plugin_private.h"
#include "runtime/subscription_types.h"
#include "runtime/system.h"

static const struct {
    const char *name;
    ffi_type *ffi;
} typed_kinds[TYPED_COUNT] = {
    [TYPED_U8] = {"u8", &ffi_type_uint8},     [TYPED_U16] = {"u16", &ffi_type_uint16},
    [TYPED_U32] = {"u32", &ffi_type_uint32},  [TYPED_U64] = {"u64", &ffi_type_uint64},
    [TYPED_I8] = {"i8", &ffi_type_sint8},     [TYPED_I16] = {"i16", &ffi_type_sint16},
    [TYPED_I32] = {"i32", &ffi_type_sint32},  [TYPED_I64] = {"i64", &ffi_type_sint64},
    [TYPED_STR] = {"str", &ffi_type_pointer},
};

static const struct {
    const char *name, *values;
} events[RING3_EVENT_COUNT] = {
#define EVENT_ROW(id, name, values) {name, values},
    RING3_EVENTS(EVENT_ROW)
#undef EVENT_ROW
};

static int find_symbol(const struct symbol_source *source, const char *symbol, gva_t *address,
                       struct error *error) {
    if (!source->find)
        return error_set(error, "--callout 'entry@%s': a symbol needs --symbols", symbol);
    return source->find(source->opaque, symbol, address, error);
}

static int parse_entry(struct subscription *subscription, const char *where,
                       const struct symbol_source *source, struct error *error) {
    subscription->kind = RING3_EVENT_ENTRY;
    if (where[0] != '0' || (where[1] | 0x20) != 'x')
        return find_symbol(source, where, &subscription->address, error);
    char *end;
    errno = 0;
    unsigned long long value = strtoull(where + 2, &end, 16);
    if (!isxdigit((unsigned char)where[2]) || *end || errno || value > UINT32_MAX)
        return error_set(error, "--callout 'entry@%s': not a 32-bit address", where);
    subscription->address = (gva_t)value;
    return 0;
}

/* Compares with '-' and '_' alike. */
static bool same_name(const char *name, const char *text) {
    for (; *name &&
           (*name == *text || (*name == '_' && *text == '-') || (*name == '-' && *text == '_'));
         name++)
        text++;
    return !*name && !*text;
}

/* Events that need something more than a name, or that only instrumentation brings about. */
static bool is_plain(int kind) {
    return kind != RING3_EVENT_ENTRY && kind != RING3_EVENT_EXECUTE && kind != RING3_EVENT_SAMPLE &&
           kind != RING3_EVENT_MEMORY;
}

static int find_event(const char *name) {
    for (int kind = 0; kind < RING3_EVENT_COUNT; kind++)
        if (is_plain(kind) && same_name(events[kind].name, name))
            return kind;
    return -1;
}

static int find_class(const char *name) {
    for (int id = 0; id < CALLOUT_COUNT; id++)
        if (id != CALLOUT_probe && id != CALLOUT_instrument &&
            same_name(callout_name((enum callout_id)id), name))
            return id;
    return -1;
}

int subscription_parse_event(const struct plugins *plugins, struct subscription *subscription,
                             const char *event, struct error *error) {
    subscription->sub = -1;
    if (!strncmp(event, "entry@", 6))
        return parse_entry(subscription, event + 6, &plugins->symbols, error);
    if (!strncmp(event, "cr", 2) && event[2] && strchr("0234", event[2]) &&
        same_name("_write", event + 3)) {
        subscription->kind = RING3_EVENT_CR_WRITE;
        subscription->sub = event[2] - '0';
        subscription->skip = 1;
        return 0;
    }
    int kind = find_event(event), id = find_class(event);
    if (kind < 0 && id < 0)
        return error_set(error, "--callout: unknown event '%s' (--help-callouts lists them)",
                         event);
    subscription->kind = (uint8_t)(kind < 0 ? RING3_EVENT_CALLOUT : kind);
    if (kind < 0) {
        subscription->sub = id;
        subscription->skip = 1;
    }
    return 0;
}

static unsigned value_count(const struct subscription *subscription) {
    unsigned count = 1;
    for (const char *at = events[subscription->kind].values; (at = strchr(at, ' ')); at++)
        count++;
    assert(count <= RING3_VALUES_MAX && count >= subscription->skip);
    return count - subscription->skip;
}

static int parse_type(struct subscription *subscription, const char *type, const char *event,
                      struct error *error) {
    unsigned kind = 0, values = value_count(subscription);
    while (kind < TYPED_COUNT && strcmp(type, typed_kinds[kind].name) != 0)
        kind++;
    if (kind == TYPED_COUNT)
        return error_set(error,
                         "--callout '%s': unknown type '%s' (u8 u16 u32 u64 i8 i16 i32 i64 str)",
                         event, type);
    if (subscription->type_count == values)
        return error_set(error, "--callout '%s': more types than the %u values of the event", event,
                         values);
    subscription->types[subscription->type_count] = (uint8_t)kind;
    subscription->ffi_types[subscription->type_count++] = typed_kinds[kind].ffi;
    return 0;
}

int subscription_parse_types(struct subscription *subscription, char *types, const char *event,
                             struct error *error) {
    for (char *type = *types ? types : NULL, *comma; type; type = comma) {
        comma = strchr(type, ',');
        if (comma)
            *comma++ = 0;
        if (parse_type(subscription, type, event, error))
            return -1;
    }
    ffi_status status = ffi_prep_cif(&subscription->cif, FFI_DEFAULT_ABI, subscription->type_count,
                                     &ffi_type_void, subscription->ffi_types);
    assert(status == FFI_OK);
    (void)status;
    return 0;
}

struct subscription *subscription_next(struct plugins *plugins) {
    if (plugins->count == SUBSCRIPTIONS_MAX)
        return NULL;
    struct subscription *subscription = &plugins->list[plugins->count];
    memset(subscription, 0, sizeof *subscription);
    return subscription;
}

static void want_class(struct plugins *plugins, int id) {
    plugins->classes[id / 64] |= 1ull << id % 64;
}

void subscription_add(struct plugins *plugins) {
    const struct subscription *subscription = &plugins->list[plugins->count++];
    assert(plugins->count <= SUBSCRIPTIONS_MAX && RING3_EVENT_COUNT <= 64);
    plugins->fire = plugin_fire;
    plugins->wanted |= 1ull << subscription->kind;
    if (subscription->kind == RING3_EVENT_CR_WRITE)
        want_class(plugins, CALLOUT_mov_to_cr);
    if (subscription->kind != RING3_EVENT_CALLOUT)
        return;
    for (int id = 0; id < CALLOUT_COUNT; id++)
        if ((subscription->sub < 0 || subscription->sub == id) && id != CALLOUT_probe &&
            id != CALLOUT_instrument)
            want_class(plugins, id);
}
