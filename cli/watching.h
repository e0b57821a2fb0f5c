/* What watches machines while they run: traces and profiles, over all boots of one command. */
#ifndef RING3_CLI_WATCHING_H
#define RING3_CLI_WATCHING_H

#include "cli/machine.h"
#include "cli/names.h"
#include "cli/options.h"
#include "inspect/profile.h"
#include "inspect/sources.h"
#include "inspect/trace_output.h"

struct watching {
    struct trace_options trace_options;
    struct trace_output *trace; /* NULL: none */
    struct profile *profile;    /* NULL: none */
    const struct options *options;
    struct sources *sources;
    struct source profile_source;
};

/* Opens and parses what the options ask for. 0, or -1 with `error` filled. */
int watching_prepare(struct watching *watching, const struct options *options, struct names *names,
                     struct sources *sources, struct error *error);
/* What the machine must do for it. */
void watching_want(const struct watching *watching, struct machine_options *machine);
/* The machine is there, its process is not. */
void watching_attach(struct watching *watching, struct machine *machine);
/* The vCPU process runs; ... has ended, however it did. */
void watching_start(struct watching *watching, pid_t pid);
void watching_stop(struct watching *watching);
/* No boot will follow: files are written and closed. False: that did not work, and was said. */
bool watching_finish(struct watching *watching);
void watching_release(struct watching *watching);

#endif
