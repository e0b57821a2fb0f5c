/* CPUID for KVM, and the MSRs.
 *
 * The table is the model's own, leaf by leaf. KVM carries out what the processor has, so features
 * that KVM does not name are left out; and it answers for the five MSRs that guests use often. All
 * others come to us, and are the model's or raise #GP; EFER and PAT are handed on when good. */
#include "kvm/model.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "runtime/cpuid.h"
#include "runtime/msr.h"

#define LEAF_FEATURES 1u
#define LEAF_CACHES 4u
#define LEAF_MORE_FEATURES 7u
#define LEAF_XSAVE 0xdu
#define LEAF_BASIC_LAST 0x16u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_EXTENDED 0x80000000u
#define LEAF_EXTENDED_FEATURES 0x80000001u
#define LEAF_POWER 0x80000007u
#define LEAF_ADDRESSES 0x80000008u

#define FEATURE_XSAVE (1u << 26)      /* leaf 1, ECX */
#define FEATURE_OSXSAVE (1u << 27)    /* KVM's business: it follows CR4 */
#define FEATURE_HYPERVISOR (1u << 31) /* ours */
#define FEATURE_RDTSCP (1u << 27)     /* leaf 0x80000001, EDX */
#define XSAVE_COMPONENT_AVX 2u
#define XSAVE_WITHOUT_AVX 576u
/* KVM takes no table with other linear addresses than those of 64-bit mode. */
#define LINEAR_BITS_OF_KVM 48u

#define MSR_TSC 0x10u
#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u
#define MSR_PAT 0x277u
#define HIGH_BASE 0xc0000000u /* of the second range of MSRs */
#define MSR_EFER 0xc0000080u
#define MSR_TSC_AUX 0xc0000103u

static struct kvm_cpuid_entry2 *find(const struct kvm_cpuid_table *table, uint32_t leaf,
                                     uint32_t subleaf) {
    for (unsigned i = 0; i < table->count; i++) {
        const struct kvm_cpuid_entry2 *entry = &table->entries[i];
        bool indexed = entry->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        if (entry->function == leaf && (!indexed || entry->index == subleaf))
            return (struct kvm_cpuid_entry2 *)entry;
    }
    return NULL;
}

/* Sizes go with the features. */
static void limit_xsave(const struct kvm_cpuid_entry2 *can, struct kvm_cpuid_entry2 *entry) {
    if (entry->index == XSAVE_COMPONENT_AVX) {
        entry->eax = can->eax ? entry->eax : 0;
        entry->ebx = can->eax ? entry->ebx : 0;
        return;
    }
    bool no_avx = entry->index == 0 && entry->eax & ~can->eax & XCR0_AVX;
    entry->eax &= can->eax;
    if (no_avx)
        entry->ebx = entry->ecx = XSAVE_WITHOUT_AVX;
}

/* Takes away what KVM cannot do; leaves without features are the model's as they are. */
static void limit_features(const struct kvm_cpuid_table *supported,
                           struct kvm_cpuid_entry2 *entry) {
    static const struct kvm_cpuid_entry2 nothing;
    const struct kvm_cpuid_entry2 *can = find(supported, entry->function, entry->index);
    can = can ? can : &nothing;
    switch (entry->function) {
    case LEAF_FEATURES:
        entry->ecx &= (can->ecx & ~FEATURE_OSXSAVE) | FEATURE_HYPERVISOR;
        entry->edx &= can->edx;
        break;
    case LEAF_MORE_FEATURES:
        entry->ebx &= can->ebx;
        entry->edx &= can->edx;
        break;
    case LEAF_XSAVE:
        limit_xsave(can, entry);
        break;
    case LEAF_EXTENDED_FEATURES:
        entry->ecx &= can->ecx;
        entry->edx &= can->edx;
        break;
    case LEAF_POWER:
        entry->edx &= can->edx;
        break;
    case LEAF_ADDRESSES:
        entry->eax = (entry->eax & ~0xff00u) | LINEAR_BITS_OF_KVM << 8;
        break;
    default:
        break;
    }
}

static void add_entry(const struct vcpu *v, const struct kvm_cpuid_table *supported,
                      struct kvm_cpuid_table *table, uint32_t leaf, uint32_t subleaf,
                      bool indexed) {
    struct cpuid_regs regs;
    assert(table->count < KVM_CPUID_MAX);
    struct kvm_cpuid_entry2 *entry = &table->entries[table->count++];
    cpuid_query(v, leaf, subleaf, &regs);
    *entry = (struct kvm_cpuid_entry2){
        .function = leaf,
        .index = subleaf,
        .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = regs.eax,
        .ebx = regs.ebx,
        .ecx = regs.ecx,
        .edx = regs.edx,
    };
    limit_features(supported, entry);
}

/* Subleaves behind the last one are all zero, in the model and in KVM. */
static unsigned subleaves(uint32_t leaf) {
    return leaf == LEAF_CACHES ? 5 : leaf == LEAF_XSAVE ? 3 : leaf == LEAF_MORE_FEATURES ? 1 : 0;
}

void kvm_cpuid_build(const struct vcpu *v, const struct kvm_cpuid_table *supported,
                     struct kvm_cpuid_table *table) {
    struct cpuid_regs extended;
    table->count = 0;
    for (uint32_t leaf = 0; leaf <= LEAF_BASIC_LAST; leaf++) {
        unsigned count = subleaves(leaf);
        for (uint32_t subleaf = 0; subleaf < (count ? count : 1); subleaf++)
            add_entry(v, supported, table, leaf, subleaf, count != 0);
    }
    add_entry(v, supported, table, LEAF_HYPERVISOR, 0, false);
    cpuid_query(v, LEAF_EXTENDED, 0, &extended);
    for (uint32_t leaf = LEAF_EXTENDED; leaf <= extended.eax; leaf++)
        add_entry(v, supported, table, leaf, 0, false);
    if (!(find(table, LEAF_FEATURES, 0)->ecx & FEATURE_XSAVE))
        for (uint32_t subleaf = 0; subleaf < subleaves(LEAF_XSAVE); subleaf++) {
            struct kvm_cpuid_entry2 *entry = find(table, LEAF_XSAVE, subleaf);
            entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
        }
}

static int set_cpuid(const struct kvm_vm *vm, const struct vcpu *v, struct error *error) {
    struct kvm_cpuid_table supported = {.count = KVM_CPUID_MAX}, table;
    if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &supported))
        return error_set(error, "KVM does not say what CPUID it supports: %s", strerror(errno));
    kvm_cpuid_build(v, &supported, &table);
    if (ioctl(vm->vcpu_fd, KVM_SET_CPUID2, &table))
        return error_set(error, "KVM does not take the CPU model: %s", strerror(errno));
    return 0;
}

static void allow(uint8_t *bitmap, uint32_t bit) { bitmap[bit / 8] |= (uint8_t)(1u << bit % 8); }

/* Every MSR but these comes to us; what we refuse raises #GP. */
static int set_msr_filter(const struct kvm_vm *vm, struct error *error) {
    enum { LOW_COUNT = 0x400, HIGH_COUNT = 0x200 };
    uint8_t low[LOW_COUNT / 8] = {0}, high[HIGH_COUNT / 8] = {0};
    static const uint32_t low_msrs[] = {MSR_TSC, MSR_SYSENTER_CS, MSR_SYSENTER_ESP,
                                        MSR_SYSENTER_EIP};
    for (unsigned i = 0; i < sizeof low_msrs / sizeof *low_msrs; i++)
        allow(low, low_msrs[i]);
    allow(high, MSR_TSC_AUX - HIGH_BASE);
    const uint32_t both = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_DENY,
        .ranges = {{.flags = both, .nmsrs = LOW_COUNT, .base = 0, .bitmap = low},
                   {.flags = both, .nmsrs = HIGH_COUNT, .base = HIGH_BASE, .bitmap = high}},
    };
    struct kvm_enable_cap exits = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                   .args = {KVM_MSR_EXIT_REASON_FILTER}};
    if (ioctl(vm->vm_fd, KVM_ENABLE_CAP, &exits) ||
        ioctl(vm->vm_fd, KVM_X86_SET_MSR_FILTER, &filter))
        return error_set(error, "KVM does not hand over MSRs: %s", strerror(errno));
    return 0;
}

/* MONITOR and MWAIT raise #UD, as CPUID says. A KVM without the switch does not know the leniency,
 * or cannot be helped. */
static void be_strict(const struct kvm_vm *vm) {
    struct kvm_enable_cap quirks = {
        .cap = KVM_CAP_DISABLE_QUIRKS2,
        .args = {KVM_X86_QUIRK_OUT_7E_INC_RIP | KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS}};
    ioctl(vm->vm_fd, KVM_ENABLE_CAP, &quirks);
}

int kvm_model_apply(const struct kvm_vm *vm, const struct vcpu *v, struct error *error) {
    be_strict(vm);
    int rc = set_cpuid(vm, v, error);
    return rc ? rc : set_msr_filter(vm, error);
}

bool kvm_model_read_msr(const struct vcpu *v, uint32_t index, uint64_t *value) {
    if (msr_read(v, index, value))
        return true;
    TRACE(v->trace, rdmsr, index);
    return false;
}

/* struct kvm_msrs with one entry. */
struct one_msr {
    uint32_t count, unused;
    struct kvm_msr_entry entry;
};
_Static_assert(offsetof(struct one_msr, entry) == offsetof(struct kvm_msrs, entries), "KVM's form");
_Static_assert(offsetof(struct kvm_cpuid_table, entries) == offsetof(struct kvm_cpuid2, entries),
               "KVM's form");

static int set_msr(int vcpu_fd, uint32_t index, uint64_t value) {
    struct one_msr msr = {.count = 1, .entry = {.index = index, .data = value}};
    int done = ioctl(vcpu_fd, KVM_SET_MSRS, &msr);
    return done == 1 ? 0 : done < 0 ? -errno : -EINVAL;
}

static int get_msr(int vcpu_fd, uint32_t index, uint64_t *value) {
    struct one_msr msr = {.count = 1, .entry = {.index = index}};
    int done = ioctl(vcpu_fd, KVM_GET_MSRS, &msr);
    *value = done == 1 ? msr.entry.data : 0;
    return done == 1 ? 0 : done < 0 ? -errno : -EINVAL;
}

static bool write_efer(struct vcpu *v, int vcpu_fd, uint64_t value) {
    if (value & ~(uint64_t)cpuid_efer_bits() || set_msr(vcpu_fd, MSR_EFER, value))
        return false;
    v->cpu.paging.efer = (uint32_t)value;
    return true;
}

/* msr_write tells the engine of what it changes; of the MSRs left to us that is EFER alone. */
bool kvm_model_write_msr(struct vcpu *v, int vcpu_fd, uint32_t index, uint64_t value) {
    assert(!v->engine);
    bool done = index == MSR_EFER ? write_efer(v, vcpu_fd, value) : msr_write(v, index, value);
    if (done && index == MSR_PAT)
        done = !set_msr(vcpu_fd, MSR_PAT, value);
    if (!done)
        TRACE(v->trace, wrmsr, index, value);
    return done;
}

int kvm_model_load_msrs(const struct vcpu *v, int vcpu_fd) {
    const struct msrs *msr = &v->cpu.msr;
    const struct {
        uint32_t index;
        uint64_t value;
    } rows[] = {
        {MSR_SYSENTER_CS, msr->sysenter_cs},
        {MSR_SYSENTER_ESP, msr->sysenter_esp},
        {MSR_SYSENTER_EIP, msr->sysenter_eip},
        {MSR_PAT, msr->pat},
        {MSR_TSC, clock_host_tsc() + v->cpu.tsc_offset},
    };
    int rc = 0;
    for (unsigned i = 0; !rc && i < sizeof rows / sizeof *rows; i++)
        rc = set_msr(vcpu_fd, rows[i].index, rows[i].value);
    /* Zero is what it holds; a processor without RDTSCP has none. */
    return rc || !msr->tsc_aux ? rc : set_msr(vcpu_fd, MSR_TSC_AUX, msr->tsc_aux);
}

int kvm_model_store_msrs(struct vcpu *v, int vcpu_fd) {
    struct msrs *msr = &v->cpu.msr;
    const struct {
        uint32_t index;
        uint32_t *to;
    } rows[] = {{MSR_SYSENTER_CS, &msr->sysenter_cs},
                {MSR_SYSENTER_ESP, &msr->sysenter_esp},
                {MSR_SYSENTER_EIP, &msr->sysenter_eip}};
    uint64_t value, tsc;
    int rc = 0;
    for (unsigned i = 0; !rc && i < sizeof rows / sizeof *rows; i++) {
        rc = get_msr(vcpu_fd, rows[i].index, &value);
        *rows[i].to = (uint32_t)value;
    }
    if (!rc)
        rc = get_msr(vcpu_fd, MSR_TSC, &tsc);
    if (!rc)
        v->cpu.tsc_offset = tsc - clock_host_tsc();
    if (!get_msr(vcpu_fd, MSR_TSC_AUX, &value))
        msr->tsc_aux = value;
    return rc;
}
