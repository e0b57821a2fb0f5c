/* Growth as inline SVG: time over size, both on logarithmic axes, a line for each series. */
#ifndef RING3_BENCH_HOST_CURVE_H
#define RING3_BENCH_HOST_CURVE_H

#include "bench/host/chart.h"

struct curve {
    const char *title, *axis; /* what is varied, with its unit */
    const double *sizes;      /* growing */
    unsigned count, series_count;
    struct chart_series series[CHART_SERIES_MAX]; /* nanoseconds, one a size; NaN: none */
};

void curve_write(const struct curve *curve, FILE *file);

#endif
