/* The CPU model: what CPUID says, and what follows from it for control bits. */
#ifndef RING3_RUNTIME_CPUID_H
#define RING3_RUNTIME_CPUID_H

#include <stdint.h>

#include "runtime/vcpu.h"

/* Family 6, model 0x36, stepping 4: leaf 1's EAX, and EDX at reset. */
#define CPUID_SIGNATURE 0x00030664u

#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

void cpuid_query(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out);

/* The bits of CR4, EFER and XCR0 that the model has. */
uint32_t cpuid_cr4_bits(void);
uint32_t cpuid_efer_bits(void);
uint32_t cpuid_xcr0_bits(void);

#endif
