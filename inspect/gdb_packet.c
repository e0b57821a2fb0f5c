/* Packets of GDB's remote protocol (gdb_packet.h). */
#include "inspect/gdb_packet.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE '}'
#define ESCAPE_BIT 0x20
#define INTERRUPT 0x03

static int digit_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum gdb_event read_between(struct gdb_reader *r, uint8_t byte) {
    if (byte == '$') {
        r->state = GDB_INSIDE;
        r->size = 0;
        r->sum = 0;
        r->too_long = r->bad_sum = false;
    }
    return byte == INTERRUPT ? GDB_INTERRUPT : byte == '-' ? GDB_RESEND : GDB_NOTHING;
}

static void keep(struct gdb_reader *r, uint8_t byte) {
    if (r->size < GDB_PACKET_MAX)
        r->bytes[r->size++] = (char)byte;
    else
        r->too_long = true;
}

static enum gdb_event finish(struct gdb_reader *r) {
    r->state = GDB_BETWEEN;
    if (r->too_long || r->bad_sum || r->claimed != r->sum)
        return GDB_DAMAGED;
    assert(r->size <= GDB_PACKET_MAX);
    r->bytes[r->size] = 0;
    return GDB_PACKET;
}

enum gdb_event gdb_read_byte(struct gdb_reader *r, uint8_t byte) {
    int digit = digit_value((char)byte);
    switch (r->state) {
    case GDB_BETWEEN:
        return read_between(r, byte);
    case GDB_INSIDE:
        if (byte == '#') {
            r->state = GDB_SUM_HIGH;
            return GDB_NOTHING;
        }
        if (byte == '$') /* the one before was never finished */
            return read_between(r, byte);
        r->sum = (uint8_t)(r->sum + byte);
        if (byte == ESCAPE)
            r->state = GDB_ESCAPED;
        else
            keep(r, byte);
        return GDB_NOTHING;
    case GDB_ESCAPED:
        r->sum = (uint8_t)(r->sum + byte);
        keep(r, byte ^ ESCAPE_BIT);
        r->state = GDB_INSIDE;
        return GDB_NOTHING;
    case GDB_SUM_HIGH:
        r->bad_sum = digit < 0;
        r->claimed = (uint8_t)((unsigned)digit << 4);
        r->state = GDB_SUM_LOW;
        return GDB_NOTHING;
    case GDB_SUM_LOW:
        r->bad_sum |= digit < 0;
        r->claimed |= (uint8_t)((unsigned)digit & 15u);
        return finish(r);
    }
    return GDB_NOTHING;
}

void gdb_reply_clear(struct gdb_reply *reply) {
    reply->size = 0;
    reply->overflow = false;
    reply->bytes[0] = 0;
}

static void add(struct gdb_reply *reply, const char *bytes, size_t size) {
    if (size > GDB_PACKET_MAX - reply->size) {
        reply->overflow = true;
        return;
    }
    memcpy(reply->bytes + reply->size, bytes, size);
    reply->size += size;
    reply->bytes[reply->size] = 0;
}

void gdb_reply_text(struct gdb_reply *reply, const char *text) { add(reply, text, strlen(text)); }

void gdb_reply_print(struct gdb_reply *reply, const char *format, ...) {
    char text[256];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    assert(size >= 0 && (size_t)size < sizeof text);
    add(reply, text, (size_t)size);
}

void gdb_reply_hex(struct gdb_reply *reply, const void *bytes, size_t size) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    for (size_t i = 0; i < size; i++) {
        const char pair[2] = {digits[from[i] >> 4], digits[from[i] & 15]};
        add(reply, pair, sizeof pair);
    }
}

void gdb_reply_binary(struct gdb_reply *reply, const void *bytes, size_t size) {
    const char *from = bytes;
    for (size_t i = 0; i < size; i++) {
        char c = from[i];
        bool special = c == '$' || c == '#' || c == ESCAPE || c == '*';
        const char pair[2] = {ESCAPE, (char)(c ^ ESCAPE_BIT)};
        add(reply, special ? pair : &c, special ? 2 : 1);
    }
}

size_t gdb_frame(const struct gdb_reply *reply, char *to) {
    static const char digits[] = "0123456789abcdef";
    uint8_t sum = 0;
    assert(reply->size <= GDB_PACKET_MAX);
    for (size_t i = 0; i < reply->size; i++)
        sum = (uint8_t)(sum + (uint8_t)reply->bytes[i]);
    *to++ = '$';
    memcpy(to, reply->bytes, reply->size);
    to += reply->size;
    *to++ = '#';
    *to++ = digits[sum >> 4];
    *to++ = digits[sum & 15];
    return reply->size + 4;
}

bool gdb_parse_number(const char **text, uint64_t *number) {
    const char *at = *text;
    *number = 0;
    for (; digit_value(*at) >= 0; at++) {
        if (*number >> 60)
            return false;
        *number = *number << 4 | (unsigned)digit_value(*at);
    }
    bool any = at != *text;
    *text = at;
    return any;
}

bool gdb_parse_bytes(const char **text, void *to, size_t size) {
    uint8_t *bytes = to;
    const char *at = *text;
    for (size_t i = 0; i < size; i++, at += 2) {
        if (digit_value(at[0]) < 0 || digit_value(at[1]) < 0)
            return false;
        bytes[i] = (uint8_t)(digit_value(at[0]) << 4 | digit_value(at[1]));
    }
    *text = at;
    return true;
}

bool gdb_parse_word(const char **text, const char *word) {
    size_t size = strlen(word);
    if (strncmp(*text, word, size) != 0)
        return false;
    *text += size;
    return true;
}
