/* The names of the instruction table's rows in reports: "f3.0f.b8 POPCNT Gv,Ev". */
#include <stdio.h>

#include "translator/insn_table.h"

void insn_row_id(const struct insn_row *row, char id[INSN_ROW_ID_MAX]) {
    static const char *const prefixes[] = {"", "np.", "66.", "f3.", "f2."};
    static const char *const maps[] = {"", "0f.", "0f38.", "0f3a."};
    static const char *const mods[] = {"", ".mem", ".reg"};
    char opcodes[8], extension[8] = "";
    snprintf(opcodes, sizeof opcodes, row->lo == row->hi ? "%02x" : "%02x-%02x", row->lo, row->hi);
    if (row->ext != ROW_ANY)
        snprintf(extension, sizeof extension, "/%u", row->ext);
    snprintf(id, INSN_ROW_ID_MAX, "%s%s%s%s%s%s %s%s%s", row->vex ? "vex." : "",
             prefixes[row->prefix], maps[row->map], opcodes, extension, mods[row->mod], row->name,
             *row->operands ? " " : "", row->operands);
}
