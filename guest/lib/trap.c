/* GDT, IDT and TSS, the dispatch of traps, and guest_run().
 *
 * Traps from ring 3 land on a stack of their own, so the C code that called guest_run() finds its
 * stack as it left it. Traps from ring 0 stay on the stack that the running code has. */
#include "guest/lib/trap.h"

#include <stddef.h>

#include "guest/lib/check.h"
#include "guest/lib/console.h"
#include "guest/lib/cpu.h"

struct descriptor {
    uint16_t limit_low, base_low;
    uint8_t base_middle, access, limit_flags, base_high;
};

struct gate {
    uint16_t offset_low, selector;
    uint8_t zero, access;
    uint16_t offset_high;
};

struct table_pointer {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

struct tss {
    uint32_t link, esp0, ss0, unused[22];
    uint16_t trap, io_map;
};
_Static_assert(sizeof(struct tss) == 104, "a 32-bit TSS has 104 bytes");

extern const uint8_t trap_entries[];
void run_enter(struct trap_frame *frame);
__attribute__((noreturn)) void run_leave(void);
void trap_dispatch(struct trap_frame *frame);

static struct descriptor gdt[GDT_ENTRIES] __attribute__((aligned(16)));
static struct gate idt[256] __attribute__((aligned(16)));
static struct tss tss __attribute__((aligned(128)));
static uint8_t trap_stack[16384] __attribute__((aligned(16)));
static trap_handler handlers[VECTOR_SYSENTER + 1];
static struct machine *running;

uint32_t gdt_address(void) { return address_of(gdt); }
uint32_t gdt_limit(void) { return sizeof gdt - 1; }
uint32_t idt_address(void) { return address_of(idt); }
uint32_t trap_stack_top(void) { return address_of(trap_stack + sizeof trap_stack); }

void gdt_set(unsigned selector, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags) {
    gdt[selector / 8] = (struct descriptor){
        .limit_low = (uint16_t)limit,
        .base_low = (uint16_t)base,
        .base_middle = (uint8_t)(base >> 16),
        .access = access,
        .limit_flags = (uint8_t)((limit >> 16 & 15) | (uint32_t)flags << 4),
        .base_high = (uint8_t)(base >> 24),
    };
}

void trap_set_gate(unsigned vector, void (*entry)(void), unsigned dpl) {
    uint32_t offset = (uint32_t)(uintptr_t)entry;
    idt[vector] = (struct gate){
        .offset_low = (uint16_t)offset,
        .selector = KERNEL_CS,
        .access = (uint8_t)(0x8e | dpl << 5),
        .offset_high = (uint16_t)(offset >> 16),
    };
}

void trap_set_handler(unsigned vector, trap_handler handler) { handlers[vector] = handler; }

static bool open_to_users(unsigned vector) {
    return vector == VECTOR_BP || vector == VECTOR_OF || vector == VECTOR_SYSCALL ||
           vector == VECTOR_DONE;
}

static void load_tables(void) {
    struct table_pointer gdtr = {sizeof gdt - 1, gdt_address()};
    struct table_pointer idtr = {sizeof idt - 1, idt_address()};
    __asm__ volatile("lgdt %0\n"
                     "lidt %1\n"
                     "ljmp $0x08, $1f\n"
                     "1: mov %2, %%ds\n"
                     "mov %2, %%es\n"
                     "mov %2, %%ss\n"
                     "mov %2, %%fs\n"
                     "mov %2, %%gs\n"
                     "lldt %w3\n"
                     "ltr %w4\n"
                     :
                     : "m"(gdtr), "m"(idtr), "r"(KERNEL_DS), "r"(0), "r"(TSS_SELECTOR)
                     : "memory");
}

void trap_start(void) {
    /* Accessed bits are set beforehand: the CPU then never writes these descriptors. */
    gdt_set(KERNEL_CS, 0, 0xfffff, 0x9b, 0xc);
    gdt_set(KERNEL_DS, 0, 0xfffff, 0x93, 0xc);
    gdt_set(USER_CS, 0, 0xfffff, 0xfb, 0xc);
    gdt_set(USER_DS, 0, 0xfffff, 0xf3, 0xc);
    gdt_set(TSS_SELECTOR, address_of(&tss), sizeof tss - 1, 0x89, 0);
    tss.esp0 = trap_stack_top();
    tss.ss0 = KERNEL_DS;
    tss.io_map = sizeof tss;
    for (unsigned i = 0; i < 256; i++)
        trap_set_gate(i, (void (*)(void))(uintptr_t)(trap_entries + 16 * i),
                      open_to_users(i) ? 3 : 0);
    load_tables();
}

static void take_image(struct machine *m, const struct trap_frame *f, uint32_t cr2) {
    bool vm86 = f->eflags & FLAG_VM;
    bool outer = vm86 || (f->cs & 3) != 0; /* it came from outside ring 0: SS and ESP are there */
    *m = (struct machine){
        f->eax,
        f->ecx,
        f->edx,
        f->ebx,
        outer ? f->esp : address_of(&f->esp),
        f->ebp,
        f->esi,
        f->edi,
        f->eip,
        f->eflags,
        (uint16_t)f->cs,
        (uint16_t)(outer ? f->ss : KERNEL_DS),
        (uint16_t)(vm86 ? f->v86_ds : f->ds),
        (uint16_t)(vm86 ? f->v86_es : f->es),
        (uint16_t)(vm86 ? f->v86_fs : f->fs),
        (uint16_t)(vm86 ? f->v86_gs : f->gs),
        f->vector,
        f->error,
        cr2,
    };
}

static void report_unexpected(const struct trap_frame *f) {
    print("FAIL unexpected trap %u error %x at %x:%08x flags %08x cr2 %08x\n", f->vector, f->error,
          f->cs, f->eip, f->eflags, read_cr2());
    print("     eax %08x ecx %08x edx %08x ebx %08x\n", f->eax, f->ecx, f->edx, f->ebx);
    print("     ebp %08x esi %08x edi %08x\n", f->ebp, f->esi, f->edi);
    guest_exit(1);
}

/* Called from trap.S. Returns to the interrupted code, or leaves guest_run(). */
void trap_dispatch(struct trap_frame *frame) {
    uint32_t cr2 = read_cr2();
    if (frame->vector <= VECTOR_SYSENTER && handlers[frame->vector] &&
        handlers[frame->vector](frame))
        return;
    if (!running)
        report_unexpected(frame);
    take_image(running, frame, cr2);
    running = NULL;
    run_leave();
}

struct machine machine_kernel(uint32_t eip, uint32_t esp) {
    return (struct machine){.eip = eip,
                            .esp = esp,
                            .eflags = FLAG_FIXED,
                            .cs = KERNEL_CS,
                            .ss = KERNEL_DS,
                            .ds = KERNEL_DS,
                            .es = KERNEL_DS,
                            .fs = KERNEL_DS,
                            .gs = KERNEL_DS};
}

struct machine machine_user(uint32_t eip, uint32_t esp) {
    return (struct machine){.eip = eip,
                            .esp = esp,
                            .eflags = FLAG_FIXED,
                            .cs = USER_CS,
                            .ss = USER_DS,
                            .ds = USER_DS,
                            .es = USER_DS,
                            .fs = USER_DS,
                            .gs = USER_DS};
}

struct machine machine_v86(uint16_t cs, uint16_t ip, uint16_t ss, uint16_t sp) {
    return (struct machine){.eip = ip,
                            .esp = sp,
                            .eflags = FLAG_FIXED | FLAG_VM | FLAG_IOPL,
                            .cs = cs,
                            .ss = ss,
                            .ds = ss,
                            .es = ss,
                            .fs = ss,
                            .gs = ss};
}

void guest_run(struct machine *m) {
    bool vm86 = m->eflags & FLAG_VM, outer = vm86 || (m->cs & 3);
    struct trap_frame on_own_stack;
    /* IRET within ring 0 pops three words: the frame ends where the code's stack begins. */
    struct trap_frame *frame =
        outer ? &on_own_stack : (struct trap_frame *)(m->esp - offsetof(struct trap_frame, esp));
    frame->gs = m->gs, frame->fs = m->fs, frame->es = m->es, frame->ds = m->ds;
    if (vm86) {
        frame->v86_gs = m->gs, frame->v86_fs = m->fs, frame->v86_es = m->es, frame->v86_ds = m->ds;
        frame->gs = frame->fs = frame->es = frame->ds = 0;
    }
    frame->edi = m->edi, frame->esi = m->esi, frame->ebp = m->ebp, frame->ebx = m->ebx;
    frame->edx = m->edx, frame->ecx = m->ecx, frame->eax = m->eax;
    frame->eip = m->eip, frame->cs = m->cs, frame->eflags = m->eflags;
    if (outer)
        frame->esp = m->esp, frame->ss = m->ss;
    running = m;
    run_enter(frame);
}

void check_trap(const char *name, const struct machine *m, uint32_t vector, uint32_t error,
                uint32_t eip) {
    if (!check_verdict(name, m->vector == vector && m->error == error && m->eip == eip))
        print(" expected %u(%x) at %08x got %u(%x) at %08x\n", vector, error, eip, m->vector,
              m->error, m->eip);
}

void check_trap_unless_tcg(const char *name, const struct machine *m, uint32_t vector,
                           uint32_t error, uint32_t eip) {
    bool good = m->vector == vector && m->error == error && m->eip == eip;
    if (good || !check_under_tcg()) {
        check_trap(name, m, vector, error, eip);
        return;
    }
    check_verdict(name, true);
    print("   (hardware gives %u(%x) at %08x, TCG %u(%x) at %08x)\n", vector, error, eip, m->vector,
          m->error, m->eip);
}
