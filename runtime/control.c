/* Control registers (SDM vol. 3A, 2.5; vol. 2, MOV CR): CR0, CR2, CR3, CR4, XCR0.
 *
 * The new values are checked first, then stored together, then the shadow engine is told. What
 * changes how code is found (paging, CR3) leaves the fragment; what does not goes on in it. */
#include "runtime/control.h"

#include <assert.h>
#include <string.h>

#include "runtime/callout_support.h"
#include "runtime/cpuid.h"
#include "runtime/mmu.h"
#include "runtime/plugins.h"

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
#define CR0_LMSW (CR0_PE | CR0_MP | CR0_EM | CR0_TS)
#define CR4_FLUSHES (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP)

#define PDPTE_BYTES 32u
/* SDM vol. 3A, table 4-8. */
#define PDPTE_RESERVED (~((1ull << MAXPHYADDR) - 1) | 0x1e6u)

static void fail_out_of_memory(struct vcpu *v) {
    static const char text[] = "the host has no memory left for the guest's page tables";
    _Static_assert(sizeof text <= sizeof v->exit_text, "the text fits");
    if (v->exit == EXIT_NONE)
        memcpy(v->exit_text, text, sizeof text);
    vcpu_request_exit(v, EXIT_HOST_FAILURE, 0);
}

/* Reads the four PDPTEs that CR3 points at. An entry outside RAM reads as all ones, which is not
 * valid. False: v->fault is #GP(0), or v->exit says that the host is out of memory. */
static bool read_pdptes(struct vcpu *v, uint32_t cr3, uint64_t pdptes[4]) {
    gpa_t gpa = cr3 & ~(PDPTE_BYTES - 1);
    const uint64_t *table = ram_ptr(v->ram, gpa, PDPTE_BYTES);
    fault_raise_gp(v, 0);
    if (table == NULL)
        return false;
    if (ram_allocate(v->ram, gpa, PDPTE_BYTES) != 0) {
        fail_out_of_memory(v);
        return false;
    }
    for (unsigned i = 0; i < 4; i++) {
        pdptes[i] = __atomic_load_n(&table[i], __ATOMIC_RELAXED);
        if ((pdptes[i] & PTE_P) && (pdptes[i] & PDPTE_RESERVED))
            return false;
    }
    return true;
}

/* Stores new paging registers; PDPTEs are read when they count and `reload` says so. */
static enum callout_result store_paging(struct vcpu *v, struct paging next, bool reload) {
    if (reload && (next.cr0 & CR0_PG) && (next.cr4 & CR4_PAE))
        if (!read_pdptes(v, next.cr3, next.pdpte))
            return v->exit == EXIT_NONE ? CALLOUT_FAULT : CALLOUT_EXIT;
    assert(!(next.cr0 & CR0_PG) || (next.cr0 & CR0_PE));
    v->cpu.paging = next;
    return CALLOUT_NEXT;
}

static enum callout_result write_cr0(struct vcpu *v, uint32_t value) {
    struct cpu *cpu = &v->cpu;
    struct paging next = cpu->paging;
    value = (value & CR0_DEFINED) | CR0_ET;
    if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
        return fault_raise_gp(v, 0);
    uint32_t changed = next.cr0 ^ value;
    next.cr0 = value;
    enum callout_result result = store_paging(v, next, changed & (CR0_PG | CR0_CD | CR0_NW));
    if (result != CALLOUT_NEXT)
        return result;
    if (changed & (CR0_PG | CR0_WP))
        mmu_paging_changed(v);
    if (!(changed & (CR0_PG | CR0_WP | CR0_PE)))
        return callout_continue(v);
    cpu_update_mode(cpu, value & CR0_PE ? cpu_cpl(cpu) : 0);
    return callout_jump(v, cpu->next_eip);
}

enum callout_result control_load_cr3(struct vcpu *v, uint32_t value) {
    struct paging next = v->cpu.paging;
    uint32_t before = next.cr3;
    next.cr3 = value;
    enum callout_result result = store_paging(v, next, true);
    if (result != CALLOUT_NEXT)
        return result;
    mmu_cr3_loaded(v);
    PLUGIN_EVENT(v, ADDRESS_SPACE, before, value, v->cpu.eip);
    return result;
}

static enum callout_result write_cr3(struct vcpu *v, uint32_t value) {
    enum callout_result result = control_load_cr3(v, value);
    return result == CALLOUT_NEXT ? callout_jump(v, v->cpu.next_eip) : result;
}

static enum callout_result write_cr4(struct vcpu *v, uint32_t value) {
    struct cpu *cpu = &v->cpu;
    struct paging next = cpu->paging;
    if (value & ~cpuid_cr4_bits())
        return fault_raise_gp(v, 0);
    uint32_t changed = next.cr4 ^ value;
    next.cr4 = value;
    enum callout_result result = store_paging(v, next, changed & CR4_FLUSHES);
    if (result != CALLOUT_NEXT)
        return result;
    if (changed & CR4_FLUSHES)
        mmu_paging_changed(v);
    if (changed & CR4_TSD) /* RDTSC may have been inline */
        mmu_retranslate_all(v);
    if (!(changed & (CR4_FLUSHES | CR4_TSD)))
        return callout_continue(v);
    cpu_update_mode(cpu, cpu_cpl(cpu));
    return callout_jump(v, cpu->next_eip);
}

enum callout_result callout_mov_to_cr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    if (arg > 4 || arg == 1)
        return fault_raise(v, VEC_UD);
    if (cpu_cpl(&v->cpu) != 0)
        return fault_raise_gp(v, 0);
    switch (arg) {
    case 0:
        return write_cr0(v, operand);
    case 3:
        return write_cr3(v, operand);
    case 4:
        return write_cr4(v, operand);
    default:
        v->cpu.cr2 = operand;
        return CALLOUT_NEXT;
    }
}

enum callout_result callout_mov_from_cr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    const uint32_t values[5] = {cpu->paging.cr0, 0, cpu->cr2, cpu->paging.cr3, cpu->paging.cr4};
    if (arg > 4 || arg == 1)
        return fault_raise(v, VEC_UD);
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    cpu->result = values[arg];
    return CALLOUT_NEXT;
}

enum callout_result callout_clts(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    if (cpu_cpl(&v->cpu) != 0)
        return fault_raise_gp(v, 0);
    v->cpu.paging.cr0 &= ~CR0_TS;
    return callout_continue(v);
}

/* LMSW can set PE and not clear it. */
enum callout_result callout_lmsw(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    uint32_t cr0 = v->cpu.paging.cr0;
    if (cpu_cpl(&v->cpu) != 0)
        return fault_raise_gp(v, 0);
    return write_cr0(v, (cr0 & ~(CR0_LMSW & ~CR0_PE)) | (operand & CR0_LMSW));
}

enum callout_result callout_smsw(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    v->cpu.result = v->cpu.paging.cr0;
    return CALLOUT_NEXT;
}

enum callout_result callout_xgetbv(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    if (!(cpu->paging.cr4 & CR4_OSXSAVE))
        return fault_raise(v, VEC_UD);
    if (cpu->gpr[ECX] != 0)
        return fault_raise_gp(v, 0);
    cpu->gpr[EAX] = (uint32_t)cpu->xcr0;
    cpu->gpr[EDX] = 0;
    return CALLOUT_NEXT;
}

enum callout_result callout_xsetbv(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    if (!(cpu->paging.cr4 & CR4_OSXSAVE))
        return fault_raise(v, VEC_UD);
    uint64_t value = (uint64_t)cpu->gpr[EDX] << 32 | cpu->gpr[EAX];
    bool avx_alone = (value & XCR0_AVX) && !(value & XCR0_SSE);
    if (cpu_cpl(cpu) != 0 || cpu->gpr[ECX] != 0 || (value & ~(uint64_t)cpuid_xcr0_bits()) ||
        !(value & XCR0_X87) || avx_alone)
        return fault_raise_gp(v, 0);
    cpu->xcr0 = value;
    return callout_continue(v);
}
