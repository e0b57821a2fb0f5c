/* Vector instructions that reach memory in many places, or through EDI: gathers and masked stores,
 * in flat segments, in segments with a base or a limit, from ring 0 to user pages, and with a page
 * missing in the middle. */
#include "tests/guests/stage.h"

enum {
    SEGMENT = FREE_SELECTOR | 3, /* base DATA */
    LIMITED = (FREE_SELECTOR + 8) | 3,
    INDEXES = DATA, /* read and written at these places */
    RESULT = DATA + 0x20,
    MASK_LEFT = DATA + 0x30,
    TABLE = DATA + 0x100,
    CR4_OSXSAVE = 1 << 18,
    CPUID_AVX2 = 1 << 5,
    CPUID_XSAVE = 1 << 26,
};

/* EBX is the table's offset in the segment, EDX the offset of DATA in DS. */
#define GATHER(segment)                                                                            \
    "vpcmpeqd %xmm2, %xmm2, %xmm2; vpsrldq $4, %xmm2, %xmm2; vmovdqu %cs:(%esi), %xmm1\n"          \
    "vpcmpeqd %xmm0, %xmm0, %xmm0; nop\n"                                                          \
    "vpgatherdd %xmm2, %" segment ":(%ebx,%xmm1,4), %xmm0\n"                                       \
    "vmovdqu %xmm0, %es:0x20(%esi); vmovdqu %xmm2, %es:0x30(%esi)" DONE
SNIPPET(gather_ds, GATHER("ds"));
SNIPPET(gather_fs, GATHER("fs"));
SNIPPET(
    store_masked,
    "pcmpeqb %xmm0, %xmm0; psrldq $12, %xmm0; movd %eax, %xmm1; nop; maskmovdqu %xmm0, %xmm1" DONE);
SNIPPET(store_masked_fs, "pcmpeqb %xmm0, %xmm0; psrldq $12, %xmm0; movd %eax, %xmm1; nop\n"
                         "fs maskmovdqu %xmm0, %xmm1" DONE);
SNIPPET(
    exchange,
    "mov $0x5511, %eax; mov $0x6622, %ecx; push $0x11; lock cmpxchg %ah, (%esp); mov (%esp), %edx\n"
    "cmpxchg %ah, (%esp); mov %eax, %esi; movb $0x55, %al; cmpxchg %ch, (%esp); pop %ebp" DONE);

static void set_indexes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    uint32_t values[4] = {a, b, c, d};
    for (unsigned i = 0; i < 4; i++)
        *word_at(INDEXES + i * 4) = values[i];
    for (uint32_t i = 0; i < 64; i++)
        *word_at(TABLE + i * 4) = 0x1000 + i;
}

static struct machine prepared(unsigned ring, const uint8_t *code, uint32_t size, uint32_t ebx) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.ebx = ebx, m.esi = INDEXES;
    return m;
}
#define PREPARED(ring, name, ebx) prepared(ring, name, SNIPPET_SIZE(name), ebx)

static void check_gathered(const char *name, struct machine m) {
    guest_run(&m);
    check(name, VECTOR_DONE, m.vector);
    check("gather.0", 0x1003, *word_at(RESULT));
    check("gather.1", 0x103f, *word_at(RESULT + 4));
    check("gather.2", 0x1000, *word_at(RESULT + 8));
    check("gather.masked-out", 0xffffffff, *word_at(RESULT + 12));
    check("gather.mask-cleared", 0, *word_at(MASK_LEFT) | *word_at(MASK_LEFT + 8));
}

static void gathers(void) {
    set_indexes(3, 63, 0, 5);
    check_gathered("gather.ring3", PREPARED(3, gather_ds, TABLE));
    check_gathered("gather.ring0-user-page", PREPARED(0, gather_ds, TABLE));
    struct machine m = PREPARED(3, gather_fs, TABLE - DATA);
    m.fs = SEGMENT;
    check_gathered("gather.based", m);
    m.fs = LIMITED;
    check_gathered("gather.limited", m);
    set_indexes(3, 64, 0, 5);
    m = PREPARED(3, gather_fs, TABLE - DATA);
    m.fs = LIMITED;
    guest_run(&m);
    check_trap_unless_tcg("gather.beyond", &m, VECTOR_GP, 0, CODE + 19);
    set_indexes(3, (HOLE - TABLE) / 4 + 7, 0, 5);
    m = PREPARED(3, gather_ds, TABLE);
    guest_run(&m);
    check_trap("gather.hole", &m, VECTOR_PF, PF_USER, CODE + 19);
    check("gather.hole.cr2", HOLE + 28, m.cr2);
    m = PREPARED(3, gather_fs, TABLE - DATA);
    m.fs = SEGMENT;
    guest_run(&m);
    check_trap("gather.hole-based", &m, VECTOR_PF, PF_USER, CODE + 19);
    check("gather.hole-based.cr2", HOLE + 28, m.cr2);
}

static void check_masked(const char *name, struct machine m, uint32_t edi) {
    *word_at(DATA + 0x80) = *word_at(DATA + 0x84) = 0x77777777;
    m.eax = 0xcafef00d, m.edi = edi;
    guest_run(&m);
    check(name, VECTOR_DONE, m.vector);
    check("masked.stored", 0xcafef00d, *word_at(DATA + 0x80));
    check("masked.left", 0x77777777, *word_at(DATA + 0x84));
    check("masked.edi", edi, m.edi);
}

static void masked_stores(void) {
    check_masked("masked.ring3", PREPARED(3, store_masked, 0), DATA + 0x80);
    check_masked("masked.ring0-user-page", PREPARED(0, store_masked, 0), DATA + 0x80);
    struct machine m = PREPARED(3, store_masked_fs, 0);
    m.fs = SEGMENT;
    check_masked("masked.based", m, 0x80);
    m.fs = LIMITED;
    check_masked("masked.limited", m, 0x80);
    m = PREPARED(3, store_masked_fs, 0);
    m.fs = SEGMENT, m.edi = PAGE_SIZE + 8;
    guest_run(&m);
    check_trap("masked.hole", &m, VECTOR_PF, PF_USER | PF_WRITE, CODE + 14);
    check("masked.hole.edi", PAGE_SIZE + 8, m.edi);
}

static void high_bytes(void) {
    struct machine m = PREPARED(3, exchange, 0);
    guest_run(&m);
    check("exchange", VECTOR_DONE, m.vector);
    check("exchange.equal", 0x55, m.edx);
    check("exchange.unequal", 0x5555, m.esi);
    check("exchange.ch", 0x66, m.ebp);
}

/* XCR0: x87, SSE and AVX. */
static bool start_avx(void) {
    struct cpuid one = cpuid(1);
    if (!(one.ecx & CPUID_XSAVE) || !(cpuid(7).ebx & CPUID_AVX2))
        return false;
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE);
    __asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
    return true;
}

void guest_main(void) {
    stage_start();
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS | CR0_MP));
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    gdt_set(SEGMENT & ~7, DATA, 0xfffff, 0xf3, 12);
    gdt_set(LIMITED & ~7, DATA, 0x1ff, 0xf3, 4);
    if (start_avx())
        gathers();
    masked_stores();
    high_bytes();
    check_finish("vector_memory");
}
