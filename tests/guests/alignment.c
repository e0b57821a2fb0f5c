/* Alignment checks: #AC at CPL 3 with AM and AC set, and everything else going on while AC is set
 * (interrupts, system calls, faults, a kernel that accesses memory as it likes).
 * QEMU's TCG has no alignment checks at all: those lines are notes there. */
#include "tests/guests/stage.h"

SNIPPET(load, "nop; mov (%ebx), %eax" DONE);
SNIPPET(load_word, "nop; movzwl (%ebx), %eax" DONE);
SNIPPET(load_byte, "nop; movzbl (%ebx), %eax" DONE);
SNIPPET(store, "nop; mov %eax, (%ebx)" DONE);
SNIPPET(push_odd, "nop; push %eax" DONE);
SNIPPET(busy, "1: mov (%ebx), %eax; incl (%ebx); push %eax; pop %ecx; int $0x80; dec %edx; jnz 1b;"
              "pushf; pop %eax" DONE);

static unsigned ticks, calls, faults_with_ac;
static volatile uint8_t unaligned[16];

/* As a kernel does that knows nothing of alignment. */
static void touch_unaligned(void) { ++*(volatile uint32_t *)(unaligned + 1); }

static bool on_tick(struct trap_frame *frame) {
    ticks++;
    faults_with_ac += (frame->eflags & FLAG_AC) != 0;
    touch_unaligned();
    pic_end_of_interrupt(0);
    return true;
}

static bool on_call(struct trap_frame *frame) {
    calls++;
    faults_with_ac += (frame->eflags & FLAG_AC) != 0;
    touch_unaligned();
    return true;
}

static struct machine access(unsigned ring, uint32_t at, const uint8_t *code, uint32_t size) {
    struct machine m = stage_at(ring, CODE, code, size);
    m.ebx = at;
    m.eflags |= FLAG_AC;
    guest_run(&m);
    return m;
}
#define ACCESS(ring, at, name) access(ring, at, name, SNIPPET_SIZE(name))

static void checks_on(void) {
    struct machine m = ACCESS(3, DATA + 1, load);
    check_trap_unless_tcg("load", &m, VECTOR_AC, 0, CODE + 1);
    m = ACCESS(3, DATA + 2, store);
    check_trap_unless_tcg("store", &m, VECTOR_AC, 0, CODE + 1);
    m = ACCESS(3, DATA + 3, load_word);
    check_trap_unless_tcg("word", &m, VECTOR_AC, 0, CODE + 1);
    m = STAGE(3, push_odd);
    m.esp = STACK_TOP - 6;
    m.eflags |= FLAG_AC;
    guest_run(&m);
    check_trap_unless_tcg("push", &m, VECTOR_AC, 0, CODE + 1);
    check("word-aligned", VECTOR_DONE, ACCESS(3, DATA + 2, load_word).vector);
    check("byte", VECTOR_DONE, ACCESS(3, DATA + 3, load_byte).vector);
    check("aligned", VECTOR_DONE, ACCESS(3, DATA + 4, load).vector);
    check("ring0", VECTOR_DONE, ACCESS(0, DATA + 1, load).vector);
    m = STAGE(3, load);
    m.ebx = DATA + 1;
    guest_run(&m);
    check("ac-clear", VECTOR_DONE, m.vector);
    write_cr0(read_cr0() & ~(uint32_t)CR0_AM);
    check("am-clear", VECTOR_DONE, ACCESS(3, DATA + 1, load).vector);
    write_cr0(read_cr0() | CR0_AM);
    m = ACCESS(3, HOLE + 4, load);
    check_trap("page-fault", &m, VECTOR_PF, PF_USER, CODE + 1);
    check("page-fault.ac-saved", FLAG_AC, m.eflags & FLAG_AC);
}

/* AM clear or set: with AC set, programs are interrupted and go on. */
static void go_on(uint32_t at, const char *variant) {
    check_variant(variant);
    ticks = calls = faults_with_ac = 0;
    struct machine m = STAGE(3, busy);
    m.ebx = at;
    m.edx = 200000;
    m.eflags |= FLAG_AC | FLAG_IF;
    pit_start(2000);
    pic_unmask(0);
    guest_run(&m);
    pic_mask(0);
    check("busy.end", VECTOR_DONE, m.vector);
    check("busy.calls", 200000, calls);
    check_true("busy.interrupted", ticks > 0);
    check("busy.ac-in-frames", calls + ticks, faults_with_ac);
    check("busy.ac-kept", FLAG_AC, m.eax & FLAG_AC);
    check_variant(NULL);
}

void guest_main(void) {
    stage_start();
    trap_set_handler(VECTOR_IRQ0, on_tick);
    trap_set_handler(VECTOR_SYSCALL, on_call);
    write_cr0(read_cr0() | CR0_AM);
    checks_on();
    go_on(DATA + 8, "am-set");
    write_cr0(read_cr0() & ~(uint32_t)CR0_AM);
    go_on(DATA + 9, "am-clear");
    check_finish("alignment");
}
