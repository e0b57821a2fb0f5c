/* Text that grows: see text.h. */
#include "inspect/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 4096u
#define NUMBER_MAX 24

static bool grow(struct text *text, size_t more) {
    size_t room = text->room ? text->room : ROOM_MIN;
    while (room < text->len + more)
        room *= 2;
    char *bytes = realloc(text->bytes, room);
    if (!bytes) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->room = room;
    return true;
}

static inline bool make_room(struct text *text, size_t more) {
    return text->len + more <= text->room || grow(text, more);
}

/* Copies of a constant size are moves. */
#define COPY(n) (memcpy(to, bytes, (n)), to += (n), bytes += (n))

/* What is put is short as a rule: no call is worth it. */
void text_put(struct text *text, const char *bytes, size_t len) {
    if (!make_room(text, len))
        return;
    char *to = text->bytes + text->len;
    text->len += len;
    for (; len >= 8; len -= 8)
        COPY(8);
    if (len & 4)
        COPY(4);
    if (len & 2)
        COPY(2);
    if (len & 1)
        *to = *bytes;
}

void text_char(struct text *text, char c) {
    if (make_room(text, 1))
        text->bytes[text->len++] = c;
}

/* At least `digits` digits, the last ones first. */
static void put_decimal(struct text *text, uint64_t value, unsigned digits) {
    char number[NUMBER_MAX];
    unsigned at = NUMBER_MAX;
    assert(digits < NUMBER_MAX);
    do {
        number[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value || NUMBER_MAX - at < digits);
    text_put(text, number + at, NUMBER_MAX - at);
}

void text_decimal(struct text *text, uint64_t value) { put_decimal(text, value, 1); }

void text_hex(struct text *text, uint64_t value, unsigned digits) {
    char number[NUMBER_MAX];
    unsigned at = NUMBER_MAX;
    assert(digits < NUMBER_MAX);
    do {
        number[--at] = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value || NUMBER_MAX - at < digits);
    text_put(text, number + at, NUMBER_MAX - at);
}

void text_seconds(struct text *text, uint64_t ns) {
    put_decimal(text, ns / 1000000000u, 1);
    text_char(text, '.');
    put_decimal(text, ns % 1000000000u, 9);
}

void text_microseconds(struct text *text, uint64_t ns) {
    put_decimal(text, ns / 1000u, 1);
    text_char(text, '.');
    put_decimal(text, ns % 1000u, 3);
}

void text_json(struct text *text, const char *string) {
    text_char(text, '"');
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c == '"' || c == '\\')
            text_char(text, '\\');
        if (c >= 0x20 && c < 0x7f) {
            text_char(text, (char)c);
        } else {
            text_string(text, "\\u");
            text_hex(text, c, 4);
        }
    }
    text_char(text, '"');
}

void text_xml(struct text *text, const char *string) {
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c == '&')
            text_string(text, "&amp;");
        else if (c == '<')
            text_string(text, "&lt;");
        else if (c == '>')
            text_string(text, "&gt;");
        else if (c == '"')
            text_string(text, "&quot;");
        else
            text_char(text, c >= 0x20 && c < 0x7f ? (char)c : '?');
    }
}

bool text_write(struct text *text, FILE *out) {
    bool done = !text->failed && fwrite(text->bytes, 1, text->len, out) == text->len;
    text->len = 0;
    text->failed = false;
    return done && !fflush(out);
}

void text_free(struct text *text) {
    free(text->bytes);
    *text = (struct text){0};
}
