/* The machine that the figures belong to. */
#ifndef RING3_BENCH_HOST_MACHINE_INFO_H
#define RING3_BENCH_HOST_MACHINE_INFO_H

#include <stdbool.h>

struct machine_info {
    char cpu[128], kernel[256], qemu[128], date[32];
    unsigned cores;
    unsigned long memory_mib;
    bool virtual;  /* itself a guest */
    double tsc_hz; /* measured */
    double load_before, load_after;
};

/* `qemu` is its program, or empty. Takes some 100 ms. */
void machine_info_read(struct machine_info *info, const char *qemu);
void machine_info_finish(struct machine_info *info);

#endif
