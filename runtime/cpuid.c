/* The CPU model: what CPUID says (SDM vol. 2, CPUID).
 *
 * Vendor, family, model and stepping are those of an in-order Atom (Cedarview, 06_36H). Such a
 * processor does not speculate past what Meltdown, Spectre v1 and v2, MDS and their kin need, so
 * guest kernels know that it is not affected and leave their mitigations off: page-table
 * isolation, VERW at every exit and retpolines would cost a binary translator dearly and protect
 * nothing (docs/architecture.md, "CPU model"). Features are the host's, cut down to what the
 * translator and the callouts carry out. There is no local APIC, no MTRR, no machine check
 * architecture and no performance counter. All answers are stable: they depend on nothing but
 * the host processor, the TSC's measured rate and the guest's own CR4 and XCR0. */
#include "runtime/cpuid.h"

#include <assert.h>
#include <string.h>

#include "runtime/callout_support.h"

/* Leaf 1, EDX */
#define F1D_FPU (1u << 0)
#define F1D_VME (1u << 1)
#define F1D_DE (1u << 2)
#define F1D_PSE (1u << 3)
#define F1D_TSC (1u << 4)
#define F1D_MSR (1u << 5)
#define F1D_PAE (1u << 6)
#define F1D_CX8 (1u << 8)
#define F1D_SEP (1u << 11)
#define F1D_PGE (1u << 13)
#define F1D_CMOV (1u << 15)
#define F1D_PAT (1u << 16)
#define F1D_PSE36 (1u << 17)
#define F1D_CLFSH (1u << 19)
#define F1D_MMX (1u << 23)
#define F1D_FXSR (1u << 24)
#define F1D_SSE (1u << 25)
#define F1D_SSE2 (1u << 26)
/* Ours whatever the host has: these are carried out by callouts and the page walk. */
#define LEAF1_EDX_OURS                                                                             \
    (F1D_VME | F1D_DE | F1D_PSE | F1D_TSC | F1D_MSR | F1D_PAE | F1D_SEP | F1D_PGE | F1D_PAT | F1D_PSE36)
#define LEAF1_EDX_HOST                                                                             \
    (F1D_FPU | F1D_CX8 | F1D_CMOV | F1D_CLFSH | F1D_MMX | F1D_FXSR | F1D_SSE | F1D_SSE2)

/* Leaf 1, ECX */
#define F1C_SSE3 (1u << 0)
#define F1C_PCLMULQDQ (1u << 1)
#define F1C_SSSE3 (1u << 9)
#define F1C_FMA (1u << 12)
#define F1C_SSE41 (1u << 19)
#define F1C_SSE42 (1u << 20)
#define F1C_MOVBE (1u << 22)
#define F1C_POPCNT (1u << 23)
#define F1C_AES (1u << 25)
#define F1C_XSAVE (1u << 26)
#define F1C_OSXSAVE (1u << 27)
#define F1C_AVX (1u << 28)
#define F1C_F16C (1u << 29)
#define F1C_RDRAND (1u << 30)
#define F1C_HYPERVISOR (1u << 31)
#define LEAF1_ECX_HOST                                                                             \
    (F1C_SSE3 | F1C_PCLMULQDQ | F1C_SSSE3 | F1C_FMA | F1C_SSE41 | F1C_SSE42 | F1C_MOVBE |          \
     F1C_POPCNT | F1C_AES | F1C_XSAVE | F1C_AVX | F1C_F16C | F1C_RDRAND)
#define LEAF1_ECX_NEEDS_AVX (F1C_AVX | F1C_FMA | F1C_F16C)

/* Leaf 7, EBX and EDX */
#define F7B_BMI1 (1u << 3)
#define F7B_AVX2 (1u << 5)
#define F7B_FDP_EXCPTN_ONLY (1u << 6)
#define F7B_SMEP (1u << 7)
#define F7B_BMI2 (1u << 8)
#define F7B_ERMS (1u << 9)
#define F7B_NO_FCS_FDS (1u << 13)
#define F7B_RDSEED (1u << 18)
#define F7B_ADX (1u << 19)
#define F7B_CLFLUSHOPT (1u << 23)
#define F7B_SHA (1u << 29)
#define LEAF7_EBX_OURS (F7B_SMEP | F7B_NO_FCS_FDS)
#define LEAF7_EBX_HOST                                                                             \
    (F7B_BMI1 | F7B_AVX2 | F7B_FDP_EXCPTN_ONLY | F7B_BMI2 | F7B_ERMS | F7B_RDSEED | F7B_ADX |      \
     F7B_CLFLUSHOPT | F7B_SHA)
#define F7D_FSRM (1u << 4)

/* Leaf 0x80000001, ECX and EDX; 0x80000007, EDX */
#define FXC_LAHF (1u << 0)
#define FXC_LZCNT (1u << 5)
#define FXC_PREFETCHW (1u << 8)
#define FXD_NX (1u << 20)
#define FXD_RDTSCP (1u << 27)
#define FPD_INVARIANT_TSC (1u << 8)

#define FDA_XSAVEOPT (1u << 0) /* leaf 0xd, subleaf 1, EAX */

#define LEAF_BASIC_MAX 0x16u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_EXTENDED 0x80000000u
#define LEAF_EXTENDED_MAX 0x80000008u

#define LINEAR_BITS 32u
#define XSAVE_LEGACY_AND_HEADER 576u
#define XSAVE_AVX_BYTES 256u

/* What of the host decides the model; read once, for CPUID costs a lot under a hypervisor. The
 * processor does not change, so every machine of the process may share it. */
struct host {
    bool known;
    struct cpuid_regs leaf1, leaf7, extended, power;
    uint32_t xsave_leaf1_eax;
    uint32_t xcr0;
};

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf) {
    struct cpuid_regs r;
    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static uint32_t host_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static void host_read(struct host *host) {
    const struct cpuid_regs none = {0, 0, 0, 0};
    uint32_t basic_max = host_cpuid(0, 0).eax, extended_max = host_cpuid(LEAF_EXTENDED, 0).eax;
    host->leaf1 = host_cpuid(1, 0);
    host->leaf7 = basic_max >= 7 ? host_cpuid(7, 0) : none;
    host->extended = extended_max >= 0x80000001u ? host_cpuid(0x80000001u, 0) : none;
    host->power = extended_max >= 0x80000007u ? host_cpuid(0x80000007u, 0) : none;
    host->xcr0 = 0;
    host->xsave_leaf1_eax = 0;
    if (host->leaf1.ecx & F1C_OSXSAVE) {
        host->xcr0 = host_xcr0();
        host->xsave_leaf1_eax = basic_max >= 0xd ? host_cpuid(0xd, 1).eax : 0;
    }
    host->known = true;
}

static const struct host *host_get(void) {
    static struct host host;
    if (!host.known)
        host_read(&host);
    return &host;
}

uint32_t cpuid_xcr0_bits(void) {
    const struct host *host = host_get();
    if (!(host->leaf1.ecx & F1C_XSAVE) || !(host->xcr0 & XCR0_SSE))
        return 0;
    uint32_t bits = XCR0_X87 | XCR0_SSE;
    if ((host->leaf1.ecx & F1C_AVX) && (host->xcr0 & XCR0_AVX))
        bits |= XCR0_AVX;
    return bits;
}

static uint32_t leaf1_ecx(void) {
    uint32_t bits = host_get()->leaf1.ecx & LEAF1_ECX_HOST, xcr0 = cpuid_xcr0_bits();
    if (!xcr0)
        bits &= ~F1C_XSAVE;
    if (!(xcr0 & XCR0_AVX))
        bits &= ~LEAF1_ECX_NEEDS_AVX;
    return bits | F1C_HYPERVISOR;
}

static uint32_t leaf1_edx(void) {
    return (host_get()->leaf1.edx & LEAF1_EDX_HOST) | LEAF1_EDX_OURS;
}

static uint32_t leaf7_ebx(void) {
    uint32_t bits = host_get()->leaf7.ebx & LEAF7_EBX_HOST;
    if (!(cpuid_xcr0_bits() & XCR0_AVX))
        bits &= ~F7B_AVX2;
    return bits | LEAF7_EBX_OURS;
}

uint32_t cpuid_cr4_bits(void) {
    uint32_t bits = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_SMEP;
    if (leaf1_edx() & F1D_FXSR)
        bits |= CR4_OSFXSR;
    if (leaf1_edx() & F1D_SSE)
        bits |= CR4_OSXMMEXCPT;
    if (leaf1_ecx() & F1C_XSAVE)
        bits |= CR4_OSXSAVE;
    return bits;
}

uint32_t cpuid_efer_bits(void) { return EFER_NXE; }

static void leaf_1(const struct vcpu *v, struct cpuid_regs *out) {
    bool osxsave = v->cpu.paging.cr4 & CR4_OSXSAVE;
    out->eax = CPUID_SIGNATURE;
    out->ebx = 8u << 8 | 1u << 16; /* CLFLUSH line in 8-byte units; one logical processor */
    out->ecx = leaf1_ecx() | (osxsave ? F1C_OSXSAVE : 0);
    out->edx = leaf1_edx();
}

/* Deterministic cache parameters: 32 KiB instruction and data caches, 1 MiB second level, 8 MiB
 * third level, lines of 64 bytes. */
static void leaf_4(uint32_t subleaf, struct cpuid_regs *out) {
    static const struct {
        uint8_t type, level; /* 1 data, 2 instruction, 3 unified */
        uint16_t ways, sets;
    } caches[] = {{1, 1, 8, 64}, {2, 1, 8, 64}, {3, 2, 16, 1024}, {3, 3, 16, 8192}};
    if (subleaf >= sizeof caches / sizeof caches[0])
        return;
    out->eax = caches[subleaf].type | (uint32_t)caches[subleaf].level << 5 | 1u << 8;
    out->ebx = 63u | (uint32_t)(caches[subleaf].ways - 1) << 22;
    out->ecx = caches[subleaf].sets - 1u;
}

static void leaf_xsave(const struct vcpu *v, uint32_t subleaf, struct cpuid_regs *out) {
    uint32_t bits = cpuid_xcr0_bits();
    if (!bits)
        return;
    uint32_t with_avx = XSAVE_LEGACY_AND_HEADER + XSAVE_AVX_BYTES;
    switch (subleaf) {
    case 0:
        out->eax = bits;
        out->ebx = v->cpu.xcr0 & XCR0_AVX ? with_avx : XSAVE_LEGACY_AND_HEADER;
        out->ecx = bits & XCR0_AVX ? with_avx : XSAVE_LEGACY_AND_HEADER;
        break;
    case 1:
        out->eax = host_get()->xsave_leaf1_eax & FDA_XSAVEOPT;
        break;
    case 2:
        if (bits & XCR0_AVX) {
            out->eax = XSAVE_AVX_BYTES;
            out->ebx = XSAVE_LEGACY_AND_HEADER;
        }
        break;
    default:
        break;
    }
}

/* The TSC's rate as crystal * numerator / denominator, exact to the kilohertz that kernels work
 * in: a crystal of the TSC's own rate, or of 1 kHz when that exceeds 32 bits. */
static void leaf_tsc(const struct vcpu *v, struct cpuid_regs *out) {
    uint64_t hz = v->clock->tsc_hz;
    assert(hz >= 1000);
    bool fits = hz <= UINT32_MAX;
    out->eax = 1;
    out->ebx = fits ? 1 : (uint32_t)(hz / 1000);
    out->ecx = fits ? (uint32_t)hz : 1000;
}

static void leaf_frequency(const struct vcpu *v, struct cpuid_regs *out) {
    uint32_t mhz = (uint32_t)(v->clock->tsc_hz / 1000000);
    out->eax = out->ebx = mhz;
    out->ecx = 100;
}

/* Twelve or sixteen bytes of text in the registers, in the order given. */
static void registers_from_text(const char *text, uint32_t *a, uint32_t *b, uint32_t *c) {
    memcpy(a, text, 4);
    memcpy(b, text + 4, 4);
    memcpy(c, text + 8, 4);
}

static void leaf_basic(const struct vcpu *v, uint32_t leaf, uint32_t subleaf,
                       struct cpuid_regs *out) {
    switch (leaf) {
    case 0:
        out->eax = LEAF_BASIC_MAX;
        registers_from_text("GenuineIntel", &out->ebx, &out->edx, &out->ecx);
        break;
    case 1:
        leaf_1(v, out);
        break;
    case 2:
        out->eax = 0x0000ff01; /* one round; 0xff: the caches are in leaf 4 */
        break;
    case 4:
        leaf_4(subleaf, out);
        break;
    case 7:
        if (subleaf == 0) {
            out->ebx = leaf7_ebx();
            out->edx = host_get()->leaf7.edx & F7D_FSRM;
        }
        break;
    case 0xd:
        leaf_xsave(v, subleaf, out);
        break;
    case 0x15:
        leaf_tsc(v, out);
        break;
    case 0x16:
        leaf_frequency(v, out);
        break;
    default:
        break;
    }
}

static void leaf_extended(uint32_t leaf, struct cpuid_regs *out) {
    static const char brand[48] = "ring3 virtual CPU";
    const struct host *host = host_get();
    switch (leaf) {
    case 0x80000000u:
        out->eax = LEAF_EXTENDED_MAX;
        break;
    case 0x80000001u:
        out->ecx = host->extended.ecx & (FXC_LAHF | FXC_LZCNT | FXC_PREFETCHW);
        out->edx = FXD_NX | (host->extended.edx & FXD_RDTSCP);
        break;
    case 0x80000002u:
    case 0x80000003u:
    case 0x80000004u:
        memcpy(out, brand + 16 * (leaf - 0x80000002u), 16);
        break;
    case 0x80000006u:
        out->ecx = 1024u << 16 | 8u << 12 | 64u; /* 1 MiB, 16 ways, 64-byte lines */
        break;
    case 0x80000007u:
        out->edx = host->power.edx & FPD_INVARIANT_TSC;
        break;
    case 0x80000008u:
        out->eax = MAXPHYADDR | LINEAR_BITS << 8;
        break;
    default:
        break;
    }
}

void cpuid_query(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out) {
    *out = (struct cpuid_regs){0, 0, 0, 0};
    if (leaf >> 28 == LEAF_HYPERVISOR >> 28) {
        if (leaf == LEAF_HYPERVISOR) {
            out->eax = LEAF_HYPERVISOR;
            registers_from_text("ring3 ring3 ", &out->ebx, &out->ecx, &out->edx);
        }
        return;
    }
    if (leaf >= LEAF_EXTENDED && leaf <= LEAF_EXTENDED_MAX) {
        leaf_extended(leaf, out);
        return;
    }
    /* Beyond what there is, the processor answers with its highest basic leaf. */
    leaf_basic(v, leaf <= LEAF_BASIC_MAX ? leaf : LEAF_BASIC_MAX, subleaf, out);
}

enum callout_result callout_cpuid(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    struct cpuid_regs out;
    cpuid_query(v, cpu->gpr[EAX], cpu->gpr[ECX], &out);
    cpu->gpr[EAX] = out.eax;
    cpu->gpr[EBX] = out.ebx;
    cpu->gpr[ECX] = out.ecx;
    cpu->gpr[EDX] = out.edx;
    return CALLOUT_NEXT;
}
