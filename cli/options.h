/* The command line as a value. Parsing opens nothing but what an option names, prints nothing, and
 * refuses with one line: what, where and why. */
#ifndef RING3_CLI_OPTIONS_H
#define RING3_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "inspect/trace_output.h"
#include "loader/loader.h"
#include "runtime/engine.h"
#include "runtime/plugins.h"

#define PLUGIN_OPTIONS_MAX 16

enum command {
    COMMAND_RUN,
    COMMAND_DEMO,
    COMMAND_PROFILE, /* run, with a profile at the end */
    COMMAND_BENCH,   /* the rest of the line is its own business */
    COMMAND_EXPLAIN, /* likewise */
    COMMAND_TRACE,   /* no guest: formats a binary log */
    COMMAND_SYMBOLS, /* likewise */
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_HELP_CALLOUTS,
    COMMAND_HELP_INSTRUCTIONS,
};

enum accel { ACCEL_BT, ACCEL_KVM };
enum output_kind { OUTPUT_STDIO, OUTPUT_STDERR, OUTPUT_FILE, OUTPUT_NONE };
enum stats_format { STATS_NONE, STATS_TEXT, STATS_JSON };

struct output {
    enum output_kind kind;
    const char *path; /* of a file */
};

#define PROFILES_MAX 4

struct options {
    enum command command;
    struct load_options load; /* without `cache` */
    bool keep_unpacked;
    uint64_t memory; /* bytes */
    bool no_reboot;
    const char *firmware; /* instead of a kernel */
    struct output serial, debugcon;
    enum stats_format stats;
    struct trace_options trace;
    const char *trace_file; /* COMMAND_TRACE: to be formatted */
    const char *filters[TRACE_FILTERS_MAX]; /* of trace records, as they were given */
    const char *profiles[PROFILES_MAX]; /* files, or "-" */
    unsigned profile_count;
    uint32_t sample_rate; /* 0: no profile */
    const char *callouts[USER_CALLOUTS_MAX];
    unsigned callout_count;
    const char *web; /* --web: where to serve the observatory, or NULL */
    const char *symbols; /* file */
    const char *gdb;   /* where to listen for a debugger, or NULL */
    bool start_stopped;
    const char *plugins[PLUGIN_OPTIONS_MAX];
    unsigned plugin_count;
    enum accel accel;
    struct engine_options engine; /* the debugging switches and `sandbox` */
    bool inject;                  /* engine.inject has a range */
    char rows_path[256];          /* empty: nobody asks which rows were executed */
};

/* 0, or -1 with `error` filled. The strings in `options` are argv's. */
int options_parse(struct options *options, int argc, char **argv, struct error *error);

#endif
