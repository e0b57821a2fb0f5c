/* 16-bit stack segments: SP wraps at 64 KiB and the upper half of ESP is nobody's, from 32-bit and
 * from 16-bit code. Slots that reach beyond the segment raise #SS and leave everything as it was;
 * TCG checks no limits of data. */
#include "tests/guests/stage.h"

enum {
    STACK_16 = FREE_SELECTOR | 3, /* base SEGMENT, which has its first and last page */
    CODE_16 = (FREE_SELECTOR + 8) | 3,
    SHORT_STACK = (FREE_SELECTOR + 16) | 3, /* 800h bytes */
    SEGMENT = 0x40100000,
    LAST_PAGE = SEGMENT + 0xf000,
    HIGH = 0x5aa50000, /* in the upper half of ESP and EBP */
};

#define SNIPPET16(name, code) SNIPPET(name, ".code16\n" code "\n.code32\n")

static struct machine on16(const uint8_t *code, uint32_t size, uint32_t sp) {
    struct machine m = stage_at(3, CODE, code, size);
    m.ss = STACK_16;
    m.esp = sp; /* IRET loads SP only: the snippets make the upper half */
    return m;
}
#define ON16(name, sp) on16(name, SNIPPET_SIZE(name), sp)
#define SET_HIGH "movzwl %sp, %esp; lea 0x5aa50000(%esp), %esp\n"

static void fresh(void) {
    memset((void *)SEGMENT, 0, PAGE_SIZE);
    memset((void *)LAST_PAGE, 0, PAGE_SIZE);
}
static uint32_t slot(uint32_t sp) { return *(volatile uint32_t *)(SEGMENT + sp); }

SNIPPET(wrap32,
        SET_HIGH "push $0x11111111; mov %esp, %eax; push %esp; pop %ecx; pop %edx; mov %esp, %ebx\n"
                 "mov (%esp), %esi" DONE);
SNIPPET16(wrap16,
          SET_HIGH "push $0x1111; mov %esp, %eax; push %sp; pop %cx; pop %dx; mov %esp, %ebx" DONE);
static void wraps(void) {
    fresh();
    struct machine m = ON16(wrap32, 0);
    guest_run(&m);
    /* [ESP] has all of ESP: beyond the limit */
    check_trap_unless_tcg("wrap32", &m, VECTOR_SS, 0, CODE + SNIPPET_SIZE(wrap32) - 5);
    check("wrap32.slot", 0x11111111, slot(0xfffc));
    check("wrap32.esp", HIGH | 0xfffc, m.eax);
    check("wrap32.push-esp", HIGH | 0xfffc, m.ecx);
    check("wrap32.pop", 0x11111111, m.edx);
    check("wrap32.back", HIGH, m.ebx);
    m = ON16(wrap16, 0);
    m.cs = CODE_16, m.eip = 0;
    guest_run(&m);
    check_trap("wrap16", &m, VECTOR_DONE, 0, SNIPPET_SIZE(wrap16));
    check("wrap16.slot", 0x1111fffe, slot(0xfffc));
    check("wrap16.esp", HIGH | 0xfffe, m.eax);
    check("wrap16.push-sp", 0xfffe, m.ecx & 0xffff);
    check("wrap16.back", HIGH, m.ebx);
}

SNIPPET16(all16,
          "mov $8, %sp; mov $0x1234, %bp; pusha; mov %sp, %dx; xor %ax, %ax; xor %bp, %bp; popa\n"
          "mov %sp, %cx" DONE);
SNIPPET16(all32, "mov $8, %sp; pushal; mov %sp, %dx; xor %eax, %eax; popal; mov %sp, %cx" DONE);
static void all_registers(void) {
    fresh();
    struct machine m = ON16(all16, 0x100);
    m.cs = CODE_16, m.eip = 0, m.eax = 0xaaaa5555;
    guest_run(&m);
    check_trap("pusha16", &m, VECTOR_DONE, 0, SNIPPET_SIZE(all16));
    check("pusha16.ax-on-top", 0x5555, slot(4) >> 16);
    check("pusha16.sp-slot", 8, slot(0xfffc) >> 16);
    check("pusha16.bp-slot", 0x1234, slot(0xfffc) & 0xffff);
    check("pusha16.ax", 0xaaaa5555, m.eax);
    check("pusha16.bp", 0x1234, m.ebp & 0xffff);
    check("pusha16.sp", 8, m.ecx & 0xffff);
    m = ON16(all32, 0x100);
    m.cs = CODE_16, m.eip = 0, m.eax = 0xaaaa5555, m.edx = 0;
    guest_run(&m);
    check_trap("pusha32", &m, VECTOR_DONE, 0, SNIPPET_SIZE(all32));
    check("pusha32.eax", 0xaaaa5555, m.eax);
    check("pusha32.slot", 0xaaaa5555, slot(4));
    check("pusha32.wrapped-slot", DATA, slot(0xfff8));
    check("pusha32.sp", 8, m.ecx & 0xffff);
}

SNIPPET(frames,
        SET_HIGH "lea 0x12340000(%esp), %ebp; enter $16, $0; mov %esp, %eax; mov %ebp, %ecx\n"
                 "leave; mov %esp, %edx; enter $4, $2; mov %esp, %esi; leave; mov %ebp, %edi" DONE);
SNIPPET(enter_word, "mov $0x5aa51111, %ebp; .byte 0x66, 0xc8, 2, 0, 0; mov %esp, %edx" DONE);
static void enter_and_leave(void) {
    fresh();
    struct machine m = ON16(frames, 0x200);
    guest_run(&m);
    check_trap("frame", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(frames));
    check("frame.esp", HIGH | (0x200 - 4 - 16), m.eax);
    check("frame.ebp", HIGH | 0x1fc, m.ecx);
    check("frame.leave", HIGH | 0x200, m.edx);
    check("frame.nested-esp", HIGH | (0x200 - 12 - 4), m.esi);
    check("frame.ebp-back", 0x12340000 + (HIGH | 0x200), m.edi);
    struct machine flat = STAGE_RUN(3, enter_word);
    check("frame.word-size-writes-bp", 0x5aa50000 | ((STACK_TOP - 2) & 0xffff), flat.ebp);
    check("frame.word-size-esp", STACK_TOP - 4, flat.edx);
    check("frame.copied-pointer", HIGH | 0x1fc, slot(0x1f4));
}

SNIPPET(calls,
        SET_HIGH "call 1f; mov %esp, %eax; mov $2f-calls+0x40000000, %ecx; call *%ecx; push %cs\n"
                 "call 3f; mov %esp, %edx; pushf; popf; push %ds; pop %es; mov %esp, %esi; jmp 4f\n"
                 "1: incl %edi; ret; 2: incl %edi; ret $4; 3: incl %edi; lret\n"
                 "4: sub $4, %sp; push $0x77; pop 4(%esp)" DONE);
static void calls_and_returns(void) {
    fresh();
    struct machine m = ON16(calls, 0);
    m.edi = 0;
    guest_run(&m);
    check_trap_unless_tcg("calls", &m, VECTOR_SS, 0, CODE + SNIPPET_SIZE(calls) - 6);
    check("calls.count", 3, m.edi);
    check("calls.esp", HIGH, m.eax);
    check("calls.far", HIGH | 4, m.edx);
    check("calls.flags-and-segments", HIGH | 4, m.esi);
}

/* Traps leave a 16-bit stack and come back to it. */
SNIPPET(traps, SET_HIGH
        "mov $1000, %ecx; 1: push %ecx; int $0x80; pop %ebx; cmp %ecx, %ebx; jne 2f; loop 1b\n"
        "2: mov %sp, %dx" DONE);
static uint32_t trap_count;
static bool count_trap(struct trap_frame *frame) {
    (void)frame;
    return ++trap_count != 0;
}
static void traps_come_back(void) {
    fresh();
    trap_set_handler(VECTOR_SYSCALL, count_trap);
    struct machine m = ON16(traps, 4);
    m.edx = 0;
    guest_run(&m);
    check_trap("traps", &m, VECTOR_DONE, 0, CODE + SNIPPET_SIZE(traps));
    check("traps.count", 1000, trap_count);
    check("traps.ecx", 0, m.ecx);
    check("traps.sp", 4, m.edx);
}

SNIPPET(push_one, "nop; push %eax" DONE);
SNIPPET(pop_one, "nop; pop %eax" DONE);
SNIPPET(pop_memory, "nop; popl (%ebx)" DONE);
SNIPPET(call_one, "nop; call 1f; 1:" DONE);
SNIPPET(ret_one, "nop; ret" DONE);
SNIPPET(push_all, "nop; pusha" DONE);
SNIPPET(pop_all, "nop; popa" DONE);
SNIPPET(push_flags, "nop; pushf" DONE);
SNIPPET(enter_one, "nop; enter $0, $0" DONE);
SNIPPET(leave_one, "nop; leave" DONE);

static void expect_ss(const char *name, const uint8_t *code, uint32_t size, uint16_t ss,
                      uint32_t sp) {
    struct machine m = on16(code, size, sp);
    m.ss = ss;
    m.ebp = sp, m.eax = 0x600df00d;
    guest_run(&m);
    check_trap_unless_tcg(name, &m, VECTOR_SS, 0, CODE + 1);
    if (m.vector == VECTOR_SS) {
        check("limit.sp-kept", sp & 0xffff, m.esp & 0xffff);
        check("limit.eax-kept", 0x600df00d, m.eax);
        check("limit.ebp-kept-but-by-popa", code == pop_all ? 0 : sp, m.ebp);
    }
}
#define EXPECT_SS(name, code, ss, sp) expect_ss(name, code, SNIPPET_SIZE(code), ss, sp)

static void limits(void) {
    EXPECT_SS("limit.push", push_one, STACK_16, 2);
    EXPECT_SS("limit.pop", pop_one, STACK_16, 0xfffe);
    EXPECT_SS("limit.pop-memory", pop_memory, STACK_16, 0xfffd);
    EXPECT_SS("limit.call", call_one, STACK_16, 1);
    EXPECT_SS("limit.ret", ret_one, STACK_16, 0xffff);
    EXPECT_SS("limit.pusha", push_all, STACK_16, 0x11);
    EXPECT_SS("limit.popa", pop_all, STACK_16, 0xffe2);
    EXPECT_SS("limit.pushf", push_flags, STACK_16, 3);
    EXPECT_SS("limit.enter", enter_one, STACK_16, 3);
    EXPECT_SS("limit.leave", leave_one, STACK_16, 0xfffd);
    EXPECT_SS("limit.short-push", push_one, SHORT_STACK, 0x803);
    EXPECT_SS("limit.short-wrap", push_one, SHORT_STACK, 0);
    EXPECT_SS("limit.short-pop", pop_one, SHORT_STACK, 0x7fe);
    EXPECT_SS("limit.short-pusha", push_all, SHORT_STACK, 8);
}

void guest_main(void) {
    stage_start();
    space_map_new(&stage, SEGMENT, USER_PAGE);
    space_map_new(&stage, LAST_PAGE, USER_PAGE);
    space_map_new(&stage, LAST_PAGE + PAGE_SIZE, USER_PAGE);
    gdt_set(STACK_16 & ~7, SEGMENT, 0xffff, 0xf3, 0);
    gdt_set(SHORT_STACK & ~7, SEGMENT, 0x7ff, 0xf3, 0);
    gdt_set(CODE_16 & ~7, CODE, 0xffff, 0xfb, 0);
    wraps();
    all_registers();
    enter_and_leave();
    calls_and_returns();
    traps_come_back();
    limits();
    check_finish("stack16");
}
