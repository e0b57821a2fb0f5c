/* --stats: what a machine counted, over all its reboots. */
#ifndef RING3_CLI_STATS_H
#define RING3_CLI_STATS_H

#include <stdint.h>
#include <sys/resource.h>

#include "base/counters.h"
#include "cli/options.h"
#include "translator/cpu.h"

struct stats {
    struct counters counters;
    uint64_t callouts[CALLOUT_COUNT];
    double wall_seconds, user_seconds, system_seconds; /* of the vCPU processes */
    long max_rss_kib;
    unsigned boots;
    const char *exit; /* why the last one ended */
};

void stats_add(struct stats *stats, const struct counters *counters, const struct cpu *cpu,
               const struct rusage *usage, double wall_seconds);
/* To standard error. */
void stats_print(const struct stats *stats, enum stats_format format);

#endif
