/* Debug registers and the debug exceptions that begin in callouts (SDM vol. 3B, 17.2 and 17.3). */
#include "runtime/debug_registers.h"

#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/exception.h"

#define DR6_FIXED 0xffff0ff0u
#define DR6_WRITABLE 0x0000e00fu
#define DR7_FIXED 0x00000400u
#define DR7_WRITABLE 0xffff23ffu
#define DR7_GD (1u << 13)

#define BREAKPOINTS 4
#define BREAK_ON_EXECUTION 0u /* DR7's R/W and LEN fields */

uint32_t debug_code_breakpoint(const struct vcpu *v, uint32_t eip) {
    const uint32_t *dr = v->cpu.dr;
    gva_t gva = v->cpu.seg[SEG_CS].base + eip;
    uint32_t hit = 0;
    if (!(dr[7] & 0xffu))
        return 0;
    for (unsigned i = 0; i < BREAKPOINTS; i++) {
        bool armed = dr[7] >> 2 * i & 3u;
        uint32_t condition = dr[7] >> (16 + 4 * i) & 15u;
        if (armed && condition == BREAK_ON_EXECUTION && dr[i] == gva)
            hit |= DR6_B(i);
    }
    return hit;
}

void debug_settle_resume_flag(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    if ((cpu->sys_flags & FL_RF) && debug_code_breakpoint(v, cpu->eip) == 0)
        cpu->sys_flags &= ~FL_RF;
}

/* Which register DR4 and DR5 stand for, the privilege and general detect: CALLOUT_NEXT when the
 * access may go on with `*index`. */
static enum callout_result check_access(struct vcpu *v, uint32_t *index) {
    struct cpu *cpu = &v->cpu;
    if (*index == 4 || *index == 5) {
        if (cpu->paging.cr4 & CR4_DE)
            return fault_raise(v, VEC_UD);
        *index += 2;
    }
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    if (cpu->dr[7] & DR7_GD)
        return exception_deliver_debug(v, DR6_BD, false, true);
    return CALLOUT_NEXT;
}

enum callout_result callout_mov_to_dr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    uint32_t index = arg & 7u;
    enum callout_result result = check_access(v, &index);
    if (result != CALLOUT_NEXT)
        return result;
    if (index == 6)
        operand = (operand & DR6_WRITABLE) | DR6_FIXED;
    else if (index == 7)
        operand = (operand & DR7_WRITABLE) | DR7_FIXED;
    assert(index < 4 || index == 6 || index == 7);
    v->cpu.dr[index] = operand;
    return callout_continue(v);
}

enum callout_result callout_mov_from_dr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    uint32_t index = arg & 7u;
    enum callout_result result = check_access(v, &index);
    if (result == CALLOUT_NEXT)
        v->cpu.result = v->cpu.dr[index];
    return result;
}

/* A breakpoint pushes RF clear; its handler sets it to step over the instruction. */
bool debug_instruction_breakpoint(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    uint32_t hit = debug_code_breakpoint(v, cpu->eip);
    if (cpu->sys_flags & FL_RF) {
        cpu->sys_flags &= ~FL_RF;
        return false;
    }
    if (!hit || cpu->debug_shadow)
        return false;
    exception_deliver_debug(v, hit, false, false);
    return true;
}
