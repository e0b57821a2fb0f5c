/* Only in coverage builds: counters are written by whoever ends a process without exit().
 *
 * The vCPU process does (_exit, behind a seccomp filter that lets it open no file), so that filter
 * is left out for ring3 itself. In the tests of the sandbox it is real, and what ran before it
 * closes is written then. Linked with --wrap for both calls. */
#include <errno.h>
#include <seccomp.h>
#include <string.h>

void __gcov_dump(void);
void __gcov_reset(void);
_Noreturn void __real__exit(int status);
int __real_seccomp_load(scmp_filter_ctx filter);
_Noreturn void __wrap__exit(int status);
int __wrap_seccomp_load(scmp_filter_ctx filter);

static int closed;

_Noreturn void __wrap__exit(int status) {
    if (!closed)
        __gcov_dump();
    __real__exit(status);
}

int __wrap_seccomp_load(scmp_filter_ctx filter) {
    if (!strcmp(program_invocation_short_name, "ring3"))
        return 0;
    __gcov_dump();
    __gcov_reset();
    closed = 1;
    return __real_seccomp_load(filter);
}
