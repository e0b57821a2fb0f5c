/* The small system instructions: descriptor table registers, HLT, INVLPG, WBINVD (SDM vol. 2). */
#include <string.h>

#include "runtime/callout_support.h"
#include "runtime/guest_access.h"
#include "runtime/mmu.h"

#define TABLE_BYTES 6u

/* A 16-bit operand size loads 24 bits of base. */
static enum callout_result load_table(struct vcpu *v, uint32_t arg, gva_t gva,
                                      struct table_register *table) {
    uint8_t bytes[TABLE_BYTES];
    uint16_t limit;
    uint32_t base;
    if (cpu_cpl(&v->cpu) != 0)
        return fault_raise_gp(v, 0);
    if (!guest_read(v, gva, bytes, TABLE_BYTES, false))
        return CALLOUT_FAULT;
    memcpy(&limit, bytes, 2);
    memcpy(&base, bytes + 2, 4);
    table->limit = limit;
    table->base = callout_is_16bit(arg) ? base & 0xffffffu : base;
    return CALLOUT_NEXT;
}

/* Every operand size stores all of the base. */
static enum callout_result store_table(struct vcpu *v, gva_t gva,
                                       const struct table_register *table) {
    uint8_t bytes[TABLE_BYTES];
    uint16_t limit = (uint16_t)table->limit;
    memcpy(bytes, &limit, 2);
    memcpy(bytes + 2, &table->base, 4);
    return guest_write(v, gva, bytes, TABLE_BYTES, false) ? CALLOUT_NEXT : CALLOUT_FAULT;
}

enum callout_result callout_lgdt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    cpu_forget_all_loaded(&v->cpu);
    return load_table(v, arg, operand, &v->cpu.gdt);
}

enum callout_result callout_lidt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    return load_table(v, arg, operand, &v->cpu.idt);
}

enum callout_result callout_sgdt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    return store_table(v, operand, &v->cpu.gdt);
}

enum callout_result callout_sidt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    return store_table(v, operand, &v->cpu.idt);
}

/* The run loop sleeps until an interrupt. HLT is the instruction that a shadow of STI covers. */
enum callout_result callout_hlt(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    cpu->halted = true;
    cpu->interrupt_shadow = cpu->debug_shadow = false;
    return callout_jump(v, cpu->next_eip);
}

/* A large page at most lies under both addresses when they share their upper 10 bits: then the
 * code that follows may stand elsewhere now. */
enum callout_result callout_invlpg(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct cpu *cpu = &v->cpu;
    if (cpu_cpl(cpu) != 0)
        return fault_raise_gp(v, 0);
    mmu_invlpg(v, operand);
    bool covers_code = !((operand ^ (cpu->seg[SEG_CS].base + cpu->next_eip)) >> 22);
    return covers_code ? callout_jump(v, cpu->next_eip) : CALLOUT_NEXT;
}

enum callout_result callout_wbinvd(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    if (cpu_cpl(&v->cpu) != 0)
        return fault_raise_gp(v, 0);
    return CALLOUT_NEXT; /* guest RAM is coherent memory; there is nothing to write back */
}
