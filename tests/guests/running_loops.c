/* Loops that run for long: they are found running, and get code that does not look for interrupts on its way
 * round. Interrupts come all the same, state is exact at each, and what their handlers change counts at once. */
#include "tests/guests/stage.h"

enum { HERTZ = 2000, ROUNDS = 200000, LEFT = 1000, FLAGS = 12, TICKS_MIN = 4, PATCH_AT = 3 };

static unsigned ticks;

static bool on_tick(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    ticks++;
    return true;
}

static struct machine start(struct machine m, bool (*handler)(struct trap_frame *)) {
    trap_set_handler(VECTOR_IRQ0, handler);
    ticks = 0;
    m.eflags |= FLAG_IF;
    pic_unmask(0);
    guest_run(&m);
    pic_mask(0);
    return m;
}

/* One loop in another one, with a branch out of the middle and flags that live across the branch back. */
SNIPPET(nested, "xor %eax, %eax; xor %esi, %esi\n"
                "1: mov $1000, %edx\n"
                "2: add %edx, %eax; adc $0, %esi; test $7, %dl; jz 3f; inc %esi\n"
                "3: dec %edx; jnz 2b\n"
                "sub $1000, %ecx; jnz 1b" DONE);
static void counted(unsigned ring) {
    struct machine m;
    unsigned total = 0;
    do {
        m = STAGE(ring, nested);
        m.ecx = ROUNDS;
        m = start(m, on_tick);
        total += ticks;
        uint64_t sum = (uint64_t)(ROUNDS / 1000) * (1000u * 1001u / 2);
        check("nested.vector", VECTOR_DONE, m.vector);
        check("nested.sum", (uint32_t)sum, m.eax);
        check("nested.carries", ROUNDS / 1000 * 875 + (uint32_t)(sum >> 32), m.esi);
    } while (total < TICKS_MIN);
}

/* Only the handler ends it. */
SNIPPET(waiting, "1: cmpl $0, (%ebx); je 1b; movl $0, (%ebx); inc %eax; dec %ecx; jnz 1b" DONE);
static bool on_tick_set(struct trap_frame *frame) {
    *word_at(DATA) = 1;
    return on_tick(frame);
}
static void flagged(unsigned ring) {
    struct machine m = STAGE(ring, waiting);
    *word_at(DATA) = 0;
    m.ecx = FLAGS;
    m = start(m, on_tick_set);
    check("waiting.vector", VECTOR_DONE, m.vector);
    check("waiting.count", FLAGS, m.eax);
    check_true("waiting.ticks", ticks >= FLAGS);
}

/* The handler changes what the loop adds, and how long it goes on. */
SNIPPET(patched, "1: add $1, %eax; dec %ecx; jnz 1b" DONE);
enum { ADD_IMM = 2, DEC_AT = 3 };
static uint32_t expected;
static bool on_tick_patch(struct trap_frame *frame) {
    on_tick(frame);
    if (ticks != PATCH_AT)
        return true;
    *byte_at(CODE + ADD_IMM) = 2;
    frame->ecx = LEFT + (frame->eip == CODE + DEC_AT);
    expected = frame->eax + 2 * LEFT;
    return true;
}
static void changed(unsigned ring) {
    uint32_t wrong = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct machine m = STAGE(ring, patched);
        m.ecx = UINT32_MAX;
        m.eax = 0;
        m = start(m, on_tick_patch);
        wrong += m.vector != VECTOR_DONE || m.eax != expected || m.ecx != 0;
    }
    check("patched", 0, wrong);
}

void guest_main(void) {
    stage_start();
    pit_start(HERTZ);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        counted(ring);
        flagged(ring);
        changed(ring);
    }
    check_finish("running_loops");
}
