/* The registers that GDB knows: one table gives their numbers, the target description and how each
 * is read and written.
 *
 * Features org.gnu.gdb.i386.core, .sse and, where the guest has AVX, .avx are GDB's; what a system
 * has besides (segment bases, control and debug registers, tables) is org.ring3.i386.system. */
#ifndef RING3_INSPECT_GDB_REGISTERS_H
#define RING3_INSPECT_GDB_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inspect/target.h"

#define GDB_REGISTER_BYTES_MAX 16u
#define GDB_REGISTERS_AT_STOP 16u /* the first ones, which are always at hand */

/* A stopped machine's registers, once fetched. */
struct gdb_registers {
    const struct cpu *cpu;
    uint8_t vector[TARGET_VECTOR_BYTES];
    uint32_t fip; /* x87's, as the guest knows it */
};

unsigned gdb_register_count(void);
/* `number` < count from here on. */
size_t gdb_register_size(unsigned number);
/* 0, or what target.h says of results. */
int gdb_registers_fetch(struct target *target, struct gdb_registers *registers);
void gdb_register_get(const struct gdb_registers *registers, unsigned number, void *to);
/* Writes the machine's register, and `registers`. Nothing happens when it has that value. 0, or
 * what target.h says of results; -ENOTSUP: it cannot be written. */
int gdb_register_set(struct target *target, struct gdb_registers *registers, unsigned number,
                     const void *from);
/* The register's name, and the number of one; false: there is none. */
const char *gdb_register_name(unsigned number);

/* target.xml: made when first asked for, for this host; lives as long as the process. */
const char *gdb_target_description(void);

#endif
