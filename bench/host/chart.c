/* The drawing of charts. Colours are the page's: everything here has a class. */
#include "bench/host/chart.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { WIDTH = 860, LEFT = 150, RIGHT = 30, TOP = 34, ROW = 22, BOTTOM = 46, RADIUS = 5 };

/* The axis, in powers of ten. */
struct scale {
    double low, high;
};

void write_escaped(const char *text, FILE *file) {
    static const struct {
        char letter;
        const char *entity;
    } entities[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}};
    for (; *text; text++) {
        unsigned i = 0;
        while (i < 4 && entities[i].letter != *text)
            i++;
        if (i < 4)
            fputs(entities[i].entity, file);
        else
            fputc(*text, file);
    }
}

static struct scale find_scale(const struct chart *chart) {
    double low = chart->reference > 0 ? chart->reference : INFINITY;
    double high = chart->reference > 0 ? chart->reference : 0;
    for (unsigned s = 0; s < chart->series_count; s++)
        for (unsigned i = 0; i < chart->row_count; i++) {
            double value = chart->series[s].values[i];
            if (isfinite(value) && value > 0) {
                low = fmin(low, value);
                high = fmax(high, value);
            }
        }
    if (!isfinite(low) || high <= 0)
        return (struct scale){0, 1};
    return (struct scale){log10(low) - 0.15, log10(high) + 0.15};
}

static double place(const struct scale *scale, double value) {
    assert(scale->high > scale->low);
    return LEFT + (WIDTH - LEFT - RIGHT) * (log10(value) - scale->low) / (scale->high - scale->low);
}

/* 1, 2 and 5 of each decade where there is room for them, else 1. */
static void write_grid(const struct chart *chart, const struct scale *scale, FILE *file) {
    static const double steps[] = {1, 2, 5};
    int bottom = TOP + (int)chart->row_count * ROW;
    bool fine = scale->high - scale->low < 2.5;
    for (int decade = (int)floor(scale->low); decade <= (int)scale->high; decade++)
        for (unsigned i = 0; i < (fine ? 3 : 1); i++) {
            double value = steps[i] * pow(10, decade), x = place(scale, value);
            if (x < LEFT || x > WIDTH - RIGHT)
                continue;
            fprintf(file, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", x,
                    TOP, x, bottom);
            fprintf(file,
                    "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n",
                    x, bottom + 16, value);
        }
    if (chart->reference > 0)
        fprintf(file, "<line class=\"reference\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n",
                place(scale, chart->reference), TOP - 4, place(scale, chart->reference), bottom);
    fprintf(file, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", WIDTH - RIGHT,
            bottom + 36);
    write_escaped(chart->axis, file);
    fputs("</text>\n", file);
}

static void write_shape(enum chart_shape shape, const char *style, double x, double y, FILE *file) {
    const double r = RADIUS;
    switch (shape) {
    case CHART_CIRCLE:
    case CHART_RING:
        fprintf(file, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\">", style, x, y, r);
        break;
    case CHART_SQUARE:
        fprintf(file, "<path class=\"%s\" d=\"M%.1f %.1fh%.1fv%.1fh-%.1fz\">", style, x - r * 0.9,
                y - r * 0.9, 1.8 * r, 1.8 * r, 1.8 * r);
        break;
    case CHART_TRIANGLE:
        fprintf(file, "<path class=\"%s\" d=\"M%.1f %.1fl%.1f %.1fh-%.1fz\">", style, x,
                y - r * 1.1, r * 1.1, 2 * r, 2.2 * r);
        break;
    case CHART_DIAMOND:
        fprintf(file, "<path class=\"%s\" d=\"M%.1f %.1fl%.1f %.1fl-%.1f %.1fl-%.1f -%.1fz\">",
                style, x, y - r * 1.2, r * 1.2, r * 1.2, r * 1.2, r * 1.2, r * 1.2, r * 1.2);
        break;
    }
}

static void end_shape(enum chart_shape shape, FILE *file) {
    fputs(shape == CHART_CIRCLE || shape == CHART_RING ? "</circle>\n" : "</path>\n", file);
}

static void write_mark(const struct chart *chart, const struct chart_series *series, unsigned row,
                       double x, double y, FILE *file) {
    write_shape(series->shape, series->style, x, y, file);
    fputs("<title>", file);
    write_escaped(chart->row_names[row], file);
    fputs(", ", file);
    write_escaped(series->title, file);
    fprintf(file, ": %.4g</title>", series->values[row]);
    end_shape(series->shape, file);
}

static void write_rows(const struct chart *chart, const struct scale *scale, FILE *file) {
    for (unsigned i = 0; i < chart->row_count; i++) {
        double y = TOP + (i + 0.5) * ROW;
        fprintf(file, "<line class=\"row\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", LEFT,
                y, WIDTH - RIGHT, y);
        fprintf(file, "<text class=\"name\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 10,
                y + 4);
        write_escaped(chart->row_names[i], file);
        fputs("</text>\n", file);
        for (unsigned s = 0; s < chart->series_count; s++) {
            double value = chart->series[s].values[i];
            if (isfinite(value) && value > 0)
                write_mark(chart, &chart->series[s], i, place(scale, value), y, file);
        }
    }
}

static void write_legend(const struct chart *chart, FILE *file) {
    double x = LEFT;
    for (unsigned s = 0; s < chart->series_count; s++) {
        const struct chart_series *series = &chart->series[s];
        write_shape(series->shape, series->style, x + RADIUS, 12, file);
        end_shape(series->shape, file);
        fprintf(file, "<text class=\"name\" x=\"%.1f\" y=\"16\">", x + 16);
        write_escaped(series->title, file);
        fputs("</text>\n", file);
        x += 34 + 7.0 * (double)strlen(series->title);
    }
}

void chart_write(const struct chart *chart, FILE *file) {
    struct scale scale = find_scale(chart);
    int height = TOP + (int)chart->row_count * ROW + BOTTOM;
    fprintf(file, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, height);
    write_escaped(chart->title, file);
    fputs("\">\n", file);
    write_legend(chart, file);
    write_grid(chart, &scale, file);
    write_rows(chart, &scale, file);
    fputs("</svg>\n", file);
}
