/* Real mode: interrupts through a table of every length and at another base, far calls, jumps and
 * returns and IRET with operands of 16 and 32 bits, flag images, the instructions that only
 * protected mode has, and single step (SDM vol. 3A, 20.1; vol. 2). */
#include "tests/guests/real.h"
#include "tests/system/record.h"

enum { MOVED_TABLE = 0x70000, POINTER = 0x60, TARGET_CS = 0x4100, LANDING = 0x1010 };

struct way {
    const char *name;
    const uint8_t *code, *end;
};
#define WAY(name)                                                                                  \
    { #name, name, name##_end }

static struct real image(const struct way *way) {
    memset((void *)REAL_CODE, 0xcc, 64);
    *half_at(REAL_CODE + LANDING) = *half_at(TARGET_CS * 16 + LANDING) = 0xf0cd; /* INT F0h */
    struct real r = real_image(way->code, (uint32_t)(way->end - way->code));
    r.esp = 0x1000;
    return r;
}

static void run(const char *name, struct real *r) {
    memset((void *)(REAL_STACK + 0xff0), 0, 16);
    real_run(r);
    line_begin(name);
    line_value(r->vector), line_value(r->cs), line_value(r->ip), line_value(r->esp);
    line_value(r->flags & ~NO_FLAGS), line_value(r->eax), line_value(r->ecx);
    for (uint32_t at = REAL_STACK + 0xff0; at < REAL_STACK + 0x1000; at += 2)
        line_value(*half_at(at) & ~NO_FLAGS);
    line_end();
}

SNIPPET16(table_int, "lidt (0x60); int $0x60" REAL_END);
SNIPPET16(table_int3, "lidt (0x60); int3" REAL_END);
SNIPPET16(table_ud2, "lidt (0x60); ud2");
SNIPPET16(table_divide, "lidt (0x60); xor %cx, %cx; div %cx");
SNIPPET16(table_into, "lidt (0x60); mov $0x7f, %al; inc %al; into");
SNIPPET16(table_wide, "lidtl (0x60); int $0x60" REAL_END);
static void tables(void) {
    static const struct way all[] = {WAY(table_int),    WAY(table_int3), WAY(table_ud2),
                                     WAY(table_divide), WAY(table_into), WAY(table_wide)};
    /* At least #GP must be inside, and #UD for what ends where it should not. */
    static const uint32_t limits[] = {0x37,  0x38,  0x3b,  0x17f, 0x180, 0x181,
                                      0x182, 0x183, 0x3c2, 0x3c3, 0x3ff, 0xffff};
    record_section("table");
    for (uint32_t i = 0; i < 0x400; i += 2)
        *half_at(MOVED_TABLE + i) = *half_at(i);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned l = 0; l < sizeof limits / sizeof *limits; l++)
            for (unsigned moved = 0; moved < 2; moved++) {
                struct real r = image(&all[i]);
                *half_at(REAL_DATA + POINTER) = (uint16_t)limits[l];
                *(volatile uint32_t *)(REAL_DATA + POINTER + 2) = moved ? MOVED_TABLE : 0;
                record_case("limit%x.moved%x", limits[l], moved, 0, 0);
                run(all[i].name, &r);
            }
}

/* ECX the offset, DX the selector, EAX the flags. */
SNIPPET16(jump16, "push %dx; push %cx; mov %sp, %bp; ljmp *(%bp)");
SNIPPET16(jump32, "push %dx; pushl %ecx; mov %sp, %bp; ljmpl *(%bp)");
SNIPPET16(call16, "push %dx; push %cx; mov %sp, %bp; lcall *(%bp)");
SNIPPET16(call32, "push %dx; pushl %ecx; mov %sp, %bp; lcalll *(%bp)");
SNIPPET16(return16, "push %dx; push %cx; lret");
SNIPPET16(return32, "pushl %edx; pushl %ecx; lretl");
SNIPPET16(return16_pop, "push %ax; push %ax; push %dx; push %cx; lret $4");
SNIPPET16(return32_pop, "pushl %eax; pushl %edx; pushl %ecx; lretl $4");
SNIPPET16(iret16, "push %ax; push %dx; push %cx; iret");
SNIPPET16(iret32, "pushl %eax; pushl %edx; pushl %ecx; iretl");
SNIPPET16(near_jump32, "jmpl *%ecx");
SNIPPET16(near_call32, "calll *%ecx");
SNIPPET16(near_return32, "pushl %ecx; retl");
static void transfers(void) {
    static const struct way all[] = {
        WAY(jump16),      WAY(jump32),       WAY(call16),       WAY(call32),       WAY(return16),
        WAY(return32),    WAY(return16_pop), WAY(iret16),       WAY(return32_pop), WAY(iret32),
        WAY(near_jump32), WAY(near_call32),  WAY(near_return32)};
    static const uint32_t offsets[] = {LANDING, 0x10000, 0x10000 + LANDING, 0x7fff1010};
    record_section("transfer");
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned o = 0; o < sizeof offsets / sizeof *offsets; o++)
            for (unsigned high = 0; high < 2; high++) {
                struct real r = image(&all[i]);
                /* where offsets that are cut would lead, and those that are not checked */
                *half_at(TARGET_CS * 16) = *half_at(TARGET_CS * 16 + 0x10000) = 0xf0cd;
                *half_at(TARGET_CS * 16 + 0x10000 + LANDING) = 0xf0cd;
                *half_at(REAL_CODE + 0x10000) = *half_at(REAL_CODE + 0x10000 + LANDING) = 0xf0cd;
                r.ecx = offsets[o];
                r.edx = (high ? 0x5aa50000u : 0) | TARGET_CS;
                r.eax = FLAG_FIXED;
                record_case("to%x.high%x", offsets[o], high, 0, 0);
                run(all[i].name, &r);
            }
}

SNIPPET16(popf16, "push %ax; popf; pushf; pop %cx; pushw $2; popf" REAL_END);
SNIPPET16(popf32, "pushl %eax; popfl; pushfl; pop %ecx; pushw $2; popf" REAL_END);
SNIPPET16(iret_flags16,
          "push %ax; push %cs; push $8; iret; nop; nop; nop; pushfl; pop %ecx; pushw $2; "
          "popf" REAL_END);
SNIPPET16(iret_flags32,
          "pushl %eax; pushl $0x4000; pushl $0x14; iretl; .org iret_flags32+0x14, 0x90; "
          "pushfl; pop %ecx; pushw $2; popf" REAL_END);
static void flags(void) {
    static const struct way all[] = {WAY(popf16), WAY(popf32), WAY(iret_flags16),
                                     WAY(iret_flags32)};
    record_section("flags");
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        for (unsigned bit = 0; bit < 32; bit++) {
            struct real r = image(&all[i]);
            r.eax = FLAG_FIXED | 1u << bit;
            record_case("bit%x", bit, 0, 0, 0);
            run(all[i].name, &r);
        }
}

/* Opcodes, with what they are in real mode: #UD, #GP or done. */
static void instructions(void) {
    static const struct {
        const char *name;
        uint8_t size, bytes[8];
    } all[] = {{"arpl", 2, {0x63, 0xc0}},
               {"lar", 3, {0x0f, 0x02, 0xc0}},
               {"lsl", 3, {0x0f, 0x03, 0xc0}},
               {"sldt", 3, {0x0f, 0x00, 0xc0}},
               {"str", 3, {0x0f, 0x00, 0xc8}},
               {"lldt", 3, {0x0f, 0x00, 0xd0}},
               {"ltr", 3, {0x0f, 0x00, 0xd8}},
               {"verr", 3, {0x0f, 0x00, 0xe0}},
               {"verw", 3, {0x0f, 0x00, 0xe8}},
               {"group6-6", 3, {0x0f, 0x00, 0xf0}},
               {"smsw", 3, {0x0f, 0x01, 0xe0}},
               {"lmsw", 3, {0x0f, 0x01, 0xf0}},
               {"invlpg", 5, {0x0f, 0x01, 0x3e, 0x10, 0x00}},
               {"sgdt-register", 3, {0x0f, 0x01, 0xc0}},
               {"clts", 2, {0x0f, 0x06}},
               {"mov-cr1", 3, {0x0f, 0x20, 0xc8}},
               {"mov-cr2", 3, {0x0f, 0x20, 0xd0}},
               {"mov-cr5", 3, {0x0f, 0x22, 0xe8}},
               {"mov-dr6", 3, {0x0f, 0x21, 0xf0}},
               {"wbinvd", 2, {0x0f, 0x09}},
               {"sysenter", 2, {0x0f, 0x34}},
               {"sysexit", 2, {0x0f, 0x35}},
               {"vex-2", 4, {0xc5, 0xf8, 0x77, 0x90}},
               {"vex-3", 5, {0xc4, 0xe2, 0x79, 0x18, 0xc0}},
               {"mov-cs", 2, {0x8e, 0xc8}},
               {"mov-seg6", 2, {0x8e, 0xf0}},
               {"lock-mov", 3, {0xf0, 0x89, 0x07}},
               {"lock-nop", 2, {0xf0, 0x90}},
               {"les-register", 2, {0xc4, 0xc0}},
               {"bound-register", 2, {0x62, 0xc0}},
               {"ud2", 2, {0x0f, 0x0b}},
               {"rsm", 2, {0x0f, 0xaa}},
               {"int1", 1, {0xf1}},
               {"salc", 1, {0xd6}},
               {"sti-cli", 2, {0xfb, 0xfa}},
               {"prefix-15", 8, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}}};
    record_section("opcode");
    record_case("", 0, 0, 0, 0);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        uint8_t code[16] = {0};
        memcpy(code, all[i].bytes, all[i].size);
        code[all[i].size] = 0xcd, code[all[i].size + 1] = 0xf0;
        const struct way way = {all[i].name, code, code + all[i].size + 2};
        struct real r = image(&way);
        real_run(&r);
        line_begin(all[i].name);
        line_value(r.vector), line_value(r.ip), line_value(r.esp);
        line_end();
    }
}

SNIPPET16(stepped,
          "pushw $0x102; popf; nop; inc %ax; mov %ss, %cx; mov %cx, %ss; inc %ax; int $0x61");
SNIPPET16(step_handler,
          "push %bp; mov %sp, %bp; push %ax; mov 2(%bp), %ax; mov %ax, (%di); add $2, %di; "
          "pop %ax; pop %bp; iret");
static void steps(void) {
    const struct way way = WAY(stepped);
    struct real r = image(&way);
    memset((void *)REAL_DATA, 0, 64);
    memcpy((void *)(TARGET_CS * 16), step_handler, SNIPPET_SIZE(step_handler));
    real_set_vector(VECTOR_DB, TARGET_CS, 0);
    record_section("step");
    record_case("", 0, 0, 0, 0);
    run("sequence", &r);
    real_reset_vector(VECTOR_DB);
    line_begin("addresses");
    for (uint32_t i = 0; i < 10; i++)
        line_value(*half_at(REAL_DATA + 2 * i));
    line_end();
}

void guest_main(void) {
    record_start();
    paging_off();
    real_start();
    tables();
    transfers();
    flags();
    instructions();
    steps();
    record_finish();
}
