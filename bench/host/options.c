/* Options, then rows. */
#include "bench/host/options.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/host/results.h"

enum { ROUNDS_FULL = 5, ROUNDS_QUICK = 2 };

static const char usage[] =
    "ring3 bench [--quick] [--rounds N] [--columns NAME,...] [--json FILE] [--html FILE] [ROW...]\n"
    "\n"
    "Runs the same work natively, in ring3 and in QEMU (where it is installed), in turn, and "
    "prints\n"
    "medians, spreads and ratios. ROW is a name, a group (int), a section (nano, boot, kernel,\n"
    "program, growth) or a pattern ('mem.*'); without any, all rows are run.\n"
    "\n"
    "  --quick            small sizes and two rounds: for a first look\n"
    "  --rounds N         how often everything is measured, 1 to 100 (default 5)\n"
    "  --columns NAME,... only these of native, ring3-bt, ring3-kvm, qemu-tcg, qemu-kvm\n"
    "  --json FILE        all samples and figures, for machines\n"
    "  --html FILE        one page with tables and charts; it needs no network\n"
    "  --list             print the rows\n"
    "\n"
    "Linux guests need what scripts/fetch-guest fetches (RING3_CACHE says where it is), and the\n"
    "programs beside ring3 (RING3_SHARE).\n";

void bench_options_help(void) { fputs(usage, stdout); }

enum {
    OPTION_QUICK = 256,
    OPTION_ROUNDS,
    OPTION_COLUMNS,
    OPTION_JSON,
    OPTION_HTML,
    OPTION_LIST,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"quick", no_argument, NULL, OPTION_QUICK},
    {"rounds", required_argument, NULL, OPTION_ROUNDS},
    {"columns", required_argument, NULL, OPTION_COLUMNS},
    {"json", required_argument, NULL, OPTION_JSON},
    {"html", required_argument, NULL, OPTION_HTML},
    {"list", no_argument, NULL, OPTION_LIST},
    {"help", no_argument, NULL, OPTION_HELP},
    {"h", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static int parse_rounds(struct bench_options *options, const char *text, struct error *error) {
    char *end;
    unsigned long rounds = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || rounds < 1 || rounds > ROUNDS_MAX)
        return error_set(error, "--rounds '%s': not a number from 1 to %d", text, ROUNDS_MAX);
    options->rounds = (unsigned)rounds;
    return 0;
}

static int parse_columns(struct bench_options *options, const char *text, struct error *error) {
    options->columns = 0;
    for (const char *at = text;; at++) {
        size_t len = strcspn(at, ",");
        unsigned id = 0;
        while (id < COLUMN_COUNT &&
               (strlen(column_name(id)) != len || strncmp(at, column_name(id), len) != 0))
            id++;
        if (id == COLUMN_COUNT)
            return error_set(error, "--columns: unknown column '%.*s' (see --help)",
                             (int)(len > 64 ? 64 : len), at);
        options->columns |= 1u << id;
        at += len;
        if (!*at)
            return 0;
    }
}

static int set_file(const char **file, const char *option, const char *value, struct error *error) {
    if (!*value)
        return error_set(error, "--%s: empty file name", option);
    *file = value;
    return 0;
}

static int apply(struct bench_options *options, int option, const char *value,
                 struct error *error) {
    switch (option) {
    case OPTION_QUICK:
        options->quick = true;
        return 0;
    case OPTION_ROUNDS:
        return parse_rounds(options, value, error);
    case OPTION_COLUMNS:
        return parse_columns(options, value, error);
    case OPTION_JSON:
        return set_file(&options->json, "json", value, error);
    case OPTION_HTML:
        return set_file(&options->html, "html", value, error);
    case OPTION_LIST:
        options->action = BENCH_LIST;
        return 0;
    default:
        options->action = BENCH_HELP;
        return 0;
    }
}

int bench_options_parse(struct bench_options *options, int argc, char **argv, struct error *error) {
    int got;
    *options = (struct bench_options){.columns = ~0u};
    optind = 0; /* start anew, whoever parsed before */
    opterr = 0;
    while ((got = getopt_long_only(argc, argv, ":", long_options, NULL)) != -1) {
        if (got == ':')
            return error_set(error, "option '%s' needs a value", argv[optind - 1]);
        if (got == '?')
            return error_set(
                error, "unknown, ambiguous or badly used option '%s' (see ring3 bench --help)",
                argv[optind - 1]);
        if (apply(options, got, optarg, error))
            return -1;
    }
    if (!options->rounds)
        options->rounds = options->quick ? ROUNDS_QUICK : ROUNDS_FULL;
    return rows_select(&options->selection, argv + optind, argc - optind, options->quick, error);
}
