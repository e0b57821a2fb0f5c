/* An interrupt at every instruction boundary of a block: registers, flags, stack and memory must
 * come out as without interrupts.
 *
 * Under `--debug inject=40000000-40001fff` IRQ 5 arrives before every instruction of the two code
 * pages; "inject" on the command line says so, and the handler must then have run once a
 * boundary. The boundaries are those that a single step of the same block stops at. Without the
 * switch the line stays quiet and the blocks are merely run. "nmi", with `--debug inject-nmi=`, is the
 * same with NMIs, which come where IF is clear, too. */
#include "tests/guests/stage.h"

enum { LINE = 5, VECTOR_LINE = VECTOR_IRQ0 + LINE, SEEN_MAX = 512, SCRATCH = 1024 };
enum { VECTOR_NMI = 2 };
enum { BASE = DATA + 64 }; /* EBP in the blocks */

/* What each block leaves behind beside registers: DATA's first bytes and the stack's. */
struct outcome {
    struct machine m;
    uint8_t data[SCRATCH];
};

struct trail {
    uint32_t eip[SEEN_MAX];
    unsigned count;
};

static struct trail *trail;
static struct trail stepped, injected;

/* A repeated string traps after each element, and is interrupted once. */
static void seen(uint32_t eip) {
    bool again = trail->count && trail->eip[trail->count - 1] == eip;
    if (trail->count < SEEN_MAX && !again)
        trail->eip[trail->count++] = eip;
}

static bool on_line(struct trap_frame *frame) {
    seen(frame->eip);
    pic_end_of_interrupt(LINE);
    return true;
}

static bool on_nmi(struct trap_frame *frame) {
    seen(frame->eip);
    return true;
}

/* Behind the STI that sets IF no interrupt can come, and where it is clear only an NMI. */
static bool on_step(struct trap_frame *frame) {
    static bool was_masked;
    bool masked = !(frame->eflags & FLAG_IF),
         shadow = was_masked && *byte_at(frame->eip - 1) == 0xfb;
    if ((!masked || guest_option("nmi")) && !shadow)
        seen(frame->eip);
    was_masked = masked;
    write_dr6(0);
    return true;
}

/* PUSHF's image has TF while stepping, so it is masked; the arithmetic flags count. */
SNIPPET(arithmetic, "mov $12345, %eax; mov $7, %ecx; xor %edx, %edx; add $0x7fffffff, %eax;"
                    "adc %ecx, %edx; inc %eax; dec %ecx; pushf; pop %esi; and $0xcd5, %esi;"
                    "add %esi, %edx; sbb %eax, %eax; lea 3(%edx,%ecx,4), %edi; xchg %ah, %dl;"
                    "mov %dh, %bh; imul %edi, %edx; cmpxchg %ecx, (%ebp); xadd %edx, 4(%ebp);"
                    "bswap %edx; rol %cl, %edx; bt $3, %edx; setc %al; cmovc %edx, %ecx; aaa; das;"
                    "aad; .byte 0xd6; sahf; lahf" DONE);
SNIPPET(stack,
        "mov $9, %eax; push %eax; push $-3; pushw $5; pushw $6; pop %ecx; pop %edx; pop %esi;"
        "pusha; popa; push %esp; pop %edi; enter $16, $0; mov %eax, -4(%ebp); leave;"
        "enter $8, $2; leave; push (%ebp); pop 4(%ebp); pushf; popf; push %ds; pop %es;"
        "sub $8, %esp; mov %eax, 4(%esp); add $8, %esp; mov %esp, %edx" DONE);
SNIPPET(control,
        "xor %eax, %eax; mov $5, %ecx; 1: inc %eax; loop 1b; call 2f; call 2f; jmp 3f; ud2;"
        "2: inc %eax; call 4f; ret; 4: add $16, %eax; ret $0; 3: jecxz 5f; ud2;"
        "5: call 6f; 6: pop %edx; add $(7f - 6b), %edx; jmp *%edx; ud2; 7: mov %edx, %esi;"
        "add $(8f - 7b), %esi; call *%esi; jmp 9f; 8: dec %eax; ret; 9: cmp $100, %eax;"
        "jb 10f; ud2; 10: jc 11f; ud2; 11: mov $3, %ecx; 12: dec %ecx; jnz 12b; into;"
        "bound %ecx, 16(%ebp); nop" DONE);
SNIPPET(strings,
        "cld; mov %ebp, %edi; mov $17, %ecx; mov $0xa5a5a5a5, %eax; rep stosl;"
        "lea 3(%ebp), %esi; lea 128(%ebp), %edi; mov $33, %ecx; rep movsb; lodsb; stosw;"
        "mov %ebp, %edi; mov $20, %ecx; repe scasb; mov %ebp, %esi; mov $9, %ecx;"
        "repne cmpsl; std; lea 64(%ebp), %edi; movsl; stosb; cld; mov %ebp, %ebx; mov $7, %al;"
        "xlat; lea 16(%ebp), %esi; mov (%esi), %edx" DONE);
SNIPPET(selectors,
        "mov %ds, %eax; mov %eax, %es; mov %ax, %fs; mov %fs:(%ebp), %ecx; push %fs;"
        "pop %gs; lar %ax, %edx; lsl %ax, %esi; verr %ax; sldt %edi; str %ebx; smsw %ecx;"
        "mov %ss, %eax; mov %eax, %ss; inc %edx; lds 256(%ebp), %esi; push %ss; pop %ss;"
        "inc %edx; arpl %dx, %ax; cpuid; xor %eax, %eax; xor %ebx, %ebx; xor %ecx, %ecx;"
        "xor %edx, %edx" DONE);
SNIPPET(
    vectors,
    "fninit; fld1; fldpi; faddp; fstl 8(%ebp); fnstcw 16(%ebp); fldcw 16(%ebp); fistpl (%ebp);"
    "movups 32(%ebp), %xmm0; paddd %xmm0, %xmm0; movdqu %xmm0, %xmm1; pshufd $0x1b, %xmm1, %xmm2;"
    "movups %xmm2, 48(%ebp); movd %xmm2, %eax; movd 4(%ebp), %mm0; paddb %mm0, %mm0;"
    "movq %mm0, 24(%ebp); emms; ldmxcsr 64(%ebp); stmxcsr 68(%ebp); fxsave 80(%ebp);"
    "xor %ecx, %ecx" DONE);
SNIPPET(privileged,
        "mov %cr0, %eax; mov %eax, %cr0; mov %cr3, %ecx; mov %ecx, %cr3; mov %dr7, %edx;"
        "mov %edx, %dr7; clts; sti; nop; cli; inc %edx; sti; nop; push %cs;"
        "call 1f; jmp 2f; 1: lret; 2: invlpg (%ebp); sgdt (%ebp); lgdt (%ebp); sidt 8(%ebp);"
        "lidt 8(%ebp); smsw %eax; lmsw %ax; mov $0x80, %edi; in $0x80, %al; xor %al, %al;"
        "out %al, $0x80; pushf; push %cs; call 3f; jmp 4f; 3: iret; 4: mov $0x174, %ecx;"
        "rdmsr; wrmsr; nop" DONE);

static void put_data(void) {
    for (uint32_t i = 0; i < SCRATCH; i++)
        *byte_at(DATA + i) = (uint8_t)(i * 37 + 11);
    *word_at(BASE + 16) = 0; /* BOUND's limits, and with them a control word for FLDCW */
    *word_at(BASE + 20) = 1000;
    *word_at(BASE + 64) = 0x1f80; /* MXCSR */
    *word_at(BASE + 260) = 0x10;  /* LDS's selector */
}

static struct outcome run(unsigned ring, const uint8_t *code, uint32_t size, uint32_t flags) {
    struct outcome o;
    put_data();
    if (ring)
        *word_at(BASE + 260) = 0x23;
    struct machine m = stage_at(ring, CODE, code, size);
    m.ebp = BASE;
    m.eflags |= flags | FLAG_IF;
    guest_run(&m);
    o.m = m;
    memcpy(o.data, (const void *)DATA, sizeof o.data);
    return o;
}

/* Registers of the outcome, without what a single step puts there. */
static bool same_outcome(const struct outcome *a, const struct outcome *b) {
    struct machine x = a->m, y = b->m;
    x.eflags &= ~(uint32_t)FLAG_TF, y.eflags &= ~(uint32_t)FLAG_TF;
    return memcmp(&x, &y, sizeof x) == 0 && memcmp(a->data, b->data, sizeof a->data) == 0;
}

/* The stepped trail lacks the first boundary: the trap comes behind an instruction. */
static void compare_trails(void) {
    check("boundaries", stepped.count + 1, injected.count);
    for (unsigned i = 0; i <= stepped.count && i < injected.count; i++) {
        uint32_t expected = i ? stepped.eip[i - 1] : CODE;
        if (injected.eip[i] != expected) {
            check("boundary", expected, injected.eip[i]);
            return;
        }
    }
}

/* Both sources: of NMIs it is port 70h that gates them. */
static void let_in(bool in) {
    if (in)
        pic_unmask(LINE);
    else
        pic_mask(LINE);
    outb(0x70, in ? 0x0d : 0x8d);
}

static void try_block(const char *name, unsigned ring, const uint8_t *code, uint32_t size) {
    check_variant(ring_name(ring));
    let_in(false);
    struct outcome quiet = run(ring, code, size, 0);
    check(name, VECTOR_DONE, quiet.m.vector);
    trail = &stepped;
    stepped.count = injected.count = 0;
    struct outcome step = run(ring, code, size, FLAG_TF);
    check_true("same-when-stepped", same_outcome(&quiet, &step));
    trail = &injected;
    let_in(true);
    struct outcome interrupted = run(ring, code, size, 0);
    let_in(false);
    check_true("same-when-interrupted", same_outcome(&quiet, &interrupted));
    if (guest_option("inject"))
        compare_trails();
    else
        check("no-interrupts", 0, injected.count);
    check_variant(NULL);
}
#define TRY(ring, name) try_block(#name, ring, name, SNIPPET_SIZE(name))

void guest_main(void) {
    stage_start();
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
    write_cr0((read_cr0() | CR0_MP | CR0_NE) & ~(uint32_t)(CR0_EM | CR0_TS));
    trap_set_handler(VECTOR_LINE, on_line);
    trap_set_handler(VECTOR_DB, on_step);
    if (guest_option("nmi"))
        trap_set_handler(VECTOR_NMI, on_nmi);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        TRY(ring, arithmetic);
        TRY(ring, stack);
        TRY(ring, control);
        TRY(ring, strings);
        TRY(ring, selectors);
        TRY(ring, vectors);
    }
    TRY(0, privileged);
    check_finish("injected");
}
