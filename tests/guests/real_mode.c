/* Real mode: segments that are addresses, far transfers, interrupts through the table at 0, faults
 * as interrupts, limits that outlive protected mode, and the edges at 64 KiB and 1 MiB.
 * QEMU's TCG checks no limits of data: those lines are notes there. */
#include "tests/guests/real.h"

static void check_limit(const char *name, const struct real *r, uint32_t vector, uint32_t ip) {
    if (check_under_tcg() && r->vector != vector) {
        check_verdict(name, true);
        print("   (hardware gives %u, TCG %u)\n", vector, r->vector);
    } else {
        check_real(name, r, vector, ip);
    }
}

SNIPPET16(
    basics,
    "mov %cs, %ax; mov %ds, %cx; mov %ss, %dx; mov $0x5100, %bx; mov %bx, %es; push %es; pop %fs\n"
    "movl $0x12345678, (0x10); movw $0xabcd, %fs:(0x10); mov %es:(0x10), %si; mov %sp, %bp\n"
    "movb $7, -2(%bp); mov -2(%bp), %di; lea 0x20(%bx,%si), %bx" REAL_END);
static void segments(void) {
    struct real r = REAL(basics);
    r.edi = r.esp = 0;
    real_run(&r);
    check_real("basics", &r, REAL_DONE, SNIPPET_SIZE(basics));
    check("basics.cs", REAL_CODE >> 4, r.eax & 0xffff);
    check("basics.ds", REAL_DATA >> 4, r.ecx & 0xffff);
    check("basics.ss", REAL_STACK >> 4, r.edx & 0xffff);
    check("basics.store", 0x12345678, *(volatile uint32_t *)(REAL_DATA + 0x10));
    check("basics.fs", 0xabcd, *half_at(0x51010));
    check("basics.es", 0xabcd, r.esi & 0xffff);
    check("basics.bp-is-ss", 0x5107, r.edi & 0xffff); /* over what PUSH ES left */
    check("basics.lea", (0x5100 + 0xabcd + 0x20) & 0xffff, r.ebx);
    check("basics.fs-selector", 0x5100, r.fs);
}

SNIPPET16(
    far,
    "mov $20, %cx; 1: lcall $0x4100, $0; lcall $0x4200, $0; loop 1b; pushw $0x4000; pushw $2f-far\n"
    "lret; hlt; 2: ljmp $0x3fff, $3f-far+0x10; hlt; 3: mov %cs, %bx; lcall *(0x40)" REAL_END);
SNIPPET16(far_one, "call 1f; lret; 1: inc %ax; ret");
SNIPPET16(far_two, "call 1f; lret; 1: add $0x100, %ax; ret");
static void far_transfers(void) {
    struct real r = REAL(far);
    memcpy((void *)0x41000, far_one, SNIPPET_SIZE(far_one));
    memcpy((void *)0x42000, far_two, SNIPPET_SIZE(far_two));
    *(volatile uint32_t *)(REAL_DATA + 0x40) = 0x42000000;
    real_run(&r);
    check_real("far", &r, REAL_DONE, SNIPPET_SIZE(far) + 0x10);
    check("far.ax", 20 + 21 * 0x100, r.eax);
    check("far.cs", 0x3fff, r.ebx & 0xffff);
    check("far.sp", 0, r.esp);
}

SNIPPET16(interrupts, "sti; stc; mov $1000, %cx; 1: int $0x60; loop 1b; pushf; pop %dx" REAL_END);
SNIPPET16(handler, "pushf; pop %bx; inc %ax; clc; iret");
SNIPPET16(timer, "sti; 1: cmp $5, %ax; jb 1b; hlt; cli; " REAL_END);
SNIPPET16(timer_handler, "push %ax; mov $0x20, %al; out %al, $0x20; pop %ax; inc %ax; iret");
static void interrupt_table(void) {
    struct real r = REAL(interrupts);
    memcpy((void *)0x41000, handler, SNIPPET_SIZE(handler));
    real_set_vector(0x60, 0x4100, 0);
    real_run(&r);
    check_real("int", &r, REAL_DONE, SNIPPET_SIZE(interrupts));
    check("int.count", 1000, r.eax);
    check("int.if-clear-inside", 0, r.ebx & FLAG_IF);
    check("int.iret-gives-flags-back", FLAG_IF | FLAG_CF, r.edx & (FLAG_IF | FLAG_CF));
    r = REAL(timer);
    memcpy((void *)0x41000, timer_handler, SNIPPET_SIZE(timer_handler));
    real_set_vector(VECTOR_IRQ0, 0x4100, 0);
    pit_start(1000);
    pic_unmask(0);
    real_run(&r);
    pic_mask(0);
    check_real("timer", &r, REAL_DONE, SNIPPET_SIZE(timer));
    check_true("timer.count", r.eax >= 6);
}

SNIPPET16(divide, "nop; div %cl" REAL_END);
SNIPPET16(undefined, "nop; ud2" REAL_END);
SNIPPET16(arpl, "nop; arpl %ax, %cx" REAL_END);
SNIPPET16(lar, "nop; lar %ax, %cx" REAL_END);
SNIPPET16(sldt, "nop; sldt %ax" REAL_END);
SNIPPET16(ltr, "nop; ltr %ax" REAL_END);
SNIPPET16(lds_register, "nop; .byte 0xc5, 0xf8, 0x77" REAL_END); /* VZEROUPPER elsewhere */
SNIPPET16(sysenter, "nop; sysenter" REAL_END);
SNIPPET16(bounds, "nop; bound %ax, (0x20)" REAL_END);
SNIPPET16(overflow, "mov $0x7f, %al; inc %al; into" REAL_END);
static void faults(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
        uint32_t vector, ip;
    } list[] = {
        {"fault.divide", divide, divide_end, VECTOR_DE, 1},
        {"fault.ud2", undefined, undefined_end, VECTOR_UD, 1},
        {"fault.arpl", arpl, arpl_end, VECTOR_UD, 1},
        {"fault.lar", lar, lar_end, VECTOR_UD, 1},
        {"fault.sldt", sldt, sldt_end, VECTOR_UD, 1},
        {"fault.ltr", ltr, ltr_end, VECTOR_UD, 1},
        {"fault.vex", lds_register, lds_register_end, VECTOR_UD, 1},
        {"fault.sysenter", sysenter, sysenter_end, VECTOR_GP, 1},
        {"fault.bound", bounds, bounds_end, VECTOR_BR, 1},
        {"fault.into", overflow, overflow_end, VECTOR_OF, 5},
    };
    *(volatile uint32_t *)(REAL_DATA + 0x20) = 0x00020001;
    for (unsigned i = 0; i < sizeof list / sizeof *list; i++) {
        struct real r = real_image(list[i].code, (uint32_t)(list[i].end - list[i].code));
        real_run(&r);
        check_real(list[i].name, &r, list[i].vector, list[i].ip);
        check("fault.three-words", 0, r.esp);
    }
}

SNIPPET16(load_word, "nop; mov (%bx), %ax" REAL_END);
SNIPPET16(load_bp, "nop; mov (%bp), %ax" REAL_END);
SNIPPET16(load_dword, "nop; mov (%ebx), %eax" REAL_END);
SNIPPET16(store_cs, "nop; mov %ax, %cs:(%bx)" REAL_END);
SNIPPET16(far_jump, "nop; .byte 0x66, 0xea; .long 0x10000; .word 0x4000" REAL_END);
SNIPPET16(near_jump, "nop; jmp *%eax" REAL_END);
static void limits(void) {
    struct real r = REAL(load_word);
    r.ebx = 0xfffe;
    real_run(&r);
    check_real("limit.inside", &r, REAL_DONE, SNIPPET_SIZE(load_word));
    r = REAL(load_word), r.ebx = 0xffff;
    real_run(&r);
    check_limit("limit.across", &r, VECTOR_GP, 1);
    r = REAL(load_bp), r.ebp = 0xffff;
    real_run(&r);
    check_limit("limit.stack-across", &r, VECTOR_SS, 1);
    r = REAL(load_dword), r.ebx = 0x12345;
    real_run(&r);
    check_limit("limit.32-bit-address", &r, VECTOR_GP, 1);
    r = REAL(store_cs), r.ebx = 0x20, r.eax = 0x4711;
    real_run(&r);
    check_real("limit.code-is-writable", &r, REAL_DONE, SNIPPET_SIZE(store_cs));
    check("limit.code-was-written", 0x4711, *half_at(REAL_CODE + 0x20));
    r = REAL(far_jump);
    real_run(&r);
    check_limit("limit.far-jump", &r, VECTOR_GP, 1);
    r = REAL(near_jump), r.eax = 0x10000;
    real_run(&r);
    check_limit("limit.near-jump", &r, VECTOR_GP, 1);
}

/* DS brings a limit of 4 GiB along, and keeps it when it is loaded in real mode. */
SNIPPET16(
    unreal,
    "mov $0x100000, %ebx; mov (%ebx), %eax; mov $0x5000, %cx; mov %cx, %ds; movl $0x77, (0x30)\n"
    "mov $0xb0000, %ebx; mov (%ebx), %edx; mov $0x123456, %esi; movl %esi, (%esi)\n"
    "mov %es:(%ebx), %edi" REAL_END);
static void unreal_mode(void) {
    struct real r = REAL(unreal);
    r.ds = 0, r.unreal = 1, r.edi = 1;
    *(volatile uint32_t *)0x173456 = 0;
    uint32_t kept = *(volatile uint32_t *)0x173456;
    real_run(&r);
    check_limit("unreal", &r, VECTOR_GP, SNIPPET_SIZE(unreal) - 7);
    check("unreal.above-1M", *(volatile uint32_t *)0x100000, r.eax);
    check("unreal.based", *(volatile uint32_t *)0x100000, r.edx);
    check("unreal.store", 0x123456, *(volatile uint32_t *)0x173456);
    check("unreal.16-bit", 0x77, *(volatile uint32_t *)(REAL_DATA + 0x30));
    *(volatile uint32_t *)0x173456 = kept;
}

SNIPPET16(above, "mov $0xffff, %ax; mov %ax, %ds; mov (0x10), %eax; mov %es:(0x10), %ebx" REAL_END);
SNIPPET16(moves,
          "cld; mov $0x7000, %cx; rep movsw; mov $0x8000, %cx; mov $0x55aa, %ax; xor %di, %di\n"
          "push %ds; pop %es; rep stosw; mov $3, %cx; repne scasb" REAL_END);
static void strings_and_edges(void) {
    *(volatile uint32_t *)(REAL_DATA + 0x10) = 0xdada;
    struct real r = REAL(above);
    real_run(&r);
    check_real("one-mebibyte", &r, REAL_DONE, SNIPPET_SIZE(above));
    check("one-mebibyte.no-wrap", *(volatile uint32_t *)0x100000, r.eax);
    check("one-mebibyte.below", 0xdada, r.ebx);
    r = REAL(moves);
    for (uint32_t i = 0; i < 0x10000; i += 4)
        *(volatile uint32_t *)(REAL_DATA + i) = i;
    r.es = 0x7000, r.esi = 0x1000;
    real_run(&r);
    check_real("moves", &r, REAL_DONE, SNIPPET_SIZE(moves));
    check("moves.first", 0x1000, *(volatile uint32_t *)0x70000);
    check("moves.last", 0xeffc, *(volatile uint32_t *)(0x70000 + 0xdffc));
    check("moves.stos", 0x55aa55aa, *(volatile uint32_t *)(REAL_DATA + 0xfffc));
    check("moves.scas", 1, r.edi & 0xffff);
    check("moves.cx", 2, r.ecx);
}

/* INC AX becomes INC DX while it runs. */
SNIPPET16(
    changes,
    "mov $40, %cx; jmp 1f; .skip 0x20-(.-changes), 0x90\n"
    "1: inc %ax; cmp $10, %ax; jne 2f; movb $0x42, %cs:(0x20); add $100, %ax; 2: loop 1b" REAL_END);
static void code_that_changes(void) {
    struct real r = REAL(changes);
    real_run(&r);
    check_real("changes", &r, REAL_DONE, SNIPPET_SIZE(changes));
    check("changes.before", 110, r.eax);
    check("changes.after", 30, r.edx);
}

/* The environment has linear addresses where protected mode has selectors. */
SNIPPET16(x87, "fninit; fldpi; fnstenv (0x100); mov (0x106), %ax; mov (0x108), %cx" REAL_END);
static void x87_environment(void) {
    write_cr0(read_cr0() & ~(uint32_t)(CR0_EM | CR0_TS));
    struct real r = REAL(x87);
    real_run(&r);
    check_real("x87", &r, REAL_DONE, SNIPPET_SIZE(x87));
    if (check_under_tcg()) /* keeps no pointers */
        return;
    check("x87.instruction", 2, r.eax & 0xffff);
    check("x87.instruction-high", 0, r.ecx & 0xf800);
}

/* CR0.PE alone goes: the segments stay as they are, 32-bit and flat. */
static void flat_without_protection(void) {
    uint32_t sum = 0, cr0;
    __asm__ volatile("mov %%cr0, %1\n"
                     "and $~1, %1\n"
                     "mov %1, %%cr0\n"
                     "jmp 1f\n"
                     "1: mov $10, %%ecx\n"
                     "2: push %%ecx\n"
                     "add (%%esp), %0\n"
                     "pop %%eax\n"
                     "call 3f\n"
                     "loop 2b\n"
                     "jmp 4f\n"
                     "3: inc %0\n"
                     "ret\n"
                     "4: mov %%cr0, %1\n"
                     "or $1, %1\n"
                     "mov %1, %%cr0\n"
                     "jmp 5f\n"
                     "5:\n"
                     : "+r"(sum), "=&d"(cr0)
                     :
                     : "eax", "ecx", "memory");
    check("flat-real.sum", 65, sum);
}

/* Millions of instructions: what would show a mode that runs them one by one. */
SNIPPET16(busy, "mov $0x20, %dx; 1: xor %cx, %cx; 2: mov (%bx), %ax; add %cx, %ax; mov %ax, (%bx); "
                "call 3f; loop 2b\n"
                "dec %dx; jnz 1b; jmp 4f; 3: push %ax; pop %si; ret; 4:" REAL_END);
static void long_run(void) {
    struct real r = REAL(busy);
    r.ebx = 0x100;
    *half_at(REAL_DATA + 0x100) = 0;
    real_run(&r);
    check_real("long", &r, REAL_DONE, SNIPPET_SIZE(busy));
    check("long.sum", 0, r.eax & 0xffff); /* 32 times 65536 * 65535 / 2 */
}

void guest_main(void) {
    real_start();
    segments();
    far_transfers();
    interrupt_table();
    faults();
    limits();
    unreal_mode();
    strings_and_edges();
    code_that_changes();
    x87_environment();
    flat_without_protection();
    long_run();
    check_finish("real_mode");
}
