/* Text that grows: see text.h. */
#include "inspect/text.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 4096u
#define NUMBER_MAX 24

static bool make_room(struct text *text, size_t more) {
    if (text->len + more <= text->room)
        return true;
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

void text_put(struct text *text, const char *bytes, size_t len) {
    if (len == 0 || !make_room(text, len))
        return;
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

void text_string(struct text *text, const char *string) { text_put(text, string, strlen(string)); }

void text_char(struct text *text, char c) { text_put(text, &c, 1); }

/* The last digits first. */
static void put_number(struct text *text, uint64_t value, unsigned base, unsigned digits) {
    char number[NUMBER_MAX];
    unsigned at = NUMBER_MAX;
    assert(digits < NUMBER_MAX);
    do {
        number[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value || NUMBER_MAX - at < digits);
    text_put(text, number + at, NUMBER_MAX - at);
}

void text_decimal(struct text *text, uint64_t value) { put_number(text, value, 10, 1); }

void text_hex(struct text *text, uint64_t value, unsigned digits) {
    put_number(text, value, 16, digits);
}

void text_seconds(struct text *text, uint64_t ns) {
    put_number(text, ns / 1000000000u, 10, 1);
    text_char(text, '.');
    put_number(text, ns % 1000000000u, 10, 9);
}

void text_microseconds(struct text *text, uint64_t ns) {
    put_number(text, ns / 1000u, 10, 1);
    text_char(text, '.');
    put_number(text, ns % 1000u, 10, 3);
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
