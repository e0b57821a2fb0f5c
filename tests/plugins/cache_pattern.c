/* A guest whose data accesses can be counted by hand: what the cache simulator must say of it
 * stands in CMakeLists.txt. Physical memory from 16 MiB on, paging off. */
#include "guest/lib/guest.h"

enum {
    LARGE = 0x1000000,  /* 64 KiB, read twice in order: in a cache of 32 KiB every line misses both
                           times */
    SMALL = 0x1100000,  /* 16 KiB, three times: the first one misses */
    WAYS = 0x1200000,   /* 9 lines a page apart, ten times: one more than there are ways */
    WRITES = 0x1300000, /* 16 KiB, stored by one instruction */
};

__attribute__((noinline)) static void read_words(uint32_t at, uint32_t step, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        (void)*(volatile uint32_t *)(at + i * step);
}

void guest_main(void) {
    for (unsigned i = 0; i < 2; i++)
        read_words(LARGE, 4, 65536 / 4);
    for (unsigned i = 0; i < 3; i++)
        read_words(SMALL, 4, 16384 / 4);
    for (unsigned i = 0; i < 10; i++)
        read_words(WAYS, 4096, 9);
    uint32_t to = WRITES, count = 4096;
    __asm__ volatile("cld; rep stosl" : "+D"(to), "+c"(count) : "a"(0) : "memory");
    check("done", WRITES + 16384, to);
    check_finish("cache_pattern");
}
