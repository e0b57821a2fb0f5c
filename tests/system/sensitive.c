/* The 17 sensitive instructions of Robin and Irvine and the privileged ones at every CPL and
 * IOPL: what faults, and what the others read and change; ports by IOPL and by the TSS's bitmap;
 * the flags that POPF, IRET, CLI and STI may change (SDM vol. 3A, 5.9; vol. 1, 19.5). */
#include "tests/system/record.h"

enum { GATE = TEST_SELECTOR, PORT = 0x80 };

#define RESULT "; nop" DONE
/* The 17: their results stay in ECX or at DATA. */
SNIPPET(sgdt_, "sgdt (%ebx)" RESULT);
SNIPPET(sidt_, "sidt (%ebx)" RESULT);
SNIPPET(sldt_, "sldt %cx" RESULT);
SNIPPET(smsw_, "smsw %cx" RESULT);
SNIPPET(str_, "str %cx" RESULT);
SNIPPET(pushf_, "pushf; pop %ecx" RESULT);
SNIPPET(pushfw_, "pushfw; pop %cx" RESULT);
SNIPPET(popf_, "push %eax; popf; pushf; pop %ecx; push $2; popf" RESULT);
SNIPPET(popfw_, "push %ax; popfw; pushf; pop %ecx; push $2; popf" RESULT);
SNIPPET(lar_, "lar %edx, %ecx; and $0xfff0ffff, %ecx" RESULT);
SNIPPET(lsl_, "lsl %edx, %ecx" RESULT);
SNIPPET(verr_, "verr %dx; setz %cl" RESULT);
SNIPPET(verw_, "verw %dx; setz %cl" RESULT);
SNIPPET(push_segment, "push %cs; pop %ecx" RESULT);
SNIPPET(pop_segment, "push $0x23; pop %fs; mov %fs, %ecx" RESULT);
SNIPPET(mov_from_segment, "mov %ss, %ecx" RESULT);
SNIPPET(mov_to_segment, "mov $0x23, %ecx; mov %ecx, %gs; mov %gs, %ecx" RESULT);
SNIPPET(call_far, "mov %cs, 4(%ebx); movl $0x40000080, (%ebx); lcall *(%ebx)" RESULT);
SNIPPET(call_gate, "mov %esi, 4(%ebx); lcall *(%ebx)" RESULT);
SNIPPET(jmp_far, "mov %cs, 4(%ebx); movl $0x40000080, (%ebx); ljmp *(%ebx)" RESULT);
SNIPPET(int_n, "int $0x90" RESULT);
SNIPPET(ret_far, "push %cs; push $0x40000080; lret" RESULT);
SNIPPET(iret_, "push %eax; push %cs; push $0x40000080; iret" RESULT);
/* The privileged ones. */
SNIPPET(hlt_, "jmp 1f; hlt; 1:" RESULT);
SNIPPET(cli_, "cli; pushf; pop %ecx" RESULT);
SNIPPET(sti_, "sti; pushf; pop %ecx; cli" RESULT);
SNIPPET(lgdt_, "sgdt (%ebx); lgdt (%ebx)" RESULT);
SNIPPET(lidt_, "sidt (%ebx); lidt (%ebx)" RESULT);
SNIPPET(lldt_, "xor %eax, %eax; lldt %ax" RESULT);
SNIPPET(ltr_, "ltr %ax" RESULT);
SNIPPET(lmsw_, "smsw %ax; lmsw %ax" RESULT);
SNIPPET(clts_, "clts" RESULT);
SNIPPET(mov_from_cr0, "mov %cr0, %ecx; and $0x8005003f, %ecx" RESULT);
SNIPPET(mov_to_cr0, "mov %cr0, %ecx; mov %ecx, %cr0; and $0x8005003f, %ecx" RESULT);
SNIPPET(mov_from_cr2, "mov %cr2, %eax" RESULT);
SNIPPET(mov_from_cr3, "mov %cr3, %ecx; mov %ecx, %cr3" RESULT);
SNIPPET(mov_from_cr4, "mov %cr4, %ecx; mov %ecx, %cr4" RESULT);
SNIPPET(mov_from_cr1, ".byte 0x0f, 0x20, 0xc9" RESULT);
SNIPPET(mov_to_cr5, ".byte 0x0f, 0x22, 0xe9" RESULT);
SNIPPET(mov_from_dr6, "mov %dr6, %ecx" RESULT);
SNIPPET(mov_from_dr4, ".byte 0x0f, 0x21, 0xe1" RESULT);
SNIPPET(mov_to_dr7, "mov %dr7, %ecx; mov %ecx, %dr7" RESULT);
SNIPPET(invlpg_, "invlpg (%ebx)" RESULT);
SNIPPET(wbinvd_, "wbinvd" RESULT);
SNIPPET(rdmsr_, "mov $0x174, %ecx; rdmsr" RESULT);
SNIPPET(wrmsr_, "mov $0x174, %ecx; xor %eax, %eax; xor %edx, %edx; wrmsr" RESULT);
SNIPPET(rdmsr_unknown, "mov $0x12345, %ecx; rdmsr" RESULT);
SNIPPET(rdtsc_, "rdtsc; xor %eax, %eax; xor %edx, %edx" RESULT);
SNIPPET(sysexit_, "xor %ecx, %ecx; sysexit");
SNIPPET(in8, "in $0x80, %al" RESULT);
SNIPPET(out8, "mov $0x5a, %al; out %al, $0x80" RESULT);
SNIPPET(in32_dx, "mov $0x80, %edx; in (%dx), %eax" RESULT);
SNIPPET(out16_dx, "mov $0x80, %edx; out %ax, (%dx)" RESULT);
SNIPPET(ins8, "mov $0x80, %edx; mov %ebx, %edi; insb" RESULT);
SNIPPET(outs8, "mov $0x80, %edx; mov %ebx, %esi; outsb" RESULT);
SNIPPET(rep_outs_none, "mov $0x80, %edx; xor %ecx, %ecx; rep outsb" RESULT);
SNIPPET(rep_ins_none, "mov $0x80, %edx; xor %ecx, %ecx; mov %ebx, %edi; rep insb" RESULT);
SNIPPET(rep_outs_cx_none, "mov $0x80, %edx; mov $0x10000, %ecx; rep addr16 outsb" RESULT);
SNIPPET(rep_ins_absent, "mov $0x80, %edx; mov $2, %ecx; mov $0x40011000, %edi; rep insb" RESULT);
SNIPPET(rep_outs_absent_none,
        "mov $0x80, %edx; xor %ecx, %ecx; mov $0x40011000, %esi; rep outsb" RESULT);
SNIPPET(landing, "mov %cs, %ecx; int $0x81");

static const struct way {
    const char *name;
    const uint8_t *code, *end;
    bool memory; /* the result is at DATA */
} ways[] = {
#define WAY(name)                                                                                  \
    { #name, name, name##_end, false }
    {"sgdt", sgdt_, sgdt__end, true},
    {"sidt", sidt_, sidt__end, true},
    WAY(sldt_),
    WAY(smsw_),
    WAY(str_),
    WAY(pushf_),
    WAY(pushfw_),
    WAY(popf_),
    WAY(popfw_),
    WAY(lar_),
    WAY(lsl_),
    WAY(verr_),
    WAY(verw_),
    WAY(push_segment),
    WAY(pop_segment),
    WAY(mov_from_segment),
    WAY(mov_to_segment),
    WAY(call_far),
    WAY(call_gate),
    WAY(jmp_far),
    WAY(int_n),
    WAY(ret_far),
    WAY(iret_),
    WAY(hlt_),
    WAY(cli_),
    WAY(sti_),
    WAY(lgdt_),
    WAY(lidt_),
    WAY(lldt_),
    WAY(ltr_),
    WAY(lmsw_),
    WAY(clts_),
    WAY(mov_from_cr0),
    WAY(mov_to_cr0),
    WAY(mov_from_cr2),
    WAY(mov_from_cr3),
    WAY(mov_from_cr4),
    WAY(mov_from_cr1),
    WAY(mov_to_cr5),
    WAY(mov_from_dr6),
    WAY(mov_from_dr4),
    WAY(mov_to_dr7),
    WAY(invlpg_),
    WAY(wbinvd_),
    WAY(rdmsr_),
    WAY(wrmsr_),
    WAY(rdmsr_unknown),
    WAY(rdtsc_),
    WAY(sysexit_),
    WAY(in8),
    WAY(out8),
    WAY(in32_dx),
    WAY(out16_dx),
    WAY(ins8),
    WAY(outs8),
    WAY(rep_outs_none),
    WAY(rep_ins_none),
    WAY(rep_outs_cx_none),
    WAY(rep_ins_absent),
    WAY(rep_outs_absent_none),
};

static struct machine image(const struct way *way, unsigned ring, unsigned iopl) {
    struct machine m = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    memcpy((void *)(CODE + 0x80), landing, SNIPPET_SIZE(landing));
    memset((void *)DATA, 0, 16);
    m.eflags |= iopl << 12;
    m.eax = 0x3ed7 & ~(uint32_t)FLAG_TF; /* everything below NT but TF */
    m.edx = USER_DS;
    m.esi = GATE | 3;
    return m;
}

static void instructions(void) {
    set_call_gate(GATE, KERNEL_CS, CODE + 0x80, 0xec, 0);
    set_idt_gate(0x90, KERNEL_CS, CODE + 0x80, 0xee);
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
        for (unsigned ring = 0; ring < 4; ring++)
            for (unsigned iopl = 0; iopl < 4; iopl++) {
                if (ways[i].code == sysexit_ && ring == 0)
                    continue; /* with SYSENTER_CS 0 it is #GP: recorded below */
                record_case("ring%x.iopl%x", ring, iopl, 0, 0);
                struct machine m = image(&ways[i], ring, iopl);
                guest_run(&m);
                line_begin(ways[i].name);
                line_outcome(&m, GATE);
                if (m.vector == VECTOR_DONE && ways[i].memory) {
                    line_value(*word_at(DATA));
                    line_value(*word_at(DATA + 4));
                } else if (m.vector == VECTOR_DONE) {
                    line_value(m.ecx);
                }
                line_flags(m.eflags);
                line_end();
            }
}

/* Every flag that POPF and IRET offer to change, from both states of IF. */
static void flag_changes(void) {
    static const uint32_t bits[] = {FLAG_TF, FLAG_IF,  FLAG_DF, 0x1000,     0x2000,   FLAG_NT,
                                    FLAG_RF, 1u << 17, FLAG_AC, 1u << 19,   1u << 20, FLAG_ID,
                                    8,       0x20,     0x8000,  0xffc00000u};
    static const char *const names[] = {"popf_", "popfw_", "iret_"};
    const struct way flag_ways[] = {WAY(popf_), WAY(popfw_), WAY(iret_)};
    record_section("flags");
    for (unsigned w = 0; w < 3; w++)
        for (unsigned ring = 0; ring < 4; ring++)
            for (unsigned iopl = 0; iopl < 4; iopl++)
                for (unsigned before = 0; before < 2; before++) {
                    record_case("ring%x.iopl%x.if%x", ring, iopl, before, 0);
                    line_begin(names[w]);
                    for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
                        struct machine m = image(&flag_ways[w], ring, iopl);
                        if (bits[i] == 1u << 17 && w == 2)
                            continue; /* IRET with VM: a subject of its own */
                        if (bits[i] == FLAG_NT && w == 0 && ring == 0)
                            line_text("-"); /* harmless: the stub's IRET has another image */
                        m.eax = bits[i] | FLAG_FIXED;
                        m.eflags |= before ? FLAG_IF : 0;
                        guest_run(&m);
                        line_outcome(&m, 0);
                        line_value(w == 2 ? m.eflags & ~NO_FLAGS : m.ecx & ~NO_FLAGS);
                        __asm__ volatile("push $2; popfl" : : : "cc");
                    }
                    line_end();
                }
}

/* The I/O bitmap: where it starts, where the segment ends, and which bits are set. */
static uint8_t big_tss[0x400] __attribute__((aligned(1024)));
static void bitmaps(void) {
    static const uint16_t maps[] = {0x68, 0x80, 0xff, 0x100, 0x3f0, 0xffff, 0xdfff};
    static const uint16_t limits[] = {0x67, 0x77,  0x78,  0x79,  0x90,
                                      0x91, 0x10f, 0x110, 0x111, 0x3ff};
    const struct way io[] = {WAY(in8),           WAY(out8),         WAY(in32_dx),
                             WAY(out16_dx),      WAY(ins8),         WAY(outs8),
                             WAY(rep_outs_none), WAY(rep_ins_none), WAY(rep_outs_cx_none),
                             WAY(rep_ins_absent)};
    record_section("bitmap");
    memcpy(big_tss, (void *)(uintptr_t)address_of((const void *)tss_word(0)), 104);
    for (unsigned i = 0; i < sizeof maps / sizeof *maps; i++)
        for (unsigned l = 0; l < sizeof limits / sizeof *limits; l++)
            for (unsigned bits = 0; bits < 6; bits++) {
                static const uint8_t patterns[] = {0, 1, 2, 4, 8, 0xff}; /* of ports 80h-87h */
                memset(big_tss + 104, 0, sizeof big_tss - 104);
                *(uint16_t *)(void *)(big_tss + 102) = maps[i];
                if (maps[i] + 16u < sizeof big_tss)
                    big_tss[maps[i] + 16] = patterns[bits];
                gdt_set(TSS_SELECTOR, address_of(big_tss), limits[l], 0x89, 0);
                __asm__ volatile("ltr %w0" : : "r"(TSS_SELECTOR));
                record_case("map%x.limit%x.bits%x", maps[i], limits[l], patterns[bits], 0);
                line_begin("io");
                for (unsigned w = 0; w < sizeof io / sizeof *io; w++)
                    for (unsigned ring = 1; ring < 4; ring += 2) {
                        struct machine m = image(&io[w], ring, 0);
                        guest_run(&m);
                        line_outcome(&m, 0);
                    }
                line_end();
            }
}

void guest_main(void) {
    record_start();
    instructions();
    flag_changes();
    bitmaps();
    record_finish();
}
