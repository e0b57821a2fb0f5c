/* The rows of gdb_register_table.c, private to GDB's registers. */
#ifndef RING3_INSPECT_GDB_REGISTER_TABLE_H
#define RING3_INSPECT_GDB_REGISTER_TABLE_H

#include <stdint.h>

enum gdb_register_kind {
    REGISTER_GPR,
    REGISTER_EIP,
    REGISTER_EFLAGS,
    REGISTER_SELECTOR,   /* index: enum segment_index, SEGMENT_TR, SEGMENT_LDT */
    REGISTER_BASE,       /* likewise */
    REGISTER_TABLE_BASE, /* 0: GDT, 1: IDT */
    REGISTER_TABLE_LIMIT,
    REGISTER_X87, /* enum x87_register */
    REGISTER_ST,
    REGISTER_XMM,
    REGISTER_MXCSR,
    REGISTER_YMMH,
    REGISTER_CONTROL, /* enum inspection_register */
    REGISTER_DEBUG,
    REGISTER_CPL,
};

enum x87_register {
    X87_CONTROL,
    X87_STATUS,
    X87_TAGS,
    X87_CS,
    X87_IP,
    X87_DS,
    X87_OPERAND,
    X87_OPCODE,
};

#define SEGMENT_TR 6u
#define SEGMENT_LDT 7u

struct gdb_register {
    const char *name;
    uint16_t bits;
    const char *type;
    const char *group; /* NULL: as the type says */
    uint8_t kind;      /* enum gdb_register_kind */
    uint8_t index;
};

/* In the order of their numbers, feature by feature. */
struct gdb_feature {
    const char *name;
    unsigned first;    /* row */
    const char *types; /* XML that its rows need */
};

#define GDB_FEATURES 4u
extern const struct gdb_register gdb_register_table[];
extern const struct gdb_feature gdb_features[GDB_FEATURES];
/* Rows that this host's guests have: AVX comes last. */
unsigned gdb_register_rows(void);

#endif
