/* Floating point in SSE2's doubles, whose results are the same on every machine. No sine of a
 * library's is used: libraries choose by processor. */
#include <string.h>

#include "bench/linux/workload.h"

/* All bits of a double. */
static uint32_t bits(double x) {
    uint32_t halves[2];
    memcpy(halves, &x, sizeof halves);
    return workload_mix(halves[0], halves[1]);
}

enum { BODIES = 5 };
struct body {
    double at[3], speed[3], mass;
};

static void advance(struct body *bodies, double step) {
    for (unsigned i = 0; i < BODIES; i++)
        for (unsigned k = i + 1; k < BODIES; k++) {
            double d[3], square = 0;
            for (unsigned axis = 0; axis < 3; axis++) {
                d[axis] = bodies[i].at[axis] - bodies[k].at[axis];
                square += d[axis] * d[axis];
            }
            double factor = step / (square * __builtin_sqrt(square));
            for (unsigned axis = 0; axis < 3; axis++) {
                bodies[i].speed[axis] -= d[axis] * bodies[k].mass * factor;
                bodies[k].speed[axis] += d[axis] * bodies[i].mass * factor;
            }
        }
    for (unsigned i = 0; i < BODIES; i++)
        for (unsigned axis = 0; axis < 3; axis++)
            bodies[i].at[axis] += step * bodies[i].speed[axis];
}

static uint32_t run_nbody(uint32_t size) {
    struct body bodies[BODIES];
    for (unsigned i = 0; i < BODIES; i++)
        bodies[i] = (struct body){{1.0 + 4.0 * i, 0.5 * i, -0.25 * i},
                                  {0.01 * i, 0.3 / (1.0 + i), 0.02},
                                  1.0 / (1.0 + 10.0 * i)};
    workload_begin();
    for (uint32_t i = 0; i < size; i++)
        advance(bodies, 0.001);
    workload_end();
    uint32_t sum = 0;
    for (unsigned i = 0; i < BODIES; i++)
        sum = workload_mix(sum, bits(bodies[i].at[0]) ^ bits(bodies[i].speed[1]));
    return sum;
}

/* A dense system, by elimination with partial pivoting. */
enum { ORDER = 200 };
static double matrix[ORDER][ORDER + 1];

static void fill_matrix(uint32_t seed) {
    for (unsigned i = 0; i < ORDER; i++)
        for (unsigned k = 0; k <= ORDER; k++)
            matrix[i][k] = (double)(int32_t)workload_random(&seed) / 2147483648.0;
}

static void bring_pivot(unsigned column) {
    unsigned best = column;
    for (unsigned i = column + 1; i < ORDER; i++)
        if (__builtin_fabs(matrix[i][column]) > __builtin_fabs(matrix[best][column]))
            best = i;
    for (unsigned k = column; best != column && k <= ORDER; k++) {
        double t = matrix[column][k];
        matrix[column][k] = matrix[best][k];
        matrix[best][k] = t;
    }
}

static double solve(void) {
    double x[ORDER], sum = 0;
    for (unsigned column = 0; column < ORDER; column++) {
        bring_pivot(column);
        for (unsigned i = column + 1; i < ORDER; i++) {
            double factor = matrix[i][column] / matrix[column][column];
            for (unsigned k = column; k <= ORDER; k++)
                matrix[i][k] -= factor * matrix[column][k];
        }
    }
    for (unsigned i = ORDER; i-- > 0; sum += x[i]) {
        x[i] = matrix[i][ORDER];
        for (unsigned k = i + 1; k < ORDER; k++)
            x[i] -= matrix[i][k] * x[k];
        x[i] /= matrix[i][i];
    }
    return sum;
}

static uint32_t run_linpack(uint32_t size) {
    uint32_t sum = 0;
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        fill_matrix(i + 1);
        sum = workload_mix(sum, bits(solve()));
    }
    workload_end();
    return sum;
}

/* Radix-2 transforms in place, forth and back. */
enum { POINTS_LOG = 14, POINTS = 1 << POINTS_LOG };
static double real[POINTS], imaginary[POINTS], cosines[POINTS / 2], sines[POINTS / 2];

/* The roots of unity by halving angles: from that of a quarter on down. */
static void make_roots(void) {
    double c = 0, s = 1; /* of a quarter turn */
    cosines[0] = 1, sines[0] = 0;
    for (unsigned step = POINTS / 4; step; step /= 2) {
        for (unsigned i = 0; i + step < POINTS / 2; i += 2 * step) {
            cosines[i + step] = cosines[i] * c - sines[i] * s;
            sines[i + step] = sines[i] * c + cosines[i] * s;
        }
        double half = __builtin_sqrt((1 + c) / 2);
        s = s / (2 * half);
        c = half;
    }
}

static void reverse_bits(void) {
    for (unsigned i = 1, k = 0; i < POINTS; i++) {
        unsigned bit = POINTS / 2;
        for (; k & bit; bit /= 2)
            k ^= bit;
        k ^= bit;
        if (i < k) {
            double t = real[i];
            real[i] = real[k], real[k] = t;
            t = imaginary[i];
            imaginary[i] = imaginary[k], imaginary[k] = t;
        }
    }
}

static void transform(double direction) {
    reverse_bits();
    for (unsigned length = 2; length <= POINTS; length *= 2)
        for (unsigned start = 0; start < POINTS; start += length)
            for (unsigned i = 0; i < length / 2; i++) {
                unsigned a = start + i, b = a + length / 2, root = i * (POINTS / length);
                double c = cosines[root], s = direction * sines[root];
                double x = real[b] * c - imaginary[b] * s, y = real[b] * s + imaginary[b] * c;
                real[b] = real[a] - x, imaginary[b] = imaginary[a] - y;
                real[a] += x, imaginary[a] += y;
            }
}

static uint32_t run_fft(uint32_t size) {
    uint32_t seed = 99, sum = 0;
    make_roots();
    for (unsigned i = 0; i < POINTS; i++)
        real[i] = (double)(workload_random(&seed) >> 8), imaginary[i] = 0;
    double first = real[1];
    workload_begin();
    for (uint32_t round = 0; round < size; round++) {
        transform(-1);
        sum = workload_mix(sum, bits(real[round % POINTS]));
        transform(1);
        for (unsigned i = 0; i < POINTS; i++)
            real[i] /= POINTS, imaginary[i] /= POINTS;
    }
    workload_end();
    if (__builtin_fabs(real[1] - first) > 1e-3 * first)
        workload_fail("the signal came back changed");
    return sum;
}

const struct workload float_workloads[] = {
    {"fp.nbody", WORKLOAD_PROGRAM, run_nbody, 4000000, 200000, 0},
    {"fp.linpack", WORKLOAD_PROGRAM, run_linpack, 120, 6, 0},
    {"fp.fft", WORKLOAD_PROGRAM, run_fft, 150, 8, 0},
    {.name = NULL},
};
