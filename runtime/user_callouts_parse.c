/* User callouts before the machine runs: 'EVENT=library.so:function(types)' into a prepared call.
 *
 * Runs in the monitor before the fork, so libc and the dynamic loader are at hand; the library
 * is in both processes afterwards. */
#include <assert.h>
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/user_callouts.h"

static const struct {
    const char *name;
    ffi_type *ffi;
} user_types[USER_TYPE_COUNT] = {
    [USER_U8] = {"u8", &ffi_type_uint8},     [USER_U16] = {"u16", &ffi_type_uint16},
    [USER_U32] = {"u32", &ffi_type_uint32},  [USER_U64] = {"u64", &ffi_type_uint64},
    [USER_I8] = {"i8", &ffi_type_sint8},     [USER_I16] = {"i16", &ffi_type_sint16},
    [USER_I32] = {"i32", &ffi_type_sint32},  [USER_I64] = {"i64", &ffi_type_sint64},
    [USER_STR] = {"str", &ffi_type_pointer},
};

static const char *const class_names[CALLOUT_COUNT] = {
#define CLASS_NAME(id, arg, operand, insns) [CALLOUT_##id] = #id,
    CALLOUTS(CLASS_NAME)
#undef CLASS_NAME
};

/* The four parts of a description, cut out of a copy of it. */
struct spec {
    char text[1024];
    char *event, *library, *function, *types;
};

/* The library may hold '=' and ':' in its path: the first '=' ends the event, the last ':' before
 * the parenthesis ends the library. */
static int split_spec(struct spec *spec, const char *text, struct error *error) {
    if (strlen(text) >= sizeof spec->text)
        return error_set(error, "--callout: description longer than %zu bytes",
                         sizeof spec->text - 1);
    strcpy(spec->text, text);
    spec->event = spec->text;
    char *equals = strchr(spec->text, '=');
    if (!equals)
        return error_set(error, "--callout '%s': no '=' after the event", text);
    *equals = 0;
    spec->library = equals + 1;
    char *open = strrchr(spec->library, '('), *close = open ? strchr(open, ')') : NULL;
    if (!close || close[1])
        return error_set(error, "--callout '%s': does not end in (types)", text);
    *open = *close = 0;
    spec->types = open + 1;
    char *colon = strrchr(spec->library, ':');
    if (!colon || colon == spec->library || !colon[1])
        return error_set(error, "--callout '%s': no library:function before (types)", text);
    *colon = 0;
    spec->function = colon + 1;
    return 0;
}

static int find_symbol(const struct symbol_source *source, const char *symbol, gva_t *address,
                       struct error *error) {
    if (!source || !source->find)
        return error_set(error, "--callout 'entry@%s': a symbol needs --symbols", symbol);
    return source->find(source->opaque, symbol, address, error);
}

static int parse_entry(struct user_callout *callout, const char *where, const struct symbol_source *source,
                       struct error *error) {
    callout->id = CALLOUT_probe;
    if (where[0] != '0' || (where[1] | 0x20) != 'x')
        return find_symbol(source, where, &callout->address, error);
    char *end;
    errno = 0;
    unsigned long long value = strtoull(where + 2, &end, 16);
    if (!isxdigit((unsigned char)where[2]) || *end || errno || value > UINT32_MAX)
        return error_set(error, "--callout 'entry@%s': not a 32-bit address", where);
    callout->address = (gva_t)value;
    return 0;
}

/* Compares with '-' and '_' alike. */
static bool same_name(const char *name, const char *text) {
    for (; *name && (*name == *text || (*name == '_' && *text == '-')); name++)
        text++;
    return !*name && !*text;
}

static int parse_event(struct user_callout *callout, const char *event, const struct symbol_source *source,
                       struct error *error) {
    callout->sub = -1;
    if (!strncmp(event, "entry@", 6))
        return parse_entry(callout, event + 6, source, error);
    if (!strncmp(event, "cr", 2) && event[2] && strchr("0234", event[2]) &&
        same_name("_write", event + 3)) {
        callout->id = CALLOUT_mov_to_cr;
        callout->sub = event[2] - '0';
        return 0;
    }
    for (int id = 0; id < CALLOUT_COUNT; id++)
        if (id != CALLOUT_probe && same_name(class_names[id], event)) {
            callout->id = (enum callout_id)id;
            return 0;
        }
    return error_set(error, "--callout: unknown event '%s' (--help-callouts lists them)", event);
}

static int parse_types(struct user_callout *callout, char *types, const char *event,
                       struct error *error) {
    unsigned values = callout->id == CALLOUT_probe ? 9 : 3;
    if (!*types)
        return 0;
    for (char *type = types, *comma; type; type = comma) {
        comma = strchr(type, ',');
        if (comma)
            *comma++ = 0;
        unsigned kind = 0;
        while (kind < USER_TYPE_COUNT && strcmp(type, user_types[kind].name) != 0)
            kind++;
        if (kind == USER_TYPE_COUNT)
            return error_set(error,
                             "--callout '%s': unknown type '%s' (u8 u16 u32 u64 i8 i16 i32 "
                             "i64 str)",
                             event, type);
        if (callout->type_count == values)
            return error_set(error, "--callout '%s': more types than the %u values of the event",
                             event, values);
        callout->types[callout->type_count] = (enum user_type)kind;
        callout->ffi_types[callout->type_count++] = user_types[kind].ffi;
    }
    return 0;
}

static int load_function(struct user_callout *callout, const struct spec *spec,
                         struct error *error) {
    callout->library = dlopen(spec->library, RTLD_NOW | RTLD_LOCAL);
    if (!callout->library)
        return error_set(error, "--callout '%s': %s", spec->event, dlerror());
    *(void **)&callout->function = dlsym(callout->library, spec->function);
    if (!callout->function) {
        dlclose(callout->library);
        return error_set(error, "--callout '%s': '%s' has no function '%s'", spec->event,
                         spec->library, spec->function);
    }
    return 0;
}

int user_callouts_parse(struct user_callouts *callouts, const char *text, const struct symbol_source *source,
                        struct error *error) {
    struct spec spec;
    if (callouts->count == USER_CALLOUTS_MAX)
        return error_set(error, "--callout: more than %d", USER_CALLOUTS_MAX);
    struct user_callout *callout = &callouts->list[callouts->count];
    memset(callout, 0, sizeof *callout);
    if (split_spec(&spec, text, error) || parse_event(callout, spec.event, source, error) ||
        parse_types(callout, spec.types, spec.event, error) || load_function(callout, &spec, error))
        return -1;
    ffi_status status = ffi_prep_cif(&callout->cif, FFI_DEFAULT_ABI, callout->type_count,
                                     &ffi_type_void, callout->ffi_types);
    assert(status == FFI_OK);
    (void)status;
    callouts->wanted[callout->id / 64] |= 1ull << callout->id % 64;
    callouts->count++;
    return 0;
}

void user_callouts_release(struct user_callouts *callouts) {
    for (unsigned i = 0; i < callouts->count; i++)
        dlclose(callouts->list[i].library);
    memset(callouts, 0, sizeof *callouts);
}
