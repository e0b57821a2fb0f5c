/* The run loop on KVM.
 *
 *   1. attention: devices, timers, HLT, interrupts   (attention.c)
 *   2. KVM_RUN
 *   3. act on the reason it came back for            (exits.c)
 *   4. memory slots, when a device has switched memory (slots.c)
 *
 * Before it the vCPU's state is loaded, and behind it stored back. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/kvm.h"
#include "kvm/model.h"
#include "kvm/private.h"
#include "kvm/state.h"

/* What FNINIT and a processor's reset leave: the x87 and vector registers are no part of struct
 * cpu. */
#define FCW_AT_START 0x37f
#define MXCSR_AT_START 0x1f80

void kvm_host_failure(struct kvm_engine *e, const char *what, ...) {
    struct vcpu *v = e->v;
    va_list args;
    if (v->exit != EXIT_NONE)
        return;
    va_start(args, what);
    vsnprintf(v->exit_text, sizeof v->exit_text, what, args);
    va_end(args);
    vcpu_request_exit(v, EXIT_HOST_FAILURE, 0);
}

static int load_state(struct kvm_engine *e) {
    const struct cpu *cpu = &e->v->cpu;
    int fd = e->vm.vcpu_fd;
    struct kvm_sregs2 sregs;
    const struct kvm_regs regs = state_regs_to_kvm(cpu);
    const struct kvm_debugregs debugregs = state_debugregs_to_kvm(cpu);
    const struct kvm_fpu fpu = {.fcw = FCW_AT_START, .mxcsr = MXCSR_AT_START};
    struct kvm_vcpu_events events;
    assert(!cpu->halted && !cpu->nmi_pending);
    if (ioctl(fd, KVM_GET_SREGS2, &sregs) || ioctl(fd, KVM_GET_VCPU_EVENTS, &events))
        return -errno;
    state_sregs_to_kvm(cpu, &sregs);
    events.interrupt.shadow = cpu->debug_shadow       ? KVM_X86_SHADOW_INT_MOV_SS
                              : cpu->interrupt_shadow ? KVM_X86_SHADOW_INT_STI
                                                      : 0;
    events.nmi.masked = cpu->nmi_blocked;
    events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
    if (ioctl(fd, KVM_SET_SREGS2, &sregs) || ioctl(fd, KVM_SET_REGS, &regs) ||
        ioctl(fd, KVM_SET_DEBUGREGS, &debugregs) || ioctl(fd, KVM_SET_FPU, &fpu) ||
        ioctl(fd, KVM_SET_VCPU_EVENTS, &events))
        return -errno;
    return kvm_model_load_msrs(e->v, fd);
}

int kvm_store_state(struct kvm_engine *e) {
    struct cpu *cpu = &e->v->cpu;
    int fd = e->vm.vcpu_fd;
    struct kvm_regs regs;
    struct kvm_sregs2 sregs;
    struct kvm_debugregs debugregs;
    struct kvm_vcpu_events events;
    if (ioctl(fd, KVM_GET_REGS, &regs) || ioctl(fd, KVM_GET_SREGS2, &sregs) ||
        ioctl(fd, KVM_GET_DEBUGREGS, &debugregs) || ioctl(fd, KVM_GET_VCPU_EVENTS, &events))
        return -errno;
    state_from_kvm(cpu, &regs, &sregs, &debugregs);
    cpu->interrupt_shadow = events.interrupt.shadow != 0;
    cpu->debug_shadow = (events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
    cpu->nmi_blocked = events.nmi.masked;
    return kvm_model_store_msrs(e->v, fd);
}

/* KVM keeps /dev/kvm's and guest memory's descriptors in use by itself. */
static void close_spare_fds(struct kvm_engine *e) {
    close(e->vm.kvm_fd);
    e->vm.kvm_fd = -1;
    close(e->v->ram->fd); /* the monitor has its own */
}

/* On processors with SVM, KVM resets a vCPU that has shut down. */
static void explain_shutdown(struct vcpu *v) {
    static const char text[] = "; KVM has reset the processor: its registers are lost";
    const struct segment *cs = &v->cpu.seg[SEG_CS];
    _Static_assert(sizeof text <= sizeof v->exit_text, "it fits");
    if (v->exit == EXIT_TRIPLE_FAULT && v->cpu.eip == 0xfff0 && cs->base == 0xffff0000)
        memcpy(v->exit_text, text, sizeof text);
}

static int set_up(struct kvm_engine *e) {
    struct error error;
    if (kvm_vm_open(&e->vm, &error) || kvm_model_apply(&e->vm, e->v, &error)) {
        kvm_host_failure(e, "%s", error.text);
        return -EIO;
    }
    int rc = kvm_slots_apply(e->vm.vm_fd, &e->slots, e->v->ram);
    if (!rc)
        rc = load_state(e);
    if (!rc)
        rc = kvm_attention_init(e);
    close_spare_fds(e);
    if (!rc && e->options.sandbox)
        rc = kvm_sandbox_enter(e->options.sandbox_rules, &e->vm);
    if (rc)
        kvm_host_failure(e, "setting up KVM: %s", strerrordesc_np(-rc));
    return rc;
}

/* Enters the guest. False: a signal came first, or this KVM cannot go on. */
static bool enter(struct kvm_engine *e) {
    if (!ioctl(e->vm.vcpu_fd, KVM_RUN, 0))
        return true;
    if (errno == EFAULT)
        kvm_host_failure(e, "guest memory is gone (is the host out of memory?)");
    else if (errno != EINTR)
        kvm_host_failure(e, "KVM_RUN: %s", strerrordesc_np(errno));
    return false;
}

static void run(struct kvm_engine *e) {
    struct vcpu *v = e->v;
    while (!v->exit) {
        kvm_attention_pay(e);
        if (v->exit)
            break;
        if (enter(e))
            kvm_exit_handle(e);
        int rc = kvm_slots_differ(&e->slots, v->ram)
                     ? kvm_slots_apply(e->vm.vm_fd, &e->slots, v->ram)
                     : 0;
        if (rc)
            kvm_host_failure(e, "KVM does not take the memory map: %s", strerrordesc_np(-rc));
    }
    /* The instruction that stopped the machine is done before its registers are looked at. */
    e->vm.run->immediate_exit = 1;
    if (e->unfinished)
        ioctl(e->vm.vcpu_fd, KVM_RUN, 0);
}

int kvm_engine_run(struct vcpu *v, const struct engine_options *options) {
    struct kvm_engine engine = {.v = v, .options = *options};
    int rc = set_up(&engine);
    if (!rc)
        run(&engine);
    kvm_attention_end();
    if (rc)
        return rc;
    rc = kvm_store_state(&engine);
    if (rc)
        kvm_host_failure(&engine, "KVM does not hand over the registers: %s", strerrordesc_np(-rc));
    explain_shutdown(v);
    return v->exit == EXIT_HOST_FAILURE ? -EIO : 0;
}
