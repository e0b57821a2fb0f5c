/* Address, token and the checks of a request: see web_address.h. */
#include "inspect/web_address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define HOST_MAX 64u /* an IPv6 address in text fits */
#define BACKLOG 16

/* Splits "[ADDR:]PORT", "[v6]:PORT" and "[v6]" into its parts; a part that is not there is "". */
static bool split(const char *text, char host[HOST_MAX], const char **port) {
    const char *end = strchr(text, *text == '[' ? ']' : ':'); /* only IPv6 has more colons */
    host[0] = 0;
    if (*text == '[') {
        if (!end || (end[1] && end[1] != ':'))
            return false;
        text++;
        *port = end[1] ? end + 2 : end + 1;
    } else if (end) {
        *port = end + 1;
    } else {
        *port = text;
        return true;
    }
    size_t len = (size_t)(end - text);
    if (!len || len >= HOST_MAX)
        return false;
    memcpy(host, text, len);
    host[len] = 0;
    return true;
}

static bool parse_port(const char *text, uint16_t *port) {
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    unsigned long number = strtoul(text, &end, 10);
    *port = (uint16_t)number;
    return !*end && number <= UINT16_MAX;
}

int web_parse_address(const char *text, struct sockaddr_storage *address, socklen_t *len,
                      struct error *error) {
    char host[HOST_MAX];
    const char *port_text;
    uint16_t port;
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (!split(text, host, &port_text) || !parse_port(port_text, &port))
        return error_set(error, "--web '%s': not [ADDR:]PORT with a port from 0 to 65535", text);
    if (!*host || !strcmp(host, "localhost"))
        strcpy(host, "127.0.0.1");
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *len = sizeof *v4;
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *len = sizeof *v6;
    } else {
        return error_set(error, "--web '%s': '%s' is not an address in numbers", text, host);
    }
    return 0;
}

static bool is_loopback(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int make_token(char token[WEB_TOKEN_LEN + 1]) {
    uint8_t random[WEB_TOKEN_LEN / 2];
    if (getrandom(random, sizeof random, 0) != sizeof random)
        return -1;
    for (unsigned i = 0; i < sizeof random; i++)
        snprintf(token + 2 * i, 3, "%02x", random[i]);
    return 0;
}

/* The address as it came out (port 0 was a wish for any), with its token. */
static int describe(struct web_listener *listener) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN];
    if (getsockname(listener->fd, (struct sockaddr *)&address, &len) || make_token(listener->token))
        return -1;
    listener->loopback = is_loopback(&address);
    bool v4 = address.ss_family == AF_INET;
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
    inet_ntop(address.ss_family, v4 ? (const void *)&in->sin_addr : &in6->sin6_addr, host,
              sizeof host);
    snprintf(listener->url, sizeof listener->url, v4 ? "http://%s:%u/%s/" : "http://[%s]:%u/%s/",
             host, ntohs(v4 ? in->sin_port : in6->sin6_port), listener->token);
    return 0;
}

int web_listen(struct web_listener *listener, const char *text, struct error *error) {
    struct sockaddr_storage address;
    socklen_t len;
    int on = 1;
    listener->fd = -1;
    if (web_parse_address(text, &address, &len, error))
        return -1;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    listener->fd = fd;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&address, len) || listen(fd, BACKLOG) || describe(listener)) {
        error_set(error, "--web '%s': cannot listen: %s", text, strerror(errno));
        web_close(listener);
        return -1;
    }
    return 0;
}

void web_close(struct web_listener *listener) {
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

const char *web_path_behind_token(const char *path, const char *token) {
    unsigned difference = 0;
    assert(strlen(token) == WEB_TOKEN_LEN);
    if (strlen(path) < WEB_TOKEN_LEN + 2 || path[0] != '/')
        return NULL;
    for (unsigned i = 0; i < WEB_TOKEN_LEN; i++)
        difference |= (unsigned char)path[1 + i] ^ (unsigned char)token[i];
    difference |= (unsigned char)path[1 + WEB_TOKEN_LEN] ^ '/';
    return difference ? NULL : path + WEB_TOKEN_LEN + 2;
}

bool web_host_is_allowed(const char *host, bool loopback) {
    struct sockaddr_storage address = {0};
    char name[HOST_MAX], with_port[HOST_MAX + 8];
    const char *port;
    socklen_t len;
    struct error ignored;
    uint16_t number;
    if (!host || strlen(host) >= HOST_MAX)
        return false;
    /* Without a port a Host is all name: give it one to be read like an address. */
    bool v6_end = host[0] == '[' && host[strlen(host) - 1] == ']';
    snprintf(with_port, sizeof with_port,
             host[0] && (v6_end || !strchr(host, ':')) ? "%s:80" : "%s", host);
    if (!split(with_port, name, &port) || !*name || !parse_port(port, &number) ||
        web_parse_address(with_port, &address, &len, &ignored))
        return false;
    return !loopback || is_loopback(&address);
}

bool web_origin_is_allowed(const char *origin, const char *site, const char *host) {
    static const char scheme[] = "http://";
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return false;
    if (!origin)
        return true;
    return !strncmp(origin, scheme, sizeof scheme - 1) && !strcmp(origin + sizeof scheme - 1, host);
}
