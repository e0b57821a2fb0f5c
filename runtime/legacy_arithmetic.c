/* Instructions that 64-bit mode no longer has: decimal adjustment, SALC, BOUND, and ENTER with a
 * nesting level (SDM vol. 2). Flags that the manual leaves undefined are what processors give. */
#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"
#include "runtime/stack.h"

static uint32_t get_al(const struct cpu *cpu) { return cpu->gpr[EAX] & 0xffu; }
static uint32_t get_ah(const struct cpu *cpu) { return cpu->gpr[EAX] >> 8 & 0xffu; }
static void set_ax(struct cpu *cpu, uint32_t ah, uint32_t al) {
    cpu->gpr[EAX] = (cpu->gpr[EAX] & 0xffff0000u) | (ah & 0xffu) << 8 | (al & 0xffu);
}

/* SF, ZF and PF of a byte, with the carries given; OF is cleared. */
static void set_flags(struct cpu *cpu, uint32_t al, bool cf, bool af) {
    uint32_t flags = cpu->flags & ~FL_ARITH;
    al &= 0xffu;
    flags |= (cf ? FL_CF : 0) | (af ? FL_AF : 0);
    flags |= (al & 0x80u ? FL_SF : 0) | (al == 0 ? FL_ZF : 0);
    flags |= __builtin_parity(al) ? 0 : FL_PF;
    cpu->flags = flags;
}

/* DAA adds, DAS subtracts, what the two digits need. */
static enum callout_result adjust_packed(struct vcpu *v, bool subtract) {
    struct cpu *cpu = &v->cpu;
    uint32_t al = get_al(cpu);
    bool cf = cpu->flags & FL_CF;
    bool af = (al & 15u) > 9 || (cpu->flags & FL_AF);
    bool high = al > 0x99 || cf;
    uint32_t correction = (af ? 0x06u : 0) + (high ? 0x60u : 0);
    uint32_t result = subtract ? al - correction : al + correction;
    /* Below 6, DAS's low correction borrows even where the high one is not made. */
    bool borrow = subtract && af && al < 6;
    set_ax(cpu, get_ah(cpu), result);
    set_flags(cpu, result, high || borrow, af);
    return CALLOUT_NEXT;
}

enum callout_result callout_daa(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return adjust_packed(v, false);
}

enum callout_result callout_das(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return adjust_packed(v, true);
}

/* AAA and AAS correct AX as a whole, then keep AL's low digit. */
static enum callout_result adjust_unpacked(struct vcpu *v, bool subtract) {
    struct cpu *cpu = &v->cpu;
    uint32_t ax = cpu->gpr[EAX] & 0xffffu;
    bool af = (ax & 15u) > 9 || (cpu->flags & FL_AF);
    if (af)
        ax = subtract ? ax - 0x106u : ax + 0x106u;
    set_ax(cpu, ax >> 8, ax & 15u);
    set_flags(cpu, ax & 15u, af, af);
    return CALLOUT_NEXT;
}

enum callout_result callout_aaa(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return adjust_unpacked(v, false);
}

enum callout_result callout_aas(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    return adjust_unpacked(v, true);
}

enum callout_result callout_aam(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t base = arg & 0xffu, al = get_al(cpu);
    if (base == 0)
        return fault_raise(v, VEC_DE);
    set_ax(cpu, al / base, al % base);
    set_flags(cpu, al % base, false, false);
    return CALLOUT_NEXT;
}

enum callout_result callout_aad(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    uint32_t al = get_al(cpu), product = get_ah(cpu) * (arg & 0xffu) & 0xffu, sum = al + product;
    set_ax(cpu, 0, sum);
    set_flags(cpu, sum, sum > 0xffu, (al ^ product ^ sum) & 0x10u); /* as of an addition */
    if ((al ^ sum) & (product ^ sum) & 0x80u)
        cpu->flags |= FL_OF;
    return CALLOUT_NEXT;
}

enum callout_result callout_salc(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg, (void)operand;
    struct cpu *cpu = &v->cpu;
    set_ax(cpu, get_ah(cpu), cpu->flags & FL_CF ? 0xffu : 0);
    return CALLOUT_NEXT;
}

static int32_t bound(uint32_t value, uint32_t unit) {
    return unit == 2 ? (int16_t)value : (int32_t)value;
}

/* The upper bound is looked at where the lower one allows the index. */
enum callout_result callout_bound(struct vcpu *v, uint32_t arg, uint32_t operand) {
    uint32_t unit = callout_unit(arg), segment = arg & 0xffu, value = 0;
    uint32_t upper = operand - v->cpu.seg[segment].base + unit;
    int32_t index = bound(v->cpu.result, unit);
    if (!guest_read(v, operand, &value, unit, false))
        return CALLOUT_FAULT;
    if (index < bound(value, unit))
        return fault_raise(v, VEC_BR);
    if (!segment_access(v, segment, upper, unit, false, &operand) ||
        !guest_read(v, operand, &value, unit, false))
        return CALLOUT_FAULT;
    return index > bound(value, unit) ? fault_raise(v, VEC_BR) : CALLOUT_NEXT;
}

/* A push of ENTER's: ESP itself moves at the very end. */
static bool enter_push(struct vcpu *v, uint32_t *top, uint32_t value, uint32_t unit) {
    gva_t at;
    *top = (*top - unit) & stack_mask(&v->cpu.seg[SEG_SS]);
    return segment_access(v, SEG_SS, *top, unit, true, &at) &&
           guest_write(v, at, &value, unit, false);
}

static bool enter_read(struct vcpu *v, uint32_t offset, uint32_t *value, uint32_t unit) {
    gva_t at;
    offset &= stack_mask(&v->cpu.seg[SEG_SS]);
    *value = 0;
    return segment_access(v, SEG_SS, offset, unit, false, &at) &&
           guest_read(v, at, value, unit, false);
}

/* Item by item, as the processor does it: a fault half way leaves what was pushed in memory and
 * the registers as they were, and a frame pointer may be read back that was just pushed. */
enum callout_result callout_enter(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    const struct segment *ss = &cpu->seg[SEG_SS];
    uint32_t levels = arg & 31u, size = arg >> 8 & 0xffffu, unit = callout_unit(arg);
    uint32_t mask = stack_mask(ss), top = cpu->gpr[ESP];
    if (!enter_push(v, &top, cpu->gpr[EBP], unit))
        return CALLOUT_FAULT;
    uint32_t frame = top;
    for (uint32_t i = 1; i < levels; i++) {
        uint32_t pointer;
        if (!enter_read(v, cpu->gpr[EBP] - i * unit, &pointer, unit) ||
            !enter_push(v, &top, pointer, unit))
            return CALLOUT_FAULT;
    }
    if (levels > 0 && !enter_push(v, &top, (cpu->gpr[ESP] & ~mask) | frame, unit))
        return CALLOUT_FAULT;

    /* The new top of the stack must be writable (SDM vol. 2, ENTER: exceptions). */
    uint32_t esp = (top - size) & mask;
    gva_t at;
    if (!segment_access(v, SEG_SS, esp, unit, true, &at) || !guest_probe_write(v, at, unit, false))
        return CALLOUT_FAULT;
    uint32_t ebp = (cpu->gpr[ESP] & ~mask) | (frame & mask);
    uint32_t kept = unit == 2 ? 0xffff0000u : 0; /* the operand size decides, not the stack's */
    cpu->gpr[EBP] = (cpu->gpr[EBP] & kept) | (ebp & ~kept);
    stack_set_pointer(cpu, esp);
    return CALLOUT_NEXT;
}
