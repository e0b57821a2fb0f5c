/* Loops that nothing but an interrupt ends, of every kind of branch that leads back, in 32- and
 * 16-bit code; and loops counted by CX whose count an interrupt must not change. */
#include "tests/guests/stage.h"

enum { HERTZ = 2000, CODE16 = FREE_SELECTOR, COUNT16 = 65536, COUNTED_RUNS = 3 };

SNIPPET(jump_short, "1: jmp 1b");
SNIPPET(jump_near, "1: inc %eax; .byte 0xe9; .long -6");
SNIPPET(jump_indirect, "lea 1f - jump_indirect(%ebp), %ecx; 1: jmp *%ecx");
SNIPPET(jump_memory, "lea 1f - jump_memory(%ebp), %ecx; mov %ecx, (%ebx); 1: jmp *(%ebx)");
SNIPPET(condition, "1: inc %eax; or $1, %eax; jnz 1b");
SNIPPET(condition_near, "or $1, %eax; 1: .byte 0x0f, 0x85; .long -6");
SNIPPET(two_blocks, "1: jmp 2f; ud2; 2: jmp 1b");
SNIPPET(loop_ecx, "1: mov $2, %ecx; 2: loop 2b; jmp 1b");
SNIPPET(loop_alone, "1: inc %ecx; inc %ecx; loop 1b");
SNIPPET(loop_cx, "1: mov $2, %ecx; .byte 0x67; loop 1b");
SNIPPET(loope_ecx, "1: mov $3, %ecx; xor %eax, %eax; loope 1b");
SNIPPET(loope_cx, "1: mov $3, %ecx; xor %eax, %eax; .byte 0x67; loope 1b");
SNIPPET(loopne_ecx, "1: mov $3, %ecx; or $1, %eax; loopne 1b");
SNIPPET(loopne_cx, "1: mov $3, %ecx; or $1, %eax; .byte 0x67; loopne 1b");
SNIPPET(jump_ecx, "1: jecxz 1b");
SNIPPET(jump_cx, "mov $0x10000, %ecx; 1: jcxz 1b");
SNIPPET(call_return, "1: call 2f; jmp 1b; 2: ret");
SNIPPET(call_drop, "1: call 2f; 2: pop %eax; jmp 1b");
SNIPPET(call_back, "push %eax; 1: pop %eax; call 1b");
SNIPPET(push_return, "lea 1f - push_return(%ebp), %ecx; 1: push %ecx; ret");
SNIPPET(call_indirect, "lea 1f - call_indirect(%ebp), %ecx; push %eax; 1: pop %eax; call *%ecx");
SNIPPET(call_straight, "lea 2f - call_straight(%ebp), %ecx; 1: inc %eax; call *%ecx; jmp 1b; 2: ret");
SNIPPET(call_around, "xor %eax, %eax; 1: test %eax, %eax; jz 2f; call *%ecx; 2: jmp 1b");
/* The second time round it goes back into the middle of an instruction, and on around the call. */
SNIPPET(call_overlaid, "lea 4f - call_overlaid(%ebp), %ecx; .byte 0x3d; 2: .byte 0xeb, 4, 0x90, 0x90; call *%ecx; jmp 2b; 4: ret");
SNIPPET(far_return, "lea 1f - far_return(%ebp), %ecx; 1: push %cs; push %ecx; lret");
SNIPPET(far_jump,
        "lea 1f - far_jump(%ebp), %ecx; mov %ecx, (%ebx); mov %cs, 4(%ebx); 1: ljmp *(%ebx)");
SNIPPET(interrupt_return,
        "lea 1f - interrupt_return(%ebp), %ecx; 1: pushf; push %cs; push %ecx; iret");
SNIPPET(callouts, "1: sldt %eax; jmp 1b");
SNIPPET(string, "1: mov $0x1000, %ecx; mov %ebx, %esi; rep lodsb; jmp 1b");
SNIPPET(long_block, "1: .skip 300, 0x90; jmp 1b");
#define SNIPPET_16(name, code) SNIPPET(name, ".code16\n" code "\n.code32\n")
SNIPPET_16(jump_16, "1: jmp 1b");
SNIPPET_16(loop_cx_16, "1: mov $2, %cx; loop 1b");
SNIPPET_16(loop_ecx_16, "1: inc %ecx; inc %ecx; .byte 0x67; loop 1b");
SNIPPET_16(loopne_16, "1: mov $3, %cx; or $1, %al; loopne 1b");
SNIPPET_16(jump_cx_16, "xor %cx, %cx; 1: jcxz 1b");
SNIPPET_16(call_return_16, "1: call 2f; jmp 1b; 2: ret");

static const struct kind {
    const char *name;
    const uint8_t *code, *end;
    bool narrow;
} kinds[] = {
#define KIND(name)                                                                                 \
    { #name, name, name##_end, false }
#define KIND_16(name)                                                                              \
    { #name, name, name##_end, true }
    KIND(jump_short),     KIND(jump_near),      KIND(jump_indirect),    KIND(jump_memory),
    KIND(condition),      KIND(condition_near), KIND(two_blocks),       KIND(loop_ecx),
    KIND(loop_alone),     KIND(loop_cx),        KIND(loope_ecx),        KIND(loope_cx),
    KIND(loopne_ecx),     KIND(loopne_cx),      KIND(jump_ecx),         KIND(jump_cx),
    KIND(call_return),    KIND(call_back),      KIND(call_drop),        KIND(push_return),
    KIND(call_indirect),  KIND(call_straight),  KIND(call_around),      KIND(call_overlaid),
    KIND(far_return),     KIND(far_jump),       KIND(interrupt_return), KIND(callouts),
    KIND(string),         KIND(long_block),     KIND_16(jump_16),       KIND_16(loop_cx_16),
    KIND_16(loop_ecx_16), KIND_16(loopne_16),   KIND_16(jump_cx_16),    KIND_16(call_return_16)};

static unsigned ticks;
static bool on_tick_end(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    return false;
}
static bool on_tick_count(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    ticks++;
    return true;
}

static struct machine image(unsigned ring, const struct kind *kind) {
    struct machine m = stage_at(ring, CODE, kind->code, (uint32_t)(kind->end - kind->code));
    m.eflags |= FLAG_IF;
    m.ebp = CODE;
    if (kind->narrow) {
        m.cs = CODE16 | 3;
        m.eip = 0;
    }
    return m;
}

/* Twice: the second time all of it is translated and linked. */
static void end_by_interrupt(unsigned ring, const struct kind *kind) {
    for (unsigned i = 0; i < 2; i++) {
        struct machine m = image(ring, kind);
        trap_set_handler(VECTOR_IRQ0, on_tick_end);
        pic_unmask(0);
        guest_run(&m);
        pic_mask(0);
        uint32_t size = (uint32_t)(kind->end - kind->code);
        check(kind->name, VECTOR_IRQ0, m.vector);
        check_true("inside", m.eip - (kind->narrow ? 0 : CODE) < size);
    }
}

/* As many rounds as CX says, with interrupts in between; the upper half of ECX stays. */
SNIPPET(counted_cx, "1: inc %eax; .byte 0x67; loop 1b" DONE);
SNIPPET(counted_ecx, "1: inc %eax; loop 1b" DONE);
SNIPPET(counted_loope, "1: add $1, %eax; cmp %edx, %edx; .byte 0x67; loope 1b" DONE);
static void counted(unsigned ring) {
    static const struct kind all[] = {KIND(counted_cx), KIND(counted_ecx), KIND(counted_loope)};
    trap_set_handler(VECTOR_IRQ0, on_tick_count);
    pic_unmask(0);
    for (unsigned k = 0; k < sizeof all / sizeof *all; k++) {
        bool wide = all[k].code == counted_ecx;
        uint32_t wrong = 0;
        ticks = 0;
        for (unsigned i = 0; i < COUNTED_RUNS || ticks < COUNTED_RUNS; i++) {
            struct machine m = image(ring, &all[k]);
            m.ecx = wide ? COUNT16 : 0x12340000;
            guest_run(&m);
            wrong +=
                m.vector != VECTOR_DONE || m.eax != COUNT16 || m.ecx != (wide ? 0 : 0x12340000);
        }
        check(all[k].name, 0, wrong);
    }
    pic_mask(0);
}

void guest_main(void) {
    stage_start();
    gdt_set(CODE16, CODE, PAGE_SIZE - 1, 0xfb, 0);
    pit_start(HERTZ);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
            if (ring || !kinds[i].narrow)
                end_by_interrupt(ring, &kinds[i]);
        counted(ring);
    }
    check_finish("endless_loops");
}
