/* One chart as inline SVG: a line for each row, a mark for each series, on a logarithmic axis.
 * Marks differ in shape as well as in colour, and say their value when pointed at. */
#ifndef RING3_BENCH_HOST_CHART_H
#define RING3_BENCH_HOST_CHART_H

#include <stdio.h>

enum chart_shape { CHART_CIRCLE, CHART_SQUARE, CHART_TRIANGLE, CHART_DIAMOND, CHART_RING };

#define CHART_SERIES_MAX 8

struct chart_series {
    const char *title, *style; /* a class of the page's style sheet */
    enum chart_shape shape;
    const double *values; /* one a row; NaN: none */
};

struct chart {
    const char *title, *axis;
    double reference; /* a line that all is compared with; 0: none */
    unsigned row_count, series_count;
    const char *const *row_names;
    struct chart_series series[CHART_SERIES_MAX];
};

void chart_write(const struct chart *chart, FILE *file);
/* Text as HTML and SVG take it. */
void write_escaped(const char *text, FILE *file);

#endif
