/* Server-sent events: one long answer for each page that looks on.
 *
 * A stream has one buffer. When it has been sent, what is new is put in: console output, the
 * machine's state every WEB_TICK_MS, its end. A peer that does not read gets no more state, and
 * after the server's time limit no connection. Between two fillings its connection is suspended. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/web_private.h"

#define STREAM_BUFFER (512u << 10)
#define CONSOLE_PART (32u << 10) /* of one event */

struct web_stream {
    struct web_stream *next;
    struct web_server *server;
    struct MHD_Connection *connection;
    bool suspended, end_told;
    uint64_t console_at; /* bytes of the console that it has had */
    uint32_t state_ms;   /* when it was last told of the state */
    bool told;           /* of the state, at all */
    size_t used, sent;
    char buffer[STREAM_BUFFER];
};

/* Adds an event with `value` as its data, which is released; too long a one is left out. */
static void add_event(struct web_stream *stream, const char *name, json_t *value) {
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    size_t room = sizeof stream->buffer - stream->used;
    if (text && strlen(text) + 64 < room) {
        int len =
            snprintf(stream->buffer + stream->used, room, "event: %s\ndata: %s\n\n", name, text);
        assert(len > 0 && (size_t)len < room);
        stream->used += (size_t)len;
    }
    free(text);
    json_decref(value);
}

/* Bytes as a string of the characters U+0000 to U+00FF: JSON knows no bytes. */
static json_t *bytes_as_text(const struct web_console_log *log, uint64_t from, uint64_t to) {
    char text[2 * CONSOLE_PART];
    size_t len = 0;
    assert(to - from <= CONSOLE_PART);
    for (uint64_t i = from; i < to; i++) {
        uint8_t byte = log->bytes[i % WEB_CONSOLE_KEPT];
        if (byte >= 0x80)
            text[len++] = (char)(0xc0 | byte >> 6);
        text[len++] = (char)(byte >= 0x80 ? 0x80 | (byte & 0x3f) : byte);
    }
    return json_stringn(text, len);
}

static bool add_console(struct web_stream *stream) {
    const struct web_console_log *log = &stream->server->console;
    uint64_t oldest = log->end > WEB_CONSOLE_KEPT ? log->end - WEB_CONSOLE_KEPT : 0;
    uint64_t from = stream->console_at < oldest ? oldest : stream->console_at;
    uint64_t to = log->end - from > CONSOLE_PART ? from + CONSOLE_PART : log->end;
    if (from == to)
        return false;
    add_event(stream, "console",
              json_pack("{sisIso}", "boot", (int)stream->server->subject.boot, "from",
                        (json_int_t)from, "text", bytes_as_text(log, from, to)));
    stream->console_at = to;
    return true;
}

static void add_state(struct web_stream *stream) {
    uint32_t now = web_now_ms(stream->server);
    if (stream->told && now - stream->state_ms < WEB_TICK_MS - WEB_TICK_MS / 10 &&
        !stream->server->ended)
        return;
    stream->told = true;
    stream->state_ms = now;
    add_event(stream, "state", web_state(stream->server));
}

static void fill(struct web_stream *stream) {
    const struct web_server *server = stream->server;
    stream->used = stream->sent = 0;
    bool more = add_console(stream);
    add_state(stream);
    if (!server->ended || more || stream->end_told)
        return;
    stream->end_told = true;
    add_event(stream, "end", json_pack("{ss}", "how", server->how));
}

static ssize_t read_stream(void *opaque, uint64_t position, char *to, size_t max) {
    struct web_stream *stream = opaque;
    size_t left = stream->used - stream->sent;
    size_t len = left < max ? left : max;
    (void)position;
    if (len) {
        memcpy(to, stream->buffer + stream->sent, len);
        stream->sent += len;
        return (ssize_t)len;
    }
    if (stream->end_told)
        return MHD_CONTENT_READER_END_OF_STREAM;
    MHD_suspend_connection(stream->connection);
    stream->suspended = true;
    return 0;
}

static void close_stream(void *opaque) {
    struct web_stream *stream = opaque, **link = &stream->server->streams;
    while (*link != stream) {
        assert(*link);
        link = &(*link)->next;
    }
    *link = stream->next;
    stream->server->stream_count--;
    free(stream);
}

enum MHD_Result web_stream_open(struct web_server *server, struct MHD_Connection *connection) {
    struct web_stream *stream =
        server->stream_count < WEB_STREAMS_MAX ? calloc(1, sizeof *stream) : NULL;
    if (!stream) {
        struct MHD_Response *refusal =
            MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        enum MHD_Result refused =
            MHD_queue_response(connection, MHD_HTTP_SERVICE_UNAVAILABLE, refusal);
        MHD_destroy_response(refusal);
        return refused;
    }
    stream->server = server;
    stream->connection = connection;
    stream->next = server->streams;
    server->streams = stream;
    server->stream_count++;
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, 16u << 10, read_stream, stream, close_stream);
    if (!response) {
        close_stream(stream);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

void web_streams_tell(struct web_server *server) {
    for (struct web_stream *stream = server->streams; stream; stream = stream->next) {
        if (stream->sent < stream->used || stream->end_told)
            continue;
        fill(stream);
        if (!stream->used || !stream->suspended)
            continue;
        stream->suspended = false;
        MHD_resume_connection(stream->connection);
    }
}
