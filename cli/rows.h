/* Which rows of the instruction table a run has executed, for coverage reports (--debug rows=FILE).
 */
#ifndef RING3_CLI_ROWS_H
#define RING3_CLI_ROWS_H

#include <stdint.h>

#include "base/arena.h"

/* A bit for each row, in the arena. */
uint8_t *rows_create(struct arena *arena);
/* Adds the names of the rows whose bit is set, a line each, to the end of a file. 0, or a negative
 * errno. */
int rows_append(const uint8_t *rows, const char *path);

#endif
