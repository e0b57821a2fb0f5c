/* The embedded guest of `ring3 demo`: shows what a 32-bit PC does, and checks each step.
 *
 * A tour of real mode comes first; everything else runs twice, under 32-bit page tables and under
 * PAE. */
#include "guest/demo.h"

static volatile uint32_t ticks;

void demo_space_make(struct demo_space *demo, enum paging_kind kind) {
    space_make(&demo->space, kind);
    demo->code = (uint8_t *)space_map_new(&demo->space, USER_CODE, USER_PAGE);
    demo->data = (uint8_t *)space_map_new(&demo->space, USER_DATA, USER_PAGE);
    space_map_new(&demo->space, USER_STACK, USER_PAGE);
}

struct machine demo_run(struct demo_space *demo, unsigned ring, const uint8_t *code, uint32_t size,
                        uint32_t eflags) {
    static uint8_t kernel_stack[4096] __attribute__((aligned(16)));
    struct machine m;
    if (ring == 3) {
        memcpy(demo->code, code, size);
        m = machine_user(USER_CODE, USER_STACK_TOP);
        m.ebx = USER_DATA;
    } else {
        m = machine_kernel(address_of(code), address_of(kernel_stack + sizeof kernel_stack));
        m.ebx = address_of(demo->data);
    }
    m.eflags |= eflags;
    guest_run(&m);
    return m;
}

static bool count_tick(struct trap_frame *frame) {
    (void)frame;
    ticks++;
    pic_end_of_interrupt(0);
    return true;
}

void show_timer(void) {
    enum { TICKS = 20 };
    trap_set_handler(VECTOR_IRQ0, count_tick);
    ticks = 0;
    pit_start(1000);
    pic_unmask(0);
    while (ticks < TICKS / 2)
        __asm__ volatile("sti; hlt; cli" : : : "memory");
    check_true("timer.wakes-hlt", ticks >= TICKS / 2);
    interrupts_enable();
    while (ticks < TICKS)
        continue;
    interrupts_disable();
    check_true("timer.interrupts-a-loop", ticks >= TICKS);
    pic_mask(0);
    uint32_t before = ticks;
    interrupts_enable();
    for (volatile unsigned i = 0; i < 100000; i++)
        continue;
    interrupts_disable();
    check_true("timer.masked", ticks <= before + 1); /* one may have been on its way */
    print("timer: %u interrupts taken\n", ticks);
}

static void show_all(enum paging_kind kind) {
    static struct demo_space demo;
    demo_space_make(&demo, kind);
    space_enter(&demo.space);
    show_timer();
    show_exceptions(&demo);
    show_page_faults(&demo);
    show_debug(&demo);
    show_sensitive(&demo);
    show_self_modification(&demo);
    show_virtual_8086(&demo);
    show_processes(kind);
    paging_off();
}

void guest_main(void) {
    if (demo_wants_try())
        demo_try();
    print("ring3 demo: a 32-bit kernel, GDT at %08x, IDT at %08x\n", gdt_address(), idt_address());
    pic_start();
    print("-- 16-bit protected mode and real mode\n");
    show_real_mode();
    print("-- 32-bit page tables\n");
    check_section("paging32");
    show_all(PAGING_32);
    if (cpuid(1).edx & CPUID_PAE) {
        print("-- PAE page tables\n");
        check_section("pae");
        show_all(PAGING_PAE);
    }
    check_section(NULL);
    check_finish("demo");
}
