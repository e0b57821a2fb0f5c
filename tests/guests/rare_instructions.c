/* Instructions that no other guest here has: undefined on this processor, privileged and without
 * effect, far pointer loads, INT1, clocks and random numbers, and what saves the x87 and extended
 * state. */
#include "tests/guests/stage.h"

enum {
    CR4_OSXSAVE = 1 << 18,
    CPUID_XSAVE = 1 << 26,
    CPUID_RDRAND = 1 << 30,
    CPUID_RDSEED = 1 << 18,
    AREA = DATA + 0x400
};

SNIPPET(syscall, ".byte 0x0f, 0x05" DONE);
SNIPPET(sysret, ".byte 0x0f, 0x07" DONE);
SNIPPET(ud0, ".byte 0x0f, 0xff, 0xc0" DONE);
SNIPPET(ud1, ".byte 0x0f, 0xb9, 0xc0" DONE);
SNIPPET(ud2, "ud2" DONE);
SNIPPET(invd, "invd" DONE);
SNIPPET(wbinvd, "wbinvd" DONE);
SNIPPET(rdpmc, "rdpmc" DONE);
SNIPPET(int1, ".byte 0xf1; nop" DONE);
SNIPPET(clocks, "rdtsc; mov %eax, %esi; mov %edx, %edi; rdtscp" DONE);
SNIPPET(prefetch, "mov $0xfffff000, %ebx; .byte 0x0f, 0x0d, 0x0b" DONE);
SNIPPET(random, "mov $100, %ecx; 1: rdrand %eax; jc 2f; loop 1b; 2: setc %dl" DONE);
SNIPPET(seed, "mov $10000, %ecx; 1: rdseed %eax; jc 2f; loop 1b; 2: setc %dl" DONE);
SNIPPET(load_ss, "lss (%ebx), %esp" DONE);
SNIPPET(load_fs, "lfs (%ebx), %esi; mov %fs, %eax" DONE);
SNIPPET(load_gs, "lgs (%ebx), %edi; mov %gs, %eax" DONE);
SNIPPET(save_environment, "fninit; fld1; fldpi; fnstenv (%ebx); fnstcw 64(%ebx)" DONE);
SNIPPET(save_x87, "fninit; fld1; fldpi; fnsave (%ebx); fnstcw 128(%ebx); fnstsw %ax" DONE);
SNIPPET(xsave, "fninit; fld1; xor %edx, %edx; mov $3, %eax; xsave (%ebx); fninit; xrstor (%ebx); "
               "fstpl -8(%ebx)" DONE);
SNIPPET(xsave_only, "xor %edx, %edx; mov $3, %eax; xsave (%ebx)" DONE);
SNIPPET(xsaveopt, "fninit; xor %edx, %edx; mov $1, %eax; xsaveopt (%ebx)" DONE);
SNIPPET(enable_xsave, "xor %ecx, %ecx; xor %edx, %edx; mov $3, %eax; xsetbv" DONE);

static void undefined(unsigned ring) {
    struct {
        const char *name;
        const uint8_t *code;
        uint32_t size;
    } rows[] = {{"syscall", syscall, 4},
                {"sysret", sysret, 4},
                {"ud0", ud0, 5},
                {"ud1", ud1, 5},
                {"ud2", ud2, 4}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct machine m = stage_run(ring, rows[i].code, rows[i].size);
        check_trap(rows[i].name, &m, VECTOR_UD, 0, CODE);
    }
}

/* SDM vol. 2: INVD and WBINVD; RDPMC of a counter that is not there. */
static void privileged(unsigned ring) {
    struct machine m = STAGE_RUN(ring, invd);
    check_trap("invd", &m, ring ? VECTOR_GP : VECTOR_DONE, 0, ring ? CODE : CODE + 4);
    m = STAGE_RUN(ring, wbinvd);
    check_trap("wbinvd", &m, ring ? VECTOR_GP : VECTOR_DONE, 0, ring ? CODE : CODE + 4);
    m = STAGE_RUN(ring, rdpmc);
    check_trap("rdpmc", &m, VECTOR_GP, 0, CODE);
    m = STAGE_RUN(ring, int1); /* the gate's DPL does not count */
    check_trap("int1", &m, VECTOR_DB, 0, CODE + 1);
}

static void far_loads(unsigned ring) {
    uint16_t selector = ring ? 0x23 : 0x10;
    *word_at(DATA) = 0x12345678;
    *word_at(DATA + 4) = selector;
    struct machine m = STAGE_RUN(ring, load_fs);
    check("lfs.offset", 0x12345678, m.esi);
    check("lfs.selector", selector, m.eax & 0xffff);
    m = STAGE_RUN(ring, load_gs);
    check("lgs.offset", 0x12345678, m.edi);
    check("lgs.selector", selector, m.eax & 0xffff);
    *word_at(DATA) = STACK_TOP - 32;
    m = STAGE_RUN(ring, load_ss);
    check("lss.vector", VECTOR_DONE, m.vector);
    check("lss.esp", STACK_TOP - 32, m.esp);
    *word_at(DATA + 4) = 0;
    m = STAGE_RUN(ring, load_gs);
    check("lgs.null", 0, m.eax & 0xffff);
    m = STAGE_RUN(ring, load_ss);
    check_trap("lss.null", &m, VECTOR_GP, 0, CODE);
}

static void x87_state(unsigned ring) {
    struct machine m = STAGE_RUN(ring, save_environment);
    check("fnstenv.control", 0x37f, *word_at(DATA) & 0xffff);
    check("fnstenv.top", 6, *word_at(DATA + 4) >> 11 & 7);
    check("fnstenv.tags", 0x0fff, *word_at(DATA + 8) & 0xffff);
    check("fnstenv.masks-all", 0x37f, *word_at(DATA + 64) & 0xffff);
    m = STAGE_RUN(ring, save_x87);
    check("fnsave.top", 6, *word_at(DATA + 4) >> 11 & 7);
    check("fnsave.pi-exponent", 0x4000, *word_at(DATA + 28 + 8) & 0xffff);
    check("fnsave.one-mantissa", 0x80000000, *word_at(DATA + 28 + 10 + 4));
    check("fnsave.resets-control", 0x37f, *word_at(DATA + 128) & 0xffff);
    check("fnsave.resets-status", 0, m.eax & 0xffff);
}

static void extended_state(unsigned ring) {
    struct machine m = STAGE(ring, xsave);
    m.ebx = AREA;
    memset((void *)AREA, 0xee, 512);
    memset((void *)(AREA + 512), 0, 64);
    guest_run(&m);
    check("xsave.vector", VECTOR_DONE, m.vector);
    check("xsave.header", 1, *word_at(AREA + 512) & 1);
    check("xrstor.one", 0x3ff00000, *word_at(AREA - 4));
    m = STAGE(ring, xsave_only);
    m.ebx = AREA + 4;
    guest_run(&m);
    check_trap("xsave.misaligned", &m, VECTOR_GP, 0, CODE + 7);
    *word_at(AREA + 512) = 0xff; /* XSTATE_BV names more than XCR0 has */
    *word_at(AREA + 516) = 0xff;
    m = STAGE(ring, xsave);
    m.ebx = AREA;
    guest_run(&m);
    check("xrstor.header-checked", VECTOR_GP, m.vector);
    memset((void *)(AREA + 512), 0, 64);
    m = STAGE(ring, xsaveopt);
    m.ebx = AREA;
    guest_run(&m);
    check("xsaveopt.vector", VECTOR_DONE, m.vector);
}

static void without_operands_to_compare(unsigned ring) {
    struct machine m = STAGE_RUN(ring, clocks);
    check_true("rdtsc.grows", m.edx > m.edi || (m.edx == m.edi && m.eax > m.esi));
    m = STAGE_RUN(ring, prefetch); /* of an address that is not mapped */
    check("prefetchw", VECTOR_DONE, m.vector);
    m = STAGE_RUN(ring, random);
    check("rdrand", cpuid(1).ecx & CPUID_RDRAND ? VECTOR_DONE : VECTOR_UD, m.vector);
    check_true("rdrand.carry", m.vector == VECTOR_UD || (m.edx & 0xff) == 1);
    m = STAGE_RUN(ring, seed);
    check("rdseed", cpuid(7).ebx & CPUID_RDSEED ? VECTOR_DONE : VECTOR_UD, m.vector);
}

static void check_ring(unsigned ring) {
    check_variant(ring_name(ring));
    without_operands_to_compare(ring);
    undefined(ring);
    privileged(ring);
    far_loads(ring);
    x87_state(ring);
    check_variant(NULL);
}

void guest_main(void) {
    stage_start();
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS));
    check_ring(0);
    check_ring(3);
    if (cpuid(1).ecx & CPUID_XSAVE) {
        struct machine m = STAGE(3, xsave_only);
        m.ebx = AREA;
        guest_run(&m);
        check_trap("xsave.not-enabled", &m, VECTOR_UD, 0, CODE + 7);
        write_cr4(read_cr4() | CR4_OSXSAVE);
        m = STAGE_RUN(0, enable_xsave);
        check("xsetbv.vector", VECTOR_DONE, m.vector);
        extended_state(0);
        extended_state(3);
    }
    check_finish("rare_instructions");
}
