/* Ways from ring 3 into the kernel and back, and an interrupt. The kernel's side is as short as it
 * can be, in assembly: what is measured is the processor's part, or its imitation. */
#include "bench/guest/nano.h"
#include "guest/lib/guest.h"

enum {
    USER_CODE = 0x40000000,
    USER_STACK = 0x40002000, /* the end of the page before it */
    USER_HOLE = 0x40004000,  /* never mapped */
    COM1 = 0x3f8,
    IER = COM1 + 1,
    MCR = COM1 + 4,
    UART_LINE = 4,
    IER_THRE = 2,
    MCR_OUT2 = 8,
};

extern struct space nano_space;
extern volatile uint32_t nano_interrupts;
void nano_skip_page_fault(void);
void nano_skip_divide(void);
void nano_return(void);
void nano_sysexit(void);
void nano_count_interrupt(void);

/* EBX counts down. EDI is where the code stands. */
SNIPPET(user_syscall, "1: mov %esp, %ecx\n"
                      "lea 2f - user_syscall(%edi), %edx\n"
                      "sysenter\n"
                      "2: dec %ebx\n"
                      "jnz 1b" DONE);
SNIPPET(user_int80, "1: int $0x80\n"
                    "dec %ebx\n"
                    "jnz 1b" DONE);
SNIPPET(user_page_fault, "1: mov (%esi), %eax\n"
                         "dec %ebx\n"
                         "jnz 1b" DONE);
SNIPPET(user_divide, "xor %ecx, %ecx\n"
                     "1: div %ecx\n"
                     "dec %ebx\n"
                     "jnz 1b" DONE);

static uint64_t run_user(const uint8_t *code, uint32_t size, uint32_t count) {
    if (!(*space_entry(&nano_space, USER_CODE) & PTE_P)) {
        space_map_new(&nano_space, USER_CODE, USER_PAGE);
        space_map_new(&nano_space, USER_STACK - PAGE_SIZE, USER_PAGE);
    }
    memcpy((void *)USER_CODE, code, size);
    struct machine machine = machine_user(USER_CODE, USER_STACK);
    machine.ebx = count, machine.edi = USER_CODE, machine.esi = USER_HOLE;
    uint64_t start = nano_tsc();
    guest_run(&machine);
    uint64_t cycles = nano_tsc() - start;
    if (machine.vector != VECTOR_DONE || machine.ebx)
        nano_fail("the user code ended by an unexpected trap");
    return cycles;
}

static uint64_t run_syscall(uint32_t count) {
    write_msr(MSR_SYSENTER_CS, KERNEL_CS);
    write_msr(MSR_SYSENTER_ESP, trap_stack_top());
    write_msr(MSR_SYSENTER_EIP, (uint32_t)(uintptr_t)nano_sysexit);
    return run_user(user_syscall, SNIPPET_SIZE(user_syscall), count);
}

static uint64_t run_int80(uint32_t count) {
    trap_set_gate(VECTOR_SYSCALL, nano_return, 3);
    return run_user(user_int80, SNIPPET_SIZE(user_int80), count);
}

static uint64_t run_page_fault(uint32_t count) {
    trap_set_gate(VECTOR_PF, nano_skip_page_fault, 0);
    return run_user(user_page_fault, SNIPPET_SIZE(user_page_fault), count);
}

static uint64_t run_divide(uint32_t count) {
    trap_set_gate(VECTOR_DE, nano_skip_divide, 0);
    return run_user(user_divide, SNIPPET_SIZE(user_divide), count);
}

/* The pair as pic_start() leaves it, but ending interrupts by itself. */
static void start_auto_eoi(void) {
    pic_start();
    outb(0x20, 0x11);
    outb(0x21, VECTOR_IRQ0);
    outb(0x21, 0x04);
    outb(0x21, 0x03); /* ICW4: 8086 mode, auto-EOI */
    outb(0x21, 0xff);
}

/* The UART's transmitter is empty: its interrupt rises when it is enabled. Two OUT an operation. */
static uint64_t run_interrupt(uint32_t count) {
    start_auto_eoi();
    trap_set_gate(VECTOR_IRQ0 + UART_LINE, nano_count_interrupt, 0);
    outb(MCR, (uint8_t)(inb(MCR) | MCR_OUT2));
    pic_unmask(UART_LINE);
    nano_interrupts = 0;
    interrupts_enable();
    uint64_t start = nano_tsc();
    for (uint32_t i = 0; i < count; i++) {
        outb(IER, IER_THRE);
        for (uint32_t spins = 0; nano_interrupts == i; spins++)
            if (spins == 100000000)
                nano_fail("interrupt: none came");
        outb(IER, 0);
    }
    uint64_t cycles = nano_tsc() - start;
    interrupts_disable();
    pic_mask(UART_LINE);
    if (nano_interrupts != count)
        nano_fail("interrupt: not as many as were raised");
    return cycles;
}

const struct nano_row nano_trap_rows[] = {
    {"syscall", run_syscall}, {"int80", run_int80},         {"pgfault", run_page_fault},
    {"divzero", run_divide},  {"interrupt", run_interrupt}, {NULL, NULL},
};
