/* KVM as an accelerator: the machine's CPU runs on /dev/kvm instead of in translated code.
 *
 * Devices, memory and the monitor's side are the same; interrupts come from our own 8259. The
 * vCPU's state is `struct cpu`: it is loaded into KVM when the vCPU starts and stored back when it
 * stops. */
#ifndef RING3_KVM_KVM_H
#define RING3_KVM_KVM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "runtime/engine.h"

/* What a look at /dev/kvm found. */
struct kvm_quality {
    uint64_t pair_cycles; /* host cycles for two simple instructions of a guest */
    bool emulated;        /* too many: it is software that interprets */
    bool paging;          /* a guest can turn on 32-bit paging */
};

/* Tries /dev/kvm: its capabilities, and a throw-away VM that is timed. 0, or -1 with `error`
 * filled: it cannot be used, and why. */
int kvm_try(struct kvm_quality *quality, struct error *error);

/* Runs the vCPU on KVM; as engine_run, whose options it takes, but those of translation count for
 * nothing. */
int kvm_engine_run(struct vcpu *v, const struct engine_options *options);

#endif
