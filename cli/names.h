/* The symbols of the guest that a command is about: those of --symbols FILE, else of the kernel
 * file itself. Unpacking a kernel takes a while, so they are loaded when first asked for. */
#ifndef RING3_CLI_NAMES_H
#define RING3_CLI_NAMES_H

#include "inspect/symbols.h"

struct names {
    const char *file;   /* --symbols, or NULL */
    const char *kernel; /* or NULL */
    struct symbols *symbols;
    bool tried;
};

/* NULL with `error` filled where there are none; asked again, NULL at once with the same kind of
 * line. */
struct symbols *names_symbols(struct names *names, struct error *error);
/* 0, or -1 with `error` filled. `opaque` is a struct names; a symbol_source of plugins. */
int names_find(void *opaque, const char *name, gva_t *address, struct error *error);
void names_release(struct names *names);

#endif
