/* An interpreter's loop: handlers that all go back to what fetches the next operation and jumps by a table. Branches
 * there get copies of it, which look for interrupts only where they must: interrupts come all the same, on every way
 * round, flags live on, and what is written to the original counts in all copies. */
#include "tests/guests/stage.h"

enum { HERTZ = 2000, ROUNDS = 60000, LEFT = 1000, TICKS_MIN = 6, TURN_AT = 4, END_AT = 8, OPERATIONS = 8 };

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
    m.ebp = CODE;
    m.eflags |= FLAG_IF;
    pic_unmask(0);
    guest_run(&m);
    pic_mask(0);
    return m;
}

#define ENTRY(name, number, label)                                                                                     \
    "lea " #label "f - " #name "(%ebp), %eax; mov %eax, 64 + 4 * " #number "(%ebx)\n"

/* Operations follow each other in a ring of bytes. The carry that one leaves is counted by the next fetch. */
SNIPPET(interpret, ENTRY(interpret, 0, 2) ENTRY(interpret, 1, 3) ENTRY(interpret, 2, 4) ENTRY(interpret, 3, 5)
                   "clc\n"
                   "1: adc $0, %edi; movzbl (%ebx, %edx), %eax; inc %edx; and $7, %edx; dec %ecx; jz 9f\n"
                   "jmp *64(%ebx, %eax, 4); ud2\n"
                   "2: add $0x40000001, %esi; jmp 1b\n"
                   "3: rol $3, %esi; stc; jmp 1b\n"
                   "4: xor $0x5a, %esi; js 1b; stc; jmp 1b\n"
                   "5: shr %esi; jnc 2b; jmp 1b\n"
                   "9:" DONE);

static void model(uint32_t rounds, uint32_t *value, uint32_t *carries) {
    uint32_t esi = 1, carry = 0, sum = 0;
    for (uint32_t i = 0; i < rounds; i++) {
        sum += carry;
        unsigned operation = *byte_at(DATA + i % OPERATIONS);
        uint32_t half = esi >> 1, bit = esi & 1;
        bool adds = operation == 0 || (operation == 3 && !bit);
        if (i + 1 == rounds)
            break;
        esi = operation == 3 ? half : esi;
        carry = operation != 0;
        if (adds)
            carry = __builtin_add_overflow(esi, 0x40000001u, &esi);
        else if (operation == 1)
            esi = esi << 3 | esi >> 29;
        else if (operation == 2)
            carry = !((esi ^= 0x5a) >> 31);
    }
    *value = esi;
    *carries = sum;
}

static void interpreted(unsigned ring) {
    uint32_t value, carries, wrong = 0;
    for (unsigned i = 0; i < OPERATIONS; i++)
        *byte_at(DATA + i) = (uint8_t)(0x32130210u >> 4 * i & 3);
    model(ROUNDS, &value, &carries);
    for (unsigned total = 0; total < TICKS_MIN; total += ticks) {
        struct machine m = STAGE(ring, interpret);
        m.ecx = ROUNDS;
        m.esi = 1;
        m.edx = m.edi = 0;
        m = start(m, on_tick);
        wrong += m.vector != VECTOR_DONE || m.esi != value || m.edi != carries;
    }
    check("interpreted", 0, wrong);
}

/* From some tick on the way back leads no longer through the table, but on before the branch that has the copy; only
 * another tick ends that. */
SNIPPET(turning, ENTRY(turning, 0, 4)
                 "1: inc %eax; cmpl $0, (%ebx); jne 2f; jmp *64(%ebx); ud2\n"
                 "2: cmpl $2, (%ebx); je 3f; jmp 5f; ud2\n"
                 "5: inc %edx\n"
                 "4: jmp 1b\n"
                 "3:" DONE);
static bool on_tick_turn(struct trap_frame *frame) {
    on_tick(frame);
    *word_at(DATA) = ticks < TURN_AT ? 0 : ticks < END_AT ? 1 : 2;
    return true;
}
static void turned(unsigned ring) {
    *word_at(DATA) = 0;
    struct machine m = start(STAGE(ring, turning), on_tick_turn);
    check("turned.vector", VECTOR_DONE, m.vector);
    check_true("turned.ticks", ticks >= END_AT);
}

/* The handler changes what the copied code adds, and how long that goes on. */
SNIPPET(patched, ENTRY(patched, 0, 4)
                 "1: add $1, %edi; dec %ecx; jz 9f; jmp *64(%ebx); ud2\n"
                 "4: jmp 1b\n"
                 "9:" DONE);
enum { ADD_AT = 9, ADD_IMM = ADD_AT + 2, JUMP_AT = ADD_AT + 11 };
static uint32_t expected;
static bool on_tick_patch(struct trap_frame *frame) {
    bool between = frame->eip == CODE + ADD_AT || frame->eip == CODE + JUMP_AT;
    on_tick(frame);
    if (ticks < TURN_AT || !between || expected)
        return true;
    *byte_at(CODE + ADD_IMM) = 2;
    frame->ecx = LEFT;
    expected = frame->edi + 2 * LEFT;
    return true;
}
static void changed(unsigned ring) {
    uint32_t wrong = 0;
    for (unsigned i = 0; i < 3; i++) {
        struct machine m = STAGE(ring, patched);
        expected = 0;
        m.ecx = UINT32_MAX;
        m.edi = 1;
        m = start(m, on_tick_patch);
        wrong += m.vector != VECTOR_DONE || m.edi != expected || m.ecx != 0;
    }
    check("patched", 0, wrong);
}

void guest_main(void) {
    stage_start();
    pit_start(HERTZ);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        check_variant(ring_name(ring));
        interpreted(ring);
        turned(ring);
        changed(ring);
    }
    check_finish("copied_tails");
}
