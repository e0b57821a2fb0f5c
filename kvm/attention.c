/* Signals, timers, HLT and interrupts, as runtime/attention.c has them for translated code.
 *
 * A signal sets two flags: ours, and the one in KVM's page that makes KVM_RUN return at once. Ours
 * is looked at after KVM's was cleared, so that no signal is lost between the look and the entry.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/private.h"

#define NS_PER_SECOND 1000000000ull

/* Signal handlers have no argument of their own; one process runs one vCPU. */
static struct kvm_engine *handled;

static void on_attention(int signal) {
    (void)signal;
    handled->sync_wanted = true;
    handled->vm.run->immediate_exit = 1;
    handled->v->counters->host_signals++;
}

int kvm_attention_init(struct kvm_engine *e) {
    struct sigaction action = {.sa_handler = on_attention};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    sigset_t none;
    assert(e->vm.run && !handled);
    handled = e;
    sigfillset(&action.sa_mask);
    if (sigaction(SIGUSR1, &action, NULL) || sigaction(SIGALRM, &action, NULL) ||
        timer_create(CLOCK_MONOTONIC, &event, &e->timer))
        return -errno;
    e->v->timers->changed = true;
    sigfillset(&e->wait_mask);
    sigdelset(&e->wait_mask, SIGUSR1);
    sigdelset(&e->wait_mask, SIGALRM);
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) ? -errno : 0;
}

void kvm_attention_end(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static struct timespec to_timespec(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_SECOND),
                             .tv_nsec = (long)(ns % NS_PER_SECOND)};
}

static void arm_timer(struct kvm_engine *e) {
    struct timers *timers = e->v->timers;
    struct itimerspec spec = {0};
    timers->changed = false;
    if (timers->next != TIMER_NEVER) {
        uint64_t now = clock_now(e->v->clock);
        spec.it_value = to_timespec(timers->next > now ? timers->next - now : 1);
    }
    timer_settime(e->timer, 0, &spec, NULL);
}

static void run_devices(struct kvm_engine *e) {
    e->sync_wanted = false;
    if (e->options.poll)
        e->options.poll(e->options.poll_opaque);
    timers_run(e->v->timers, clock_now(e->v->clock));
    arm_timer(e);
}

static void sync_devices(struct kvm_engine *e) {
    e->vm.run->immediate_exit = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (e->sync_wanted)
        run_devices(e);
    if (e->v->timers->changed)
        arm_timer(e);
}

/* Sleeps until a signal. Signals are blocked from the last look at the flags to the wait. */
static void wait_for_signal(struct kvm_engine *e) {
    sigset_t all, old;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    if (!e->sync_wanted && !e->v->exit) {
        uint64_t now = clock_now(e->v->clock), next = e->v->timers->next;
        struct timespec wait = to_timespec(next > now ? next - now : 0);
        ppoll(NULL, 0, next == TIMER_NEVER ? NULL : &wait, &e->wait_mask);
        e->sync_wanted = true;
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void halt(struct kvm_engine *e) {
    struct cpu *cpu = &e->v->cpu;
    uint64_t start = clock_now(e->v->clock);
    e->v->counters->halts++;
    while (!(cpu->irq_pending && cpu->iflag) && !e->v->exit) {
        wait_for_signal(e);
        sync_devices(e);
    }
    cpu->halted = false;
    e->v->counters->halt_ns += clock_now(e->v->clock) - start;
}

static void inject(struct kvm_engine *e) {
    struct vcpu *v = e->v;
    int vector = v->pic.acknowledge(v->pic.pic);
    struct kvm_interrupt interrupt = {.irq = (__u32)vector};
    if (vector < 0)
        return;
    assert(vector <= 0xff && e->vm.run->ready_for_interrupt_injection);
    TRACE(v->trace, interrupt, (unsigned)vector);
    v->counters->interrupts++;
    if (ioctl(e->vm.vcpu_fd, KVM_INTERRUPT, &interrupt))
        kvm_host_failure(e, "KVM does not take interrupt %x: %s", (unsigned)vector,
                         strerrordesc_np(errno));
}

/* What KVM says of its readiness is of its last return, and true until it is entered again. */
void kvm_attention_pay(struct kvm_engine *e) {
    struct kvm_run *run = e->vm.run;
    struct cpu *cpu = &e->v->cpu;
    sync_devices(e);
    if (cpu->halted)
        halt(e);
    if (e->v->exit)
        return;
    if (cpu->irq_pending && run->ready_for_interrupt_injection && run->if_flag) {
        inject(e);
        run->ready_for_interrupt_injection = 0;
    }
    run->request_interrupt_window = cpu->irq_pending != 0;
}
