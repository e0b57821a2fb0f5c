/* A listening TCP socket from the text of an option (listen.h). */
#include "inspect/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define HOST_MAX 256
#define PORT_MAX 65535

/* Takes "[ADDRESS:]PORT" apart. False: it is none. */
static bool split(const char *place, char host[HOST_MAX], const char **port) {
    const char *colon = strrchr(place, ':');
    size_t size = colon ? (size_t)(colon - place) : 0;
    bool bracketed = size >= 2 && place[0] == '[' && place[size - 1] == ']';
    *port = colon ? colon + 1 : place;
    char *end;
    unsigned long number = strtoul(*port, &end, 10);
    if (**port < '0' || **port > '9' || *end || number > PORT_MAX || size >= HOST_MAX)
        return false;
    if (colon && !size)
        return false;
    snprintf(host, HOST_MAX, "%.*s", (int)(bracketed ? size - 2 : size),
             bracketed ? place + 1 : place);
    return bracketed || !strchr(host, ':');
}

static int bound(const struct addrinfo *address) {
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, 8)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void name_socket(int fd, char *where, size_t size) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    if (!getsockname(fd, (struct sockaddr *)&address, &len))
        getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    bool colons = strchr(host, ':') != NULL;
    snprintf(where, size, "%s%s%s:%s", colons ? "[" : "", host, colons ? "]" : "", port);
}

int listen_on(const char *place, const char *option, char *where, size_t where_size,
              struct error *error) {
    char host[HOST_MAX];
    const char *port;
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    if (!split(place, host, &port))
        return error_set(error, "--%s '%s': not [ADDRESS:]PORT with a port from 0 to 65535", option,
                         place);
    int rc = getaddrinfo(*host ? host : "127.0.0.1", port, &hints, &list);
    if (rc)
        return error_set(error, "--%s '%s': %s", option, place, gai_strerror(rc));
    int fd = bound(list);
    int saved = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return error_set(error, "--%s '%s': cannot listen there: %s", option, place,
                         strerror(saved));
    name_socket(fd, where, where_size);
    return fd;
}

static int connected(const struct addrinfo *address, unsigned seconds) {
    const struct timeval limit = {.tv_sec = (time_t)seconds};
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit); /* connect's as well */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (!connect(fd, address->ai_addr, address->ai_addrlen))
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int connect_to(const char *place, const char *option, unsigned seconds, struct error *error) {
    char host[HOST_MAX];
    const char *port;
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    if (!split(place, host, &port))
        return error_set(error, "--%s '%s': not [ADDRESS:]PORT with a port from 0 to 65535", option, place);
    int rc = getaddrinfo(*host ? host : "127.0.0.1", port, &hints, &list);
    if (rc)
        return error_set(error, "--%s '%s': %s", option, place, gai_strerror(rc));
    int fd = connected(list, seconds);
    int saved = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return error_set(error, "--%s '%s': cannot connect: %s", option, place, strerror(saved));
    return fd;
}
