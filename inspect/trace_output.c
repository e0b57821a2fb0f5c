/* Where traces go: see trace_output.h. */
#include "inspect/trace_output.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/perf_map.h"
#include "inspect/perfetto.h"
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
}

void trace_output_started(struct trace_output *output, pid_t pid) {
    struct error error;
    if (!output->options->perf_map || !perf_map_open(&output->perf_map, pid, &error))
        return;
    fprintf(stderr, "ring3: %s\n", error.text);
    output->failed = true;
}

static void write_log(struct trace_output *output) {
    if (!output->text.len || text_write(&output->text, output->log))
        return;
    give_up(output, "the log", errno);
    if (output->log != stderr)
        fclose(output->log);
    output->log = NULL;
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

static void put_record(struct trace_output *output, const struct trace_seen *seen) {
    uint32_t bit = 1u << trace_event_channel(seen->event);
    if (output->log && output->options->channels & bit) {
        if (output->options->format == TRACE_FORMAT_JSON)
            trace_format_json(&output->text, seen, seen->tsc + output->v->cpu.tsc_offset,
                              &output->names);
        else
            trace_format_text(&output->text, seen, &output->names);
    }
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

/* What is there when it begins, and no more: the other side may be faster than any file. */
static void take(struct trace_output *output) {
    struct trace_seen seen;
    uint64_t ns = trace_reader_ns(&output->reader, clock_host_tsc());
    settle_names(output);
    for (uint64_t left = trace_reader_waiting(&output->reader); left > 0; left--)
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
    perfetto_free(&output->perfetto);
    free(output);
    return !failed;
}
