/* Medians, spreads, ratios and means. */
#include "bench/host/results.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/host/say.h"

void results_note(struct results *results, const char *format, ...) {
    char line[CHILD_LINE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    say("%s", line);
    if (results->note_count < NOTES_MAX)
        memcpy(results->notes[results->note_count++], line, sizeof line);
}

bool results_checksum_agrees(const struct results *results, unsigned row, uint32_t checksum) {
    enum section section = results->selection.rows[row]->section;
    if (section != SECTION_PROGRAM && section != SECTION_GROWTH)
        return true;
    for (unsigned other = 0; other < COLUMN_COUNT; other++) {
        const struct cell *cell = &results->cells[row][other];
        if (cell->count)
            return cell->checksum == checksum;
    }
    return true;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static const struct cell *cell_at(const struct results *results, unsigned row,
                                  enum column_id column) {
    assert(row < results->selection.count && column < COLUMN_COUNT);
    return &results->cells[row][column];
}

double results_median(const struct results *results, unsigned row, enum column_id column) {
    const struct cell *cell = cell_at(results, row, column);
    double sorted[ROUNDS_MAX];
    if (!cell->count || cell->failed)
        return NAN;
    memcpy(sorted, cell->samples, sizeof *sorted * cell->count);
    qsort(sorted, cell->count, sizeof *sorted, compare);
    return (sorted[cell->count / 2] + sorted[(cell->count - 1) / 2]) / 2;
}

double results_spread(const struct results *results, unsigned row, enum column_id column) {
    const struct cell *cell = cell_at(results, row, column);
    double low = INFINITY, high = 0;
    if (cell->count < 2)
        return NAN;
    for (unsigned i = 0; i < cell->count; i++) {
        low = fmin(low, cell->samples[i]);
        high = fmax(high, cell->samples[i]);
    }
    return (high - low) / results_median(results, row, column);
}

double results_ratio(const struct results *results, unsigned row, enum column_id column,
                     enum column_id base) {
    return results_median(results, row, column) / results_median(results, row, base);
}

double results_mean(const struct results *results, enum section section, const char *prefix,
                    enum column_id column, enum column_id base, unsigned *rows) {
    double sum = 0;
    *rows = 0;
    if (results->columns[column].emulated || results->columns[base].emulated)
        return NAN;
    for (unsigned i = 0; i < results->selection.count; i++) {
        const struct row *row = results->selection.rows[i];
        double ratio = results_ratio(results, i, column, base);
        if (row->section != section || strncmp(row->name, prefix, strlen(prefix)) != 0 ||
            !isfinite(ratio) || ratio <= 0)
            continue;
        sum += log(ratio);
        ++*rows;
    }
    return *rows ? exp(sum / *rows) : NAN;
}

bool results_has_column(const struct results *results, enum section section,
                        enum column_id column) {
    for (unsigned i = 0; i < results->selection.count; i++)
        if (results->selection.rows[i]->section == section &&
            !isnan(results_median(results, i, column)))
            return true;
    return false;
}

const enum column_id results_bases[RESULTS_BASES] = {COLUMN_NATIVE, COLUMN_QEMU_TCG};

bool results_has_ratio(const struct results *results, enum section section, enum column_id column,
                       enum column_id base) {
    return column != base && results_has_column(results, section, column) &&
           results_has_column(results, section, base) &&
           !(base == COLUMN_QEMU_TCG && column == COLUMN_NATIVE);
}

bool results_has_mean(const struct results *results, enum section section, const char *prefix) {
    unsigned rows;
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        for (unsigned b = 0; b < RESULTS_BASES; b++) {
            results_mean(results, section, prefix, c, results_bases[b], &rows);
            if (c != (unsigned)results_bases[b] && rows >= 2)
                return true;
        }
    return false;
}

static void format_time(double ns, char *text, unsigned size) {
    static const struct {
        double ns;
        const char *name;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}, {1, "ns"}};
    unsigned i = 0;
    while (i < 3 && ns < units[i].ns)
        i++;
    double value = ns / units[i].ns;
    snprintf(text, size, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, units[i].name);
}

void results_format(enum section section, double value, char *text, unsigned size) {
    if (isnan(value))
        snprintf(text, size, "-");
    else if (section == SECTION_NANO)
        snprintf(text, size, "%.*f", value < 100 ? 1 : 0, value);
    else
        format_time(value, text, size);
}
