/* The monitor's loop: wait, then serve whatever is ready.
 *
 * 1. wait    poll() on input, signals, wake-ups and descriptors that have something to take
 * 2. signals the vCPU process ended, or somebody wants the machine to stop
 * 3. input   typed bytes into the ring, Ctrl-A looked for, the vCPU process told
 * 4. output  a chunk for every outlet that is ready
 * 5. sources what others wait for; stops of the vCPU are told of
 * 6. expire  a stop that was not heeded becomes a SIGKILL */
#include "cli/monitor.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/report.h"
#include "cli/terminal.h"

#define CTRL_A 1
#define TRACE_INTERVAL_MS 100 /* how long a trace record may wait, with --log */
#define ROOM_INTERVAL_MS 10   /* how soon piped input is tried again when the guest has no room */
#define FINISH_PATIENCE_MS 1000

enum {
    POLL_SIGNAL,
    POLL_INPUT,
    POLL_SERIAL,
    POLL_DEBUG,
    POLL_TRACE,
    POLL_SERIAL_OUT,
    POLL_DEBUG_OUT,
    POLL_INSPECTION,
    POLL_SOURCES, /* from here on */
    POLL_COUNT = POLL_SOURCES + SOURCES_MAX
};

static const char escape_help[] = "\nCtrl-A h  this help\n"
                                  "Ctrl-A x  quit: stop the guest at once\n"
                                  "Ctrl-A n  raise an NMI\n"
                                  "Ctrl-A Ctrl-A  send Ctrl-A to the guest\n";

int monitor_block_signals(sigset_t *old) {
    static const int taken[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT};
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof taken / sizeof *taken; i++)
        sigaddset(&set, taken[i]);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    sigaddset(&set, SIGUSR1); /* inherited: the engine must not die of it before it listens */
    sigprocmask(SIG_BLOCK, &set, old);
    signal(SIGPIPE, SIG_IGN); /* outlets look at errno */
    return fd;
}

/* Tells the vCPU process to look at its rings and flags. */
static void call_attention(struct monitor *monitor) {
    assert(monitor->vcpu_pid > 1); /* kill() of 0 or -1 would reach others */
    if (!monitor->ended)
        kill(monitor->vcpu_pid, SIGUSR1);
}

static void request_stop(struct monitor *monitor) {
    if (monitor->stopping)
        return;
    monitor->stopping = true;
    monitor->deadline = sources_now() + STOP_PATIENCE_MS;
    vcpu_request_exit(monitor->vcpu, EXIT_QUIT, 0);
    call_attention(monitor);
}

static void reap(struct monitor *monitor) {
    pid_t got = wait4(monitor->vcpu_pid, &monitor->wait_status, WNOHANG, &monitor->usage);
    assert(got == 0 || got == monitor->vcpu_pid);
    if (got) {
        monitor->ended = true;
        target_ended(monitor->target);
    }
}

static void serve_signals(struct monitor *monitor) {
    struct signalfd_siginfo info;
    while (read(monitor->signal_fd, &info, sizeof info) == sizeof info) {
        int signal = (int)info.ssi_signo;
        if (signal == SIGCHLD) {
            reap(monitor);
        } else if (signal == SIGCONT) {
            if (monitor->input_is_tty)
                terminal_enter_raw();
        } else {
            if (!monitor->signal)
                monitor->signal = signal;
            request_stop(monitor);
        }
    }
}

static void press_nmi(struct monitor *monitor) {
    if (!monitor->nmi_button) {
        fputs("\nno NMI with --accel kvm\n", stderr);
        return;
    }
    *monitor->nmi_button = true;
    call_attention(monitor);
}

/* One byte of a terminal: does it go to the guest? */
static bool typed(struct monitor *monitor, uint8_t byte) {
    if (!monitor->escaped) {
        monitor->escaped = byte == CTRL_A;
        return !monitor->escaped;
    }
    monitor->escaped = false;
    if (byte == 'x' || byte == 'X')
        request_stop(monitor);
    else if (byte == 'n' || byte == 'N')
        press_nmi(monitor);
    else if (byte == 'h' || byte == '?')
        fputs(escape_help, stderr);
    return byte == CTRL_A;
}

static void serve_input(struct monitor *monitor) {
    uint8_t bytes[256];
    uint32_t room = ring_free(monitor->input_ring);
    uint32_t want = monitor->input_is_tty || room > sizeof bytes ? sizeof bytes : room;
    ssize_t got = read(monitor->input_fd, bytes, want);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        monitor->input_fd = -1;
        return;
    }
    assert((size_t)got <= want && want <= sizeof bytes);
    uint32_t kept = 0;
    for (ssize_t i = 0; i < got; i++)
        if (!monitor->input_is_tty || typed(monitor, bytes[i]))
            bytes[kept++] = bytes[i];
    if (kept && ring_write(monitor->input_ring, bytes, kept))
        call_attention(monitor);
}

static void serve_outlet(struct monitor *monitor, struct outlet *outlet, bool told, bool ready) {
    if (told)
        channel_heard(outlet->channel);
    if (ready)
        outlet_step(outlet);
    while ((outlet->fd < 0 || outlet->error) && outlet_busy(outlet))
        outlet_step(outlet);
    if (outlet->was_full) {
        outlet->was_full = false;
        call_attention(monitor);
    }
    if (outlet->error && !monitor->write_failed) {
        monitor->write_failed = true;
        report_line("cannot write to %s: %s", outlet->name, strerror(outlet->error));
        request_stop(monitor);
    }
}

static void serve_trace(struct monitor *monitor) {
    uint64_t count;
    if (read(monitor->vcpu->trace->notify_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN || errno == EINTR);
    trace_output_drain(monitor->trace);
}

static bool input_wanted(const struct monitor *monitor) {
    return monitor->input_fd >= 0 && (monitor->input_is_tty || ring_free(monitor->input_ring) > 0);
}

/* How long poll() may sleep: for ever, unless something is due. */
static int patience(const struct monitor *monitor) {
    int timeout = -1;
    if (monitor->trace)
        timeout = TRACE_INTERVAL_MS;
    if (monitor->input_fd >= 0 && !input_wanted(monitor))
        timeout = ROOM_INTERVAL_MS;
    if (target_has_news(monitor->target))
        timeout = 0;
    if (monitor->stopping && !monitor->killed) {
        uint64_t now = sources_now();
        int left = monitor->deadline > now ? (int)(monitor->deadline - now) : 0;
        if (timeout < 0 || left < timeout)
            timeout = left;
    }
    return sources_patience(monitor->sources, timeout);
}

static int outlet_poll_fd(const struct outlet *outlet) {
    return outlet->fd >= 0 && !outlet->error && outlet_busy(outlet) ? outlet->fd : -1;
}

/* Returns how many of the sources were polled. */
static unsigned wait_for_something(struct monitor *monitor, struct pollfd polls[POLL_COUNT]) {
    const struct pollfd wanted[POLL_SOURCES] = {
        [POLL_SIGNAL] = {monitor->signal_fd, POLLIN, 0},
        [POLL_INPUT] = {input_wanted(monitor) ? monitor->input_fd : -1, POLLIN, 0},
        [POLL_SERIAL] = {monitor->serial.channel->event_fd, POLLIN, 0},
        [POLL_DEBUG] = {monitor->debug.channel->event_fd, POLLIN, 0},
        [POLL_TRACE] = {monitor->vcpu->trace->notify_fd, POLLIN, 0},
        [POLL_SERIAL_OUT] = {outlet_poll_fd(&monitor->serial), POLLOUT, 0},
        [POLL_DEBUG_OUT] = {outlet_poll_fd(&monitor->debug), POLLOUT, 0},
        [POLL_INSPECTION] = {monitor->target->event_fd, POLLIN, 0},
    };
    memcpy(polls, wanted, sizeof wanted);
    unsigned count = sources_prepare(monitor->sources, polls + POLL_SOURCES);
    if (poll(polls, POLL_SOURCES + count, patience(monitor)) < 0)
        for (unsigned i = 0; i < POLL_SOURCES + count; i++)
            polls[i].revents = 0;
    return count;
}

static void expire(struct monitor *monitor) {
    if (!monitor->stopping || monitor->killed || monitor->ended || sources_now() < monitor->deadline)
        return;
    monitor->killed = true;
    kill(monitor->vcpu_pid, SIGKILL);
}

void monitor_run(struct monitor *monitor) {
    struct pollfd polls[POLL_COUNT];
    assert(!monitor->ended && monitor->signal_fd >= 0);
    while (!monitor->ended) {
        unsigned sources = wait_for_something(monitor, polls);
        if (polls[POLL_SIGNAL].revents)
            serve_signals(monitor);
        if (polls[POLL_INPUT].revents)
            serve_input(monitor);
        serve_outlet(monitor, &monitor->serial, polls[POLL_SERIAL].revents,
                     polls[POLL_SERIAL_OUT].revents);
        serve_outlet(monitor, &monitor->debug, polls[POLL_DEBUG].revents,
                     polls[POLL_DEBUG_OUT].revents);
        if (monitor->trace)
            serve_trace(monitor);
        target_poll(monitor->target);
        sources_serve(monitor->sources, polls + POLL_SOURCES, sources);
        expire(monitor);
    }
    outlet_finish(&monitor->serial, FINISH_PATIENCE_MS);
    outlet_finish(&monitor->debug, FINISH_PATIENCE_MS);
}
