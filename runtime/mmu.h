/* What the CPU tells the shadow engine. Called after the registers in cpu->paging are new. */
#ifndef RING3_RUNTIME_MMU_H
#define RING3_RUNTIME_MMU_H

#include "runtime/vcpu.h"

/* MOV to CR3 (non-global translations are flushed); PDPTEs already loaded. */
void mmu_cr3_loaded(struct vcpu *v);
/* CR0.PG, CR0.WP, CR4.PAE/PSE/PGE/SMEP/SMAP or EFER.NXE changed: everything is flushed. */
void mmu_paging_changed(struct vcpu *v);
/* What stands at some guest-physical addresses changed (ram_set_legacy): every mapping and every
 * translation is thrown away. For devices: takes effect behind the instruction that runs. */
void mmu_memory_changed(struct vcpu *v);
void mmu_invlpg(struct vcpu *v, gva_t gva);
/* The guest's RDTSC no longer equals the host's, or CPUID-visible code rules changed: every
 * translation is thrown away before the next fragment is entered. */
void mmu_retranslate_all(struct vcpu *v);

#endif
