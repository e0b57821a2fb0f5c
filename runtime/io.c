/* IN, OUT, INS and OUTS (SDM vol. 1, 19.5: protection; vol. 2, INS, OUTS, REP).
 *
 * The string forms go element by element: memory is checked before the port is touched, and the
 * registers are advanced after every element, so that a fault or an interrupt in the middle
 * leaves exactly what is done. */
#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/plugins.h"
#include "runtime/segment_access.h"
#include "runtime/stepping.h"

/* The I/O permission bitmap. Two bytes are always read, as the processor does. */
static bool bitmap_allows(struct vcpu *v, uint16_t port, unsigned size) {
    const struct segment *tr = &v->cpu.tr;
    uint16_t map_base, bits;
    fault_raise_gp(v, 0);
    if (!tr->usable || !(tr->attr & TYPE_32BIT) || tr->limit < TSS32_MIN_LIMIT)
        return false;
    if (!guest_read16(v, tr->base + TSS32_IO_MAP_BASE, &map_base, true))
        return false;
    uint32_t offset = map_base + port / 8u;
    if (offset + 1 > tr->limit)
        return false;
    if (!guest_read16(v, tr->base + offset, &bits, true))
        return false;
    uint32_t wanted = ((1u << size) - 1) << (port & 7u);
    return !(bits & wanted);
}

/* False: v->fault is #GP(0) or a #PF. */
static bool port_allowed(struct vcpu *v, uint16_t port, unsigned size) {
    const struct cpu *cpu = &v->cpu;
    if (!cpu_is_protected(cpu))
        return true;
    if (cpu_cpl(cpu) <= cpu_iopl(cpu) && !(cpu->mode & MODE_VM86))
        return true;
    return bitmap_allows(v, port, size);
}

static unsigned access_size(uint32_t arg) {
    unsigned size = arg >> 16 & 7u;
    assert(size == 1 || size == 2 || size == 4);
    return size;
}
static uint16_t access_port(const struct cpu *cpu, uint32_t arg) {
    return (uint16_t)(arg & CALLOUT_PORT_DX ? cpu->gpr[EDX] : arg);
}
static uint32_t size_mask(unsigned size) { return size == 4 ? UINT32_MAX : (1u << size * 8) - 1; }

static uint32_t read_port(struct vcpu *v, uint16_t port, unsigned size) {
    uint32_t value = bus_read(v->bus, port, size);
    PLUGIN_EVENT(v, IO, port, size, value & size_mask(size), 0, v->cpu.eip);
    return value;
}

static void write_port(struct vcpu *v, uint16_t port, uint32_t value, unsigned size) {
    PLUGIN_EVENT(v, IO, port, size, value & size_mask(size), 1, v->cpu.eip);
    bus_write(v->bus, port, value, size);
}

/* A device may have ended the machine: then nothing of the guest runs any more. */
static enum callout_result after_access(struct vcpu *v) {
    if (v->exit == EXIT_NONE)
        return CALLOUT_NEXT;
    v->cpu.eip = v->cpu.next_eip;
    return CALLOUT_EXIT;
}

enum callout_result callout_in(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    unsigned size = access_size(arg);
    uint16_t port = access_port(cpu, arg);
    if (!port_allowed(v, port, size))
        return CALLOUT_FAULT;
    if (cpu->mode & MODE_DEBUG)
        debug_port_access(v, port, size);
    uint32_t value = read_port(v, port, size), mask = size_mask(size);
    cpu->gpr[EAX] = (cpu->gpr[EAX] & ~mask) | (value & mask);
    return after_access(v);
}

enum callout_result callout_out(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    unsigned size = access_size(arg);
    uint16_t port = access_port(cpu, arg);
    if (!port_allowed(v, port, size))
        return CALLOUT_FAULT;
    if (cpu->mode & MODE_DEBUG)
        debug_port_access(v, port, size);
    write_port(v, port, cpu->gpr[EAX] & size_mask(size), size);
    return after_access(v);
}

/* One string instruction, as its argument describes it. */
struct string_access {
    enum segment_index segment;
    enum gpr index; /* EDI or ESI */
    uint32_t address_mask;
    unsigned size;
    uint16_t port;
    bool in;
};

/* Transfers one element. False: v->fault, nothing transferred. */
static bool transfer_element(struct vcpu *v, const struct string_access *s) {
    uint32_t offset = v->cpu.gpr[s->index] & s->address_mask, value = 0;
    gva_t gva;
    if (!segment_access(v, s->segment, offset, s->size, s->in, &gva))
        return false;
    if (!s->in) {
        if (!guest_read(v, gva, &value, s->size, false))
            return false;
        write_port(v, s->port, value, s->size);
        return true;
    }
    if (!guest_probe_write(v, gva, s->size, false)) /* reading the port may not be repeated */
        return false;
    value = read_port(v, s->port, s->size);
    return guest_write(v, gva, &value, s->size, false);
}

static void advance(struct cpu *cpu, enum gpr index, uint32_t mask, uint32_t by) {
    cpu->gpr[index] = (cpu->gpr[index] & ~mask) | ((cpu->gpr[index] + by) & mask);
}

static enum callout_result run_string(struct vcpu *v, const struct string_access *s, bool rep) {
    struct cpu *cpu = &v->cpu;
    assert(s->segment < SEG_COUNT);
    uint32_t step = cpu->flags & FL_DF ? 0u - s->size : s->size;
    if (!port_allowed(v, s->port, s->size)) /* also where nothing is left to transfer */
        return CALLOUT_FAULT;
    if (rep && !(cpu->gpr[ECX] & s->address_mask))
        return CALLOUT_NEXT;
    do {
        if (!transfer_element(v, s))
            return CALLOUT_FAULT;
        if (cpu->mode & MODE_DEBUG)
            debug_port_access(v, s->port, s->size);
        advance(cpu, s->index, s->address_mask, step);
        if (!rep)
            return after_access(v);
        advance(cpu, ECX, s->address_mask, UINT32_MAX);
        if (v->exit != EXIT_NONE)
            return CALLOUT_EXIT;
        bool stops = cpu->attention || (cpu->mode & (MODE_TF | MODE_DEBUG));
        if (stops && (cpu->gpr[ECX] & s->address_mask))
            return callout_repeat(v);
    } while (cpu->gpr[ECX] & s->address_mask);
    return CALLOUT_NEXT;
}

static enum callout_result string_io(struct vcpu *v, uint32_t arg, enum segment_index segment,
                                     enum gpr index) {
    const struct string_access access = {
        .segment = segment,
        .index = index,
        .address_mask = arg & CALLOUT_ADDR16 ? 0xffffu : UINT32_MAX,
        .size = access_size(arg),
        .port = (uint16_t)v->cpu.gpr[EDX],
        .in = index == EDI,
    };
    return run_string(v, &access, arg & CALLOUT_REP);
}

enum callout_result callout_ins(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    return string_io(v, arg, SEG_ES, EDI);
}

enum callout_result callout_outs(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    return string_io(v, arg, (enum segment_index)(arg & 0xffu), ESI);
}
