/* Which trace records are kept, from the command line. */
#ifndef RING3_INSPECT_TRACE_FILTER_H
#define RING3_INSPECT_TRACE_FILTER_H

#include "base/error.h"
#include "base/trace.h"
#include "inspect/symbols.h"

/* "eip=START-END", "symbol=NAME", "cpl=N", "cr3=X", joined by commas: all must hold. Addresses are
 * hexadecimal and linear; a symbol's range reaches to the next symbol. `symbols` may be NULL. 0, or
 * -1 with `error` filled. */
int trace_filter_parse(struct trace_filter *filter, const char *text, const struct symbols *symbols,
                       struct error *error);

#endif
