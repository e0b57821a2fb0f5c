/* Single step over every kind of instruction, and breakpoints on code, data and ports: the sequence
 * of addresses and DR6 values that a run with TF or DR7 gives (SDM vol. 3B, 17.2-17.3). */
#include "tests/system/record.h"

enum { DR6_CAUSES = 0xe00f, DR6_INIT = (int)0xffff0ff0, STEPS_MAX = 40 };

#define INSTRUCTION(name, code) SNIPPET(name, "nop\n" code "\nnop" DONE)
INSTRUCTION(s_alu, "add $1, %eax; inc %ecx; lea 1(%eax), %edx");
INSTRUCTION(s_load, "mov (%ebx), %eax; mov %eax, 4(%ebx); xchg %eax, (%ebx)");
INSTRUCTION(s_jump, "jmp 1f; ud2; 1:");
INSTRUCTION(s_branch, "cmp %eax, %eax; jne 1f; je 1f; ud2; 1:");
INSTRUCTION(s_call, "call 1f; jmp 2f; 1: ret; 2:");
INSTRUCTION(s_call_indirect, "mov $1f, %eax; sub $s_call_indirect, %eax; add $0x40000000, %eax; "
                             "call *%eax; jmp 2f; 1: ret $0; 2:");
INSTRUCTION(s_loop, "mov $3, %ecx; 1: loop 1b; jecxz 2f; ud2; 2:");
INSTRUCTION(s_push, "push %eax; push $5; pushl (%ebx); pop %eax; popl (%ebx); pop %ecx");
INSTRUCTION(s_push_all, "pusha; popa");
INSTRUCTION(s_enter, "enter $8, $1; leave");
INSTRUCTION(s_flags, "pushf; popf; lahf; sahf; cld; std; cld; clc; cmc");
INSTRUCTION(s_popf_clears, "pushf; andl $~0x100, (%esp); popf; nop; nop");
INSTRUCTION(s_string, "mov %ebx, %esi; lea 64(%ebx), %edi; movsb; lodsl; stosl; mov $3, %ecx; rep "
                      "movsb; mov $2, %ecx; repe cmpsb; xor %ecx, %ecx; rep stosb");
INSTRUCTION(s_xlat, "xor %eax, %eax; xlatb");
INSTRUCTION(s_segment, "mov %ds, %eax; mov %eax, %es; push %ds; pop %fs; mov %es, (%ebx)");
INSTRUCTION(
    s_stack_segment,
    "mov %ss, %eax; mov %eax, %ss; nop; push %ss; pop %ss; nop; mov %eax, %ss; mov %eax, %ss; nop");
INSTRUCTION(s_lss, "mov %esp, (%ebx); mov %ss, 4(%ebx); lss (%ebx), %esp; nop");
INSTRUCTION(s_soft_interrupt, "int $0x80; nop");
INSTRUCTION(s_int3, "int3; nop");
INSTRUCTION(s_into, "mov $0x7f, %al; inc %al; into; nop");
INSTRUCTION(s_cpuid, "xor %eax, %eax; cpuid; mov $0x40010000, %ebx");
INSTRUCTION(s_queries, "smsw %ax; sldt %cx; str %dx; sgdt (%ebx); lar %eax, %ecx; verr %ax");
INSTRUCTION(s_far, "push %cs; call 1f; jmp 2f; 1: lret; 2:");
INSTRUCTION(s_iret, "pushf; push %cs; call 1f; jmp 2f; 1: iret; 2:");
INSTRUCTION(s_iret_clears, "pushf; andl $~0x100, (%esp); push %cs; call 1f; jmp 2f; 1: iret; 2:");
INSTRUCTION(s_x87, "fninit; fld1; fstpl (%ebx); wait");
INSTRUCTION(s_locked, "lock incl (%ebx); lock cmpxchg %eax, (%ebx); lock cmpxchg8b (%ebx)");
INSTRUCTION(s_shift, "shl $3, %eax; shld $2, %ecx, %eax; mul %ecx; xor %edx, %edx; mov $1, %ecx; "
                     "div %ecx; bts %ecx, (%ebx)");
INSTRUCTION(s_bcd, "mov $0x0909, %eax; daa; das; aaa; aas; aam; aad");
INSTRUCTION(s_fault, "nop; ud2");
INSTRUCTION(s_page_fault, "mov 0x1000(%ebx), %eax");
INSTRUCTION(k_flags, "cli; nop; sti; nop; cli");
INSTRUCTION(k_control, "mov %cr0, %eax; mov %eax, %cr0; mov %cr3, %eax; mov %eax, %cr3; mov %cr2, "
                       "%eax; clts; invlpg (%ebx)");
INSTRUCTION(k_debug, "mov %dr6, %eax; mov %dr7, %eax");
INSTRUCTION(k_tables, "sgdt (%ebx); lgdt (%ebx); sidt (%ebx); lidt (%ebx)");
INSTRUCTION(k_port, "in $0x80, %al; out %al, $0x80; mov $0x80, %edx; mov %ebx, %esi; outsb; mov "
                    "$2, %ecx; rep outsb");
INSTRUCTION(k_msr, "mov $0x174, %ecx; rdmsr; wrmsr; mov $0x40010000, %ebx");

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }
static const struct way all[] = {WAY(s_alu),         WAY(s_load),
                                 WAY(s_jump),        WAY(s_branch),
                                 WAY(s_call),        WAY(s_call_indirect),
                                 WAY(s_loop),        WAY(s_push),
                                 WAY(s_push_all),    WAY(s_enter),
                                 WAY(s_flags),       WAY(s_popf_clears),
                                 WAY(s_string),      WAY(s_xlat),
                                 WAY(s_segment),     WAY(s_stack_segment),
                                 WAY(s_lss),         WAY(s_soft_interrupt),
                                 WAY(s_int3),        WAY(s_into),
                                 WAY(s_cpuid),       WAY(s_queries),
                                 WAY(s_far),         WAY(s_iret),
                                 WAY(s_iret_clears), WAY(s_x87),
                                 WAY(s_locked),      WAY(s_shift),
                                 WAY(s_bcd),         WAY(s_fault),
                                 WAY(s_page_fault),  WAY(k_flags),
                                 WAY(k_control),     WAY(k_debug),
                                 WAY(k_tables),      WAY(k_port),
                                 WAY(k_msr)};
enum { USER_WAYS = 31 };

static uint32_t read_causes(void) {
    uint32_t causes = read_dr6() & DR6_CAUSES;
    write_dr6((uint32_t)DR6_INIT);
    return causes;
}

static struct machine image(unsigned ring, const struct way *way) {
    struct machine m = ring_at(ring, way->code, (uint32_t)(way->end - way->code));
    memset((void *)DATA, 0, 128);
    m.eflags |= 0x3000; /* IOPL 3: ports are open */
    return m;
}

/* Goes on after each #DB; INT3, INTO and the calls of VECTOR_SYSCALL end nothing either. */
static void follow(const char *name, struct machine *m) {
    line_begin(name);
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        guest_run(m);
        if (m->vector == VECTOR_DB) {
            line_value(m->eip - CODE);
            uint32_t causes = read_causes();
            if (causes != 0x4000) {
                line_text(":");
                line_value(causes);
            }
            if (m->eflags & FLAG_RF)
                line_text("rf");
            continue;
        }
        line_outcome(m, 0);
        line_value(m->eip - CODE);
        line_value(read_causes());
        if (m->vector == VECTOR_DONE || m->vector == VECTOR_UD || m->vector == VECTOR_PF ||
            m->vector == VECTOR_GP)
            break;
    }
    line_end();
}

static void single_steps(void) {
    record_section("step");
    for (unsigned ring = 0; ring < 4; ring++)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
            if (ring && i >= USER_WAYS)
                continue;
            struct machine m = image(ring, &all[i]);
            m.eflags |= FLAG_TF;
            record_case("ring%x", ring, 0, 0, 0);
            follow(all[i].name, &m);
            restore_stack_segment();
        }
}

/* DR7: enabled locally, the kind (0 code, 1 write, 2 port, 3 any) and length of breakpoint 0. */
static void set_breakpoint(uint32_t address, uint32_t kind, uint32_t length) {
    write_dr0(address);
    write_dr7(0x401 | kind << 16 | length << 18);
}

static void code_breakpoints(void) {
    record_section("code");
    for (unsigned ring = 0; ring < 4; ring += 3)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
            uint32_t size = (uint32_t)(all[i].end - all[i].code);
            if (ring && i >= USER_WAYS)
                continue;
            for (uint32_t at = 0; at < size; at += 3) {
                struct machine m = image(ring, &all[i]);
                record_case("ring%x.at%x", ring, at, 0, 0);
                write_dr6((uint32_t)DR6_INIT);
                set_breakpoint(CODE + at, 0, 0);
                line_begin(all[i].name);
                for (unsigned times = 0; times < 4; times++) {
                    guest_run(&m);
                    line_outcome(&m, 0);
                    line_value(m.eip - CODE);
                    line_value(read_causes());
                    line_text(m.eflags & FLAG_RF ? "rf" : "-");
                    if (m.vector != VECTOR_DB)
                        break;
                    m.eflags |= FLAG_RF; /* as a debugger does */
                }
                write_dr7(0x400);
                line_end();
                restore_stack_segment();
            }
        }
}

static void data_breakpoints(void) {
    record_section("data");
    for (unsigned ring = 0; ring < 4; ring += 3)
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
            if (ring && i >= USER_WAYS)
                continue;
            for (uint32_t kind = 1; kind < 4; kind += 2)
                for (uint32_t length = 0; length < 4; length++) {
                    if (length == 2)
                        continue; /* eight bytes: undefined here */
                    for (uint32_t at = 0; at < 8; at += 3) {
                        struct machine m = image(ring, &all[i]);
                        record_case("ring%x.kind%x.length%x.at%x", ring, kind, length, at);
                        write_dr6((uint32_t)DR6_INIT);
                        set_breakpoint(DATA + at, kind, length);
                        follow(all[i].name, &m);
                        write_dr7(0x400);
                        restore_stack_segment();
                    }
                }
        }
}

static void port_breakpoints(void) {
    static const struct way ports[] = {WAY(k_port)};
    record_section("port");
    write_cr4(read_cr4() | CR4_DE);
    for (unsigned length = 0; length < 4; length++)
        for (uint32_t port = 0x7c; port < 0x84; port++) {
            if (length == 2)
                continue;
            for (unsigned ring = 0; ring < 4; ring += 3) {
                struct machine m = image(ring, &ports[0]);
                record_case("ring%x.length%x.port%x", ring, length, port, 0);
                write_dr6((uint32_t)DR6_INIT);
                set_breakpoint(port, 2, length);
                follow("io", &m);
                write_dr7(0x400);
            }
        }
    write_cr4(read_cr4() & ~(uint32_t)CR4_DE);
}

/* What the processor reads and writes on its own: descriptors and gates. The manual names them
 * nowhere; kernels keep breakpoints off them, since processors match them. */
INSTRUCTION(i_segment, "mov %edx, %es; nop; nop");
INSTRUCTION(i_queries, "lar %edx, %ecx; nop; verr %dx; nop");
INSTRUCTION(i_interrupt, "int $0x82; nop; nop");
enum { VECTOR_PLAIN = 0x82 };

/* A handler that returns at once, so that a trap behind its way in is seen there. */
SNIPPET(return_at_once, "nop; nop; iret");

static void implicit_accesses(void) {
    const struct {
        struct way way;
        unsigned ring;
        uint32_t address, value;
    } cases[] = {
        {WAY(i_segment), 0, gdt_address() + TEST_SELECTOR + 4, TEST_SELECTOR},
        {WAY(i_segment), 3, gdt_address() + TEST_SELECTOR + 4, TEST_SELECTOR | 3},
        {WAY(i_queries), 0, gdt_address() + TEST_SELECTOR, TEST_SELECTOR},
        {WAY(i_interrupt), 0, idt_address() + VECTOR_PLAIN * 8, 0},
        {WAY(i_interrupt), 3, idt_address() + VECTOR_PLAIN * 8 + 4, 0},
    };
    record_section("implicit");
    set_idt_gate(VECTOR_PLAIN, KERNEL_CS, CODE2, 0xee);
    memcpy((void *)CODE2, return_at_once, SNIPPET_SIZE(return_at_once));
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t kind = 1; kind < 4; kind += 2)
            for (unsigned accessed = 0; accessed < 2; accessed++) {
                struct machine m = image(cases[i].ring, &cases[i].way);
                if (check_under_tcg() && cases[i].way.code == i_interrupt)
                    continue; /* which a failed assertion of its own would end */
                set_flat(TEST_SELECTOR, (uint8_t)(0xf2 | accessed));
                m.edx = cases[i].value;
                record_case("case%x.kind%x.accessed%x", i, kind, accessed, 0);
                write_dr6((uint32_t)DR6_INIT);
                set_breakpoint(cases[i].address, kind, 3);
                guest_run(&m);
                write_dr7(0x400);
                line_begin(cases[i].way.name);
                line_outcome(&m, 0);
                line_value(m.eip - CODE);
                line_value(read_causes());
                line_end();
            }
}

SNIPPET(read_dr0_, "mov %dr0, %eax" DONE);
SNIPPET(write_dr7_, "mov %dr7, %eax; mov %eax, %dr7" DONE);
SNIPPET(read_dr4_, ".byte 0x0f, 0x21, 0xe0" DONE);
SNIPPET(read_dr5_, ".byte 0x0f, 0x21, 0xe8" DONE);
static void general_detect(void) {
    static const struct way ways[] = {WAY(read_dr0_), WAY(write_dr7_), WAY(read_dr4_),
                                      WAY(read_dr5_)};
    record_section("detect");
    for (unsigned de = 0; de < 2; de++)
        for (unsigned gd = 0; gd < 2; gd++)
            for (unsigned ring = 0; ring < 4; ring++)
                for (unsigned i = 0; i < 4; i++) {
                    if (gd && (ring || (de && i >= 2)))
                        continue; /* the manual orders neither GD and privilege nor GD and #UD */
                    struct machine m = image(ring, &ways[i]);
                    write_cr4((read_cr4() & ~(uint32_t)CR4_DE) | (de ? CR4_DE : 0u));
                    write_dr6((uint32_t)DR6_INIT);
                    write_dr7(0x400 | gd << 13);
                    guest_run(&m);
                    write_dr7(0x400);
                    record_case("ring%x.de%x.gd%x", ring, de, gd, 0);
                    line_begin(ways[i].name);
                    line_outcome(&m, 0);
                    line_value(m.eip - CODE);
                    line_value(read_causes());
                    line_end();
                }
    write_cr4(read_cr4() & ~(uint32_t)CR4_DE);
}

void guest_main(void) {
    record_start();
    write_cr4(read_cr4() | CR4_OSFXSR);
    single_steps();
    code_breakpoints();
    data_breakpoints();
    port_breakpoints();
    implicit_accesses();
    general_detect();
    record_finish();
}
