/* Tasks: one that the guest runs in, and one for each exception that may find no usable stack, so
 * that it can be recorded in whatever state it comes. */
#ifndef RING3_TESTS_SYSTEM_TASKS_H
#define RING3_TESTS_SYSTEM_TASKS_H

#include "tests/system/record.h"

struct task32 {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};
struct task16 {
    uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
    uint16_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

enum {
    MAIN_TASK = TEST_SELECTOR,
    CATCHERS = TEST_SELECTOR + 8, /* of the tasks for #DF, #TS, #NP, #SS, #GP, #PF */
    CATCHER_COUNT = 6,
    TASKS_FREE = CATCHERS + 8 * CATCHER_COUNT, /* selectors for the subject */
    TASK_GATE = 0x85,
    TSS32_AVAILABLE = 0x89,
    TSS16_AVAILABLE = 0x81,
};

/* What such a task has found; vector 0xff: nothing, the run has ended as others do. */
struct caught {
    uint32_t vector, error, cr2;
    uint32_t task; /* the selector of what was interrupted */
};
extern struct caught caught;
extern struct task32 main_task;

void tasks_start(void);
/* Task gates for the six exceptions, or the usual ones. */
void tasks_catch(bool on);
/* Runs the image; comes back in the main task, the usual address space, with clean flags. */
void tasks_run(struct machine *m);
/* TR as the last run left it, before it was brought back. */
extern uint16_t task_at_end;
extern uint8_t main_access_at_end;
extern uint32_t cr0_at_end, cr3_at_end, ldt_at_end;
/* An idle task of 32 bits at CPL 0, to be changed. */
void task_reset(struct task32 *task, uint32_t eip, uint32_t esp);
void set_task_gate(uint32_t selector, uint32_t task, uint8_t access);
void set_idt_task(unsigned vector, uint32_t task);

#endif
