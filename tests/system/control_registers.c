/* Control registers: which values CR0, CR3, CR4 and EFER take and which raise #GP, the switches of
 * paging and of protected mode between two instructions, CR4.TSD, CR4.PCE and CR4.DE at every CPL,
 * and SYSENTER and SYSEXIT with every kind of selector (SDM vol. 3A, 2.5, 4.1, 4.4.1, 5.8.7, 9.9;
 * vol. 2, MOV to CR, LMSW). The code lies where linear and physical addresses are the same. */
#include "tests/system/record.h"

enum { CR0_NW = 1 << 29, CR0_CD = 1 << 30 };

/* EAX: the value tried; ESI: what is put back; the result goes to ECX. */
SNIPPET(to_cr0, "mov %eax, %cr0; mov %cr0, %ecx; mov %esi, %cr0" DONE);
SNIPPET(to_cr4, "mov %eax, %cr4; mov %cr4, %ecx; mov %esi, %cr4" DONE);
SNIPPET(to_cr3, "mov %eax, %cr3; mov %cr3, %ecx; mov %esi, %cr3" DONE);
SNIPPET(by_lmsw, "lmsw %ax; mov %cr0, %ecx; mov %esi, %cr0" DONE);
SNIPPET(to_efer, "mov $0xc0000080, %ecx; wrmsr; rdmsr; mov %eax, %edi; mov %esi, %eax; wrmsr; mov "
                 "%edi, %ecx" DONE);
SNIPPET(time_stamp, "rdtsc; xor %ecx, %ecx" DONE);
SNIPPET(counter, "mov $0x12345, %ecx; rdpmc; xor %ecx, %ecx" DONE);
SNIPPET(from_dr4, ".byte 0x0f, 0x21, 0xe1" DONE);
SNIPPET(to_dr5, "mov %dr7, %ecx; .byte 0x0f, 0x23, 0xe9" DONE);
SNIPPET(enter, "sysenter");
SNIPPET(leave_kernel, "sysexit");
SNIPPET(landing, "mov %cs, %eax; mov %ss, %ecx; int $0x81");

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }

/* In ring 0, in place, so that it runs without paging, too. */
static struct machine in_place(const struct way *way, uint32_t value, uint32_t before) {
    struct machine m = ring_at(0, way->code, (uint32_t)(way->end - way->code));
    m.eip = address_of(way->code);
    m.eax = value;
    m.edx = 0;
    m.esi = before;
    guest_run(&m);
    return m;
}

static void try_value(const struct way *way, uint32_t value, uint32_t before) {
    struct machine m = in_place(way, value, before);
    line_outcome(&m, 0);
    line_value(m.vector == VECTOR_DONE ? m.ecx ^ before : 0);
}

/* Every combination of PE, PG, NW and CD, and each other bit changed. */
static void cr0_values(void) {
    const struct way ways[] = {WAY(to_cr0), WAY(by_lmsw)};
    uint32_t before = read_cr0();
    record_section("cr0");
    for (unsigned w = 0; w < 2; w++)
        for (unsigned bits = 0; bits < 16; bits++) {
            uint32_t value = (before & 0x1ffffffeu) | (bits & 1) | bits >> 1 << 29;
            record_case("switches%x", bits, 0, 0, 0);
            line_begin(ways[w].name);
            for (unsigned bit = 1; bit < 29; bit++)
                if (bit != 2 && bit != 3) /* x87 and TS: below */
                    try_value(&ways[w], value ^ 1u << bit, before);
            try_value(&ways[w], value ^ 4, before);
            try_value(&ways[w], value ^ 8, before);
            line_end();
        }
}

/* Bits that no processor has: nothing may change. TCG never comes back from them. */
static void cr4_values(void) {
    static const uint8_t reserved[] = {15, 26, 29, 30, 31};
    const struct way way = WAY(to_cr4);
    uint32_t before = read_cr4();
    record_section("cr4");
    for (unsigned i = 0; i < sizeof reserved && !check_under_tcg(); i++) {
        record_case("bit%x", reserved[i], 0, 0, 0);
        line_begin("to_cr4");
        try_value(&way, before | 1u << reserved[i], before);
        try_value(&way, (before ^ CR4_PGE) | 1u << reserved[i], before);
        line_end();
    }
    static const uint32_t taken[] = {CR4_VME,    CR4_PVI,       4, CR4_DE, CR4_PGE,
                                     CR4_OSFXSR, CR4_OSXMMEXCPT};
    for (unsigned i = 0; i < sizeof taken / sizeof *taken; i++) {
        record_case("taken%x", taken[i], 0, 0, 0);
        line_begin("to_cr4");
        try_value(&way, before ^ taken[i], before);
        line_end();
    }
}

/* A directory pointer entry with each bit set, present or not; and CR3's own low bits. */
static void cr3_values(void) {
    const struct way way = WAY(to_cr3);
    uint32_t before = read_cr3();
    record_section("cr3");
    line_begin("low-bits");
    for (unsigned bit = 0; bit < 12; bit++)
        if (stage.kind != PAGING_PAE || bit < 5)
            try_value(&way, before | 1u << bit, before);
    line_end();
    if (stage.kind != PAGING_PAE)
        return;
    uint32_t root = page_take();
    volatile uint32_t *entry = word_at(root + 24);
    for (unsigned present = 0; present < 2; present++)
        for (unsigned bit = 1; bit < 64; bit++) {
            if (bit >= 12 && bit < 52)
                continue; /* the address, and what MAXPHYADDR decides */
            memcpy((void *)root, (const void *)before, 32);
            entry[0] = entry[1] = 0;
            entry[bit / 32] = 1u << bit % 32;
            entry[0] |= present;
            record_case("present%x.bit%x", present, bit, 0, 0);
            line_begin("pdpte");
            try_value(&way, root, before);
            line_end();
        }
}

static void efer_values(void) {
    const struct way way = WAY(to_efer);
    if (!(cpuid(0x80000001).edx & CPUID_NX))
        return;
    record_section("efer");
    for (unsigned bit = 0; bit < 32; bit++) {
        bool models_differ = bit == 0 || bit == 8 || bit == 10 || (bit >= 12 && bit <= 15) ||
                             (bit >= 17 && bit <= 21);
        if (models_differ)
            continue;
        record_case("bit%x", bit, 0, 0, 0);
        line_begin("wrmsr");
        try_value(&way, 1u << bit, 0);
        line_end();
    }
}

static void ring_line(const struct way *way, unsigned ring) {
    struct machine m = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    guest_run(&m);
    line_outcome(&m, 0);
    line_value(m.eip - CODE);
}

/* What CR4 gives to less privileged code, or takes away. */
static void privileges(void) {
    static const uint32_t bits[] = {4, 0x100, CR4_DE}; /* TSD, PCE */
    const struct way ways[] = {WAY(time_stamp), WAY(counter), WAY(from_dr4), WAY(to_dr5)};
    uint32_t before = read_cr4();
    record_section("privilege");
    for (unsigned w = 0; w < sizeof ways / sizeof *ways; w++)
        for (unsigned set = 0; set < 8; set++) {
            uint32_t value = before;
            for (unsigned i = 0; i < 3; i++)
                value = (value & ~bits[i]) | (set & 1u << i ? bits[i] : 0);
            write_cr4(value);
            record_case("cr4%x", set, 0, 0, 0);
            line_begin(ways[w].name);
            for (unsigned ring = 0; ring < 4; ring++)
                ring_line(&ways[w], ring);
            line_end();
        }
    write_cr4(before);
}

static void fast_calls(void) {
    static const uint16_t selectors[] = {0, 1, 3, 4, KERNEL_CS, KERNEL_CS | 1, KERNEL_CS | 3};
    const struct way ways[] = {WAY(enter), WAY(leave_kernel)};
    record_section("sysenter");
    for (unsigned i = 0; i < sizeof selectors / sizeof *selectors; i++)
        for (unsigned w = 0; w < 2; w++)
            for (unsigned ring = 0; ring < 4; ring++) {
                write_msr(MSR_SYSENTER_CS, selectors[i]);
                write_msr(MSR_SYSENTER_ESP, STACK_TOP - 64);
                write_msr(MSR_SYSENTER_EIP, CODE + 0x80);
                struct machine m =
                    ring_at(ring, ways[w].code, (uint32_t)(ways[w].end - ways[w].code));
                memcpy((void *)(CODE + 0x80), landing, SNIPPET_SIZE(landing));
                m.edx = CODE + 0x80;
                m.ecx = STACK_TOP - 128;
                m.eflags |= FLAG_IF;
                guest_run(&m);
                record_case("cs%x.ring%x", selectors[i], ring, 0, 0);
                line_begin(ways[w].name);
                line_outcome(&m, 0);
                line_value(m.vector == VECTOR_DONE ? m.eax : 0);
                line_value(m.vector == VECTOR_DONE ? m.ecx : 0);
                line_value(m.esp - STACK), line_value(m.eip - CODE);
                line_flags(m.eflags);
                line_end();
            }
}

void guest_main(void) {
    record_start();
    write_cr0(read_cr0() & ~(uint32_t)(CR0_NW | CR0_CD)); /* a reset sets them */
    cr0_values();
    cr4_values();
    cr3_values();
    efer_values();
    privileges();
    fast_calls();
    record_finish();
}
