/* All samples and figures as one JSON object. What has no value is not there. */
#include <jansson.h>
#include <math.h>

#include "bench/host/report.h"

#ifndef RING3_VERSION
#error "the build defines RING3_VERSION"
#endif

static void put_real(json_t *object, const char *name, double value) {
    if (isfinite(value))
        json_object_set_new(object, name, json_real(value));
}

static void put_count(json_t *object, const char *name, unsigned long value) {
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* Texts come from outside; what is no UTF-8 becomes a question mark. */
static void put_text(json_t *object, const char *name, const char *value) {
    json_t *text = json_string(value);
    json_object_set_new(object, name, text ? text : json_string("?"));
}

static void put_bool(json_t *object, const char *name, bool value) {
    json_object_set_new(object, name, json_boolean(value));
}

static json_t *host_json(const struct machine_info *machine) {
    json_t *host = json_object();
    put_text(host, "cpu", machine->cpu);
    put_count(host, "cores", machine->cores);
    put_bool(host, "virtual", machine->virtual);
    put_count(host, "memory_mib", machine->memory_mib);
    put_text(host, "kernel", machine->kernel);
    put_text(host, "qemu", machine->qemu);
    put_real(host, "tsc_hz", machine->tsc_hz);
    put_real(host, "load_before", machine->load_before);
    put_real(host, "load_after", machine->load_after);
    return host;
}

static json_t *columns_json(const struct results *results) {
    json_t *columns = json_array();
    for (unsigned c = 0; c < COLUMN_COUNT; c++) {
        const struct column *column = &results->columns[c];
        json_t *object = json_object();
        put_text(object, "name", column_name(c));
        put_text(object, "title", column_title(c));
        put_bool(object, "usable", column->usable);
        put_bool(object, "emulated", column->emulated);
        if (!column->usable)
            put_text(object, "reason", column->reason);
        if (*column->command)
            put_text(object, "command", column->command);
        if (column->host_ns)
            put_real(object, "clock_over_host", (double)column->guest_ns / (double)column->host_ns);
        if (column->probe_clock > 0)
            put_real(object, "tsc_over_host", column->probe_clock);
        json_array_append_new(columns, object);
    }
    return columns;
}

static json_t *cell_json(const struct results *results, unsigned row, enum column_id column) {
    const struct cell *cell = &results->cells[row][column];
    json_t *object = json_object(), *samples = json_array();
    char checksum[16];
    for (unsigned i = 0; i < cell->count; i++)
        json_array_append_new(samples, json_real(cell->samples[i]));
    put_real(object, "median", results_median(results, row, column));
    put_real(object, "spread", results_spread(results, row, column));
    json_object_set_new(object, "samples", samples);
    put_bool(object, "failed", cell->failed);
    if (column != COLUMN_NATIVE)
        put_real(object, "over_native", results_ratio(results, row, column, COLUMN_NATIVE));
    if (column != COLUMN_QEMU_TCG)
        put_real(object, "over_tcg", results_ratio(results, row, column, COLUMN_QEMU_TCG));
    if (results->selection.rows[row]->section == SECTION_PROGRAM && cell->count) {
        snprintf(checksum, sizeof checksum, "%08x", cell->checksum);
        put_text(object, "checksum", checksum);
    }
    return object;
}

static json_t *row_json(const struct results *results, unsigned i) {
    const struct row *row = results->selection.rows[i];
    json_t *object = json_object(), *cells = json_object(), *vmware = json_object();
    put_text(object, "name", row->name);
    put_text(object, "section", section_name(row->section));
    put_text(object, "text", row->text);
    put_text(object, "unit", row->section == SECTION_NANO ? "cycles" : "ns");
    for (unsigned c = 0; c < COLUMN_COUNT; c++)
        if (results->cells[i][c].count || results->cells[i][c].failed)
            json_object_set_new(cells, column_name(c), cell_json(results, i, c));
    json_object_set_new(object, "cells", cells);
    if (row->vmware.translated > 0) {
        put_real(vmware, "native", row->vmware.native);
        put_real(vmware, "translated", row->vmware.translated);
        put_real(vmware, "hardware", row->vmware.hardware);
        json_object_set(object, "vmware", vmware);
    }
    json_decref(vmware);
    return object;
}

static void add_mean(json_t *means, const struct results *results, enum section section,
                     const char *prefix, enum column_id column) {
    json_t *object = json_object();
    unsigned over_native, over_tcg;
    double native = results_mean(results, section, prefix, column, COLUMN_NATIVE, &over_native);
    double tcg = results_mean(results, section, prefix, column, COLUMN_QEMU_TCG, &over_tcg);
    put_text(object, "section", section_name(section));
    put_text(object, "prefix", prefix);
    put_text(object, "column", column_name(column));
    if (column != COLUMN_NATIVE && over_native) {
        put_real(object, "over_native", native);
        put_count(object, "over_native_rows", over_native);
    }
    if (column != COLUMN_QEMU_TCG && over_tcg) {
        put_real(object, "over_tcg", tcg);
        put_count(object, "over_tcg_rows", over_tcg);
    }
    if (json_object_size(object) > 3)
        json_array_append(means, object);
    json_decref(object);
}

static json_t *means_json(const struct results *results) {
    static const char *const prefixes[] = {"", "int.", "fp.", "mem."};
    json_t *means = json_array();
    for (unsigned section = 0; section < SECTION_COUNT; section++)
        for (unsigned p = 0; p < (section == SECTION_PROGRAM ? 4 : 1); p++)
            for (unsigned c = 0; c < COLUMN_COUNT; c++)
                add_mean(means, results, section, prefixes[p], c);
    return means;
}

int json_write(const struct results *results, FILE *file) {
    json_t *root = json_object(), *rows = json_array(), *notes = json_array();
    put_text(root, "program", "ring3 bench");
    put_text(root, "version", RING3_VERSION);
    put_text(root, "date", results->machine.date);
    put_bool(root, "quick", results->quick);
    put_count(root, "rounds", results->rounds);
    put_count(root, "guest_mib", results->guest_mib);
    json_object_set_new(root, "host", host_json(&results->machine));
    json_object_set_new(root, "columns", columns_json(results));
    for (unsigned i = 0; i < results->selection.count; i++)
        json_array_append_new(rows, row_json(results, i));
    json_object_set_new(root, "rows", rows);
    json_object_set_new(root, "means", means_json(results));
    for (unsigned i = 0; i < results->note_count; i++)
        json_array_append_new(notes, json_string(results->notes[i]));
    json_object_set_new(root, "notes", notes);
    int rc = json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    json_decref(root);
    fputc('\n', file);
    return rc;
}
