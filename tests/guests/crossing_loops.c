/* Loops across the end of a page, while an interrupt's handler changes what stands behind the end: another address
 * space, another page in this one, other code in the page; or the loop does so itself. What the loop counts in (ESI
 * or EDI) says which code it has run, and the handler knows which it must have been since the last time. */
#include "tests/guests/stage.h"

enum {
    HERTZ = 2000,
    TICKS = 90,
    AT_REST = 3, /* ticks from one change to the next: links are made at those in between */
    LEFT = 1000,
    FIRST = PROBE,
    SECOND = FIRST + PAGE_SIZE,
    HEAD = SECOND - 3,
    SHIFT = 0x2000, /* another place for the loop of each test, so that it is found anew */
};

/* The two instructions differ in the bit that names the register, in the first byte of the second page: INC, and ADD of
 * an immediate whose opcode stands on the first one. */
SNIPPET(head, "add %edx, %eax; nop");
SNIPPET(count, "inc %esi; nop; nop; nop; nop; dec %ecx; jnz .-9" DONE);
SNIPPET(straddling_head, "add %edx, %eax; .byte 0x81");
SNIPPET(straddling_count, ".byte 0xc6, 1, 0, 0, 0; dec %ecx; jnz .-9" DONE);
/* Every 4096th round the loop turns its own bit. */
SNIPPET(own_count, "inc %esi; nop; nop; nop; nop; test $0xfff, %ecx; jnz 1f; xorb $1, (%ebx); 1: dec %ecx; jnz .-20" DONE);
SNIPPET(own_straddling, ".byte 0xc6, 1, 0, 0, 0; test $0xfff, %ecx; jnz 1f; xorb $1, (%ebx); 1: dec %ecx; jnz .-20" DONE);

static uint8_t stack[4096] __attribute__((aligned(16)));
static struct space spaces[2];
static uint32_t pages[2], place; /* the second pages, at their own addresses */
static unsigned ticks, side, wrong;
static uint32_t seen[2];
static void (*change)(void);

/* Since the last tick the loop has counted on its side only. */
static bool on_tick(struct trap_frame *frame) {
    pic_end_of_interrupt(0);
    wrong += seen[!side] != (side ? frame->esi : frame->edi);
    seen[0] = frame->esi;
    seen[1] = frame->edi;
    ticks++;
    if (ticks < TICKS && ticks % AT_REST == 0) {
        side = !side;
        change();
    } else if (ticks == TICKS) {
        frame->ecx = LEFT;
    }
    return true;
}

static void enter_other_space(void) { space_enter(&spaces[side]); }
static void map_other_page(void) {
    space_map(&spaces[0], SECOND + place, pages[side], USER_PAGE);
    invlpg(SECOND + place);
}
static void write_other_code(void) { *byte_at(pages[0]) ^= 1; }

static struct machine start(unsigned ring, const uint8_t *tail, uint32_t size, bool straddles) {
    place += SHIFT;
    uint32_t first = page_take();
    memcpy((void *)(first + PAGE_SIZE - 3), straddles ? straddling_head : head, 3);
    for (unsigned i = 0; i < 2; i++) {
        pages[i] = page_take();
        memcpy((void *)pages[i], tail, size);
        *byte_at(pages[i]) = (uint8_t)(*byte_at(pages[i]) | i);
        space_map(&spaces[i], FIRST + place, first, USER_PAGE);
        space_map(&spaces[i], SECOND + place, pages[i], USER_PAGE);
    }
    space_enter(&spaces[0]);
    uint32_t top = ring ? STACK_TOP : address_of(stack + sizeof stack);
    struct machine m = ring ? machine_user(HEAD + place, top) : machine_kernel(HEAD + place, top);
    m.edx = 1;
    m.ebx = SECOND + place;
    m.ecx = UINT32_MAX;
    return m;
}

static void by_handler(const char *name, unsigned ring, void (*how)(void)) {
    for (unsigned straddles = 0; straddles < 2; straddles++) {
        struct machine m = straddles ? start(ring, straddling_count, SNIPPET_SIZE(straddling_count), true)
                                     : start(ring, count, SNIPPET_SIZE(count), false);
        change = how;
        ticks = side = wrong = seen[0] = seen[1] = 0;
        trap_set_handler(VECTOR_IRQ0, on_tick);
        m.eflags |= FLAG_IF;
        pic_unmask(0);
        guest_run(&m);
        pic_mask(0);
        check_variant(straddles ? "straddling" : ring_name(ring));
        check(name, 0, wrong);
        check("end", VECTOR_DONE, m.vector);
        check("rounds", m.eax, m.esi + m.edi);
        check_true("both", m.esi != 0 && m.edi != 0);
    }
}

static bool on_idle_tick(struct trap_frame *frame) {
    (void)frame;
    pic_end_of_interrupt(0);
    ticks++;
    return true;
}

/* Sides of 4096 rounds each, all the way. */
static void by_itself(unsigned ring) {
    enum { ROUNDS = 4096 * 60 };
    for (unsigned straddles = 0; straddles < 2; straddles++) {
        struct machine m = straddles ? start(ring, own_straddling, SNIPPET_SIZE(own_straddling), true)
                                     : start(ring, own_count, SNIPPET_SIZE(own_count), false);
        m.ecx = ROUNDS;
        trap_set_handler(VECTOR_IRQ0, on_idle_tick);
        m.eflags |= FLAG_IF;
        pic_unmask(0);
        guest_run(&m);
        pic_mask(0);
        check_variant(straddles ? "straddling" : ring_name(ring));
        check("own.end", VECTOR_DONE, m.vector);
        check("own.rounds", ROUNDS, m.eax);
        check("own.first", ROUNDS / 2, m.esi);
        check("own.second", ROUNDS / 2, m.edi);
    }
}

void guest_main(void) {
    pic_start();
    for (unsigned i = 0; i < 2; i++) {
        space_make(&spaces[i], guest_paging());
        space_map_new(&spaces[i], STACK, USER_PAGE);
    }
    space_enter(&spaces[0]);
    pit_start(HERTZ);
    for (unsigned ring = 0; ring <= 3; ring += 3) {
        by_handler("spaces", ring, enter_other_space);
        by_handler("remapped", ring, map_other_page);
        by_handler("written", ring, write_other_code);
        by_itself(ring);
    }
    check_finish("crossing_loops");
}
