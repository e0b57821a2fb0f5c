/* The vCPU's power-on state, its faults, and how it is asked to stop. */
#include "runtime/vcpu.h"

#include <assert.h>
#include <string.h>

#include "runtime/cpuid.h"
#include "runtime/msr.h"
#include "runtime/system.h"

#define RESET_CR0 (CR0_CD | CR0_NW | CR0_ET)
#define RESET_DR6 0xffff0ff0u
#define RESET_DR7 0x00000400u

static void reset_segments(struct cpu *cpu) {
    const struct segment data = {.attr = 0x93, .limit = 0xffff, .usable = true};
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->seg[i] = data;
    cpu->seg[SEG_CS].selector = 0xf000;
    cpu->seg[SEG_CS].base = 0xffff0000;
    cpu->ldt = (struct segment){.attr = 0x82, .limit = 0xffff, .usable = true};
    cpu->tr = (struct segment){.attr = 0x8b, .limit = 0xffff, .usable = true};
    cpu->gdt = cpu->idt = (struct table_register){.base = 0, .limit = 0xffff};
    cpu_forget_all_loaded(cpu);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu_segment_changed(cpu, &cpu->seg[i]);
}

static void reset_registers(struct cpu *cpu) {
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    cpu->gpr[EDX] = CPUID_SIGNATURE;
    cpu->eip = cpu->next_eip = 0xfff0;
    cpu->flags = FL_ONE;
    cpu->iflag = cpu->sys_flags = 0;
    cpu->paging = (struct paging){.cr0 = RESET_CR0};
    cpu->cr2 = 0;
    memset(cpu->dr, 0, sizeof cpu->dr);
    cpu->dr[6] = RESET_DR6;
    cpu->dr[7] = RESET_DR7;
    cpu->xcr0 = XCR0_X87;
    cpu->tsc_offset = 0;
    cpu->interrupt_shadow = cpu->debug_shadow = false;
    cpu->halted = cpu->nmi_blocked = cpu->nmi_pending = false;
}

/* The engine's fields of the struct (windows, stubs, counts, the interrupt pin) stay. */
void vcpu_reset(struct vcpu *v) {
    struct cpu *cpu = &v->cpu;
    reset_registers(cpu);
    reset_segments(cpu);
    msr_reset(&cpu->msr);
    cpu_update_mode(cpu, 0);
    memset(&v->fault, 0, sizeof v->fault);
    v->breakpoint_hits = v->held_hits = 0;
    v->traps_dropped = false;
}

static enum callout_result raise(struct vcpu *v, enum vector vector, bool has_error,
                                 uint32_t error) {
    v->fault = (struct guest_fault){
        .vector = (uint8_t)vector, .has_error = has_error, .error = error, .cr2 = 0};
    return CALLOUT_FAULT;
}

enum callout_result fault_raise(struct vcpu *v, enum vector vector) {
    return raise(v, vector, false, 0);
}

enum callout_result fault_raise_error(struct vcpu *v, enum vector vector, uint32_t error) {
    return raise(v, vector, true, error);
}

enum callout_result fault_raise_gp(struct vcpu *v, uint32_t error) {
    return raise(v, VEC_GP, true, error);
}

void vcpu_request_exit(struct vcpu *v, enum exit_reason reason, uint32_t value) {
    assert(reason != EXIT_NONE);
    if (v->exit == EXIT_NONE) {
        v->exit_value = value;
        v->exit = reason;
    }
    v->cpu.attention = 1;
}

void vcpu_set_intr(struct vcpu *v, bool asserted) {
    TRACE(v->trace, line, asserted);
    v->cpu.irq_pending = asserted;
    if (asserted && v->cpu.iflag)
        v->cpu.attention = 1;
}

void vcpu_raise_nmi(struct vcpu *v) {
    v->cpu.nmi_pending = true;
    v->cpu.attention = 1;
}
