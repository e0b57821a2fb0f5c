/* PUSH, POP, CALL, RET, ENTER, LEAVE, PUSHA, POPA and IRET whose memory is missing: ESP is as
 * before, EIP the instruction. Then what is right about them when memory is there. */
#include "tests/guests/stage.h"

SNIPPET(push_register, "nop; push %eax" DONE);
SNIPPET(push_memory, "nop; pushl (%ebx)" DONE);
SNIPPET(pop_register, "nop; pop %eax" DONE);
SNIPPET(pop_memory, "nop; popl (%ebx)" DONE);
SNIPPET(call_near, "nop; call 1f; 1:" DONE);
SNIPPET(call_register, "nop; call *%ebx" DONE);
SNIPPET(call_memory, "nop; call *(%ebx)" DONE);
SNIPPET(return_near, "nop; ret" DONE);
SNIPPET(return_far, "nop; lret" DONE);
SNIPPET(push_all, "nop; pusha" DONE);
SNIPPET(pop_all, "nop; popa" DONE);
SNIPPET(push_flags, "nop; pushf" DONE);
SNIPPET(pop_flags, "nop; popf" DONE);
SNIPPET(enter_frame, "nop; enter $16, $0" DONE);
SNIPPET(leave_frame, "nop; leave" DONE);
SNIPPET(interrupt_return, "nop; iret" DONE);
SNIPPET(pop_segment, "nop; pop %es" DONE);

struct stack_case {
    const char *name;
    const uint8_t *code, *end;
    uint32_t esp, ebx, ebp;
    uint32_t error, cr2;
    bool tcg_differs;
};
#define ROW(name) name, name##_end
enum { READ = PF_USER, WRITE = PF_USER | PF_WRITE, LAST = HOLE - 4 };

static const struct stack_case cases[] = {
    {"push", ROW(push_register), STACK, DATA, 0, WRITE, STACK - 4},
    {"push-straddling", ROW(push_register), STACK + 2, DATA, 0, WRITE, STACK - 2},
    {"push-memory-no-source", ROW(push_memory), STACK_TOP, HOLE, 0, READ, HOLE},
    {"push-memory-no-stack", ROW(push_memory), STACK, DATA, 0, WRITE, STACK - 4},
    {"push-memory-neither", ROW(push_memory), STACK, HOLE, 0, READ, HOLE},
    {"pop", ROW(pop_register), HOLE, DATA, 0, READ, HOLE},
    {"pop-memory-no-target", ROW(pop_memory), STACK, HOLE, 0, WRITE, HOLE},
    {"pop-memory-no-stack", ROW(pop_memory), HOLE, DATA, 0, READ, HOLE},
    {"pop-segment", ROW(pop_segment), HOLE, DATA, 0, READ, HOLE},
    {"call", ROW(call_near), STACK, DATA, 0, WRITE, STACK - 4},
    {"call-register", ROW(call_register), STACK, CODE, 0, WRITE, STACK - 4},
    {"call-memory-no-source", ROW(call_memory), STACK_TOP, HOLE, 0, READ, HOLE},
    {"ret", ROW(return_near), HOLE, DATA, 0, READ, HOLE},
    {"ret-straddling", ROW(return_near), HOLE - 2, DATA, 0, READ, HOLE},
    /* TCG reads the frames of the next two with the rights of ring 0. */
    {"ret-far-second-word", ROW(return_far), LAST, DATA, 0, READ, HOLE, true},
    {"pusha", ROW(push_all), STACK + 8, DATA, 0, WRITE, 0},
    {"popa", ROW(pop_all), HOLE - 8, DATA, 0, READ, 0},
    {"pushf", ROW(push_flags), STACK, DATA, 0, WRITE, STACK - 4},
    {"popf", ROW(pop_flags), HOLE, DATA, 0, READ, HOLE},
    {"enter", ROW(enter_frame), STACK, DATA, 0, WRITE, STACK - 4},
    {"leave", ROW(leave_frame), STACK_TOP, DATA, HOLE, READ, HOLE},
    {"iret-third-word", ROW(interrupt_return), HOLE - 8, DATA, 0, READ, HOLE, true},
};

static void try_case(const struct stack_case *c) {
    memset((void *)DATA, 0, PAGE_SIZE);
    struct machine m = stage_at(3, CODE, c->code, (uint32_t)(c->end - c->code));
    m.esp = c->esp, m.ebx = c->ebx, m.ebp = c->ebp;
    m.eax = 0x1234;
    guest_run(&m);
    check_variant(c->name);
    (c->tcg_differs ? check_trap_unless_tcg : check_trap)("trap", &m, VECTOR_PF, c->error,
                                                          CODE + 1);
    if (c->cr2) /* the order of the accesses of PUSHA and POPA is not laid down */
        check("cr2", c->cr2, m.cr2);
    check("esp", c->esp, m.esp);
    check("ebp", c->ebp, m.ebp);
    check_variant(NULL);
}

/* The transfer itself is done when its target turns out to be missing. */
static void missing_targets(void) {
    struct machine m = STAGE(3, call_register);
    m.ebx = PROBE;
    guest_run(&m);
    check_trap("call-to-nowhere", &m, VECTOR_PF, PF_USER, PROBE);
    check("call-to-nowhere.cr2", PROBE, m.cr2);
    check("call-to-nowhere.esp", STACK_TOP - 4, m.esp);
    check("call-to-nowhere.return", CODE + 3, *word_at(STACK_TOP - 4));
    m = STAGE(3, return_near);
    m.esp = STACK_TOP - 8;
    *word_at(m.esp) = PROBE + 5;
    guest_run(&m);
    check_trap("ret-to-nowhere", &m, VECTOR_PF, PF_USER, PROBE + 5);
    check("ret-to-nowhere.esp", STACK_TOP - 4, m.esp);
}

/* What was pushed before an indirect call counts, whether its operand, its stack or nothing is missing. */
SNIPPET(pushed_call, "push %eax; push %ecx; call *(%ebx)" DONE);
static struct machine call_pushed(uint32_t ebx, uint32_t esp) {
    struct machine m = STAGE(3, pushed_call);
    m.ebx = ebx, m.esp = esp, m.eax = 0x1234, m.ecx = 0x5678;
    guest_run(&m);
    check("pushed-call.first", 0x1234, *word_at(esp - 4));
    check("pushed-call.second", 0x5678, *word_at(esp - 8));
    return m;
}
static void pushed_calls(void) {
    *word_at(DATA) = CODE + 4;
    struct machine m = call_pushed(HOLE, STACK_TOP);
    check_trap("pushed-call-no-source", &m, VECTOR_PF, READ, CODE + 2);
    check("pushed-call-no-source.esp", STACK_TOP - 8, m.esp);
    m = call_pushed(DATA, STACK + 8);
    check_trap("pushed-call-no-stack", &m, VECTOR_PF, WRITE, CODE + 2);
    check("pushed-call-no-stack.esp", STACK, m.esp);
    m = call_pushed(DATA, STACK_TOP);
    check("pushed-call.vector", VECTOR_DONE, m.vector);
    check("pushed-call.esp", STACK_TOP - 12, m.esp);
    check("pushed-call.return", CODE + 4, *word_at(STACK_TOP - 12));
}

SNIPPET(push_esp, "push %esp; pop %eax" DONE);
SNIPPET(pop_esp, "push $0x40020800; pop %esp; mov %esp, %eax" DONE);
SNIPPET(pop_esp_memory, "push $1; push $2; popl (%esp); pop %eax" DONE);
SNIPPET(push_esp_memory, "push $7; pushl (%esp); pop %eax" DONE);
SNIPPET(call_esp_memory, "lea 0x20(%edx), %ecx; push %ecx; call *(%esp); ud2; .skip 40, 0x90" DONE);
SNIPPET(return_and_drop, "call 1f; mov %esp, %eax; int $0x81; 1: ret $8" DONE);
SNIPPET(push_word, "pushw $0x1234; mov %esp, %eax; popw %cx" DONE);
SNIPPET(push_segment, "movl $-1, -4(%esp); push %ds; pop %eax; movzwl %ax, %eax" DONE);
SNIPPET(push_sign, "push $-5; pop %eax" DONE);
SNIPPET(enter_nested, "mov %esp, %ebp; enter $8, $2; mov %ebp, %eax; sub %esp, %eax" DONE);
SNIPPET(all_registers, "mov $1, %eax; mov $2, %ecx; pusha; xor %eax, %eax; xor %ecx, %ecx; popa;"
                       "shl $4, %ecx; or %ecx, %eax" DONE);

struct value_case {
    const char *name;
    const uint8_t *code, *end;
    uint32_t eax, esp;
};
static const struct value_case values[] = {
    {"push-esp", ROW(push_esp), STACK_TOP, STACK_TOP},
    {"pop-esp", ROW(pop_esp), 0x40020800, 0x40020800},
    {"pop-esp-memory", ROW(pop_esp_memory), 2, STACK_TOP},
    {"push-esp-memory", ROW(push_esp_memory), 7, STACK_TOP - 4},
    {"call-esp-memory", ROW(call_esp_memory), 0, STACK_TOP - 8},
    {"ret-drop", ROW(return_and_drop), STACK_TOP + 8 - 16, STACK_TOP - 8},
    {"push-word", ROW(push_word), STACK_TOP - 2, STACK_TOP},
    {"push-segment", ROW(push_segment), USER_DS, STACK_TOP},
    {"push-sign", ROW(push_sign), 0xfffffffb, STACK_TOP},
    {"enter-nested", ROW(enter_nested), 16, STACK_TOP - 20},
    {"pusha-popa", ROW(all_registers), 0x21, STACK_TOP},
};

static void try_value(const struct value_case *c) {
    struct machine m = stage_at(3, CODE, c->code, (uint32_t)(c->end - c->code));
    m.edx = CODE;
    if (c->code == return_and_drop)
        m.esp = STACK_TOP - 16;
    guest_run(&m);
    check_variant(c->name);
    check("vector", VECTOR_DONE, m.vector);
    check("eax", c->eax, m.eax);
    check("esp", c->esp, m.esp);
    check_variant(NULL);
}

void guest_main(void) {
    stage_start();
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        try_case(cases + i);
    missing_targets();
    pushed_calls();
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        try_value(values + i);
    check_finish("stack_faults");
}
