/* Faults while an event is delivered: every first event (exceptions of each class, INT n, INT3, a
 * maskable interrupt, a single step) with every way in which its delivery may fail, from ring 0 and
 * ring 3. #DF and what replaces the first event arrive in tasks of their own (SDM vol. 3A, 6.15,
 * "Interrupt 8", tables 6-4 and 6-5).
 *
 * With "shutdown=N" the N-th way of a third fault: no record but the end of the machine. */
#include "tests/system/tasks.h"

enum {
    LANDING = 0x180,
    BAD = TASKS_FREE, /* a segment or a TSS, made bad as the case wants it */
    ABSENT = TASKS_FREE + 8,
    SOFT = 0x90,
    MASTER = 0x20,
    READ_IRR = 0x0a,
};

SNIPPET(divide, "nop; xor %ecx, %ecx; div %ecx" DONE);
SNIPPET(step, "nop; nop; nop" DONE);
SNIPPET(int3_, "int3" DONE);
SNIPPET(into_, "mov $0x7f, %al; inc %al; into" DONE);
SNIPPET(bound_, "movl $2, (%ebx); movl $1, 4(%ebx); xor %eax, %eax; bound %eax, (%ebx)" DONE);
SNIPPET(undefined, "ud2" DONE);
SNIPPET(no_device, "fld1" DONE);
SNIPPET(bad_tss, "pushl $0x4002; popf; iret" DONE);
SNIPPET(not_present, "mov $0x98, %eax; mov %eax, %fs" DONE);
SNIPPET(stack_fault, "mov $0x98, %eax; mov %eax, %ss" DONE);
SNIPPET(general, "mov $0xfff8, %eax; mov %eax, %fs" DONE);
SNIPPET(page_fault, "mov 0x1000(%ebx), %eax" DONE);
SNIPPET(x87_error, "fninit; movw $0x033b, (%ebx); fldcw (%ebx); fld1; fldz; fdivrp; wait" DONE);
SNIPPET(alignment, "mov 1(%ebx), %eax" DONE);
SNIPPET(sse_error,
        "movl $0x1d80, (%ebx); ldmxcsr (%ebx); xorps %xmm0, %xmm0; divps %xmm0, %xmm0" DONE);
SNIPPET(soft, "int $0x90" DONE);
SNIPPET(waits, "nop; nop" DONE);
SNIPPET(landing, "int $0x81");

static const struct first {
    const char *name;
    const uint8_t *code, *end;
    uint8_t vector;
    uint32_t flags;
    bool user_only;
} firsts[] = {
#define FIRST(name, vector, flags, user_only)                                                      \
    { #name, name, name##_end, vector, flags, user_only }
    FIRST(divide, 0, 0, false),
    FIRST(step, 1, FLAG_TF, false),
    FIRST(int3_, 3, 0, false),
    FIRST(into_, 4, 0, false),
    FIRST(bound_, 5, 0, false),
    FIRST(undefined, 6, 0, false),
    FIRST(no_device, 7, 0, false),
    FIRST(bad_tss, 10, 0, false),
    FIRST(not_present, 11, 0, false),
    FIRST(stack_fault, 12, 0, false),
    FIRST(general, 13, 0, false),
    FIRST(page_fault, 14, 0, false),
    FIRST(x87_error, 16, 0, false),
    FIRST(alignment, 17, FLAG_AC, true),
    FIRST(sse_error, 19, 0, false),
    FIRST(soft, SOFT, 0, false),
    FIRST(waits, VECTOR_IRQ0, FLAG_IF, false),
};

/* How the delivery of a vector fails. */
enum failure {
    GATE_ABSENT,    /* #NP */
    GATE_WRONG,     /* #GP */
    TARGET_NULL,    /* #GP(EXT) */
    TARGET_BEYOND,  /* #GP */
    TARGET_ABSENT,  /* #NP */
    TARGET_DATA,    /* #GP */
    OFFSET_BEYOND,  /* #GP */
    STACK_NULL,     /* #TS, from ring 3 to ring 1 */
    STACK_ABSENT,   /* #SS */
    STACK_WRONG,    /* #TS */
    STACK_PAGE,     /* #PF */
    STACK_LIMIT,    /* #SS */
    TASK_WRONG,     /* a task gate: #GP */
    TASK_ABSENT,    /* #NP */
    TASK_SHORT,     /* #TS */
    TASK_BUSY,      /* #GP */
    TASK_BAD_STACK, /* in the new task: #TS */
    FAILURES,
};
static const char *const failure_names[FAILURES] = {
    "gate-absent",   "gate-wrong",  "target-null",  "target-beyond", "target-absent", "target-data",
    "offset-beyond", "stack-null",  "stack-absent", "stack-wrong",   "stack-page",    "stack-limit",
    "task-wrong",    "task-absent", "task-short",   "task-busy",     "task-bad-stack"};

static struct task32 victim __attribute__((aligned(128)));
static uint8_t victim_stack[512] __attribute__((aligned(16)));

static void set_stack1(uint32_t selector, uint32_t esp) {
    main_task.ss1 = selector;
    main_task.esp1 = esp;
}

static void break_delivery(unsigned vector, enum failure failure) {
    bool stack = failure >= STACK_NULL && failure <= STACK_LIMIT;
    uint32_t target = failure == TARGET_NULL     ? 0
                      : failure == TARGET_BEYOND ? 0xfff8
                      : failure == TARGET_ABSENT ? (uint32_t)ABSENT
                      : failure == TARGET_DATA   ? (uint32_t)KERNEL_DS
                      : failure == OFFSET_BEYOND ? (uint32_t)BAD
                      : stack                    ? (uint32_t)RING1_CS
                                                 : (uint32_t)KERNEL_CS;
    uint8_t access = failure == GATE_ABSENT ? 0x6e : failure == GATE_WRONG ? 0xec : 0xee;
    gdt_set(ABSENT, 0, 0xfffff, 0x1b, 12);
    gdt_set(BAD, 0, 0xff, failure == STACK_ABSENT ? 0x33 : failure == STACK_LIMIT ? 0xb3 : 0x9b, 4);
    set_stack1(failure == STACK_NULL                               ? 0
               : failure == STACK_ABSENT || failure == STACK_LIMIT ? (uint32_t)BAD | 1
               : failure == STACK_WRONG                            ? (uint32_t)KERNEL_DS
                                                                   : (uint32_t)RING1_DS,
               failure == STACK_PAGE    ? AFTER
               : failure == STACK_LIMIT ? 0x200
                                        : STACK_TOP - 0x400);
    task_reset(&victim, CODE + LANDING, address_of(victim_stack + sizeof victim_stack));
    if (failure >= TASK_WRONG) {
        target = BAD;
        access = 0xe5;
        gdt_set(BAD, address_of(&victim), failure == TASK_SHORT ? 102 : 103,
                failure == TASK_WRONG    ? 0x92
                : failure == TASK_ABSENT ? 0x09
                : failure == TASK_BUSY   ? 0x8b
                                         : 0x89,
                0);
        if (failure == TASK_BAD_STACK)
            victim.ss = USER_DS;
    }
    set_idt_gate(vector, target, CODE + LANDING, access);
}

static void prepare_units(const struct first *first) {
    static const uint32_t mxcsr = 0x1f80;
    __asm__ volatile("clts; fninit; ldmxcsr %0" : : "m"(mxcsr));
    uint32_t cr0 = (read_cr0() & ~(uint32_t)CR0_TS) | CR0_NE | CR0_AM;
    write_cr0(first->vector == VECTOR_NM ? cr0 | CR0_TS : cr0);
}

static void wait_for_timer(void) {
    pic_unmask(0);
    outb(0x43, 0x30);
    outb(0x40, 40);
    outb(0x40, 0);
    outb(MASTER, READ_IRR);
    while (!(inb(MASTER) & 1))
        continue;
}

static struct machine image(const struct first *first, unsigned ring) {
    struct machine m = ring_at(ring, first->code, (uint32_t)(first->end - first->code));
    memcpy((void *)(CODE + LANDING), landing, SNIPPET_SIZE(landing));
    m.eflags |= first->flags;
    main_task.link = 0xfff8; /* what IRET with NT finds */
    prepare_units(first);
    if (first->vector == VECTOR_IRQ0)
        wait_for_timer();
    return m;
}

static void pair(const struct first *first, enum failure failure, unsigned ring) {
    volatile uint32_t *gate = word_at(idt_address() + first->vector * 8u);
    uint32_t usual[2] = {gate[0], gate[1]};
    struct machine m = image(first, ring);
    break_delivery(first->vector, failure);
    tasks_run(&m);
    gate[0] = usual[0], gate[1] = usual[1];
    record_case("ring%x", ring, 0, 0, 0);
    line_begin(first->name);
    if (caught.vector == 0xff) {
        line_outcome(&m, 0);
        line_value(m.eip - CODE);
    } else {
        struct machine seen = {.vector = caught.vector, .error = caught.error};
        line_outcome(&seen, 0);
        line_text(caught.task == MAIN_TASK ? "main" : caught.task == BAD ? "victim" : "?");
        if (caught.task == MAIN_TASK)
            line_value(main_task.eip - CODE), line_value(main_task.cs),
                line_value(main_task.eflags & ~(NO_FLAGS | FLAG_RF));
        if (first->vector == VECTOR_PF || failure == STACK_PAGE)
            line_value(caught.cr2 >> 12);
    }
    line_end();
    if (first->vector == VECTOR_IRQ0) { /* it may be in service, or still wait */
        pic_end_of_interrupt(0);
        pic_mask(0);
    }
}

static unsigned second_vector(enum failure failure) {
    switch (failure) {
    case GATE_ABSENT:
    case TARGET_ABSENT:
    case TASK_ABSENT:
        return VECTOR_NP;
    case STACK_NULL:
    case STACK_WRONG:
    case TASK_SHORT:
    case TASK_BAD_STACK:
        return VECTOR_TS;
    case STACK_ABSENT:
    case STACK_LIMIT:
        return VECTOR_SS;
    case STACK_PAGE:
        return VECTOR_PF;
    default:
        return VECTOR_GP;
    }
}

static void pairs(void) {
    for (enum failure failure = 0; failure < FAILURES; failure++)
        for (unsigned i = 0; i < sizeof firsts / sizeof *firsts; i++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                bool needs_switch = failure >= STACK_NULL && failure <= STACK_LIMIT;
                if ((ring == 0 && (needs_switch || firsts[i].user_only)))
                    continue;
                if (firsts[i].code == stack_fault && ring == 3)
                    continue; /* #GP: its segment is not of this level */
                if (firsts[i].vector == second_vector(failure) && failure == TASK_BAD_STACK)
                    continue; /* #TS whose task raises #TS, without end */
                record_section(failure_names[failure]);
                pair(&firsts[i], failure, ring);
            }
}

/* The third fault: #DF's own delivery fails in each of the ways. */
static void shut_down(unsigned n) {
    static const struct first *const causes[] = {&firsts[10], &firsts[11], &firsts[0]};
    enum failure failure = n % FAILURES;
    const struct first *first = causes[n / FAILURES % 3];
    bool needs_switch = failure >= STACK_NULL && failure <= STACK_LIMIT;
    struct machine m = image(first, needs_switch ? 3 : n & 1 ? 3 : 0);
    record_section("shutdown");
    record_case("", 0, 0, 0, 0);
    record_text(first->name, failure_names[failure]);
    break_delivery(first->vector, failure);
    break_delivery(VECTOR_DF, failure);
    tasks_run(&m);
    line_begin("survived");
    line_value(caught.vector);
    line_value(m.vector);
    line_end();
}

void guest_main(void) {
    record_start();
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    tasks_start();
    uint32_t n = guest_option_number("shutdown", 0xffffffff);
    if (n != 0xffffffff) {
        shut_down(n);
        record_finish();
    }
    tasks_catch(true);
    pairs();
    record_finish();
}
