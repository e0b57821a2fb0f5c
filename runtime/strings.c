/* String instructions off the fast path: element by element (SDM vol. 2, MOVS CMPS STOS LODS SCAS,
 * REP). A fault leaves the registers as of the last completed element, but not the flags; under
 * single step a repeated instruction stops after each element with EIP still at it. */
#include <assert.h>

#include "runtime/callout_support.h"
#include "runtime/guest_access.h"
#include "runtime/segment_access.h"

enum string_kind { MOVS = 0xa4, CMPS = 0xa6, STOS = 0xaa, LODS = 0xac, SCAS = 0xae };

struct string_op {
    enum string_kind kind;
    unsigned size, segment;
    uint32_t address_mask;
    bool repeat, repeat_while; /* REPE: while ZF; REPNE: while not */
};

static struct string_op parse(uint32_t arg) {
    uint32_t opcode = arg & 0xff;
    return (struct string_op){
        .kind = (enum string_kind)(opcode & 0xfe),
        .size = !(opcode & 1)           ? 1
                : callout_is_16bit(arg) ? 2
                                        : 4,
        .segment = arg >> 8 & 0xff,
        .address_mask = arg & CALLOUT_STRING_ADDR16 ? 0xffff : UINT32_MAX,
        .repeat = (arg & (CALLOUT_STRING_REPE | CALLOUT_STRING_REPNE)) != 0,
        .repeat_while = (arg & CALLOUT_STRING_REPE) != 0,
    };
}

static bool compares(const struct string_op *op) { return op->kind == CMPS || op->kind == SCAS; }

static bool load(struct vcpu *v, const struct string_op *op, unsigned segment, uint32_t offset,
                 uint32_t *value) {
    gva_t at;
    *value = 0;
    return segment_access(v, segment, offset & op->address_mask, op->size, false, &at) &&
           guest_read(v, at, value, op->size, false);
}

static bool store(struct vcpu *v, const struct string_op *op, uint32_t value) {
    gva_t at;
    uint32_t offset = v->cpu.gpr[EDI] & op->address_mask;
    return segment_access(v, SEG_ES, offset, op->size, true, &at) &&
           guest_write(v, at, &value, op->size, false);
}

/* left - right, as CMP sets the flags. */
static void compare(struct cpu *cpu, uint32_t left, uint32_t right, unsigned size) {
    unsigned bits = size * 8;
    uint32_t mask = bits == 32 ? UINT32_MAX : (1u << bits) - 1, sign = 1u << (bits - 1);
    uint32_t result = (left - right) & mask, flags = 0;
    left &= mask;
    right &= mask;
    flags |= left < right ? FL_CF : 0;
    flags |= __builtin_parity(result & 0xff) ? 0 : FL_PF;
    flags |= (left ^ right ^ result) & 0x10 ? FL_AF : 0;
    flags |= result ? 0 : FL_ZF;
    flags |= result & sign ? FL_SF : 0;
    flags |= (left ^ right) & (left ^ result) & sign ? FL_OF : 0;
    cpu->flags = (cpu->flags & ~FL_ARITH) | flags;
}

static void advance(struct cpu *cpu, const struct string_op *op, unsigned gpr) {
    uint32_t delta = cpu->flags & FL_DF ? 0u - op->size : op->size;
    uint32_t moved = (cpu->gpr[gpr] + delta) & op->address_mask;
    cpu->gpr[gpr] = (cpu->gpr[gpr] & ~op->address_mask) | moved;
}

static void set_accumulator(struct cpu *cpu, uint32_t value, unsigned size) {
    uint32_t mask = size == 4 ? UINT32_MAX : (1u << size * 8) - 1;
    cpu->gpr[EAX] = (cpu->gpr[EAX] & ~mask) | (value & mask);
}

/* One element. False: v->fault, nothing changed. */
static bool element(struct vcpu *v, const struct string_op *op) {
    struct cpu *cpu = &v->cpu;
    uint32_t source = cpu->gpr[EAX], destination = 0;
    bool from_memory = op->kind == MOVS || op->kind == CMPS || op->kind == LODS;
    if (compares(op) &&
        !load(v, op, SEG_ES, cpu->gpr[EDI], &destination)) /* CMPS: this one first */
        return false;
    if (from_memory && !load(v, op, op->segment, cpu->gpr[ESI], &source))
        return false;
    if ((op->kind == MOVS || op->kind == STOS) && !store(v, op, source))
        return false;
    if (op->kind == LODS)
        set_accumulator(cpu, source, op->size);
    if (compares(op))
        compare(cpu, source, destination, op->size);
    if (from_memory)
        advance(cpu, op, ESI);
    if (op->kind != LODS)
        advance(cpu, op, EDI);
    return true;
}

static uint32_t count(const struct cpu *cpu, const struct string_op *op) {
    return cpu->gpr[ECX] & op->address_mask;
}

enum callout_result callout_string(struct vcpu *v, uint32_t arg, uint32_t operand) {
    (void)operand;
    struct cpu *cpu = &v->cpu;
    struct string_op op = parse(arg);
    if (!op.repeat)
        return element(v, &op) ? CALLOUT_NEXT : CALLOUT_FAULT;
    uint32_t flags = cpu->flags;
    while (count(cpu, &op)) {
        if (!element(v, &op)) {
            cpu->flags = flags; /* as before the first element (SDM vol. 2B, REP) */
            return CALLOUT_FAULT;
        }
        cpu->gpr[ECX] = (cpu->gpr[ECX] & ~op.address_mask) | (count(cpu, &op) - 1);
        if (compares(&op) && ((cpu->flags & FL_ZF) != 0) != op.repeat_while)
            break;
        if (count(cpu, &op) && (cpu->mode & (MODE_TF | MODE_DEBUG) || cpu->attention)) {
            cpu->flags = flags; /* the last element's comparison sets them */
            return callout_repeat(v);
        }
    }
    return CALLOUT_NEXT;
}
