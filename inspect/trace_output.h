/* Where traces go: lines of text or JSON, a Perfetto file, a perf map; one ring feeds them all.
 *
 * Made once for a command, attached to each machine that it runs before the fork, and drained by
 * the monitor process. A flight recorder is read when its machine has ended, however it did. */
#ifndef RING3_INSPECT_TRACE_OUTPUT_H
#define RING3_INSPECT_TRACE_OUTPUT_H

#include <sys/types.h>

#include "base/error.h"
#include "inspect/trace_reader.h"
#include "runtime/vcpu.h"

enum trace_format {
    TRACE_FORMAT_TEXT,
    TRACE_FORMAT_JSON,
    TRACE_FORMAT_PERFETTO,
    TRACE_FORMAT_BINARY, /* trace_file.h */
};

struct trace_options {
    uint32_t channels; /* of the log */
    enum trace_format format;
    const char *log_path;      /* NULL: standard error */
    const char *perfetto_path; /* a second output, NULL: none */
    bool perf_map;
    uint64_t records; /* of the ring, a power of two; 0: the usual number */
    bool flight_recorder;
    struct trace_filter filters[TRACE_FILTERS_MAX];
    unsigned filter_count;
};

#define TRACE_RECORDS_DEFAULT (64u << 10)

struct trace_output;

/* Opens the files. NULL with `error` filled. `options` and `symbols` (may be NULL) must outlive it.
 */
struct trace_output *trace_output_open(const struct trace_options *options, struct symbols *symbols,
                                       struct error *error);
/* What the machine must record for it. */
uint32_t trace_output_channels(const struct trace_output *output);
/* Formats the records of a binary log instead of a machine's; `path` is its name. 0, or -1 with
 * `error` filled. */
int trace_output_replay(struct trace_output *output, const char *path, struct error *error);
/* The machine's ring is there, its process is not. */
void trace_output_attach(struct trace_output *output, struct vcpu *v);
/* The vCPU process runs. */
void trace_output_started(struct trace_output *output, pid_t pid);
/* Takes what is in the ring. A file that cannot be written is reported once and given up. */
void trace_output_drain(struct trace_output *output);
/* The machine has ended: the rest is taken, and a flight recorder read. */
void trace_output_detach(struct trace_output *output);
/* Closes the files. False: not everything could be written. */
bool trace_output_close(struct trace_output *output);

#endif
