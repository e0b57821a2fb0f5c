/* Registers for plugins: read at every event, written where the guest stands before an instruction.
 */
#include "memory/walk.h"
#include "runtime/plugin_private.h"

static uint32_t mode_of(const struct cpu *cpu) {
    uint32_t mode = cpu->mode & MODE_REAL ? RING3_MODE_REAL : 0;
    mode |= cpu->mode & MODE_VM86 ? RING3_MODE_V86 : 0;
    mode |= cpu->mode & MODE_CODE16 ? RING3_MODE_CODE16 : 0;
    mode |= cpu->paging.cr0 & CR0_PG ? RING3_MODE_PAGING : 0;
    mode |= cpu->paging.cr4 & CR4_PAE ? RING3_MODE_PAE : 0;
    return mode;
}

static uint32_t value_of(const struct cpu *cpu, uint32_t reg) {
    if (reg <= RING3_EDI)
        return cpu->gpr[reg - RING3_EAX];
    if (reg >= RING3_ES && reg <= RING3_GS)
        return cpu->seg[reg - RING3_ES].selector;
    if (reg >= RING3_ES_BASE && reg <= RING3_GS_BASE)
        return cpu->seg[reg - RING3_ES_BASE].base;
    switch (reg) {
    case RING3_EIP:
        return cpu->eip;
    case RING3_EFLAGS:
        return cpu_eflags(cpu);
    case RING3_CR0:
        return cpu->paging.cr0;
    case RING3_CR2:
        return cpu->cr2;
    case RING3_CR3:
        return cpu->paging.cr3;
    case RING3_CR4:
        return cpu->paging.cr4;
    case RING3_EFER:
        return cpu->paging.efer;
    case RING3_TR_BASE:
        return cpu->tr.base;
    case RING3_GDT_BASE:
        return cpu->gdt.base;
    case RING3_IDT_BASE:
        return cpu->idt.base;
    case RING3_CPL:
        return cpu_cpl(cpu);
    default:
        return mode_of(cpu);
    }
}

int plugin_get_register(uint32_t reg, uint32_t *value) {
    struct plugins *plugins = plugin_caller(PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    if (reg >= RING3_REGISTER_COUNT)
        return RING3_BAD_ARGUMENT;
    uint32_t is = value_of(&plugins->v->cpu, reg);
    return plugin_put(plugins, value, &is, sizeof is);
}

int plugin_set_register(uint32_t reg, uint32_t value) {
    struct plugins *plugins = plugin_caller(PHASE_STOPPED);
    if (!plugins)
        return RING3_WRONG_TIME;
    struct cpu *cpu = &plugins->v->cpu;
    if (reg <= RING3_EDI) {
        cpu->gpr[reg - RING3_EAX] = value;
    } else if (reg == RING3_EFLAGS) {
        cpu->flags = (value & FL_HOST) | FL_ONE;
    } else if (reg == RING3_EIP) {
        if (!(plugins->phase & PHASE_MOVABLE))
            return RING3_WRONG_TIME;
        plugins->moved |= value != cpu->eip;
        cpu->eip = value;
    } else {
        return RING3_BAD_ARGUMENT;
    }
    return RING3_OK;
}
