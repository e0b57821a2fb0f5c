/* The bridge between protected and real mode (real.h). */
#include "tests/guests/real.h"

#include <stddef.h>

enum {
    BRIDGE = 0x30000,
    IMAGE = BRIDGE + 0x3800, /* in a page without code */
    STUBS = BRIDGE + 0x1000, /* 16 bytes a vector */
    CODE_SELECTOR = 0xe0,    /* 16-bit, base BRIDGE */
    DATA_SELECTOR = 0xe8,    /* 16-bit, base 0 */
};
_Static_assert(offsetof(struct real, ds) == 32 && offsetof(struct real, unreal) == 50,
               "the assembly below knows the offsets");

/* real_enter: the image is in place. Selectors and addresses are those of the lists above. */
__asm__(".text\n"
        "real_enter:\n"
        "  pusha\n"
        "  mov %esp, real_stack\n"
        "  sidt real_idt\n"
        "  lidt real_ivt\n"
        "  ljmp $0xe0, $0\n"
        "real_back: cld\n"
        "  mov $0x10, %eax\n"
        "  mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov %eax, %fs; mov %eax, %gs\n"
        "  mov real_stack, %esp\n"
        "  lidt real_idt\n"
        "  popa\n"
        "  ret\n"
        ".code16\n"
        "bridge:\n"
        "  mov $0xe8, %ax\n"
        "  mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov %ax, %fs; mov %ax, %gs\n"
        "  mov $0x10, %ax\n"
        "  testw $1, %cs:(0x3800+50)\n"
        "  jz 1f\n"
        "  mov %ax, %ds\n"
        "1: mov %cr0, %eax\n"
        "  and $~1, %al\n"
        "  mov %eax, %cr0\n"
        "  ljmp $0x3000, $2f-bridge\n"
        "2: lss %cs:(bridge_stack-bridge), %sp\n"
        "  mov %cs:(0x3800), %eax; mov %cs:(0x3804), %ecx; mov %cs:(0x3808), %edx\n"
        "  mov %cs:(0x380c), %ebx; mov %cs:(0x3814), %ebp; mov %cs:(0x3818), %esi\n"
        "  mov %cs:(0x381c), %edi; mov %cs:(0x3822), %es; mov %cs:(0x3826), %fs\n"
        "  mov %cs:(0x3828), %gs; mov %cs:(0x3820), %ds\n"
        "  mov %cs:(0x3824), %ss; mov %cs:(0x3810), %esp\n"
        "  ljmp *%cs:(0x382a)\n"
        "bridge_stack: .word 0x7f0, 0x3000\n"
        "bridge_out:\n" /* the vector is noted; FLAGS, CS and IP are on the stack */
        "  mov %eax, %cs:(0x3800); mov %ecx, %cs:(0x3804); mov %edx, %cs:(0x3808)\n"
        "  mov %ebx, %cs:(0x380c); mov %ebp, %cs:(0x3814); mov %esi, %cs:(0x3818)\n"
        "  mov %edi, %cs:(0x381c); mov %ds, %cs:(0x3820); mov %es, %cs:(0x3822)\n"
        "  mov %ss, %cs:(0x3824); mov %fs, %cs:(0x3826); mov %gs, %cs:(0x3828)\n"
        "  popw %cs:(0x382a); popw %cs:(0x382c); popw %cs:(0x382e); mov %esp, %cs:(0x3810)\n"
        "  mov %cr0, %eax\n"
        "  or $1, %al\n"
        "  mov %eax, %cr0\n"
        "  ljmpl $0x08, $real_back\n"
        "bridge_end:\n"
        ".code32\n"
        ".data\n"
        ".balign 4\n"
        "real_stack: .long 0\n"
        "real_ivt: .word 0x3ff; .long 0\n"
        "real_idt: .word 0; .long 0\n"
        ".text\n");
void real_enter(void);
extern const uint8_t bridge[], bridge_out[], bridge_end[];

/* movw $vector, %cs:(3830h); jmp bridge_out */
static void put_stub(unsigned vector) {
    volatile uint8_t *at = (volatile uint8_t *)(STUBS + vector * 16);
    const uint8_t note[] = {0x2e, 0xc7, 0x06, 0x30, 0x38, (uint8_t)vector, 0, 0xe9};
    for (unsigned i = 0; i < sizeof note; i++)
        at[i] = note[i];
    uint32_t target = BRIDGE + (uint32_t)(bridge_out - bridge);
    *half_at(STUBS + vector * 16 + sizeof note) =
        (uint16_t)(target - (STUBS + vector * 16 + sizeof note + 2));
}

void real_set_vector(unsigned vector, uint16_t cs, uint16_t ip) {
    volatile uint16_t *entry = half_at(vector * 4);
    entry[0] = ip;
    entry[1] = cs;
}

void real_reset_vector(unsigned vector) {
    real_set_vector(vector, BRIDGE >> 4, (uint16_t)(STUBS - BRIDGE + vector * 16));
}

void real_start(void) {
    pic_start();
    gdt_set(CODE_SELECTOR, BRIDGE, 0xffff, 0x9b, 0);
    gdt_set(DATA_SELECTOR, 0, 0xffff, 0x93, 0);
    memcpy((void *)BRIDGE, bridge, (uint32_t)(bridge_end - bridge));
    for (unsigned i = 0; i < 256; i++) {
        put_stub(i);
        real_reset_vector(i);
    }
}

struct real real_image(const uint8_t *code, uint32_t size) {
    memcpy((void *)REAL_CODE, code, size);
    return (struct real){.cs = REAL_CODE >> 4,
                         .ds = REAL_DATA >> 4,
                         .es = REAL_DATA >> 4,
                         .ss = REAL_STACK >> 4,
                         .fs = REAL_DATA >> 4,
                         .gs = REAL_DATA >> 4};
}

void real_run(struct real *r) {
    memcpy((void *)IMAGE, r, sizeof *r);
    real_enter();
    memcpy(r, (const void *)IMAGE, sizeof *r);
}

void check_real(const char *name, const struct real *r, uint32_t vector, uint32_t ip) {
    if (!check_verdict(name, r->vector == vector && r->ip == ip))
        print(" expected %u at %x got %u at %x:%x\n", vector, ip, r->vector, r->cs, r->ip);
}
