/* The command: what is there, what is measured, and the reports.
 *
 * 1. options and output files, so that a wrong one is refused before an hour is spent
 * 2. each column proves by one short guest that it works
 * 3. rounds: row by row, each row in all columns one after the other, starting with another column
 *    each round; so what disturbs the machine disturbs all of them
 * 4. table, JSON, HTML */
#include "bench/host/bench.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/host/options.h"
#include "bench/host/report.h"
#include "bench/host/results.h"
#include "bench/host/say.h"

enum { GUEST_BASE_MIB = 192, CLOCK_TOLERANCE_PERCENT = 2 };
#define BUSY_LOAD 0.5

struct session {
    const struct bench_options *options;
    struct places places;
    struct results results;
    FILE *json, *html;
};

/* Appending does not empty a file that is there: only results do. */
static int open_output(FILE **file, const char *option, const char *path, struct error *error) {
    if (!path)
        return 0;
    *file = fopen(path, "ae");
    return *file ? 0 : error_set(error, "--%s '%s': %s", option, path, strerror(errno));
}

static void leave_out_linux(struct session *session) {
    struct results *results = &session->results;
    struct error error;
    bool wanted = false;
    for (unsigned section = SECTION_BOOT; section < SECTION_COUNT; section++)
        wanted = wanted || selection_has_section(&results->selection, section);
    if (!wanted)
        return;
    if (!places_check_linux(&session->places, &error)) {
        say_progress("making the initramfs");
        if (!places_make_initramfs(&session->places, &error))
            return;
    }
    results_note(results, "boot, kernel, growth and program rows are left out: %s", error.text);
    for (unsigned section = SECTION_BOOT; section < SECTION_COUNT; section++)
        selection_drop_section(&results->selection, section);
}

static unsigned guest_mib(const struct selection *selection) {
    unsigned most = 64;
    for (unsigned i = 0; i < selection->count; i++)
        if (selection->rows[i]->mib > most)
            most = selection->rows[i]->mib;
    return GUEST_BASE_MIB + most;
}

/* Why a column cannot be used, before anything is started. NULL: nothing is known against it. */
static const char *obstacle(const struct session *session, enum column_id id) {
    bool qemu = id == COLUMN_QEMU_TCG || id == COLUMN_QEMU_KVM;
    struct error error;
    if (!(session->options->columns & 1u << id))
        return "not asked for";
    if (qemu && !*session->places.qemu)
        return "no qemu-system-i386 or qemu-system-x86_64 in PATH";
    if (id == COLUMN_NATIVE && places_check_linux(&session->places, &error))
        return "the Linux program or its busybox is not there";
    return NULL;
}

static void probe_columns(struct session *session, const struct setting *setting) {
    struct results *results = &session->results;
    for (unsigned c = 0; c < COLUMN_COUNT; c++) {
        struct column *column = &results->columns[c];
        const char *reason = obstacle(session, c);
        say_progress("trying %s", column_title(c));
        if (reason)
            snprintf(column->reason, sizeof column->reason, "%s", reason);
        else
            measure_probe(column, c, setting);
        if (!column->usable && session->options->columns & 1u << c)
            results_note(results, "%s is left out: %s", column_title(c), column->reason);
        if (column->emulated)
            results_note(results,
                         "%s: this /dev/kvm emulates instruction by instruction; it is shown for "
                         "nanobenchmarks only, and is in no mean",
                         column_title(c));
    }
}

static void measure_cell(struct results *results, unsigned row, enum column_id id,
                         const struct setting *setting) {
    struct cell *cell = &results->cells[row][id];
    struct column *column = &results->columns[id];
    const char *name = results->selection.rows[row]->name;
    struct sample sample;
    struct error error;
    if (cell->failed || !column_has_row(column, id, results->selection.rows[row]))
        return;
    if (measure_row(column, id, results->selection.rows[row], setting, &sample, &error)) {
        results_note(results, "%s failed in %s: %s", name, column_title(id), error.text);
    } else if (!results_checksum_agrees(results, row, sample.checksum)) {
        results_note(results, "%s computed %08x in %s, and something else elsewhere", name,
                     sample.checksum, column_title(id));
    } else {
        cell->checksum = sample.checksum;
        cell->samples[cell->count++] = sample.value;
        return;
    }
    cell->failed = true;
    results->failures++;
}

static void run_rounds(struct results *results, const struct setting *setting) {
    for (unsigned round = 0; round < results->rounds; round++)
        for (unsigned row = 0; row < results->selection.count; row++)
            for (unsigned k = 0; k < COLUMN_COUNT; k++) {
                enum column_id id = (round + k) % COLUMN_COUNT;
                say_progress("round %u of %u, row %u of %u: %s, %s", round + 1, results->rounds,
                             row + 1, results->selection.count, results->selection.rows[row]->name,
                             column_title(id));
                measure_cell(results, row, id, setting);
            }
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        child_stop(&results->columns[c].server);
    say_progress_end();
}

/* Guests time themselves: says so when such a clock and ours differ. Short stretches prove
 * nothing. */
static void compare_clocks(struct results *results) {
    for (unsigned c = COLUMN_NATIVE + 1; c < COLUMN_COUNT; c++) {
        const struct column *column = &results->columns[c];
        double linux_clock = column->host_ns > SECONDS_NS / 2
                                 ? (double)column->guest_ns / (double)column->host_ns
                                 : 1;
        double tsc = column->probe_clock > 0 ? column->probe_clock : 1;
        if (fabs(linux_clock - 1) * 100 > CLOCK_TOLERANCE_PERCENT)
            results_note(results, "%s: the Linux guest's clock shows %.3f of the host's time",
                         column_title(c), linux_clock);
        if (fabs(tsc - 1) * 100 > CLOCK_TOLERANCE_PERCENT)
            results_note(results, "%s: the guest's TSC shows %.3f of the host's time",
                         column_title(c), tsc);
    }
}

/* 0, or 1 with a line. */
static int finish_output(FILE **file, const char *path, int written) {
    if (!*file)
        return 0;
    bool bad = written || fflush(*file) || ferror(*file);
    bad = fclose(*file) || bad;
    *file = NULL;
    if (bad) {
        say("cannot write '%s': %s", path, errno ? strerror(errno) : "out of memory");
        return 1;
    }
    return 0;
}

/* False: there is none. What is no ordinary file cannot be emptied, and need not be. */
static bool empty_output(FILE *file) { return file && (!ftruncate(fileno(file), 0) || errno); }

static int report(struct session *session) {
    const struct bench_options *options = session->options;
    int written = 0, failures = 0;
    table_print(&session->results);
    if (fflush(stdout) || ferror(stdout)) {
        say("cannot write to standard output: %s", strerror(errno));
        failures++;
    }
    errno = 0;
    if (empty_output(session->json))
        written = json_write(&session->results, session->json);
    failures += finish_output(&session->json, options->json, written);
    errno = 0;
    if (empty_output(session->html))
        html_write(&session->results, session->html);
    failures += finish_output(&session->html, options->html, 0);
    return failures || session->results.failures ? 1 : 0;
}

static int run(struct session *session) {
    struct results *results = &session->results;
    machine_info_read(&results->machine, session->places.qemu);
    if (results->machine.load_before > BUSY_LOAD)
        results_note(results,
                     "the load is %.2f: what else runs on this machine disturbs the figures",
                     results->machine.load_before);
    leave_out_linux(session);
    results->guest_mib = guest_mib(&results->selection);
    struct setting setting = {.places = &session->places,
                              .quick = results->quick,
                              .mib = results->guest_mib,
                              .tsc_hz = results->machine.tsc_hz};
    setenv("RING3_BENCH_BUSYBOX", session->places.busybox, 1);
    if (!results->selection.count)
        return 1; /* the reason is said already */
    probe_columns(session, &setting);
    run_rounds(results, &setting);
    compare_clocks(results);
    machine_info_finish(&results->machine);
    return report(session);
}

static int run_session(const struct bench_options *options) {
    struct error error;
    /* On the heap for its size. */
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        say("out of memory");
        return 1;
    }
    session->options = options;
    session->results.quick = options->quick;
    session->results.rounds = options->rounds;
    session->results.selection = options->selection;
    int status = 2;
    if (places_find(&session->places, &error) ||
        open_output(&session->json, "json", options->json, &error) ||
        open_output(&session->html, "html", options->html, &error))
        say("%s", error.text);
    else
        status = run(session);
    places_release(&session->places);
    if (session->json)
        fclose(session->json);
    if (session->html)
        fclose(session->html);
    free(session);
    return status;
}

int bench_main(int argc, char **argv) {
    struct bench_options options;
    struct error error;
    signal(SIGPIPE, SIG_IGN); /* a child that died is an errno */
    if (bench_options_parse(&options, argc, argv, &error)) {
        say("%s", error.text);
        return 2;
    }
    if (options.action == BENCH_RUN)
        return run_session(&options);
    if (options.action == BENCH_LIST)
        rows_print();
    else
        bench_options_help();
    return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
