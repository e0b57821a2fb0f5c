/* The vCPU's state in ring3's form (struct cpu) and in KVM's, one into the other. Pure functions.
 */
#ifndef RING3_KVM_STATE_H
#define RING3_KVM_STATE_H

#include <linux/kvm.h>

#include "translator/cpu.h"

struct kvm_segment state_segment_to_kvm(const struct segment *segment);
struct segment state_segment_from_kvm(const struct kvm_segment *segment);

struct kvm_regs state_regs_to_kvm(const struct cpu *cpu);
/* Fills in what `cpu` has; what it has not stays, but that there is no local APIC. */
void state_sregs_to_kvm(const struct cpu *cpu, struct kvm_sregs2 *sregs);
struct kvm_debugregs state_debugregs_to_kvm(const struct cpu *cpu);

/* All of it back: registers, segments, control and debug registers, and the mode that follows. */
void state_from_kvm(struct cpu *cpu, const struct kvm_regs *regs, const struct kvm_sregs2 *sregs,
                    const struct kvm_debugregs *debugregs);

#endif
