/* Traces and profiles of one command: see watching.h. */
#include "cli/watching.h"

#include <assert.h>

#include "cli/report.h"
#include "inspect/trace_filter.h"

#define PROFILE_INTERVAL_MS 50

/* NULL where the kernel has no names. False: the file that was named has none, which `error` says.
 */
static bool get_symbols(struct names *names, struct symbols **symbols, struct error *error) {
    *symbols = names_symbols(names, error);
    return *symbols || !names->file;
}

/* Names and filters, then the files. */
static int prepare_trace(struct watching *watching, struct symbols *symbols, struct error *error) {
    struct trace_options *trace = &watching->trace_options;
    for (unsigned i = 0; i < trace->filter_count; i++)
        if (trace_filter_parse(&trace->filters[i], watching->options->filters[i], symbols, error))
            return -1;
    watching->trace = trace_output_open(trace, symbols, error);
    return watching->trace ? 0 : -1;
}

int watching_prepare(struct watching *watching, const struct options *options, struct names *names,
                     struct sources *sources, struct error *error) {
    const struct trace_options *trace = &options->trace;
    struct symbols *symbols;
    bool traces = trace->channels || trace->perfetto_path || trace->perf_map ||
                  trace->format == TRACE_FORMAT_PERFETTO;
    *watching = (struct watching){.trace_options = *trace, .options = options, .sources = sources};
    if (!traces && !options->profile_count)
        return 0;
    if (!get_symbols(names, &symbols, error))
        return -1;
    if (traces && prepare_trace(watching, symbols, error))
        return -1;
    if (!options->profile_count)
        return 0;
    watching->profile = profile_create(options->sample_rate, symbols);
    return watching->profile ? 0 : error_set(error, "no memory for a profile");
}

void watching_want(const struct watching *watching, struct machine_options *machine) {
    uint64_t records = watching->trace_options.records;
    machine->trace_channels = watching->trace ? trace_output_channels(watching->trace) : 0;
    machine->trace_records = records ? records : TRACE_RECORDS_DEFAULT;
    machine->flight_recorder = watching->trace_options.flight_recorder;
    machine->sample_rate = watching->options->sample_rate;
}

void watching_attach(struct watching *watching, struct machine *machine) {
    if (watching->trace)
        trace_output_attach(watching->trace, &machine->vcpu);
    if (watching->profile)
        profile_attach(watching->profile, &machine->vcpu);
}

static void drain_profile(struct source *source, short revents) {
    (void)revents;
    profile_drain(source->opaque);
    source->deadline = sources_now() + PROFILE_INTERVAL_MS;
}

void watching_start(struct watching *watching, pid_t pid) {
    if (watching->trace)
        trace_output_started(watching->trace, pid);
    if (!watching->profile)
        return;
    watching->profile_source = (struct source){.fd = -1,
                                               .deadline = sources_now() + PROFILE_INTERVAL_MS,
                                               .serve = drain_profile,
                                               .opaque = watching->profile};
    int rc = sources_add(watching->sources, &watching->profile_source);
    assert(!rc);
    (void)rc;
}

void watching_stop(struct watching *watching) {
    if (watching->trace)
        trace_output_detach(watching->trace);
    if (!watching->profile)
        return;
    sources_remove(watching->sources, &watching->profile_source);
    profile_detach(watching->profile);
}

bool watching_finish(struct watching *watching) {
    struct error error;
    bool done = true;
    for (unsigned i = 0; watching->profile && i < watching->options->profile_count; i++)
        if (profile_write(watching->profile, watching->options->profiles[i], &error)) {
            report_line("%s", error.text);
            done = false;
        }
    if (watching->trace)
        done &= trace_output_close(watching->trace);
    watching->trace = NULL;
    return done;
}

void watching_release(struct watching *watching) {
    if (watching->trace)
        trace_output_close(watching->trace);
    if (watching->profile)
        profile_free(watching->profile);
    *watching = (struct watching){0};
}
