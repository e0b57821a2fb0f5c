/* The bare guest of `ring3 bench`: one row a boot, its samples as lines on the serial port.
 *
 *   row=NAME          which one
 *   cycles=MILLIONS   operations are doubled until they take this long (default 20)
 *   samples=N         then so many times more (default 5)
 *
 * "bench: begin" before each sample and "bench: sample COUNT CYCLES", in hexadecimal, behind it;
 * "bench: done" at the end, or "bench: failed WHY". */
#include "bench/guest/nano.h"
#include "guest/lib/guest.h"

struct space nano_space;

static const struct nano_row *const tables[] = {nano_plain_rows, nano_ring0_rows, nano_memory_rows,
                                                nano_trap_rows};

void nano_fail(const char *what) {
    print("bench: failed %s\n", what);
    guest_exit(1);
}

uint8_t *nano_code_page(void) {
    static uint32_t page;
    if (!page)
        page = page_take();
    return (uint8_t *)page;
}

/* Is the word at `text`, up to a space, this name? */
static bool is_word(const char *text, const char *name) {
    while (*name && *text == *name)
        text++, name++;
    return !*name && (!*text || *text == ' ');
}

static const struct nano_row *find_row(const char *word) {
    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++)
        for (const struct nano_row *row = tables[i]; row->name; row++)
            if (is_word(word, row->name))
                return row;
    return NULL;
}

static void print_sample(uint32_t count, uint64_t cycles) {
    print("bench: sample %x %x%08x\n", count, (uint32_t)(cycles >> 32), (uint32_t)cycles);
}

/* The number of operations that take long enough to be timed; warms everything on the way. */
static uint32_t find_count(const struct nano_row *row, uint64_t cycles) {
    uint32_t count = NANO_COUNT_MIN;
    while (count < NANO_COUNT_MAX && row->run(count) < cycles)
        count *= 2;
    return count;
}

void guest_main(void) {
    const char *name = guest_option("row");
    const struct nano_row *row = name ? find_row(name) : NULL;
    if (!row)
        nano_fail("no such row");
    space_make(&nano_space, guest_paging());
    space_enter(&nano_space);
    uint32_t count = find_count(row, guest_option_number("cycles", 20) * 1000000ull);
    for (uint32_t left = guest_option_number("samples", 5); left; left--) {
        print("bench: begin\n");
        print_sample(count, row->run(count));
    }
    print("bench: done\n");
    guest_exit(0);
}
