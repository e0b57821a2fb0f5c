/* Symbols by file or kernel, loaded late (names.h). */
#include "cli/names.h"

#include <stddef.h>

struct symbols *names_symbols(struct names *names, struct error *error) {
    const char *path = names->file ? names->file : names->kernel;
    if (names->symbols)
        return names->symbols;
    if (!path)
        error_set(error, "no symbols: give --symbols FILE");
    else if (names->tried)
        error_set(error, "%s: its symbols could not be read", path);
    else
        names->symbols = symbols_load(path, error);
    names->tried = true;
    return names->symbols;
}

int names_find(void *opaque, const char *name, gva_t *address, struct error *error) {
    struct names *names = opaque;
    struct symbol symbol;
    if (!names_symbols(names, error))
        return -1;
    if (!symbols_find(names->symbols, name, &symbol))
        return error_set(error, "%s: has no symbol '%s'", names->file ? names->file : names->kernel,
                         name);
    *address = symbol.address;
    return 0;
}

void names_release(struct names *names) {
    symbols_free(names->symbols);
    *names = (struct names){0};
}
