/* Trace filters: see trace_filter.h. */
#include "inspect/trace_filter.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX_LEN 255
#define ALL_CPLS 0xfu

/* Hexadecimal, with or without 0x; `*end` is behind it. */
static bool parse_hex(const char *text, const char **end, uint32_t *value) {
    char *stop;
    if (!isxdigit((unsigned char)*text))
        return false;
    unsigned long long number = strtoull(text, &stop, 16);
    *value = (uint32_t)number;
    *end = stop;
    return number <= UINT32_MAX;
}

static bool parse_range(struct trace_filter *filter, const char *text) {
    const char *end;
    if (!parse_hex(text, &end, &filter->start))
        return false;
    filter->end = filter->start;
    if (*end == '-' && !parse_hex(end + 1, &end, &filter->end))
        return false;
    return !*end && filter->start <= filter->end;
}

static bool parse_cpl(struct trace_filter *filter, const char *text) {
    if (text[0] < '0' || text[0] > '3' || text[1])
        return false;
    filter->cpls = (uint8_t)(1u << (text[0] - '0'));
    return true;
}

static bool parse_cr3(struct trace_filter *filter, const char *text) {
    const char *end;
    filter->any_cr3 = false;
    return parse_hex(text, &end, &filter->cr3) && !*end;
}

static int parse_symbol(struct trace_filter *filter, const char *name,
                        const struct symbols *symbols, struct error *error) {
    struct symbol found;
    if (!symbols)
        return error_set(error, "--log-filter 'symbol=%s': no symbols (give --symbols FILE)", name);
    if (!symbols_find(symbols, name, &found))
        return error_set(error, "--log-filter 'symbol=%s': there is no such symbol", name);
    gva_t next = symbols_next(symbols, found.address);
    filter->start = found.address;
    filter->end = next == UINT32_MAX ? next : next - 1;
    filter->by_symbol = true;
    return 0;
}

static int parse_word(struct trace_filter *filter, const char *word, const struct symbols *symbols,
                      struct error *error) {
    if (!strncmp(word, "eip=", 4) && parse_range(filter, word + 4))
        return 0;
    if (!strncmp(word, "cpl=", 4) && parse_cpl(filter, word + 4))
        return 0;
    if (!strncmp(word, "cr3=", 4) && parse_cr3(filter, word + 4))
        return 0;
    if (!strncmp(word, "symbol=", 7))
        return parse_symbol(filter, word + 7, symbols, error);
    return error_set(
        error, "--log-filter '%s': none of eip=START-END, symbol=NAME, cpl=0..3 and cr3=X", word);
}

int trace_filter_parse(struct trace_filter *filter, const char *text, const struct symbols *symbols,
                       struct error *error) {
    *filter = (struct trace_filter){.end = UINT32_MAX, .cpls = ALL_CPLS, .any_cr3 = true};
    for (;;) {
        char word[WORD_MAX_LEN + 1];
        size_t len = strcspn(text, ",");
        if (len > WORD_MAX_LEN)
            return error_set(error, "--log-filter: a condition of %zu characters is too long", len);
        memcpy(word, text, len);
        word[len] = '\0';
        if (parse_word(filter, word, symbols, error))
            return -1;
        if (!text[len])
            return 0;
        text += len + 1;
    }
}
