/* Everything that one run found out, and the figures that follow from it. */
#ifndef RING3_BENCH_HOST_RESULTS_H
#define RING3_BENCH_HOST_RESULTS_H

#include "bench/host/columns.h"
#include "bench/host/machine_info.h"
#include "bench/host/measure.h"

#define ROUNDS_MAX 100
#define NOTES_MAX 32

struct cell {
    double samples[ROUNDS_MAX];
    unsigned count;
    uint32_t checksum;
    bool failed;
};

struct results {
    struct machine_info machine;
    bool quick;
    unsigned rounds, guest_mib;
    struct selection selection;
    struct column columns[COLUMN_COUNT];
    struct cell cells[ROWS_MAX][COLUMN_COUNT]; /* by place in the selection */
    char notes[NOTES_MAX][CHILD_LINE_MAX];     /* what was left out, what failed */
    unsigned note_count, failures;
};

/* Said at once, and kept for the reports. */
__attribute__((format(printf, 2, 3))) void results_note(struct results *results, const char *format,
                                                        ...);
/* Programs must compute the same everywhere: the sum is compared with the native one where there is
 * one, or else with any. False: it differs. */
bool results_checksum_agrees(const struct results *results, unsigned row, uint32_t checksum);

/* What has no value is a NaN. */
double results_median(const struct results *results, unsigned row, enum column_id column);
/* From the smallest sample to the largest, over the median; one sample has none. */
double results_spread(const struct results *results, unsigned row, enum column_id column);
double results_ratio(const struct results *results, unsigned row, enum column_id column,
                     enum column_id base);
/* Of the ratios of the rows whose names start with `prefix`, in one section. `rows` says of how
 * many. Columns that are emulated have none. */
double results_mean(const struct results *results, enum section section, const char *prefix,
                    enum column_id column, enum column_id base, unsigned *rows);
/* Is there a mean of two rows or more, in any column? */
bool results_has_mean(const struct results *results, enum section section, const char *prefix);
/* What columns are compared with, and which are. */
#define RESULTS_BASES 2
extern const enum column_id results_bases[RESULTS_BASES];
bool results_has_ratio(const struct results *results, enum section section, enum column_id column,
                       enum column_id base);
bool results_has_column(const struct results *results, enum section section, enum column_id column);
/* "1.25 us" or "318": what a section's figures look like. */
void results_format(enum section section, double value, char *text, unsigned size);

#endif
