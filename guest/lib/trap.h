/* Descriptor tables, traps, and running a piece of code until it traps.
 *
 * guest_run() is what most checks are made of: it loads a full register image, enters ring 0 or
 * ring 3 with it, and comes back with the image as it was when an exception (or the ending
 * `int $0x81`) arrived. Interrupts with a handler are served on the way. */
#ifndef RING3_GUEST_TRAP_H
#define RING3_GUEST_TRAP_H

#include <stdbool.h>
#include <stdint.h>

enum {
    KERNEL_CS = 0x08,
    KERNEL_DS = 0x10, /* the four in the order that SYSENTER and SYSEXIT ask for */
    USER_CS = 0x18 | 3,
    USER_DS = 0x20 | 3,
    TSS_SELECTOR = 0x28,
    FREE_SELECTOR = 0x30, /* from here on for the tests: gdt_set() */
    GDT_ENTRIES = 32,
};

enum {
    VECTOR_IRQ0 = 0x20,
    VECTOR_SYSCALL = 0x80,
    VECTOR_DONE = 0x81,      /* how code under guest_run() says that it has ended */
    VECTOR_SYSENTER = 0x100, /* not a vector: marks frames that SYSENTER made */
};

/* What the entry code in trap.S pushes. `esp` and `ss` are there only when CPL was 3, what follows
 * them only when it was virtual-8086 mode. */
struct trap_frame {
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, unused, ebx, edx, ecx, eax;
    uint32_t vector, error;
    uint32_t eip, cs, eflags, esp, ss;
    uint32_t v86_es, v86_ds, v86_fs, v86_gs;
};

/* A register image. guest_run() reads all but the last three and writes all. */
struct machine {
    uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t eip, eflags;
    uint16_t cs, ss, ds, es, fs, gs;
    uint32_t vector, error, cr2;
};

/* Called with the frame; true: return to where the trap came from, with the frame as changed. */
typedef bool (*trap_handler)(struct trap_frame *frame);

/* Fills and loads GDT, IDT and TSS. The IDT gates of #BP, #OF, 0x80 and 0x81 have DPL 3. */
void trap_start(void);
void trap_set_handler(unsigned vector, trap_handler handler);
void trap_set_gate(unsigned vector, void (*entry)(void), unsigned dpl);
/* access: the byte with P, DPL, S and type; flags: G, D/B, L, AVL in bits 3..0. */
void gdt_set(unsigned selector, uint32_t base, uint32_t limit, uint8_t access, uint8_t flags);
uint32_t gdt_address(void);
uint32_t gdt_limit(void);
uint32_t idt_address(void);
/* Where the CPU and SYSENTER put the stack pointer on the way into ring 0. */
uint32_t trap_stack_top(void);
void sysenter_entry(void);

/* A machine in virtual-8086 mode, IOPL 3, IF clear; its data segments are SS. */
struct machine machine_v86(uint16_t cs, uint16_t ip, uint16_t ss, uint16_t sp);
/* A machine in the ring asked for: flat segments, zeroed registers, IF clear. */
struct machine machine_kernel(uint32_t eip, uint32_t esp);
struct machine machine_user(uint32_t eip, uint32_t esp);
void guest_run(struct machine *machine);
/* One check: the trap that ended a run is this one, here. */
void check_trap(const char *name, const struct machine *machine, uint32_t vector, uint32_t error,
                uint32_t eip);
/* As check_trap, for what QEMU's TCG is known not to do as hardware does: there, and only there,
 * whatever it does is accepted, with a note. */
void check_trap_unless_tcg(const char *name, const struct machine *machine, uint32_t vector,
                           uint32_t error, uint32_t eip);

/* A piece of position-independent assembly, kept in .text as bytes to copy or to run in place. */
#define SNIPPET(name, code)                                                                        \
    __asm__(".pushsection .text\n" #name ":\n" code "\n" #name "_end:\n.popsection");              \
    extern const uint8_t name[], name##_end[]
#define DONE "\nint $0x81\n"
#define SNIPPET_SIZE(name) ((uint32_t)(name##_end - name))

static inline uint32_t address_of(const volatile void *p) { return (uint32_t)(uintptr_t)p; }

#endif
