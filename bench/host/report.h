/* The three forms that results take. */
#ifndef RING3_BENCH_HOST_REPORT_H
#define RING3_BENCH_HOST_REPORT_H

#include <stdio.h>

#include "bench/host/results.h"

/* To standard output. */
void table_print(const struct results *results);
/* 0, or -1 when memory or the file's space ran out. */
int json_write(const struct results *results, FILE *file);
void html_write(const struct results *results, FILE *file);

#endif
