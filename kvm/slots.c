/* Building and changing memory slots. Below 1 MiB each page is looked at; what lies above never
 * changes and comes first, so that its slots keep their numbers. */
#include "kvm/slots.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#define ADDRESS_END (1ull << 32)

static void add(struct kvm_slots *slots, gpa_t gpa, uint64_t size, uint64_t place, bool read_only) {
    assert((gpa & PAGE_MASK) == 0 && (place & PAGE_MASK) == 0 && size != 0);
    struct kvm_slot *last = slots->count ? &slots->slots[slots->count - 1] : NULL;
    if (last && last->gpa + last->size == gpa && last->place + last->size == place &&
        last->read_only == read_only) {
        last->size += size;
        return;
    }
    assert(slots->count < KVM_SLOTS_MAX);
    slots->slots[slots->count++] = (struct kvm_slot){gpa, size, place, read_only};
}

void kvm_slots_build(struct kvm_slots *slots, const struct ram *ram) {
    assert(ram->size >= RAM_LEGACY_END);
    *slots = (struct kvm_slots){.count = 0};
    memcpy(slots->legacy, ram->legacy, sizeof slots->legacy);
    if (ram->rom_size)
        add(slots, ADDRESS_END - ram->rom_size, ram->rom_size, ram->size, true);
    if (ram->size > RAM_LEGACY_END)
        add(slots, RAM_LEGACY_END, ram->size - RAM_LEGACY_END, RAM_LEGACY_END, false);
    for (gpa_t gpa = 0; gpa < RAM_LEGACY_END; gpa += PAGE_SIZE) {
        uint64_t place = ram_locate(ram, gpa);
        if (place != RAM_NOWHERE)
            add(slots, gpa, PAGE_SIZE, place, !ram_is_writable(ram, place));
    }
}

bool kvm_slots_differ(const struct kvm_slots *slots, const struct ram *ram) {
    return memcmp(slots->legacy, ram->legacy, sizeof slots->legacy) != 0;
}

static bool is_same(const struct kvm_slots *a, const struct kvm_slots *b, unsigned i) {
    const struct kvm_slot *x = &a->slots[i], *y = &b->slots[i];
    return i < a->count && i < b->count && x->gpa == y->gpa && x->size == y->size &&
           x->place == y->place && x->read_only == y->read_only;
}

/* `slot` NULL: the slot goes. */
static int set_slot(int vm_fd, unsigned number, const struct kvm_slot *slot,
                    const struct ram *ram) {
    struct kvm_userspace_memory_region region = {.slot = number};
    if (slot) {
        region.guest_phys_addr = slot->gpa;
        region.memory_size = slot->size;
        region.userspace_addr = (uintptr_t)ram->base + slot->place;
        region.flags = slot->read_only ? KVM_MEM_READONLY : 0;
    }
    return ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
}

/* Slots may not overlap, nor become read-only: all that change go before any comes. */
int kvm_slots_apply(int vm_fd, struct kvm_slots *slots, const struct ram *ram) {
    struct kvm_slots old = *slots;
    int rc = 0;
    kvm_slots_build(slots, ram);
    for (unsigned i = 0; !rc && i < old.count; i++)
        if (!is_same(&old, slots, i))
            rc = set_slot(vm_fd, i, NULL, ram);
    for (unsigned i = 0; !rc && i < slots->count; i++)
        if (!is_same(&old, slots, i))
            rc = set_slot(vm_fd, i, &slots->slots[i], ram);
    return rc;
}
