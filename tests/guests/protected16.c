/* 16-bit code segments in protected mode, at ring 3: operand and address sizes and the prefixes
 * that turn them over, offsets that wrap at 64 KiB, limits of data and of code, near branches of
 * either size in either code, and code segments that share offsets or change their limit. QEMU's
 * TCG checks no limits of data: those lines are notes there. */
#include "tests/guests/stage.h"

enum {
    CODE_16 = FREE_SELECTOR | 3,       /* base CODE */
    DATA_16 = (FREE_SELECTOR + 8) | 3, /* base SEGMENT, which has its first and last page */
    CODE_B = (FREE_SELECTOR + 16) | 3, /* the one under test */
    CODE_C = (FREE_SELECTOR + 24) | 3,
    SEGMENT = 0x40100000,
    LAST_PAGE = SEGMENT + 0xf000,
    ACCESS_CODE = 0xfb, /* present, DPL 3, readable, accessed */
    ACCESS_DATA = 0xf3,
    BITS_16 = 0, /* limit in bytes */
    BITS_32 = 12,
};

#define SNIPPET16(name, code) SNIPPET(name, ".code16\n" code "\n.code32\n")

static struct machine at16(const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(3, CODE, code, size);
    m.eip = 0;
    m.cs = CODE_16;
    m.ds = m.es = DATA_16;
    m.ebx = 0;
    return m;
}
#define AT16(name) at16(name, SNIPPET_SIZE(name))

static void fresh(void) {
    memset((void *)SEGMENT, 0, PAGE_SIZE);
    memset((void *)LAST_PAGE, 0, PAGE_SIZE);
}

SNIPPET16(
    sizes,
    "mov $0x11112222, %eax; mov $0x3333, %ax; movl $0x55556666, (0x10); movw $0x7777, (0x10)\n"
    "mov $0x12345678, %ecx; movzwl (0x10), %edx; inc %cx; xchg %dl, %dh; push %ax; pop %si\n"
    "bswap %ecx" DONE);
static void operand_sizes(void) {
    struct machine m = AT16(sizes);
    guest_run(&m);
    check_trap("sizes", &m, VECTOR_DONE, 0, SNIPPET_SIZE(sizes));
    check("sizes.ax-keeps-high", 0x11113333, m.eax);
    check("sizes.memory", 0x55557777, *word_at(SEGMENT + 0x10));
    check("sizes.inc-cx", 0x79563412, m.ecx);
    check("sizes.movzx", 0x7777, m.edx);
    check("sizes.push-pop", 0x3333, m.esi & 0xffff);
}

SNIPPET16(forms, "mov 4(%bx,%si), %al; mov -1(%bx,%di), %ah; mov (%di), %cl; mov (0x1234), %ch\n"
                 "mov 2(%ebx,%esi,2), %dl; mov %cs:(0), %dh; lea 0x7fff(%bx,%si), %si\n"
                 "lea 0x7fff(%ebx,%edi), %edi; movb $0x5a, %al; xlat" DONE);
static void addresses(void) {
    fresh();
    *byte_at(SEGMENT + 0x124) = 0x24;
    *byte_at(SEGMENT + 0x12f) = 0x2f;
    *byte_at(SEGMENT + 0x30) = 0x30;
    *byte_at(LAST_PAGE + 0x234) = 0x34; /* what 1234 may not become */
    *byte_at(SEGMENT + 0x142) = 0x42;
    *byte_at(SEGMENT + 0x15a) = 0xa5;
    struct machine m = AT16(forms);
    m.ebx = 0x100, m.esi = 0x20, m.edi = 0x30;
    space_map_new(&stage, SEGMENT + 0x1000, USER_PAGE);
    *byte_at(SEGMENT + 0x1234) = 0x12;
    guest_run(&m);
    check_trap("forms", &m, VECTOR_DONE, 0, SNIPPET_SIZE(forms));
    check("forms.ax", 0x2fa5, m.eax & 0xffff);
    check("forms.cx", 0x1230, m.ecx & 0xffff);
    check("forms.dx", (uint32_t)forms[0] << 8 | 0x42, m.edx & 0xffff);
    check("forms.lea-wraps-in-si", 0x811f, m.esi);
    check("forms.lea32", 0x812f, m.edi);
}

SNIPPET16(wrapping,
          "mov 0x20(%bx), %ax; mov %ax, -0x7ff0(%bx,%si); movw $0xffff, %di; mov (%di), %dl" DONE);
SNIPPET16(load_word, "nop; mov (%bx), %ax" DONE);
SNIPPET16(load_dword, "nop; mov (%bx), %eax" DONE);
SNIPPET16(store_bp, "nop; mov %ax, %ds:(%bp)" DONE);
SNIPPET16(load_ebx, "nop; mov (%ebx), %al" DONE);
SNIPPET16(far_load, "nop; les (%bx), %ax" DONE);
static void offsets_wrap(void) {
    fresh();
    *word_at(SEGMENT + 0x10) = 0xcafe;
    *byte_at(SEGMENT + 0xffff) = 0x77;
    struct machine m = AT16(wrapping);
    m.ebx = 0xabcdfff0, m.esi = 0x8020;
    guest_run(&m);
    check_trap("wrap", &m, VECTOR_DONE, 0, SNIPPET_SIZE(wrapping));
    check("wrap.load", 0xcafe, m.eax & 0xffff);
    check("wrap.store", 0xcafe, *word_at(SEGMENT + 0x20));
    check("wrap.last-byte", 0x77, m.edx & 0xff);
}

static void expect_limit(const char *name, struct machine m, uint32_t ebx, bool inside) {
    m.ebx = m.ebp = ebx;
    guest_run(&m);
    if (inside)
        check(name, VECTOR_DONE, m.vector);
    else
        check_trap_unless_tcg(name, &m, VECTOR_GP, 0, 1);
}

static void data_limits(void) {
    expect_limit("limit.word-inside", AT16(load_word), 0xfffe, true);
    expect_limit("limit.word-across", AT16(load_word), 0xffff, false);
    expect_limit("limit.dword-inside", AT16(load_dword), 0xfffc, true);
    expect_limit("limit.dword-across", AT16(load_dword), 0xfffd, false);
    expect_limit("limit.store-across", AT16(store_bp), 0xffff, false);
    expect_limit("limit.pointer-across", AT16(far_load), 0xfffd, false);
    expect_limit("limit.32-bit-inside", AT16(load_ebx), 0xffff, true);
    expect_limit("limit.32-bit-beyond", AT16(load_ebx), 0x10000, false);
}

SNIPPET16(branches, "call 1f; mov %ax, %dx; mov $2f-branches, %bx; jmp *%bx; hlt\n"
                    "1: mov $7, %ax; ret; hlt\n"
                    "2: mov $3, %cx; xor %di, %di; 3: inc %di; loop 3b; jcxz 4f; hlt\n"
                    "4: mov $0x10000, %ecx; jcxz 5f; hlt; 5: jecxz 6f; stc; jmp 7f; 6: hlt\n"
                    "7: jnc 6b; push $1234; call 8f; .byte 0xcc; 8: add $2, %sp; mov $5, %cx\n"
                    "9: dec %bx; cmp %bx, %bx; loope 9b; mov $2, %cx; 10: inc %bp; loopne 10b\n"
                    "pop %si" DONE);
static void near_branches(void) {
    struct machine m = AT16(branches);
    m.ecx = 0xffff0000, m.ebp = 0;
    guest_run(&m);
    check_trap("branch", &m, VECTOR_DONE, 0, SNIPPET_SIZE(branches));
    check("branch.call", 7, m.edx & 0xffff);
    check("branch.loop", 3, m.edi & 0xffff);
    check("branch.loop-keeps-high", 0x10000, m.ecx);
    check("branch.loopne", 2, m.ebp);
    check("branch.push-word", 1234, m.esi & 0xffff);
    check("branch.esp", STACK_TOP, m.esp);
}

/* In 32-bit code 66h cuts EIP to 16 bits, pushes and pops words. */
SNIPPET(word_branches,
        ".byte 0x66, 0xe8; .word 1f-.-2; mov %esp, %ecx; .byte 0x66, 0xeb, 2f-.-1; hlt\n"
        "1: mov %esp, %edx; .byte 0x66, 0xc3; hlt\n"
        "2: stc; .byte 0x66, 0x72, 3f-.-1; hlt; 3: mov $4f-word_branches+0xabcd0000, %eax\n"
        ".byte 0x66, 0xff, 0xe0; hlt; 4: mov $5, %ecx; 5: inc %edi; .byte 0x67, 0xe2, 5b-.-1\n"
        ".byte 0x66, 0x0f, 0x82; .word 6f-.-2; hlt; 6: .byte 0x66; ret $0");
SNIPPET16(dword_branches,
          ".byte 0x66, 0xe8; .long 1f-.-4; mov %esp, %ecx; .byte 0x66, 0xeb, 2f-.-1; hlt\n"
          "1: mov %esp, %edx; .byte 0x66, 0xc3; hlt\n"
          "2: .byte 0x66, 0xff, 0xe0" DONE);
static void branch_sizes(void) {
    gdt_set(CODE_B & ~7, CODE, 0xfffff, ACCESS_CODE, BITS_32);
    struct machine m = stage_at(3, CODE, word_branches, SNIPPET_SIZE(word_branches));
    m.eip = 0, m.cs = CODE_B, m.ecx = 0, m.edi = 0;
    memcpy((void *)(CODE + 0x200), "\xcd\x81", 2);
    m.esp = STACK_TOP - 16;
    *word_at(STACK_TOP - 16) = 0xdead0200;
    guest_run(&m);
    check_trap("word-branch", &m, VECTOR_DONE, 0, 0x202);
    check("word-branch.call-pushes-two", STACK_TOP - 18, m.edx);
    check("word-branch.ret", STACK_TOP - 14, m.esp);
    check("word-branch.loop-cx", 5, m.edi);
    m = AT16(dword_branches);
    m.eax = 0x10000;
    guest_run(&m);
    check("dword-branch.call-pushes-four", STACK_TOP - 4, m.edx);
    check("dword-branch.ret", STACK_TOP, m.ecx);
    check_trap_unless_tcg("dword-branch.beyond", &m, VECTOR_GP, 0,
                          SNIPPET_SIZE(dword_branches) - 5);
    gdt_set(CODE_B & ~7, CODE, 0xfffff, ACCESS_CODE, 8); /* 16-bit code of 4 GiB */
    space_map_new(&stage, CODE + 0x10000, USER_PAGE);
    memcpy((void *)(CODE + 0x10000), "\xcd\x81", 2);
    m = AT16(dword_branches);
    m.eax = 0x10000, m.cs = CODE_B;
    guest_run(&m);
    check_trap_unless_tcg("dword-branch.above-64K", &m, VECTOR_DONE, 0, 0x10002);
}

SNIPPET16(over_limit, "nop; jmp 1f; .skip 0x40; 1: nop");
SNIPPET16(over_limit_near, "nop; call 1f; .skip 0x100; 1: nop");
SNIPPET16(over_limit_jcc, "stc; jc 1f; .skip 0x40; 1: nop");
SNIPPET16(over_limit_loop, "nop; loop 1f; .skip 0x40; 1: nop");
SNIPPET16(over_limit_ret, "nop; ret");
SNIPPET16(run_off, "nop; nop; nop; mov $0x1234, %ax; nop");
static void expect_code_limit(const char *name, const uint8_t *code, uint32_t size, uint32_t limit,
                              uint32_t eip) {
    gdt_set(CODE_B & ~7, CODE, limit, ACCESS_CODE, BITS_16);
    struct machine m = at16(code, size);
    m.cs = CODE_B, m.ecx = 3;
    m.esp = STACK_TOP - 4;
    *word_at(STACK_TOP - 4) = 0x7777;
    guest_run(&m);
    check_trap_unless_tcg(name, &m, VECTOR_GP, 0, eip);
    if (m.vector == VECTOR_GP) {
        check("code-limit.esp", STACK_TOP - 4, m.esp);
        check("code-limit.ecx", 3, m.ecx);
    }
}
#define EXPECT_CODE_LIMIT(name, code, limit, eip)                                                  \
    expect_code_limit(name, code, SNIPPET_SIZE(code), limit, eip)

static void code_limits(void) {
    EXPECT_CODE_LIMIT("code-limit.jmp", over_limit, 0x20, 1);
    EXPECT_CODE_LIMIT("code-limit.call", over_limit_near, 0x20, 1);
    EXPECT_CODE_LIMIT("code-limit.jcc", over_limit_jcc, 0x20, 1);
    EXPECT_CODE_LIMIT("code-limit.loop", over_limit_loop, 0x20, 1);
    EXPECT_CODE_LIMIT("code-limit.ret", over_limit_ret, 0x20, 1);
    EXPECT_CODE_LIMIT("code-limit.run-off", run_off, 2, 3);
    EXPECT_CODE_LIMIT("code-limit.split", run_off, 4, 3);
}

/* The same bytes and offsets, with a limit that goes down between two runs. */
SNIPPET16(looping, "mov $40, %cx; 1: call 2f; loop 1b; int $0x81; .skip 0x40; 2: inc %ax; ret");
static void limit_changes(void) {
    uint32_t size = SNIPPET_SIZE(looping);
    for (unsigned round = 0; round < 3; round++) {
        bool enough = round != 1;
        gdt_set(CODE_B & ~7, CODE, enough ? 0xffff : 0x20, ACCESS_CODE, BITS_16);
        struct machine m = at16(looping, size);
        m.cs = CODE_B, m.eax = 0;
        guest_run(&m);
        if (enough)
            check("limit-change.runs", 40, m.eax);
        else
            check_trap_unless_tcg("limit-change.faults", &m, VECTOR_GP, 0, 3);
    }
}

/* Two code segments whose code stands at the same offsets, called in turn: neither links, caches
 * nor return stacks may take one for the other. */
SNIPPET16(alternate, "mov $50, %cx; 1: lcall *%cs:(0x80); lcall *%cs:(0x84); loop 1b" DONE);
SNIPPET16(adds_one, "call 1f; lret; 1: inc %ax; ret");
SNIPPET16(adds_256, "call 1f; lret; 1: add $0x100, %ax; ret");
static void shared_offsets(void) {
    gdt_set(CODE_B & ~7, CODE + 0x200, 0xffff, ACCESS_CODE, BITS_16);
    gdt_set(CODE_C & ~7, CODE + 0x400, 0xffff, ACCESS_CODE, BITS_16);
    struct machine m = AT16(alternate);
    m.eax = 0;
    memcpy((void *)(CODE + 0x200), adds_one, SNIPPET_SIZE(adds_one));
    memcpy((void *)(CODE + 0x400), adds_256, SNIPPET_SIZE(adds_256));
    *word_at(CODE + 0x80) = (uint32_t)CODE_B << 16;
    *word_at(CODE + 0x84) = (uint32_t)CODE_C << 16;
    guest_run(&m);
    check_trap("shared-offsets", &m, VECTOR_DONE, 0, SNIPPET_SIZE(alternate));
    check("shared-offsets.both", 50 + 50 * 0x100, m.eax);
}

SNIPPET16(strings, "cld; rep movsb; lodsw; stosb; std; scasb; movsw; cmpsb" DONE);
SNIPPET16(store_string, "nop; stosw" DONE);
SNIPPET16(rep_store, "nop; rep stosw" DONE);
SNIPPET16(rep_scan, "nop; repne scasw" DONE);
static void string_instructions(void) {
    fresh();
    for (unsigned i = 0; i < 10; i++)
        *byte_at(SEGMENT + (0xfffc + i) % 0x10000) = (uint8_t)(0xa0 + i);
    struct machine m = AT16(strings);
    m.esi = 0x5678fffc, m.edi = 0x40, m.ecx = 0xffff0006;
    guest_run(&m);
    check_trap("string", &m, VECTOR_DONE, 0, SNIPPET_SIZE(strings));
    check("string.rep-wraps", 0xa3a2a1a0, *word_at(SEGMENT + 0x40));
    check("string.lods", 0xa7a6, m.eax & 0xffff);
    check("string.movs-backwards", 0xa9a8, *word_at(SEGMENT + 0x46)); /* over what STOS stored */
    check("string.esi", 0x56780001, m.esi);
    check("string.edi", 0x43, m.edi);
    check("string.cx-alone", 0xffff0000, m.ecx);
    m = AT16(store_string);
    m.edi = 0xffff;
    guest_run(&m);
    check_trap_unless_tcg("string.across", &m, VECTOR_GP, 0, 1);
    check("string.across.edi", m.vector == VECTOR_GP ? 0xffff : 1, m.edi & 0xffff);
    m = AT16(rep_store);
    m.edi = 0xfffb, m.ecx = 4, m.eax = 0x5a5a;
    guest_run(&m);
    check_trap_unless_tcg("string.rep-across", &m, VECTOR_GP, 0, 1);
    check("string.rep-across.done", 0x5a5a5a5a, *(volatile uint32_t *)(SEGMENT + 0xfffb));
    if (m.vector == VECTOR_GP)
        check("string.rep-across.cx", 2, m.ecx);
    m = AT16(rep_scan);
    m.edi = 0xfffb, m.ecx = 4, m.eax = 1, m.eflags |= FLAG_ZF | FLAG_OF;
    guest_run(&m);
    check_trap_unless_tcg("string.scan-across", &m, VECTOR_GP, 0, 1);
    if (m.vector == VECTOR_GP) /* as before the first element, though two were compared */
        check("string.scan-across.flags", FLAG_ZF | FLAG_OF, m.eflags & FLAGS_ARITHMETIC);
}

/* INC BX at 30h becomes INC AX on the way, through a data segment over the code. */
SNIPPET16(changing, "mov $30, %cx; jmp 1f; .skip 0x30-(.-changing), 0x90\n"
                    "1: inc %bx; incb %es:(0); cmpb $15, %es:(0); jne 2f; movb $0x40, %fs:(0x30)\n"
                    "2: loop 1b" DONE);
static void code_that_changes(void) {
    fresh();
    gdt_set(CODE_C & ~7, CODE, 0xffff, ACCESS_DATA, BITS_16);
    struct machine m = AT16(changing);
    m.fs = CODE_C, m.eax = 0;
    guest_run(&m);
    check_trap("changes", &m, VECTOR_DONE, 0, SNIPPET_SIZE(changing));
    check("changes.before", 15, m.ebx);
    check("changes.after", 15, m.eax);
}

SNIPPET16(bits,
          "bts %ax, (0x100); bt %cx, (0x100); setc %dl; bts %esi, (0x100); btr %di, (0x102)" DONE);
static void bit_strings(void) {
    fresh();
    struct machine m = AT16(bits);
    *word_at(SEGMENT + 0x102) = 0x80;
    *byte_at(SEGMENT + 0x100 - 0x20) = 8;
    m.eax = 0xffff0081;                  /* bit 1 of 110h */
    m.ecx = (uint32_t) - (0x20 * 8) + 3; /* CX: backwards */
    m.esi = 0xff00 * 8;                  /* wraps to 0 */
    m.edi = 7;
    guest_run(&m);
    check_trap("bits", &m, VECTOR_DONE, 0, SNIPPET_SIZE(bits));
    check("bits.forward", 2, *word_at(SEGMENT + 0x110));
    check("bits.backward", 1, m.edx & 0xff);
    check("bits.wraps", 1, *word_at(SEGMENT));
    check("bits.reset", 0, *word_at(SEGMENT + 0x102));
}

void guest_main(void) {
    stage_start();
    space_map_new(&stage, SEGMENT, USER_PAGE);
    space_map_new(&stage, LAST_PAGE, USER_PAGE);
    space_map_new(&stage, LAST_PAGE + PAGE_SIZE, USER_PAGE);
    gdt_set(CODE_16 & ~7, CODE, 0xffff, ACCESS_CODE, BITS_16);
    gdt_set(DATA_16 & ~7, SEGMENT, 0xffff, ACCESS_DATA, BITS_16);
    operand_sizes();
    addresses();
    offsets_wrap();
    data_limits();
    near_branches();
    branch_sizes();
    code_limits();
    limit_changes();
    shared_offsets();
    string_instructions();
    code_that_changes();
    bit_strings();
    check_finish("protected16");
}
