/* Integer programs: an interpreter, sorting, a sieve, calls. */
#include <stdlib.h>

#include "bench/linux/workload.h"

/* A register machine computes the lengths of the Collatz sequences of 1 to COLLATZ_LIMIT. */
enum opcode {
    OP_SET,
    OP_MOVE,
    OP_ADD,
    OP_MULTIPLY,
    OP_AND,
    OP_SHIFT,
    OP_JUMP,
    OP_JUMP_ZERO,
    OP_JUMP_EQUAL,
    OP_JUMP_NOT_ABOVE,
    OP_HALT,
};
enum { R_I, R_N, R_LENGTH, R_LONGEST, R_SUM, R_BIT, R_ONE, R_THREE, R_LIMIT, R_COUNT };
enum { COLLATZ_LIMIT = 20000 }; /* its sequences stay below 2^32 */

struct operation {
    uint8_t op, a, b, c;
    uint32_t value; /* to set, or where to jump */
};

static const struct operation collatz[] = {
    {.op = OP_SET, .a = R_ONE, .value = 1},
    {.op = OP_SET, .a = R_THREE, .value = 3},
    {.op = OP_SET, .a = R_I, .value = 1},
    {.op = OP_SET, .a = R_LENGTH, .value = 0}, /* 3: the next number */
    {.op = OP_MOVE, .a = R_N, .b = R_I},
    {.op = OP_JUMP_EQUAL, .a = R_N, .b = R_ONE, .value = 14}, /* 5: the next step */
    {.op = OP_ADD, .a = R_LENGTH, .b = R_LENGTH, .c = R_ONE},
    {.op = OP_AND, .a = R_BIT, .b = R_N, .c = R_ONE},
    {.op = OP_JUMP_ZERO, .a = R_BIT, .value = 12},
    {.op = OP_MULTIPLY, .a = R_N, .b = R_N, .c = R_THREE},
    {.op = OP_ADD, .a = R_N, .b = R_N, .c = R_ONE},
    {.op = OP_JUMP, .value = 5},
    {.op = OP_SHIFT, .a = R_N, .b = R_N, .c = R_ONE}, /* 12: even */
    {.op = OP_JUMP, .value = 5},
    {.op = OP_ADD, .a = R_SUM, .b = R_SUM, .c = R_LENGTH}, /* 14: at one */
    {.op = OP_JUMP_NOT_ABOVE, .a = R_LENGTH, .b = R_LONGEST, .value = 17},
    {.op = OP_MOVE, .a = R_LONGEST, .b = R_LENGTH},
    {.op = OP_ADD, .a = R_I, .b = R_I, .c = R_ONE}, /* 17 */
    {.op = OP_JUMP_NOT_ABOVE, .a = R_I, .b = R_LIMIT, .value = 3},
    {.op = OP_HALT},
};

static void interpret(const struct operation *at, uint32_t *r) {
    const struct operation *start = at;
    for (;; at++) {
        bool jump = false;
        switch (at->op) {
        case OP_SET:
            r[at->a] = at->value;
            break;
        case OP_MOVE:
            r[at->a] = r[at->b];
            break;
        case OP_ADD:
            r[at->a] = r[at->b] + r[at->c];
            break;
        case OP_MULTIPLY:
            r[at->a] = r[at->b] * r[at->c];
            break;
        case OP_AND:
            r[at->a] = r[at->b] & r[at->c];
            break;
        case OP_SHIFT:
            r[at->a] = r[at->b] >> (r[at->c] & 31);
            break;
        case OP_JUMP:
            jump = true;
            break;
        case OP_JUMP_ZERO:
            jump = !r[at->a];
            break;
        case OP_JUMP_EQUAL:
            jump = r[at->a] == r[at->b];
            break;
        case OP_JUMP_NOT_ABOVE:
            jump = r[at->a] <= r[at->b];
            break;
        default:
            return;
        }
        if (jump)
            at = start + at->value - 1;
    }
}

static uint32_t run_bytecode(uint32_t size) {
    uint32_t sum = 0;
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        uint32_t registers[R_COUNT] = {[R_LIMIT] = COLLATZ_LIMIT - i};
        interpret(collatz, registers);
        sum = workload_mix(sum, registers[R_SUM] + registers[R_LONGEST]);
    }
    workload_end();
    return sum;
}

static void swap(uint32_t *a, uint32_t *b) {
    uint32_t t = *a;
    *a = *b;
    *b = t;
}

/* Quicksort around the median of three, insertion below 16. */
static void sort(uint32_t *v, uint32_t n) {
    while (n > 16) {
        uint32_t *middle = v + n / 2, *last = v + n - 1;
        if (*middle < *v)
            swap(middle, v);
        if (*last < *v)
            swap(last, v);
        if (*last < *middle)
            swap(last, middle);
        uint32_t pivot = *middle, *low = v, *high = last;
        do {
            while (*low < pivot)
                low++;
            while (*high > pivot)
                high--;
            if (low <= high)
                swap(low++, high--);
        } while (low <= high);
        sort(v, (uint32_t)(high - v + 1));
        n -= (uint32_t)(low - v);
        v = low;
    }
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j && v[j - 1] > v[j]; j--)
            swap(v + j - 1, v + j);
}

static uint32_t run_sort(uint32_t size) {
    enum { NUMBERS = 200000 };
    uint32_t *numbers = workload_allocate(NUMBERS * sizeof *numbers), seed = 1, sum = 0;
    workload_begin();
    for (uint32_t i = 0; i < size; i++) {
        for (uint32_t k = 0; k < NUMBERS; k++)
            numbers[k] = workload_random(&seed);
        sort(numbers, NUMBERS);
        for (uint32_t k = 1; k < NUMBERS; k++)
            if (numbers[k - 1] > numbers[k])
                workload_fail("not sorted");
        sum = workload_mix(sum, numbers[i % NUMBERS] ^ numbers[NUMBERS - 1]);
    }
    workload_end();
    return sum;
}

static uint32_t run_sieve(uint32_t size) {
    enum { LIMIT = 1 << 20 };
    uint8_t *composite = workload_allocate(LIMIT);
    uint32_t sum = 0;
    workload_begin();
    for (uint32_t round = 0; round < size; round++) {
        for (uint32_t i = 0; i < LIMIT; i++)
            composite[i] = 0;
        for (uint32_t i = 2; i * i < LIMIT; i++)
            for (uint32_t k = i * i; !composite[i] && k < LIMIT; k += i)
                composite[k] = 1;
        for (uint32_t i = 2; i < LIMIT; i++)
            sum += !composite[i] * (i ^ round);
    }
    workload_end();
    return sum;
}

static __attribute__((noinline)) uint32_t fibonacci(uint32_t n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static uint32_t run_fib(uint32_t size) {
    workload_begin();
    uint32_t value = fibonacci(size);
    workload_end();
    return value;
}

/* Objects of eight classes; what runs next is known only from the object. */
struct object;
typedef uint32_t (*method)(struct object *object, uint32_t argument);
struct object {
    const method *methods;
    uint32_t state;
};

#define CLASS(n, change, answer)                                                                   \
    static uint32_t change##_##n(struct object *object, uint32_t argument) {                       \
        return object->state += argument * (2 * (n) + 1);                                          \
    }                                                                                              \
    static uint32_t answer##_##n(struct object *object, uint32_t argument) {                       \
        return (object->state ^ argument) >> ((n) + 1);                                            \
    }                                                                                              \
    static const method methods_##n[] = {change##_##n, answer##_##n};
CLASS(0, change, answer)
CLASS(1, change, answer)
CLASS(2, change, answer)
CLASS(3, change, answer)
CLASS(4, change, answer)
CLASS(5, change, answer)
CLASS(6, change, answer)
CLASS(7, change, answer)

static uint32_t run_virtual(uint32_t size) {
    static const method *const classes[] = {methods_0, methods_1, methods_2, methods_3,
                                            methods_4, methods_5, methods_6, methods_7};
    enum { OBJECTS = 512 };
    static struct object objects[OBJECTS];
    uint32_t seed = 7, sum = 0;
    for (uint32_t i = 0; i < OBJECTS; i++)
        objects[i] = (struct object){classes[workload_random(&seed) >> 29], i};
    workload_begin();
    for (uint32_t i = 0; i < size; i++)
        for (uint32_t k = 0; k < OBJECTS; k++)
            sum = workload_mix(sum, objects[k].methods[i & 1](&objects[k], i + k));
    workload_end();
    return sum;
}

const struct workload integer_workloads[] = {
    {"int.bytecode", WORKLOAD_PROGRAM, run_bytecode, 30, 2, 0},
    {"int.sort", WORKLOAD_PROGRAM, run_sort, 30, 2, 0},
    {"int.sieve", WORKLOAD_PROGRAM, run_sieve, 120, 6, 0},
    {"int.fib", WORKLOAD_PROGRAM, run_fib, 38, 32, 0},
    {"int.virtual", WORKLOAD_PROGRAM, run_virtual, 200000, 10000, 0},
    {.name = NULL},
};
