/* An engine with an inspection mailbox, and a monitor in a second thread.
 *
 * The engine runs in the test's first thread, as in a vCPU process; the monitor uses the functions
 * of inspect/target.h. */
#ifndef RING3_TESTS_INSPECTION_FIXTURE_H
#define RING3_TESTS_INSPECTION_FIXTURE_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "inspect/target.h"
#include "tests/unit/engine_fixture.h"

#define PATIENCE_MS 10000

static struct inspection mailbox;
static struct target target;

static struct inspection_stop stops[64];
static unsigned stop_count, resume_count;

static inline void on_stopped(void *opaque, const struct inspection_stop *why) {
    (void)opaque;
    stops[stop_count++ % 64] = *why;
}
static inline void on_resumed(void *opaque) {
    (void)opaque;
    resume_count++;
}
static const struct target_listener listener = {.stopped = on_stopped, .resumed = on_resumed};

static inline void set_up(void) {
    machine_set_up();
    memset(&mailbox, 0, sizeof mailbox);
    memset(&target, 0, sizeof target);
    stop_count = resume_count = 0;
    mailbox.event_fd = eventfd(0, EFD_NONBLOCK);
    V->inspection = &mailbox;
    target_listen(&target, &listener);
}

static inline void tear_down(void) {
    ram_destroy(&m.ram);
    close(mailbox.event_fd);
}

/* Waits for the next stop and returns it. */
static inline struct inspection_stop next_stop(void) {
    unsigned before = stop_count;
    for (unsigned ms = 0; stop_count == before; ms++) {
        ck_assert_msg(ms < PATIENCE_MS, "no stop comes");
        target_poll(&target);
        usleep(1000);
    }
    ck_assert(target_is_stopped(&target));
    return stops[(stop_count - 1) % 64];
}

static inline void expect_stop(enum stop_reason reason, uint32_t eip) {
    struct inspection_stop why = next_stop();
    ck_assert_msg(why.reason == reason && CPU->eip == eip, "stopped for %u at %x, not for %u at %x",
                  why.reason, CPU->eip, reason, eip);
}

static inline void step_to(uint32_t eip) {
    ck_assert_int_eq(target_step(&target), 0);
    expect_stop(STOP_STEP, eip);
}

static inline void go_on(void) { ck_assert_int_eq(target_resume(&target), 0); }

static pthread_t monitor_thread;

/* Runs the guest with `monitor` beside it; returns what the guest ended with. */
static inline uint32_t run_with(void *(*monitor)(void *)) {
    sigset_t all;
    target_attach(&target, V);
    target_started(&target, getpid());
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL); /* the monitor's mask; the engine unblocks its own */
    ck_assert_int_eq(pthread_create(&monitor_thread, NULL, monitor, NULL), 0);
    uint32_t value = run_guest();
    pthread_join(monitor_thread, NULL);
    return value;
}

/* Waits until the guest has written a word of DATA that is not `value`. */
static inline void wait_past(uint32_t value) {
    for (unsigned ms = 0; get32(DATA) == value; ms++) {
        ck_assert_msg(ms < PATIENCE_MS, "the guest does not run");
        usleep(1000);
    }
}

#endif
