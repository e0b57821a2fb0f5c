/* The nanobenchmarks that need no privilege, for the figures of the host itself. Prints what the
 * bare guest prints (bench/guest/main.c). */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/guest/nano.h"
#include "bench/linux/workload.h"

enum { SAMPLES = 5, CYCLES_FULL = 20000000, CYCLES_QUICK = 2000000 };

uint8_t *nano_code_page(void) {
    static uint8_t *page;
    if (!page)
        page = WORKLOAD_CALL((uint8_t *)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    return page;
}

void nano_fail(const char *what) { workload_fail(what); }

bool plain_run(const char *name, bool quick) {
    const struct nano_row *row = nano_plain_rows;
    while (row->name && strcmp(row->name, name) != 0)
        row++;
    if (!row->name)
        return false;
    uint32_t count = NANO_COUNT_MIN;
    while (count < NANO_COUNT_MAX && row->run(count) < (quick ? CYCLES_QUICK : CYCLES_FULL))
        count *= 2;
    for (unsigned i = 0; i < SAMPLES; i++)
        printf("bench: sample %x %llx\n", count, (unsigned long long)row->run(count));
    puts("bench: done");
    fflush(stdout);
    return true;
}
