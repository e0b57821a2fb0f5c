/* Where the work is done: one column each. A column is a row in the table of columns.c, which says
 * how its commands are built; a new accelerator is a new row. */
#ifndef RING3_BENCH_HOST_COLUMNS_H
#define RING3_BENCH_HOST_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "bench/host/child.h"
#include "bench/host/places.h"
#include "bench/host/rows.h"

enum column_id {
    COLUMN_NATIVE,
    COLUMN_RING3_BT,
    COLUMN_RING3_KVM,
    COLUMN_QEMU_TCG,
    COLUMN_QEMU_KVM,
    COLUMN_COUNT
};

struct column {
    bool usable;
    bool emulated; /* a "hardware" accelerator that interprets: shown, but in no mean */
    char reason[CHILD_LINE_MAX]; /* why it is not usable */
    struct child server;         /* the Linux program, natively or in a booted guest; or none */
    uint64_t guest_ns, host_ns;  /* all timed stretches, by the guest's clock and by ours */
    double probe_clock;          /* the guest's TSC over ours */
    char command[512];           /* of a guest, for the report */
};

const char *column_name(enum column_id id);  /* for machines */
const char *column_title(enum column_id id); /* for people */
/* Does the row say anything in this column? */
bool column_has_row(const struct column *column, enum column_id id, const struct row *row);

#define COMMAND_MAX 40
struct command {
    const char *argv[COMMAND_MAX];
    unsigned argc;
    char memory[16], cache[24];
};

/* The bare guest; `append` must outlive the command. */
void command_nano(struct command *command, enum column_id id, const struct places *places,
                  const char *append);
/* A Linux guest of `mib`, or natively the program. `cache_kib`: of its translation cache, 0: as ever. */
void command_linux(struct command *command, enum column_id id, const struct places *places,
                   const char *append, unsigned mib, unsigned cache_kib);
/* Cut at `size`. */
void command_text(const struct command *command, char *text, unsigned size);

#endif
