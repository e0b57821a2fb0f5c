/* The options of `ring3 explain` (explain.h). */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "cli/explain.h"

#define FRAGMENTS_DEFAULT 64u
#define FRAGMENTS_MAX 4096u

enum option_id {
    OPTION_HEX = 256,
    OPTION_SYMBOL,
    OPTION_SYMBOLS,
    OPTION_ADDRESS,
    OPTION_LENGTH,
    OPTION_MODE,
    OPTION_CPL,
    OPTION_SYNTAX,
    OPTION_HTML,
    OPTION_JSON,
    OPTION_COLD,
    OPTION_MAX,
    OPTION_SENSITIVE,
    OPTION_GDB,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"hex", required_argument, NULL, OPTION_HEX},
    {"symbol", required_argument, NULL, OPTION_SYMBOL},
    {"symbols", required_argument, NULL, OPTION_SYMBOLS},
    {"system-map", required_argument, NULL, OPTION_SYMBOLS},
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"length", required_argument, NULL, OPTION_LENGTH},
    {"mode", required_argument, NULL, OPTION_MODE},
    {"cpl", required_argument, NULL, OPTION_CPL},
    {"syntax", required_argument, NULL, OPTION_SYNTAX},
    {"html", required_argument, NULL, OPTION_HTML},
    {"json", no_argument, NULL, OPTION_JSON},
    {"cold", no_argument, NULL, OPTION_COLD},
    {"max", required_argument, NULL, OPTION_MAX},
    {"gdb", required_argument, NULL, OPTION_GDB},
    {"sensitive", no_argument, NULL, OPTION_SENSITIVE},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static int parse_number(const char *option, const char *text, int base, uint32_t low, uint32_t high,
                        uint32_t *value, struct error *error) {
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, base);
    if (end == text || *end || *text == '-' || *text == '+' || errno || number < low ||
        number > high)
        return error_set(error,
                         base == 16 ? "--%s '%s': not a hexadecimal number from %x to %x"
                                    : "--%s '%s': not a number from %u to %u",
                         option, text, low, high);
    *value = (uint32_t)number;
    return 0;
}

/* The index of `text` among `words`. */
static int parse_word(const char *option, const char *text, const char *const *words,
                      unsigned count, unsigned *index, struct error *error) {
    char all[64] = "";
    for (unsigned i = 0; i < count; i++) {
        if (!strcmp(words[i], text)) {
            *index = i;
            return 0;
        }
        strcat(strcat(all, i ? " " : ""), words[i]);
    }
    return error_set(error, "--%s '%s': none of %s", option, text, all);
}

static int parse_mode(struct explain_options *options, const char *text, struct error *error) {
    static const char *const modes[] = {
        [EXPLAIN_32] = "32", [EXPLAIN_16] = "16", [EXPLAIN_REAL] = "real", [EXPLAIN_VM86] = "v86"};
    unsigned mode = EXPLAIN_32;
    if (parse_word("mode", text, modes, 4, &mode, error))
        return -1;
    options->mode = (enum explain_mode)mode;
    options->has_mode = true;
    return 0;
}

static int parse_syntax(struct explain_options *options, const char *text, struct error *error) {
    static const char *const syntaxes[] = {[SYNTAX_INTEL] = "intel", [SYNTAX_ATT] = "att"};
    unsigned syntax = SYNTAX_INTEL;
    if (parse_word("syntax", text, syntaxes, 2, &syntax, error))
        return -1;
    options->syntax = (enum syntax)syntax;
    return 0;
}

static int parse_place(struct explain_options *o, int option, const char *value,
                       struct error *error) {
    if (option == OPTION_ADDRESS) {
        o->has_address = true;
        return parse_number("address", value, 16, 0, UINT32_MAX, &o->address, error);
    }
    o->has_length = true;
    return parse_number("length", value, 10, 1, 65536, &o->length, error);
}

static int apply(struct explain_options *o, int option, const char *value, struct error *error) {
    switch (option) {
    case OPTION_HEX:
        o->hex = value;
        return 0;
    case OPTION_SYMBOL:
        o->symbol = value;
        return 0;
    case OPTION_SYMBOLS:
        o->symbols = value;
        return 0;
    case OPTION_ADDRESS:
    case OPTION_LENGTH:
        return parse_place(o, option, value, error);
    case OPTION_MODE:
        return parse_mode(o, value, error);
    case OPTION_CPL:
        return parse_number("cpl", value, 10, 0, 3, &o->cpl, error);
    case OPTION_SYNTAX:
        return parse_syntax(o, value, error);
    case OPTION_HTML:
        o->html = value;
        return *value ? 0 : error_set(error, "--html: empty file name");
    case OPTION_JSON:
        o->json = true;
        return 0;
    case OPTION_COLD:
        o->cold = true;
        return 0;
    case OPTION_MAX:
        return parse_number("max", value, 10, 1, FRAGMENTS_MAX, &o->max, error);
    case OPTION_GDB:
        o->gdb = value;
        return 0;
    case OPTION_SENSITIVE:
        o->sensitive = true;
        return 0;
    default:
        o->help = true;
        return 0;
    }
}

static int check(const struct explain_options *o, struct error *error) {
    if (o->hex && o->file)
        return error_set(error, "--hex: goes without a file ('%s')", o->file);
    if (o->sensitive && (o->file || o->hex || o->symbol || o->html))
        return error_set(error, "--sensitive: goes without code of yours, and without --html");
    if (o->gdb && (o->hex || o->sensitive || o->has_mode || o->cpl))
        return error_set(error, "--gdb: goes without --hex, --sensitive, --mode and --cpl");
    if (o->hex && o->symbol)
        return error_set(error, "--symbol '%s': bytes have no symbols", o->symbol);
    if (o->symbol && o->has_address)
        return error_set(error, "--address: goes without --symbol");
    if (o->json && o->html)
        return error_set(error, "--json: goes without --html");
    if ((o->mode == EXPLAIN_REAL && o->cpl) || (o->mode == EXPLAIN_VM86 && o->cpl && o->cpl != 3))
        return error_set(error, "--cpl %u: real mode has none, and virtual-8086 mode is CPL 3",
                         o->cpl);
    return 0;
}

int explain_options_parse(struct explain_options *o, int argc, char **argv, struct error *error) {
    int got;
    *o = (struct explain_options){.max = FRAGMENTS_DEFAULT};
    optind = 0; /* start anew, whoever parsed before */
    opterr = 0;
    while ((got = getopt_long(argc, argv, "-:", long_options, NULL)) != -1) {
        if (got == ':')
            return error_set(error, "option '%s' needs a value", argv[optind - 1]);
        if (got == '?')
            return error_set(error,
                             "explain: unknown option or value at '%s' (see ring3 explain --help)",
                             argv[optind - 1]);
        if (got == 1 && o->file)
            return error_set(error, "unexpected argument '%s'", optarg);
        if (got == 1)
            o->file = optarg;
        else if (apply(o, got, optarg, error))
            return -1;
    }
    return check(o, error);
}
