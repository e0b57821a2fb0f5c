/* Real mode, entered and left again for each try: events through the table of vectors, far
 * transfers, 16- and 32-bit operands, unreal mode, and the switches between the modes. */
#include "tests/guests/stage.h"

enum {
    CODE16_SELECTOR = FREE_SELECTOR, /* 16 bits, 64 KiB, base 0 */
    DATA16_SELECTOR = FREE_SELECTOR + 8,
    STUBS = 0x6000,      /* one of 8 bytes for each vector */
    TRAMPOLINE = 0x7000, /* must agree with the text below */
    IMAGE = 0x7e00,
    TRIED = 0x9000, /* where the code under test stands, CS 0 */
    TRIED_STACK = 0x8f00,
};

/* What is loaded before the code under test, and what an event finds. */
struct image {
    uint32_t eax, ecx, edx, ebx, esi, edi, ebp, esp;
    uint32_t eflags;
    uint16_t ds, es, ss, unused;
    uint16_t ip, cs; /* in this order: a far pointer */
    uint16_t vector, out_flags;
};

/* A function of 32-bit code at TRAMPOLINE. Paging and interrupts are off. 0x7f00 and up: what is
 * kept for the way back. */
SNIPPET(trampoline,
        "pusha; mov %esp, 0x7f00; sidt 0x7f10; sgdt 0x7f20\n"
        "lidt 0x7f30\n"
        "ljmp $0x30, $(1f - trampoline + 0x7000)\n"
        ".code16\n"
        "1: mov $0x38, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov %ax, %fs; mov %ax, %gs\n"
        "mov %cr0, %eax; and $0xfe, %al; mov %eax, %cr0\n"
        "ljmp $0, $(2f - trampoline + 0x7000)\n"
        "2: xor %ax, %ax; mov %ax, %ds; mov %ax, %fs; mov %ax, %gs\n"
        "mov 0x7e26, %es; mov 0x7e28, %ss\n"
        "mov 0x7e1c, %esp; pushl 0x7e20; popfl\n"
        "mov 0x7e00, %eax; mov 0x7e04, %ecx; mov 0x7e08, %edx; mov 0x7e0c, %ebx\n"
        "mov 0x7e10, %esi; mov 0x7e14, %edi; mov 0x7e18, %ebp; mov 0x7e24, %ds\n"
        "ljmp *%cs:0x7e2c\n"
        /* An event: the vector, IP, CS and FLAGS are on the stack. */
        "real_event:\n"
        "mov %eax, %cs:0x7e00; mov %ecx, %cs:0x7e04; mov %edx, %cs:0x7e08; mov %ebx, %cs:0x7e0c\n"
        "mov %esi, %cs:0x7e10; mov %edi, %cs:0x7e14; mov %ebp, %cs:0x7e18\n"
        "pushfl; popl %cs:0x7e20\n"
        "popw %cs:0x7e30; popw %cs:0x7e2c; popw %cs:0x7e2e; popw %cs:0x7e32\n"
        "mov %esp, %cs:0x7e1c; mov %ds, %cs:0x7e24; mov %es, %cs:0x7e26; mov %ss, %cs:0x7e28\n"
        "xor %ax, %ax; mov %ax, %ds\n"
        "lgdtl 0x7f20\n"
        "mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
        "ljmpl $0x08, $(3f - trampoline + 0x7000)\n"
        ".code32\n"
        "3: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov %eax, %fs\n"
        "mov %eax, %gs; mov 0x7f00, %esp; lidt 0x7f10; cld; popa; ret\n");
extern const uint8_t real_event[];

static volatile struct image *const image = (volatile struct image *)IMAGE;

static void write_stubs(void) {
    uint32_t event = TRAMPOLINE + (uint32_t)(real_event - trampoline);
    for (uint32_t i = 0; i < 256; i++) {
        volatile uint8_t *stub = (volatile uint8_t *)(STUBS + i * 8);
        uint32_t distance = event - (STUBS + i * 8 + 6);
        stub[0] = 0x68, stub[1] = (uint8_t)i, stub[2] = 0;
        stub[3] = 0xe9, stub[4] = (uint8_t)distance, stub[5] = (uint8_t)(distance >> 8);
        *(volatile uint32_t *)(i * 4) = STUBS + i * 8;
    }
}

static void set_table(uint32_t limit, uint32_t base) {
    *(volatile uint16_t *)0x7f30 = (uint16_t)limit;
    *(volatile uint32_t *)0x7f32 = base;
}

static void prepare(const uint8_t *code, uint32_t size) {
    memcpy((void *)TRIED, code, size);
    set_table(0x3ff, 0);
    write_stubs();
    memset((void *)IMAGE, 0, sizeof(struct image));
    image->esp = TRIED_STACK;
    image->eflags = FLAG_FIXED;
    image->ip = TRIED;
}

static void enter(void) { ((void (*)(void))TRAMPOLINE)(); }

#define TRY(name)                                                                                  \
    do {                                                                                           \
        prepare(name, SNIPPET_SIZE(name));                                                         \
        enter();                                                                                   \
    } while (0)
#define REAL(name, code) SNIPPET(name, ".code16\n" code "\n.code32")

static void expect(const char *name, uint32_t vector, uint32_t offset) {
    check_section(name);
    check("vector", vector, image->vector);
    check("ip", (TRIED + offset) & 0xffff, image->ip);
    check("cs", 0, image->cs);
    check_section(NULL);
}

REAL(arithmetic, "mov $0x1234, %ax; add $0x4321, %ax; mov $0x11112222, %ebx; inc %bx; int $0x81");
REAL(divide, "xor %dx, %dx; mov $5, %ax; xor %cl, %cl; div %cl");
REAL(undefined, "ud2");
REAL(breakpoint, "int3");
REAL(overflow, "mov $0x7f, %al; inc %al; into; hlt");
REAL(undefined_sldt, "sldt %ax");
REAL(undefined_lar, "lar %ax, %ax");
REAL(undefined_arpl, ".byte 0x63, 0xc0");
REAL(beyond_limit, "mov $0xffff, %bx; mov (%bx), %ax");
REAL(beyond_stack, "mov $0xffff, %bp; mov (%bp), %ax");
REAL(wide_offset, "mov $0x12345, %ebx; mov (%ebx), %al");
REAL(flags, "pushw $0x7202; popf; pushf; pop %ax; cli; pushf; pop %bx; int $0x81");
REAL(nested, "movw $0x9080, 0x84; movw $0, 0x86; stc; int $0x21; adc $0, %bx; int $0x81\n"
             ".org nested + 0x80; mov $0x77, %bx; clc; iret");
REAL(far_call, "lcall $0x0900, $0x40; mov $1, %cx; int $0x81\n"
               ".org far_call + 0x40; mov %cs, %bx; lret");
REAL(far_call32, "lcalll $0x0900, $0x40; mov $1, %cx; int $0x81\n"
                 ".org far_call32 + 0x40; mov %sp, %bx; lretl");
REAL(far_jump_beyond, "ljmpl $0, $0x10000");
REAL(wrap_stack,
     "mov $4, %sp; mov $0xaabbccdd, %eax; push %eax; push %eax; mov %sp, %bx; pop %ecx; int $0x81");
REAL(torn_push, "mov $2, %sp; push %eax");
REAL(string, "mov $0xa000, %di; mov $4, %cx; mov $0x5a, %al; rep stosb; int $0x81");
REAL(step, "pushw $0x0102; popf; inc %ax; inc %ax; inc %ax");
REAL(lmsw_keeps, "smsw %ax; mov %ax, %bx; mov $0, %ax; lmsw %ax; smsw %cx; int $0x81");

static void plain_code(void) {
    TRY(arithmetic);
    expect("arithmetic", VECTOR_DONE, SNIPPET_SIZE(arithmetic));
    check("ax", 0x5555, image->eax);
    check("ebx", 0x11112223, image->ebx);
    check("sp", TRIED_STACK, image->esp);
    TRY(string);
    expect("string", VECTOR_DONE, SNIPPET_SIZE(string));
    check("string.di", 0xa004, image->edi);
    check("string.memory", 0x5a5a5a5a, *(volatile uint32_t *)0xa000);
    TRY(wrap_stack);
    check("wrap.sp", 0xfffc, image->ebx);
    check("wrap.value", 0xaabbccdd, image->ecx);
    TRY(torn_push);
    expect("torn-push", VECTOR_SS, 3);
}

static void exceptions(void) {
    TRY(divide);
    expect("divide", VECTOR_DE, 7);
    TRY(undefined);
    expect("undefined", VECTOR_UD, 0);
    TRY(breakpoint);
    expect("breakpoint", VECTOR_BP, 1);
    TRY(overflow);
    expect("overflow", VECTOR_OF, 5);
    TRY(undefined_sldt);
    expect("sldt", VECTOR_UD, 0);
    TRY(undefined_lar);
    expect("lar", VECTOR_UD, 0);
    TRY(undefined_arpl);
    expect("arpl", VECTOR_UD, 0);
    TRY(beyond_limit);
    expect("limit", VECTOR_GP, 3);
    TRY(beyond_stack);
    expect("stack-limit", VECTOR_SS, 3);
    TRY(wide_offset);
    expect("wide-offset", VECTOR_GP, 6);
    TRY(far_jump_beyond);
    expect("far-jump", VECTOR_GP, 0);
    prepare(breakpoint, SNIPPET_SIZE(breakpoint));
    set_table(VECTOR_GP * 4 + 3, 0);
    memcpy((void *)TRIED, arithmetic, SNIPPET_SIZE(arithmetic)); /* ends with INT 81h */
    enter();
    expect("beyond-table", VECTOR_GP, SNIPPET_SIZE(arithmetic) - 2);
}

static void events(void) {
    TRY(flags);
    check("flags.popf", 0x7202, image->eax & 0xffff);
    check("flags.cli", 0x7002, image->ebx & 0xffff);
    TRY(nested);
    check("iret", VECTOR_DONE, image->vector);
    check("iret.flags-are-back", 0x78, image->ebx);
    TRY(step);
    expect("step", VECTOR_DB, 5);
    check("step.ax", 1, image->eax);
    check("step.pushed-tf", FLAG_TF, image->out_flags & FLAG_TF);
    check("step.cleared-tf", 0, image->eflags & FLAG_TF);
    check("step.dr6", 1u << 14, read_dr6() & 1u << 14);
}

static void far_transfers(void) {
    TRY(far_call);
    check("far-call.cs", 0x900, image->ebx);
    check("far-call.returns", 1, image->ecx);
    check("far-call.sp", TRIED_STACK, image->esp);
    TRY(far_call32);
    check("far-call32.sp", TRIED_STACK - 8, image->ebx);
    check("far-call32.returns", 1, image->ecx);
    TRY(lmsw_keeps);
    check("lmsw", image->ebx & 0xf, image->ecx & 0xf);
    check("smsw.pe", 0, image->ebx & 1);
}

/* Data segments of 4 GiB, kept through the switch to real mode. */
static void unreal(void) {
    prepare(wide_offset, SNIPPET_SIZE(wide_offset));
    memcpy((void *)(TRIED + SNIPPET_SIZE(wide_offset)), arithmetic, SNIPPET_SIZE(arithmetic));
    *(volatile uint8_t *)0x12345 = 0xa5;
    gdt_set(DATA16_SELECTOR, 0, 0xfffff, 0x93, 8);
    enter();
    gdt_set(DATA16_SELECTOR, 0, 0xffff, 0x93, 0);
    check("unreal", VECTOR_DONE, image->vector);
}

void guest_main(void) {
    pic_start();
    gdt_set(CODE16_SELECTOR, 0, 0xffff, 0x9b, 0);
    gdt_set(DATA16_SELECTOR, 0, 0xffff, 0x93, 0);
    memcpy((void *)TRAMPOLINE, trampoline, SNIPPET_SIZE(trampoline));
    plain_code();
    exceptions();
    events();
    far_transfers();
    unreal();
    check_finish("real_events");
}
