/* The machine before paging: ports one by one and in strings, memory that is not there, MSRs, HLT
 * and the timer, shadows, single steps. It is all that a KVM without 32-bit paging can run.
 *
 * With end=WHAT there are no checks, but an end: "off", "reset", "triple", "host" (an instruction
 * that software KVMs do not know), "value", "spin", or "echo": serial input by interrupts until a
 * 'q' comes, which powers off. */
#include "guest/lib/guest.h"

enum {
    UNCLAIMED_PORT = 0x5000,
    VIDEO = 0xb8000,
    LEGACY = 0xe0000, /* RAM, without firmware */
    COM1 = 0x3f8,
    COM1_IRQ = 4,
    ACPI_CONTROL = 0x604,
    ACPI_OFF = 5 << 10 | 1 << 13,
    MSR_UNKNOWN = 0x12345,
    MSR_PAT = 0x277,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_BIOS_SIGN_ID = 0x8b,
    TICKS = 5,
};
#define UNCLAIMED_MEMORY 0xf0000000u

static uint8_t stack[4096] __attribute__((aligned(16)));
static uint32_t buffer[64];

/* Gates that come back without IRET, which software KVMs do not know in protected mode: the frame
 * is thrown away, and what follows `resume_at` goes on, with IF clear. */
uint32_t resume_at, ticks;
void fault_entry(void);
void tick_entry(void);
void resume(void);
__asm__(".pushsection .text\n"
        "fault_entry: add $4, %esp\n"
        "resume: add $12, %esp; jmp *resume_at\n"
        "tick_entry: incl ticks; push %eax; mov $0x20, %al; out %al, $0x20; pop %eax; jmp resume\n"
        ".popsection");
static void ports(void) {
    uint32_t value = 0x12345678, count = 7;
    uint8_t *to = (uint8_t *)buffer;
    const uint8_t *from = (const uint8_t *)buffer;
    __asm__ volatile("inb %w1, %b0" : "+a"(value) : "d"(UNCLAIMED_PORT));
    check("in.byte", 0x123456ff, value);
    __asm__ volatile("inw %w1, %w0" : "+a"(value) : "d"(UNCLAIMED_PORT));
    check("in.word", 0x1234ffff, value);
    __asm__ volatile("inl %w1, %0" : "+a"(value) : "d"(UNCLAIMED_PORT));
    check("in.dword", 0xffffffff, value);
    memset(buffer, 0, sizeof buffer);
    __asm__ volatile("cld; rep insw" : "+D"(to), "+c"(count) : "d"(UNCLAIMED_PORT) : "memory");
    check("insw.ecx", 0, count);
    check("insw.edi", 14, (uint32_t)(to - (uint8_t *)buffer));
    check("insw.last", 0x0000ffff, buffer[3]);
    count = 2, to = (uint8_t *)(buffer + 9);
    __asm__ volatile("std; rep insl; cld" : "+D"(to), "+c"(count) : "d"(UNCLAIMED_PORT) : "memory");
    check("insl.down", address_of(buffer + 7), address_of(to));
    check("insl.last", 0xffffffff, buffer[8]);
    check("insl.beyond", 0, buffer[7] | buffer[10]);
    count = 40;
    __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(0x80) : "memory");
    check("outsb.ecx", 0, count);
    check("outsb.esi", 40, (uint32_t)(from - (const uint8_t *)buffer));
    outb(0x70, 0x0f); /* a byte of the clock's memory */
    outb(0x71, 0xa5);
    outb(0x70, 0x0f);
    check("clock-memory", 0xa5, inb(0x71));
}

static void memory(void) {
    volatile uint32_t *nothing = (volatile uint32_t *)UNCLAIMED_MEMORY;
    volatile uint32_t *video = (volatile uint32_t *)VIDEO, *low = (volatile uint32_t *)LEGACY;
    check("unclaimed.read", 0xffffffff, *nothing);
    *nothing = 0;
    check("unclaimed.write-vanishes", 0xffffffff, *nothing);
    check("unclaimed.byte", 0xff, *((volatile uint8_t *)nothing + 3));
    check("unclaimed.across", 0xffffffff, *(volatile uint32_t *)(UNCLAIMED_MEMORY + 4094));
    *video = 0x07410742;
    check("video", 0x07410742, *video);
    *low = 0x12345678;
    check("legacy", 0x12345678, *low);
    memset(buffer, 0, sizeof buffer);
    const void *from = (const void *)UNCLAIMED_MEMORY;
    void *to = buffer;
    uint32_t count = 16;
    __asm__ volatile("cld; rep movsl" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    check("unclaimed.string", 0xffffffff, buffer[15]);
    check("unclaimed.string-end", 0, buffer[16]);
}

static uint32_t read_faults(uint32_t msr) {
    uint32_t fault;
    __asm__ volatile("movl $1f, resume_at; xor %%edi, %%edi; rdmsr; jmp 2f; 1: inc %%edi; 2:"
                     : "=&D"(fault)
                     : "c"(msr)
                     : "eax", "edx", "memory", "cc");
    return fault;
}

static uint32_t write_faults(uint32_t msr, uint32_t low) {
    uint32_t fault;
    __asm__ volatile("movl $1f, resume_at; xor %%edi, %%edi; wrmsr; jmp 2f; 1: inc %%edi; 2:"
                     : "=&D"(fault)
                     : "c"(msr), "a"(low), "d"(0)
                     : "memory", "cc");
    return fault;
}

static void msrs(void) {
    trap_set_gate(VECTOR_GP, fault_entry, 0);
    check("msr.unknown-read", 1, read_faults(MSR_UNKNOWN));
    check("msr.unknown-write", 1, write_faults(MSR_UNKNOWN, 0));
    check("msr.sysenter-esp", 0, write_faults(MSR_SYSENTER_ESP, 0x12345678));
    check("msr.sysenter-esp-value", 0x12345678, (uint32_t)read_msr(MSR_SYSENTER_ESP));
    check("msr.misc-enable", 1, read_msr(MSR_MISC_ENABLE) & 1);
    check("msr.bios-sign-id", 0, write_faults(MSR_BIOS_SIGN_ID, 0));
    uint64_t pat = read_msr(MSR_PAT);
    check("msr.pat-type-2", 1, write_faults(MSR_PAT, 2));
    check_true("msr.pat-stays", read_msr(MSR_PAT) == pat);
    check("msr.efer-reserved", 1, write_faults(MSR_EFER, 1u << 20));
    if (cpuid(0x80000001).edx & CPUID_NX) {
        write_msr(MSR_EFER, EFER_NXE);
        check("msr.efer", EFER_NXE, (uint32_t)read_msr(MSR_EFER));
        write_msr(MSR_EFER, 0);
    }
    check("msr.efer-reset", 0, (uint32_t)read_msr(MSR_EFER));
}

static void cpu_model(void) {
    struct cpuid id = cpuid(0);
    check_true("cpuid.leaves", id.eax >= 1 && id.eax < 0x100);
    check_true("cpuid.stable", id.ebx == cpuid(0).ebx);
    check_true("cpuid.hypervisor", cpuid(1).ecx >> 31);
    check_true("cpuid.no-apic", !(cpuid(1).edx & 1u << 9));
    check_true("cpuid.no-long-mode", !(cpuid(0x80000001).edx & 1u << 29));
    uint32_t low, high, again;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    __asm__ volatile("rdtsc" : "=a"(again), "=d"(high));
    check_true("rdtsc.grows", again - low < 1u << 31);
}

/* Is the timer's interrupt requested, and not yet taken? */
static bool is_tick_pending(void) {
    outb(0x20, 0x0a);
    return inb(0x20) & 1;
}

static void interrupts(void) {
    pic_start();
    trap_set_gate(VECTOR_IRQ0, tick_entry, 0);
    pit_start(100);
    pic_unmask(0);
    for (unsigned i = 0; i < TICKS; i++)
        __asm__ volatile("movl $1f, resume_at; sti; hlt; ud2; 1:" : : : "memory");
    check("timer.wakes", TICKS, ticks);
    for (unsigned i = 0; i < TICKS; i++) /* without HLT, between instructions */
        __asm__ volatile("movl $1f, resume_at; sti; 0: jmp 0b; 1:" : : : "memory");
    check("timer.interrupts", 2 * TICKS, ticks);
    while (!is_tick_pending())
        ;
    check("timer.masked-by-if", 2 * TICKS, ticks);
    __asm__ volatile("movl $1f, resume_at; sti; cli; 1:" : : : "memory");
    check("timer.shadow", 2 * TICKS, ticks);
    uint32_t passed = 0;
    __asm__ volatile("movl $1f, resume_at; sti; nop; 0: inc %0; cmp $10000, %0; jb 0b; cli; 1:"
                     : "+r"(passed)
                     :
                     : "memory", "cc");
    check("timer.pending", 2 * TICKS + 1, ticks);
    if (!guest_option("no-iret")) /* where instructions are interpreted in batches, it is later */
        check("timer.after-one", 0, passed);
    pic_mask(0);
}

static struct machine run(unsigned ring, const uint8_t *code, uint32_t eax, uint32_t ecx) {
    uint32_t top = address_of(stack + sizeof stack);
    struct machine m =
        ring ? machine_user(address_of(code), top) : machine_kernel(address_of(code), top);
    m.eax = eax, m.ecx = ecx;
    guest_run(&m);
    return m;
}

SNIPPET(divide, "xor %ecx, %ecx; div %ecx" DONE);
SNIPPET(undefined, "ud2");
SNIPPET(breakpoint, "int3");
SNIPPET(overflow, "mov $0x7fffffff, %eax; inc %eax; into" DONE);
SNIPPET(halt, "hlt" DONE);
SNIPPET(bad_selector, "mov $0xfff8, %ax; mov %ax, %es" DONE);
SNIPPET(system_call, "int $0x80" DONE);

static void traps(unsigned ring) {
    check_variant(ring ? "ring3" : "ring0");
    struct machine m = run(ring, divide, 1, 0);
    check_trap("divide", &m, VECTOR_DE, 0, address_of(divide) + 2);
    m = run(ring, undefined, 0, 0);
    check_trap("undefined", &m, VECTOR_UD, 0, address_of(undefined));
    m = run(ring, breakpoint, 0, 0);
    check_trap("breakpoint", &m, VECTOR_BP, 0, address_of(breakpoint) + 1);
    m = run(ring, overflow, 0, 0);
    check_trap("overflow", &m, VECTOR_OF, 0, address_of(overflow) + 7);
    m = run(ring, bad_selector, 0, 0);
    check_trap("selector", &m, VECTOR_GP, 0xfff8, address_of(bad_selector) + 4);
    if (ring) {
        m = run(ring, halt, 0, 0);
        check_trap("halt", &m, VECTOR_GP, 0, address_of(halt));
    }
    m = run(ring, system_call, 0, 0);
    check_trap("int", &m, VECTOR_SYSCALL, 0, address_of(system_call) + 2);
    check_variant(NULL);
}

SNIPPET(step, "nop; nop" DONE);

static void single_step(void) {
    struct machine m = machine_kernel(address_of(step), address_of(stack + sizeof stack));
    m.eflags |= FLAG_TF;
    guest_run(&m);
    check_trap("step", &m, VECTOR_DB, 0, address_of(step) + 1);
    check("step.dr6", 0x4000, read_dr6() & 0xe00f);
    write_dr6(0xffff0ff0);
}

void input_entry(void);
__asm__(".pushsection .text\ninput_entry: push %eax; mov $0x20, %al; out %al, $0x20; pop %eax; jmp "
        "resume\n.popsection");

static void echo(void) {
    pic_start();
    trap_set_gate(VECTOR_IRQ0 + COM1_IRQ, input_entry, 0);
    outb(COM1 + 1, 1);    /* received data */
    outb(COM1 + 4, 0x0b); /* OUT2: interrupts reach the 8259 */
    pic_unmask(COM1_IRQ);
    print("ready\n");
    for (;;) {
        __asm__ volatile("movl $1f, resume_at; sti; hlt; ud2; 1:" : : : "memory");
        while (inb(COM1 + 5) & 1) {
            char c = (char)inb(COM1);
            if (c == 'q')
                __asm__ volatile("outw %w0, %w1" : : "a"(ACPI_OFF), "d"(ACPI_CONTROL));
            print_char(c);
        }
    }
}

static void end(const char *what) {
    static const uint8_t no_table[6];
    switch (*what) {
    case 'o':
        __asm__ volatile("outw %w0, %w1" : : "a"(ACPI_OFF), "d"(ACPI_CONTROL));
        break;
    case 'r':
        outb(0x64, 0xfe);
        break;
    case 't':
        __asm__ volatile("lidt %0; ud2" : : "m"(no_table), "a"(0x600d600d));
        break;
    case 'h':
        __asm__ volatile("fninit; fldpi" : : : "memory");
        break;
    case 'e':
        echo();
        break;
    case 's':
        for (;;)
            ;
    default:
        break;
    }
    guest_exit(20);
}

void guest_main(void) {
    const char *how = guest_option("end");
    if (how)
        end(how);
    ports();
    memory();
    msrs();
    cpu_model();
    interrupts();
    trap_start(); /* its own gates again */
    if (guest_option("no-iret"))
        check_finish("unpaged");
    traps(0);
    traps(3);
    single_step();
    check_finish("unpaged");
}
