/* Is this /dev/kvm hardware? A throw-away VM with one page of code answers.
 *
 * Software can offer /dev/kvm and interpret what runs in it; the calls look the same, and only time
 * tells. The VM counts down in flat 32-bit code without paging, which every KVM can run; two
 * lengths of the loop take the cost of entry and exit out of the figure. Then it turns paging on,
 * which some software refuses to 32-bit guests. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "kvm/host.h"
#include "kvm/kvm.h"
#include "memory/walk.h"

#define MEMORY_BYTES (2ul * PAGE_SIZE) /* one page of code, one that is a page directory */
#define DIRECTORY PAGE_SIZE
#define SHORT_LOOP 200u
#define LONG_LOOP 10200u
#define TRIES 3
/* Cycles for DEC and JNZ: processors need one or two. */
#define EMULATED_CYCLES 100u
#define FLAT_CODE_TYPE 11
#define FLAT_DATA_TYPE 3

static const uint8_t loop_code[] = {
    0x49,       /* 0: DEC ECX */
    0x75, 0xfd, /*    JNZ 0 */
    0xf4,       /*    HLT */
};
static const uint8_t paging_code[] = {
    0x0f, 0x22, 0xe2, /* MOV CR4, EDX */
    0x0f, 0x22, 0xd9, /* MOV CR3, ECX */
    0x0f, 0x22, 0xc0, /* MOV CR0, EAX */
    0xf4,             /* HLT */
};

static struct kvm_segment flat(__u8 type) {
    return (struct kvm_segment){
        .limit = UINT32_MAX, .selector = 8, .type = type, .present = 1, .db = 1, .s = 1, .g = 1};
}

static int flatten(const struct kvm_vm *vm) {
    struct kvm_sregs sregs;
    if (ioctl(vm->vcpu_fd, KVM_GET_SREGS, &sregs))
        return -errno;
    sregs.cs = flat(FLAT_CODE_TYPE);
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(FLAT_DATA_TYPE);
    sregs.cr0 = CR0_PE | CR0_ET;
    return ioctl(vm->vcpu_fd, KVM_SET_SREGS, &sregs) ? -errno : 0;
}

/* Runs code at 0 until it halts. 1: it did; 0: it did not; or a negative errno. */
static int run_code(const struct kvm_vm *vm, uint8_t *memory, const uint8_t *code, size_t size,
                    struct kvm_regs regs) {
    memcpy(memory, code, size);
    regs.rflags = 2;
    int rc = flatten(vm);
    if (rc)
        return rc;
    if (ioctl(vm->vcpu_fd, KVM_SET_REGS, &regs))
        return -errno;
    while (ioctl(vm->vcpu_fd, KVM_RUN, 0))
        if (errno != EINTR)
            return -errno;
    return vm->run->exit_reason == KVM_EXIT_HLT;
}

static int time_loop(const struct kvm_vm *vm, uint8_t *memory, unsigned length, uint64_t *best) {
    *best = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t start = clock_host_tsc();
        int rc =
            run_code(vm, memory, loop_code, sizeof loop_code, (struct kvm_regs){.rcx = length});
        uint64_t took = clock_host_tsc() - start;
        if (rc <= 0)
            return rc;
        if (took < *best)
            *best = took;
    }
    return 1;
}

static int try_paging(const struct kvm_vm *vm, uint8_t *memory) {
    const uint32_t whole = PTE_P | PTE_W | PTE_PS; /* the first 4 MiB, where they are */
    memcpy(memory + DIRECTORY, &whole, sizeof whole);
    const struct kvm_regs regs = {
        .rax = CR0_PE | CR0_ET | CR0_PG, .rcx = DIRECTORY, .rdx = CR4_PSE};
    return run_code(vm, memory, paging_code, sizeof paging_code, regs);
}

static int refuse(int rc, const struct kvm_vm *vm, struct error *error) {
    if (rc < 0)
        return error_set(error, "/dev/kvm cannot be used: its trial VM: %s", strerror(-rc));
    return error_set(error, "/dev/kvm cannot be used: its trial VM ended with exit reason %u",
                     vm->run->exit_reason);
}

static int try_vm(const struct kvm_vm *vm, uint8_t *memory, struct kvm_quality *quality,
                  struct error *error) {
    uint64_t shorter, longer;
    struct kvm_userspace_memory_region slot = {.memory_size = MEMORY_BYTES,
                                               .userspace_addr = (uintptr_t)memory};
    if (ioctl(vm->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot))
        return refuse(-errno, vm, error);
    int rc = time_loop(vm, memory, SHORT_LOOP, &shorter);
    if (rc > 0)
        rc = time_loop(vm, memory, LONG_LOOP, &longer);
    if (rc <= 0)
        return refuse(rc, vm, error);
    quality->pair_cycles = longer > shorter ? (longer - shorter) / (LONG_LOOP - SHORT_LOOP) : 0;
    quality->emulated = quality->pair_cycles > EMULATED_CYCLES;
    quality->paging = try_paging(vm, memory) > 0;
    return 0;
}

int kvm_try(struct kvm_quality *quality, struct error *error) {
    struct kvm_vm vm;
    if (kvm_vm_open(&vm, error))
        return -1;
    uint8_t *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int rc =
        memory == MAP_FAILED ? refuse(-errno, &vm, error) : try_vm(&vm, memory, quality, error);
    kvm_vm_close(&vm);
    if (memory != MAP_FAILED)
        munmap(memory, MEMORY_BYTES);
    return rc;
}
