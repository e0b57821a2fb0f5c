/* Between the readers of symbol tables and the store. */
#ifndef RING3_INSPECT_SYMBOLS_PRIVATE_H
#define RING3_INSPECT_SYMBOLS_PRIVATE_H

#include "inspect/kernel_image.h"
#include "inspect/symbols.h"

#define SYMBOL_NAME_MAX 1024u

/* Copies the name. False: no memory, or more symbols than any kernel has. */
bool symbols_add(struct symbols *symbols, gva_t address, char type, const char *name, size_t len);

/* Readers. They add what they find; 0 without a symbol added means "has no such table". -1 with
 * `error` filled: the table is there and wrong, or memory is short. */
int symbols_read_elf(struct symbols *symbols, const struct kernel_image *image,
                     struct error *error);
int symbols_read_kallsyms(struct symbols *symbols, const struct kernel_image *image,
                          struct error *error);
int symbols_read_map(struct symbols *symbols, const struct kernel_image *image,
                     struct error *error);

/* Adds exported names that a sorted store does not have yet. The type is SYMBOL_EXPORTED. */
int symbols_read_exports(struct symbols *symbols, const struct kernel_image *image,
                         struct error *error);
/* Most data has no name then: one reaches no further than a page. */
#define SYMBOL_EXPORTED 'D'

static inline int symbols_no_room(const struct kernel_image *image, struct error *error) {
    return error_set(error, "%s: more symbols than memory or 2 million", image->name);
}

#endif
