/* A tour of the other modes: 16-bit protected, real, and virtual-8086 with a small monitor. */
#include "guest/demo.h"

enum {
    CODE16 = FREE_SELECTOR,
    DATA16 = FREE_SELECTOR + 8,
    LOW = 0x8000, /* where the 16-bit code runs, with its stack and results on the same page */
    SUPERVISOR_PAGE = 0x9000,
    STACK16 = 0x8ff0,
};

enum result {
    PROTECTED_SP,
    PROTECTED_POP,
    PROTECTED_LOOP,
    PROTECTED_PE,
    REAL_PE,
    REAL_INTERRUPT,
    REAL_WRAP,
    REAL_STRING,
    V86_FLAGS,
    V86_CLI,
    V86_STI,
    V86_INTERRUPT,
    V86_PORT,
    V86_FAULT,
};

extern const uint8_t modes16[], modes16_end[], modes16_v86[];
void modes_real(void);
void modes_v86(uint32_t ip);
void modes_v86_leave(void);

static uint32_t low_base; /* 0; unknown to the compiler, which trusts no pointer to it otherwise */
static volatile uint16_t *results(void) { return (volatile uint16_t *)(low_base + LOW + 0xe00); }

static void copy_code(void) {
    __asm__ volatile("" : "=r"(low_base) : "0"(0));
    memcpy((void *)(low_base + LOW), modes16, (size_t)(modes16_end - modes16));
    memset((void *)(low_base + LOW + 0xe00), 0, 0x100);
}

void show_real_mode(void) {
    gdt_set(CODE16, 0, 0xffff, 0x9b, 0);
    gdt_set(DATA16, 0, 0xffff, 0x93, 0);
    copy_code();
    modes_real();
    volatile uint16_t *r = results();
    check("protected16.sp", STACK16 - 2, r[PROTECTED_SP]);
    check("protected16.pop", 0x1234, r[PROTECTED_POP]);
    check("protected16.loop", 15, r[PROTECTED_LOOP]);
    check("protected16.pe", 1, r[PROTECTED_PE]);
    check("real.pe", 0, r[REAL_PE]);
    check("real.interrupt", 0x2345, r[REAL_INTERRUPT]);
    check("real.one-mib", 0, r[REAL_WRAP]);
    check("real.string", LOW + 0xe00 + 0x80 + 32, r[REAL_STRING]);
    check_true("real.string-copied", !memcmp((void *)(low_base + LOW + 0xe80), modes16, 32));
    gdt_set(CODE16, 0, 0, 0, 0);
    gdt_set(DATA16, 0, 0, 0, 0);
}

/* What the monitor keeps for its task, and saw of it. */
static struct {
    bool interrupts; /* the task's IF */
    unsigned trapped, faults;
    uint8_t port;
    uint32_t fault_error, fault_address;
    struct demo_space *demo;
} monitor;

static void push16(struct trap_frame *f, uint32_t value) {
    f->esp = (f->esp - 2) & 0xffff;
    *(volatile uint16_t *)(low_base + f->ss * 16 + f->esp) = (uint16_t)value;
}

static uint16_t pop16(struct trap_frame *f) {
    uint16_t value = *(volatile uint16_t *)(low_base + f->ss * 16 + f->esp);
    f->esp = (f->esp + 2) & 0xffff;
    return value;
}

static uint32_t task_flags(const struct trap_frame *f) {
    return (f->eflags & 0xffff & ~(uint32_t)FLAG_IF) | (monitor.interrupts ? FLAG_IF : 0u);
}

static void set_task_flags(struct trap_frame *f, uint16_t flags) {
    monitor.interrupts = flags & FLAG_IF;
    f->eflags = (f->eflags & ~(uint32_t)FLAGS_ARITHMETIC) | (flags & FLAGS_ARITHMETIC);
}

static void reflect(struct trap_frame *f, uint8_t vector) {
    volatile uint16_t *entry = (volatile uint16_t *)(low_base + vector * 4u);
    push16(f, task_flags(f));
    push16(f, f->cs);
    push16(f, f->eip);
    monitor.interrupts = false;
    f->eip = entry[0];
    f->cs = entry[1];
}

/* Ends the task: the trap returns into the kernel. */
static void leave(struct trap_frame *f) {
    f->eip = address_of((const void *)(uintptr_t)modes_v86_leave);
    f->cs = KERNEL_CS;
    f->eflags &= ~(uint32_t)FLAG_VM & ~(uint32_t)FLAG_IF;
    f->ds = f->es = f->fs = f->gs = KERNEL_DS;
}

/* #GP of the task: an instruction that IOPL 0 keeps from it. False: not one that we know. */
static bool emulate(struct trap_frame *f) {
    const volatile uint8_t *code = (const volatile uint8_t *)(low_base + f->cs * 16 + f->eip);
    if (!(f->eflags & FLAG_VM))
        return false;
    monitor.trapped++;
    f->eip++;
    switch (code[0]) {
    case 0xfa:
        monitor.interrupts = false;
        return true;
    case 0xfb:
        monitor.interrupts = true;
        return true;
    case 0x9c:
        push16(f, task_flags(f));
        return true;
    case 0xcd:
        f->eip++;
        reflect(f, code[1]);
        return true;
    case 0xcf:
        f->eip = pop16(f);
        f->cs = pop16(f);
        set_task_flags(f, pop16(f));
        return true;
    case 0xe4:
        f->eip++;
        f->eax = (f->eax & ~0xffu) | (uint8_t)~monitor.port;
        return true;
    case 0xe6:
        f->eip++;
        monitor.port = (uint8_t)f->eax;
        return true;
    case 0xf4:
        leave(f);
        return true;
    default:
        return false;
    }
}

/* The first touch of the supervisor's page gives it to the task. */
static bool give_page(struct trap_frame *f) {
    monitor.faults++;
    monitor.fault_error = f->error;
    monitor.fault_address = read_cr2();
    if (!(f->eflags & FLAG_VM) || monitor.faults > 1)
        return false;
    space_map(&monitor.demo->space, SUPERVISOR_PAGE, SUPERVISOR_PAGE, USER_PAGE);
    invlpg(SUPERVISOR_PAGE);
    return true;
}

void show_virtual_8086(struct demo_space *demo) {
    copy_code();
    memset(&monitor, 0, sizeof monitor);
    monitor.interrupts = true;
    monitor.demo = demo;
    space_map(&demo->space, 0, 0, USER_PAGE);
    space_map(&demo->space, LOW, LOW, USER_PAGE);
    space_map(&demo->space, SUPERVISOR_PAGE, SUPERVISOR_PAGE, KERNEL_PAGE);
    space_enter(&demo->space);
    trap_set_handler(VECTOR_GP, emulate);
    trap_set_handler(VECTOR_PF, give_page);
    modes_v86(LOW + (uint32_t)(modes16_v86 - modes16));
    trap_set_handler(VECTOR_GP, NULL);
    trap_set_handler(VECTOR_PF, NULL);
    volatile uint16_t *r = results();
    check("v86.flags", FLAG_IF, r[V86_FLAGS] & (FLAG_IF | FLAG_IOPL));
    check("v86.cli", 0, r[V86_CLI] & FLAG_IF);
    check("v86.sti", FLAG_IF, r[V86_STI] & FLAG_IF);
    check("v86.interrupt", 0x1235, r[V86_INTERRUPT]);
    check("v86.port", 0xa5, r[V86_PORT] & 0xff);
    check("v86.fault", 0x4321, r[V86_FAULT]);
    check("v86.fault-error", PF_PRESENT | PF_WRITE | PF_USER, monitor.fault_error);
    check("v86.fault-address", SUPERVISOR_PAGE, monitor.fault_address);
    check("v86.trapped", 10, monitor.trapped);
}
