/* Exceptions: delivery, and what happens when delivery itself faults (SDM vol. 3A, 6.15, "Interrupt
 * 8", table 6-5). */
#include "runtime/exception.h"

#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/inspection.h"
#include "runtime/interrupt.h"
#include "runtime/plugins.h"
#include "runtime/virtual_8086.h"

#define DR7_GD (1u << 13)
#define DELIVERY_STEPS_MAX 8 /* benign, contributory, #PF, #DF, shutdown, and some room */

enum severity { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum severity severity_of(uint8_t vector) {
    switch (vector) {
    case VEC_DE:
    case VEC_TS:
    case VEC_NP:
    case VEC_SS:
    case VEC_GP:
        return CONTRIBUTORY;
    case VEC_PF:
        return PAGE_FAULT;
    case VEC_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* Does a fault of severity `second`, met while `first` was delivered, make the event worse, or
 * is it simply delivered instead? */
static bool escalates(enum severity first, enum severity second) {
    if (first == BENIGN || second == BENIGN)
        return false;
    return !(first == CONTRIBUTORY && second == PAGE_FAULT);
}

/* Faults push RF set, so that an instruction breakpoint does not stop their instruction again
 * (SDM vol. 3B, 17.3.1.1). #DB chooses for itself; the rest are traps, aborts or interrupts. */
static bool sets_resume_flag(uint8_t vector) {
    switch (vector) {
    case VEC_DB:
    case VEC_NMI:
    case VEC_BP:
    case VEC_OF:
    case VEC_DF:
        return false;
    default:
        return true;
    }
}

/* RF is raised for the saved image only. */
static enum callout_result deliver_once(struct vcpu *v, const struct guest_fault *fault,
                                        bool resume) {
    const struct event event = {
        .vector = fault->vector,
        .kind = DELIVER_EXCEPTION,
        .has_error = fault->has_error,
        .error = fault->error,
        .return_eip = v->cpu.eip,
        .image_flags = resume ? FL_RF : 0,
    };
    return event_deliver(v, &event);
}

static enum callout_result shut_down(struct vcpu *v) {
    TRACE(v->trace, triple_fault, v->cpu.cr2);
    vcpu_request_exit(v, EXIT_TRIPLE_FAULT, 0);
    return CALLOUT_EXIT;
}

static enum callout_result deliver(struct vcpu *v, bool resume) {
    struct cpu *cpu = &v->cpu;
    for (unsigned step = 0;; step++) {
        struct guest_fault fault = v->fault;
        assert(step < DELIVERY_STEPS_MAX);
        if (fault.vector == VEC_PF)
            cpu->cr2 = fault.cr2;
        TRACE(v->trace, exception, fault.vector, fault.error, fault.cr2);
        PLUGIN_EVENT(v, INJECT, fault.vector, fault.error, fault.has_error, fault.cr2, cpu->eip);
        enum callout_result result = deliver_once(v, &fault, resume);
        if (result != CALLOUT_FAULT)
            return result;
        enum severity first = severity_of(fault.vector), second = severity_of(v->fault.vector);
        if (escalates(first, second)) {
            if (second == PAGE_FAULT) /* its address is kept although another event replaces it */
                cpu->cr2 = v->fault.cr2;
            if (first == DOUBLE_FAULT)
                return shut_down(v);
            fault_raise_error(v, VEC_DF, 0);
        }
        resume = sets_resume_flag(v->fault.vector);
    }
}

enum callout_result exception_deliver(struct vcpu *v) {
    assert(v->fault.vector < 32);
    v->breakpoint_hits = v->held_hits = 0; /* the instruction did not come to its traps */
    inspection_forget_access(v);
    if (v->fault.vector == VEC_DB)
        v->cpu.dr[7] &= ~DR7_GD;
    return deliver(v, sets_resume_flag(v->fault.vector));
}

enum callout_result exception_deliver_debug(struct vcpu *v, uint32_t dr6, bool trap, bool resume) {
    struct cpu *cpu = &v->cpu;
    if (trap)
        cpu->eip = cpu->next_eip;
    cpu->dr[6] |= dr6;
    cpu->dr[7] &= ~DR7_GD;
    fault_raise(v, VEC_DB);
    return deliver(v, resume);
}

enum callout_result callout_raise(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    enum vector vector = (enum vector)(arg & 0xffu);
    assert(vector < 32);
    if (arg & RAISE_NM_UNLESS_EM && !(v->cpu.paging.cr0 & CR0_EM))
        vector = VEC_NM;
    return arg & 0x100u ? fault_raise_error(v, vector, 0) : fault_raise(v, vector);
}

enum callout_result callout_int_n(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    if (v->cpu.mode & MODE_VM86) {
        enum callout_result result = v86_int_n(v, (uint8_t)arg);
        if (result != CALLOUT_NEXT)
            return result;
    }
    return interrupt_deliver(v, (uint8_t)arg, DELIVER_SOFTWARE, v->cpu.next_eip, false, 0);
}

enum callout_result callout_int3(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return interrupt_deliver(v, VEC_BP, DELIVER_SOFTWARE, v->cpu.next_eip, false, 0);
}

enum callout_result callout_into(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return interrupt_deliver(v, VEC_OF, DELIVER_SOFTWARE, v->cpu.next_eip, false, 0);
}

/* A debug exception, but not one that DR6 tells of; the gate's DPL does not count. */
enum callout_result callout_int1(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    enum callout_result result =
        interrupt_deliver(v, VEC_DB, DELIVER_EXCEPTION, v->cpu.next_eip, false, 0);
    if (result == CALLOUT_JUMP)
        v->cpu.dr[7] &= ~DR7_GD;
    return result;
}
