/* Two address spaces with different code and data at the same linear addresses, called in turn
 * from code that both share, by direct jumps, calls, indirect calls and returns. */
#include "tests/guests/stage.h"

enum { ROUNDS = 500, SHARED = PROBE, OWN = PROBE + PAGE_SIZE, OWN2 = OWN + PAGE_SIZE };

static struct space spaces[2];
static uint32_t own_pages[2][2], shared_page;

/* In the shared page: three ways to the space's own page, which stands right behind it. */
SNIPPET(by_call, "call .+0x1000" DONE);
SNIPPET(by_register, "mov $0x40401000, %ecx; call *%ecx" DONE);
SNIPPET(by_memory, "push $0x40401000; call *(%esp); pop %ecx" DONE);
SNIPPET(by_return, "push $0x40401080; ret");
SNIPPET(from_loop,
        "mov $10, %ecx; xor %edx, %edx; 1: push $0x40401000; call *(%esp); add %eax, %edx;"
        "pop %eax; loop 1b; mov %edx, %eax" DONE);

static void make_space(uint32_t i) {
    space_make(&spaces[i], guest_paging());
    space_map(&spaces[i], SHARED, shared_page, USER_PAGE);
    own_pages[i][0] = space_map_new(&spaces[i], OWN, USER_PAGE);
    own_pages[i][1] = space_map_new(&spaces[i], OWN2, USER_PAGE);
    space_map_new(&spaces[i], STACK, USER_PAGE);
    /* mov $value, %eax; ret at 0, the same and the end of the run at 80h. */
    uint8_t code[] = {0xb8, (uint8_t)(10 + i), 0, 0, 0, 0xc3};
    memcpy((void *)own_pages[i][0], code, sizeof code);
    code[1] = (uint8_t)(20 + i);
    memcpy((void *)(own_pages[i][0] + 0x80), code, 5);
    *byte_at(own_pages[i][0] + 0x85) = 0xcd, *byte_at(own_pages[i][0] + 0x86) = VECTOR_DONE;
    /* At the end of the first page, an instruction whose immediate is on the second. */
    *byte_at(own_pages[0][0] + PAGE_SIZE - 1) = 0xb8;
    *byte_at(own_pages[i][0] + PAGE_SIZE - 1) = 0xb8;
    *word_at(own_pages[i][1]) = 30 + i;
    *byte_at(own_pages[i][1] + 4) = 0xcd, *byte_at(own_pages[i][1] + 5) = VECTOR_DONE;
}

static uint32_t run(unsigned ring, uint32_t eip) {
    struct machine m = ring ? machine_user(eip, STACK_TOP) : machine_kernel(eip, STACK_TOP);
    guest_run(&m);
    return m.vector == VECTOR_DONE ? m.eax : 0xffff0000 | m.vector;
}

static void each_way(unsigned ring) {
    static const struct {
        const char *name;
        const uint8_t *code, *end;
        uint32_t base, factor;
    } ways[] = {
        {"direct-call", by_call, by_call_end, 10, 1},
        {"register-call", by_register, by_register_end, 10, 1},
        {"memory-call", by_memory, by_memory_end, 10, 1},
        {"return", by_return, by_return_end, 20, 1},
        {"loop", from_loop, from_loop_end, 10, 10},
    };
    check_variant(ring_name(ring));
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        memcpy((void *)shared_page, ways[i].code, (uint32_t)(ways[i].end - ways[i].code));
        uint32_t wrong = 0;
        for (uint32_t n = 0; n < ROUNDS; n++) {
            uint32_t which = (n ^ n >> 2) & 1; /* sometimes the same one twice */
            space_enter(&spaces[which]);
            wrong += run(ring, SHARED) != (ways[i].base + which) * ways[i].factor;
        }
        check(ways[i].name, 0, wrong);
    }
    check_variant(NULL);
}

static void straddling(unsigned ring) {
    uint32_t wrong = 0;
    for (uint32_t n = 0; n < ROUNDS; n++) {
        space_enter(&spaces[n & 1]);
        wrong += run(ring, OWN2 - 1) != 30 + (n & 1);
    }
    check("straddling", 0, wrong);
    /* Now the first page is one page in both spaces: only the second tells them apart. */
    space_map(&spaces[1], OWN, own_pages[0][0], USER_PAGE);
    space_enter(&spaces[1]);
    wrong = 0;
    for (uint32_t n = 0; n < ROUNDS; n++) {
        space_enter(&spaces[n & 1]);
        wrong += run(ring, OWN2 - 1) != 30 + (n & 1);
    }
    check("straddling-shared-first-page", 0, wrong);
    space_map(&spaces[1], OWN, own_pages[1][0], USER_PAGE);
    space_enter(&spaces[0]);
}

/* Code in ring 0 that stays where it is reads data that changes with CR3. */
static void data(void) {
    uint32_t wrong = 0;
    for (uint32_t n = 0; n < ROUNDS; n++) {
        space_enter(&spaces[n & 1]);
        wrong += *word_at(OWN2) != 30 + (n & 1);
        *word_at(OWN2 + 0x800) = n;
        wrong += *word_at(own_pages[n & 1][1] + 0x800) != n;
    }
    check("data", 0, wrong);
}

/* A new space over and over (as fork does), dropped again at once. */
static void many_spaces(void) {
    uint32_t wrong = 0, first = page_take(), kept = spaces[0].root;
    struct space copy = spaces[0];
    copy.root = first;
    for (uint32_t n = 0; n < 100; n++) {
        memcpy((void *)first, (void *)kept, PAGE_SIZE);
        space_enter(&copy);
        wrong += *word_at(OWN2) != 30;
        space_enter(&spaces[1]);
        wrong += *word_at(OWN2) != 31;
        memcpy((void *)first, (void *)spaces[1].root, PAGE_SIZE);
        space_enter(&copy);
        wrong += *word_at(OWN2) != 31;
        space_enter(&spaces[0]);
    }
    check("root-page-reused", 0, wrong);
}

void guest_main(void) {
    stage_start();
    shared_page = page_take();
    make_space(0);
    make_space(1);
    each_way(0);
    each_way(3);
    straddling(0);
    straddling(3);
    data();
    many_spaces();
    check_finish("address_spaces");
}
