/* The web process's sandbox: what the HTTP library and an allocator need, and nothing that opens,
 * connects or executes. What is not listed kills the process. */
#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "inspect/web_private.h"

#ifndef RING3_SANITIZED
static const int plain_calls[] = {
    SCMP_SYS(accept4),         SCMP_SYS(accept),       SCMP_SYS(read),
    SCMP_SYS(write),           SCMP_SYS(writev),       SCMP_SYS(recvfrom),
    SCMP_SYS(sendto),          SCMP_SYS(sendmsg),      SCMP_SYS(shutdown),
    SCMP_SYS(close),           SCMP_SYS(select),       SCMP_SYS(pselect6),
    SCMP_SYS(setsockopt),      SCMP_SYS(getsockopt),   SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),     SCMP_SYS(fcntl),        SCMP_SYS(munmap),
    SCMP_SYS(mremap),          SCMP_SYS(madvise),      SCMP_SYS(brk),
    SCMP_SYS(futex),           SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(clock_gettime),   SCMP_SYS(getpid),       SCMP_SYS(gettid),
    SCMP_SYS(getrandom),       SCMP_SYS(exit_group),   SCMP_SYS(exit),
    SCMP_SYS(restart_syscall), SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
};

static int add_rules(scmp_filter_ctx filter) {
    struct scmp_arg_cmp not_exec = SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    int rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, &not_exec);
    for (unsigned i = 0; !rc && i < sizeof plain_calls / sizeof *plain_calls; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
    return rc;
}
#endif

int web_sandbox_enter(void) {
#ifdef RING3_SANITIZED
    return 0; /* the sanitizers' run-time makes other calls */
#else
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int rc = add_rules(filter);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
#endif
}
