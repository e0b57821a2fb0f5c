/* Privileged instructions of a kernel that stays in ring 0. */
#include "bench/guest/nano.h"
#include "guest/lib/guest.h"

#define NOTHING_THERE 0xd0000000u

enum { HOLE = 0x70000000, POST_PORT = 0x80 };

extern struct space nano_space;

static uint32_t map_nothing(void) {
    space_map(&nano_space, HOLE, NOTHING_THERE, KERNEL_PAGE);
    invlpg(HOLE);
    return HOLE;
}

/* A row around one piece of assembly, repeated `unroll` times a round. */
#define RING0_ROW(function, unroll, code, ...)                                                     \
    static uint64_t function(uint32_t count) {                                                     \
        uint32_t rounds = count / (unroll);                                                        \
        uint64_t start = nano_tsc();                                                               \
        __asm__ volatile("1:\n.rept " #unroll "\n" code "\n.endr\ndec %0\njnz 1b\n"                \
                         : "+r"(rounds)                                                            \
                         : __VA_ARGS__                                                             \
                         : "eax", "cc", "memory");                                                 \
        return nano_tsc() - start;                                                                 \
    }

RING0_ROW(run_in, 4, "in %1, %%al", "i"(POST_PORT))
RING0_ROW(run_out, 4, "out %%al, %1", "i"(POST_PORT))
RING0_ROW(run_sti_cli, 8, "sti\ncli", )
RING0_ROW(run_cr3_write, 4, "mov %1, %%cr3", "r"(read_cr3()))
RING0_ROW(run_cr0_write, 4, "mov %1, %%cr0", "r"(read_cr0()))
RING0_ROW(run_cr0_read, 8, "mov %%cr0, %%eax", )
/* Within ring 0: three words are popped. */
RING0_ROW(run_iret, 4, "pushf\npush %%cs\npushl $2f\niret\n2:", )
/* The TLB entry of a page that is in use and has not changed. */
RING0_ROW(run_invlpg, 4, "invlpg (%1)", "r"(nano_code_page()))
/* Physical memory that is neither RAM nor a device. */
RING0_ROW(run_mmio_read, 4, "mov (%1), %%eax", "r"(map_nothing()))

const struct nano_row nano_ring0_rows[] = {
    {"in", run_in},
    {"out", run_out},
    {"cr3-write", run_cr3_write},
    {"cr0-write", run_cr0_write},
    {"cr0-read", run_cr0_read},
    {"iret", run_iret},
    {"sti-cli", run_sti_cli},
    {"invlpg", run_invlpg},
    {"mmio-read", run_mmio_read},
    {NULL, NULL},
};
