/* Code that changes under the processor: by the instruction before it, within the block that runs,
 * across a page end, through another address of its page, by strings of another page, and by the
 * kernel for the user (SDM vol. 3A, 8.1.3 and 11.6: a store and a fetch of one processor agree). */
#include "tests/system/record.h"

enum { ALIAS = PROBE, SECOND = 0x100 };

/* Each counts in EAX what it has executed. %ebp is CODE (or its alias), by which it writes. */
SNIPPET(next_instruction, "movb $0x40, 1f - next_instruction(%ebp); 1: .byte 0x90; nop" DONE);
SNIPPET(next_operand, "movl $0x1234, 1f + 1 - next_operand(%ebp); 1: mov $0x5678, %eax" DONE);
SNIPPET(far_ahead, "movb $0x40, 1f - far_ahead(%ebp); nop; nop; jmp 2f; .skip 70, 0x90; 2: nop; 1: "
                   ".byte 0x90" DONE);
SNIPPET(behind, "mov $3, %ecx; 1: inc %eax; movb $0x42, 1b - behind(%ebp); dec %ecx; jnz 1b" DONE);
SNIPPET(itself,
        "mov $3, %ecx; 1: incb 3f + 1 - itself(%ebp); 3: add $1, %al; dec %ecx; jnz 1b" DONE);
SNIPPET(by_string,
        "lea 2f - by_string(%ebp), %esi; lea 1f - by_string(%ebp), %edi; mov $4, %ecx; rep movsb\n"
        "1: nop; nop; nop; nop; jmp 3f; 2: inc %eax; inc %edx; inc %eax; inc %edx; 3:" DONE);
SNIPPET(string_over_itself, "lea 1f - string_over_itself(%ebp), %edi; mov $0x40, %al; mov $6, "
                            "%ecx; 1: rep stosb; inc %edx; inc %edx\n"
                            "nop; nop; nop; nop" DONE);
SNIPPET(by_push, "mov %esp, %edx; lea 1f + 4 - by_push(%ebp), %esp; push $0x40404040; mov %edx, "
                 "%esp; 1: nop; nop; nop; nop" DONE);
SNIPPET(by_call, "mov %esp, %edx; lea 1f + 4 - by_call(%ebp), %esp; call 2f; 2: mov %edx, %esp; "
                 "jmp 3f; 1: .long 0; 3: mov 1b - by_call(%ebp), %ecx" DONE);
SNIPPET(by_exchange,
        "mov $0x40404040, %ecx; xchg %ecx, 1f - by_exchange(%ebp); 1: nop; nop; nop; nop" DONE);
SNIPPET(by_locked, "lock addl $0x2f2f2f2f, 1f - by_locked(%ebp); 1: .long 0x11111111; nop" DONE);
SNIPPET(by_sse, "movups 2f - by_sse(%ebp), %xmm0; movups %xmm0, 1f - by_sse(%ebp); 1: .skip 16, "
                "0x90; jmp 3f; 2: .skip 16, 0x40; 3:" DONE);
SNIPPET(by_x87, "fildll 2f - by_x87(%ebp); fistpll 1f - by_x87(%ebp); 1: .skip 8, 0x90; jmp 3f; 2: "
                ".skip 8, 0x40; 3:" DONE);
SNIPPET(by_sidt, "sidt 1f - by_sidt(%ebp); jmp 2f; 1: .skip 6, 0xcc; 2: mov 1b - by_sidt(%ebp), "
                 "%ax; movzwl %ax, %eax" DONE);
SNIPPET(jump_target, "mov 1f + 1 - jump_target(%ebp), %ecx; addl $2, 1f + 1 - jump_target(%ebp); "
                     "1: .byte 0xe9; .long 0; inc %eax; inc %eax; inc %edx" DONE);
SNIPPET(branch_kind, "xor %ecx, %ecx; movb $0x75, 1f - branch_kind(%ebp); 1: .byte 0x74, 2; inc "
                     "%eax; inc %eax; inc %edx" DONE);
SNIPPET(call_and_change,
        "call 1f; inc %eax; jmp 2f; 1: pop %ecx; push %ecx; movb $0x42, (%ecx); ret; 2:" DONE);
SNIPPET(indirect_back, "mov $2, %ecx; lea 1f - indirect_back(%ebp), %edi; 1: inc %eax; movb $0x42, "
                       "1b - indirect_back(%ebp); dec %ecx; jz 2f; jmp *%edi; 2:" DONE);
SNIPPET(by_sldt, "lea 1(%ebx), %eax; movb $0, (%eax); sldt 1f - by_sldt(%ebp); 1: nop; nop; movzbl "
                 "(%eax), %ecx; xor %eax, %eax" DONE);
SNIPPET(deep_return, "call 1f; inc %eax; inc %eax; jmp 3f; 1: call 2f; ret; 2: mov 4(%esp), %ecx; "
                     "movb $0x42, (%ecx); ret; 3:" DONE);
/* As a device writes: the 8259's mask, 42h, is read from its port into the code. */
SNIPPET(by_port, "lea 1f - by_port(%ebp), %edi; mov $0x21, %edx; mov $3, %ecx; rep insb; xor %edx, "
                 "%edx; 1: nop; nop; nop" DONE);
SNIPPET(by_port_once, "lea 1f - by_port_once(%ebp), %edi; mov $0x21, %edx; insb; 1: nop; nop" DONE);
SNIPPET(to_undefined, "movw $0x0b0f, 1f - to_undefined(%ebp); 1: nop; nop" DONE);
SNIPPET(to_breakpoint, "movb $0xcc, 1f - to_breakpoint(%ebp); 1: nop; nop" DONE);
SNIPPET(prefix_before, "movb $0x66, 1f - prefix_before(%ebp); 1: .byte 0x90; inc %eax" DONE);
/* Instructions that simulators carry out outside of their translated code. What they write beside
 * the code that runs next has run before, or is jumped over. */
SNIPPET(by_arpl, "mov $2, %ecx; arpl %cx, 1f - by_arpl(%ebp); 1: inc %eax; nop" DONE);
SNIPPET(by_enter,
        "mov %esp, %edx; lea 1f + 8 - by_enter(%ebp), %esp; lea 3f + 4 - by_enter(%ebp), %ebp; "
        "enter $0, $2; 1: nop; nop; .byte 0xeb, 4; .long 0; mov %edx, %esp; jmp 2f; "
        "3: .byte 0x40, 0x40, 0xeb, 4; 2:" DONE);
SNIPPET(
    by_fnsave,
    "fldt 2f - by_fnsave(%ebp); jmp 3f; 2: .byte 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x90, "
    "0xeb, 0x48; .skip 22; 3: fnsave 1f - 28 - by_fnsave(%ebp); 1: .skip 8, 0x90; "
    ".byte 0xeb, 0x48; .skip 72; nop" DONE);
SNIPPET(
    by_fxsave,
    "movups 2f - by_fxsave(%ebp), %xmm0; jmp 3f; 2: .skip 14, 0x40; .byte 0xeb, 0x70; .skip 128; "
    "3: fxsave (%ebp); 1: .skip 14, 0x90; .byte 0xeb, 0x70; .skip 112; nop" DONE);

static const struct way {
    const char *name;
    const uint8_t *code, *end;
} ways[] = {
#define WAY(name)                                                                                  \
    { #name, name, name##_end }
    WAY(next_instruction),
    WAY(next_operand),
    WAY(far_ahead),
    WAY(behind),
    WAY(itself),
    WAY(by_string),
    WAY(string_over_itself),
    WAY(by_push),
    WAY(by_call),
    WAY(by_exchange),
    WAY(by_locked),
    WAY(by_sse),
    WAY(by_x87),
    WAY(by_sidt),
    WAY(jump_target),
    WAY(branch_kind),
    WAY(call_and_change),
    WAY(indirect_back),
    WAY(by_sldt),
    WAY(deep_return),
    WAY(by_port),
    WAY(by_port_once),
    WAY(to_undefined),
    WAY(to_breakpoint),
    WAY(prefix_before),
    WAY(by_arpl),
    WAY(by_enter),
    WAY(by_fnsave),
    WAY(by_fxsave)};

static void record_state(const char *name, const struct machine *m, uint32_t start) {
    line_begin(name);
    line_outcome(m, 0);
    line_value(m->eip - start);
    line_value(m->eax), line_value(m->ecx), line_value(m->edx);
    line_end();
}

/* At `start`, which may be near the end of the first of two pages; writes go by `writes`. */
static void run_at(const struct way *way, unsigned ring, uint32_t start, uint32_t writes,
                   unsigned times) {
    uint32_t size = (uint32_t)(way->end - way->code);
    for (unsigned i = 0; i < times; i++) {
        struct machine m = ring_at(ring, (const uint8_t *)"\x90", 1);
        memcpy((void *)start, way->code, size);
        m.eip = start;
        m.ebp = writes;
        m.ebx = DATA;
        m.eflags |= FLAG_IOPL;
        outb(0x21, 0x42);
        guest_run(&m);
        outb(0x21, 0xff);
        record_case("ring%x.at%x.by%x.time%x", ring, start, writes, i);
        record_state(way->name, &m, start);
    }
}

static void everywhere(void) {
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (unsigned ring = 0; ring < 4; ring += 3) {
            run_at(&ways[i], ring, CODE + SECOND, CODE + SECOND, 3);
            run_at(&ways[i], ring, CODE + SECOND, ALIAS + SECOND, 3);
            for (uint32_t back = 1; back < 40; back += 3)
                run_at(&ways[i], ring, CODE2 - back, CODE2 - back, 1);
            run_at(&ways[i], ring, CODE2 - 9, ALIAS + PAGE_SIZE - 9, 2);
        }
}

/* The kernel changes what the user has run, by its own address of the frame and by a string from
 * another page that ends in it; and a page is exchanged for another. */
SNIPPET(counts, "inc %eax; inc %eax; nop; nop" DONE);
static void by_the_kernel(void) {
    record_section("kernel");
    uint32_t frame = *space_entry(&stage, CODE) & ~0xfffu, other = page_take();
    for (unsigned i = 0; i < 6; i++) {
        struct machine m = ring_at(3, counts, SNIPPET_SIZE(counts));
        guest_run(&m);
        if (i == 1)
            *(volatile uint8_t *)CODE = 0x42;
        if (i == 2)
            *(volatile uint8_t *)frame = 0x42;
        if (i == 3)
            memset((void *)DATA, 0x42, 2), memcpy((void *)CODE, (void *)DATA, 2);
        if (i == 4) {
            memcpy((void *)other, (void *)frame, 64);
            *(volatile uint8_t *)other = 0x42;
            stage_map(CODE, other, USER_PAGE);
        }
        if (i == 5)
            stage_map(CODE, frame, USER_PAGE);
        struct machine again = machine_user(CODE, STACK_TOP);
        guest_run(&again);
        record_case("change%x", i, 0, 0, 0);
        record_state("before", &m, CODE);
        record_state("after", &again, CODE);
        stage_map(CODE, frame, USER_PAGE);
    }
}

void guest_main(void) {
    record_start();
    write_cr4(read_cr4() | CR4_OSFXSR);
    stage_map(ALIAS, *space_entry(&stage, CODE) & ~0xfffu, USER_PAGE);
    stage_map(ALIAS + PAGE_SIZE, *space_entry(&stage, CODE2) & ~0xfffu, USER_PAGE);
    everywhere();
    by_the_kernel();
    record_finish();
}
