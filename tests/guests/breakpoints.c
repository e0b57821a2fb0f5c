/* Breakpoints on data and ports, what RF in the pushed flags says, hits that MOV SS puts off, and
 * general detect. Instruction breakpoints and plain stepping are in the demo guest.
 * Simulators differ: QEMU's TCG has no general detect, Bochs pushes RF clear for it; neither sets
 * RF between the elements of a string, nor puts the hit of a MOV SS off past an INT n. */
#include "tests/guests/stage.h"

enum {
    PORT = 0x80,
    ON_WRITE = 1, /* DR7's R/W field */
    ON_PORT = 2,
    ON_ACCESS = 3,
    BYTES_4 = 3, /* its LEN field */
    ENABLE_0 = 2,
    GENERAL_DETECT = 1 << 13,
    DR6_B0 = 1 << 0,
    DR6_BD = 1 << 13,
    DR6_BS = 1 << 14,
    DR6_BITS = DR6_B0 | DR6_BD | DR6_BS,
};

static void arm(uint32_t address, uint32_t condition, uint32_t length) {
    write_dr6(0);
    write_dr0(address);
    write_dr7(ENABLE_0 | condition << 16 | length << 18);
}

static void disarm(void) { write_dr7(0); }

/* A #DB at `offset` of the code, with these bits in DR6 and that RF. */
static void expect(const char *name, const struct machine *m, uint32_t offset, uint32_t dr6,
                   bool resume) {
    check_section(name);
    check_trap("trap", m, VECTOR_DB, 0, CODE + offset);
    check("dr6", dr6, read_dr6() & DR6_BITS);
    check("rf", resume ? FLAG_RF : 0, m->eflags & FLAG_RF);
    check_section(NULL);
}

SNIPPET(out_port, "nop; outb %al, $0x80; nop" DONE);
SNIPPET(out_string, "nop; rep outsb; nop" DONE);
SNIPPET(move_string, "rep movsb; nop" DONE);
SNIPPET(push_call, "call 1f; 1: pop %eax; lcall $0x1b, $0x40000010; nop; nop; inc %eax; nop" DONE);
SNIPPET(load_ss, "mov (%ebx), %ss; inc %eax; inc %eax" DONE);
SNIPPET(load_ss_int, "mov (%ebx), %ss; int3; inc %eax" DONE);
SNIPPET(read_dr, "nop; mov %dr1, %eax" DONE);

static void ports(void) {
    struct machine m = STAGE(0, out_port);
    arm(PORT, ON_PORT, 0);
    guest_run(&m); /* CR4.DE is clear */
    check("port.without-de", VECTOR_DONE, m.vector);
    write_cr4(read_cr4() | CR4_DE);
    m = STAGE(0, out_port);
    guest_run(&m);
    disarm();
    expect("port", &m, 3, DR6_B0, false);
    arm(PORT + 1, ON_PORT, 0);
    m = STAGE_RUN(0, out_port);
    disarm();
    check("port.next", VECTOR_DONE, m.vector);
    m = STAGE(0, out_string);
    m.edx = PORT, m.esi = DATA, m.ecx = 2;
    arm(PORT, ON_PORT, 0);
    guest_run(&m);
    expect("port.rep", &m, 1, DR6_B0, true);
    check("port.rep.ecx", 1, m.ecx);
    write_dr6(0);
    guest_run(&m);
    disarm();
    expect("port.rep-end", &m, 3, DR6_B0, false);
    write_cr4(read_cr4() ^ CR4_DE);
}

static void repeated_strings(void) {
    struct machine m = STAGE(3, move_string);
    m.esi = DATA, m.edi = DATA + 16, m.ecx = 2;
    m.eflags |= FLAG_TF;
    write_dr6(0);
    guest_run(&m);
    expect("rep.step", &m, 0, DR6_BS, true);
    write_dr6(0);
    guest_run(&m);
    expect("rep.step-end", &m, 2, DR6_BS, false);
    m = STAGE(3, move_string);
    m.esi = DATA, m.edi = DATA + 16, m.ecx = 2;
    arm(DATA + 16, ON_WRITE, 0);
    guest_run(&m);
    disarm();
    expect("rep.data", &m, 0, DR6_B0, true);
    check("rep.data.ecx", 1, m.ecx);
}

static void stack_accesses(void) {
    arm(STACK_TOP - 8, ON_WRITE, BYTES_4);
    struct machine m = STAGE_RUN(3, push_call);
    disarm();
    check_trap("stack.far-call", &m, VECTOR_DB, 0, CODE + 16);
    check("stack.far-call.dr6", DR6_B0, read_dr6() & DR6_BITS);
}

/* MOV SS puts its own hit off until the next instruction is done. */
static void behind_stack_load(void) {
    *word_at(DATA) = USER_DS;
    arm(DATA, ON_ACCESS, BYTES_4);
    struct machine m = STAGE_RUN(3, load_ss);
    disarm();
    expect("mov-ss", &m, 3, DR6_B0, false);
    check("mov-ss.eax", 1, m.eax);
    uint32_t low = *word_at(idt_address() + VECTOR_BP * 8) & 0xffff;
    uint32_t high = *word_at(idt_address() + VECTOR_BP * 8 + 4) & 0xffff0000;
    arm(DATA, ON_ACCESS, BYTES_4);
    m = STAGE_RUN(3, load_ss_int);
    disarm();
    check_trap_unless_tcg("mov-ss-int", &m, VECTOR_DB, 0, high | low);
}

static void general_detect(void) {
    write_dr6(0);
    write_dr7(GENERAL_DETECT);
    struct machine m = STAGE_RUN(0, read_dr);
    expect("general-detect", &m, 1, DR6_BD, true);
    check("general-detect.dr7", 0, read_dr7() & GENERAL_DETECT);
}

/* Set by a debugger's IRET, RF lets the instruction run that has the breakpoint. */
static void resume_flag(void) {
    struct machine m = STAGE(3, load_ss);
    *word_at(DATA) = USER_DS;
    arm(CODE, 0, 0);
    guest_run(&m);
    expect("resume.stops", &m, 0, DR6_B0, false);
    m.eflags |= FLAG_RF;
    guest_run(&m);
    disarm();
    check("resume.goes-on", VECTOR_DONE, m.vector);
}

/* RF counts until the instruction is done, however often its translation has to be made again: a kernel's
 * access to a user's page is one, where it has met no such page before. */
SNIPPET(first_access, "mov (%ebx), %ecx; inc %eax" DONE);
static void resume_flag_lasts(void) {
    struct machine m = STAGE(0, first_access);
    uint32_t fresh = CODE2 + 0x230; /* where no code has been */
    memcpy((void *)fresh, first_access, SNIPPET_SIZE(first_access));
    m.eip = fresh;
    m.eflags |= FLAG_RF;
    arm(fresh, 0, 0);
    guest_run(&m);
    disarm();
    check("resume.first-access", VECTOR_DONE, m.vector);
    check("resume.first-access-once", 1, m.eax);
}

void guest_main(void) {
    stage_start();
    ports();
    repeated_strings();
    stack_accesses();
    behind_stack_load();
    general_detect();
    resume_flag();
    resume_flag_lasts();
    check_finish("breakpoints");
}
