/* A vCPU without an engine, for the tests of the system instructions.
 *
 * Guest-linear is guest-physical in 1 MiB of RAM. Each page can refuse reads, writes or CPL-3
 * accesses, so that a fault can be put anywhere. The doubles below stand for the shadow engine and
 * the monitor's accesses; they count what they are told. */
#ifndef RING3_TESTS_SYSTEM_FIXTURE_H
#define RING3_TESTS_SYSTEM_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "runtime/descriptor.h"
#include "runtime/fpu_state.h"
#include "runtime/guest_access.h"
#include "runtime/mmu.h"
#include "runtime/system.h"

#define FAKE_RAM (1u << 20)
#define FAKE_IDT 0x1000u
#define FAKE_GDT 0x2000u
#define FAKE_LDT 0x3000u
#define FAKE_TSS 0x4000u
#define KERNEL_STACK 0x8000u /* ESP0; the page below it is the stack */
#define USER_STACK 0xa000u
#define SCRATCH 0xc000u

/* Selectors of the fixture's GDT. */
enum {
    SEL_KCODE = 0x08,
    SEL_KDATA = 0x10,
    SEL_UCODE = 0x1b,
    SEL_UDATA = 0x23,
    SEL_TSS = 0x28,
    SEL_LDT = 0x30,
    SEL_CONFORMING = 0x38, /* DPL 0 */
    SEL_RODATA = 0x40,     /* DPL 3 */
    SEL_EXEC_ONLY = 0x48,  /* DPL 3 */
    SEL_NP_CODE = 0x50,    /* DPL 0 */
    SEL_NP_DATA = 0x58,    /* DPL 0 */
    SEL_CODE16 = 0x60,     /* DPL 0, 64 KiB */
    SEL_STACK16 = 0x68,    /* DPL 0, 64 KiB */
    SEL_FREE = 0x70,       /* and up: for the tests */
    SEL_CODE1 = 0xa1,      /* DPL 1 */
    SEL_DATA1 = 0xa9,      /* DPL 1 */
    SEL_OUTSIDE = 0xb0,
    FAKE_GDT_LIMIT = 0xaf,
};

enum { PAGE_NO_READ = 1, PAGE_NO_WRITE = 2, PAGE_NO_USER = 4 };

static struct {
    struct vcpu v;
    struct ram ram;
    struct arena arena;
    struct bus bus;
    struct clock clock;
    struct trace trace;
    struct counters counters;
    uint8_t pages[FAKE_RAM / PAGE_SIZE];
    unsigned cr3_loads, paging_changes, invlpgs, retranslations;
    uint32_t fip;
    struct cpu saved_cpu;
    uint8_t saved_ram[FAKE_RAM];
} fake;

#define V (&fake.v)
#define CPU (&fake.v.cpu)

static inline bool fake_access(gva_t gva, uint32_t len, bool write, bool system) {
    bool user = !system && cpu_cpl(CPU) == 3;
    for (uint32_t i = 0; i < len; i++) {
        uint32_t at = gva + i;
        uint8_t rules = at < FAKE_RAM ? fake.pages[at >> PAGE_SHIFT] : PAGE_NO_READ | PAGE_NO_WRITE;
        bool missing = rules & PAGE_NO_READ;
        if (missing || (write && (rules & PAGE_NO_WRITE)) || (user && (rules & PAGE_NO_USER))) {
            fault_raise_error(V, VEC_PF,
                              (missing ? 0 : PF_PRESENT) | (write ? PF_WRITE : 0) |
                                  (user ? PF_USER : 0));
            V->fault.cr2 = at;
            return false;
        }
    }
    return true;
}

/* Copies without vector registers: they hold the guest's state in some tests. */
static inline void fake_copy(volatile uint8_t *to, const volatile uint8_t *from, uint32_t len) {
    for (uint32_t i = 0; i < len; i++)
        to[i] = from[i];
}

bool guest_read(struct vcpu *v, gva_t gva, void *to, uint32_t len, bool system) {
    (void)v;
    if (!fake_access(gva, len, false, system))
        return false;
    fake_copy(to, fake.ram.base + gva, len);
    return true;
}
bool guest_write(struct vcpu *v, gva_t gva, const void *from, uint32_t len, bool system) {
    (void)v;
    if (!fake_access(gva, len, true, system))
        return false;
    fake_copy(fake.ram.base + gva, from, len);
    return true;
}
bool guest_probe_write(struct vcpu *v, gva_t gva, uint32_t len, bool system) {
    (void)v;
    return fake_access(gva, len, true, system);
}
void guest_note_loaded(struct vcpu *v, unsigned index, uint32_t selector, gva_t gva, uint64_t descriptor) {
    (void)v, (void)index, (void)selector, (void)gva, (void)descriptor;
}
void mmu_cr3_loaded(struct vcpu *v) { (void)v, fake.cr3_loads++; }
void mmu_paging_changed(struct vcpu *v) { (void)v, fake.paging_changes++; }
void mmu_invlpg(struct vcpu *v, gva_t gva) { (void)v, (void)gva, fake.invlpgs++; }
void mmu_retranslate_all(struct vcpu *v) { (void)v, fake.retranslations++; }
uint32_t engine_guest_fip(struct vcpu *v, uint64_t host_ip) {
    (void)v, (void)host_ip;
    return fake.fip;
}
/* Handlers of the engine: nothing here calls them. */
#define FAKE_HANDLER(id)                                                                           \
    enum callout_result callout_##id(struct vcpu *v, uint32_t arg, uint32_t operand) {             \
        (void)v, (void)arg, (void)operand;                                                         \
        abort();                                                                                   \
    }
FAKE_HANDLER(check)
FAKE_HANDLER(reach)
FAKE_HANDLER(reach_string)
FAKE_HANDLER(probe)
FAKE_HANDLER(instrument)

static inline void put16(gva_t gva, uint32_t value) {
    uint16_t narrow = (uint16_t)value;
    memcpy(fake.ram.base + gva, &narrow, 2);
}
static inline void put32(gva_t gva, uint32_t value) { memcpy(fake.ram.base + gva, &value, 4); }
static inline uint32_t get16(gva_t gva) {
    uint16_t value;
    memcpy(&value, fake.ram.base + gva, 2);
    return value;
}
static inline uint32_t get32(gva_t gva) {
    uint32_t value;
    memcpy(&value, fake.ram.base + gva, 4);
    return value;
}

/* access: the descriptor's byte 5; flags: G, D/B, L, AVL as a nibble. limit in granules. */
static inline void put_descriptor(gva_t table, uint32_t selector, uint32_t base, uint32_t limit,
                                  uint32_t access, uint32_t flags) {
    gva_t at = table + (selector & 0xfff8u);
    put32(at, (limit & 0xffffu) | base << 16);
    put32(at + 4, (base >> 16 & 0xffu) | access << 8 | (limit & 0xf0000u) | flags << 20 |
                      (base & 0xff000000u));
}
static inline void gdt_set(uint32_t selector, uint32_t base, uint32_t limit, uint32_t access,
                           uint32_t flags) {
    put_descriptor(FAKE_GDT, selector, base, limit, access, flags);
}
static inline uint8_t gdt_access(uint32_t selector) {
    return fake.ram.base[FAKE_GDT + (selector & 0xfff8u) + 5];
}
/* A gate: type with P and DPL as in a descriptor's byte 5. */
static inline void gate_set(gva_t at, uint32_t selector, uint32_t offset, uint32_t access,
                            uint32_t parameters) {
    put32(at, (offset & 0xffffu) | selector << 16);
    put32(at + 4, (offset & 0xffff0000u) | access << 8 | parameters);
}
static inline void idt_set(unsigned vector, uint32_t selector, uint32_t offset, uint32_t access) {
    gate_set(FAKE_IDT + vector * 8, selector, offset, access, 0);
}

static inline void load_segment(enum segment_index index, uint32_t selector) {
    struct descriptor d = {.gva = FAKE_GDT + (selector & 0xfff8u)};
    d.low = get32(d.gva);
    d.high = get32(d.gva + 4) | 1u << 8;
    segment_set(CPU, index, selector, &d);
}

/* Kernel or user code at 0x5000 with its stack; the other registers recognisable. */
static inline void enter_level(unsigned cpl) {
    bool user = cpl == 3;
    CPU->sys_flags &= ~FL_VM;
    load_segment(SEG_CS, user ? SEL_UCODE : cpl == 1 ? SEL_CODE1 : SEL_KCODE);
    load_segment(SEG_SS, user ? SEL_UDATA : cpl == 1 ? SEL_DATA1 : SEL_KDATA);
    load_segment(SEG_DS, SEL_UDATA);
    load_segment(SEG_ES, SEL_UDATA);
    segment_set_null(CPU, SEG_FS, 0);
    segment_set_null(CPU, SEG_GS, 0);
    for (unsigned i = 0; i < 8; i++)
        CPU->gpr[i] = 0x11111111u * (i + 1);
    CPU->gpr[ESP] = user ? USER_STACK : KERNEL_STACK;
    CPU->eip = 0x5000;
    CPU->next_eip = 0x5002;
    cpu_update_mode(CPU, cpl);
}

static inline void fill_tables(void) {
    gdt_set(SEL_KCODE, 0, 0xfffff, 0x9a, 0xc);
    gdt_set(SEL_KDATA, 0, 0xfffff, 0x92, 0xc);
    gdt_set(SEL_UCODE, 0, 0xfffff, 0xfa, 0xc);
    gdt_set(SEL_UDATA, 0, 0xfffff, 0xf2, 0xc);
    gdt_set(SEL_TSS, FAKE_TSS, 0x6f, 0x89, 0);
    gdt_set(SEL_LDT, FAKE_LDT, 0xff, 0x82, 0);
    gdt_set(SEL_CONFORMING, 0, 0xfffff, 0x9e, 0xc);
    gdt_set(SEL_RODATA, 0, 0xfffff, 0xf0, 0xc);
    gdt_set(SEL_EXEC_ONLY, 0, 0xfffff, 0xf8, 0xc);
    gdt_set(SEL_NP_CODE, 0, 0xfffff, 0x1a, 0xc);
    gdt_set(SEL_NP_DATA, 0, 0xfffff, 0x12, 0xc);
    gdt_set(SEL_CODE16, 0x10000, 0xffff, 0x9a, 0);
    gdt_set(SEL_STACK16, 0, 0xffff, 0x92, 0);
    gdt_set(SEL_CODE1, 0, 0xfffff, 0xba, 0xc);
    gdt_set(SEL_DATA1, 0, 0xfffff, 0xb2, 0xc);
    for (unsigned i = 0; i < 256; i++)
        idt_set(i, SEL_KCODE, 0xc0de0000u + i, 0x8e);
    put32(FAKE_TSS + 4, KERNEL_STACK);
    put16(FAKE_TSS + 8, SEL_KDATA);
    put32(FAKE_TSS + 12, KERNEL_STACK);
    put16(FAKE_TSS + 16, SEL_DATA1);
}

static inline void setup(void) {
    memset(&fake, 0, sizeof fake);
    ck_assert_int_eq(ram_create(&fake.ram, FAKE_RAM), 0);
    ck_assert_int_eq(arena_create(&fake.arena, 1u << 20), 0);
    ck_assert_int_eq(ram_allocate(&fake.ram, 0, FAKE_RAM), 0);
    bus_init(&fake.bus, &fake.arena, &fake.trace, &fake.counters);
    fake.clock.tsc_hz = 2700000000u;
    V->ram = &fake.ram;
    V->bus = &fake.bus;
    V->clock = &fake.clock;
    V->trace = &fake.trace;
    V->counters = &fake.counters;
    vcpu_reset(V);
    fill_tables();
    CPU->paging.cr0 = CR0_PE | CR0_ET | CR0_NE;
    CPU->gdt = (struct table_register){FAKE_GDT, FAKE_GDT_LIMIT};
    CPU->idt = (struct table_register){FAKE_IDT, 0x7ff};
    CPU->tr = (struct segment){SEL_TSS, 0x8b, FAKE_TSS, 0x6f, SEGMENT_GENERAL, true};
    CPU->ldt = (struct segment){SEL_LDT, 0x82, FAKE_LDT, 0xff, SEGMENT_GENERAL, true};
    enter_level(0);
}

static inline void teardown(void) {
    arena_destroy(&fake.arena);
    ram_destroy(&fake.ram);
}

static inline void save_state(void) {
    memcpy(&fake.saved_cpu, CPU, sizeof *CPU);
    memcpy(fake.saved_ram, fake.ram.base, FAKE_RAM);
}
/* Nothing that the guest could see is different from what save_state() saw. */
static inline void assert_unchanged(void) {
    struct cpu now = *CPU;
    now.mode_dirty = fake.saved_cpu.mode_dirty;
    ck_assert_int_eq(memcmp(&fake.saved_cpu, &now, sizeof now), 0);
    ck_assert_int_eq(memcmp(fake.saved_ram, fake.ram.base, FAKE_RAM), 0);
}
static inline void assert_fault(enum callout_result result, unsigned vector, uint32_t error) {
    ck_assert_int_eq(result, CALLOUT_FAULT);
    ck_assert_uint_eq(V->fault.vector, vector);
    ck_assert(V->fault.has_error);
    ck_assert_uint_eq(V->fault.error, error);
}
#define ASSERT_UNTOUCHED_FAULT(call, vector, error)                                                \
    do {                                                                                           \
        save_state();                                                                              \
        assert_fault((call), (vector), (error));                                                   \
        assert_unchanged();                                                                        \
    } while (0)

static inline int run_suite(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
