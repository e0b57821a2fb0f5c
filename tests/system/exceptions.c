/* Exceptions of instructions: x87, MMX, SSE and AVX under every combination of the control bits
 * that make them fault, opcodes too long and undefined ones, LOCK, alignment checks, and the A and
 * D bits that an instruction leaves when a part of it faults (SDM vol. 3A, 2.5, 4.8, 6.15, 13.1).
 */
#include "tests/system/record.h"

enum { CR4_OSXSAVE = 1 << 18, ALIGNED = 0x100 };

/* Operands at (%ebx) = DATA + ALIGNED. */
SNIPPET(x87_load, "fld1; fstp %st(0)" DONE);
SNIPPET(x87_control, "fnstcw (%ebx); fnstsw %ax" DONE);
SNIPPET(x87_init, "fninit" DONE);
SNIPPET(x87_save, "fnsave (%ebx); frstor (%ebx)" DONE);
SNIPPET(wait_, "wait" DONE);
SNIPPET(mmx_add, "paddd %mm0, %mm1; emms" DONE);
SNIPPET(mmx_sse, "pshufw $0, %mm0, %mm1; emms" DONE);
SNIPPET(sse_xor, "xorps %xmm0, %xmm0" DONE);
SNIPPET(sse2_add, "paddd %xmm0, %xmm1" DONE);
SNIPPET(sse_mixed, "cvtpi2ps %mm0, %xmm0; emms" DONE);
SNIPPET(ldmxcsr_, "stmxcsr (%ebx); ldmxcsr (%ebx)" DONE);
SNIPPET(fxsave_, "fxsave (%ebx); fxrstor (%ebx)" DONE);
SNIPPET(fxsave_unaligned, "fxsave 4(%ebx)" DONE);
SNIPPET(ssse3, "pabsd %xmm0, %xmm1" DONE);
SNIPPET(crc32_, "crc32l %eax, %ecx" DONE);
SNIPPET(popcnt_, "popcnt %eax, %ecx" DONE);
SNIPPET(movnti_, "movnti %eax, (%ebx)" DONE);
SNIPPET(fences, "sfence; lfence; mfence; pause; prefetcht0 (%ebx); clflush (%ebx)" DONE);
SNIPPET(xgetbv_, "xor %ecx, %ecx; xgetbv" DONE);
SNIPPET(xsetbv_, "xor %ecx, %ecx; xor %edx, %edx; mov $1, %eax; xsetbv" DONE);
SNIPPET(xsetbv_zero, "xor %ecx, %ecx; xor %edx, %edx; xor %eax, %eax; xsetbv" DONE);
SNIPPET(xsetbv_index, "mov $1, %ecx; xor %edx, %edx; mov $1, %eax; xsetbv" DONE);
SNIPPET(xsave_, "mov $3, %eax; xor %edx, %edx; xsave (%ebx)" DONE);
SNIPPET(xsave_unaligned, "mov $3, %eax; xor %edx, %edx; xsave 16(%ebx)" DONE);
SNIPPET(avx_xor, "vxorps %xmm0, %xmm0, %xmm0" DONE);
SNIPPET(avx_zero, "vzeroupper" DONE);
SNIPPET(fisttp_, "fld1; fisttpl (%ebx)" DONE);
SNIPPET(fcomi_, "fld1; fld1; fcomip %st(1), %st; fstp %st(0)" DONE);
SNIPPET(unaligned_move, "movaps 4(%ebx), %xmm0" DONE);
SNIPPET(unaligned_add, "paddd 8(%ebx), %xmm0" DONE);
SNIPPET(pending_x87,
        "fninit; movw $0x033b, (%ebx); fldcw (%ebx); fld1; fldz; fdivrp; nop; wait; nop" DONE);
SNIPPET(
    pending_then_load,
    "fninit; movw $0x033b, (%ebx); fldcw (%ebx); fld1; fldz; fdivrp; nop; fldl (%edx); nop" DONE);
SNIPPET(
    pending_then_mmx,
    "fninit; movw $0x033b, (%ebx); fldcw (%ebx); fld1; fldz; fdivrp; nop; paddd (%edx), %mm0" DONE);
SNIPPET(
    pending_then_control,
    "fninit; movw $0x033b, (%ebx); fldcw (%ebx); fld1; fldz; fdivrp; fnstcw (%ebx); fninit" DONE);
SNIPPET(unmasked_sse, "movl $0x1d80, (%ebx); ldmxcsr (%ebx); xorps %xmm0, %xmm0; divps %xmm0, "
                      "%xmm0; movl $0x1f80, (%ebx); ldmxcsr (%ebx)" DONE);
SNIPPET(bad_mxcsr, "movl $0x10000, (%ebx); ldmxcsr (%ebx)" DONE);

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }
static const struct way units[] = {
    WAY(x87_load),
    WAY(x87_control),
    WAY(x87_init),
    WAY(x87_save),
    WAY(wait_),
    WAY(mmx_add),
    WAY(mmx_sse),
    WAY(sse_xor),
    WAY(sse2_add),
    WAY(sse_mixed),
    WAY(ldmxcsr_),
    WAY(fxsave_),
    WAY(fxsave_unaligned),
    WAY(ssse3),
    WAY(crc32_),
    WAY(popcnt_),
    WAY(movnti_),
    WAY(fences),
    WAY(xgetbv_),
    WAY(xsetbv_),
    WAY(xsetbv_zero),
    WAY(xsetbv_index),
    WAY(xsave_),
    WAY(xsave_unaligned),
    WAY(avx_xor),
    WAY(avx_zero),
    WAY(fisttp_),
    WAY(fcomi_),
    WAY(unaligned_move),
    WAY(unaligned_add),
    WAY(pending_x87),
    WAY(pending_then_load),
    WAY(pending_then_mmx),
    WAY(pending_then_control),
    WAY(unmasked_sse),
    WAY(bad_mxcsr),
};

static struct machine image(unsigned ring, const struct way *way) {
    struct machine m = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    m.ebx = DATA + ALIGNED;
    m.edx = HOLE;
    return m;
}

static void clean_units(void) {
    static const uint32_t mxcsr = 0x1f80;
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS));
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    __asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

static void control_bits(void) {
    uint32_t cr0 = read_cr0() & ~(uint32_t)(CR0_MP | CR0_EM | CR0_TS), cr4 = read_cr4();
    for (unsigned i = 0; i < sizeof units / sizeof *units; i++)
        for (unsigned bits = 0; bits < 64; bits++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                memset((void *)DATA, 0, PAGE_SIZE);
                clean_units();
                write_cr4(cr4 | (bits & 8 ? CR4_OSFXSR : 0u) | (bits & 16 ? CR4_OSXMMEXCPT : 0u) |
                          (bits & 32 ? CR4_OSXSAVE : 0u));
                /* NE stays: what an external interrupt would do is the chipset's. */
                write_cr0(cr0 | CR0_NE | (bits & 1 ? CR0_MP : 0u) | (bits & 2 ? CR0_EM : 0u) |
                          (bits & 4 ? CR0_TS : 0u));
                struct machine m = image(ring, &units[i]);
                guest_run(&m);
                record_case("mp%x.em%x.ts%x", bits & 1, bits >> 1 & 1, bits >> 2 & 1, 0);
                char name[48];
                unsigned n = 0;
                for (const char *at = units[i].name; *at; at++)
                    name[n++] = *at;
                static const char *const suffixes[] = {
                    "",       ".fxsr",       ".xmm",       ".fxsr.xmm",
                    ".xsave", ".fxsr.xsave", ".xmm.xsave", ".fxsr.xmm.xsave"};
                for (const char *at = suffixes[bits >> 3]; *at; at++)
                    name[n++] = *at;
                name[n++] = ring ? '3' : '0';
                name[n] = 0;
                record_outcome(name, &m, CODE, m.esp);
            }
    clean_units();
    write_cr4(cr4);
    write_cr0(cr0);
}

/* Bytes of an opcode, run in both rings. */
struct bytes {
    const char *name;
    uint8_t size, bytes[17];
};
static const struct bytes opcodes[] = {
    {"ud0", 3, {0x0f, 0xff, 0xc0}},
    {"ud1", 3, {0x0f, 0xb9, 0xc0}},
    {"ud2", 2, {0x0f, 0x0b}},
    {"nop-15",
     15,
     {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}},
    {"nop-16",
     16,
     {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
      0x90}},
    {"prefixes-17",
     17,
     {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
      0x66, 0x90}},
    {"mov-16",
     16,
     {0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0xb8, 1, 2, 3, 4}},
    {"lock-add-memory", 3, {0xf0, 0x01, 0x03}},
    {"lock-add-register", 3, {0xf0, 0x01, 0xc0}},
    {"lock-mov", 3, {0xf0, 0x89, 0x03}},
    {"lock-nop", 2, {0xf0, 0x90}},
    {"lock-cmp", 3, {0xf0, 0x39, 0x03}},
    {"lock-inc", 3, {0xf0, 0xff, 0x03}},
    {"lock-push", 3, {0xf0, 0xff, 0x33}},
    {"lock-bt", 4, {0xf0, 0x0f, 0xa3, 0x03}},
    {"lock-bts", 4, {0xf0, 0x0f, 0xab, 0x03}},
    {"lock-xadd", 4, {0xf0, 0x0f, 0xc1, 0x03}},
    {"lock-xchg-register", 3, {0xf0, 0x87, 0xc0}},
    {"lock-cmpxchg8b-register", 4, {0xf0, 0x0f, 0xc7, 0xc8}},
    {"cmpxchg8b-register", 3, {0x0f, 0xc7, 0xc8}},
    {"lock-test", 3, {0xf0, 0x85, 0x03}},
    {"lock-not", 3, {0xf0, 0xf7, 0x13}},
    {"lock-mul", 3, {0xf0, 0xf7, 0x23}},
    {"lock-lea", 3, {0xf0, 0x8d, 0x03}},
    {"lea-register", 2, {0x8d, 0xc0}},
    {"les-register", 2, {0xc4, 0xc0}},
    {"lock-movs", 2, {0xf0, 0xa5}},
    {"lock-cli", 2, {0xf0, 0xfa}},
    {"mov-cs", 2, {0x8e, 0xc8}},
    {"mov-seg6", 2, {0x8e, 0xf0}},
    {"mov-from-seg7", 2, {0x8c, 0xf8}},
    {"ff-7", 2, {0xff, 0xfb}},
    {"fe-2", 2, {0xfe, 0xd0}},
    {"c6-1", 3, {0xc6, 0xc8, 0}},
    {"c7-7", 6, {0xc7, 0xf9, 0, 0, 0, 0}},
    {"f6-1", 3, {0xf6, 0xc8, 1}},
    {"d0-6", 2, {0xd0, 0xf0}},
    {"salc", 1, {0xd6}},
    {"icebp", 1, {0xf1}},
    {"aam-0", 2, {0xd4, 0}},
    {"bound-register", 2, {0x62, 0xc0}},
    {"pop-ea-1", 2, {0x8f, 0xc8}},
    {"0f04", 2, {0x0f, 0x04}},
    {"0f24", 3, {0x0f, 0x24, 0xc0}},
    {"0f3f", 2, {0x0f, 0x3f}},
    {"0fa6", 3, {0x0f, 0xa6, 0xc0}},
    {"rsm", 2, {0x0f, 0xaa}},
    {"0f0e", 2, {0x0f, 0x0e}},
    {"0fa7", 3, {0x0f, 0xa7, 0xc8}},
    {"rep-lock-add", 4, {0xf3, 0xf0, 0x01, 0x03}},
    {"sgdt-register", 3, {0x0f, 0x01, 0xc0}},
    {"invlpg-register", 3, {0x0f, 0x01, 0xfb}},
    {"sldt-group-6", 3, {0x0f, 0x00, 0xf0}},
    {"vex-lock", 6, {0xf0, 0xc5, 0xf8, 0x57, 0xc0, 0x90}},
    {"div-overflow", 2, {0xf7, 0xf1}},
    {"into-clear", 1, {0xce}},
};

static void opcode_faults(void) {
    record_section("opcode");
    for (unsigned i = 0; i < sizeof opcodes / sizeof *opcodes; i++)
        for (unsigned ring = 0; ring < 4; ring += 3) {
            struct machine m = ring_at(ring, opcodes[i].bytes, opcodes[i].size);
            memcpy((void *)(CODE + opcodes[i].size), "\xcd\x81", 2);
            m.ebx = DATA + ALIGNED;
            m.esi = DATA, m.edi = DATA + 64;
            m.ecx = 1, m.edx = 1;
            record_case("ring%x", ring, 0, 0, 0);
            record_run(opcodes[i].name, &m);
        }
    /* At the end of a page with nothing behind it: the fetch faults before anything is known, or
     * the length does. */
    for (unsigned i = 0; i < sizeof opcodes / sizeof *opcodes; i++)
        for (unsigned part = 1; part <= opcodes[i].size; part += 3) {
            memcpy((void *)(CODE2 + PAGE_SIZE - part), opcodes[i].bytes, part);
            struct machine m = ring_at(3, (const uint8_t *)"\x90", 1);
            m.eip = CODE2 + PAGE_SIZE - part;
            m.ebx = DATA + ALIGNED;
            m.esi = DATA, m.edi = DATA + 64;
            m.ecx = 1, m.edx = 1;
            record_case("page-end.part%x", part, 0, 0, 0);
            record_run(opcodes[i].name, &m);
        }
}

/* Accesses that cross into a page that is not there, or is read-only: what the first page's A and D
 * are afterwards, and registers that an instruction changes late. */
SNIPPET(cross_read, "mov (%edx), %eax" DONE);
SNIPPET(cross_write, "mov %eax, (%edx)" DONE);
SNIPPET(cross_modify, "incl (%edx)" DONE);
SNIPPET(cross_exchange, "xchg %eax, (%edx)" DONE);
SNIPPET(cross_compare, "cmpxchg %ecx, (%edx)" DONE);
SNIPPET(cross_push, "mov %edx, %esp; push %eax" DONE);
SNIPPET(cross_pop, "lea -4(%ebx), %esp; push $5; pop (%edx)" DONE);
SNIPPET(cross_movs, "mov %edx, %edi; mov %ebx, %esi; mov $3, %ecx; rep movsl" DONE);
SNIPPET(cross_lods, "mov %edx, %esi; mov $3, %ecx; rep lodsl" DONE);
SNIPPET(cross_pusha, "lea 20(%edx), %esp; pusha" DONE);
SNIPPET(cross_popa, "lea -12(%edx), %esp; popa" DONE);
SNIPPET(cross_enter, "lea 6(%edx), %esp; mov %ebx, %ebp; enter $16, $3" DONE);
SNIPPET(cross_call, "lea 2(%edx), %esp; call 1f; 1:" DONE);
SNIPPET(cross_sse, "movups (%edx), %xmm0" DONE);
SNIPPET(cross_sse_store, "movups %xmm0, (%edx)" DONE);
SNIPPET(cross_fsave, "fnsave (%edx)" DONE);
SNIPPET(cross_fxsave, "fxsave -14(%edx)" DONE);
SNIPPET(cross_cmpxchg8b, "cmpxchg8b (%edx)" DONE);
SNIPPET(cross_bts, "mov $16, %eax; bts %eax, (%edx)" DONE);
SNIPPET(cross_sgdt, "sgdt -2(%edx)" DONE);
SNIPPET(cross_les, "les -1(%edx), %eax" DONE);

static void crossings(void) {
    static const struct way all[] = {WAY(cross_read),     WAY(cross_write),   WAY(cross_modify),
                                     WAY(cross_exchange), WAY(cross_compare), WAY(cross_push),
                                     WAY(cross_pop),      WAY(cross_movs),    WAY(cross_lods),
                                     WAY(cross_pusha),    WAY(cross_popa),    WAY(cross_enter),
                                     WAY(cross_call),     WAY(cross_sse),     WAY(cross_sse_store),
                                     WAY(cross_fsave),    WAY(cross_fxsave),  WAY(cross_cmpxchg8b),
                                     WAY(cross_bts),      WAY(cross_sgdt),    WAY(cross_les)};
    static const struct {
        const char *name;
        uint32_t first, second;
    } pages[] = {{"absent-after", USER_PAGE, 0},
                 {"absent-before", 0, USER_PAGE},
                 {"read-only-after", USER_PAGE, PTE_P | PTE_U},
                 {"read-only-before", PTE_P | PTE_U, USER_PAGE},
                 {"kernel-after", USER_PAGE, KERNEL_PAGE},
                 {"both", USER_PAGE, USER_PAGE}};
    uint32_t frames[2] = {page_take(), page_take()};
    clean_units();
    for (unsigned p = 0; p < sizeof pages / sizeof *pages; p++)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
            for (unsigned ring = 0; ring < 4; ring += 3) {
                if (ring == 0 && (all[i].code == cross_push || all[i].code == cross_pop ||
                                  all[i].code == cross_pusha || all[i].code == cross_popa ||
                                  all[i].code == cross_enter || all[i].code == cross_call))
                    continue; /* the exception's own frame would not fit */
                struct machine m = image(ring, &all[i]);
                memset((void *)frames[0], 0, PAGE_SIZE);
                memset((void *)frames[1], 0, PAGE_SIZE);
                stage_map(PROBE, frames[0], pages[p].first);
                stage_map(PROBE + PAGE_SIZE, frames[1], pages[p].second);
                m.edx = PROBE + PAGE_SIZE - 2;
                m.eax = 0x11223344, m.ecx = 0x55667788, m.ebp = 0x1234;
                guest_run(&m);
                record_section(pages[p].name);
                record_case("ring%x", ring, 0, 0, 0);
                line_begin(all[i].name);
                line_outcome(&m, 0);
                line_value(m.vector == VECTOR_PF ? m.cr2 : 0);
                line_value(m.eip - CODE);
                line_value(m.esp - PROBE), line_value(m.ecx), line_value(m.esi - DATA),
                    line_value(m.edi - PROBE);
                line_value(m.ebp);
                line_text("ad");
                line_value(*space_entry(&stage, PROBE) >> 5 & 3);
                line_value(*space_entry(&stage, PROBE + PAGE_SIZE) >> 5 & 3);
                line_text("last"), line_value(*(volatile uint16_t *)(frames[0] + PAGE_SIZE - 2));
                line_value(*(volatile uint32_t *)frames[1]);
                line_end();
            }
}

/* #AC by CR0.AM, EFLAGS.AC and CPL, and against page faults and segment limits. */
SNIPPET(ac_word, "mov 1(%ebx), %ax" DONE);
SNIPPET(ac_long, "mov 2(%ebx), %eax" DONE);
SNIPPET(ac_store, "mov %eax, 3(%ebx)" DONE);
SNIPPET(ac_hole, "mov 1(%edx), %eax" DONE);
SNIPPET(ac_cross, "mov -1(%edx), %eax" DONE);
SNIPPET(ac_push, "sub $2, %esp; push %eax; add $6, %esp" DONE);
SNIPPET(ac_call, "sub $2, %esp; call 1f; 1: add $6, %esp" DONE);
SNIPPET(ac_movs, "lea 2(%ebx), %esi; lea 64(%ebx), %edi; movsl" DONE);
SNIPPET(ac_x87, "fldl 4(%ebx); fstp %st(0)" DONE);
SNIPPET(ac_x87_extended, "fldt 2(%ebx); fstp %st(0)" DONE);
SNIPPET(ac_sse, "movups 1(%ebx), %xmm0" DONE);
SNIPPET(ac_sse_low, "movsd 4(%ebx), %xmm0" DONE);
SNIPPET(ac_cmpxchg8b, "cmpxchg8b 4(%ebx)" DONE);
SNIPPET(ac_segment, "mov %ds, 1(%ebx)" DONE);
SNIPPET(ac_les, "mov %ds, 6(%ebx); les 2(%ebx), %eax" DONE);
SNIPPET(ac_sidt, "sidt 1(%ebx)" DONE);
SNIPPET(ac_locked, "lock incl 1(%ebx)" DONE);
static void alignment(void) {
    static const struct way all[] = {
        WAY(ac_word), WAY(ac_long),    WAY(ac_store),     WAY(ac_hole),    WAY(ac_cross),
        WAY(ac_push), WAY(ac_call),    WAY(ac_movs),      WAY(ac_x87),     WAY(ac_x87_extended),
        WAY(ac_sse),  WAY(ac_sse_low), WAY(ac_cmpxchg8b), WAY(ac_segment), WAY(ac_les),
        WAY(ac_sidt), WAY(ac_locked)};
    uint32_t cr0 = read_cr0();
    record_section("alignment");
    clean_units();
    memset((void *)DATA, 0, PAGE_SIZE);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned ring = 0; ring < 4; ring++)
            for (unsigned bits = 0; bits < 4; bits++) {
                write_cr0((cr0 & ~(uint32_t)CR0_AM) | (bits & 1 ? CR0_AM : 0u));
                struct machine m = image(ring, &all[i]);
                m.eflags |= bits & 2 ? FLAG_AC : 0;
                record_case("ring%x.am%x.ac%x", ring, bits & 1, bits >> 1, 0);
                record_run(all[i].name, &m);
            }
    write_cr0(cr0);
}

void guest_main(void) {
    record_start();
    control_bits();
    opcode_faults();
    crossings();
    alignment();
    record_finish();
}
