/* --stats, aligned for people and as JSON for machines. */
#include "cli/stats.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

_Static_assert(CALLOUT_COUNT <= sizeof((struct cpu *)0)->callout_counts / sizeof(uint64_t),
               "every callout class has a count");

static const char *const callout_names[CALLOUT_COUNT] = {
#define CALLOUT_TEXT(id, arg, operand, insns) [CALLOUT_##id] = #id,
    CALLOUTS(CALLOUT_TEXT)
#undef CALLOUT_TEXT
};

static double seconds(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void stats_add(struct stats *stats, const struct counters *counters, const struct cpu *cpu,
               const struct rusage *usage, double wall_seconds) {
#define COUNTER_ADD(name, text) stats->counters.name += counters->name;
    COUNTERS(COUNTER_ADD)
#undef COUNTER_ADD
    for (unsigned i = 0; i < CALLOUT_COUNT; i++)
        stats->callouts[i] += cpu->callout_counts[i];
    stats->wall_seconds += wall_seconds;
    stats->user_seconds += seconds(usage->ru_utime);
    stats->system_seconds += seconds(usage->ru_stime);
    if (usage->ru_maxrss > stats->max_rss_kib)
        stats->max_rss_kib = usage->ru_maxrss;
    stats->boots++;
}

static void print_row(const char *name, uint64_t value, const char *text) {
    fprintf(stderr, "%-20s %20" PRIu64 "  %s\n", name, value, text);
}

static void print_text(const struct stats *stats) {
    const struct counters *counters = &stats->counters;
#define COUNTER_ROW(name, text) print_row(#name, counters->name, text);
    COUNTERS(COUNTER_ROW)
#undef COUNTER_ROW
    if (counters->guest_insns)
        print_row("cycles_per_insn", counters->translate_cycles / counters->guest_insns,
                  "cycles spent translating a guest instruction");
    for (unsigned i = 0; i < CALLOUT_COUNT; i++)
        if (stats->callouts[i])
            fprintf(stderr, "callout %-12s %20" PRIu64 "\n", callout_names[i], stats->callouts[i]);
    fprintf(stderr,
            "%u boot%s, %.3f s, vCPU process %.3f s user %.3f s system, %ld KiB resident; "
            "ended by %s\n",
            stats->boots, stats->boots == 1 ? "" : "s", stats->wall_seconds, stats->user_seconds,
            stats->system_seconds, stats->max_rss_kib, stats->exit);
}

/* Fails only when memory runs out, and then the object lacks the member. */
static void put_count(json_t *object, const char *name, uint64_t value) {
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *to_json(const struct stats *stats) {
    json_t *counters = json_object(), *callouts = json_object(), *root = json_object();
#define COUNTER_JSON(name, text) put_count(counters, #name, stats->counters.name);
    COUNTERS(COUNTER_JSON)
#undef COUNTER_JSON
    for (unsigned i = 0; i < CALLOUT_COUNT; i++)
        put_count(callouts, callout_names[i], stats->callouts[i]);
    json_object_set_new(root, "counters", counters);
    json_object_set_new(root, "callouts", callouts);
    put_count(root, "boots", stats->boots);
    put_count(root, "max_rss_kib", (uint64_t)stats->max_rss_kib);
    json_object_set_new(root, "wall_seconds", json_real(stats->wall_seconds));
    json_object_set_new(root, "user_seconds", json_real(stats->user_seconds));
    json_object_set_new(root, "system_seconds", json_real(stats->system_seconds));
    json_object_set_new(root, "exit", json_string(stats->exit));
    return root;
}

void stats_print(const struct stats *stats, enum stats_format format) {
    assert(stats->exit);
    if (format == STATS_TEXT) {
        print_text(stats);
    } else if (format == STATS_JSON) {
        json_t *root = to_json(stats);
        json_dumpf(root, stderr, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        fputc('\n', stderr);
        json_decref(root);
    }
}
