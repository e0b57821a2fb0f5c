/* Model-specific registers (SDM vol. 4), those that the model of runtime/cpuid.c has.
 *
 * Besides the ones that CPUID promises there are those that kernels touch on such a processor
 * without asking: the microcode revision, the platform id, IA32_MISC_ENABLE and IA32_DEBUGCTL.
 * Everything else raises #GP(0), as on hardware, and is shown on the trace channel `msr`. */
#include "runtime/msr.h"

#include "runtime/callout_support.h"
#include "runtime/cpuid.h"
#include "runtime/mmu.h"

#define MSR_TSC 0x10u
#define MSR_PLATFORM_ID 0x17u
#define MSR_BIOS_SIGN_ID 0x8bu
#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_MISC_ENABLE 0x1a0u
#define MSR_DEBUGCTL 0x1d9u
#define MSR_PAT 0x277u
#define MSR_EFER 0xc0000080u
#define MSR_TSC_AUX 0xc0000103u

#define PAT_AT_RESET 0x0007040600070406ull
#define MISC_FAST_STRINGS (1ull << 0)
#define MISC_NO_BTS (1ull << 11)  /* no branch trace storage */
#define MISC_NO_PEBS (1ull << 12) /* no precise event sampling */
#define MISC_AT_RESET (MISC_FAST_STRINGS | MISC_NO_BTS | MISC_NO_PEBS)

void msr_reset(struct msrs *msr) {
    *msr = (struct msrs){.pat = PAT_AT_RESET, .misc_enable = MISC_AT_RESET};
}

bool msr_read(const struct vcpu *v, uint32_t index, uint64_t *value) {
    const struct cpu *cpu = &v->cpu;
    switch (index) {
    case MSR_TSC:
        *value = clock_host_tsc() + cpu->tsc_offset;
        return true;
    case MSR_PLATFORM_ID: /* platform 0 */
    case MSR_DEBUGCTL:
        *value = 0;
        return true;
    case MSR_BIOS_SIGN_ID:
        *value = cpu->msr.bios_sign_id;
        return true;
    case MSR_SYSENTER_CS:
        *value = cpu->msr.sysenter_cs;
        return true;
    case MSR_SYSENTER_ESP:
        *value = cpu->msr.sysenter_esp;
        return true;
    case MSR_SYSENTER_EIP:
        *value = cpu->msr.sysenter_eip;
        return true;
    case MSR_MISC_ENABLE:
        *value = cpu->msr.misc_enable;
        return true;
    case MSR_PAT:
        *value = cpu->msr.pat;
        return true;
    case MSR_EFER:
        *value = cpu->paging.efer;
        return true;
    case MSR_TSC_AUX:
        *value = cpu->msr.tsc_aux;
        return true;
    default:
        return false;
    }
}

/* RDTSC is inline where the offset is zero, so a change between zero and not retranslates. */
static bool write_tsc(struct vcpu *v, uint64_t value) {
    bool was_host = v->cpu.tsc_offset == 0;
    v->cpu.tsc_offset = value - clock_host_tsc();
    if (was_host != (v->cpu.tsc_offset == 0))
        mmu_retranslate_all(v);
    return true;
}

static bool write_efer(struct vcpu *v, uint64_t value) {
    if (value & ~(uint64_t)cpuid_efer_bits())
        return false;
    if (v->cpu.paging.efer != value) {
        v->cpu.paging.efer = (uint32_t)value;
        mmu_paging_changed(v);
    }
    return true;
}

/* Each byte is a memory type; 2 and 3 are none (SDM vol. 3A, 11.12.2). */
static bool write_pat(struct vcpu *v, uint64_t value) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
        unsigned type = value >> shift & 0xffu;
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    v->cpu.msr.pat = value;
    return true;
}

/* Only fast strings can be switched; the two "unavailable" bits ignore writes. */
static bool write_misc_enable(struct vcpu *v, uint64_t value) {
    if (value & ~MISC_AT_RESET)
        return false;
    v->cpu.msr.misc_enable = (value & MISC_FAST_STRINGS) | MISC_NO_BTS | MISC_NO_PEBS;
    return true;
}

bool msr_write(struct vcpu *v, uint32_t index, uint64_t value) {
    struct msrs *msr = &v->cpu.msr;
    switch (index) {
    case MSR_TSC:
        return write_tsc(v, value);
    case MSR_BIOS_SIGN_ID: /* kernels clear it before CPUID loads the revision: there is none */
        msr->bios_sign_id = 0;
        return true;
    case MSR_SYSENTER_CS:
        msr->sysenter_cs = (uint32_t)value;
        return true;
    case MSR_SYSENTER_ESP:
        msr->sysenter_esp = (uint32_t)value;
        return true;
    case MSR_SYSENTER_EIP:
        msr->sysenter_eip = (uint32_t)value;
        return true;
    case MSR_MISC_ENABLE:
        return write_misc_enable(v, value);
    case MSR_DEBUGCTL: /* neither last branch records nor single step on branches */
        return value == 0;
    case MSR_PAT:
        return write_pat(v, value);
    case MSR_EFER:
        return write_efer(v, value);
    case MSR_TSC_AUX:
        if (value >> 32)
            return false;
        msr->tsc_aux = value;
        return true;
    default:
        return false;
    }
}

enum callout_result callout_rdmsr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    uint64_t value;
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    if (!msr_read(v, cpu->gpr[ECX], &value)) {
        TRACE(v->trace, rdmsr, cpu->gpr[ECX]);
        return fault_raise_gp(v, 0);
    }
    cpu->gpr[EAX] = (uint32_t)value;
    cpu->gpr[EDX] = (uint32_t)(value >> 32);
    return CALLOUT_NEXT;
}

enum callout_result callout_wrmsr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    uint64_t value = (uint64_t)cpu->gpr[EDX] << 32 | cpu->gpr[EAX];
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    if (!msr_write(v, cpu->gpr[ECX], value)) {
        TRACE(v->trace, wrmsr, cpu->gpr[ECX], value);
        return fault_raise_gp(v, 0);
    }
    return callout_continue(v);
}
