/* A guest that is busy in places with names: a loop, callouts, hidden faults, user code. Each is entered through a
 * frame of its own, so that call chains can be told. With "end=..." it does something else:
 *   loop    goes on until it is stopped
 *   triple  ends in a triple fault, after some callouts
 *   reset   resets the machine, after some more */
#include "tests/guests/stage.h"

enum {
    SPINS = 200000000,
    QUESTIONS = 1500000,
    MAPPINGS = 3000,
    PAGES = 1024,
    ROUNDS_DEFAULT = 1,
};

void spin(uint32_t count);
void ask(uint32_t count);
void work(uint32_t share);

__attribute__((noinline)) void spin(uint32_t count) {
    __asm__ volatile("1: dec %0; jnz 1b" : "+r"(count));
}

/* CPUID is a callout. */
__attribute__((noinline)) void ask(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t eax = 0;
        __asm__ volatile("cpuid" : "+a"(eax) : : "ebx", "ecx", "edx");
    }
}

/* Each access meets an entry that is new, on one page of many: what is mapped often at one place is looked up. */
__attribute__((noinline)) static void touch(uint32_t count) {
    const uint32_t frames[] = {page_take(), page_take()};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t page = PROBE + i % PAGES * PAGE_SIZE;
        stage_map(page, frames[i / PAGES & 1], KERNEL_PAGE);
        *word_at(page) = i;
    }
}

SNIPPET(user_loop, "mov $150000000, %ecx; 1: dec %ecx; jnz 1b" DONE);

__attribute__((noinline)) void work(uint32_t share) {
    spin(SPINS / share);
    ask(QUESTIONS / share);
    __asm__ volatile("");
}

void guest_main(void) {
    const char *how = guest_option("end");
    uint32_t rounds = guest_option_number("rounds", ROUNDS_DEFAULT);
    stage_start();
    if (how && how[0] == 't') {
        const uint8_t no_table[6] = {0};
        ask(10);
        __asm__ volatile("lidt %0; ud2" : : "m"(no_table), "a"(0x600d600d));
    }
    if (how && how[0] == 'r') {
        ask(100000);
        STAGE_RUN(3, user_loop);
        __asm__ volatile("out %b0, $0x64" : : "a"(0xfe)); /* the keyboard controller's line */
    }
    while (how && how[0] == 'l')
        ask(1000);
    for (uint32_t i = 0; i < rounds; i++) {
        work(1);
        touch(MAPPINGS);
        struct machine m = STAGE_RUN(3, user_loop);
        check("user.vector", VECTOR_DONE, m.vector);
    }
    check_finish("busy");
}
