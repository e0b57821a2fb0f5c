/* Text that grows: what traces and profiles are written with, without printf for each number. */
#ifndef RING3_INSPECT_TEXT_H
#define RING3_INSPECT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *bytes;
    size_t len, room;
    bool failed; /* memory ran out: what came since is missing */
};

void text_put(struct text *text, const char *bytes, size_t len);
static inline void text_string(struct text *text, const char *string) {
    text_put(text, string, strlen(string));
}
void text_char(struct text *text, char c);
void text_decimal(struct text *text, uint64_t value);
/* At least `digits` digits, without a prefix. */
void text_hex(struct text *text, uint64_t value, unsigned digits);
/* Nanoseconds as seconds with nine digits behind the point, or as microseconds with three. */
void text_seconds(struct text *text, uint64_t ns);
void text_microseconds(struct text *text, uint64_t ns);
/* With quotes; control characters and what is not ASCII escaped. */
void text_json(struct text *text, const char *string);
/* For XML and HTML. */
void text_xml(struct text *text, const char *string);
/* Writes everything to `out` and empties the text. False: it did not work. */
bool text_write(struct text *text, FILE *out);
void text_free(struct text *text);

#endif
