/* Children behind two pipes. */
#include "bench/host/child.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECONDS_NS + (uint64_t)now.tv_nsec;
}

static _Noreturn void become(const char *const *argv, const int *in, const int *out, pid_t parent) {
    if (!prctl(PR_SET_PDEATHSIG, SIGKILL) && getppid() == parent &&
        dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0 &&
        dup2(out[1], STDERR_FILENO) >= 0) {
        signal(SIGPIPE, SIG_DFL);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
    }
    _exit(127);
}

int child_start(struct child *child, const char *const *argv) {
    int in[2], out[2];
    assert(!child->pid);
    if (pipe2(in, O_CLOEXEC))
        return -errno;
    if (pipe2(out, O_CLOEXEC)) {
        int error = errno;
        close(in[0]);
        close(in[1]);
        return -error;
    }
    pid_t parent = getpid(), pid = fork();
    int error = errno;
    if (pid == 0)
        become(argv, in, out, parent);
    close(in[0]);
    close(out[1]);
    if (pid < 0) {
        close(in[1]);
        close(out[0]);
        return -error;
    }
    *child = (struct child){.pid = pid, .input = in[1], .output = out[0]};
    return 0;
}

/* A copy that a terminal can be shown. False: nothing but spaces. */
static bool copy_line(char *to, size_t size, const char *from, size_t len) {
    size_t at = 0;
    bool visible = false;
    for (size_t i = 0; i < len && at + 1 < size; i++) {
        if (from[i] == '\r')
            continue;
        to[at] = iscntrl((unsigned char)from[i]) ? '?' : from[i];
        visible = visible || to[at] != ' ';
        at++;
    }
    to[at] = 0;
    return visible;
}

/* Lines that say why a child ended are worth more than what comes behind them. */
static bool is_reason(const char *line) {
    static const char *const starts[] = {"FAIL", "ring3: host failure", "ring3: triple fault"};
    for (unsigned i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(line, starts[i], strlen(starts[i])))
            return true;
    return strstr(line, "refuses 32-bit paging") != NULL;
}

/* Takes a line out of what has been read. False: there is no whole one. */
static bool take_line(struct child *child, char *line, size_t size, bool ended) {
    char *end = memchr(child->pending, '\n', child->pending_len);
    size_t len = end ? (size_t)(end - child->pending) : child->pending_len;
    if (!end && !(ended && len) && len < sizeof child->pending)
        return false;
    if (copy_line(line, size, child->pending, len) && !is_reason(child->last))
        copy_line(child->last, sizeof child->last, line, strlen(line));
    len += end != NULL;
    child->pending_len -= len;
    memmove(child->pending, child->pending + len, child->pending_len);
    return true;
}

enum child_event child_read(struct child *child, char *line, size_t size, uint64_t deadline_ns) {
    assert(child->pid);
    while (!take_line(child, line, size, false)) {
        uint64_t now = now_ns();
        if (now >= deadline_ns)
            return CHILD_LATE;
        struct pollfd wait = {.fd = child->output, .events = POLLIN};
        int ready = poll(&wait, 1, (int)((deadline_ns - now) / 1000000 + 1));
        if (ready <= 0)
            continue;
        ssize_t got = read(child->output, child->pending + child->pending_len,
                           sizeof child->pending - child->pending_len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return take_line(child, line, size, true) ? CHILD_LINE : CHILD_ENDED;
        child->pending_len += (size_t)got;
    }
    return CHILD_LINE;
}

int child_send(struct child *child, const char *text) {
    for (size_t len = strlen(text); len;) {
        ssize_t wrote = write(child->input, text, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -errno;
        text += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

static int reap(struct child *child) {
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(child->input);
    close(child->output);
    child->pid = 0;
    return status;
}

void child_stop(struct child *child) {
    if (!child->pid)
        return;
    kill(child->pid, SIGKILL);
    reap(child);
}

int child_finish(struct child *child, uint64_t deadline_ns) {
    siginfo_t info;
    for (;;) {
        info.si_pid = 0;
        if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid)
            break;
        if (now_ns() >= deadline_ns) {
            kill(child->pid, SIGKILL);
            break;
        }
        usleep(1000);
    }
    return reap(child);
}
