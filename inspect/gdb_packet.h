/* GDB's remote protocol, lowest layer: packets out of bytes and bytes out of packets (GDB manual,
 * E.1 "Overview").
 *
 * $ contents # two hex digits, answered by + or -; 0x03 between packets interrupts. Contents have }
 * as escape. Everything else is dropped. The reader holds at most one packet; whoever feeds it
 * takes that before the next byte. */
#ifndef RING3_INSPECT_GDB_PACKET_H
#define RING3_INSPECT_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_MAX 16384u /* bytes of contents, both ways */

enum gdb_event {
    GDB_NOTHING, /* more bytes are needed */
    GDB_PACKET,  /* `bytes` has `size` of them, and a 0 behind */
    GDB_DAMAGED, /* a packet with a wrong checksum, or too long */
    GDB_INTERRUPT,
    GDB_RESEND, /* - */
};

struct gdb_reader {
    enum { GDB_BETWEEN, GDB_INSIDE, GDB_ESCAPED, GDB_SUM_HIGH, GDB_SUM_LOW } state;
    uint8_t sum, claimed;
    bool too_long, bad_sum;
    size_t size;
    char bytes[GDB_PACKET_MAX + 1];
};

enum gdb_event gdb_read_byte(struct gdb_reader *reader, uint8_t byte);

/* A packet's contents in the making; what does not fit is dropped and `overflow` set. */
struct gdb_reply {
    size_t size;
    bool overflow;
    char bytes[GDB_PACKET_MAX + 1]; /* a 0 behind */
};

void gdb_reply_clear(struct gdb_reply *reply);
void gdb_reply_text(struct gdb_reply *reply, const char *text);
void gdb_reply_print(struct gdb_reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Two hex digits for each byte. */
void gdb_reply_hex(struct gdb_reply *reply, const void *bytes, size_t size);
/* Bytes as they are, escaped where the protocol needs it. */
void gdb_reply_binary(struct gdb_reply *reply, const void *bytes, size_t size);

/* The packet as it is sent: $ contents # sum. `to` has GDB_PACKET_MAX + 4 bytes; returns how many.
 */
size_t gdb_frame(const struct gdb_reply *reply, char *to);

/* Hexadecimal number at `*text`, which moves behind it. False: no digit, or more than 64 bits. */
bool gdb_parse_number(const char **text, uint64_t *number);
/* `size` bytes from twice as many digits. False: not that many, `*text` unchanged. */
bool gdb_parse_bytes(const char **text, void *to, size_t size);
/* Moves behind `word` if that is what comes next. */
bool gdb_parse_word(const char **text, const char *word);

#endif
