/* Registers by GDB's numbers (gdb_registers.h). The description is in gdb_description.c. */
#include "inspect/gdb_registers.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "inspect/gdb_register_table.h"

/* In the FXSAVE image. */
enum {
    FCW = 0,
    FSW = 2,
    FTW = 4,
    FOP = 6,
    FDP = 16,
    MXCSR = 24,
    ST0 = 32,
    XMM0 = 160,
    YMMH0 = 576
};

static uint32_t vector16(const struct gdb_registers *r, unsigned at) {
    return (uint32_t)(r->vector[at] | r->vector[at + 1] << 8);
}

/* The full tag word from the abridged one and the registers (SDM vol. 1, 8.1.7 and 10.5.1). */
static uint32_t full_tags(const struct gdb_registers *r) {
    unsigned top = vector16(r, FSW) >> 11 & 7u;
    uint32_t tags = 0;
    for (unsigned physical = 0; physical < 8; physical++) {
        const uint8_t *st = r->vector + ST0 + 16 * ((physical - top) & 7u);
        unsigned exponent = (unsigned)(st[8] | st[9] << 8) & 0x7fffu;
        uint64_t significand;
        memcpy(&significand, st, sizeof significand);
        unsigned tag = 0; /* valid */
        if (!(r->vector[FTW] >> physical & 1))
            tag = 3;
        else if (exponent == 0 && significand == 0)
            tag = 1;
        else if (exponent == 0 || exponent == 0x7fff || !(significand >> 63))
            tag = 2;
        tags |= tag << 2 * physical;
    }
    return tags;
}

static uint32_t x87_get(const struct gdb_registers *r, enum x87_register which) {
    uint32_t fdp;
    switch (which) {
    case X87_CONTROL:
        return vector16(r, FCW);
    case X87_STATUS:
        return vector16(r, FSW);
    case X87_TAGS:
        return full_tags(r);
    case X87_OPCODE:
        return vector16(r, FOP) & 0x7ffu;
    case X87_IP:
        return r->fip;
    case X87_OPERAND:
        memcpy(&fdp, r->vector + FDP, sizeof fdp);
        return fdp; /* windows are aligned to 4 GiB: the low half is the guest's address */
    case X87_CS:
    case X87_DS:
        break; /* not kept by a 64-bit image */
    }
    return 0;
}

static const struct segment *system_segment(const struct cpu *cpu, unsigned index) {
    return index < SEG_COUNT ? &cpu->seg[index] : index == SEGMENT_TR ? &cpu->tr : &cpu->ldt;
}

static uint32_t control_get(const struct cpu *cpu, unsigned index) {
    const uint32_t values[] = {[INSPECT_CR0] = cpu->paging.cr0,
                               [INSPECT_CR2] = cpu->cr2,
                               [INSPECT_CR3] = cpu->paging.cr3,
                               [INSPECT_CR4] = cpu->paging.cr4,
                               [INSPECT_EFER] = cpu->paging.efer};
    assert(index < sizeof values / sizeof *values);
    return values[index];
}

static uint32_t word_get(const struct gdb_registers *r, const struct gdb_register *row) {
    const struct cpu *cpu = r->cpu;
    switch (row->kind) {
    case REGISTER_GPR:
        return cpu->gpr[row->index];
    case REGISTER_EIP:
        return cpu->eip;
    case REGISTER_EFLAGS:
        return cpu_eflags(cpu);
    case REGISTER_SELECTOR:
        return system_segment(cpu, row->index)->selector;
    case REGISTER_BASE:
        return system_segment(cpu, row->index)->base;
    case REGISTER_TABLE_BASE:
        return row->index ? cpu->idt.base : cpu->gdt.base;
    case REGISTER_TABLE_LIMIT:
        return row->index ? cpu->idt.limit : cpu->gdt.limit;
    case REGISTER_X87:
        return x87_get(r, (enum x87_register)row->index);
    case REGISTER_CONTROL:
        return control_get(cpu, row->index);
    case REGISTER_DEBUG:
        return cpu->dr[row->index];
    case REGISTER_CPL:
        return cpu_cpl(cpu);
    default:
        break;
    }
    assert(false && "a register of another size");
    return 0;
}

/* Where a register stands in the vector image; -1: it does not. */
static int vector_offset(const struct gdb_register *row) {
    switch (row->kind) {
    case REGISTER_ST:
        return ST0 + 16 * row->index;
    case REGISTER_XMM:
        return XMM0 + 16 * row->index;
    case REGISTER_YMMH:
        return YMMH0 + 16 * row->index;
    case REGISTER_MXCSR:
        return MXCSR;
    default:
        return -1;
    }
}

unsigned gdb_register_count(void) { return gdb_register_rows(); }

size_t gdb_register_size(unsigned number) {
    assert(number < gdb_register_rows());
    return gdb_register_table[number].bits / 8u;
}

const char *gdb_register_name(unsigned number) {
    assert(number < gdb_register_rows());
    return gdb_register_table[number].name;
}

int gdb_registers_fetch(struct target *target, struct gdb_registers *registers) {
    int rc = target_save_vector(target, registers->vector, &registers->fip);
    registers->cpu = rc ? NULL : &target->vcpu->cpu;
    return rc;
}

void gdb_register_get(const struct gdb_registers *registers, unsigned number, void *to) {
    const struct gdb_register *row = &gdb_register_table[number];
    int offset = vector_offset(row);
    assert(number < gdb_register_rows() && registers->cpu);
    if (offset >= 0) {
        memcpy(to, registers->vector + offset, row->bits / 8u);
        return;
    }
    uint32_t value = word_get(registers, row);
    memcpy(to, &value, sizeof value);
}

/* What of x87 can be written, in the image. */
static int x87_set(struct gdb_registers *r, enum x87_register which, uint32_t value) {
    static const uint8_t places[] = {[X87_CONTROL] = FCW, [X87_STATUS] = FSW, [X87_OPCODE] = FOP};
    if (which == X87_TAGS) {
        r->vector[FTW] = 0;
        for (unsigned i = 0; i < 8; i++)
            if ((value >> 2 * i & 3u) != 3)
                r->vector[FTW] = (uint8_t)(r->vector[FTW] | 1u << i);
        return 0;
    }
    if (which != X87_CONTROL && which != X87_STATUS && which != X87_OPCODE)
        return -ENOTSUP;
    memcpy(r->vector + places[which], &value, 2);
    return 0;
}

static int word_set(struct target *target, const struct gdb_register *row, uint32_t value) {
    unsigned index = row->index;
    switch (row->kind) {
    case REGISTER_GPR:
        return target_write_register(target, INSPECT_GPR + index, value);
    case REGISTER_EIP:
        return target_write_register(target, INSPECT_EIP, value);
    case REGISTER_EFLAGS:
        return target_write_register(target, INSPECT_EFLAGS, value);
    case REGISTER_SELECTOR:
        return index < SEG_COUNT ? target_write_register(target, INSPECT_SEGMENT + index, value)
                                 : -ENOTSUP;
    case REGISTER_BASE:
        if (index != SEG_FS && index != SEG_GS)
            return -ENOTSUP;
        return target_write_register(target, index == SEG_FS ? INSPECT_FS_BASE : INSPECT_GS_BASE,
                                     value);
    case REGISTER_CONTROL:
        return target_write_register(target, index, value);
    case REGISTER_DEBUG:
        return target_write_register(target, INSPECT_DR + index, value);
    default:
        return -ENOTSUP;
    }
}

int gdb_register_set(struct target *target, struct gdb_registers *registers, unsigned number,
                     const void *from) {
    const struct gdb_register *row = &gdb_register_table[number];
    uint8_t now[GDB_REGISTER_BYTES_MAX];
    uint32_t value;
    int offset = vector_offset(row);
    gdb_register_get(registers, number, now);
    if (!memcmp(now, from, row->bits / 8u))
        return 0;
    memcpy(&value, from, sizeof value);
    if (offset >= 0)
        memcpy(registers->vector + offset, from, row->bits / 8u);
    else if (row->kind != REGISTER_X87)
        return word_set(target, row, value);
    else if (x87_set(registers, (enum x87_register)row->index, value))
        return -ENOTSUP;
    return target_load_vector(target, registers->vector);
}
