/* The drawing of curves. Colours are the page's: everything here has a class. */
#include "bench/host/curve.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { WIDTH = 860, HEIGHT = 300, LEFT = 90, RIGHT = 30, TOP = 34, BOTTOM = 46, RADIUS = 4 };

/* An axis from `low` to `high`, as logarithms, between two places. */
struct axis {
    double low, high, from, to;
};

static double place(const struct axis *axis, double value) {
    assert(axis->high > axis->low);
    return axis->from + (axis->to - axis->from) * (log(value) - axis->low) / (axis->high - axis->low);
}

static bool is_there(double value) { return isfinite(value) && value > 0; }

static struct axis find_times(const struct curve *curve) {
    double low = INFINITY, high = 0;
    for (unsigned s = 0; s < curve->series_count; s++)
        for (unsigned i = 0; i < curve->count; i++) {
            double value = curve->series[s].values[i];
            if (!is_there(value))
                continue;
            low = fmin(low, value);
            high = fmax(high, value);
        }
    if (!is_there(low))
        low = high = 1;
    return (struct axis){log(low) - 0.3, log(high) + 0.3, HEIGHT - BOTTOM, TOP};
}

static void write_time(double ns, FILE *file) {
    static const char *const units[] = {"ns", "us", "ms", "s"};
    unsigned unit = 0;
    for (; ns >= 1000 && unit < 3; unit++)
        ns /= 1000;
    fprintf(file, "%g %s", ns, units[unit]);
}

static void write_times(const struct axis *times, FILE *file) {
    static const double steps[] = {1, 2, 5};
    for (int decade = (int)floor(times->low / log(10)); decade <= (int)(times->high / log(10)); decade++)
        for (unsigned i = 0; i < 3; i++) {
            double value = steps[i] * pow(10, decade), y = place(times, value);
            if (y > HEIGHT - BOTTOM || y < TOP)
                continue;
            fprintf(file, "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>\n", LEFT, y,
                    WIDTH - RIGHT, y);
            fprintf(file, "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, y + 4);
            write_time(value, file);
            fputs("</text>\n", file);
        }
}

static void write_sizes(const struct curve *curve, const struct axis *sizes, FILE *file) {
    for (unsigned i = 0; i < curve->count; i++) {
        double x = place(sizes, curve->sizes[i]);
        fprintf(file, "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", x, TOP, x,
                HEIGHT - BOTTOM);
        fprintf(file, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x,
                HEIGHT - BOTTOM + 16, curve->sizes[i]);
    }
    fprintf(file, "<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", WIDTH - RIGHT, HEIGHT - 8);
    write_escaped(curve->axis, file);
    fputs("</text>\n", file);
}

static void write_series(const struct curve *curve, const struct chart_series *series, const struct axis *sizes,
                         const struct axis *times, FILE *file) {
    fprintf(file, "<polyline class=\"%s line\" points=\"", series->style);
    for (unsigned i = 0; i < curve->count; i++)
        if (is_there(series->values[i]))
            fprintf(file, "%.1f,%.1f ", place(sizes, curve->sizes[i]), place(times, series->values[i]));
    fputs("\"/>\n", file);
    for (unsigned i = 0; i < curve->count; i++) {
        if (!is_there(series->values[i]))
            continue;
        fprintf(file, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>", series->style,
                place(sizes, curve->sizes[i]), place(times, series->values[i]), RADIUS);
        write_escaped(series->title, file);
        fprintf(file, ", %g: ", curve->sizes[i]);
        write_time(series->values[i], file);
        fputs("</title></circle>\n", file);
    }
}

void curve_write(const struct curve *curve, FILE *file) {
    if (curve->count < 2)
        return;
    struct axis times = find_times(curve);
    struct axis sizes = {log(curve->sizes[0]), log(curve->sizes[curve->count - 1]), LEFT, WIDTH - RIGHT};
    double x = LEFT;
    fprintf(file, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    write_escaped(curve->title, file);
    fputs("\">\n", file);
    write_times(&times, file);
    write_sizes(curve, &sizes, file);
    for (unsigned s = 0; s < curve->series_count; s++) {
        const struct chart_series *series = &curve->series[s];
        write_series(curve, series, &sizes, &times, file);
        fprintf(file, "<circle class=\"%s\" cx=\"%.1f\" cy=\"12\" r=\"%d\"/>\n", series->style, x, RADIUS);
        fprintf(file, "<text class=\"name\" x=\"%.1f\" y=\"16\">", x + 10);
        write_escaped(series->title, file);
        fputs("</text>\n", file);
        x += 30 + 7.0 * (double)strlen(series->title);
    }
    fputs("</svg>\n", file);
}
