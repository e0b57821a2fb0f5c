/* The CPU model (runtime/cpuid.c, runtime/msr.c) as far as KVM can be made to show it. */
#ifndef RING3_KVM_MODEL_H
#define RING3_KVM_MODEL_H

#include <linux/kvm.h>
#include <stdbool.h>

#include "kvm/host.h"
#include "runtime/vcpu.h"

/* Entries that a table has at most. */
#define KVM_CPUID_MAX 256

/* struct kvm_cpuid2 with room for the entries. */
struct kvm_cpuid_table {
    uint32_t count, unused;
    struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
};

/* What the model says, without the features that `supported` lacks. */
void kvm_cpuid_build(const struct vcpu *v, const struct kvm_cpuid_table *supported,
                     struct kvm_cpuid_table *table);

/* Gives the VM the model: CPUID, who answers for MSRs, and #UD where KVM is lenient by default.
 * 0, or -1 with `error` filled. */
int kvm_model_apply(const struct kvm_vm *vm, const struct vcpu *v, struct error *error);

/* An MSR that KVM leaves to us. False: #GP. `vcpu_fd`: EFER and PAT count for KVM, too. */
bool kvm_model_read_msr(const struct vcpu *v, uint32_t index, uint64_t *value);
bool kvm_model_write_msr(struct vcpu *v, int vcpu_fd, uint32_t index, uint64_t value);

/* MSRs that KVM keeps, from the vCPU's state and back. 0, or a negative errno. */
int kvm_model_load_msrs(const struct vcpu *v, int vcpu_fd);
int kvm_model_store_msrs(struct vcpu *v, int vcpu_fd);

#endif
