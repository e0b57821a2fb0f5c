/* What the tests point a debugger at: code and data with known names, under paging, with the
 * timer ticking. It goes round until `told` is 1, and powers off then; 2 makes it sleep in HLT. */
#include "guest/lib/guest.h"

#define HIGH 0x40000000u /* the page of `low_page` once more */

uint32_t rounds, told, ticks;
uint32_t written, read_back, sum;
uint32_t low_page[1024] __attribute__((aligned(4096)));
uint32_t numbers[4] = {11, 22, 33, 44};

extern char write_site[], write_done[], read_site[], read_done[], loop_end[];

static bool count_tick(struct trap_frame *frame) {
    (void)frame;
    ticks++;
    pic_end_of_interrupt(0);
    return true;
}

__attribute__((noinline)) uint32_t add(uint32_t a, uint32_t b) {
    sum = a + b;
    return sum;
}

/* `answer` is changed by the debugger while it runs from the translation cache. */
__attribute__((noinline)) uint32_t answer(void) {
    uint32_t value;
    __asm__ volatile("mov $42, %0" : "=r"(value));
    return value;
}

__attribute__((noinline)) void touch(void) {
    __asm__ volatile("mov rounds, %%eax\n"
                     ".globl write_site; write_site: mov %%eax, written\n"
                     ".globl write_done; write_done: nop\n"
                     ".globl read_site; read_site: mov written, %%ecx\n"
                     ".globl read_done; read_done: mov %%ecx, read_back\n"
                     :
                     :
                     : "eax", "ecx", "memory");
}

/* Twenty-odd instructions, for steps: their end has a name. */
__attribute__((noinline)) void walk(void) {
    __asm__ volatile("xor %%eax, %%eax; mov $4, %%ecx\n"
                     "1: add $3, %%eax; dec %%ecx; jnz 1b\n"
                     "pushf; pop %%edx; push %%eax; pop %%ecx\n"
                     ".globl loop_end; loop_end: nop\n"
                     :
                     :
                     : "eax", "ecx", "edx", "memory");
}

__attribute__((noinline)) void vectors(void) {
    static const uint32_t pattern[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};
    __asm__ volatile("fninit; fldpi; fld1; movups %0, %%xmm1; movups %0, %%xmm7" : : "m"(pattern));
}

__attribute__((noinline)) uint32_t level3(uint32_t n) { return add(n, n) + answer(); }
__attribute__((noinline)) uint32_t level2(uint32_t n) { return level3(n + 1) + 1; }
__attribute__((noinline)) uint32_t level1(uint32_t n) { return level2(n * 2) + 1; }

__attribute__((noinline)) void sleep_in_halt(void) {
    pic_mask(0);
    __asm__ volatile("sti; hlt; nop; .globl awake; awake: cli" : : : "memory");
    pic_unmask(0);
}

static void power_off(void) {
    __asm__ volatile("outw %w0, %w1" : : "a"(5 << 10 | 1 << 13), "d"(0x604));
    for (;;)
        continue;
}

void guest_main(void) {
    struct space space;
    write_cr4(read_cr4() | 1 << 9); /* OSFXSR */
    space_make(&space, guest_paging());
    space_map(&space, HIGH, address_of(low_page), KERNEL_PAGE);
    space_enter(&space);
    pic_start();
    trap_set_handler(VECTOR_IRQ0, count_tick);
    pit_start(500);
    pic_unmask(0);
    vectors();
    while (told != 1) {
        interrupts_enable();
        low_page[1] = level1(numbers[rounds & 3]);
        touch();
        walk();
        rounds++;
        if (told == 2)
            sleep_in_halt();
    }
    power_off();
}
