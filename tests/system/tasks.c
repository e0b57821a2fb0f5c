/* Tasks of the guests that record what task switches and double faults do: see tasks.h. */
#include "tests/system/tasks.h"

enum { CATCHER_STACK = 2048 };

void run_leave(void);
void task_caught(uint32_t vector, uint32_t error);

struct caught caught;
struct task32 main_task __attribute__((aligned(128)));
uint16_t task_at_end;
uint8_t main_access_at_end;
uint32_t cr0_at_end, cr3_at_end, ldt_at_end;

static const uint8_t vectors[CATCHER_COUNT] = {VECTOR_DF, VECTOR_TS, VECTOR_NP,
                                               VECTOR_SS, VECTOR_GP, VECTOR_PF};
static struct task32 catchers[CATCHER_COUNT] __attribute__((aligned(128)));
static uint8_t stacks[CATCHER_COUNT][CATCHER_STACK] __attribute__((aligned(16)));

/* Entries of 16 bytes, with the error code on the stack. */
__asm__(".text\n"
        ".balign 16\n"
        "catcher_entries:\n"
        ".irp vector, 8, 10, 11, 12, 13, 14\n"
        ".balign 16\n"
        "  clts\n"
        "  pushl $\\vector\n"
        "  push $0\n" /* where a return address would be */
        "  jmp task_caught\n"
        ".endr\n");
extern const uint8_t catcher_entries[];

static unsigned index_of(uint32_t vector) {
    unsigned i = 0;
    while (vectors[i] != vector)
        i++;
    return i;
}

void task_caught(uint32_t vector, uint32_t error) {
    caught = (struct caught){vector, error, read_cr2(), catchers[index_of(vector)].link & 0xffff};
    run_leave();
}

void task_reset(struct task32 *task, uint32_t eip, uint32_t esp) {
    memset(task, 0, sizeof *task);
    task->cr3 = stage.root;
    task->eip = eip;
    task->esp = esp;
    task->eflags = FLAG_FIXED;
    task->cs = KERNEL_CS;
    task->es = task->ss = task->ds = task->fs = task->gs = KERNEL_DS;
    task->esp0 = trap_stack_top();
    task->ss0 = KERNEL_DS;
    task->io_map = sizeof *task;
}

void set_task_gate(uint32_t selector, uint32_t task, uint8_t access) {
    set_descriptor(selector, task << 16, (uint32_t)access << 8);
}

void set_idt_task(unsigned vector, uint32_t task) { set_idt_gate(vector, task, 0, TASK_GATE); }

void tasks_catch(bool on) {
    static uint32_t usual[CATCHER_COUNT][2];
    for (unsigned i = 0; i < CATCHER_COUNT; i++) {
        volatile uint32_t *gate = word_at(idt_address() + vectors[i] * 8u);
        if (on) {
            usual[i][0] = gate[0], usual[i][1] = gate[1];
            set_idt_task(vectors[i], CATCHERS + 8 * i);
        } else {
            gate[0] = usual[i][0], gate[1] = usual[i][1];
        }
    }
}

/* All tasks available again, the main one in TR. */
static void become_main(void) {
    for (unsigned i = 0; i < CATCHER_COUNT; i++) {
        task_reset(&catchers[i], address_of(catcher_entries + 16 * i),
                   address_of(stacks[i] + CATCHER_STACK));
        gdt_set(CATCHERS + 8 * i, address_of(&catchers[i]), sizeof catchers[i] - 1, TSS32_AVAILABLE,
                0);
    }
    main_task.cr3 = stage.root;
    gdt_set(MAIN_TASK, address_of(&main_task), sizeof main_task - 1, TSS32_AVAILABLE, 0);
    __asm__ volatile("push $2; popfl; ltr %w0; clts; lldt %w1"
                     :
                     : "r"(MAIN_TASK), "r"(0)
                     : "memory", "cc");
    restore_stack_segment();
    if (read_cr3() != stage.root)
        write_cr3(stage.root);
}

void tasks_run(struct machine *m) {
    caught.vector = 0xff;
    guest_run(m);
    __asm__ volatile("str %0" : "=m"(task_at_end));
    __asm__ volatile("xor %0, %0; sldt %w0" : "=r"(ldt_at_end));
    cr0_at_end = read_cr0();
    cr3_at_end = read_cr3();
    main_access_at_end = access_of(MAIN_TASK);
    become_main();
}

void tasks_start(void) {
    task_reset(&main_task, 0, 0);
    become_main();
}
