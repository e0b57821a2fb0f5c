/* Opening /dev/kvm. */
#include "kvm/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEVICE "/dev/kvm"

/* Processors that cannot run real mode by themselves need four pages of guest-physical memory that
 * nothing else wants: right below the largest ROM, above the most RAM. */
#define IDENTITY_MAP 0xfeffc000ul
#define TASK_STATE 0xfeffd000ul

/* All of them are there from Linux 5.14 on. */
static const struct {
    int number;
    const char *name;
} capabilities[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    {KVM_CAP_SREGS2, "KVM_CAP_SREGS2"},
    {KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
    {KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
};

static int check_device(int fd, struct error *error) {
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version < 0)
        return error_set(error, "%s is no KVM device: %s", DEVICE, strerror(errno));
    if (version != KVM_API_VERSION)
        return error_set(error, "%s has version %d of its interface, not %d", DEVICE, version,
                         KVM_API_VERSION);
    for (unsigned i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        if (ioctl(fd, KVM_CHECK_EXTENSION, capabilities[i].number) <= 0)
            return error_set(error, "%s cannot be used: it lacks %s", DEVICE, capabilities[i].name);
    return 0;
}

static int open_device(int *fd, struct error *error) {
    *fd = open(DEVICE, O_RDWR | O_CLOEXEC);
    if (*fd < 0)
        return error_set(error, "%s cannot be opened: %s", DEVICE, strerror(errno));
    return check_device(*fd, error);
}

static int make_vcpu(struct kvm_vm *vm, struct error *error) {
    int size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    unsigned long identity = IDENTITY_MAP;
    vm->vm_fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
    if (vm->vm_fd < 0)
        return error_set(error, "%s makes no VM: %s", DEVICE, strerror(errno));
    /* Neither exists where the processor needs no such help. */
    ioctl(vm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    ioctl(vm->vm_fd, KVM_SET_TSS_ADDR, TASK_STATE);
    vm->vcpu_fd = ioctl(vm->vm_fd, KVM_CREATE_VCPU, 0);
    if (vm->vcpu_fd < 0 || size < (int)sizeof *vm->run)
        return error_set(error, "%s makes no vCPU: %s", DEVICE, strerror(errno));
    void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu_fd, 0);
    if (run == MAP_FAILED)
        return error_set(error, "%s: cannot map the vCPU's page: %s", DEVICE, strerror(errno));
    vm->run = run;
    vm->run_size = (size_t)size;
    return 0;
}

int kvm_vm_open(struct kvm_vm *vm, struct error *error) {
    _Static_assert(TASK_STATE + 3 * 4096 == 0xff000000ul, "right below the largest ROM, of 16 MiB");
    *vm = (struct kvm_vm){.kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1};
    int rc = open_device(&vm->kvm_fd, error);
    if (!rc)
        rc = make_vcpu(vm, error);
    if (rc)
        kvm_vm_close(vm);
    return rc;
}

void kvm_vm_close(struct kvm_vm *vm) {
    const int fds[] = {vm->vcpu_fd, vm->vm_fd, vm->kvm_fd};
    if (vm->run)
        munmap(vm->run, vm->run_size);
    for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    *vm = (struct kvm_vm){.kvm_fd = -1, .vm_fd = -1, .vcpu_fd = -1};
}
