/* An explanation for readers: columns of text, a page that needs nothing else, JSON for programs.
 */
#ifndef RING3_INSPECT_EXPLAIN_OUTPUT_H
#define RING3_INSPECT_EXPLAIN_OUTPUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "inspect/explain.h"

struct explain_view {
    const char *title;             /* what is explained: a file's name, bytes, a symbol */
    const char *context;           /* the mode in words */
    bool colour;                   /* escape sequences of a terminal */
    bool cold;                     /* text: cold code too */
    const struct symbols *symbols; /* or NULL */
};

/* Guest on the left, host on the right. A reason is given the first time only. */
void explain_print_text(FILE *out, const struct explanation *explanation,
                        const struct explain_view *view);
/* One HTML document: no script, no request, readable in light and dark. */
void explain_print_html(FILE *out, const struct explanation *explanation,
                        const struct explain_view *view);
/* A new reference, or NULL without memory. */
json_t *explain_json(const struct explanation *explanation, const struct explain_view *view);
json_t *explain_fragment_json(const struct explained_fragment *fragment,
                              const struct symbols *symbols);

/* "2.31": host bytes by guest bytes. */
const char *explain_expansion(uint32_t guest, uint32_t host, char text[16]);

#endif
