/* One page that needs nothing but itself: the host, and for each section a chart and a table. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "bench/host/chart.h"
#include "bench/host/curve.h"
#include "bench/host/report.h"

static const char head[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>ring3 bench</title>\n"
    "<style>\n"
    ":root { color-scheme: light dark; --page: #fcfcfb; --ink: #1c1c1a; --soft: #62625c;\n"
    "  --line: #e4e3de; --native: #1c1c1a; --bt: #2368c4; --kvm: #0d8a72; --tcg: #c9571a;\n"
    "  --qkvm: #8a4fbd; --past: #8d8c84; }\n"
    "@media (prefers-color-scheme: dark) { :root { --page: #191918; --ink: #ecebe6; --soft: "
    "#a3a29a;\n"
    "  --line: #34342f; --native: #ecebe6; --bt: #6fa8f0; --kvm: #3fc2a7; --tcg: #f08c52;\n"
    "  --qkvm: #c08fe8; --past: #8d8c84; } }\n"
    "body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--page);\n"
    "  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }\n"
    "h1 { font-size: 1.6rem; margin: 0 0 .3rem } h2 { font-size: 1.2rem; margin: 2.5rem 0 .6rem }\n"
    "p, li { color: var(--soft); margin: .2rem 0 }\n"
    ".wide { overflow-x: auto }\n"
    "table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums;\n"
    "  white-space: nowrap }\n"
    "th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line) }\n"
    "th { font-weight: 600 } th:first-child, td:first-child, td.text { text-align: left }\n"
    "td.text, .spread { color: var(--soft) } td.text { white-space: normal; min-width: 11rem } "
    "tr.mean td { font-weight: 600 }\n"
    "svg { width: 100%; max-width: 58rem; height: auto; margin: .4rem 0 1rem }\n"
    "svg text { font: 12px system-ui, sans-serif; fill: var(--ink) } svg .tick { fill: var(--soft) "
    "}\n"
    ".grid, .row { stroke: var(--line); stroke-width: 1 }\n"
    ".reference { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 4 3 }\n"
    ".native, .bt, .kvm, .tcg, .qkvm { stroke: var(--page); stroke-width: 1.5 }\n"
    ".native { fill: var(--native) } .bt { fill: var(--bt) } .kvm { fill: var(--kvm) }\n"
    ".tcg { fill: var(--tcg) } .qkvm { fill: var(--qkvm) }\n"
    ".line { fill: none; stroke-width: 2 } .native.line { stroke: var(--native) } .bt.line { stroke: var(--bt) }\n"
    ".kvm.line { stroke: var(--kvm) } .tcg.line { stroke: var(--tcg) } .qkvm.line { stroke: var(--qkvm) }\n"
    ".past { fill: none; stroke: var(--past); stroke-width: 1.5 }\n"
    "</style>\n"
    "</head>\n"
    "<body>\n";

static const struct {
    const char *style;
    enum chart_shape shape;
} looks[COLUMN_COUNT] = {
    [COLUMN_NATIVE] = {"native", CHART_CIRCLE},   [COLUMN_RING3_BT] = {"bt", CHART_CIRCLE},
    [COLUMN_RING3_KVM] = {"kvm", CHART_DIAMOND},  [COLUMN_QEMU_TCG] = {"tcg", CHART_SQUARE},
    [COLUMN_QEMU_KVM] = {"qkvm", CHART_TRIANGLE},
};

static void write_element(const char *tag, const char *text, FILE *file) {
    fprintf(file, "<%s>", tag);
    write_escaped(text, file);
    fprintf(file, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

static void write_host(const struct results *results, FILE *file) {
    const struct machine_info *machine = &results->machine;
    char line[512];
    write_element("h1", "ring3 bench", file);
    snprintf(line, sizeof line, "%s: %u core%s%s, %lu MiB, TSC %.0f MHz, %s", machine->cpu,
             machine->cores, machine->cores == 1 ? "" : "s",
             machine->virtual ? " of a virtual machine" : "", machine->memory_mib,
             machine->tsc_hz / 1e6, machine->kernel);
    write_element("p", line, file);
    if (*machine->qemu)
        write_element("p", machine->qemu, file);
    snprintf(line, sizeof line, "%s; %s%u round%s in turn; load %.2f before, %.2f after. ",
             machine->date, results->quick ? "quick sizes, " : "", results->rounds,
             results->rounds == 1 ? "" : "s", machine->load_before, machine->load_after);
    write_element("p", line, file);
    write_element("p",
                  "Figures are medians; the per cent behind one is the way from the smallest "
                  "sample to the largest. Axes are logarithmic: left is faster.",
                  file);
    if (results->note_count)
        fputs("<ul>\n", file);
    for (unsigned i = 0; i < results->note_count; i++)
        write_element("li", results->notes[i], file);
    if (results->note_count)
        fputs("</ul>\n", file);
}

/* The values of one section, laid out as a chart wants them. */
struct section_values {
    const char *names[ROWS_MAX];
    double columns[COLUMN_COUNT][ROWS_MAX];
    double native[ROWS_MAX], translated[ROWS_MAX], hardware[ROWS_MAX];
    unsigned count;
};

static double published(double value) { return value > 0 ? value : NAN; }

/* Times stand in milliseconds where they are not compared with native ones. */
static void collect(struct section_values *values, const struct results *results,
                    enum section section, bool over_native) {
    double unit = section == SECTION_NANO ? 1 : 1e6;
    values->count = 0;
    for (unsigned i = 0; i < results->selection.count; i++) {
        const struct row *row = results->selection.rows[i];
        if (row->section != section)
            continue;
        unsigned at = values->count++;
        values->names[at] = row->name;
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            values->columns[c][at] = over_native ? results_ratio(results, i, c, COLUMN_NATIVE)
                                                 : results_median(results, i, c) / unit;
        values->native[at] = published(row->vmware.native);
        values->translated[at] = published(row->vmware.translated);
        values->hardware[at] = published(row->vmware.hardware);
    }
}

static void add_series(struct chart *chart, const char *title, const char *style,
                       enum chart_shape shape, const double *values) {
    bool any = false;
    for (unsigned i = 0; i < chart->row_count; i++)
        any = any || isfinite(values[i]);
    assert(chart->series_count < CHART_SERIES_MAX);
    if (any)
        chart->series[chart->series_count++] = (struct chart_series){title, style, shape, values};
}

static void write_chart(const struct results *results, enum section section, FILE *file) {
    static struct section_values values;
    bool nano = section == SECTION_NANO;
    bool over_native = !nano && results_has_column(results, section, COLUMN_NATIVE);
    collect(&values, results, section, over_native);
    struct chart chart = {.title = section_title(section),
                          .axis = nano          ? "cycles"
                                  : over_native ? "time over native"
                                                : "milliseconds",
                          .reference = over_native ? 1 : 0,
                          .row_count = values.count,
                          .row_names = values.names};
    if (nano) {
        add_series(&chart, "VMware BT, 2006", "past", CHART_RING, values.translated);
        add_series(&chart, "VMware hardware, 2006", "past", CHART_TRIANGLE, values.hardware);
        add_series(&chart, "native, 2006", "past", CHART_SQUARE, values.native);
    }
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (!over_native || c != COLUMN_NATIVE)
            add_series(&chart, column_title(c), looks[c].style, looks[c].shape, values.columns[c]);
    chart_write(&chart, file);
}

/* The rows from `first` on that are alike, as a curve; returns the row behind them. */
static unsigned write_curve(const struct results *results, unsigned first, FILE *file) {
    static double sizes[ROWS_MAX], values[COLUMN_COUNT][ROWS_MAX];
    const struct row *row = results->selection.rows[first];
    char title[64];
    struct curve curve = {.title = title, .axis = title, .sizes = sizes};
    snprintf(title, sizeof title, "%.*s", (int)strcspn(row->name, "-"), row->name);
    unsigned i = first;
    for (; i < results->selection.count && rows_are_alike(row, results->selection.rows[i]); i++) {
        sizes[curve.count] = results->selection.rows[i]->size;
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            values[c][curve.count] = results_median(results, i, c);
        curve.count++;
    }
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (curve.count && results_has_column(results, SECTION_GROWTH, c))
            curve.series[curve.series_count++] =
                (struct chart_series){column_title(c), looks[c].style, looks[c].shape, values[c]};
    write_element("h3", row->text, file);
    curve_write(&curve, file);
    return i;
}

static void write_curves(const struct results *results, FILE *file) {
    unsigned i = 0;
    while (i < results->selection.count)
        if (results->selection.rows[i]->section == SECTION_GROWTH)
            i = write_curve(results, i, file);
        else
            i++;
}

static void write_number(double ratio, FILE *file) {
    if (isfinite(ratio))
        fprintf(file, "<td>%.*f</td>", ratio < 100 ? 2 : 0, ratio);
    else
        fputs("<td></td>", file);
}

static void write_heads(const struct results *results, enum section section, FILE *file) {
    fputs("<tr><th>row</th>", file);
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results_has_column(results, section, c))
            fprintf(file, "<th>%s%s</th>", column_title(c),
                    results->columns[c].emulated ? " (emulated)" : "");
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, section, c, results_bases[b]))
                fprintf(file, "<th>%s / %s</th>", column_title(c), b ? "TCG" : "native");
    fputs(section == SECTION_NANO ? "<th>VMware: native, BT, hardware</th>" : "", file);
    fputs("<th></th></tr>\n", file);
}

static void write_value(const struct results *results, unsigned row, enum column_id column,
                        FILE *file) {
    char value[32];
    double spread = results_spread(results, row, column);
    results_format(results->selection.rows[row]->section, results_median(results, row, column),
                   value, sizeof value);
    fprintf(file, "<td>%s", results->cells[row][column].failed ? "failed" : value);
    if (isfinite(spread))
        fprintf(file, " <span class=\"spread\">%.0f%%</span>", spread * 100);
    fputs("</td>", file);
}

static void write_row(const struct results *results, unsigned i, FILE *file) {
    const struct row *row = results->selection.rows[i];
    fprintf(file, "<tr><td>%s</td>", row->name);
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results_has_column(results, row->section, c))
            write_value(results, i, c, file);
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, row->section, c, results_bases[b]))
                write_number(results_ratio(results, i, c, results_bases[b]), file);
    if (row->vmware.translated > 0)
        fprintf(file, "<td>%.0f, %.0f, %.0f</td>", row->vmware.native, row->vmware.translated,
                row->vmware.hardware);
    else if (row->section == SECTION_NANO)
        fputs("<td></td>", file);
    fputs("<td class=\"text\">", file);
    write_escaped(row->text, file);
    fputs("</td></tr>\n", file);
}

static void write_mean(const struct results *results, enum section section, const char *prefix,
                       const char *title, FILE *file) {
    unsigned rows;
    if (!results_has_mean(results, section, prefix))
        return;
    fprintf(file, "<tr class=\"mean\"><td>%s</td>", title);
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results_has_column(results, section, c))
            fputs("<td></td>", file);
    for (unsigned b = 0; b < RESULTS_BASES; b++)
        for (unsigned c = 0; c < COLUMN_COUNT; c++)
            if (results_has_ratio(results, section, c, results_bases[b]))
                write_number(results_mean(results, section, prefix, c, results_bases[b], &rows),
                             file);
    fputs(section == SECTION_NANO ? "<td></td>" : "", file);
    fputs("<td class=\"text\">geometric mean</td></tr>\n", file);
}

static void write_section(const struct results *results, enum section section, FILE *file) {
    write_element("h2", section_title(section), file);
    if (section == SECTION_GROWTH)
        write_curves(results, file);
    else
        write_chart(results, section, file);
    fputs("<div class=\"wide\"><table>\n", file);
    write_heads(results, section, file);
    for (unsigned i = 0; i < results->selection.count; i++)
        if (results->selection.rows[i]->section == section)
            write_row(results, i, file);
    if (section == SECTION_PROGRAM) {
        write_mean(results, section, "int.", "integer", file);
        write_mean(results, section, "fp.", "floating point", file);
        write_mean(results, section, "mem.", "memory", file);
    }
    if (section != SECTION_GROWTH)
        write_mean(results, section, "", "all", file);
    fputs("</table></div>\n", file);
}

void html_write(const struct results *results, FILE *file) {
    fputs(head, file);
    write_host(results, file);
    for (unsigned section = 0; section < SECTION_COUNT; section++)
        if (selection_has_section(&results->selection, section))
            write_section(results, section, file);
    fputs(
        "<p>VMware: cycles published by Adams and Agesen, ASPLOS 2006, for binary translation and "
        "for the hardware assist of that time. Its system call took native and 2000 cycles by "
        "binary translation.</p>\n"
        "</body>\n</html>\n",
        file);
}
