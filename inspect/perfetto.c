/* A trace as Chrome trace events: see perfetto.h. */
#include "inspect/perfetto.h"

#include <stdlib.h>
#include <string.h>

#include "inspect/trace_format.h"
#include "runtime/system.h"

#define MACHINE_TRACK 0u /* of the counters */
#define COUNTS_INTERVAL_NS 10000000u

int perfetto_init(struct perfetto *perfetto, struct error *error) {
    *perfetto = (struct perfetto){0};
    perfetto->tracks = calloc(PERFETTO_TRACKS_MAX, sizeof *perfetto->tracks);
    return perfetto->tracks ? 0 : error_set(error, "no memory for a trace");
}

/* Time in the file: boots one after the other, and never backwards. */
static uint64_t now(struct perfetto *perfetto, uint64_t ns) {
    if (perfetto->origin_ns + ns > perfetto->last_ns)
        perfetto->last_ns = perfetto->origin_ns + ns;
    return perfetto->last_ns;
}

/* {"ph":"B","pid":1,"tid":1,"ts":0.000, and the rest follows. */
static void begin(struct perfetto *perfetto, const char *phase, unsigned pid, uint64_t ns) {
    struct text *text = &perfetto->text;
    text_string(text, perfetto->begun ? ",\n" : "[\n");
    perfetto->begun = true;
    text_string(text, "{\"ph\":\"");
    text_string(text, phase);
    text_string(text, "\",\"pid\":");
    text_decimal(text, pid);
    text_string(text, ",\"tid\":");
    text_decimal(text, pid);
    text_string(text, ",\"ts\":");
    text_microseconds(text, ns);
}

static void end(struct perfetto *perfetto) { text_char(&perfetto->text, '}'); }

static void name_track(struct perfetto *perfetto, unsigned pid, const char *what, uint64_t cr3) {
    static const char *const kinds[] = {"process_name", "thread_name"};
    struct text *text = &perfetto->text;
    for (unsigned i = 0; i < 2; i++) {
        begin(perfetto, "M", pid, perfetto->last_ns);
        text_string(text, ",\"name\":\"");
        text_string(text, kinds[i]);
        text_string(text, "\",\"args\":{\"name\":\"");
        text_string(text, what);
        if (pid != MACHINE_TRACK)
            text_hex(text, cr3, 1);
        text_string(text, "\"}");
        end(perfetto);
    }
}

static unsigned pid_of(const struct perfetto *perfetto, const struct perfetto_track *track) {
    return (unsigned)(track - perfetto->tracks) + 1;
}

/* The last track serves all that come when there are too many. */
static struct perfetto_track *track_of(struct perfetto *perfetto, uint32_t cr3) {
    for (unsigned i = perfetto->count; i > 0; i--)
        if (perfetto->tracks[i - 1].cr3 == cr3)
            return &perfetto->tracks[i - 1];
    if (perfetto->count == PERFETTO_TRACKS_MAX)
        return &perfetto->tracks[PERFETTO_TRACKS_MAX - 1];
    struct perfetto_track *track = &perfetto->tracks[perfetto->count++];
    *track = (struct perfetto_track){.cr3 = cr3};
    bool last = perfetto->count == PERFETTO_TRACKS_MAX;
    name_track(perfetto, pid_of(perfetto, track), last ? "other address spaces, cr3 " : "cr3 ",
               cr3);
    return track;
}

static void put_slice_name(struct text *text, const struct perfetto_slice *slice) {
    const char *vector = trace_vector_name(slice->value);
    if (slice->kind == SLICE_USER) {
        text_string(text, "user");
    } else if (slice->kind == SLICE_SYSCALL) {
        text_string(text, "system call ");
        text_decimal(text, slice->value);
    } else if (slice->delivery == DELIVER_EXCEPTION && vector) {
        text_string(text, vector);
    } else {
        text_string(text, slice->delivery == DELIVER_SOFTWARE ? "INT " : "interrupt ");
        text_hex(text, slice->value, 2);
    }
}

static void open_slice(struct perfetto *perfetto, const struct perfetto_slice *slice, uint64_t ns) {
    struct text *text = &perfetto->text;
    begin(perfetto, "B", pid_of(perfetto, perfetto->current), ns);
    text_string(text, ",\"cat\":\"");
    text_string(text, slice->kind == SLICE_USER ? "user" : "kernel");
    text_string(text, "\",\"name\":\"");
    put_slice_name(text, slice);
    text_char(text, '"');
    end(perfetto);
}

static void close_slice(struct perfetto *perfetto, uint64_t ns) {
    begin(perfetto, "E", pid_of(perfetto, perfetto->current), ns);
    end(perfetto);
}

static void push(struct perfetto *perfetto, struct perfetto_slice slice, uint64_t ns) {
    struct perfetto_track *track = perfetto->current;
    if (track->depth == PERFETTO_DEPTH_MAX)
        return;
    track->slices[track->depth++] = slice;
    open_slice(perfetto, &slice, ns);
}

static void pop(struct perfetto *perfetto, unsigned depth, uint64_t ns) {
    struct perfetto_track *track = perfetto->current;
    for (; track->depth > depth; track->depth--)
        close_slice(perfetto, ns);
}

/* Another address space: what is open there stops here, and goes on when it comes back. */
static void switch_to(struct perfetto *perfetto, uint32_t cr3, uint64_t ns) {
    struct perfetto_track *from = perfetto->current;
    if (from && from->cr3 == cr3)
        return;
    for (unsigned i = 0; from && i < from->depth; i++)
        close_slice(perfetto, ns);
    perfetto->current = track_of(perfetto, cr3);
    for (unsigned i = 0; i < perfetto->current->depth; i++)
        open_slice(perfetto, &perfetto->current->slices[i], ns);
}

static void enter_user(struct perfetto *perfetto, uint64_t ns) {
    pop(perfetto, 0, ns);
    push(perfetto, (struct perfetto_slice){.kind = SLICE_USER}, ns);
    perfetto->user = true;
}

static void enter_kernel(struct perfetto *perfetto, struct perfetto_slice slice, uint64_t ns) {
    if (perfetto->user)
        pop(perfetto, 0, ns);
    perfetto->user = false;
    push(perfetto, slice, ns);
}

static void resume(struct perfetto *perfetto, unsigned level, uint64_t ns) {
    struct perfetto_track *track = perfetto->current;
    if (level == 3)
        enter_user(perfetto, ns);
    else if (track->depth && track->slices[track->depth - 1].kind == SLICE_EVENT)
        pop(perfetto, track->depth - 1, ns);
}

static void instant(struct perfetto *perfetto, const struct trace_seen *seen,
                    const struct trace_names *names) {
    struct text *text = &perfetto->text;
    begin(perfetto, "i", pid_of(perfetto, perfetto->current), perfetto->last_ns);
    text_string(text, ",\"s\":\"t\",\"cat\":");
    text_json(text, trace_channel_name(trace_event_channel(seen->event)));
    text_string(text, ",\"name\":");
    text_json(text, trace_form_of(seen->event)->name);
    text_string(text, ",\"args\":");
    trace_format_args(text, seen, names);
    end(perfetto);
}

void perfetto_record(struct perfetto *perfetto, const struct trace_seen *seen,
                     const struct trace_names *names) {
    uint64_t ns = now(perfetto, seen->ns);
    switch_to(perfetto, seen->cr3, ns);
    if (!perfetto->known && seen->cpl == 3 && seen->event != TRACE_EVENT_resume)
        enter_user(perfetto, ns);
    perfetto->known = true;
    switch (seen->event) {
    case TRACE_EVENT_syscall:
        enter_kernel(
            perfetto,
            (struct perfetto_slice){.kind = SLICE_SYSCALL, .value = (uint32_t)seen->args[0]}, ns);
        break;
    case TRACE_EVENT_deliver: {
        struct perfetto_slice slice = {.kind = SLICE_EVENT,
                                       .value = (uint32_t)seen->args[1],
                                       .delivery = (uint32_t)seen->args[0]};
        if (slice.delivery == DELIVER_SOFTWARE && slice.value == 0x80)
            slice =
                (struct perfetto_slice){.kind = SLICE_SYSCALL, .value = (uint32_t)seen->args[4]};
        enter_kernel(perfetto, slice, ns);
        break;
    }
    case TRACE_EVENT_resume:
        resume(perfetto, (unsigned)seen->args[0], ns);
        break;
    case TRACE_EVENT_load_cr3: /* the track says it */
    case TRACE_EVENT_emit:
        break;
    default:
        instant(perfetto, seen, names);
    }
}

void perfetto_counters(struct perfetto *perfetto, uint64_t ns, uint64_t callouts,
                       const struct counters *counters) {
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"callouts a second", callouts},
        {"hidden faults a second", counters->hidden_faults},
        {"true faults a second", counters->true_faults},
        {"fragments a second", counters->fragments},
        {"interrupts a second", counters->interrupts},
    };
    _Static_assert(sizeof rows / sizeof *rows <= sizeof perfetto->counts / sizeof(uint64_t),
                   "room");
    ns = now(perfetto, ns);
    uint64_t since = ns - perfetto->last_counts_ns;
    if (since < COUNTS_INTERVAL_NS)
        return;
    if (!perfetto->counting)
        name_track(perfetto, MACHINE_TRACK, "machine", 0);
    perfetto->counting = true;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t more = rows[i].value - perfetto->counts[i];
        perfetto->counts[i] = rows[i].value;
        begin(perfetto, "C", MACHINE_TRACK, ns);
        text_string(&perfetto->text, ",\"name\":\"");
        text_string(&perfetto->text, rows[i].name);
        text_string(&perfetto->text, "\",\"args\":{\"value\":");
        text_decimal(&perfetto->text, (uint64_t)((double)more * 1e9 / (double)since));
        text_char(&perfetto->text, '}');
        end(perfetto);
    }
    perfetto->last_counts_ns = ns;
}

void perfetto_end(struct perfetto *perfetto) {
    for (unsigned i = 0; perfetto->current && i < perfetto->current->depth; i++)
        close_slice(perfetto, perfetto->last_ns);
    for (unsigned i = 0; i < perfetto->count; i++)
        perfetto->tracks[i].depth = 0;
    perfetto->current = NULL;
    perfetto->user = perfetto->known = false;
    perfetto->origin_ns = perfetto->last_counts_ns = perfetto->last_ns;
    memset(perfetto->counts, 0, sizeof perfetto->counts);
}

void perfetto_finish(struct perfetto *perfetto) {
    text_string(&perfetto->text, perfetto->begun ? "\n]\n" : "[]\n");
}

void perfetto_free(struct perfetto *perfetto) {
    text_free(&perfetto->text);
    free(perfetto->tracks);
}
