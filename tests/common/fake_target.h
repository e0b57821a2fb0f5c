/* A target without a machine, in the place of inspect/target.c: it stands or runs as it is told,
 * its memory is an array, and what is set in it is counted. For whatever talks to a target. */
#ifndef RING3_TESTS_FAKE_TARGET_H
#define RING3_TESTS_FAKE_TARGET_H

#include <errno.h>
#include <string.h>

#include "inspect/target.h"

#define FAKE_MEMORY 65536u           /* linear and physical, from 0 on */
#define FAKE_PHYSICAL 0x100000000ull /* physical addresses show the same memory from here on */

static struct {
    struct vcpu vcpu;
    struct inspection inspection;
    uint8_t memory[FAKE_MEMORY];
    uint8_t vector[TARGET_VECTOR_BYTES];
    unsigned pauses, resumes, steps, exits;
    enum exit_reason exit;
} fake;

static struct target fake_target;

static inline void fake_reset(void) {
    memset(&fake, 0, sizeof fake);
    memset(&fake_target, 0, sizeof fake_target);
    fake_target.vcpu = &fake.vcpu;
    fake_target.inspection = &fake.inspection;
    fake_target.pid = 1;
    atomic_store(&fake.inspection.state, INSPECTION_STOPPED);
}

static inline bool fake_stands(void) {
    return atomic_load(&fake.inspection.state) == INSPECTION_STOPPED;
}

static inline int fake_rc(void) { return fake_stands() ? 0 : -EBUSY; }

int target_pause(struct target *target) {
    (void)target;
    fake.pauses++;
    return 0;
}

static inline int fake_go(unsigned *count) {
    if (!fake_stands())
        return -EBUSY;
    ++*count;
    atomic_store(&fake.inspection.state, INSPECTION_RUNS);
    return 0;
}

int target_resume(struct target *target) {
    (void)target;
    return fake_go(&fake.resumes);
}

int target_step(struct target *target) {
    (void)target;
    return fake_go(&fake.steps);
}

void target_hold(struct target *target, bool hold) {
    (void)target, (void)hold;
}

int target_exit(struct target *target, enum exit_reason reason) {
    (void)target;
    fake.exits++;
    fake.exit = reason;
    return 0;
}

int target_set_breakpoint(struct target *target, gva_t address) {
    int rc = fake_rc();
    if (!rc && target->breakpoint_count == INSPECTION_BREAKPOINTS_MAX)
        rc = -ENOSPC;
    if (!rc)
        target->breakpoints[target->breakpoint_count++].address = address;
    return rc;
}

int target_clear_breakpoint(struct target *target, gva_t address) {
    int rc = fake_rc();
    for (unsigned i = 0; !rc && i < target->breakpoint_count; i++)
        if (target->breakpoints[i].address == address) {
            target->breakpoints[i] = target->breakpoints[--target->breakpoint_count];
            return 0;
        }
    return rc ? rc : -ENOENT;
}

int target_set_watchpoint(struct target *target, const struct watchpoint *watch) {
    int rc = fake_rc();
    if (!rc && (!watch->len || watch->len > INSPECTION_WATCH_BYTES_MAX))
        rc = -EINVAL;
    if (!rc && target->watchpoint_count == INSPECTION_WATCHPOINTS_MAX)
        rc = -ENOSPC;
    if (!rc)
        target->watchpoints[target->watchpoint_count++].watch = *watch;
    return rc;
}

int target_clear_watchpoint(struct target *target, const struct watchpoint *watch) {
    int rc = fake_rc();
    for (unsigned i = 0; !rc && i < target->watchpoint_count; i++)
        if (!memcmp(&target->watchpoints[i].watch, watch, sizeof *watch)) {
            target->watchpoints[i] = target->watchpoints[--target->watchpoint_count];
            return 0;
        }
    return rc ? rc : -ENOENT;
}

int target_write_register(struct target *target, enum inspection_register index, uint64_t value) {
    struct cpu *cpu = &target->vcpu->cpu;
    int rc = fake_rc();
    if (!rc && (unsigned)index < INSPECT_EIP)
        cpu->gpr[index] = (uint32_t)value;
    else if (!rc && index == INSPECT_EIP)
        cpu->eip = (uint32_t)value;
    else if (!rc && index == INSPECT_CR3)
        cpu->paging.cr3 = (uint32_t)value;
    else if (!rc)
        rc = -EINVAL;
    return rc;
}

int target_save_vector(struct target *target, uint8_t image[TARGET_VECTOR_BYTES], uint32_t *fip) {
    (void)target;
    memcpy(image, fake.vector, TARGET_VECTOR_BYTES);
    *fip = 0x1234;
    return fake_rc();
}

int target_load_vector(struct target *target, const uint8_t image[TARGET_VECTOR_BYTES]) {
    (void)target;
    int rc = fake_rc();
    if (!rc)
        memcpy(fake.vector, image, TARGET_VECTOR_BYTES);
    return rc;
}

/* -1: not there. */
static inline int64_t fake_place(uint64_t address, bool physical) {
    uint64_t from = physical ? address - FAKE_PHYSICAL : address;
    return from < FAKE_MEMORY ? (int64_t)from : -1;
}

size_t target_read(const struct target *target, uint64_t address, bool physical, void *to,
                   size_t len) {
    int64_t place = fake_place(address, physical);
    (void)target;
    if (place < 0)
        return 0;
    size_t left = FAKE_MEMORY - (size_t)place, got = len < left ? len : left;
    memcpy(to, fake.memory + place, got);
    return got;
}

int target_write(struct target *target, uint64_t address, bool physical, const void *from,
                 size_t len) {
    int64_t place = fake_place(address, physical);
    int rc = fake_rc();
    (void)target;
    if (!rc && (place < 0 || len > FAKE_MEMORY - (size_t)place))
        rc = -EFAULT;
    if (!rc)
        memcpy(fake.memory + place, from, len);
    return rc;
}

bool target_translate(const struct target *target, gva_t address, gpa_t *gpa) {
    (void)target;
    *gpa = FAKE_PHYSICAL + address;
    return address < FAKE_MEMORY;
}

#endif
