/* Asking about a selector without loading it: LAR, LSL, VERR, VERW, ARPL (SDM vol. 2).
 *
 * They answer in ZF. A selector that is null, outside its table or not accessible clears ZF and
 * leaves cpu->result as it was; only reading the descriptor itself can fault. */
#include "runtime/callout_support.h"
#include "runtime/descriptor.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"

enum query { QUERY_FAULT, QUERY_NO, QUERY_YES };

/* Reads the descriptor and applies the privilege rule that all four share. */
static enum query look_up(struct vcpu *v, uint32_t selector, struct descriptor *d) {
    if (!cpu_has_descriptors(&v->cpu)) {
        fault_raise(v, VEC_UD);
        return QUERY_FAULT;
    }
    if (selector_is_null(selector) || !descriptor_locate(&v->cpu, selector, &d->gva))
        return QUERY_NO;
    if (!descriptor_fetch(v, selector, VEC_GP, 0, d))
        return QUERY_FAULT;
    if (descriptor_is_conforming(d))
        return QUERY_YES;
    unsigned dpl = descriptor_dpl(d);
    return dpl >= cpu_cpl(&v->cpu) && dpl >= selector_rpl(selector) ? QUERY_YES : QUERY_NO;
}

static enum callout_result answer(struct vcpu *v, enum query query) {
    if (query == QUERY_FAULT)
        return CALLOUT_FAULT;
    cpu_set_zf(&v->cpu, query == QUERY_YES);
    return CALLOUT_NEXT;
}

#define TYPES_WITH_LIMIT                                                                           \
    (1u << SYSTEM_TSS16 | 1u << SYSTEM_LDT | 1u << SYSTEM_TSS16_BUSY | 1u << SYSTEM_TSS32 |        \
     1u << SYSTEM_TSS32_BUSY)
#define TYPES_WITH_RIGHTS                                                                          \
    (TYPES_WITH_LIMIT | 1u << SYSTEM_CALL_GATE16 | 1u << SYSTEM_TASK_GATE |                        \
     1u << SYSTEM_CALL_GATE32)

static bool has_type(const struct descriptor *d, uint32_t system_types) {
    return !descriptor_is_system(d) || (system_types >> descriptor_type(d) & 1u);
}

enum callout_result callout_lar(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct descriptor d;
    enum query query = look_up(v, operand & 0xffffu, &d);
    if (query == QUERY_YES && !has_type(&d, TYPES_WITH_RIGHTS))
        query = QUERY_NO;
    if (query == QUERY_YES)
        v->cpu.result = d.high & 0x00ffff00u;
    return answer(v, query);
}

enum callout_result callout_lsl(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct descriptor d;
    enum query query = look_up(v, operand & 0xffffu, &d);
    if (query == QUERY_YES && !has_type(&d, TYPES_WITH_LIMIT))
        query = QUERY_NO;
    if (query == QUERY_YES)
        v->cpu.result = descriptor_limit(&d);
    return answer(v, query);
}

enum callout_result callout_verr(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct descriptor d;
    enum query query = look_up(v, operand & 0xffffu, &d);
    if (query == QUERY_YES && !descriptor_is_readable(&d))
        query = QUERY_NO;
    return answer(v, query);
}

enum callout_result callout_verw(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)arg;
    struct descriptor d;
    enum query query = look_up(v, operand & 0xffffu, &d);
    if (query == QUERY_YES && !descriptor_is_writable(&d))
        query = QUERY_NO;
    return answer(v, query);
}

/* Writes the changed selector back. False: v->fault. */
static bool write_selector(struct vcpu *v, unsigned segment, gva_t at, uint32_t selector) {
    const uint16_t value = (uint16_t)selector;
    return segment_access(v, segment, at - v->cpu.seg[segment].base, 2, true, &at) &&
           guest_write(v, at, &value, sizeof value, false);
}

/* The result is the destination in both cases. */
enum callout_result callout_arpl(struct vcpu *v, uint32_t arg, uint32_t operand) {
    struct cpu *cpu = &v->cpu;
    bool memory = arg & CALLOUT_ARPL_MEMORY;
    uint16_t selector = (uint16_t)operand;
    if (!cpu_has_descriptors(cpu))
        return fault_raise(v, VEC_UD);
    if (memory && !guest_read16(v, operand, &selector, false))
        return CALLOUT_FAULT;
    unsigned source_rpl = cpu->gpr[arg & 7u] & 3u;
    bool adjust = selector_rpl(selector) < source_rpl;
    cpu->result = adjust ? (selector & ~3u) | source_rpl : selector;
    if (memory && adjust && !write_selector(v, arg >> 16 & 7u, operand, cpu->result))
        return CALLOUT_FAULT;
    cpu_set_zf(cpu, adjust);
    return CALLOUT_NEXT;
}
