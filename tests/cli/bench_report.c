/* Looks at what `ring3 bench` wrote: bench_report JSON HTML ROW...
 *
 * The JSON must describe the host and hold exactly the rows that are named, each with finite
 * figures in column ring3-bt and the same checksum in all columns. The HTML must nest properly,
 * hold one chart at least, and refer to nothing outside itself. */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned failures;

__attribute__((format(printf, 1, 2))) static void wrong(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    failures++;
}

static void check_number(const char *where, const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number <= 0)
        wrong("%s: %s is no positive number", where, name);
}

static void check_text(const char *where, const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || !*text)
        wrong("%s: no text %s", where, name);
}

static void check_cell(const char *row, const char *column, const json_t *cell, size_t rounds) {
    char where[128];
    snprintf(where, sizeof where, "%s in %s", row, column);
    const json_t *samples = json_object_get(cell, "samples");
    double median = json_number_value(json_object_get(cell, "median"));
    double low = INFINITY, high = 0;
    if (json_is_true(json_object_get(cell, "failed")))
        wrong("%s failed", where);
    if (json_array_size(samples) != rounds)
        wrong("%s: %zu samples, not %zu", where, json_array_size(samples), rounds);
    for (size_t i = 0; i < json_array_size(samples); i++) {
        double sample = json_number_value(json_array_get(samples, i));
        low = fmin(low, sample);
        high = fmax(high, sample);
    }
    check_number(where, cell, "median");
    if (!(low > 0) || !(low <= median) || !(median <= high) || !isfinite(high))
        wrong("%s: median %g of samples from %g to %g", where, median, low, high);
    double spread = json_number_value(json_object_get(cell, "spread"));
    if (rounds > 1 && fabs(spread - (high - low) / median) > 1e-6)
        wrong("%s: spread %g of samples from %g to %g", where, spread, low, high);
}

/* over_native and over_tcg are quotients of the medians beside them. */
static void check_ratio(const char *row, const json_t *cells, const json_t *cell, const char *name,
                        const char *base) {
    const json_t *ratio = json_object_get(cell, name), *other = json_object_get(cells, base);
    if (!ratio)
        return;
    double expected = json_number_value(json_object_get(cell, "median")) /
                      json_number_value(json_object_get(other, "median"));
    if (!other || fabs(json_number_value(ratio) / expected - 1) > 1e-6)
        wrong("%s: %s is %g, not %g", row, name, json_number_value(ratio), expected);
}

static void check_row(const json_t *row, const char *name, size_t rounds) {
    json_t *cells = json_object_get(row, "cells"), *cell;
    const char *found = json_string_value(json_object_get(row, "name")), *column, *first = NULL;
    if (!found || strcmp(found, name) != 0) {
        wrong("row '%s' stands where %s should", found ? found : "", name);
        return;
    }
    check_text(name, row, "text");
    check_text(name, row, "unit");
    check_text(name, row, "section");
    if (!json_object_get(cells, "ring3-bt"))
        wrong("%s: nothing in ring3-bt", name);
    json_object_foreach(cells, column, cell) {
        const char *checksum = json_string_value(json_object_get(cell, "checksum"));
        check_cell(name, column, cell, rounds);
        check_ratio(name, cells, cell, "over_native", "native");
        check_ratio(name, cells, cell, "over_tcg", "qemu-tcg");
        if (first && checksum && strcmp(first, checksum) != 0)
            wrong("%s: checksums %s and %s", name, first, checksum);
        first = checksum ? checksum : first;
    }
}

static void check_json(const char *path, char **names, size_t count) {
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        wrong("%s:%d: %s", path, error.line, error.text);
        return;
    }
    const json_t *rows = json_object_get(root, "rows"), *host = json_object_get(root, "host");
    size_t rounds = (size_t)json_integer_value(json_object_get(root, "rounds"));
    check_text("root", root, "version");
    check_text("root", root, "date");
    check_text("host", host, "cpu");
    check_text("host", host, "kernel");
    check_number("host", host, "cores");
    check_number("host", host, "tsc_hz");
    if (json_array_size(json_object_get(root, "columns")) != 5)
        wrong("not five columns");
    if (json_array_size(rows) != count)
        wrong("%zu rows instead of %zu", json_array_size(rows), count);
    for (size_t i = 0; i < count && i < json_array_size(rows); i++)
        check_row(json_array_get(rows, i), names[i], rounds);
    json_decref(root);
}

static char *read_file(const char *path) {
    size_t size = 0, room = 1 << 20;
    char *text = malloc(room);
    FILE *file = fopen(path, "r");
    if (file && text)
        size = fread(text, 1, room - 1, file);
    if (file)
        fclose(file);
    if (!text || !size)
        return NULL;
    text[size] = 0;
    return text;
}

static bool is_void(const char *tag) { return !strcmp(tag, "meta") || !strcmp(tag, "!DOCTYPE"); }

/* Every element that is opened is closed, in order. Style text holds no '<'. */
static void check_nesting(const char *text) {
    char open[64][16];
    unsigned depth = 0;
    for (const char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        char tag[16] = "";
        bool closing = at[1] == '/';
        const char *name = at + 1 + closing, *end = strchr(at, '>');
        size_t len = strcspn(name, " />\n");
        if (!end || !len || len >= sizeof tag) {
            wrong("a tag that is none: %.30s", at);
            return;
        }
        memcpy(tag, name, len);
        if (closing) {
            if (!depth || strcmp(open[--depth], tag) != 0) {
                wrong("</%s> closes <%s>", tag, open[depth]);
                return;
            }
        } else if (end[-1] != '/' && !is_void(tag)) {
            if (depth == 64) {
                wrong("too deep");
                return;
            }
            memcpy(open[depth++], tag, sizeof tag);
        }
    }
    if (depth)
        wrong("<%s> is not closed", open[depth - 1]);
}

static void check_html(const char *path) {
    static const char *const outside[] = {"http:", "https:",  "src=",    "href=", "url(", "@import",
                                          "<link", "<script", "<iframe", ">nan<", " nan", ">inf<"};
    char *text = read_file(path);
    if (!text) {
        wrong("%s: empty", path);
        return;
    }
    if (strncmp(text, "<!DOCTYPE html>", 15) != 0 || !strstr(text, "</html>"))
        wrong("%s: no HTML page", path);
    for (unsigned i = 0; i < sizeof outside / sizeof *outside; i++)
        if (strstr(text, outside[i]))
            wrong("%s: it has %s", path, outside[i]);
    if (!strstr(text, "<svg") || !strstr(text, "<circle") || !strstr(text, "<table"))
        wrong("%s: no chart or no table", path);
    if (!strstr(text, "prefers-color-scheme: dark"))
        wrong("%s: no colours for dark", path);
    check_nesting(text);
    free(text);
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    check_json(argv[1], argv + 3, (size_t)argc - 3);
    check_html(argv[2]);
    return failures != 0;
}
