/* SYSENTER and SYSEXIT (SDM vol. 2): system calls without a memory access.
 *
 * They load fixed flat segments, whatever the descriptors that the selectors name say. */
#include "runtime/callout_support.h"
#include "runtime/descriptor.h"

#define TYPE_CODE 0x0bu /* execute, read, accessed */
#define TYPE_DATA 0x03u /* read, write, accessed */

static enum callout_result switch_level(struct vcpu *v, uint32_t cs, unsigned cpl, uint32_t eip,
                                        uint32_t esp) {
    struct cpu *cpu = &v->cpu;
    bool dirty = cpu->mode_dirty;
    segment_set_flat(cpu, SEG_CS, cs | cpl, TYPE_CODE, cpl);
    segment_set_flat(cpu, SEG_SS, (cs + 8) | cpl, TYPE_DATA, cpl);
    cpu->mode_dirty = dirty; /* by CS and SS themselves it is answered below */
    cpu->gpr[ESP] = esp;
    cpu->eip = eip;
    cpu_update_mode_flat(cpu, cpl);
    return CALLOUT_JUMP;
}

enum callout_result callout_sysenter(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    if (!cpu_is_protected(cpu) || selector_is_null(cpu->msr.sysenter_cs))
        return fault_raise_gp(v, 0);
    cpu->iflag = 0;
    cpu->sys_flags &= ~(FL_VM | FL_RF);
    return switch_level(v, cpu->msr.sysenter_cs & 0xfffcu, 0, cpu->msr.sysenter_eip,
                        cpu->msr.sysenter_esp);
}

enum callout_result callout_sysexit(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    if (!cpu_is_protected(cpu) || cpu_cpl(cpu) != 0 || selector_is_null(cpu->msr.sysenter_cs))
        return fault_raise_gp(v, 0);
    uint32_t cs = (cpu->msr.sysenter_cs & 0xfffcu) + 16;
    return switch_level(v, cs, 3, cpu->gpr[EDX], cpu->gpr[ECX]);
}
