/* The vCPU process's sandbox, made with libseccomp.
 *
 * The list below is the whole of it. A row says which call and, where its arguments decide,
 * which arguments. What is not listed kills the process: a refusal by errno would let code that
 * should not run at all try something else. */
#include "runtime/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* Calls allowed with any arguments. Beside the engine's own: brk, gettid and clock_gettime are
 * what glibc's assert, abort and clock use, restart_syscall is how the kernel resumes a wait
 * after SIGCONT. */
static const int plain_calls[] = {
    SCMP_SYS(munmap),          SCMP_SYS(madvise),
    SCMP_SYS(fallocate),       SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),  SCMP_SYS(ppoll),
    SCMP_SYS(futex),           SCMP_SYS(clock_nanosleep),
    SCMP_SYS(timer_settime),   SCMP_SYS(setitimer),
    SCMP_SYS(exit_group),      SCMP_SYS(getpid),
    SCMP_SYS(gettid),          SCMP_SYS(brk),
    SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime),
};

static int allow_plain(scmp_filter_ctx filter) {
    for (unsigned i = 0; i < sizeof plain_calls / sizeof *plain_calls; i++) {
        int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
        if (rc)
            return rc;
    }
    return 0;
}

/* mmap and mprotect; the third argument of both is the protection. */
static int allow_maps(scmp_filter_ctx filter, bool executable) {
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    struct scmp_arg_cmp not_exec = SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        int rc =
            seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, calls[i], executable ? 0 : 1, &not_exec);
        if (rc)
            return rc;
    }
    return 0;
}

/* A call whose first argument must be `value` (descriptors and process ids are 32 bits wide). */
static int allow_for(scmp_filter_ctx filter, int call, int value) {
    struct scmp_arg_cmp same =
        SCMP_A0_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, (scmp_datum_t)(unsigned)value);
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &same);
}

static int allow_signals(scmp_filter_ctx filter, pid_t pid) {
    int rc = allow_for(filter, SCMP_SYS(kill), pid);
    return rc ? rc : allow_for(filter, SCMP_SYS(tgkill), pid);
}

static int add_rules(scmp_filter_ctx filter, const struct sandbox_rules *rules) {
    int rc = allow_plain(filter);
    if (!rc)
        rc = allow_maps(filter, rules->executable_maps);
    for (unsigned i = 0; !rc && i < rules->write_fd_count; i++)
        rc = allow_for(filter, SCMP_SYS(write), rules->write_fds[i]);
    for (unsigned i = 0; !rc && i < rules->signal_pid_count; i++)
        if (rules->signal_pids[i] != getpid())
            rc = allow_signals(filter, rules->signal_pids[i]);
    return rc ? rc : allow_signals(filter, getpid());
}

int sandbox_enter(const struct sandbox_rules *rules) {
    assert(rules->write_fd_count <= SANDBOX_FDS_MAX);
    assert(rules->signal_pid_count <= SANDBOX_PIDS_MAX);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int rc = add_rules(filter, rules);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}

static bool is_kept(int fd, const int *keep, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (keep[i] == fd)
            return true;
    return false;
}

/* The smallest kept descriptor that is at least `from`, or -1. */
static int next_kept(int from, const int *keep, unsigned count) {
    int next = -1;
    for (unsigned i = 0; i < count; i++)
        if (keep[i] >= from && (next < 0 || keep[i] < next))
            next = keep[i];
    return next;
}

int sandbox_close_fds(const int *keep, unsigned count) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return -errno;
    for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
        if (!is_kept(fd, keep, count) && null != fd && dup2(null, fd) < 0)
            return -errno;
    unsigned from = STDERR_FILENO + 1;
    for (int kept; (kept = next_kept((int)from, keep, count)) >= 0; from = (unsigned)kept + 1)
        if ((unsigned)kept > from && close_range(from, (unsigned)kept - 1, 0))
            return -errno;
    return close_range(from, ~0u, 0) ? -errno : 0;
}
