/* Conversions between struct cpu and KVM's structs. */
#include "kvm/state.h"

#include <assert.h>

#define SEG_ATTR_AVL 0x1000u
#define SEG_ATTR_L 0x2000u
#define APIC_BASE_ENABLE (1ull << 11)
#define BYTE_LIMIT_MAX 0xfffffu
#define PAGES_IN_LIMIT 0xfffu /* a limit in pages ends with these bits set */

/* VM entry wants G to agree with the limit; after a load from a descriptor it does. */
static bool has_page_limit(const struct segment *segment) {
    if ((segment->limit & PAGES_IN_LIMIT) != PAGES_IN_LIMIT)
        return false;
    return segment->attr & SEG_ATTR_G || segment->limit > BYTE_LIMIT_MAX;
}

struct kvm_segment state_segment_to_kvm(const struct segment *segment) {
    uint32_t attr = segment->attr;
    return (struct kvm_segment){
        .base = segment->base,
        .limit = segment->limit,
        .selector = segment->selector,
        .type = attr & SEG_ATTR_TYPE,
        .s = !!(attr & SEG_ATTR_S),
        .dpl = (__u8)SEG_ATTR_DPL(attr),
        .present = !!(attr & SEG_ATTR_P),
        .avl = !!(attr & SEG_ATTR_AVL),
        .l = !!(attr & SEG_ATTR_L),
        .db = !!(attr & SEG_ATTR_DB),
        .g = has_page_limit(segment),
        .unusable = !segment->usable,
    };
}

struct segment state_segment_from_kvm(const struct kvm_segment *segment) {
    uint32_t attr = segment->type & SEG_ATTR_TYPE;
    attr |= segment->s ? SEG_ATTR_S : 0;
    attr |= (segment->dpl & 3u) << 5;
    attr |= segment->present ? SEG_ATTR_P : 0;
    attr |= segment->avl ? SEG_ATTR_AVL : 0;
    attr |= segment->l ? SEG_ATTR_L : 0;
    attr |= segment->db ? SEG_ATTR_DB : 0;
    attr |= segment->g ? SEG_ATTR_G : 0;
    return (struct segment){
        .selector = segment->selector,
        .attr = (uint16_t)attr,
        .base = (uint32_t)segment->base,
        .limit = segment->limit,
        .usable = !segment->unusable,
    };
}

struct kvm_regs state_regs_to_kvm(const struct cpu *cpu) {
    return (struct kvm_regs){
        .rax = cpu->gpr[EAX],
        .rcx = cpu->gpr[ECX],
        .rdx = cpu->gpr[EDX],
        .rbx = cpu->gpr[EBX],
        .rsp = cpu->gpr[ESP],
        .rbp = cpu->gpr[EBP],
        .rsi = cpu->gpr[ESI],
        .rdi = cpu->gpr[EDI],
        .rip = cpu->eip,
        .rflags = cpu_eflags(cpu),
    };
}

static struct kvm_dtable table_to_kvm(const struct table_register *table) {
    assert(table->limit <= UINT16_MAX);
    return (struct kvm_dtable){.base = table->base, .limit = (__u16)table->limit};
}

void state_sregs_to_kvm(const struct cpu *cpu, struct kvm_sregs2 *sregs) {
    const struct paging *paging = &cpu->paging;
    struct kvm_segment *const segments[SEG_COUNT] = {
        [SEG_ES] = &sregs->es, [SEG_CS] = &sregs->cs, [SEG_SS] = &sregs->ss,
        [SEG_DS] = &sregs->ds, [SEG_FS] = &sregs->fs, [SEG_GS] = &sregs->gs};
    for (unsigned i = 0; i < SEG_COUNT; i++)
        *segments[i] = state_segment_to_kvm(&cpu->seg[i]);
    sregs->ldt = state_segment_to_kvm(&cpu->ldt);
    sregs->tr = state_segment_to_kvm(&cpu->tr);
    sregs->gdt = table_to_kvm(&cpu->gdt);
    sregs->idt = table_to_kvm(&cpu->idt);
    sregs->cr0 = paging->cr0;
    sregs->cr2 = cpu->cr2;
    sregs->cr3 = paging->cr3;
    sregs->cr4 = paging->cr4;
    sregs->efer = paging->efer;
    sregs->apic_base &= ~APIC_BASE_ENABLE; /* CPUID shows one otherwise */
    bool pae = paging->cr0 & CR0_PG && paging->cr4 & CR4_PAE;
    sregs->flags = pae ? KVM_SREGS2_FLAGS_PDPTRS_VALID : 0;
    for (unsigned i = 0; i < 4; i++)
        sregs->pdptrs[i] = pae ? paging->pdpte[i] : 0;
}

struct kvm_debugregs state_debugregs_to_kvm(const struct cpu *cpu) {
    return (struct kvm_debugregs){
        .db = {cpu->dr[0], cpu->dr[1], cpu->dr[2], cpu->dr[3]},
        .dr6 = cpu->dr[6],
        .dr7 = cpu->dr[7],
    };
}

static void regs_from_kvm(struct cpu *cpu, const struct kvm_regs *regs) {
    const __u64 values[8] = {regs->rax, regs->rcx, regs->rdx, regs->rbx,
                             regs->rsp, regs->rbp, regs->rsi, regs->rdi};
    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = (uint32_t)values[i];
    cpu->eip = cpu->next_eip = (uint32_t)regs->rip;
    cpu_set_eflags(cpu, (uint32_t)regs->rflags, FL_ALL);
}

static void sregs_from_kvm(struct cpu *cpu, const struct kvm_sregs2 *sregs) {
    struct paging *paging = &cpu->paging;
    const struct kvm_segment *const segments[SEG_COUNT] = {
        [SEG_ES] = &sregs->es, [SEG_CS] = &sregs->cs, [SEG_SS] = &sregs->ss,
        [SEG_DS] = &sregs->ds, [SEG_FS] = &sregs->fs, [SEG_GS] = &sregs->gs};
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        cpu->seg[i] = state_segment_from_kvm(segments[i]);
        cpu_segment_changed(cpu, &cpu->seg[i]);
    }
    cpu->ldt = state_segment_from_kvm(&sregs->ldt);
    cpu->tr = state_segment_from_kvm(&sregs->tr);
    cpu->gdt = (struct table_register){(uint32_t)sregs->gdt.base, sregs->gdt.limit};
    cpu->idt = (struct table_register){(uint32_t)sregs->idt.base, sregs->idt.limit};
    cpu->cr2 = (uint32_t)sregs->cr2;
    paging->cr0 = (uint32_t)sregs->cr0;
    paging->cr3 = (uint32_t)sregs->cr3;
    paging->cr4 = (uint32_t)sregs->cr4;
    paging->efer = (uint32_t)sregs->efer;
    for (unsigned i = 0; i < 4 && sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID; i++)
        paging->pdpte[i] = sregs->pdptrs[i];
}

/* The stack segment's DPL is the privilege level (SDM vol. 3C, 24.4.1). */
static unsigned privilege(const struct cpu *cpu) {
    if (!(cpu->paging.cr0 & CR0_PE))
        return 0;
    return cpu->sys_flags & FL_VM ? 3 : SEG_ATTR_DPL(cpu->seg[SEG_SS].attr);
}

void state_from_kvm(struct cpu *cpu, const struct kvm_regs *regs, const struct kvm_sregs2 *sregs,
                    const struct kvm_debugregs *debugregs) {
    regs_from_kvm(cpu, regs);
    sregs_from_kvm(cpu, sregs);
    for (unsigned i = 0; i < 4; i++)
        cpu->dr[i] = (uint32_t)debugregs->db[i];
    cpu->dr[6] = (uint32_t)debugregs->dr6;
    cpu->dr[7] = (uint32_t)debugregs->dr7;
    cpu_update_mode(cpu, privilege(cpu));
}
