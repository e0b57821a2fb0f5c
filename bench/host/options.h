/* The command line of `ring3 bench`. */
#ifndef RING3_BENCH_HOST_OPTIONS_H
#define RING3_BENCH_HOST_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "bench/host/rows.h"

enum bench_action { BENCH_RUN, BENCH_LIST, BENCH_HELP };

struct bench_options {
    enum bench_action action;
    bool quick;
    unsigned rounds;
    uint32_t columns; /* a bit each */
    const char *json, *html;
    struct selection selection;
};

/* 0, or -1 with the reason. The strings are argv's. */
int bench_options_parse(struct bench_options *options, int argc, char **argv, struct error *error);
void bench_options_help(void);

#endif
