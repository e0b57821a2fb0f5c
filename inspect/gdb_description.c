/* The target description that GDB reads (GDB manual, G "Target Descriptions"), from the table of
 * registers. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "inspect/gdb_register_table.h"
#include "inspect/gdb_registers.h"

#define DESCRIPTION_MAX 24576u

static char description[DESCRIPTION_MAX];
static size_t used;

__attribute__((format(printf, 1, 2))) static void add(const char *format, ...) {
    va_list values;
    va_start(values, format);
    int size = vsnprintf(description + used, sizeof description - used, format, values);
    va_end(values);
    assert(size >= 0 && (size_t)size < sizeof description - used);
    used += (size_t)size;
}

static void add_register(const struct gdb_register *row) {
    add("<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", row->name, row->bits, row->type);
    if (row->group)
        add(" group=\"%s\"", row->group);
    add("/>");
}

static void add_feature(unsigned index) {
    unsigned end = index + 1 < GDB_FEATURES ? gdb_features[index + 1].first : gdb_register_rows();
    if (gdb_features[index].first >= end)
        return; /* this host has no AVX */
    add("<feature name=\"%s\">%s", gdb_features[index].name, gdb_features[index].types);
    for (unsigned i = gdb_features[index].first; i < end; i++)
        add_register(&gdb_register_table[i]);
    add("</feature>");
}

const char *gdb_target_description(void) {
    if (used)
        return description;
    add("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target version=\"1.0\">"
        "<architecture>i386</architecture>");
    for (unsigned i = 0; i < GDB_FEATURES; i++)
        add_feature(i);
    add("</target>");
    return description;
}
