/* /tmp/perf-PID.map: host addresses of fragments with the names of guest code, for the host's perf.
 *
 * A line is START SIZE NAME in hexadecimal. The file only grows: after the translation cache was
 * emptied, its addresses get new lines, and perf takes the later one. */
#ifndef RING3_INSPECT_PERF_MAP_H
#define RING3_INSPECT_PERF_MAP_H

#include <stdio.h>
#include <sys/types.h>

#include "base/error.h"
#include "inspect/text.h"
#include "inspect/trace_reader.h"

struct perf_map {
    FILE *out;
    struct text text;
    struct trace_seen fragment; /* the last `translate`, which its `emit` follows */
};

/* A file that is there is replaced, and no link is followed. 0, or -1 with `error` filled. */
int perf_map_open(struct perf_map *map, pid_t pid, struct error *error);
void perf_map_record(struct perf_map *map, const struct trace_seen *seen,
                     const struct trace_names *names);
/* 0, or a negative errno. */
int perf_map_write(struct perf_map *map);
void perf_map_close(struct perf_map *map);

#endif
