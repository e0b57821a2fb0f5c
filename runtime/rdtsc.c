/* RDTSC and RDTSCP where the guest's counter is not the host's own, or CR4.TSD forbids them. */
#include "runtime/callout_support.h"

enum callout_result callout_rdtsc(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    if ((cpu->paging.cr4 & CR4_TSD) && cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    uint64_t tsc = clock_host_tsc() + cpu->tsc_offset;
    cpu->gpr[EAX] = (uint32_t)tsc;
    cpu->gpr[EDX] = (uint32_t)(tsc >> 32);
    if (arg == 1)
        cpu->gpr[ECX] = (uint32_t)cpu->msr.tsc_aux;
    return CALLOUT_NEXT;
}

/* No counter is offered: every index is out of range, where the instruction is allowed at all. */
enum callout_result callout_rdpmc(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return fault_raise_gp(v, 0);
}
