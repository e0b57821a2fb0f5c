/* A page that holds code and data which is written all the time: counters beside the code that
 * increments them, a stack on the code's own page, and a neighbour that copies over the rest. */
#include "tests/guests/stage.h"

enum { ROUNDS = 20000, PAGE = PROBE };

/* Increments the counter at page + 800h, ECX times. */
SNIPPET(count, "1: incl 0x40400800; dec %ecx; jnz 1b" DONE);
/* The same by way of calls, with the stack in the upper part of the page. */
SNIPPET(count_by_call, "1: call 2f; dec %ecx; jnz 1b; int $0x81; 2: incl 0x40400804; ret");
/* Copies 64 bytes beside the code each round, and sums what it read back. */
SNIPPET(copy,
        "1: push %ecx; mov $0x40400a00, %edi; mov $0x40400900, %esi; mov $16, %ecx; rep movsl;"
        "pop %ecx; add 0x40400a3c, %eax; incl 0x4040093c; dec %ecx; jnz 1b" DONE);

static struct machine start(unsigned ring, const uint8_t *code, uint32_t size) {
    memcpy((void *)PAGE, code, size);
    struct machine m = ring ? machine_user(PAGE, PAGE + 0xff0) : machine_kernel(PAGE, PAGE + 0xff0);
    m.ecx = ROUNDS;
    return m;
}

static void on_one_page(unsigned ring) {
    check_variant(ring_name(ring));
    memset((void *)PAGE, 0, PAGE_SIZE);
    struct machine m = start(ring, count, SNIPPET_SIZE(count));
    guest_run(&m);
    check("counter", ROUNDS, *word_at(PAGE + 0x800));
    m = start(ring, count_by_call, SNIPPET_SIZE(count_by_call));
    guest_run(&m);
    check("stack-on-code-page", ROUNDS, *word_at(PAGE + 0x804));
    m = start(ring, copy, SNIPPET_SIZE(copy));
    guest_run(&m);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < ROUNDS; i++)
        sum += i;
    check("copies", sum, m.eax);
    check_variant(NULL);
}

/* Data written from elsewhere while the code runs from time to time, each byte of the page. */
static void written_from_outside(void) {
    uint32_t wrong = 0;
    memset((void *)PAGE, 0, PAGE_SIZE);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t slot = PAGE + 16 + (i * 36 % (PAGE_SIZE - 32) & ~3u);
        *word_at(slot) = i;
        *byte_at(PAGE) = 0xb8, *word_at(PAGE + 1) = i & 1023, *byte_at(PAGE + 5) = 0xc3;
        uint32_t result;
        __asm__ volatile("call *%1" : "=a"(result) : "r"(PAGE) : "ecx", "edx", "memory");
        wrong += result != (i & 1023) || *word_at(slot) != i;
    }
    check("written-from-outside", 0, wrong);
}

void guest_main(void) {
    stage_start();
    space_map_new(&stage, PROBE, USER_PAGE);
    on_one_page(0);
    on_one_page(3);
    written_from_outside();
    check_finish("mixed_page");
}
