/* HTTP: who may ask, and what is answered.
 *
 * libmicrohttpd parses; our loop waits for it with select(): there are few descriptors, and its
 * epoll mode misses the end of a connection that was closed before it was accepted. Everything lies
 * behind the token:
 *
 *     GET  /TOKEN/           the page, and its files by name
 *     GET  /TOKEN/events     server-sent events: state, console, end
 *     GET  /TOKEN/model, fragments?from=&generation=, heat, hot, fragment?index=, windows,
 * blocks?window=, pages?window=&block=, code POST /TOKEN/pause, step, resume, input (the body:
 * bytes for the serial port) */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>

#include "base/ring.h"
#include "inspect/web_private.h"

#define CONNECTION_MEMORY (16u << 10) /* bounds a request's head */
#define CONNECTION_TIMEOUT_S 15u

static const char content_policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static const char *const headers[][2] = {
    {"Content-Security-Policy", content_policy},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-store"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
};

/* A request while its body comes in. */
struct request {
    size_t len;
    bool too_long;
    uint8_t body[WEB_BODY_MAX];
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               struct MHD_Response *response) {
    if (!response)
        return MHD_NO;
    for (unsigned i = 0; i < sizeof headers / sizeof *headers; i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text) {
    return respond(connection, status, "text/plain; charset=utf-8",
                   MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text,
                                                   MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result answer_bytes(struct MHD_Connection *connection, const char *type,
                                    void *bytes, size_t len) {
    if (!bytes)
        return answer_text(connection, MHD_HTTP_NOT_FOUND, "There is no such thing now.\n");
    return respond(connection, MHD_HTTP_OK, type,
                   MHD_create_response_from_buffer(len, bytes, MHD_RESPMEM_MUST_FREE));
}

static enum MHD_Result answer_json(struct MHD_Connection *connection, json_t *value) {
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    return answer_bytes(connection, "application/json", text, text ? strlen(text) : 0);
}

/* A number of the query, 0 where it is not given. False: it is none. */
static bool query_number(struct MHD_Connection *connection, const char *name, uint64_t limit,
                         uint64_t *number) {
    const char *text = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    char *end;
    *number = 0;
    if (!text)
        return true;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return !*end && !errno && *number <= limit;
}

static enum MHD_Result answer_file(struct MHD_Connection *connection, const char *name) {
    if (!*name)
        name = "index.html";
    for (unsigned i = 0; i < web_file_count; i++) {
        const struct web_file *file = &web_files[i];
        if (!strcmp(file->name, name))
            return respond(connection, MHD_HTTP_OK, file->type,
                           MHD_create_response_from_buffer((size_t)(file->end - file->start),
                                                           (void *)(uintptr_t)file->start,
                                                           MHD_RESPMEM_PERSISTENT));
    }
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "Not found.\n");
}

static enum MHD_Result answer_fragments(struct web_server *server,
                                        struct MHD_Connection *connection) {
    uint64_t generation, from;
    size_t len;
    if (!query_number(connection, "generation", UINT64_MAX, &generation) ||
        !query_number(connection, "from", UINT32_MAX, &from))
        return answer_text(connection, MHD_HTTP_BAD_REQUEST, "A number is expected.\n");
    void *records = web_fragment_records(server, generation, (uint32_t)from, &len);
    return answer_bytes(connection, "application/octet-stream", records, len);
}

static enum MHD_Result answer_numbered(struct web_server *server, struct MHD_Connection *connection,
                                       const char *name) {
    uint64_t index, window, block;
    if (!query_number(connection, "index", UINT32_MAX, &index) ||
        !query_number(connection, "window", UINT32_MAX, &window) ||
        !query_number(connection, "block", UINT32_MAX, &block))
        return answer_text(connection, MHD_HTTP_BAD_REQUEST, "A number is expected.\n");
    if (!strcmp(name, "fragment"))
        return answer_json(connection, web_fragment(server, (uint32_t)index));
    if (!strcmp(name, "blocks"))
        return answer_json(connection, web_blocks(server, (unsigned)window));
    return answer_json(connection, web_pages(server, (unsigned)window, (unsigned)block));
}

static enum MHD_Result answer_get(struct web_server *server, struct MHD_Connection *connection,
                                  const char *name) {
    size_t len;
    if (!strcmp(name, "events"))
        return web_stream_open(server, connection);
    if (!strcmp(name, "model"))
        return answer_json(connection, web_model(server));
    if (!strcmp(name, "code"))
        return answer_json(connection, web_code_at_eip(server));
    if (!strcmp(name, "hot"))
        return answer_json(connection, web_hot(server));
    if (!strcmp(name, "windows"))
        return answer_json(connection, web_windows(server));
    if (!strcmp(name, "fragments"))
        return answer_fragments(server, connection);
    if (!strcmp(name, "heat")) {
        void *words = web_fragment_heat(server, &len);
        return answer_bytes(connection, "application/octet-stream", words, len);
    }
    if (!strcmp(name, "fragment") || !strcmp(name, "blocks") || !strcmp(name, "pages"))
        return answer_numbered(server, connection, name);
    return answer_file(connection, name);
}

static enum MHD_Result answer_input(struct web_server *server, struct MHD_Connection *connection,
                                    const struct request *request) {
    if (ring_free(server->subject.input) < request->len)
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                           "The guest does not read its serial port.\n");
    if (request->len && !web_send(&server->monitor, WEB_INPUT, request->body, request->len))
        return answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "The monitor is busy.\n");
    return answer_text(connection, MHD_HTTP_NO_CONTENT, "");
}

static enum MHD_Result answer_post(struct web_server *server, struct MHD_Connection *connection,
                                   const char *name, const struct request *request) {
    static const struct {
        const char *name;
        enum web_message kind;
    } commands[] = {{"pause", WEB_PAUSE}, {"step", WEB_STEP}, {"resume", WEB_RESUME}};
    if (request->too_long)
        return answer_text(connection, MHD_HTTP_CONTENT_TOO_LARGE, "Too long.\n");
    if (!strcmp(name, "input"))
        return answer_input(server, connection, request);
    for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(name, commands[i].name))
            return web_send(&server->monitor, commands[i].kind, NULL, 0)
                       ? answer_text(connection, MHD_HTTP_NO_CONTENT, "")
                       : answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                     "The monitor is busy.\n");
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "Not found.\n");
}

/* What stands behind the token, or NULL: the request is not believed. */
static const char *admit(const struct web_server *server, struct MHD_Connection *connection,
                         const char *path) {
    const struct web_listener *listener = server->listener;
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    const char *site = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Sec-Fetch-Site");
    const char *name = web_path_behind_token(path, listener->token);
    bool believed =
        web_host_is_allowed(host, listener->loopback) && web_origin_is_allowed(origin, site, host);
    return believed ? name : NULL;
}

static void take_body(struct request *request, const char *data, size_t len) {
    assert(request->len <= sizeof request->body);
    request->too_long |= len > sizeof request->body - request->len;
    if (request->too_long)
        return;
    memcpy(request->body + request->len, data, len);
    request->len += len;
}

static enum MHD_Result answer(void *opaque, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *len, void **state) {
    struct web_server *server = opaque;
    struct request *request = *state;
    (void)version;
    if (!request) { /* the head is there, the body is not */
        *state = calloc(1, sizeof *request);
        return *state ? MHD_YES : MHD_NO;
    }
    if (*len) {
        take_body(request, data, *len);
        *len = 0;
        return MHD_YES;
    }
    const char *name = admit(server, connection, path);
    if (!name)
        return answer_text(connection, MHD_HTTP_FORBIDDEN,
                           "Forbidden: use the address that ring3 printed when it started.\n");
    if (!strcmp(method, MHD_HTTP_METHOD_GET) || !strcmp(method, MHD_HTTP_METHOD_HEAD))
        return answer_get(server, connection, name);
    if (!strcmp(method, MHD_HTTP_METHOD_POST))
        return answer_post(server, connection, name, request);
    return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET and POST.\n");
}

static void completed(void *opaque, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code) {
    (void)opaque, (void)connection, (void)code;
    free(*state);
    *state = NULL;
}

int web_server_start(struct web_server *server) {
    server->daemon = MHD_start_daemon(
        MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK, 0, NULL, NULL, answer, server,
        MHD_OPTION_LISTEN_SOCKET, server->listener->fd, MHD_OPTION_CONNECTION_LIMIT,
        WEB_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        completed, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    return server->daemon ? 0 : -ENOMEM;
}

void web_server_wait(struct web_server *server, int timeout_ms) {
    MHD_UNSIGNED_LONG_LONG wanted;
    fd_set reads, writes, excepts;
    MHD_socket last = -1;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    FD_ZERO(&excepts);
    MHD_get_fdset(server->daemon, &reads, &writes, &excepts, &last);
    if (!server->ended) {
        FD_SET(server->monitor.channel, &reads);
        last = server->monitor.channel > last ? server->monitor.channel : last;
    }
    if (MHD_get_timeout(server->daemon, &wanted) == MHD_YES && wanted < (unsigned)timeout_ms)
        timeout_ms = (int)wanted;
    struct timeval wait = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    if (select(last + 1, &reads, &writes, &excepts, &wait) < 0) {
        FD_ZERO(&reads);
        FD_ZERO(&writes);
        FD_ZERO(&excepts);
    }
    MHD_run_from_select(server->daemon, &reads, &writes, &excepts);
}
