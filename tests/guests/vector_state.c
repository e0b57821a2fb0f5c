/* x87 and SSE: state across interrupts and system calls, lazy switching by CR0.TS, exceptions
 * #MF and #XM, and what FXSAVE leaves alone in 32-bit mode. */
#include "tests/guests/stage.h"

enum { SAVE = DATA + 0x200, FILLED = 0xcc, MXCSR_RESET = 0x1f80 };

static unsigned ticks;

static bool on_tick(struct trap_frame *frame) {
    (void)frame;
    ticks++;
    pic_end_of_interrupt(0);
    return true;
}

static bool on_call(struct trap_frame *frame) {
    frame->eax++;
    return true;
}

/* Loads known values everywhere, spins EDX rounds with a system call in each, and stores. */
SNIPPET(hold, "fninit; fld1; fldpi; fldz; fldl2e\n"
              "pcmpeqd %xmm0, %xmm0; movdqu (%ebx), %xmm1; movdqu 16(%ebx), %xmm7\n"
              "movd %ebx, %xmm3\n"
              "xor %eax, %eax\n"
              "1: mov $2000, %ecx; 2: dec %ecx; jnz 2b; int $0x80; dec %edx; jnz 1b\n"
              "movdqu %xmm0, 32(%ebx); movdqu %xmm1, 48(%ebx); movdqu %xmm7, 64(%ebx)\n"
              "movd %xmm3, %ecx\n"
              "fstpl 80(%ebx); fstpl 88(%ebx); fstpl 96(%ebx); fstpl 104(%ebx)\n"
              "fnstsw %ax" DONE);

static void across_interrupts(unsigned ring) {
    check_variant(ring_name(ring));
    for (uint32_t i = 0; i < 32; i++)
        *byte_at(DATA + i) = (uint8_t)(i * 7 + 1);
    trap_set_handler(VECTOR_IRQ0, on_tick);
    trap_set_handler(VECTOR_SYSCALL, on_call);
    pit_start(2000);
    pic_unmask(0);
    ticks = 0;
    struct machine m = STAGE(ring, hold);
    m.eflags |= FLAG_IF;
    m.edx = 2000;
    guest_run(&m);
    pic_mask(0);
    check("held.vector", VECTOR_DONE, m.vector);
    check_true("held.was-interrupted", ticks > 0);
    check("held.xmm0", 0xffffffff, *word_at(DATA + 32));
    check("held.xmm1", 0, (uint32_t)memcmp((void *)DATA, (void *)(DATA + 48), 16));
    check("held.xmm7", 0, (uint32_t)memcmp((void *)(DATA + 16), (void *)(DATA + 64), 16));
    check("held.xmm3", DATA, m.ecx);
    check("held.log2e", 0x3ff71547, *word_at(DATA + 84));
    check("held.zero", 0, *word_at(DATA + 92));
    check("held.pi", 0x400921fb, *word_at(DATA + 100));
    check("held.one", 0x3ff00000, *word_at(DATA + 108));
    check("held.empty", 0, m.eax & 0x3800);
    check_variant(NULL);
    trap_set_handler(VECTOR_IRQ0, NULL);
    trap_set_handler(VECTOR_SYSCALL, NULL);
}

SNIPPET(x87_op, "nop; fld1; fstp %st(0)" DONE);
SNIPPET(sse_op, "nop; addps %xmm0, %xmm1" DONE);
SNIPPET(mmx_op, "nop; paddb %mm0, %mm1; emms" DONE);
SNIPPET(wait_op, "nop; fwait" DONE);
SNIPPET(divide_x87,
        "fninit; push $0x37b; fldcw (%esp); fldz; fld1; fdiv %st(1), %st; nop; fwait" DONE);
SNIPPET(divide_sse, "push $0x1d80; ldmxcsr (%esp); xorps %xmm0, %xmm0; pcmpeqd %xmm1, %xmm1;"
                    "psrld $25, %xmm1; pslld $23, %xmm1; divps %xmm0, %xmm1" DONE);
SNIPPET(bad_mxcsr, "movl $0x80000000, (%ebx); ldmxcsr (%ebx)" DONE);
SNIPPET(save, "fninit; fld1; fxsave 0x200(%ebx); fninit; fxrstor 0x200(%ebx); fnstsw %ax" DONE);
SNIPPET(save_unaligned, "fxsave 0x204(%ebx)" DONE);

static void expect(const char *name, struct machine m, uint32_t vector, uint32_t offset) {
    guest_run(&m);
    check_trap(name, &m, vector, 0, CODE + offset);
}

static void task_switched(unsigned ring) {
    check_variant(ring_name(ring));
    write_cr0(read_cr0() | CR0_TS);
    expect("ts.x87", STAGE(ring, x87_op), VECTOR_NM, 1);
    expect("ts.sse", STAGE(ring, sse_op), VECTOR_NM, 1);
    expect("ts.mmx", STAGE(ring, mmx_op), VECTOR_NM, 1);
    expect("ts.wait-without-mp", STAGE(ring, wait_op), VECTOR_DONE, SNIPPET_SIZE(wait_op));
    write_cr0(read_cr0() | CR0_MP);
    expect("ts.wait-with-mp", STAGE(ring, wait_op), VECTOR_NM, 1);
    write_cr0(read_cr0() & ~(uint32_t)CR0_MP);
    __asm__ volatile("clts");
    expect("ts-clear.x87", STAGE(ring, x87_op), VECTOR_DONE, SNIPPET_SIZE(x87_op));
    expect("ts-clear.sse", STAGE(ring, sse_op), VECTOR_DONE, SNIPPET_SIZE(sse_op));
    write_cr0(read_cr0() | CR0_EM);
    expect("em.x87", STAGE(ring, x87_op), VECTOR_NM, 1);
    expect("em.sse", STAGE(ring, sse_op), VECTOR_UD, 1);
    expect("em.mmx", STAGE(ring, mmx_op), VECTOR_UD, 1);
    write_cr0(read_cr0() & ~(uint32_t)CR0_EM);
    write_cr4(read_cr4() & ~(uint32_t)CR4_OSFXSR);
    expect("no-osfxsr.sse", STAGE(ring, sse_op), VECTOR_UD, 1);
    write_cr4(read_cr4() | CR4_OSFXSR);
    check_variant(NULL);
}

static void exceptions(unsigned ring) {
    check_variant(ring_name(ring));
    write_cr0(read_cr0() | CR0_NE);
    struct machine m = STAGE_RUN(ring, divide_x87);
    check("mf.vector", VECTOR_MF, m.vector); /* at the next waiting instruction, not the FDIV */
    check("mf.eip", CODE + SNIPPET_SIZE(divide_x87) - 3, m.eip);
    __asm__ volatile("fninit");
    m = STAGE_RUN(ring, divide_sse);
    check_trap_unless_tcg("xm", &m, VECTOR_XM, 0, CODE + SNIPPET_SIZE(divide_sse) - 5);
    write_cr4(read_cr4() & ~(uint32_t)CR4_OSXMMEXCPT);
    m = STAGE_RUN(ring, divide_sse);
    check_trap_unless_tcg("xm.without-osxmmexcpt", &m, VECTOR_UD, 0,
                          CODE + SNIPPET_SIZE(divide_sse) - 5);
    write_cr4(read_cr4() | CR4_OSXMMEXCPT);
    uint32_t mxcsr = MXCSR_RESET;
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    m = STAGE_RUN(ring, bad_mxcsr);
    /* TCG takes any value, and has no SSE exceptions above. */
    check_trap_unless_tcg("mxcsr-reserved-bit", &m, VECTOR_GP, 0,
                          CODE + SNIPPET_SIZE(bad_mxcsr) - 5);
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    check_variant(NULL);
}

static void save_area(void) {
    memset((void *)SAVE, FILLED, 512);
    struct machine m = STAGE_RUN(3, save);
    check("fxsave", VECTOR_DONE, m.vector);
    check("fxsave.restored-top", 7 << 11, m.eax & 0x3800);
    check("fxsave.tag", 0x80, *byte_at(SAVE + 4));
    check("fxsave.mxcsr", MXCSR_RESET, *word_at(SAVE + 24));
    uint32_t touched = 0;
    for (uint32_t i = 288; i < 512; i++) /* XMM8 and up are not there in 32-bit mode */
        touched += *byte_at(SAVE + i) != FILLED;
    check("fxsave.beyond-xmm7", 0, touched);
    m = STAGE_RUN(3, save_unaligned);
    check_trap("fxsave.unaligned", &m, VECTOR_GP, 0, CODE);
}

void guest_main(void) {
    stage_start();
    uint32_t features = cpuid(1).edx;
    if (!(features & CPUID_FXSR) || !(features & CPUID_SSE2)) {
        check_true("no-sse2", true);
        check_finish("vector_state");
    }
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS | CR0_MP));
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        across_interrupts(ring);
        task_switched(ring);
        exceptions(ring);
    }
    save_area();
    check_finish("vector_state");
}
