/* Measurements by way of children that print lines (bench/guest/main.c and bench/linux/main.c say
 * which).
 *
 * Guests time themselves, by their TSC or by clock_gettime(). Their "begin" lines let us time the
 * same stretches from outside, so that a guest's clock that goes wrong is found out. */
#include "bench/host/measure.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NANO_SAMPLES_MAX = 16, PROBE_MEGACYCLES = 50 };
#define NANO_PATIENCE (60 * SECONDS_NS)
#define BOOT_PATIENCE (180 * SECONDS_NS)
#define LINUX_PATIENCE (600 * SECONDS_NS)
/* Cycles for DEC and JNZ: processors need one or two, TCG ten. */
#define EMULATED_CYCLES 100

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, unsigned count) {
    assert(count);
    qsort(values, count, sizeof *values, compare);
    return (values[count / 2] + values[(count - 1) / 2]) / 2;
}

static int fail(struct child *child, enum child_event event, const char *line,
                struct error *error) {
    const char *failed = strstr(line, "bench: failed ");
    if (event == CHILD_LINE && failed)
        return error_set(error, "%.400s", failed + strlen("bench: failed "));
    if (event == CHILD_LATE)
        return error_set(error, "no answer in time%s%.300s", *child->last ? "; it last said: " : "",
                         child->last);
    return error_set(error, "it ended%s%.400s", *child->last ? ": " : "", child->last);
}

/* What a nanobenchmark prints. */
struct nano_result {
    double cycles[NANO_SAMPLES_MAX]; /* an operation */
    unsigned count;
    double clock; /* time by the guest's TSC over ours, of the sample where they are closest */
};

/* Whoever is kept waiting makes them differ for one sample; a clock that is wrong, for all. */
static void compare_clock(struct nano_result *result, double guest_ns, uint64_t begun) {
    double clock = begun ? guest_ns / (double)(now_ns() - begun) : 0;
    if (fabs(clock - 1) < fabs(result->clock - 1))
        result->clock = clock;
}

static void take_sample(struct nano_result *result, const char *line, uint64_t begun,
                        double tsc_hz) {
    unsigned operations;
    unsigned long long cycles;
    const char *text = strstr(line, "bench: sample ");
    if (!text || sscanf(text, "bench: sample %x %llx", &operations, &cycles) != 2 || !operations ||
        !cycles || result->count == NANO_SAMPLES_MAX)
        return;
    result->cycles[result->count++] = (double)cycles / operations;
    compare_clock(result, (double)cycles / tsc_hz * 1e9, begun);
}

static int read_nano(struct child *child, double tsc_hz, struct nano_result *result,
                     struct error *error) {
    char line[CHILD_LINE_MAX] = "";
    uint64_t deadline = now_ns() + NANO_PATIENCE, begun = 0;
    for (;;) {
        enum child_event event = child_read(child, line, sizeof line, deadline);
        if (event != CHILD_LINE || strstr(line, "bench: failed "))
            return fail(child, event, line, error);
        if (strstr(line, "bench: begin"))
            begun = now_ns();
        take_sample(result, line, begun, tsc_hz);
        if (!strstr(line, "bench: done"))
            continue;
        return result->count ? 0 : error_set(error, "no samples");
    }
}

/* One boot of the bare guest. */
static int run_nano(enum column_id id, const struct setting *setting, const char *append,
                    struct nano_result *result, struct error *error) {
    struct command command;
    struct child child = {0};
    command_nano(&command, id, setting->places, append);
    int rc = child_start(&child, command.argv);
    if (rc)
        return error_set(error, "%s: %s", command.argv[0], strerror(-rc));
    rc = read_nano(&child, setting->tsc_hz, result, error);
    child_stop(&child);
    return rc;
}

void measure_probe(struct column *column, enum column_id id, const struct setting *setting) {
    struct nano_result result = {0};
    struct command command;
    struct error error;
    char append[64];
    column->usable = true;
    if (id == COLUMN_NATIVE)
        return;
    snprintf(append, sizeof append, "row=loop cycles=%d samples=8", PROBE_MEGACYCLES);
    command_nano(&command, id, setting->places, append);
    command_text(&command, column->command, sizeof column->command);
    column->usable = !run_nano(id, setting, append, &result, &error);
    if (!column->usable) {
        snprintf(column->reason, sizeof column->reason, "%s", error.text);
        return;
    }
    bool hardware = id == COLUMN_RING3_KVM || id == COLUMN_QEMU_KVM;
    column->emulated = hardware && median(result.cycles, result.count) > EMULATED_CYCLES;
    column->probe_clock = result.clock;
}

static int start_server(struct column *column, enum column_id id, const struct setting *setting,
                        unsigned cache_kib, struct error *error) {
    struct command command;
    char line[CHILD_LINE_MAX] = "";
    command_linux(&command, id, setting->places,
                  "console=ttyS0 quiet panic=-1 mitigations=off "
                  "ring3.run=/programs/ring3-bench-guest serve",
                  setting->mib, cache_kib);
    command_text(&command, column->command, sizeof column->command);
    int rc = child_start(&column->server, command.argv);
    if (rc)
        return error_set(error, "%s: %s", command.argv[0], strerror(-rc));
    uint64_t deadline = now_ns() + BOOT_PATIENCE;
    while (!strstr(line, "bench: ready")) {
        enum child_event event = child_read(&column->server, line, sizeof line, deadline);
        if (event != CHILD_LINE)
            return fail(&column->server, event, line, error);
    }
    return 0;
}

/* The result line, with the time from outside added to the column's. */
static int read_linux(struct column *column, const struct row *row, struct sample *sample,
                      struct error *error) {
    char line[CHILD_LINE_MAX] = "", name[64];
    uint64_t deadline = now_ns() + LINUX_PATIENCE, begun = 0;
    unsigned count;
    unsigned long long ns;
    for (;;) {
        enum child_event event = child_read(&column->server, line, sizeof line, deadline);
        if (event != CHILD_LINE || strstr(line, "bench: failed "))
            return fail(&column->server, event, line, error);
        if (strstr(line, "bench: begin"))
            begun = now_ns();
        const char *text = strstr(line, "bench: result ");
        if (!text)
            continue;
        if (sscanf(text, "bench: result %63s %u %llu %x", name, &count, &ns, &sample->checksum) !=
                4 ||
            strcmp(name, row->name) != 0 || !count || !ns)
            return error_set(error, "not a result: %.200s", line);
        column->guest_ns += ns;
        column->host_ns += begun ? now_ns() - begun : 0;
        sample->value = (double)ns / count;
        return 0;
    }
}

static int ask(struct column *column, const struct row *row, const struct setting *setting,
               struct error *error) {
    char request[128];
    snprintf(request, sizeof request, "%s %s %d\n", row->name, setting->quick ? "quick" : "full",
             setting->quick ? 20 : 200);
    int rc = child_send(&column->server, request);
    return rc ? error_set(error, "cannot be asked: %s", strerror(-rc)) : 0;
}

static int measure_served(struct column *column, enum column_id id, const struct row *row,
                          const struct setting *setting, struct sample *sample,
                          struct error *error) {
    if (!column->server.pid && start_server(column, id, setting, 0, error))
        return -1;
    if (ask(column, row, setting, error))
        return -1;
    if (row->section != SECTION_NANO)
        return read_linux(column, row, sample, error);
    struct nano_result result = {0};
    if (read_nano(&column->server, setting->tsc_hz, &result, error))
        return -1;
    sample->value = median(result.cycles, result.count);
    return 0;
}

static int measure_nano(enum column_id id, const struct row *row, const struct setting *setting,
                        struct sample *sample, struct error *error) {
    struct nano_result result = {0};
    char append[64];
    snprintf(append, sizeof append, "row=%s cycles=%d samples=5", strchr(row->name, '.') + 1,
             setting->quick ? 2 : 20);
    if (run_nano(id, setting, append, &result, error))
        return -1;
    sample->value = median(result.cycles, result.count);
    return 0;
}

/* From here to the line that the initramfs prints first. */
static int measure_boot(enum column_id id, const struct setting *setting, unsigned mib, struct sample *sample,
                        struct error *error) {
    struct command command;
    struct child child = {0};
    char line[CHILD_LINE_MAX] = "";
    enum child_event event = CHILD_LINE;
    command_linux(&command, id, setting->places,
                  "console=ttyS0 quiet panic=-1 mitigations=off ring3.run=/bin/true", mib, 0);
    uint64_t start = now_ns();
    int rc = child_start(&child, command.argv);
    if (rc)
        return error_set(error, "%s: %s", command.argv[0], strerror(-rc));
    while (event == CHILD_LINE && !strstr(line, "ring3: init, up"))
        event = child_read(&child, line, sizeof line, start + BOOT_PATIENCE);
    sample->value = (double)(now_ns() - start);
    rc = event == CHILD_LINE ? 0 : fail(&child, event, line, error);
    child_stop(&child);
    return rc;
}

/* In a guest that is started for it. */
static int measure_with_cache(struct column *column, enum column_id id, const struct row *row,
                              const struct setting *setting, struct sample *sample, struct error *error) {
    struct column own = {.usable = true};
    int rc = start_server(&own, id, setting, row->cache_kib, error);
    if (!rc)
        rc = ask(&own, row, setting, error);
    if (!rc)
        rc = read_linux(&own, row, sample, error);
    child_stop(&own.server);
    column->guest_ns += own.guest_ns;
    column->host_ns += own.host_ns;
    return rc;
}

int measure_row(struct column *column, enum column_id id, const struct row *row,
                const struct setting *setting, struct sample *sample, struct error *error) {
    assert(column_has_row(column, id, row));
    *sample = (struct sample){0};
    if (row->section == SECTION_BOOT || row->guest_mib)
        return measure_boot(id, setting, row->guest_mib ? row->guest_mib : setting->mib, sample, error);
    if (row->section == SECTION_NANO && id != COLUMN_NATIVE)
        return measure_nano(id, row, setting, sample, error);
    if (row->cache_kib && id != COLUMN_NATIVE)
        return measure_with_cache(column, id, row, setting, sample, error);
    int rc = measure_served(column, id, row, setting, sample, error);
    if (rc)
        child_stop(&column->server);
    return rc;
}
