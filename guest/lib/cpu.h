/* The processor as a guest kernel sees it: ports, control registers, flag and bit names.
 * Volume and section numbers are of the Intel SDM. */
#ifndef RING3_GUEST_CPU_H
#define RING3_GUEST_CPU_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FLAG_CF = 1u << 0,
    FLAG_FIXED = 1u << 1, /* always reads one */
    FLAG_PF = 1u << 2,
    FLAG_AF = 1u << 4,
    FLAG_ZF = 1u << 6,
    FLAG_SF = 1u << 7,
    FLAG_TF = 1u << 8,
    FLAG_IF = 1u << 9,
    FLAG_DF = 1u << 10,
    FLAG_OF = 1u << 11,
    FLAG_IOPL = 3u << 12,
    FLAG_NT = 1u << 14,
    FLAG_RF = 1u << 16,
    FLAG_VM = 1u << 17,
    FLAG_AC = 1u << 18,
    FLAG_VIF = 1u << 19,
    FLAG_VIP = 1u << 20,
    FLAG_ID = 1u << 21,
    FLAGS_ARITHMETIC = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF,
};

enum {
    CR0_PE = 1u << 0,
    CR0_MP = 1u << 1,
    CR0_EM = 1u << 2,
    CR0_TS = 1u << 3,
    CR0_NE = 1u << 5,
    CR0_WP = 1u << 16,
    CR0_AM = 1u << 18,
    CR4_VME = 1u << 0,
    CR4_PVI = 1u << 1,
    CR4_DE = 1u << 3,
    CR4_PSE = 1u << 4,
    CR4_PAE = 1u << 5,
    CR4_PGE = 1u << 7,
    CR4_OSFXSR = 1u << 9,
    CR4_OSXMMEXCPT = 1u << 10,
};
#define CR0_PG (1u << 31)

enum {
    CPUID_VME = 1u << 1, /* leaf 1, EDX */
    CPUID_PSE = 1u << 3,
    CPUID_MSR = 1u << 5,
    CPUID_PAE = 1u << 6,
    CPUID_SEP = 1u << 11,
    CPUID_PGE = 1u << 13,
    CPUID_FXSR = 1u << 24,
    CPUID_SSE2 = 1u << 26,
    CPUID_NX = 1u << 20, /* leaf 0x80000001, EDX */
};

enum {
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    EFER_NXE = 1u << 11,
};
#define MSR_EFER 0xc0000080u

enum {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_BR = 5,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_XM = 19,
};

/* #PF error code, 3A section 4.7. */
enum { PF_PRESENT = 1, PF_WRITE = 2, PF_USER = 4, PF_RESERVED = 8, PF_FETCH = 16 };

static inline void outb(uint16_t port, uint8_t value) {
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port) {
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* read_cr0() and write_cr0(value), and so on: loads and stores of memory stay on their side. */
#define GUEST_CONTROL_REGISTER(name)                                                               \
    static inline uint32_t read_##name(void) {                                                     \
        uint32_t value;                                                                            \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value) : : "memory");                        \
        return value;                                                                              \
    }                                                                                              \
    static inline void write_##name(uint32_t value) {                                              \
        __asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory");                            \
    }
GUEST_CONTROL_REGISTER(cr0)
GUEST_CONTROL_REGISTER(cr2)
GUEST_CONTROL_REGISTER(cr3)
GUEST_CONTROL_REGISTER(cr4)
GUEST_CONTROL_REGISTER(dr0)
GUEST_CONTROL_REGISTER(dr1)
GUEST_CONTROL_REGISTER(dr6)
GUEST_CONTROL_REGISTER(dr7)
#undef GUEST_CONTROL_REGISTER

static inline uint32_t read_flags(void) {
    uint32_t value;
    __asm__ volatile("pushfl; popl %0" : "=r"(value) : : "memory");
    return value;
}

static inline void interrupts_enable(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void interrupts_disable(void) { __asm__ volatile("cli" : : : "memory"); }

static inline void invlpg(uint32_t linear) {
    __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory");
}

static inline void write_msr(uint32_t index, uint64_t value) {
    __asm__ volatile("wrmsr" : : "c"(index), "A"(value) : "memory");
}

static inline uint64_t read_msr(uint32_t index) {
    uint64_t value;
    __asm__ volatile("rdmsr" : "=A"(value) : "c"(index));
    return value;
}

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf) {
    struct cpuid r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(0));
    return r;
}

#endif
