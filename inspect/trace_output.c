/* Where traces go: see trace_output.h. */
#include "inspect/trace_output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/perf_map.h"
#include "inspect/perfetto.h"
#include "inspect/trace_file.h"
#include "inspect/trace_format.h"

#define FLUSH_BYTES (256u << 10)

struct trace_output {
    const struct trace_options *options;
    struct trace_names names;
    FILE *log; /* NULL: none, or given up */
    struct text text;
    FILE *perfetto_file;
    struct perfetto perfetto;
    uint32_t perfetto_channels;
    struct perf_map perf_map;
    struct trace_reader reader;
    const struct vcpu *v; /* of the machine that it is attached to */
    uint64_t tsc_offset;  /* of the guest's TSC */
    bool failed;
};

static void give_up(struct trace_output *output, const char *what, int error_number) {
    fprintf(stderr, "ring3: cannot write %s: %s\n", what, strerror(error_number));
    output->failed = true;
}

static FILE *open_file(const char *path, const char *option, struct error *error) {
    FILE *file = fopen(path, "we");
    if (!file)
        error_set(error, "--%s '%s': %s", option, path, strerror(errno));
    return file;
}

/* The log, if it is for people or machines; else a Perfetto file with the channels asked for. */
static int open_files(struct trace_output *output, struct error *error) {
    const struct trace_options *options = output->options;
    bool perfetto = options->format == TRACE_FORMAT_PERFETTO;
    if (options->format == TRACE_FORMAT_BINARY && !options->log_path)
        return error_set(error, "--log-format binary: give --log-file FILE");
    const char *path = options->perfetto_path;
    if (perfetto && path)
        return error_set(error, "--trace '%s': --log-format perfetto is one already", path);
    if (perfetto && !options->log_path)
        return error_set(error, "--log-format perfetto: give --log-file FILE (or --trace FILE)");
    if (perfetto)
        path = options->log_path;
    if (path) {
        output->perfetto_channels =
            perfetto && options->channels ? options->channels : PERFETTO_CHANNELS;
        output->perfetto_file = open_file(path, perfetto ? "log-file" : "trace", error);
        if (!output->perfetto_file || perfetto_init(&output->perfetto, error))
            return -1;
    }
    if (perfetto || !options->channels)
        return 0;
    output->log = options->log_path ? open_file(options->log_path, "log-file", error) : stderr;
    return output->log ? 0 : -1;
}

struct trace_output *trace_output_open(const struct trace_options *options, struct symbols *symbols,
                                       struct error *error) {
    struct trace_output *output = calloc(1, sizeof *output);
    if (!output) {
        error_set(error, "no memory for a trace");
        return NULL;
    }
    output->options = options;
    trace_names_init(&output->names, symbols);
    if (!open_files(output, error))
        return output;
    trace_output_close(output);
    return NULL;
}

uint32_t trace_output_channels(const struct trace_output *output) {
    uint32_t log = output->log ? output->options->channels : 0;
    uint32_t map = output->options->perf_map ? TRACE_BIT(translate) : 0;
    return log | output->perfetto_channels | map;
}

void trace_output_attach(struct trace_output *output, struct vcpu *v) {
    struct trace *trace = v->trace;
    const struct trace_options *options = output->options;
    assert(!output->v && trace->records);
    memcpy(trace->filters, options->filters, sizeof trace->filters);
    trace->filter_count = options->filter_count;
    trace_reader_init(&output->reader, trace, v->clock);
    if (output->names.symbols)
        symbols_set_slide(output->names.symbols, 0); /* another boot may lie elsewhere */
    trace_names_init(&output->names, output->names.symbols);
    output->v = v;
    if (options->format == TRACE_FORMAT_BINARY) {
        struct trace_file_head head = trace_file_head_of(&output->reader, v->cpu.tsc_offset);
        text_put(&output->text, (const char *)&head, sizeof head);
    }
}

void trace_output_started(struct trace_output *output, pid_t pid) {
    struct error error;
    if (!output->options->perf_map || !perf_map_open(&output->perf_map, pid, &error))
        return;
    fprintf(stderr, "ring3: %s\n", error.text);
    output->failed = true;
}

static void give_up_log(struct trace_output *output) {
    give_up(output, "the log", errno);
    if (output->log != stderr)
        fclose(output->log);
    output->log = NULL;
}

static void write_log(struct trace_output *output) {
    if (output->text.len && !text_write(&output->text, output->log))
        give_up_log(output);
}

static void write_perfetto(struct trace_output *output) {
    if (!output->perfetto.text.len || text_write(&output->perfetto.text, output->perfetto_file))
        return;
    give_up(output, "the trace file", errno);
    fclose(output->perfetto_file);
    output->perfetto_file = NULL;
}

static void write_all(struct trace_output *output) {
    int rc = output->perf_map.out ? perf_map_write(&output->perf_map) : 0;
    if (output->log)
        write_log(output);
    if (output->perfetto_file)
        write_perfetto(output);
    if (rc) {
        give_up(output, "the perf map", -rc);
        perf_map_close(&output->perf_map);
    }
}

/* As it is, and small enough for no loop. */
static void put_binary(struct text *text, const struct trace_seen *seen) {
    struct trace_record record = {
        .tsc = seen->tsc, .eip = seen->eip, .cr3 = seen->cr3, .cpl = (uint8_t)seen->cpl};
    atomic_init(&record.event, (uint32_t)seen->event);
    memcpy(record.args, seen->args, sizeof record.args);
    text_put(text, (const char *)&record, sizeof record);
}

static void put_log(struct trace_output *output, const struct trace_seen *seen) {
    switch (output->options->format) {
    case TRACE_FORMAT_BINARY:
        put_binary(&output->text, seen);
        break;
    case TRACE_FORMAT_JSON:
        trace_format_json(&output->text, seen, seen->tsc + output->tsc_offset, &output->names);
        break;
    default:
        trace_format_text(&output->text, seen, &output->names);
    }
}

static void put_record(struct trace_output *output, const struct trace_seen *seen) {
    uint32_t bit = 1u << trace_event_channel(seen->event);
    if (output->log && output->options->channels & bit)
        put_log(output, seen);
    if (output->perfetto_file && output->perfetto_channels & bit)
        perfetto_record(&output->perfetto, seen, &output->names);
    if (output->perf_map.out)
        perf_map_record(&output->perf_map, seen, &output->names);
    if (output->text.len > FLUSH_BYTES || output->perfetto.text.len > FLUSH_BYTES)
        write_all(output);
}

/* Filters by symbol follow a kernel that lies elsewhere than it was linked. */
static void settle_names(struct trace_output *output) {
    struct trace *trace = output->v->trace;
    if (!trace_names_settle(&output->names, output->v->cpu.msr.sysenter_eip))
        return;
    uint32_t slide = symbols_slide(output->names.symbols);
    const struct trace_seen note = {.event = (enum trace_event)TRACE_FILE_SLIDE, .args = {slide}};
    if (output->log && output->options->format == TRACE_FORMAT_BINARY)
        put_binary(&output->text, &note);
    for (unsigned i = 0; i < output->options->filter_count; i++) {
        const struct trace_filter *filter = &output->options->filters[i];
        if (!filter->by_symbol)
            continue;
        trace->filters[i].start = filter->start + slide;
        trace->filters[i].end = filter->end + slide;
    }
}

static void put_lost(struct trace_output *output) {
    uint64_t lost = atomic_exchange(&output->reader.trace->lost, 0);
    uint64_t damaged = output->reader.damaged;
    output->reader.damaged = 0;
    if (lost)
        fprintf(stderr, "trace: %llu records lost\n", (unsigned long long)lost);
    if (damaged)
        fprintf(stderr, "trace: %llu damaged records\n", (unsigned long long)damaged);
}

static void put_counters(struct trace_output *output, uint64_t ns) {
    const struct vcpu *v = output->v;
    uint64_t callouts = 0;
    for (unsigned i = 0; i < CALLOUT_COUNT; i++)
        callouts += v->cpu.callout_counts[i];
    perfetto_counters(&output->perfetto, ns, callouts, v->counters);
}

/* A binary log that is alone takes the records as they lie there. */
static void take_raw(struct trace_output *output) {
    for (unsigned part = 0; part < 2; part++) {
        const struct trace_record *records;
        uint64_t count = trace_reader_raw(&output->reader, &records);
        if (output->log && fwrite(records, sizeof *records, count, output->log) != count)
            give_up_log(output);
        trace_reader_pass(&output->reader, count);
    }
}

static bool is_raw(const struct trace_output *output) {
    return output->options->format == TRACE_FORMAT_BINARY && !output->perfetto_file &&
           !output->perf_map.out;
}

/* What is there when it begins, and no more: the other side may be faster than any file. */
static void take(struct trace_output *output) {
    struct trace_seen seen;
    uint64_t ns = trace_reader_ns(&output->reader, clock_host_tsc());
    settle_names(output);
    output->tsc_offset = output->v->cpu.tsc_offset;
    write_all(output);
    if (is_raw(output))
        take_raw(output);
    for (uint64_t left = is_raw(output) ? 0 : trace_reader_waiting(&output->reader); left > 0;
         left--)
        if (trace_reader_next(&output->reader, &seen))
            put_record(output, &seen);
    if (output->perfetto_file && !output->reader.overwrite)
        put_counters(output, ns);
    write_all(output);
    put_lost(output);
}

void trace_output_drain(struct trace_output *output) {
    assert(output->v);
    if (!output->reader.overwrite)
        take(output);
}

void trace_output_detach(struct trace_output *output) {
    assert(output->v);
    take(output);
    if (output->perfetto_file) {
        perfetto_end(&output->perfetto);
        write_all(output);
    }
    perf_map_close(&output->perf_map);
    output->v = NULL;
}

static bool replay_record(struct trace_output *output, const struct trace_record *record) {
    struct trace_file_head head;
    struct trace_seen seen;
    memcpy(&head, record, sizeof head);
    if (!memcmp(head.magic, TRACE_FILE_MAGIC, sizeof head.magic)) {
        output->reader = (struct trace_reader){.tsc_base = head.tsc_base, .ns_mult = head.ns_mult};
        output->tsc_offset = head.tsc_offset;
        trace_names_init(&output->names, output->names.symbols);
        return head.layout == trace_file_layout() && head.ns_mult;
    }
    if (!output->reader.ns_mult)
        return false; /* no head */
    if (record->event == TRACE_FILE_SLIDE) {
        if (output->names.symbols)
            symbols_set_slide(output->names.symbols, (uint32_t)record->args[0]);
        output->names.settled = output->names.symbols != NULL;
    } else if (trace_reader_see(&output->reader, record, &seen)) {
        put_record(output, &seen);
    }
    return true;
}

int trace_output_replay(struct trace_output *output, const char *path, struct error *error) {
    struct trace_record record;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_set(error, "%s: %s", path, strerror(errno));
    bool good = true;
    size_t count = 0;
    for (; good && fread(&record, sizeof record, 1, file) == 1; count++)
        good = replay_record(output, &record);
    if (ferror(file))
        error_set(error, "%s: %s", path, strerror(errno));
    else if (!good || !count)
        error_set(error, "%s: no binary log of this version of ring3", path);
    bool failed = ferror(file) || !good || !count;
    fclose(file);
    if (output->perfetto_file)
        perfetto_end(&output->perfetto);
    write_all(output);
    return failed ? -1 : 0;
}

bool trace_output_close(struct trace_output *output) {
    if (output->perfetto_file) {
        perfetto_finish(&output->perfetto);
        write_perfetto(output);
    }
    FILE *files[] = {output->log == stderr ? NULL : output->log, output->perfetto_file};
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] && fclose(files[i]))
            give_up(output, "a trace", errno);
    bool failed = output->failed;
    text_free(&output->text);
    trace_names_free(&output->names);
    perfetto_free(&output->perfetto);
    free(output);
    return !failed;
}
