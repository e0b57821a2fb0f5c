/* The monitor's side of the mailbox (target.h). Memory is in target_memory.c.
 *
 * The vCPU process may have fallen to its guest, so what the monitor acts on is copied before the
 * process starts: descriptor, where RAM lies. What is read from the mailbox is only shown or
 * compared. */
#include "inspect/target.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "inspect/sources.h"

#define MAX_ERRNO 4095

int target_listen(struct target *target, const struct target_listener *listener) {
    for (unsigned i = 0; i < TARGET_LISTENERS_MAX; i++)
        if (!target->listeners[i]) {
            target->listeners[i] = listener;
            return 0;
        }
    return -ENOSPC;
}

void target_unlisten(struct target *target, const struct target_listener *listener) {
    for (unsigned i = 0; i < TARGET_LISTENERS_MAX; i++)
        if (target->listeners[i] == listener)
            target->listeners[i] = NULL;
}

static void tell_resumed(struct target *target) {
    for (unsigned i = 0; i < TARGET_LISTENERS_MAX; i++)
        if (target->listeners[i] && target->listeners[i]->resumed)
            target->listeners[i]->resumed(target->listeners[i]->opaque);
}

static void call(const struct target *target) {
    assert(target->pid > 1);
    kill(target->pid, SIGUSR1);
}

static void hear(const struct target *target) {
    uint64_t count;
    ssize_t got = read(target->event_fd, &count, sizeof count);
    assert(got == sizeof count || errno == EAGAIN || errno == EINTR);
}

/* A stop that is told of here reaches the listeners by target_poll. */
static int wait_for_answer(struct target *target) {
    struct inspection *i = target->inspection;
    uint64_t end = sources_now() + TARGET_PATIENCE_MS;
    while (atomic_load(&i->served) != target->posted) {
        uint64_t now = sources_now();
        struct pollfd ready = {.fd = target->event_fd, .events = POLLIN};
        if (now >= end)
            return -ETIMEDOUT;
        if (poll(&ready, 1, (int)(end - now)) > 0)
            hear(target);
    }
    int result = i->result;
    return result > 0 || result < -MAX_ERRNO ? -EPROTO : result;
}

static int request(struct target *target, struct inspection_request wanted, const void *data) {
    struct inspection *i = target->inspection;
    if (!target->pid)
        return -ESRCH;
    if (!target_is_stopped(target))
        return -EBUSY;
    i->request = wanted;
    if (data) {
        assert(wanted.len <= INSPECTION_DATA_MAX);
        memcpy(i->data, data, wanted.len);
    }
    atomic_store(&i->posted, ++target->posted);
    call(target);
    return wait_for_answer(target);
}

int target_pause(struct target *target) {
    if (!target->pid)
        return -ESRCH;
    if (target_is_stopped(target))
        return 0;
    atomic_store(&target->inspection->asked, STOP_ASKED);
    call(target);
    return 0;
}

static int go_on(struct target *target, enum inspection_command command) {
    if (!target_is_stopped(target))
        return target->pid ? -EBUSY : -ESRCH;
    target_poll(target); /* a stop is told of before it ends */
    atomic_store(&target->inspection->asked, STOP_NONE);
    int rc = request(target, (struct inspection_request){.command = command}, NULL);
    if (!rc)
        tell_resumed(target);
    return rc;
}

int target_resume(struct target *target) { return go_on(target, INSPECT_RESUME); }

int target_step(struct target *target) { return go_on(target, INSPECT_STEP); }

void target_hold(struct target *target, bool hold) {
    assert(hold || target->holders);
    target->holders += hold ? 1u : -1u;
    if (target->inspection)
        atomic_store(&target->inspection->held, target->holders);
}

int target_exit(struct target *target, enum exit_reason reason) {
    if (!target->pid)
        return -ESRCH;
    vcpu_request_exit(target->vcpu, reason, 0);
    call(target);
    return 0;
}

/* Without a machine the lists are all there is. */
static int pass_on(struct target *target, struct inspection_request wanted) {
    return target->pid ? request(target, wanted, NULL) : 0;
}

int target_set_breakpoint(struct target *target, gva_t address) {
    for (unsigned i = 0; i < target->breakpoint_count; i++)
        if (target->breakpoints[i].address == address) {
            target->breakpoints[i].users++;
            return 0;
        }
    if (target->breakpoint_count == INSPECTION_BREAKPOINTS_MAX)
        return -ENOSPC;
    int rc = pass_on(
        target, (struct inspection_request){.command = INSPECT_SET_BREAKPOINT, .address = address});
    if (!rc)
        target->breakpoints[target->breakpoint_count++] = (struct target_breakpoint){address, 1};
    return rc;
}

int target_clear_breakpoint(struct target *target, gva_t address) {
    for (unsigned i = 0; i < target->breakpoint_count; i++) {
        struct target_breakpoint *b = &target->breakpoints[i];
        if (b->address != address)
            continue;
        int rc =
            b->users > 1
                ? 0
                : pass_on(target, (struct inspection_request){.command = INSPECT_CLEAR_BREAKPOINT,
                                                              .address = address});
        if (!rc && --b->users == 0)
            *b = target->breakpoints[--target->breakpoint_count];
        return rc;
    }
    return -ENOENT;
}

static struct inspection_request watch_request(enum inspection_command command,
                                               const struct watchpoint *watch) {
    return (struct inspection_request){
        .command = command, .address = watch->address, .len = watch->len, .index = watch->kind};
}

static struct target_watchpoint *find_watchpoint(struct target *target,
                                                 const struct watchpoint *w) {
    for (unsigned i = 0; i < target->watchpoint_count; i++) {
        struct target_watchpoint *known = &target->watchpoints[i];
        if (known->watch.address == w->address && known->watch.len == w->len &&
            known->watch.kind == w->kind)
            return known;
    }
    return NULL;
}

int target_set_watchpoint(struct target *target, const struct watchpoint *watch) {
    struct target_watchpoint *known = find_watchpoint(target, watch);
    if (known) {
        known->users++;
        return 0;
    }
    if (target->watchpoint_count == INSPECTION_WATCHPOINTS_MAX)
        return -ENOSPC;
    int rc = pass_on(target, watch_request(INSPECT_SET_WATCHPOINT, watch));
    if (!rc)
        target->watchpoints[target->watchpoint_count++] = (struct target_watchpoint){*watch, 1};
    return rc;
}

int target_clear_watchpoint(struct target *target, const struct watchpoint *watch) {
    struct target_watchpoint *known = find_watchpoint(target, watch);
    if (!known)
        return -ENOENT;
    int rc = known->users > 1 ? 0 : pass_on(target, watch_request(INSPECT_CLEAR_WATCHPOINT, watch));
    if (!rc && --known->users == 0)
        *known = target->watchpoints[--target->watchpoint_count];
    return rc;
}

int target_write_register(struct target *target, enum inspection_register index, uint64_t value) {
    return request(target,
                   (struct inspection_request){
                       .command = INSPECT_WRITE_REGISTER, .index = (uint32_t)index, .value = value},
                   NULL);
}

int target_save_vector(struct target *target, uint8_t image[TARGET_VECTOR_BYTES], uint32_t *fip) {
    int rc = request(target, (struct inspection_request){.command = INSPECT_SAVE_VECTOR}, NULL);
    if (rc)
        return rc;
    memcpy(image, target->inspection->data, TARGET_VECTOR_BYTES);
    *fip = (uint32_t)target->inspection->value;
    return 0;
}

int target_load_vector(struct target *target, const uint8_t image[TARGET_VECTOR_BYTES]) {
    return request(
        target,
        (struct inspection_request){.command = INSPECT_LOAD_VECTOR, .len = TARGET_VECTOR_BYTES},
        image);
}

int target_write(struct target *target, uint64_t address, bool physical, const void *from,
                 size_t len) {
    const uint8_t *bytes = from;
    for (size_t done = 0, part; done < len; done += part) {
        part = len - done < INSPECTION_DATA_MAX ? len - done : INSPECTION_DATA_MAX;
        int rc = request(target,
                         (struct inspection_request){.command = INSPECT_WRITE_MEMORY,
                                                     .address = address + done,
                                                     .len = (uint32_t)part,
                                                     .physical = physical},
                         bytes + done);
        if (rc)
            return rc;
    }
    return 0;
}

void target_attach(struct target *target, struct vcpu *vcpu) {
    struct inspection *i = vcpu->inspection;
    assert(i && !target->vcpu && i->event_fd >= 0);
    target->vcpu = vcpu;
    target->live_ram = vcpu->ram;
    target->own_ram = *target->live_ram;
    target->ram = &target->own_ram;
    target->event_fd = i->event_fd;
    target->inspection = i;
    target->pid = 0;
    target->stops_seen = target->posted = 0;
    atomic_store(&i->held, target->holders);
    i->breakpoint_count = target->breakpoint_count;
    for (unsigned n = 0; n < target->breakpoint_count; n++)
        i->breakpoints[n] = target->breakpoints[n].address;
    i->watchpoint_count = target->watchpoint_count;
    for (unsigned n = 0; n < target->watchpoint_count; n++)
        i->watchpoints[n] = target->watchpoints[n].watch;
    if (target->start_stopped)
        atomic_store(&i->asked, STOP_ASKED);
    target->start_stopped = false;
}

void target_started(struct target *target, pid_t pid) {
    assert(target->vcpu && pid > 1);
    target->pid = pid;
    target->announced = true;
    for (unsigned i = 0; i < TARGET_LISTENERS_MAX; i++)
        if (target->listeners[i] && target->listeners[i]->attached)
            target->listeners[i]->attached(target->listeners[i]->opaque);
}

void target_ended(struct target *target) { target->pid = 0; }

void target_detach(struct target *target) {
    bool announced = target->announced;
    target->announced = false;
    target->pid = 0;
    for (unsigned i = 0; i < TARGET_LISTENERS_MAX; i++)
        if (announced && target->listeners[i] && target->listeners[i]->detached)
            target->listeners[i]->detached(target->listeners[i]->opaque);
    target->vcpu = NULL;
    target->ram = NULL;
    target->inspection = NULL;
}

bool target_has_news(const struct target *target) {
    return target->pid && atomic_load(&target->inspection->stops) != target->stops_seen;
}

/* Between two stops somebody has resumed the machine, which only we do: there is one at most. */
void target_poll(struct target *target) {
    if (!target->pid)
        return;
    hear(target);
    if (!target_has_news(target))
        return;
    target->stops_seen = atomic_load(&target->inspection->stops);
    const struct inspection_stop why = target->inspection->stop;
    memcpy(target->own_ram.legacy, target->live_ram->legacy, sizeof target->own_ram.legacy);
    for (unsigned i = 0; i < TARGET_LISTENERS_MAX; i++)
        if (target->listeners[i] && target->listeners[i]->stopped && target_is_stopped(target))
            target->listeners[i]->stopped(target->listeners[i]->opaque, &why);
}
