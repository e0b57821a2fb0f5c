/* /dev/kvm as a device: opening it, what it must be able to do, and VMs with one vCPU. */
#ifndef RING3_KVM_HOST_H
#define RING3_KVM_HOST_H

#include <linux/kvm.h>
#include <stddef.h>

#include "base/error.h"

/* A VM and its vCPU; all of it is the process's own (KVM ties a VM to an address space). */
struct kvm_vm {
    int kvm_fd, vm_fd, vcpu_fd; /* -1: closed */
    struct kvm_run *run;
    size_t run_size;
};

/* Makes a VM without memory, its vCPU in KVM's reset state. 0, or -1 with `error` filled and
 * nothing left open. */
int kvm_vm_open(struct kvm_vm *vm, struct error *error);
void kvm_vm_close(struct kvm_vm *vm);

#endif
