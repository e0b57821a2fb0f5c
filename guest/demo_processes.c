/* Two user processes, each in an address space of its own, preempted by the timer in turn.
 *
 * Both run the same program at the same address. It makes system calls by INT 80h and by
 * SYSENTER, and keeps a sum whose two ways of being computed must agree at the end, whatever
 * interrupts came between. System calls: EAX the number, EBX and ESI the arguments. */
#include "guest/demo.h"

enum { CALL_EXIT, CALL_WRITE, CALL_TICKS, PROCESSES = 2, TICKS_TO_RUN = 24 };

struct user_data {
    uint32_t name, rounds, has_sysenter, sysenter_calls;
};

/* EDI counts sevens, EBP points at struct user_data. */
SNIPPET(user_program, "mov $0x40001000, %ebp; xor %edi, %edi\n"
                      "mov $1, %eax; mov %ebp, %ebx; mov $1, %esi; int $0x80\n"
                      "1: mov $2000, %ecx\n"
                      "2: add $7, %edi; dec %ecx; jnz 2b\n"
                      "incl 4(%ebp)\n"
                      "mov $2, %eax; cmpl $0, 8(%ebp); je 3f\n"
                      "incl 12(%ebp)\n"
                      "call 5f; 5: pop %edx; add $6f-5b, %edx; mov %esp, %ecx; sysenter\n"
                      "3: int $0x80\n"
                      "6: cmp $24, %eax; jb 1b\n"
                      "mov 4(%ebp), %eax; imul $14000, %eax, %eax\n"
                      "sub %eax, %edi; mov %edi, %ebx; xor %eax, %eax; int $0x80; ud2\n");

struct process {
    struct trap_frame frame;
    struct demo_space memory;
    bool live;
    unsigned preempted, calls;
    uint32_t exit_value;
};

static struct process processes[PROCESSES];
static unsigned current;
static uint32_t ticks;

static void switch_to(unsigned next, struct trap_frame *frame) {
    current = next;
    *frame = processes[next].frame;
    space_enter(&processes[next].memory.space);
}

static bool preempt(struct trap_frame *frame) {
    ticks++;
    pic_end_of_interrupt(0);
    unsigned next = (current + 1) % PROCESSES;
    if ((frame->cs & 3) == 3 && processes[next].live) {
        processes[current].preempted++;
        processes[current].frame = *frame;
        switch_to(next, frame);
    }
    return true;
}

/* False when no process is left: guest_run() then returns. */
static bool end_process(struct trap_frame *frame) {
    processes[current].live = false;
    processes[current].exit_value = frame->ebx;
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (processes[i].live) {
            switch_to(i, frame);
            return true;
        }
    }
    return false;
}

static bool serve_call(struct trap_frame *frame) {
    processes[current].calls++;
    switch (frame->eax) {
    case CALL_EXIT:
        return end_process(frame);
    case CALL_WRITE:
        print("process ");
        for (uint32_t i = 0; i < frame->esi; i++)
            print_char(((const char *)frame->ebx)[i]);
        print(" starts\n");
        return true;
    case CALL_TICKS:
        frame->eax = ticks;
        return true;
    default:
        return false;
    }
}

static void make_process(unsigned i, enum paging_kind kind, bool has_sysenter) {
    struct process *p = processes + i;
    memset(p, 0, sizeof *p);
    demo_space_make(&p->memory, kind);
    memcpy(p->memory.code, user_program, SNIPPET_SIZE(user_program));
    *(struct user_data *)p->memory.data =
        (struct user_data){.name = 'A' + i, .has_sysenter = has_sysenter};
    p->live = true;
    p->frame = (struct trap_frame){.gs = USER_DS,
                                   .fs = USER_DS,
                                   .es = USER_DS,
                                   .ds = USER_DS,
                                   .eip = USER_CODE,
                                   .cs = USER_CS,
                                   .eflags = FLAG_FIXED | FLAG_IF,
                                   .esp = USER_STACK_TOP,
                                   .ss = USER_DS};
}

static void check_process(const struct process *p, unsigned i) {
    const struct user_data *data = (const struct user_data *)p->memory.data;
    print("process %c: %u rounds, %u system calls (%u by SYSENTER), preempted %u times\n",
          data->name, data->rounds, p->calls, data->sysenter_calls, p->preempted);
    check_variant(i ? "B" : "A");
    check("process.own-memory", 'A' + i, data->name);
    check("process.sum", 0, p->exit_value);
    check("process.calls", data->rounds + 2, p->calls);
    check("process.sysenter", data->has_sysenter ? data->rounds : 0, data->sysenter_calls);
    check_true("process.preempted", p->preempted >= 4);
    check_variant(NULL);
}

void show_processes(enum paging_kind kind) {
    bool has_sysenter = cpuid(1).edx & CPUID_SEP;
    if (has_sysenter) {
        write_msr(MSR_SYSENTER_CS, KERNEL_CS);
        write_msr(MSR_SYSENTER_ESP, trap_stack_top());
        write_msr(MSR_SYSENTER_EIP, (uint32_t)(uintptr_t)sysenter_entry);
    }
    for (unsigned i = 0; i < PROCESSES; i++)
        make_process(i, kind, has_sysenter);
    trap_set_handler(VECTOR_IRQ0, preempt);
    trap_set_handler(VECTOR_SYSCALL, serve_call);
    trap_set_handler(VECTOR_SYSENTER, serve_call);
    ticks = 0;
    current = 0;
    pic_unmask(0);
    space_enter(&processes[0].memory.space);
    struct machine m = machine_user(USER_CODE, USER_STACK_TOP);
    m.eflags |= FLAG_IF;
    guest_run(&m);
    pic_mask(0);
    check("process.end", VECTOR_SYSCALL, m.vector);
    for (unsigned i = 0; i < PROCESSES; i++)
        check_process(processes + i, i);
    trap_set_handler(VECTOR_IRQ0, NULL);
    trap_set_handler(VECTOR_SYSCALL, NULL);
    trap_set_handler(VECTOR_SYSENTER, NULL);
}
