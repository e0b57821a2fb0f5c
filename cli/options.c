/* The command line, parsed with glibc's getopt_long_only: GNU long options, and the same words
 * with one dash, which QEMU users have in their fingers. One row of `long_options` an option, one
 * case of `apply_option` what it means. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options_private.h"

#define MIB (1024ull * 1024)
#define MEMORY_DEFAULT (256 * MIB)
#define MEMORY_MIN (4 * MIB)
#define MEMORY_MAX (3584 * MIB)
#define CACHE_MIN (64u << 10)
#define CACHE_MAX (1024 * MIB)
#define GDB_PORT "1234" /* of -s */
#define REUSE_MAX 1000000u

enum option_id {
    OPTION_KERNEL = 256,
    OPTION_INITRD,
    OPTION_APPEND,
    OPTION_UNPACK,
    OPTION_MEMORY,
    OPTION_NO_REBOOT,
    OPTION_FIRMWARE,
    OPTION_SERIAL,
    OPTION_DEBUGCON,
    OPTION_NOGRAPHIC,
    OPTION_STATS,
    OPTION_LOG,
    OPTION_LOG_FILE,
    OPTION_LOG_FORMAT,
    OPTION_LOG_FILTER,
    OPTION_TRACE,
    OPTION_FLIGHT_RECORDER,
    OPTION_PERF_MAP,
    OPTION_PROFILE,
    OPTION_RATE,
    OPTION_ACCEL,
    OPTION_CALLOUT,
    OPTION_PLUGIN,
    OPTION_SYMBOLS,
    OPTION_GDB,
    OPTION_GDB_USUAL,
    OPTION_START_STOPPED,
    OPTION_WEB,
    OPTION_DEBUG,
    OPTION_HELP,
    OPTION_HELP_CALLOUTS,
    OPTION_HELP_INSTRUCTIONS,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"kernel", required_argument, NULL, OPTION_KERNEL},
    {"firmware", required_argument, NULL, OPTION_FIRMWARE},
    {"bios", required_argument, NULL, OPTION_FIRMWARE},
    {"initrd", required_argument, NULL, OPTION_INITRD},
    {"append", required_argument, NULL, OPTION_APPEND},
    {"unpack", required_argument, NULL, OPTION_UNPACK},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"m", required_argument, NULL, OPTION_MEMORY},
    {"no-reboot", no_argument, NULL, OPTION_NO_REBOOT},
    {"serial", required_argument, NULL, OPTION_SERIAL},
    {"debugcon", required_argument, NULL, OPTION_DEBUGCON},
    {"nographic", no_argument, NULL, OPTION_NOGRAPHIC},
    {"stats", optional_argument, NULL, OPTION_STATS},
    {"log", required_argument, NULL, OPTION_LOG},
    {"log-file", required_argument, NULL, OPTION_LOG_FILE},
    {"log-format", required_argument, NULL, OPTION_LOG_FORMAT},
    {"log-filter", required_argument, NULL, OPTION_LOG_FILTER},
    {"trace", required_argument, NULL, OPTION_TRACE},
    {"flight-recorder", optional_argument, NULL, OPTION_FLIGHT_RECORDER},
    {"perf-map", no_argument, NULL, OPTION_PERF_MAP},
    {"profile", required_argument, NULL, OPTION_PROFILE},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"accel", required_argument, NULL, OPTION_ACCEL},
    {"callout", required_argument, NULL, OPTION_CALLOUT},
    {"plugin", required_argument, NULL, OPTION_PLUGIN},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"web", required_argument, NULL, OPTION_WEB},
    {"system-map", required_argument, NULL, OPTION_SYMBOLS},
    {"gdb", required_argument, NULL, OPTION_GDB},
    {"s", no_argument, NULL, OPTION_GDB_USUAL},
    {"S", no_argument, NULL, OPTION_START_STOPPED},
    {"debug", required_argument, NULL, OPTION_DEBUG},
    {"help", no_argument, NULL, OPTION_HELP},
    {"h", no_argument, NULL, OPTION_HELP},
    {"help-callouts", no_argument, NULL, OPTION_HELP_CALLOUTS},
    {"help-instructions", no_argument, NULL, OPTION_HELP_INSTRUCTIONS},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

bool options_parse_size(const char *text, uint64_t unit, uint64_t *bytes) {
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    switch (toupper((unsigned char)*end)) {
    case 0:
        break;
    case 'K':
        unit = 1024;
        break;
    case 'M':
        unit = MIB;
        break;
    case 'G':
        unit = 1024 * MIB;
        break;
    default:
        return false;
    }
    return !errno && !(*end && end[1]) && !__builtin_mul_overflow(number, unit, bytes);
}

static int parse_memory(struct options *options, const char *text, struct error *error) {
    uint64_t bytes;
    if (!options_parse_size(text, MIB, &bytes))
        return error_set(error, "--memory '%s': not a size such as 64M, 1G or 256 (MiB)", text);
    if (bytes < MEMORY_MIN || bytes > MEMORY_MAX)
        return error_set(error, "--memory '%s': out of range, 4M to 3584M", text);
    if (bytes % PAGE_SIZE)
        return error_set(error, "--memory '%s': not a multiple of 4K", text);
    options->memory = bytes;
    return 0;
}

static int parse_output(struct output *output, const char *option, const char *text,
                        struct error *error) {
    *output = (struct output){.kind = OUTPUT_FILE};
    if (!strcmp(text, "stdio")) {
        output->kind = OUTPUT_STDIO;
    } else if (!strcmp(text, "none")) {
        output->kind = OUTPUT_NONE;
    } else {
        output->path = strncmp(text, "file:", 5) ? text : text + 5;
        if (!*output->path)
            return error_set(error, "--%s '%s': empty file name", option, text);
    }
    return 0;
}

static int parse_stats(struct options *options, const char *text, struct error *error) {
    if (text && strcmp(text, "json") != 0 && strcmp(text, "text") != 0)
        return error_set(error, "--stats='%s': unknown format, only text and json", text);
    options->stats = text && !strcmp(text, "json") ? STATS_JSON : STATS_TEXT;
    return 0;
}

static int parse_unpack(struct options *options, const char *text, struct error *error) {
    bool keep = !strcmp(text, "keep");
    options->load.unpack = keep || !strcmp(text, "host") ? UNPACK_HOST : UNPACK_GUEST;
    options->keep_unpacked = keep;
    return options->load.unpack == UNPACK_HOST || !strcmp(text, "guest")
               ? 0
               : error_set(error, "--unpack '%s': none of keep, host and guest", text);
}

static int parse_accel(struct options *options, const char *text, struct error *error) {
    static const char *const names[] = {[ACCEL_BT] = "bt", [ACCEL_KVM] = "kvm"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(text, names[i])) {
            options->accel = (enum accel)i;
            return 0;
        }
    return error_set(error, "--accel '%s': neither bt nor kvm", text);
}

static int add_callout(struct options *options, const char *text, struct error *error) {
    if (options->callout_count == USER_CALLOUTS_MAX)
        return error_set(error, "--callout '%s': more than %d of them", text, USER_CALLOUTS_MAX);
    options->callouts[options->callout_count++] = text;
    return 0;
}

static int add_plugin(struct options *options, const char *text, struct error *error) {
    if (options->plugin_count == PLUGIN_OPTIONS_MAX)
        return error_set(error, "--plugin '%s': more than %d of them", text, PLUGIN_OPTIONS_MAX);
    options->plugins[options->plugin_count++] = text;
    return 0;
}

/* "START-END", linear addresses in hexadecimal. */
static bool parse_range(const char *text, struct injection *range) {
    char *dash, *end;
    if (!isxdigit((unsigned char)*text))
        return false;
    unsigned long long start = strtoull(text, &dash, 16);
    if (*dash != '-' || !isxdigit((unsigned char)dash[1]))
        return false;
    unsigned long long last = strtoull(dash + 1, &end, 16);
    range->start = (gva_t)start;
    range->end = (gva_t)last;
    return !*end && start <= last && last <= UINT32_MAX;
}

/* The switches with a value: 1 when `word` is none of them. */
static int parse_debug_value(struct options *options, const char *word, struct error *error) {
    struct engine_options *engine = &options->engine;
    if (!strncmp(word, "cache=", 6)) {
        if (options_parse_size(word + 6, 1, &engine->cache_bytes) && engine->cache_bytes >= CACHE_MIN &&
            engine->cache_bytes <= CACHE_MAX)
            return 0;
        return error_set(error, "--debug '%s': not a size from 64K to 1G", word);
    }
    if (!strcmp(word, "no-reuse") || !strncmp(word, "no-reuse=", 9)) {
        uint64_t every = 1;
        if (word[8] && (!options_parse_size(word + 9, 1, &every) || !every || every > REUSE_MAX))
            return error_set(error, "--debug '%s': not a number from 1 to 1000000", word);
        engine->no_reuse = (unsigned)every;
        engine->no_chain = true; /* every exit comes back to the run loop */
        return 0;
    }
    bool nmi = !strncmp(word, "inject-nmi=", 11);
    if (nmi || !strncmp(word, "inject=", 7)) {
        options->inject = true;
        engine->inject.nmi = nmi;
        if (parse_range(strchr(word, '=') + 1, &engine->inject))
            return 0;
        return error_set(error, "--debug '%s': not two linear addresses, as in c0100000-c010007f",
                         word);
    }
    if (!strncmp(word, "rows=", 5)) {
        if (!word[5])
            return error_set(error, "--debug '%s': empty file name", word);
        strcpy(options->rows_path, word + 5);
        engine->one_insn = true; /* what is translated is executed then */
        return 0;
    }
    return 1;
}

/* One word of --debug, `len` bytes long. */
static int parse_debug_word(struct options *options, const char *text, size_t len,
                            struct error *error) {
    struct engine_options *engine = &options->engine;
    const struct {
        const char *name;
        bool *flag;
        bool value;
    } flags[] = {
        {"no-chain", &engine->no_chain, true},
        {"one-insn", &engine->one_insn, true},
        {"no-jump-cache", &engine->no_jump_cache, true},
        {"no-loops", &engine->no_loops, true},
        {"no-sparse", &engine->no_sparse, true},
        {"flush-always", &engine->flush_always, true},
        {"evict-always", &engine->evict_always, true},
        {"no-prefault", &engine->no_prefault, true},
        {"past-windows", &engine->past_windows, true},
        {"live-immediates", &engine->live_immediates, true},
        {"far-stubs", &engine->far_stubs, true},
        {"no-bmi2", &engine->no_bmi2, true},
        {"no-renewal", &engine->no_renewal, true},
        {"progress", &engine->progress, true},
        {"no-sandbox", &engine->sandbox, false},
    };
    char word[sizeof options->rows_path];
    if (len >= sizeof word)
        return error_set(error, "--debug: a switch of %zu characters is too long", len);
    memcpy(word, text, len);
    word[len] = 0;
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
        if (!strcmp(flags[i].name, word)) {
            *flags[i].flag = flags[i].value;
            return 0;
        }
    int status = parse_debug_value(options, word, error);
    if (status <= 0)
        return status;
    return error_set(
        error,
        "--debug: unknown switch '%.64s' (no-chain one-insn no-jump-cache no-loops no-sparse no-reuse "
        "flush-always evict-always no-prefault past-windows live-immediates far-stubs no-bmi2 no-renewal cache=BYTES "
        "inject=START-END inject-nmi=START-END progress rows=FILE no-sandbox)",
        word);
}

static int parse_debug(struct options *options, const char *text, struct error *error) {
    for (;;) {
        size_t len = strcspn(text, ",");
        if (parse_debug_word(options, text, len, error))
            return -1;
        if (!text[len])
            return 0;
        text += len + 1;
    }
}

static int set_file(const char **file, const char *option, const char *value, struct error *error) {
    if (!*value)
        return error_set(error, "--%s: empty file name", option);
    *file = value;
    return 0;
}

/* Traces and profiles. */
static int apply_watching(struct options *options, int option, const char *value,
                          struct error *error) {
    switch (option) {
    case OPTION_LOG:
        return options_parse_log(options, value, error);
    case OPTION_LOG_FILE:
        return set_file(&options->trace.log_path, "log-file", value, error);
    case OPTION_LOG_FORMAT:
        return options_parse_log_format(options, value, error);
    case OPTION_LOG_FILTER:
        return options_add_filter(options, value, error);
    case OPTION_TRACE:
        return set_file(&options->trace.perfetto_path, "trace", value, error);
    case OPTION_FLIGHT_RECORDER:
        return options_parse_flight_recorder(options, value, error);
    case OPTION_PERF_MAP:
        options->trace.perf_map = true;
        return 0;
    case OPTION_PROFILE:
        return options_add_profile(options, value, error);
    default:
        return options_parse_rate(options, value, error);
    }
}

static int apply_option(struct options *options, int option, const char *value,
                        struct error *error) {
    bool demo = options->command == COMMAND_DEMO;
    if (option >= OPTION_LOG && option <= OPTION_RATE)
        return apply_watching(options, option, value, error);
    switch (option) {
    case OPTION_KERNEL:
        return demo ? error_set(error, "--kernel: `ring3 demo` brings its own")
                    : set_file(&options->load.kernel, "kernel", value, error);
    case OPTION_FIRMWARE:
        return demo ? error_set(error, "--firmware: `ring3 demo` takes none")
                    : set_file(&options->firmware, "firmware", value, error);
    case OPTION_INITRD:
        return demo ? error_set(error, "--initrd: `ring3 demo` takes none")
                    : set_file(&options->load.initrd, "initrd", value, error);
    case OPTION_APPEND:
        options->load.append = value;
        return 0;
    case OPTION_UNPACK:
        return parse_unpack(options, value, error);
    case OPTION_MEMORY:
        return parse_memory(options, value, error);
    case OPTION_NO_REBOOT:
        options->no_reboot = true;
        return 0;
    case OPTION_SERIAL:
        return parse_output(&options->serial, "serial", value, error);
    case OPTION_DEBUGCON:
        return parse_output(&options->debugcon, "debugcon", value, error);
    case OPTION_NOGRAPHIC:
        return parse_output(&options->serial, "serial", "stdio", error);
    case OPTION_STATS:
        return parse_stats(options, value, error);
    case OPTION_ACCEL:
        return parse_accel(options, value, error);
    case OPTION_CALLOUT:
        return add_callout(options, value, error);
    case OPTION_PLUGIN:
        return add_plugin(options, value, error);
    case OPTION_SYMBOLS:
        return set_file(&options->symbols, "symbols", value, error);
    case OPTION_GDB:
    case OPTION_GDB_USUAL:
        options->gdb = value ? value : GDB_PORT;
        return 0;
    case OPTION_START_STOPPED:
        options->start_stopped = true;
        return 0;
    case OPTION_WEB:
        options->web = value;
        return 0;
    case OPTION_DEBUG:
        return parse_debug(options, value, error);
    case OPTION_HELP:
        options->command = COMMAND_HELP;
        return 0;
    case OPTION_HELP_CALLOUTS:
        options->command = COMMAND_HELP_CALLOUTS;
        return 0;
    case OPTION_HELP_INSTRUCTIONS:
        options->command = COMMAND_HELP_INSTRUCTIONS;
        return 0;
    default:
        options->command = COMMAND_VERSION;
        return 0;
    }
}

/* What getopt refused, in words: `got` is ':' or '?', `word` the argument it stands at. */
static int refuse_option(int got, int option, const char *word, struct error *error) {
    if (got == ':')
        return error_set(error, "option '%s' needs a value", word);
    if (option >= OPTION_KERNEL)
        return error_set(error, "option '%s' takes no value", word);
    return error_set(error, "unknown or ambiguous option '%s' (see ring3 --help)", word);
}

static int parse_command(struct options *options, const char *word, struct error *error) {
    if (!strcmp(word, "run"))
        options->command = COMMAND_RUN;
    else if (!strcmp(word, "profile"))
        options->command = COMMAND_PROFILE;
    else if (!strcmp(word, "demo"))
        options->command = COMMAND_DEMO;
    else if (!strcmp(word, "bench"))
        options->command = COMMAND_BENCH;
    else if (!strcmp(word, "explain"))
        options->command = COMMAND_EXPLAIN;
    else if (!strcmp(word, "trace"))
        options->command = COMMAND_TRACE;
    else if (!strcmp(word, "symbols"))
        options->command = COMMAND_SYMBOLS;
    else if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        options->command = COMMAND_HELP;
    else if (!strcmp(word, "--version") || !strcmp(word, "-version"))
        options->command = COMMAND_VERSION;
    else
        return error_set(
            error, "unknown command '%s': run, demo, bench, explain or symbols (see ring3 --help)",
            word);
    return 0;
}

/* A kernel or firmware, and not both. */
static int check_guest(const struct options *options, struct error *error) {
    const struct load_options *load = &options->load;
    if (!load->kernel && !options->firmware)
        return error_set(error, "no kernel: give --kernel FILE (or --firmware FILE)");
    if (options->firmware && (load->kernel || load->initrd || load->append))
        return error_set(error, "--firmware: goes without --kernel, --initrd and --append");
    return 0;
}

/* What belongs to the translator has no meaning without it. */
static int check_accel(const struct options *options, struct error *error) {
    const struct engine_options *engine = &options->engine;
    if (options->accel == ACCEL_BT)
        return 0;
    if (options->callout_count)
        return error_set(error, "--callout '%s': only with --accel bt", options->callouts[0]);
    if (options->gdb)
        return error_set(error, "--gdb '%s': only with --accel bt", options->gdb);
    if (options->web)
        return error_set(error, "--web '%s': only with --accel bt", options->web);
    if (options->plugin_count)
        return error_set(error, "--plugin '%s': only with --accel bt", options->plugins[0]);
    if (engine->no_chain || engine->one_insn || engine->no_jump_cache || engine->no_loops || engine->no_sparse ||
        engine->far_stubs || engine->no_bmi2 || engine->no_renewal || engine->flush_always ||
        engine->no_prefault || engine->evict_always || engine->cache_bytes || engine->progress || options->inject)
        return error_set(error, "--debug: with --accel kvm there is only no-sandbox");
    return 0;
}

static bool has_options(const struct options *options) {
    return options->command == COMMAND_RUN || options->command == COMMAND_DEMO ||
           options->command == COMMAND_PROFILE || options->command == COMMAND_TRACE;
}

/* Everything behind argv[0], until something else than a machine is asked for. */
static int parse_words(struct options *options, int argc, char **argv, struct error *error) {
    int got;
    optind = 0; /* start anew, whoever parsed before */
    opterr = 0;
    while ((got = getopt_long_only(argc, argv, "+:", long_options, NULL)) != -1) {
        if (got == ':' || got == '?')
            return refuse_option(got, optopt, argv[optind - 1], error);
        if (apply_option(options, got, optarg, error))
            return -1;
        if (!has_options(options))
            return 0;
    }
    return optind < argc ? error_set(error, "unexpected argument '%s'", argv[optind]) : 0;
}

int options_parse(struct options *options, int argc, char **argv, struct error *error) {
    *options = (struct options){
        .memory = MEMORY_DEFAULT, .debugcon.kind = OUTPUT_STDERR, .engine.sandbox = true,
        .load.unpack = UNPACK_HOST, .keep_unpacked = true};
    if (argc < 2)
        return error_set(error,
                         "no command: run, demo, profile, bench, explain, trace or symbols (see ring3 --help)");
    if (parse_command(options, argv[1], error))
        return -1;
    if (!has_options(options))
        return 0;
    if (options->command == COMMAND_TRACE) {
        if (argc < 3 || argv[2][0] == '-')
            return error_set(error, "no file: ring3 trace FILE [options]");
        options->trace_file = argv[2];
        argv++;
        argc--;
    }
    if (parse_words(options, argc - 1, argv + 1, error))
        return -1;
    if (!has_options(options))
        return 0;
    if (check_accel(options, error) || options_check_trace(options, error))
        return -1;
    if (options->start_stopped && !options->gdb && !options->web)
        return error_set(error, "-S: nobody could start the guest: give --gdb, -s or --web, too");
    return options->command == COMMAND_DEMO || options->command == COMMAND_TRACE
               ? 0
               : check_guest(options, error);
}
