/* One measurement: a row, in a column, once. */
#ifndef RING3_BENCH_HOST_MEASURE_H
#define RING3_BENCH_HOST_MEASURE_H

#include "bench/host/columns.h"

struct setting {
    const struct places *places;
    bool quick;
    unsigned mib;  /* of Linux guests */
    double tsc_hz; /* the host's */
};

struct sample {
    double value; /* cycles, or nanoseconds, an operation */
    uint32_t checksum;
};

/* Finds out whether a guest runs in the column at all, and how fast plain instructions are there.
 * Afterwards `usable`, or `reason`. */
void measure_probe(struct column *column, enum column_id id, const struct setting *setting);
/* 0, or -1 with the reason. After a failure the column's guest is started anew when next needed. */
int measure_row(struct column *column, enum column_id id, const struct row *row,
                const struct setting *setting, struct sample *sample, struct error *error);

#endif
