/* The stub's socket: one debugger at a time (gdb.h).
 *
 *     listening -> attached: the machine is asked to stop; packets are read once it stands
 *               -> served: packets in, replies and stops out
 *               -> gone: breakpoints are taken back (the machine is stopped for that if it runs),
 *                  and it goes on -> listening */
#include "inspect/gdb.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inspect/gdb_session.h"
#include "inspect/listen.h"

#define GOODBYE_READS 64

static const char refusal[] = "ring3: another debugger is attached\n";

struct gdb {
    struct target *target;
    struct sources *sources;
    void (*say)(const char *line);
    struct target_listener listener;
    struct source door, peer; /* the peer's descriptor is -1: nobody is attached */
    bool settling;            /* a debugger is attached and the machine does not stand yet */
    bool cleaning;            /* one has gone and its breakpoints are still set */
    bool greeted;             /* the peer has sent something of the protocol */
    struct gdb_session session;
};

static void unless_running(struct gdb *gdb) {
    if (target_is_stopped(gdb->target))
        target_resume(gdb->target);
}

/* Afterwards the machine runs, or will. */
static void part(struct gdb *gdb) {
    assert(gdb->peer.fd >= 0);
    sources_remove(gdb->sources, &gdb->peer);
    close(gdb->peer.fd);
    gdb->peer.fd = -1;
    gdb->settling = false;
    target_hold(gdb->target, false);
    gdb->cleaning = !gdb_session_clear_points(&gdb->session);
    gdb->door.events = gdb->cleaning ? 0 : POLLIN;
    if (gdb->cleaning)
        target_pause(gdb->target);
    else
        unless_running(gdb);
}

static bool flush(struct gdb *gdb) {
    struct gdb_session *s = &gdb->session;
    while (s->out_size) {
        ssize_t sent = send(gdb->peer.fd, s->out, s->out_size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || errno == EINTR;
        s->out_size -= (size_t)sent;
        memmove(s->out, s->out + sent, s->out_size);
    }
    return true;
}

/* What is waited for from now on. Whoever else knocks waits until the machine stands: the peer may
 * be gone by then. */
static void settle_events(struct gdb *gdb) {
    bool reads = !gdb->settling && !gdb->session.resetting;
    gdb->door.events = reads && !gdb->cleaning ? POLLIN : 0;
    gdb->peer.events = (short)((reads ? POLLIN : 0) | (gdb->session.out_size ? POLLOUT : 0));
}

/* Sends what is to be sent; the peer may be gone afterwards. */
static void after_work(struct gdb *gdb) {
    bool alive = flush(gdb) && !gdb->session.broken && !gdb->session.leaves;
    if (alive)
        settle_events(gdb);
    else
        part(gdb);
}

/* Browsers can be made to send anything to a local port, but not to begin with these. */
static bool is_greeting(uint8_t byte) {
    return byte == '+' || byte == '-' || byte == '$' || byte == 3;
}

static void serve_peer(struct source *source, short revents) {
    struct gdb *gdb = source->opaque;
    uint8_t bytes[4096];
    if (gdb->settling || gdb->session.resetting) {
        if (revents & (POLLHUP | POLLERR))
            part(gdb);
        else
            after_work(gdb);
        return;
    }
    if (!(revents & (POLLIN | POLLHUP | POLLERR))) {
        after_work(gdb);
        return;
    }
    /* A reset leaves the rest for later: it is looked at before it is taken. */
    ssize_t got = recv(source->fd, bytes, sizeof bytes, MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0 && !gdb->greeted && !is_greeting(bytes[0])) {
        gdb->say("gdb: what has connected does not speak the remote protocol");
        got = 0;
    }
    if (got <= 0) {
        part(gdb);
        return;
    }
    gdb->greeted = true;
    size_t taken = gdb_session_receive(&gdb->session, bytes, (size_t)got);
    assert(taken <= (size_t)got);
    got = recv(source->fd, bytes, taken, 0);
    after_work(gdb);
}

static void attach(struct gdb *gdb, int fd) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    gdb->peer.fd = fd;
    gdb->greeted = false;
    gdb_session_start(&gdb->session, gdb->target);
    target_hold(gdb->target, true);
    gdb->settling = !target_is_stopped(gdb->target);
    if (gdb->settling)
        target_pause(gdb->target);
    settle_events(gdb);
    if (sources_add(gdb->sources, &gdb->peer))
        part(gdb);
}

/* A debugger that detaches and comes again must not meet itself. */
static void hear_goodbye(struct gdb *gdb) {
    for (unsigned i = 0; gdb->peer.fd >= 0 && i < GOODBYE_READS; i++) {
        struct pollfd ready = {.fd = gdb->peer.fd, .events = POLLIN};
        if (gdb->settling || gdb->session.resetting || poll(&ready, 1, 0) <= 0)
            return;
        serve_peer(&gdb->peer, ready.revents);
    }
}

static void serve_door(struct source *source, short revents) {
    struct gdb *gdb = source->opaque;
    (void)revents;
    hear_goodbye(gdb);
    if (!source->events)
        return; /* later */
    int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (gdb->peer.fd < 0) {
        attach(gdb, fd);
        return;
    }
    gdb->say("gdb: a second debugger was refused, one is attached");
    ssize_t sent = send(fd, refusal, sizeof refusal - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent;
    close(fd);
}

static void clean(struct gdb *gdb, const struct inspection_stop *why) {
    bool ours = why->reason == STOP_ASKED || why->reason == STOP_STEP ||
                gdb_session_has_point(&gdb->session, why);
    gdb->cleaning = !gdb_session_clear_points(&gdb->session);
    gdb->door.events = gdb->cleaning ? 0 : POLLIN;
    if (ours && !gdb->cleaning)
        unless_running(gdb);
}

static void on_stopped(void *opaque, const struct inspection_stop *why) {
    struct gdb *gdb = opaque;
    if (gdb->cleaning)
        clean(gdb, why);
    if (gdb->peer.fd < 0)
        return;
    gdb->settling = false;
    gdb_session_stopped(&gdb->session, why);
    after_work(gdb);
}

/* The machine after a reset: one that is waited for still has to stop. */
static void on_attached(void *opaque) {
    struct gdb *gdb = opaque;
    if (gdb->settling || gdb->cleaning)
        target_pause(gdb->target);
}

struct gdb *gdb_open(const char *place, struct target *target, struct sources *sources,
                     void (*say)(const char *line), struct error *error) {
    char where[128], line[192];
    int fd = listen_on(place, "gdb", where, sizeof where, error);
    if (fd < 0)
        return NULL;
    struct gdb *gdb = calloc(1, sizeof *gdb);
    if (!gdb) {
        close(fd);
        error_set(error, "no memory for a debugger's session");
        return NULL;
    }
    gdb->target = target;
    gdb->sources = sources;
    gdb->say = say;
    gdb->door = (struct source){.fd = fd, .events = POLLIN, .serve = serve_door, .opaque = gdb};
    gdb->peer = (struct source){.fd = -1, .serve = serve_peer, .opaque = gdb};
    gdb->listener =
        (struct target_listener){.stopped = on_stopped, .attached = on_attached, .opaque = gdb};
    if (sources_add(sources, &gdb->door) || target_listen(target, &gdb->listener)) {
        gdb_close(gdb, 0);
        error_set(error, "--gdb: too many inspect this machine");
        return NULL;
    }
    snprintf(line, sizeof line, "gdb: listening on %s", where);
    say(line);
    return gdb;
}

void gdb_close(struct gdb *gdb, int status) {
    if (!gdb)
        return;
    target_unlisten(gdb->target, &gdb->listener);
    sources_remove(gdb->sources, &gdb->door);
    close(gdb->door.fd);
    if (gdb->peer.fd >= 0) {
        gdb_session_exited(&gdb->session, status);
        flush(gdb);
        sources_remove(gdb->sources, &gdb->peer);
        close(gdb->peer.fd);
    }
    free(gdb);
}
