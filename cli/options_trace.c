/* Options of tracing: --log and its relatives, --trace, --flight-recorder, --perf-map. */
#include <string.h>

#include "cli/options_private.h"
#include "runtime/sampler.h"

#define RECORDS_MIN 1024u
#define RECORDS_MAX (16u << 20)

int options_parse_log(struct options *options, const char *text, struct error *error) {
    uint32_t bits = 0;
    const char *bad = text;
    if (!trace_parse(text, &bits, &bad))
        return error_set(error, "--log '%s': unknown channel at '%s' (--help lists them)", text,
                         bad);
    options->trace.channels |= bits;
    return 0;
}

int options_parse_log_format(struct options *options, const char *text, struct error *error) {
    static const char *const names[] = {[TRACE_FORMAT_TEXT] = "text",
                                        [TRACE_FORMAT_JSON] = "json",
                                        [TRACE_FORMAT_PERFETTO] = "perfetto",
                                        [TRACE_FORMAT_BINARY] = "binary"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(text, names[i])) {
            options->trace.format = (enum trace_format)i;
            return 0;
        }
    return error_set(error, "--log-format '%s': none of text, json, perfetto and binary", text);
}

int options_add_filter(struct options *options, const char *text, struct error *error) {
    struct trace_options *trace = &options->trace;
    if (trace->filter_count == TRACE_FILTERS_MAX)
        return error_set(error, "--log-filter '%s': more than %d of them", text, TRACE_FILTERS_MAX);
    options->filters[trace->filter_count++] = text;
    return 0;
}

int options_parse_flight_recorder(struct options *options, const char *text, struct error *error) {
    uint64_t records = TRACE_RECORDS_DEFAULT, room = RECORDS_MIN;
    if (text && (!options_parse_size(text, 1, &records) || !records || records > RECORDS_MAX))
        return error_set(error, "--flight-recorder='%s': not a number of records, 1 to 16M", text);
    while (room < records)
        room *= 2;
    options->trace.flight_recorder = true;
    options->trace.records = room;
    return 0;
}

int options_add_profile(struct options *options, const char *text, struct error *error) {
    if (!*text)
        return error_set(error, "--profile: empty file name");
    if (options->profile_count == PROFILES_MAX)
        return error_set(error, "--profile '%s': more than %d of them", text, PROFILES_MAX);
    options->profiles[options->profile_count++] = text;
    return 0;
}

int options_parse_rate(struct options *options, const char *text, struct error *error) {
    uint64_t rate;
    if (!options_parse_size(text, 1, &rate) || !rate || rate > SAMPLER_RATE_MAX)
        return error_set(error, "--rate '%s': not a number of samples a second, 1 to %u", text,
                         SAMPLER_RATE_MAX);
    options->sample_rate = (uint32_t)rate;
    return 0;
}

/* `ring3 profile` is `ring3 run` with a table at the end. */
static int check_profile(struct options *options, struct error *error) {
    if (options->command == COMMAND_PROFILE && !options->profile_count)
        options->profiles[options->profile_count++] = "-";
    if (!options->profile_count && options->sample_rate)
        return error_set(error, "--rate: give --profile FILE too");
    if (!options->profile_count)
        return 0;
    if (options->accel != ACCEL_BT)
        return error_set(error, "--profile '%s': only with --accel bt", options->profiles[0]);
    if (!options->sample_rate)
        options->sample_rate = SAMPLER_RATE_DEFAULT;
    return 0;
}

int options_check_trace(struct options *options, struct error *error) {
    struct trace_options *trace = &options->trace;
    bool perfetto = trace->format == TRACE_FORMAT_PERFETTO;
    if (trace->flight_recorder && !trace->channels && !trace->perfetto_path && !perfetto)
        trace->channels = TRACE_ALL;
    if (options->command == COMMAND_TRACE) {
        if (trace->format == TRACE_FORMAT_BINARY || trace->filter_count)
            return error_set(error, "ring3 trace: neither --log-format binary nor --log-filter");
        if (!trace->channels && !perfetto)
            trace->channels = TRACE_ALL;
    }
    if (trace->log_path && !trace->channels && !perfetto)
        return error_set(error, "--log-file '%s': give --log CHANNEL,... too", trace->log_path);
    if (trace->format != TRACE_FORMAT_TEXT && !perfetto && !trace->channels)
        return error_set(error, "--log-format: give --log CHANNEL,... too");
    if (trace->perf_map && trace->flight_recorder)
        return error_set(error, "--perf-map: not with --flight-recorder, which forgets");
    if (trace->perf_map && trace->filter_count)
        return error_set(error, "--perf-map: not with --log-filter, which leaves fragments out");
    if (trace->perf_map && options->accel != ACCEL_BT)
        return error_set(error, "--perf-map: only with --accel bt");
    return check_profile(options, error);
}
