/* The web process: how it is made, what it gives up, its loop; and the monitor's end of the
 * channel. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inspect/web_private.h"
#include "runtime/sandbox.h"

#define FAREWELL_MS 500 /* how long an ended machine's streams are heard */

uint32_t web_now_ms(const struct web_server *server) {
    return (uint32_t)(clock_now(server->subject.clock) / 1000000);
}

bool web_send(const struct web_process *to, enum web_message kind, const void *bytes, size_t len) {
    uint8_t message[1 + WEB_MESSAGE_MAX] = {(uint8_t)kind};
    assert(len <= WEB_MESSAGE_MAX);
    if (len)
        memcpy(message + 1, bytes, len);
    return send(to->channel, message, len + 1, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len + 1;
}

int web_receive(struct web_process *web, uint8_t to[WEB_MESSAGE_MAX], size_t *len) {
    uint8_t message[1 + WEB_MESSAGE_MAX];
    ssize_t got = recv(web->channel, message, sizeof message, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return -1;
    *len = (size_t)got - 1;
    memcpy(to, message + 1, *len);
    return message[0];
}

static void keep_console(struct web_console_log *log, const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        log->bytes[log->end++ % WEB_CONSOLE_KEPT] = bytes[i];
}

/* False: the monitor is gone. */
static bool hear_monitor(struct web_server *server) {
    uint8_t bytes[WEB_MESSAGE_MAX];
    size_t len;
    int kind;
    while ((kind = web_receive(&server->monitor, bytes, &len)) > 0) {
        if (kind == WEB_CONSOLE)
            keep_console(&server->console, bytes, len);
        if (kind != WEB_END)
            continue;
        len = len < sizeof server->how - 1 ? len : sizeof server->how - 1;
        memcpy(server->how, bytes, len);
        server->how[len] = 0;
        server->ended = true;
    }
    return kind == 0;
}

/* All that is shared can only be read from here on; the channel, the listening socket and standard
 * error are the descriptors that are left. */
static int give_up_rights(struct web_server *server) {
    const struct web_subject *subject = &server->subject;
    const int keep[] = {server->listener->fd, server->monitor.channel};
    const struct arena *arenas[] = {&subject->arena, &subject->tables};
    for (unsigned i = 0; i < 2; i++)
        if (mprotect(arenas[i]->base, arenas[i]->size, PROT_READ))
            return -errno;
    if (mprotect(subject->ram.base, subject->ram.size + subject->ram.rom_size, PROT_READ))
        return -errno;
    return sandbox_close_fds(keep, 2);
}

static int set_up(struct web_server *server) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGTSTP};
    for (unsigned i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return -errno;
    if (getppid() != server->monitor.pid)
        return -ESRCH;
    int status = give_up_rights(server);
    json_object_seed(0); /* while /dev/urandom can be opened */
    web_symbols_read(server);
    if (!status)
        status = web_code_open(server);
    if (!status)
        status = web_server_start(server);
    if (!status)
        web_symbols_start(server);
    return status ? status : web_sandbox_enter();
}

static uint64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void tick(struct web_server *server) {
    struct web_subject *subject = &server->subject;
    uint8_t watched = server->stream_count > 0;
    memcpy(subject->ram.legacy, subject->live_ram->legacy, sizeof subject->ram.legacy);
    web_births_note(server);
    if (server->symbols)
        symbols_slide_from_sysenter(server->symbols, subject->v->cpu.msr.sysenter_eip);
    if (watched != server->watched && web_send(&server->monitor, WEB_WATCHED, &watched, 1))
        server->watched = watched;
}

/* Until the machine has ended and those who look on have been told, or nobody is there to ask. */
static void serve(struct web_server *server) {
    uint64_t next = monotonic_ms(), last = 0;
    bool monitor_there = true;
    for (;;) {
        uint64_t now = monotonic_ms();
        if (now >= next) {
            tick(server);
            next = now + WEB_TICK_MS;
        }
        monitor_there = monitor_there && hear_monitor(server);
        if (!monitor_there && !last)
            last = now + FAREWELL_MS;
        server->ended |= !monitor_there;
        web_streams_tell(server);
        if (last && (now >= last || !server->streams))
            return;
        web_server_wait(server, next > now ? (int)(next - now) : 0);
    }
}

static _Noreturn void web_main(struct web_server *server) {
    int status = set_up(server);
    if (status)
        _exit(1);
    serve(server);
    _exit(0);
}

static struct web_server *make_server(const struct web_listener *listener,
                                      const struct web_subject *subject) {
    struct web_server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    server->subject = *subject;
    server->listener = listener;
    return server;
}

static void close_end(int fd) {
    if (fd >= 0)
        close(fd);
}

int web_start(struct web_process *web, const struct web_listener *listener,
              const struct web_subject *subject) {
    int ends[2] = {-1, -1};
    *web = (struct web_process){.channel = -1};
    struct web_server *server = make_server(listener, subject);
    if (!server)
        return -ENOMEM;
    pid_t monitor = getpid(), pid = -1;
    if (!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
        pid = fork();
    if (!pid) {
        close(ends[0]);
        server->monitor = (struct web_process){.pid = monitor, .channel = ends[1]};
        web_main(server);
    }
    int status = pid < 0 ? -errno : 0;
    free(server);
    close_end(ends[1]);
    if (status)
        close_end(ends[0]);
    else
        *web = (struct web_process){.pid = pid, .channel = ends[0]};
    return status;
}

void web_console(struct web_process *web, const uint8_t *bytes, size_t len) {
    while (web->pid && len) {
        size_t part = len < WEB_MESSAGE_MAX ? len : WEB_MESSAGE_MAX;
        if (!web_send(web, WEB_CONSOLE, bytes, part))
            return;
        bytes += part;
        len -= part;
    }
}

/* Waits for its end, but not for ever: it may have been taken over. */
static int reap(pid_t pid) {
    const struct timespec pause = {.tv_nsec = 5000000};
    uint64_t deadline = monotonic_ms() + 2 * FAREWELL_MS;
    int status = 0;
    while (!waitpid(pid, &status, WNOHANG)) {
        if (monotonic_ms() > deadline)
            kill(pid, SIGKILL);
        nanosleep(&pause, NULL);
    }
    return status;
}

int web_stop(struct web_process *web, const char *how) {
    if (!web->pid)
        return 0;
    assert(web->pid > 1); /* kill() of 0 or -1 would reach others */
    web_send(web, WEB_END, how, strlen(how));
    close(web->channel);
    int status = reap(web->pid);
    *web = (struct web_process){.channel = -1};
    return status;
}
