/* See accesses.h. Zydis names the operands; what it leaves open (where a push stores, XLAT's index,
 * bit strings) is filled in here. */
#include "translator/accesses.h"

#include "translator/block.h"

static uint8_t gpr_of(ZydisRegister reg) {
    if (reg == ZYDIS_REGISTER_NONE)
        return NO_GPR;
    ZyanI8 id = ZydisRegisterGetId(reg);
    return id >= 0 && id < 8 ? (uint8_t)id : NO_GPR;
}

static uint8_t segment_of(ZydisRegister reg) {
    ZyanI8 id = ZydisRegisterGetId(reg);
    return id >= 0 && id < SEG_COUNT ? (uint8_t)id : SEG_DS;
}

/* Instructions whose memory operand is an address and nothing else, or the processor's own
 * business. */
static bool makes_none(const ZydisDecodedInstruction *z) {
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
        return true;
    default:
        return z->meta.category == ZYDIS_CATEGORY_PREFETCH ||
               z->meta.category == ZYDIS_CATEGORY_WIDENOP || z->meta.category == ZYDIS_CATEGORY_NOP;
    }
}

static bool is_string(const ZydisDecodedInstruction *z) {
    return z->meta.category == ZYDIS_CATEGORY_STRINGOP ||
           z->meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

static bool is_bit_string(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands) {
    bool bits = z->mnemonic == ZYDIS_MNEMONIC_BT || z->mnemonic == ZYDIS_MNEMONIC_BTS ||
                z->mnemonic == ZYDIS_MNEMONIC_BTR || z->mnemonic == ZYDIS_MNEMONIC_BTC;
    return bits && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
}

/* The stack's own operand: a push stores below ESP. */
static void set_stack(const ZydisDecodedInstruction *z, uint32_t mode, struct access *a) {
    if (a->flags & ACCESS_WRITES)
        a->disp -= (int32_t)a->size;
    if (mode & MODE_STACK16)
        a->flags |= ACCESS_ADDR16;
    else
        a->flags &= (uint16_t)~ACCESS_ADDR16;
    (void)z;
}

static void set_string(const ZydisDecodedInstruction *z, struct access *a) {
    const ZyanU64 repeats = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
    a->flags |= ACCESS_STEPS;
    if (z->attributes & repeats)
        a->flags |= ACCESS_REPEATS;
    if (z->address_width == 16)
        a->flags |= ACCESS_COUNT16;
    unsigned family = z->opcode & 0xfeu;
    a->flags |= family == 0xa6 || family == 0xae ? ACCESS_COMPARES : 0;
    a->flags |= z->attributes & ZYDIS_ATTRIB_HAS_REPE ? ACCESS_WHILE_EQUAL : 0;
}

static struct access access_of(const ZydisDecodedInstruction *z,
                               const ZydisDecodedOperand *operands, unsigned which, uint32_t mode) {
    const ZydisDecodedOperand *o = &operands[which];
    struct access a = {.segment = segment_of(o->mem.segment),
                       .base = gpr_of(o->mem.base),
                       .index = gpr_of(o->mem.index),
                       .scale = o->mem.scale,
                       .extra = NO_GPR,
                       .size = (uint16_t)(o->size / 8),
                       .disp = (int32_t)o->mem.disp.value};
    bool hidden = o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
    a.flags |= o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACCESS_READS : 0;
    a.flags |= o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACCESS_WRITES : 0;
    a.flags |= z->address_width == 16 ? ACCESS_ADDR16 : 0;
    if (hidden && a.segment == SEG_SS)
        set_stack(z, mode, &a);
    else if (is_string(z))
        set_string(z, &a);
    else if (z->mnemonic == ZYDIS_MNEMONIC_XLAT)
        a.flags |= ACCESS_ADDS_AL;
    else if (z->mnemonic == ZYDIS_MNEMONIC_POP && a.base == ESP) /* with the incremented ESP */
        a.disp += (int32_t)a.size;
    if (!hidden && is_bit_string(z, operands)) {
        a.extra = gpr_of(operands[1].reg.value);
        a.flags |= z->operand_width == 16 ? ACCESS_BITS16 : ACCESS_BITS32;
    }
    return a;
}

unsigned insn_accesses(uint32_t mode, const uint8_t *bytes, uint32_t len,
                       struct access list[ACCESSES_MAX]) {
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    unsigned count = 0;
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(insn_decoder(mode), bytes, len, &z, operands)) ||
        makes_none(&z))
        return 0;
    for (unsigned i = 0; i < z.operand_count && count < ACCESSES_MAX; i++)
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[i].size >= 8 &&
            operands[i].mem.type == ZYDIS_MEMOP_TYPE_MEM)
            list[count++] = access_of(&z, operands, i, mode);
    return count;
}

bool insn_branches(uint32_t mode, const uint8_t *bytes, uint32_t len) {
    ZydisDecodedInstruction z;
    if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(insn_decoder(mode), NULL, bytes, len, &z)))
        return false;
    return z.meta.category == ZYDIS_CATEGORY_COND_BR || z.meta.category == ZYDIS_CATEGORY_CALL;
}

/* Which element of a bit string: the offset has a sign. */
static uint32_t bit_element(const struct cpu *cpu, const struct access *a) {
    if (a->extra == NO_GPR)
        return 0;
    if (a->flags & ACCESS_BITS16)
        return (uint32_t)((int16_t)cpu->gpr[a->extra] >> 4) * 2u;
    return (uint32_t)((int32_t)cpu->gpr[a->extra] >> 5) * 4u;
}

uint32_t access_address(const struct cpu *cpu, const struct access *a) {
    uint32_t sum = (uint32_t)a->disp + bit_element(cpu, a);
    if (a->base != NO_GPR)
        sum += cpu->gpr[a->base];
    if (a->index != NO_GPR)
        sum += cpu->gpr[a->index] * a->scale;
    if (a->flags & ACCESS_ADDS_AL)
        sum += cpu->gpr[EAX] & 0xffu;
    if (a->flags & ACCESS_ADDR16)
        sum &= 0xffffu;
    return cpu->seg[a->segment].base + sum;
}

uint32_t access_count(const struct cpu *cpu, const struct access *a) {
    if (!(a->flags & ACCESS_REPEATS))
        return 1;
    return a->flags & ACCESS_COUNT16 ? cpu->gpr[ECX] & 0xffffu : cpu->gpr[ECX];
}
