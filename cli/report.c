/* Reports about a stopped vCPU, for people: registers, instructions, page walks.
 *
 * Capstone disassembles, not the decoder that the translator uses: a second opinion is the point.
 * Everything shown comes from a guest that may have wrecked itself, so each read can fail. */
#include "cli/report.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "inspect/disassemble.h"
#include "memory/walk.h"

#define INSNS_BEFORE 8 /* shown before EIP */
#define INSNS_AFTER 4  /* shown from EIP on */

void report_line(const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *at = line; *at; at++)
        if (iscntrl((unsigned char)*at))
            *at = '?';
    fprintf(stderr, "ring3: %s\n", line);
}

static void print_segment(const char *name, const struct segment *segment) {
    fprintf(stderr, "  %-4s %04x base %08x limit %08x attr %04x%s\n", name, segment->selector,
            segment->base, segment->limit, segment->attr, segment->usable ? "" : " unusable");
}

static void print_flags(uint32_t eflags) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{FL_CF, "CF"}, {FL_PF, "PF"}, {FL_AF, "AF"}, {FL_ZF, "ZF"}, {FL_SF, "SF"},
                 {FL_TF, "TF"}, {FL_IF, "IF"}, {FL_DF, "DF"}, {FL_OF, "OF"}, {FL_NT, "NT"},
                 {FL_RF, "RF"}, {FL_VM, "VM"}, {FL_AC, "AC"}};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (eflags & names[i].bit)
            fprintf(stderr, " %s", names[i].name);
}

void report_registers(const struct vcpu *v) {
    static const char *const gprs[8] = {"EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"};
    static const char *const segments[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    const struct cpu *cpu = &v->cpu;
    for (unsigned i = 0; i < 8; i++)
        fprintf(stderr, "  %s %08x%s", gprs[i], cpu->gpr[i], i % 4 == 3 ? "\n" : "");
    fprintf(stderr, "  EIP %08x  EFLAGS %08x CPL %u [", cpu->eip, cpu_eflags(cpu), cpu_cpl(cpu));
    print_flags(cpu_eflags(cpu));
    fprintf(stderr, " ]\n  CR0 %08x  CR2 %08x  CR3 %08x  CR4 %08x  EFER %x\n", cpu->paging.cr0,
            cpu->cr2, cpu->paging.cr3, cpu->paging.cr4, cpu->paging.efer);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        print_segment(segments[i], &cpu->seg[i]);
    print_segment("LDT", &cpu->ldt);
    print_segment("TR", &cpu->tr);
    fprintf(stderr, "  GDT  base %08x limit %04x   IDT  base %08x limit %04x\n", cpu->gdt.base,
            cpu->gdt.limit, cpu->idt.base, cpu->idt.limit);
}

static struct walk walk_for(const struct vcpu *v, gva_t gva, enum access_kind kind) {
    return walk_page(v->ram, &v->cpu.paging, gva, kind, cpu_cpl(&v->cpu) == 3, false);
}

static void print_walk(const struct vcpu *v, const char *what, gva_t gva, enum access_kind kind) {
    struct walk walk = walk_for(v, gva, kind);
    fprintf(stderr, "page walk of %s %08x:\n", what, gva);
    if (!(v->cpu.paging.cr0 & CR0_PG)) {
        fprintf(stderr, "  paging is off: physical %08x\n", gva);
        return;
    }
    if (v->cpu.paging.cr4 & CR4_PAE)
        fprintf(stderr, "  PDPTE %u = %016" PRIx64 "\n", gva >> 30, v->cpu.paging.pdpte[gva >> 30]);
    if (walk.pde_gpa)
        fprintf(stderr, "  PDE at %09" PRIx64 " = %016" PRIx64 "%s\n", walk.pde_gpa, walk.pde,
                walk.pde & PTE_P ? "" : " not present");
    if (walk.pte_gpa)
        fprintf(stderr, "  PTE at %09" PRIx64 " = %016" PRIx64 "%s\n", walk.pte_gpa, walk.pte,
                walk.pte & PTE_P ? "" : " not present");
    if (walk.ok)
        fprintf(stderr, "  physical %09" PRIx64 " (%s%s%s, %u KiB page)\n", walk.gpa,
                walk.user ? "user" : "supervisor", walk.writable ? ", writable" : ", read-only",
                walk.nx ? ", no execute" : "", walk.page_size / 1024);
    else
        fprintf(stderr, "  page fault, error code %x\n", walk.error);
}

/* Copies what can be fetched of [gva, gva+len). Returns how many bytes from the start. */
static size_t fetch(const struct vcpu *v, gva_t gva, uint8_t *to, size_t len) {
    for (size_t i = 0; i < len; i++) {
        struct walk walk = walk_for(v, gva + (gva_t)i, ACCESS_FETCH);
        const uint8_t *from = walk.ok ? ram_ptr(v->ram, walk.gpa, 1) : NULL;
        if (!from)
            return i;
        to[i] = *from;
    }
    return len;
}

/* Where to start so that decoding arrives exactly at `len`, with as much before it as can be. The
 * past cannot be decoded backwards for certain: the longest consistent reading is shown. */
static size_t find_start(struct disassembler *d, const uint8_t *bytes, size_t len) {
    char text[INSN_TEXT_MAX];
    for (size_t start = 0; start < len; start++) {
        size_t at = start;
        for (unsigned size = 1; size && at < len; at += size)
            size = disassemble(d, bytes + at, len - at, 0, text);
        if (at == len)
            return start;
    }
    return len;
}

static void print_insns(struct disassembler *d, const uint8_t *bytes, size_t len, gva_t gva,
                        unsigned count, gva_t current) {
    char text[INSN_TEXT_MAX];
    unsigned size;
    for (; count-- && (size = disassemble(d, bytes, len, gva, text)) > 0;
         bytes += size, len -= size, gva += size) {
        char hex[3 * INSN_BYTES_MAX + 1] = "";
        for (unsigned i = 0; i < size; i++)
            sprintf(hex + 3 * (size_t)i, "%02x ", bytes[i]);
        fprintf(stderr, "%s %08x  %-24s %s\n", gva == current ? "=>" : "  ", gva, hex, text);
    }
}

/* The instructions before `gva`; reading is retried from nearer when a page is missing. */
static void print_before(const struct vcpu *v, struct disassembler *d, gva_t gva) {
    uint8_t bytes[INSNS_BEFORE * 4];
    for (size_t len = sizeof bytes; len; len--) {
        if (fetch(v, gva - (gva_t)len, bytes, len) < len)
            continue;
        size_t start = find_start(d, bytes, len);
        print_insns(d, bytes + start, len - start, gva - (gva_t)(len - start), ~0u, gva);
        return;
    }
}

static void print_code(const struct vcpu *v) {
    const struct segment *cs = &v->cpu.seg[SEG_CS];
    gva_t gva = cs->base + v->cpu.eip;
    uint8_t bytes[INSNS_AFTER * INSN_BYTES_MAX];
    struct disassembler d;
    if (!disassembler_open(&d, cs->attr & SEG_ATTR_DB ? CODE_32 : CODE_16, SYNTAX_INTEL))
        return;
    fprintf(stderr, "instructions around EIP (linear %08x):\n", gva);
    print_before(v, &d, gva);
    size_t len = fetch(v, gva, bytes, sizeof bytes);
    if (!len)
        fprintf(stderr, "=> %08x  cannot be fetched\n", gva);
    print_insns(&d, bytes, len, gva, INSNS_AFTER, gva);
    disassembler_close(&d);
}

void report_machine(const struct vcpu *v) {
    report_registers(v);
    print_code(v);
    print_walk(v, "CR2", v->cpu.cr2, ACCESS_READ);
    print_walk(v, "EIP", v->cpu.seg[SEG_CS].base + v->cpu.eip, ACCESS_FETCH);
}
