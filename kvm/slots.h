/* Memory slots: guest-physical memory (memory/ram.h) as KVM takes it.
 *
 * A slot is a run of addresses whose places follow each other and that may all be written, or none.
 * What lies in no slot makes an MMIO exit, and so do writes to slots that are read-only. */
#ifndef RING3_KVM_SLOTS_H
#define RING3_KVM_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/ram.h"

/* RAM above 1 MiB, the ROM at its high address, and below 1 MiB three kinds of memory in 16 legacy
 * segments, one of which the ROM's start may cut in two. */
#define KVM_SLOTS_MAX 24

struct kvm_slot {
    gpa_t gpa;
    uint64_t size, place;
    bool read_only;
};

struct kvm_slots {
    struct kvm_slot slots[KVM_SLOTS_MAX];
    unsigned count;
    uint8_t legacy[sizeof((struct ram *)0)->legacy]; /* the segments that they were built from */
};

/* The slots that show `ram` as it is now. */
void kvm_slots_build(struct kvm_slots *slots, const struct ram *ram);
/* Are `slots` out of date? */
bool kvm_slots_differ(const struct kvm_slots *slots, const struct ram *ram);
/* Makes `slots`, which the VM has, those of `ram`. 0, or a negative errno. */
int kvm_slots_apply(int vm_fd, struct kvm_slots *slots, const struct ram *ram);

#endif
