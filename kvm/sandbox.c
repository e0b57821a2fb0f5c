/* The sandbox of a vCPU process that runs KVM: runtime/sandbox.h with another list.
 *
 * It maps nothing any more, and of ioctl() it has what the run loop needs on two descriptors. */
#include <assert.h>
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/private.h"

#define LOW_HALF 0xffffffffu /* descriptors, process ids and requests are 32 bits wide */

/* As in runtime/sandbox.c: the wait, the timer, the end, and what glibc's assert and abort use. */
static const int plain_calls[] = {
    SCMP_SYS(rt_sigreturn),  SCMP_SYS(rt_sigprocmask),  SCMP_SYS(ppoll),         SCMP_SYS(futex),
    SCMP_SYS(timer_settime), SCMP_SYS(exit_group),      SCMP_SYS(getpid),        SCMP_SYS(gettid),
    SCMP_SYS(brk),           SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime),
};

static const uint32_t vcpu_requests[] = {
    KVM_RUN,      KVM_INTERRUPT,  KVM_SET_MSRS,      KVM_GET_MSRS,
    KVM_GET_REGS, KVM_GET_SREGS2, KVM_GET_DEBUGREGS, KVM_GET_VCPU_EVENTS,
};
static const uint32_t vm_requests[] = {KVM_SET_USER_MEMORY_REGION};

static struct scmp_arg_cmp argument(unsigned number, uint32_t value) {
    return SCMP_CMP64(number, SCMP_CMP_MASKED_EQ, LOW_HALF, value);
}

static int allow_plain(scmp_filter_ctx filter) {
    int rc = 0;
    for (unsigned i = 0; !rc && i < sizeof plain_calls / sizeof *plain_calls; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, plain_calls[i], 0);
    return rc;
}

static int allow_requests(scmp_filter_ctx filter, int fd, const uint32_t *requests,
                          unsigned count) {
    int rc = 0;
    for (unsigned i = 0; !rc && i < count; i++) {
        struct scmp_arg_cmp both[] = {argument(0, (uint32_t)fd), argument(1, requests[i])};
        rc = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 2, both);
    }
    return rc;
}

/* A call whose first argument must be `value`. */
static int allow_for(scmp_filter_ctx filter, int call, int value) {
    struct scmp_arg_cmp first = argument(0, (uint32_t)value);
    return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &first);
}

static int allow_signals(scmp_filter_ctx filter, pid_t pid) {
    int rc = allow_for(filter, SCMP_SYS(kill), pid);
    return rc ? rc : allow_for(filter, SCMP_SYS(tgkill), pid);
}

static int add_rules(scmp_filter_ctx filter, const struct sandbox_rules *rules,
                     const struct kvm_vm *vm) {
    int rc = allow_plain(filter);
    if (!rc)
        rc = allow_requests(filter, vm->vcpu_fd, vcpu_requests,
                            sizeof vcpu_requests / sizeof *vcpu_requests);
    if (!rc)
        rc = allow_requests(filter, vm->vm_fd, vm_requests,
                            sizeof vm_requests / sizeof *vm_requests);
    for (unsigned i = 0; !rc && i < rules->write_fd_count; i++)
        rc = allow_for(filter, SCMP_SYS(write), rules->write_fds[i]);
    for (unsigned i = 0; !rc && i < rules->signal_pid_count; i++)
        rc = allow_signals(filter, rules->signal_pids[i]);
    return rc ? rc : allow_signals(filter, getpid());
}

int kvm_sandbox_enter(const struct sandbox_rules *rules, const struct kvm_vm *vm) {
    assert(rules->write_fd_count <= SANDBOX_FDS_MAX);
    assert(rules->signal_pid_count <= SANDBOX_PIDS_MAX);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter)
        return -ENOMEM;
    int rc = add_rules(filter, rules, vm);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc;
}
