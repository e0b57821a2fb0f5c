/* The table for the terminal: sections, rows, and for each column value, spread and ratios. */
#include <math.h>
#include <string.h>

#include "bench/host/report.h"

enum { NAME_WIDTH = 22, VALUE_WIDTH = 16, RATIO_WIDTH = 10 };

static void print_ratio(double ratio, const char *mark) {
    char text[32] = "";
    if (isfinite(ratio))
        snprintf(text, sizeof text, "%.*f%s", ratio < 100 ? 2 : 0, ratio, mark);
    printf("%*s", RATIO_WIDTH, text);
}

static void print_heads(const struct results *results, enum section section) {
    printf("%-*s", NAME_WIDTH, "");
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results_has_column(results, section, c))
            printf("%*s", VALUE_WIDTH, column_title(c));
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, section, c, results_bases[b]))
                printf("%*s", RATIO_WIDTH, column_name(c));
    if (section == SECTION_NANO)
        printf("  VMware 2006");
    printf("\n%-*s", NAME_WIDTH, "");
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results_has_column(results, section, c))
            printf("%*s", VALUE_WIDTH, results->columns[c].emulated ? "emulated" : "");
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, section, c, results_bases[b]))
                printf("%*s", RATIO_WIDTH, b ? "/qemu-tcg" : "/native");
    printf("%s\n", section == SECTION_NANO ? "  native BT hw" : "");
}

static void print_value(const struct results *results, unsigned row, enum column_id column) {
    char value[32], text[64];
    double spread = results_spread(results, row, column);
    results_format(results->selection.rows[row]->section, results_median(results, row, column),
                   value, sizeof value);
    if (results->cells[row][column].failed)
        snprintf(text, sizeof text, "failed");
    else if (isfinite(spread))
        snprintf(text, sizeof text, "%s ~%.0f%%", value, spread * 100);
    else
        snprintf(text, sizeof text, "%s", value);
    printf("%*s", VALUE_WIDTH, text);
}

static void print_row(const struct results *results, unsigned i) {
    const struct row *row = results->selection.rows[i];
    printf("%-*s", NAME_WIDTH, row->name);
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results_has_column(results, row->section, c))
            print_value(results, i, c);
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, row->section, c, results_bases[b]))
                print_ratio(results_ratio(results, i, c, results_bases[b]), "");
    if (row->vmware.translated > 0)
        printf("  %.0f %.0f %.0f", row->vmware.native, row->vmware.translated,
               row->vmware.hardware);
    printf("\n");
}

/* Groups of programs get a mean of their own: "int." and so on. */
static void print_mean(const struct results *results, enum section section, const char *prefix,
                       const char *title) {
    unsigned columns = 0, rows;
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        columns += results_has_column(results, section, c);
    if (!results_has_mean(results, section, prefix))
        return;
    printf("%-*s%*s", NAME_WIDTH, title, (int)columns * VALUE_WIDTH, "geometric mean");
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, section, c, results_bases[b]))
                print_ratio(results_mean(results, section, prefix, c, results_bases[b], &rows), "");
    printf("\n");
}

static void print_section(const struct results *results, enum section section) {
    printf("\n%s\n", section_title(section));
    print_heads(results, section);
    for (unsigned i = 0; i < results->selection.count; i++)
        if (results->selection.rows[i]->section == section)
            print_row(results, i);
    if (section == SECTION_PROGRAM) {
        print_mean(results, section, "int.", "integer");
        print_mean(results, section, "fp.", "floating point");
        print_mean(results, section, "mem.", "memory");
    }
    if (section != SECTION_GROWTH)
        print_mean(results, section, "", "all");
}

void table_print(const struct results *results) {
    const struct machine_info *machine = &results->machine;
    printf("%s, %u core%s%s, %lu MiB, %s; load %.2f before, %.2f after\n", machine->cpu,
           machine->cores, machine->cores == 1 ? "" : "s", machine->virtual ? " (virtual)" : "",
           machine->memory_mib, machine->kernel, machine->load_before, machine->load_after);
    printf("%s%u round%s; value: median, ~: from the smallest to the largest\n",
           results->quick ? "quick sizes, " : "", results->rounds, results->rounds == 1 ? "" : "s");
    for (unsigned section = 0; section < SECTION_COUNT; section++)
        if (selection_has_section(&results->selection, section))
            print_section(results, section);
    if (results->note_count)
        printf("\n");
    for (unsigned i = 0; i < results->note_count; i++)
        printf("note: %s\n", results->notes[i]);
}
