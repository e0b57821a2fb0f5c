/* A vCPU with its engine and nothing else: guest code in RAM, flat protected mode, two ports.
 *
 * A write to EXIT_PORT stops it with the value; a write to PROBE_PORT calls the test, in the vCPU
 * in the middle of a callout. Guest code is assembled by the compiler (GUEST). */
#ifndef RING3_TESTS_ENGINE_FIXTURE_H
#define RING3_TESTS_ENGINE_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "runtime/engine.h"
#include "runtime/engine_private.h"
#include "runtime/guest_access.h"
#include "runtime/system.h"

#define EXIT_PORT 0xf4
#define PROBE_PORT 0xf5
#define CODE 0x100000u
#define STACK 0x200000u
#define DATA 0x300000u
#define MACHINE_RAM (32u << 20)

/* Test code that runs while the guest's vector state is in the registers. */
#define GENERAL_REGS __attribute__((target("general-regs-only")))

/* 32-bit code, position-independent, in the test's read-only data. */
#define GUEST(name, code)                                                                          \
    __asm__(".pushsection .rodata\n.code32\n" #name ":\n" code "\n" #name "_end:\n.code64\n"       \
            ".popsection\n");                                                                      \
    extern const uint8_t name[] __attribute__((visibility("hidden")));                             \
    extern const uint8_t name##_end[] __attribute__((visibility("hidden")));
/* Ends the run with AL. */
#define STOP " out %al, $0xf4\n"
#define PROBE " out %al, $0xf5\n"

static struct {
    struct ram ram;
    struct arena arena;
    struct bus bus;
    struct clock clock;
    struct timers timers;
    struct trace trace;
    struct counters counters;
    struct vcpu v;
    struct engine_options options;
    void (*probe)(uint32_t value);
} m;

#define V (&m.v)
#define CPU (&m.v.cpu)

static inline uint32_t port_read(void *device, uint16_t port, unsigned size) {
    (void)device, (void)port, (void)size;
    return 0;
}
GENERAL_REGS static inline void port_write(void *device, uint16_t port, uint32_t value,
                                           unsigned size) {
    (void)device, (void)size;
    if (port == EXIT_PORT)
        vcpu_request_exit(V, EXIT_DEBUG_PORT, value);
    else if (m.probe)
        m.probe(value);
}
static inline int no_interrupt(void *pic) {
    (void)pic;
    return 0;
}

static inline void put(gpa_t gpa, const void *bytes, size_t len) {
    memcpy(m.ram.base + gpa, bytes, len);
}
static inline void put32(gpa_t gpa, uint32_t value) { put(gpa, &value, 4); }
static inline uint32_t get32(gpa_t gpa) {
    uint32_t value;
    memcpy(&value, m.ram.base + gpa, 4);
    return value;
}
#define PUT_GUEST(at, name) put((at), (name), (size_t)(name##_end - name))

static inline void flat_segments(void) {
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        CPU->seg[i] = (struct segment){.selector = i == SEG_CS ? 8 : 16,
                                       .limit = UINT32_MAX,
                                       .attr = i == SEG_CS ? 0xc09b : 0xc093,
                                       .usable = true};
        cpu_segment_changed(CPU, &CPU->seg[i]);
    }
}

static inline void machine_set_up(void) {
    memset(&m, 0, sizeof m);
    ck_assert_int_eq(ram_create(&m.ram, MACHINE_RAM), 0);
    ck_assert_int_eq(ram_allocate(&m.ram, 0, MACHINE_RAM), 0);
    ck_assert_int_eq(arena_create(&m.arena, 1u << 20), 0);
    bus_init(&m.bus, &m.arena, &m.trace, &m.counters);
    bus_claim(&m.bus, "test", EXIT_PORT, 2, port_read, port_write, NULL);
    timers_init(&m.timers);
    clock_start(&m.clock);
    V->ram = &m.ram;
    V->bus = &m.bus;
    V->clock = &m.clock;
    V->timers = &m.timers;
    V->trace = &m.trace;
    V->counters = &m.counters;
    V->pic.acknowledge = no_interrupt;
    vcpu_reset(V);
    CPU->paging.cr0 = CR0_PE | CR0_ET | CR0_NE;
    CPU->paging.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PSE;
    CPU->xcr0 = 7;
    CPU->eip = CODE;
    CPU->gpr[ESP] = STACK;
    CPU->idt.limit = 0; /* an exception ends in a triple fault, which is reported */
    flat_segments();
}

/* Runs until the guest stops; returns what it wrote to EXIT_PORT. */
static inline uint32_t run_guest(void) {
    ck_assert_int_eq(engine_run(V, &m.options), 0);
    ck_assert_msg(V->exit == EXIT_DEBUG_PORT, "the guest ended with reason %d at %x: %s, cr2 %x",
                  V->exit, CPU->eip, V->exit_text, V->fault.cr2);
    return V->exit_value;
}

/* How often each test runs: as it is, without chaining, without the jump cache, one instruction a
 * fragment, and with every flush a flush of everything. */
#define ENGINE_VARIANTS 5
static inline void engine_variant(int i) {
    m.options.no_chain = i == 1;
    m.options.no_jump_cache = i == 2;
    m.options.one_insn = i == 3;
    m.options.flush_always = i == 4;
}

#endif
