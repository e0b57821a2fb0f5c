/* The parts of the KVM engine, private to kvm/. All of it is the vCPU process's own. */
#ifndef RING3_KVM_PRIVATE_H
#define RING3_KVM_PRIVATE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "kvm/host.h"
#include "kvm/slots.h"
#include "runtime/engine.h"
#include "runtime/sandbox.h"

struct kvm_engine {
    struct vcpu *v;
    struct engine_options options;
    struct kvm_vm vm;
    struct kvm_slots slots;
    volatile sig_atomic_t sync_wanted; /* a signal came: devices want to run */
    bool unfinished; /* KVM completes the last exit's access only when it is entered again */
    timer_t timer;
    sigset_t wait_mask; /* signals let in while waiting */
};

/* attention.c: signals, timers, HLT and interrupts. */
int kvm_attention_init(struct kvm_engine *e);
/* From here on no signal is handled: the engine may go. */
void kvm_attention_end(void);
/* Before KVM is entered: runs the devices if they ask, sleeps while the CPU is halted, and hands
 * KVM an interrupt, or asks it to come back when it can take one. */
void kvm_attention_pay(struct kvm_engine *e);

/* exits.c: acts on the reason that KVM_RUN came back for. */
void kvm_exit_handle(struct kvm_engine *e);

/* sandbox.c: like sandbox_enter, but for a process that runs KVM. */
int kvm_sandbox_enter(const struct sandbox_rules *rules, const struct kvm_vm *vm);

/* engine.c: the vCPU ends as a host failure; `what` is the reason. */
__attribute__((format(printf, 2, 3))) void kvm_host_failure(struct kvm_engine *e, const char *what,
                                                            ...);
/* Stores KVM's state in the vCPU. 0, or a negative errno. */
int kvm_store_state(struct kvm_engine *e);

#endif
