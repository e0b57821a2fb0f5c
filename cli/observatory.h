/* `--web`: the monitor's side of the observatory (inspect/web.h). It outlives machines: the socket
 * listens from before the first to behind the last, and each machine has a web process of its own.
 */
#ifndef RING3_CLI_OBSERVATORY_H
#define RING3_CLI_OBSERVATORY_H

#include "cli/machine.h"
#include "cli/options.h"
#include "cli/outlet.h"
#include "inspect/sources.h"
#include "inspect/target.h"
#include "inspect/web.h"

struct observatory {
    struct web_listener listener; /* fd -1: nobody asked for one */
    struct web_process process;
    struct web_subject subject;
    struct machine *machine;
    struct sources *sources;
    struct target *target;
    struct source messages, samples; /* from the web process; the sampler's ring is to be emptied */
    bool own_samples;                /* nobody else asked for them */
    unsigned boots;
};

/* Listens at options->web, if it is given, and prints the page's address. 0, or -1 with `error`
 * filled. */
int observatory_open(struct observatory *observatory, const struct options *options,
                     struct error *error);
/* Before the vCPU process starts: memory that the engine's tables go to. 0, or -1 with `error`
 * filled. */
int observatory_prepare(struct observatory *observatory, struct machine *machine,
                        const struct options *options, struct error *error);
/* The vCPU process runs: serves its machine. `serial` is listened in on. */
void observatory_start(struct observatory *observatory, struct sources *sources,
                       struct target *target, struct outlet *serial);
/* The machine has ended, and how. */
void observatory_stop(struct observatory *observatory, const char *how);
/* Behind the vCPU process's end. */
void observatory_release(struct observatory *observatory);
void observatory_close(struct observatory *observatory);

static inline bool observatory_is_open(const struct observatory *observatory) {
    return observatory->listener.fd >= 0;
}
static inline struct arena *observatory_tables(struct observatory *observatory) {
    return observatory_is_open(observatory) ? &observatory->subject.tables : NULL;
}

#endif
