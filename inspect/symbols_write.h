/* Symbols as an ELF file that debuggers read (`symbol-file` of GDB). */
#ifndef RING3_INSPECT_SYMBOLS_WRITE_H
#define RING3_INSPECT_SYMBOLS_WRITE_H

#include "inspect/symbols.h"

/* Writes a 32-bit ELF file with a symbol table and sections without contents for what it names.
 * 0, or -1 with `error` filled. */
int symbols_write_elf(const struct symbols *symbols, const char *path, struct error *error);

#endif
