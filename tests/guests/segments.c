/* Segments that are not flat: bases that wrap around 4 GiB, limits, expand-down, read-only and
 * execute-only, the hidden part that outlives its descriptor, and code at a based CS.
 * QEMU's TCG checks no limits and no types on access: those lines are notes there. */
#include "tests/guests/stage.h"

enum {
    SEGMENT = FREE_SELECTOR, /* the one under test; with RPL 3 */
    SEGMENT2 = FREE_SELECTOR + 8,
    DATA_RW = 0xf3, /* present, DPL 3, writable data, accessed */
    DATA_RO = 0xf1,
    DATA_DOWN = 0xf7,
    CODE_READ = 0xfb,
    CODE_ONLY = 0xf9,
    BYTES_32 = 4, /* D/B set, limit in bytes */
    PAGES_32 = 12,
    VALUE = 0x600df00d,
};

SNIPPET(load_ds, "nop; mov (%edx), %eax" DONE);
SNIPPET(store_ds, "nop; mov %eax, (%edx)" DONE);
SNIPPET(load_fs, "nop; mov %fs:(%edx), %eax" DONE);
SNIPPET(store_gs, "nop; mov %eax, %gs:(%edx)" DONE);
SNIPPET(load_gs_moffs, "nop; mov %gs:0x10, %eax" DONE);
SNIPPET(load_fs_index, "nop; mov %fs:-16(%edx,%ecx,4), %eax" DONE);
SNIPPET(load_cs, "nop; mov %cs:(%edx), %eax" DONE);
SNIPPET(store_es_string, "nop; stosl" DONE);
SNIPPET(copy_segments, "nop; rep movsb %fs:(%esi), %es:(%edi)" DONE);
SNIPPET(push_ss, "nop; push %eax; pop %ecx" DONE);
SNIPPET(load_ss, "nop; mov (%esp), %eax" DONE);
SNIPPET(jump_in_segment, "nop; call 1f; 1: pop %eax; mov %cs, %ecx" DONE);

/* A run in ring 3 with all data segments flat; the caller changes what it tests. */
static struct machine image(const uint8_t *code, uint32_t size, uint32_t edx) {
    struct machine m = stage_at(3, CODE, code, size);
    m.edx = edx;
    m.eax = VALUE;
    return m;
}
#define IMAGE(name, edx) image(name, SNIPPET_SIZE(name), edx)

static void based(void) {
    *word_at(DATA + 0x10) = VALUE;
    gdt_set(SEGMENT, DATA, 0xfffff, DATA_RW, PAGES_32);
    struct machine m = IMAGE(load_fs, 0x10);
    m.fs = SEGMENT | 3, m.eax = 0;
    guest_run(&m);
    check("based.fs", VALUE, m.eax);
    m = IMAGE(load_gs_moffs, 0);
    m.gs = SEGMENT | 3, m.eax = 0;
    guest_run(&m);
    check("based.gs-offset", VALUE, m.eax);
    m = IMAGE(load_ds, 0x10);
    m.ds = SEGMENT | 3, m.eax = 0;
    guest_run(&m);
    check("based.ds", VALUE, m.eax);
    m = IMAGE(store_es_string, 0);
    m.es = SEGMENT | 3, m.edi = 0x20;
    guest_run(&m);
    check("based.es-string", VALUE, *word_at(DATA + 0x20));
    check("based.es-string.edi", 0x24, m.edi);
    m = IMAGE(copy_segments, 0);
    m.fs = SEGMENT | 3, m.esi = 0x10, m.edi = DATA + 0x80, m.ecx = 4;
    guest_run(&m);
    check("based.copy", VALUE, *word_at(DATA + 0x80));
    check("based.copy.esi", 0x14, m.esi);
    gdt_set(SEGMENT, STACK, 0xfffff, DATA_RW, PAGES_32);
    m = IMAGE(push_ss, 0);
    m.ss = SEGMENT | 3, m.esp = 0x100;
    guest_run(&m);
    check("based.ss", VALUE, *word_at(STACK + 0xfc));
    check("based.ss.esp", 0x100, m.esp);
}

/* Base plus offset is taken modulo 4 GiB: Linux reaches its TLS with negative offsets. */
static void wraparound(void) {
    *word_at(DATA + 0x30) = VALUE;
    gdt_set(SEGMENT, DATA + 0x40, 0xfffff, DATA_RW, PAGES_32);
    struct machine m = IMAGE(load_fs, 0u - 0x10);
    m.fs = SEGMENT | 3, m.eax = 0;
    guest_run(&m);
    check("wrap.negative-offset", VALUE, m.eax);
    m = IMAGE(load_fs_index, 0);
    m.fs = SEGMENT | 3, m.eax = 0;
    guest_run(&m);
    check("wrap.negative-displacement", VALUE, m.eax);
    gdt_set(SEGMENT, 0xfffff000, 0xfffff, DATA_RW, PAGES_32);
    m = IMAGE(load_fs, DATA + 0x1000 + 0x30);
    m.fs = SEGMENT | 3, m.eax = 0;
    guest_run(&m);
    check("wrap.high-base", VALUE, m.eax);
    m = IMAGE(store_gs, HOLE + 0x1000 + 4);
    m.gs = SEGMENT | 3;
    guest_run(&m);
    check_trap("wrap.fault", &m, VECTOR_PF, PF_USER | PF_WRITE, CODE + 1);
    check("wrap.fault.cr2", HOLE + 4, m.cr2);
}

static void expect_refused(const char *name, struct machine m, uint32_t vector) {
    guest_run(&m);
    check_trap_unless_tcg(name, &m, vector, 0, CODE + 1);
}

static void expect_allowed(const char *name, struct machine m) {
    guest_run(&m);
    check(name, VECTOR_DONE, m.vector);
}

static struct machine with_ds(struct machine m) {
    m.ds = SEGMENT | 3;
    return m;
}

static struct machine with_ss(struct machine m, uint32_t esp) {
    m.ss = SEGMENT | 3;
    m.esp = esp;
    return m;
}

static void limits(void) {
    gdt_set(SEGMENT, DATA, 0x1f, DATA_RW, BYTES_32);
    expect_allowed("limit.last-word", with_ds(IMAGE(load_ds, 0x1c)));
    expect_refused("limit.one-beyond", with_ds(IMAGE(load_ds, 0x1d)), VECTOR_GP);
    expect_refused("limit.far-beyond", with_ds(IMAGE(store_ds, 0x10000)), VECTOR_GP);
    expect_refused("limit.wrapping", with_ds(IMAGE(load_ds, 0xfffffffe)), VECTOR_GP);
    struct machine m = IMAGE(store_es_string, 0);
    m.es = SEGMENT | 3, m.edi = 0x20;
    expect_refused("limit.string", m, VECTOR_GP);
    gdt_set(SEGMENT, STACK, 0xff, DATA_RW, BYTES_32);
    expect_allowed("limit.stack", with_ss(IMAGE(push_ss, 0), 0x100));
    expect_refused("limit.stack-beyond", with_ss(IMAGE(load_ss, 0), 0xfd), VECTOR_SS);
    gdt_set(SEGMENT, DATA, 0, DATA_RW, PAGES_32); /* one page */
    expect_allowed("limit.page", with_ds(IMAGE(load_ds, 0xffc)));
    expect_refused("limit.page-beyond", with_ds(IMAGE(load_ds, 0xffd)), VECTOR_GP);
}

static void expand_down(void) {
    gdt_set(SEGMENT, DATA, 0x7ff, DATA_DOWN, BYTES_32); /* 800h up to 4 GiB is inside */
    expect_allowed("down.inside", with_ds(IMAGE(load_ds, 0x800)));
    expect_refused("down.below", with_ds(IMAGE(load_ds, 0x7ff)), VECTOR_GP);
    gdt_set(SEGMENT, STACK, 0xff, DATA_DOWN, BYTES_32);
    expect_allowed("down.stack", with_ss(IMAGE(push_ss, 0), 0x104));
    expect_refused("down.stack-below", with_ss(IMAGE(push_ss, 0), 0x102), VECTOR_SS);
}

static void types(void) {
    gdt_set(SEGMENT, 0, 0xfffff, DATA_RO, PAGES_32);
    expect_allowed("read-only.load", with_ds(IMAGE(load_ds, DATA)));
    expect_refused("read-only.store", with_ds(IMAGE(store_ds, DATA)), VECTOR_GP);
    gdt_set(SEGMENT, 0, 0xfffff, CODE_READ, PAGES_32);
    expect_allowed("code-as-data.load", with_ds(IMAGE(load_ds, DATA)));
    expect_refused("code-as-data.store", with_ds(IMAGE(store_ds, DATA)), VECTOR_GP);
    gdt_set(SEGMENT2, 0, 0xfffff, CODE_ONLY, PAGES_32);
    struct machine m = IMAGE(load_cs, DATA);
    m.cs = SEGMENT2 | 3;
    expect_refused("execute-only.load", m, VECTOR_GP);
    m = IMAGE(store_ds, DATA);
    m.ds = 0;
    expect_refused("null-store", m, VECTOR_GP);
}

/* Rewriting a descriptor changes nothing until the register is loaded again. */
SNIPPET(read_twice, "mov %esi, %fs; mov %fs:0, %edi; addl $0x100, 2(%ebp); mov %fs:0, %ecx\n"
                    "mov %esi, %fs; mov %fs:0, %edx" DONE);
static void hidden_part_lives_on(void) {
    *word_at(DATA + 0x100) = 1;
    *word_at(DATA + 0x200) = 2;
    gdt_set(SEGMENT, DATA + 0x100, 0xfffff, 0x93, PAGES_32);
    struct machine m = STAGE(0, read_twice);
    m.esi = SEGMENT;
    m.ebp = gdt_address() + SEGMENT;
    guest_run(&m);
    check("hidden.before", 1, m.edi);
    check("hidden.kept", 1, m.ecx);
    check("hidden.reloaded", 2, m.edx);
}

static void based_code(void) {
    gdt_set(SEGMENT2, CODE, 0xfffff, CODE_READ, PAGES_32);
    struct machine m = IMAGE(jump_in_segment, 0);
    m.cs = SEGMENT2 | 3, m.eip = 0;
    guest_run(&m);
    check_trap("based-cs", &m, VECTOR_DONE, 0, SNIPPET_SIZE(jump_in_segment));
    check("based-cs.return-address", 6, m.eax);
    check("based-cs.selector", SEGMENT2 | 3, m.ecx & 0xffff);
    m = IMAGE(load_cs, DATA - CODE);
    *word_at(DATA) = VALUE;
    m.cs = SEGMENT2 | 3, m.eip = 0, m.eax = 0;
    guest_run(&m);
    check("based-cs.data", VALUE, m.eax);
    gdt_set(SEGMENT2, CODE, 3, CODE_READ, BYTES_32);
    m = IMAGE(jump_in_segment, 0);
    m.cs = SEGMENT2 | 3, m.eip = 0;
    guest_run(&m);
    check_trap_unless_tcg("cs-limit", &m, VECTOR_GP, 0, 1);
}

/* On the way out to ring 3, data registers that ring 3 may not have become null. */
static void cleared_on_return(void) {
    struct machine m = IMAGE(load_ds, DATA);
    m.fs = KERNEL_DS, m.gs = USER_DS;
    guest_run(&m);
    check("return.dpl0-becomes-null", 0, m.fs);
    check("return.dpl3-stays", USER_DS, m.gs);
}

void guest_main(void) {
    stage_start();
    based();
    wraparound();
    limits();
    expand_down();
    types();
    hidden_part_lives_on();
    based_code();
    cleared_on_return();
    check_finish("segments");
}
