/* Data of user code that is looked up, as it is until an address space has made many accesses: each kind of
 * instruction, faults of each, and the change to mapped data in the middle of a loop. */
#include "tests/guests/stage.h"

enum { TICKS_HERTZ = 2000, WORD = 0x11223344, LOOP_COUNT = 200000 };

static void expect_done(const char *what, const struct machine *m, uint32_t eax) {
    check(what, VECTOR_DONE, m->vector);
    check("eax", eax, m->eax);
    check("esp", STACK_TOP, m->esp);
}

static void expect_fault(const char *what, const struct machine *m, uint32_t error, uint32_t cr2) {
    check(what, VECTOR_PF, m->vector);
    check("error", error, m->error);
    check("cr2", cr2, m->cr2);
    check("eip", CODE, m->eip);
    check("esp", STACK_TOP, m->esp);
    check("ecx", 5, m->ecx);
}

/* Each reads or writes through EBX, and leaves what it has read in EAX; at once, and with ESP having moved. */
SNIPPET(moves, "mov (%ebx), %eax; mov %eax, 4(%ebx); mov 4(%ebx), %eax" DONE);
SNIPPET(pushes, "pushl (%ebx); pop %eax" DONE);
SNIPPET(offsets, "push %ecx; mov 0x40010000, %eax; mov %eax, 0x40010004; mov 0x40010004, %eax; pop %ecx" DONE);
SNIPPET(calls, "movl $0x40000100, (%ebx); call *(%ebx); mov (%ebx), %eax" DONE);
SNIPPET(wide, "movups (%ebx), %xmm1; movups %xmm1, 1(%ebx); movaps (%ebx), %xmm0; movd %xmm0, %eax; shr $8, %eax" DONE);
SNIPPET(bytes, "movzbl 3(%ebx), %eax; mov %al, %dh; addb %dh, 7(%ebx); movzbl 7(%ebx), %eax" DONE);
SNIPPET(flags, "stc; mov (%ebx), %eax; adc $0, %eax; std; movl $0, 8(%ebx); cld" DONE);
SNIPPET(strings, "mov %ebx, %esi; lea 0x100(%ebx), %edi; mov $16, %ecx; rep movsl; mov 0x100(%ebx), %eax" DONE);

static void kinds(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
        uint32_t eax;
    } all[] = {
        {"moves", moves, moves_end, WORD},        {"pushes", pushes, pushes_end, WORD},
        {"offsets", offsets, offsets_end, WORD},  {"wide", wide, wide_end, WORD},
        {"bytes", bytes, bytes_end, 0x22},        {"flags", flags, flags_end, WORD + 1},
        {"strings", strings, strings_end, WORD},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        for (unsigned k = 0; k < 16; k++)
            word_at(DATA)[k] = 0;
        *word_at(DATA) = WORD;
        byte_at(DATA)[7] = 0x11;
        struct machine m = stage_run(3, all[i].code, (uint32_t)(all[i].end - all[i].code));
        uint32_t eax = all[i].eax;
        expect_done(all[i].name, &m, all[i].code == wide ? WORD & 0xffffff : eax);
    }
}

/* CALL and JMP through memory. */
static void transfers(void) {
    static const uint8_t there[] = {0xb8, 7, 0, 0, 0, 0xcd, VECTOR_DONE};
    struct machine m = STAGE(3, calls);
    memcpy((void *)(CODE + 0x100), there, sizeof there);
    guest_run(&m);
    check("calls", VECTOR_DONE, m.vector);
    check("calls.eax", 7, m.eax);
    check("calls.esp", STACK_TOP - 4, m.esp);
    check("calls.returns", CODE + 8, *word_at(STACK_TOP - 4));
}

SNIPPET(load, "mov (%ebx), %eax" DONE);
SNIPPET(store, "mov %eax, (%ebx)" DONE);
SNIPPET(push, "pushl (%ebx)" DONE);
SNIPPET(call, "call *(%ebx)" DONE);
SNIPPET(jump, "jmp *(%ebx)" DONE);
SNIPPET(wide_load, "movups (%ebx), %xmm0" DONE);
SNIPPET(aligned_load, "movaps (%ebx), %xmm0" DONE);
SNIPPET(aligned_store, "movaps %xmm0, (%ebx)" DONE);
SNIPPET(move_string, "rep movsl" DONE);

static struct machine at(const uint8_t *code, const uint8_t *end, uint32_t ebx, uint32_t ecx) {
    struct machine m = stage_at(3, CODE, code, (uint32_t)(end - code));
    m.ebx = m.esi = m.edi = ebx;
    m.ecx = ecx;
    guest_run(&m);
    return m;
}

static void faults(void) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
        uint32_t error;
    } all[] = {
        {"load", load, load_end, PF_USER},       {"store", store, store_end, PF_USER | PF_WRITE},
        {"push", push, push_end, PF_USER},       {"call", call, call_end, PF_USER},
        {"jump", jump, jump_end, PF_USER},       {"wide", wide_load, wide_load_end, PF_USER},
        {"aligned", aligned_load, aligned_load_end, PF_USER},
        {"aligned-store", aligned_store, aligned_store_end, PF_USER | PF_WRITE},
        {"string", move_string, move_string_end, PF_USER},
    };
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        struct machine m = at(all[i].code, all[i].end, HOLE + 0x10, 5);
        expect_fault(all[i].name, &m, all[i].error, HOLE + 0x10);
        m = at(all[i].code, all[i].end, 0xc0000000, 5); /* the supervisor's, or nothing */
        check("beyond", VECTOR_PF, m.vector);
    }
    /* #GP for an address that is not aligned, whether a page is there or not. */
    for (uint32_t page = DATA; page <= HOLE; page += PAGE_SIZE) {
        struct machine m = at(aligned_load, aligned_load_end, page + 8, 5);
        check("misaligned-load", VECTOR_GP, m.vector);
        m = at(aligned_store, aligned_store_end, page + 8, 5);
        check("misaligned-store", VECTOR_GP, m.vector);
        check("misaligned-store.eip", CODE, m.eip);
    }
    /* Nothing is copied, wherever it would be. */
    struct machine m = at(move_string, move_string_end, HOLE, 0);
    check("no-string", VECTOR_DONE, m.vector);
    check("no-string.esi", HOLE, m.esi);
    check("no-string.edi", HOLE, m.edi);
}

/* What was looked up is forgotten when the guest says so, and bits are set by the access that they tell of. */
SNIPPET(add_twice, "mov (%ebx), %eax; add 4(%ebx), %eax; mov %eax, 8(%ebx)" DONE);
static void remapped(void) {
    uint32_t first = page_take(), second = page_take();
    for (unsigned round = 0; round < 20; round++) {
        uint32_t now = round & 1 ? second : first;
        word_at(now)[0] = round;
        word_at(now)[1] = 1000;
        word_at(now)[2] = 0;
        stage_map(PROBE, now, PTE_P | PTE_U | PTE_W);
        struct machine m = STAGE(3, add_twice);
        m.ebx = PROBE;
        guest_run(&m);
        check("remapped", round + 1000, m.eax);
        check("remapped.stored", round + 1000, word_at(now)[2]);
        check("remapped.bits", PTE_A | PTE_D, (uint32_t)*space_entry(&stage, PROBE) & (PTE_A | PTE_D));
        stage_map(PROBE, now, PTE_P | PTE_U);
        m = STAGE(3, add_twice);
        m.ebx = PROBE;
        guest_run(&m);
        check("read-only", VECTOR_PF, m.vector);
        check("read-only.error", PF_USER | PF_WRITE | PF_PRESENT, m.error);
        check("read-only.bits", PTE_A, (uint32_t)*space_entry(&stage, PROBE) & (PTE_A | PTE_D));
    }
}

/* Sums, copies, and counts carries, all by way of memory, while interrupts come. */
static unsigned ticks;
static bool on_tick(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    ticks++;
    return true;
}

SNIPPET(long_loop, "1: mov (%ebx), %eax; add %ecx, (%ebx); adcl $0, 4(%ebx); incl 8(%ebx); mov 8(%ebx), %edx;"
                   "mov %edx, 12(%ebx); dec %ecx; jnz 1b" DONE);
static void long_one(void) {
    struct machine m = STAGE(3, long_loop);
    uint64_t sum = (uint64_t)LOOP_COUNT * (LOOP_COUNT + 1) / 2;
    for (unsigned i = 0; i < 4; i++)
        word_at(DATA)[i] = 0;
    m.ecx = LOOP_COUNT;
    m.eflags |= FLAG_IF;
    trap_set_handler(VECTOR_IRQ0, on_tick);
    pit_start(TICKS_HERTZ);
    pic_unmask(0);
    guest_run(&m);
    pic_mask(0);
    check("loop", VECTOR_DONE, m.vector);
    check("loop.sum", (uint32_t)sum, word_at(DATA)[0]);
    check("loop.carries", (uint32_t)(sum >> 32), word_at(DATA)[1]);
    check("loop.count", LOOP_COUNT, word_at(DATA)[2]);
    check("loop.copy", LOOP_COUNT, word_at(DATA)[3]);
}

void guest_main(void) {
    stage_start();
    write_cr4(read_cr4() | CR4_OSFXSR);
    for (unsigned round = 0; round < 3; round++) {
        kinds();
        transfers();
        faults();
        remapped();
    }
    long_one();
    kinds();
    faults();
    remapped();
    check_finish("sparse_data");
}
