/* Reading trace records: see trace_reader.h. */
#include "inspect/trace_reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/engine.h"
#include "runtime/system.h"

/* No function is larger: what is farther away belongs to no symbol. Nor does anything to a
 * constant. */
#define SYMBOL_SIZE_MAX (1u << 20)
/* What tells where a Linux kernel lies. */
#define LINUX_SYSENTER_ENTRY "entry_SYSENTER_32"

__extension__ typedef unsigned __int128 uint128;

static const struct {
    const char *name, *text;
} rows[TRACE_EVENT_COUNT] = {
#define TRACE_ROW(id, channel, text) [TRACE_EVENT_##id] = {#id, text},
    TRACE_EVENTS(TRACE_ROW)
#undef TRACE_ROW
};

static const struct {
    const char *word;
    enum trace_kind kind;
} kinds[] = {
    {"x", TRACE_HEX},       {"a", TRACE_CODE},        {"callout", TRACE_CALLOUT},
    {"leave", TRACE_LEAVE}, {"vector", TRACE_VECTOR}, {"delivery", TRACE_DELIVERY},
};

static enum trace_kind kind_of(const char *word, size_t len) {
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strlen(kinds[i].word) == len && !memcmp(kinds[i].word, word, len))
            return kinds[i].kind;
    assert(false && "a kind of argument that trace_events.h does not name");
    return TRACE_DECIMAL;
}

static void take_apart(struct trace_form *form, const char *text) {
    for (;;) {
        const char *open = strchr(text, '{');
        if (!open)
            break;
        const char *close = strchr(open, '}');
        assert(close && form->count < TRACE_ARGS_MAX);
        size_t len = (size_t)(close - open) - 1, name = strcspn(open + 1, ":}");
        form->args[form->count++] = (struct trace_argument){
            .before = text,
            .before_len = (unsigned)(open - text),
            .name = open + 1,
            .name_len = (unsigned)name,
            .kind = name == len ? TRACE_DECIMAL : kind_of(open + 1 + name + 1, len - name - 1),
        };
        text = close + 1;
    }
    form->after = text;
}

const struct trace_form *trace_form_of(enum trace_event event) {
    static struct trace_form forms[TRACE_EVENT_COUNT];
    assert(event > TRACE_EVENT_NONE && event < TRACE_EVENT_COUNT);
    struct trace_form *form = &forms[event];
    if (!form->after) {
        form->name = rows[event].name;
        take_apart(form, rows[event].text);
    }
    return form;
}

const char *trace_vector_name(uint64_t vector) {
    static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD",
                                        "#NM", "#DF", NULL,  "#TS", "#NP", "#SS", "#GP",
                                        "#PF", NULL,  "#MF", "#AC", "#MC", "#XM"};
    return vector < sizeof names / sizeof *names ? names[vector] : NULL;
}

const char *trace_word(enum trace_kind kind, uint64_t value) {
    static const char *const deliveries[] = {[DELIVER_EXCEPTION] = "exception",
                                             [DELIVER_SOFTWARE] = "INT",
                                             [DELIVER_EXTERNAL] = "interrupt"};
    if (kind == TRACE_CALLOUT)
        return value < CALLOUT_COUNT ? callout_name((enum callout_id)value) : NULL;
    if (kind == TRACE_LEAVE)
        return engine_leave_name(value);
    if (kind == TRACE_VECTOR)
        return trace_vector_name(value);
    if (kind == TRACE_DELIVERY)
        return value < sizeof deliveries / sizeof *deliveries ? deliveries[value] : NULL;
    return NULL;
}

/* A table of the addresses that come again and again, each in one place. */
struct trace_known {
    uint32_t address;
    enum { UNKNOWN, NAMED, NAMELESS } state;
    char text[TRACE_NAME_MAX];
};
#define KNOWN_SLOTS 4096u

void trace_names_init(struct trace_names *names, struct symbols *symbols) {
    struct symbol entry;
    names->symbols = symbols;
    names->settled = symbols && !symbols_find(symbols, LINUX_SYSENTER_ENTRY, &entry);
    if (symbols && !names->known)
        names->known = malloc(KNOWN_SLOTS * sizeof *names->known);
    for (unsigned i = 0; names->known && i < KNOWN_SLOTS; i++)
        names->known[i].state = UNKNOWN;
}

void trace_names_free(struct trace_names *names) {
    free(names->known);
    *names = (struct trace_names){0};
}

/* Before, nothing was named, so nothing is known wrong. */
bool trace_names_settle(struct trace_names *names, uint32_t sysenter_eip) {
    if (names->settled || !names->symbols || !sysenter_eip)
        return false;
    names->settled = symbols_slide_from_sysenter(names->symbols, sysenter_eip);
    return names->settled;
}

static bool has_name(const struct symbols *symbols, uint32_t address) {
    struct symbol found;
    uint32_t offset;
    return symbols_at(symbols, address, &found, &offset) && offset <= SYMBOL_SIZE_MAX &&
           found.type != 'a' && found.type != 'A';
}

const char *trace_name(const struct trace_names *names, uint64_t address) {
    if (!names || !names->settled || !names->known || address > UINT32_MAX)
        return NULL;
    uint32_t at = (uint32_t)address;
    struct trace_known *known = &names->known[(at ^ at >> 12) % KNOWN_SLOTS];
    if (known->state == UNKNOWN || known->address != at) {
        known->address = at;
        known->state = has_name(names->symbols, at) ? NAMED : NAMELESS;
        if (known->state == NAMED)
            symbols_format(names->symbols, at, known->text, sizeof known->text);
    }
    return known->state == NAMED ? known->text : NULL;
}

void trace_reader_init(struct trace_reader *reader, struct trace *trace,
                       const struct clock *clock) {
    *reader = (struct trace_reader){
        .trace = trace,
        .records = trace->records,
        .capacity = trace->capacity,
        .overwrite = trace->overwrite,
        .tsc_base = clock->tsc_base,
        .ns_mult = clock->ns_mult,
    };
}

uint64_t trace_reader_ns(const struct trace_reader *reader, uint64_t tsc) {
    uint64_t ticks = tsc > reader->tsc_base ? tsc - reader->tsc_base : 0;
    return (uint64_t)(((uint128)ticks * reader->ns_mult) >> 32);
}

uint64_t trace_reader_waiting(struct trace_reader *reader) {
    uint64_t head = atomic_load_explicit(&reader->trace->head, memory_order_acquire);
    uint64_t waiting = head - reader->next;
    if (waiting <= reader->capacity)
        return waiting;
    if (!reader->overwrite)
        return 0; /* nonsense */
    reader->next = head - reader->capacity;
    return reader->capacity;
}

bool trace_reader_see(struct trace_reader *reader, const struct trace_record *record,
                      struct trace_seen *seen) {
    uint32_t event = atomic_load_explicit(&record->event, memory_order_acquire);
    *seen = (struct trace_seen){.event = (enum trace_event)event,
                                .tsc = record->tsc,
                                .eip = record->eip,
                                .cr3 = record->cr3,
                                .cpl = record->cpl & 3};
    memcpy(seen->args, record->args, sizeof seen->args);
    if (event == TRACE_EVENT_NONE || event >= TRACE_EVENT_COUNT) {
        reader->damaged++;
        return false;
    }
    seen->ns = trace_reader_ns(reader, seen->tsc);
    if (seen->ns < reader->last_ns)
        seen->ns = reader->last_ns; /* processors' counters may be a few ticks apart */
    reader->last_ns = seen->ns;
    return true;
}

bool trace_reader_next(struct trace_reader *reader, struct trace_seen *seen) {
    if (!trace_reader_waiting(reader))
        return false;
    const struct trace_record *record = &reader->records[reader->next++ & (reader->capacity - 1)];
    bool good = trace_reader_see(reader, record, seen);
    atomic_store_explicit(&reader->trace->tail, reader->next, memory_order_release);
    return good;
}

uint64_t trace_reader_raw(struct trace_reader *reader, const struct trace_record **records) {
    uint64_t waiting = trace_reader_waiting(reader), at = reader->next & (reader->capacity - 1);
    *records = &reader->records[at];
    return waiting < reader->capacity - at ? waiting : reader->capacity - at;
}

void trace_reader_pass(struct trace_reader *reader, uint64_t count) {
    reader->next += count;
    atomic_store_explicit(&reader->trace->tail, reader->next, memory_order_release);
}
