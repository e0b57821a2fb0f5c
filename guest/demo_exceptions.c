/* Exceptions: vector, error code, EIP and CR2 of each, from ring 3 and from ring 0. */
#include "guest/demo.h"

enum { ABSENT = FREE_SELECTOR, BEYOND_GDT = 0x1000 };

SNIPPET(divide_by_zero, "xor %ecx, %ecx; div %ecx" DONE);
SNIPPET(divide_overflow, "mov $1, %edx; mov $1, %ecx; nop; div %ecx" DONE);
SNIPPET(undefined, "nop; nop; ud2" DONE);
SNIPPET(breakpoint, "nop; int3" DONE);
SNIPPET(overflow, "nop; into" DONE);
SNIPPET(bound_range, "movl $0, (%ebx); movl $9, 4(%ebx); mov $10, %eax; bound %eax, (%ebx)" DONE);
SNIPPET(bad_selector, "mov $0x1000, %eax; mov %eax, %es" DONE);
SNIPPET(absent_segment, "mov $0x33, %eax; mov %eax, %fs" DONE);
SNIPPET(absent_stack, "mov $0x33, %eax; mov %eax, %ss" DONE);
SNIPPET(absent_stack0, "mov $0x30, %eax; mov %eax, %ss" DONE);
SNIPPET(null_segment, "xor %eax, %eax; mov %eax, %es; mov %es:(%ebx), %ecx" DONE);
SNIPPET(halt, "nop; hlt" DONE);
SNIPPET(clear_if, "nop; cli" DONE);
SNIPPET(port_in, "nop; in $0x80, %al" DONE);
SNIPPET(x87, "nop; fld1" DONE);
SNIPPET(x87_none, "nop; fnop" DONE);

enum rings { RING3 = 1, RING0 = 2, BOTH = 3 };

struct exception_case {
    const char *name;
    const uint8_t *code, *end;
    enum rings rings;
    uint32_t eflags;
    uint32_t vector, error;
    uint32_t eip; /* offset in the code */
    bool tcg_differs;
};

#define CODE(name) name, name##_end
static const struct exception_case cases[] = {
    {"divide-by-zero", CODE(divide_by_zero), BOTH, 0, VECTOR_DE, 0, 2},
    {"divide-overflow", CODE(divide_overflow), BOTH, 0, VECTOR_DE, 0, 11},
    {"ud2", CODE(undefined), BOTH, 0, VECTOR_UD, 0, 2},
    {"int3", CODE(breakpoint), BOTH, 0, VECTOR_BP, 0, 2},
    {"into-taken", CODE(overflow), BOTH, FLAG_OF, VECTOR_OF, 0, 2},
    {"into-not-taken", CODE(overflow), BOTH, 0, VECTOR_DONE, 0, 4},
    {"bound", CODE(bound_range), BOTH, 0, VECTOR_BR, 0, 18},
    {"selector-beyond-gdt", CODE(bad_selector), BOTH, 0, VECTOR_GP, BEYOND_GDT, 5},
    {"segment-not-present", CODE(absent_segment), RING3, 0, VECTOR_NP, ABSENT, 5},
    {"stack-not-present", CODE(absent_stack), RING3, 0, VECTOR_SS, ABSENT, 5},
    {"stack-not-present-ring0", CODE(absent_stack0), RING0, 0, VECTOR_GP, ABSENT, 5},
    /* TCG checks neither null selectors nor limits of data segments. */
    {"null-segment-use", CODE(null_segment), BOTH, 0, VECTOR_GP, 0, 4, true},
    {"hlt-in-ring3", CODE(halt), RING3, 0, VECTOR_GP, 0, 1},
    {"cli-in-ring3", CODE(clear_if), RING3, 0, VECTOR_GP, 0, 1},
    {"in-in-ring3", CODE(port_in), RING3, 0, VECTOR_GP, 0, 1},
};
static const struct exception_case cases_ts[] = {
    {"nm-fld", CODE(x87), BOTH, 0, VECTOR_NM, 0, 1},
    {"nm-fnop", CODE(x87_none), BOTH, 0, VECTOR_NM, 0, 1},
};

static void try_case(struct demo_space *demo, const struct exception_case *c, unsigned ring) {
    uint32_t start = ring == 3 ? USER_CODE : address_of(c->code);
    struct machine m = demo_run(demo, ring, c->code, (uint32_t)(c->end - c->code), c->eflags);
    check_variant(ring == 3 ? "ring3" : "ring0");
    (c->tcg_differs ? check_trap_unless_tcg : check_trap)(c->name, &m, c->vector, c->error,
                                                          start + c->eip);
    check_variant(NULL);
}

static void try_cases(struct demo_space *demo, const struct exception_case *from, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (from[i].rings & RING3)
            try_case(demo, from + i, 3);
        if (from[i].rings & RING0)
            try_case(demo, from + i, 0);
    }
}

void show_exceptions(struct demo_space *demo) {
    gdt_set(ABSENT, 0, 0xfffff, 0x73, 0xc); /* writable data, DPL 3, P clear */
    try_cases(demo, cases, sizeof cases / sizeof *cases);
    write_cr0(read_cr0() | CR0_TS);
    try_cases(demo, cases_ts, sizeof cases_ts / sizeof *cases_ts);
    __asm__ volatile("clts");
}
