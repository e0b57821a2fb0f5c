/* The 17 instructions of Robin and Irvine (Analysis of the Intel Pentium's ability to support a
 * secure virtual machine monitor, 2000): they read or depend on privileged state, and do not
 * trap. Each is tried from ring 3 and from ring 0; what they give there is what a virtual
 * machine must give too. (UMIP, which a newer CPU may have, is not turned on.) */
#include "guest/demo.h"

enum { RING0_VECTOR = 0x82, OTHER_FLAGS = FLAG_IF | FLAG_IOPL };

SNIPPET(do_sgdt, "sgdt (%ebx); mov 2(%ebx), %eax; movzwl (%ebx), %ecx" DONE);
SNIPPET(do_sidt, "sidt (%ebx); mov 2(%ebx), %eax; movzwl (%ebx), %ecx" DONE);
SNIPPET(do_sldt, "mov $-1, %eax; sldt %eax" DONE);
SNIPPET(do_smsw, "smsw %ax" DONE);
SNIPPET(do_pushf, "pushf; pop %eax" DONE);
SNIPPET(do_popf, "push $0x3002; popf; pushf; pop %eax" DONE);
SNIPPET(do_lar, "mov $0x10, %ecx; lar %ecx, %eax; setz %cl; and $0x00f0ff00, %eax" DONE);
SNIPPET(do_lsl, "mov $0x10, %ecx; lsl %ecx, %eax; setz %cl" DONE);
SNIPPET(do_verr, "mov $0x10, %ecx; verr %cx; setz %al" DONE);
SNIPPET(do_verw, "mov $0x10, %ecx; verw %cx; setz %al" DONE);
SNIPPET(do_pop, "push $0x10; pop %es; mov %es, %eax" DONE);
SNIPPET(do_push, "push %cs; pop %eax" DONE);
#define FAR_POINTER_TO_2                                                                           \
    "call 1f; 1: pop %eax; lea 2f-1b(%eax), %eax; mov %eax, (%ebx); movw $8, 4(%ebx);"
SNIPPET(do_call, FAR_POINTER_TO_2 "lcall *(%ebx); 2: pop %ecx; pop %eax" DONE);
SNIPPET(do_jmp, FAR_POINTER_TO_2 "ljmp *(%ebx); 2: mov %cs, %eax" DONE);
SNIPPET(do_int, "int $0x82" DONE);
SNIPPET(do_ret, FAR_POINTER_TO_2 "push $8; push (%ebx); lret; 2: mov %cs, %eax" DONE);
SNIPPET(do_str, "mov $-1, %eax; str %eax" DONE);
SNIPPET(do_mov, "mov %ss, %eax" DONE);

/* Seen when the run ended: the trap, and EAX where the code came to its end. */
struct outcome {
    uint32_t vector, error, eax;
};

struct sensitive_case {
    const char *name;
    const uint8_t *code, *end;
    struct outcome ring3, ring0;
};

#define ENDS(value)                                                                                \
    { VECTOR_DONE, 0, value }
#define REFUSED(error_code)                                                                        \
    { VECTOR_GP, error_code, 0 }
#define CODE(name) name, name##_end

/* EAX for SGDT, SIDT and SMSW is known only at run time: 0 here, filled in below. */
static struct sensitive_case cases[] = {
    {"SGDT", CODE(do_sgdt), ENDS(0), ENDS(0)},
    {"SIDT", CODE(do_sidt), ENDS(0), ENDS(0)},
    {"SLDT", CODE(do_sldt), ENDS(0), ENDS(0)},
    {"SMSW", CODE(do_smsw), ENDS(0), ENDS(0)},
    {"PUSHF", CODE(do_pushf), ENDS(FLAG_IF | FLAG_FIXED), ENDS(FLAG_IF | FLAG_FIXED)},
    {"POPF", CODE(do_popf), ENDS(FLAG_IF | FLAG_FIXED), ENDS(FLAG_IOPL | FLAG_FIXED)},
    {"LAR", CODE(do_lar), ENDS(0), ENDS(0x00c09300)},
    {"LSL", CODE(do_lsl), ENDS(0), ENDS(0xffffffff)},
    {"VERR", CODE(do_verr), ENDS(0), ENDS(1)},
    {"VERW", CODE(do_verw), ENDS(0), ENDS(1)},
    {"POP-segment", CODE(do_pop), REFUSED(0x10), ENDS(0x10)},
    {"PUSH-segment", CODE(do_push), ENDS(USER_CS), ENDS(KERNEL_CS)},
    {"CALL-far", CODE(do_call), REFUSED(KERNEL_CS), ENDS(KERNEL_CS)},
    {"JMP-far", CODE(do_jmp), REFUSED(KERNEL_CS), ENDS(KERNEL_CS)},
    {"INT-n", CODE(do_int), REFUSED(RING0_VECTOR * 8 + 2), {RING0_VECTOR, 0, 0}},
    {"RET-far", CODE(do_ret), REFUSED(KERNEL_CS), ENDS(KERNEL_CS)},
    {"STR", CODE(do_str), ENDS(TSS_SELECTOR), ENDS(TSS_SELECTOR)},
    {"MOV-segment", CODE(do_mov), ENDS(USER_DS), ENDS(KERNEL_DS)},
};

static void set_result(unsigned i, uint32_t eax) { cases[i].ring3.eax = cases[i].ring0.eax = eax; }

static void print_cell(const char *text, unsigned width) {
    for (; *text; width -= width > 0)
        print_char(*text++);
    while (width--)
        print_char(' ');
}

static void print_outcome(const struct machine *m) {
    if (m->vector == VECTOR_DONE)
        print("%08x    ", m->eax);
    else if (m->vector == VECTOR_GP)
        print("#GP(%04x)   ", m->error);
    else
        print("vector %02x   ", m->vector);
}

static void check_outcome(const char *name, const struct outcome *expected,
                          const struct machine *m) {
    check(name, expected->vector, m->vector);
    check(name, expected->error, m->error);
    if (expected->vector == VECTOR_DONE)
        check(name, expected->eax, m->eax);
}

void show_sensitive(struct demo_space *demo) {
    enum { COUNT = sizeof cases / sizeof *cases };
    static struct machine seen3[COUNT], seen0[COUNT];
    set_result(0, gdt_address());
    set_result(1, idt_address());
    set_result(3, read_cr0() & 0xffff);
    for (unsigned i = 0; i < COUNT; i++) {
        uint32_t size = (uint32_t)(cases[i].end - cases[i].code);
        seen3[i] = demo_run(demo, 3, cases[i].code, size, FLAG_IF);
        seen0[i] = demo_run(demo, 0, cases[i].code, size, FLAG_IF);
    }
    print("instruction     in ring 3   in ring 0\n");
    for (unsigned i = 0; i < COUNT; i++) {
        print_cell(cases[i].name, 16);
        print_outcome(seen3 + i);
        print_outcome(seen0 + i);
        print("\n");
    }
    for (unsigned i = 0; i < COUNT; i++) {
        check_variant("ring3");
        check_outcome(cases[i].name, &cases[i].ring3, seen3 + i);
        check_variant("ring0");
        check_outcome(cases[i].name, &cases[i].ring0, seen0 + i);
    }
    check_variant(NULL);
    check("SGDT.limit", gdt_limit(), seen3[0].ecx);
    check("SIDT.limit", 0x7ff, seen3[1].ecx);
}
