/* Names of guest addresses.
 *
 * Taken from a 32-bit ELF file's symbol table, from a System.map or /proc/kallsyms, or from a Linux
 * kernel's own tables for kallsyms: Debian's vmlinuz is stripped and its System.map a placeholder,
 * but the names that the kernel prints in its own traces lie in it, and those that it exports to
 * modules. Files are hostile; a refusal is one line.
 *
 * A value for the monitor's side: allocates, never used in the vCPU process. */
#ifndef RING3_INSPECT_SYMBOLS_H
#define RING3_INSPECT_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "memory/addr.h"

struct kernel_image;
struct symbols;

struct symbol {
    gva_t address;    /* slide included */
    char type;        /* as nm prints it: T and t are code */
    const char *name; /* lives as long as the symbols */
};

/* NULL with `error` filled. A file without a single symbol is an error. */
struct symbols *symbols_load(const char *path, struct error *error);
/* The same of a file that is open already. */
struct symbols *symbols_of_image(const struct kernel_image *image, struct error *error);
void symbols_free(struct symbols *symbols); /* NULL is fine */

size_t symbols_count(const struct symbols *symbols);
/* By rising address; index < count. */
struct symbol symbols_get(const struct symbols *symbols, size_t index);
/* Of several with that name a global one first, then the lowest. */
bool symbols_find(const struct symbols *symbols, const char *name, struct symbol *found);
/* The last symbol at or below `address`, and how far below; of several at one place the one that
 * the kernel itself would print. False: before the first, or behind a mark where something ends
 * (_etext, _end ...). */
bool symbols_at(const struct symbols *symbols, gva_t address, struct symbol *found,
                uint32_t *offset);
/* The first address above `address` that has a symbol; UINT32_MAX: none. */
gva_t symbols_next(const struct symbols *symbols, gva_t address);
/* "name" or "name+0x12"; "" without a symbol. Returns `text`. `symbols` may be NULL. */
const char *symbols_format(const struct symbols *symbols, gva_t address, char *text, size_t size);

/* Where the kernel lies as against where it was linked (KASLR); 0 at first. */
void symbols_set_slide(struct symbols *symbols, uint32_t slide);
uint32_t symbols_slide(const struct symbols *symbols);
/* Takes the slide from a running Linux: MSR SYSENTER_EIP holds where its entry_SYSENTER_32 is.
 * False where that says nothing: no such symbol, or a value that is not whole pages away. */
bool symbols_slide_from_sysenter(struct symbols *symbols, uint32_t sysenter_eip);

#endif
