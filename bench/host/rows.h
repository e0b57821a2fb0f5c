/* What is measured: one row each. A name is "GROUP.NAME"; groups belong to sections, which are
 * reported together. */
#ifndef RING3_BENCH_HOST_ROWS_H
#define RING3_BENCH_HOST_ROWS_H

#include <stdbool.h>

#include "base/error.h"

enum section { SECTION_NANO, SECTION_BOOT, SECTION_KERNEL, SECTION_PROGRAM, SECTION_GROWTH, SECTION_COUNT };

/* Cycles that Adams and Agesen published (ASPLOS 2006, figure 4); 0: none. */
struct published {
    double native, translated, hardware;
};

struct row {
    enum section section;
    const char *name, *text;
    struct published vmware;
    bool plain;     /* nano: needs no privilege, so the host itself has a figure */
    unsigned mib;   /* Linux: memory that it touches, where that is much */
    bool long_only; /* not in quick runs */
    unsigned guest_mib; /* a boot of a guest with so much memory; 0: no boot */
    unsigned cache_kib; /* in a guest of its own with such a translation cache; 0: no matter */
    double size;        /* growth: of what its name says in front of the hyphen */
};

#define ROWS_MAX 128
extern const struct row bench_rows[];
extern const unsigned bench_row_count;

const char *section_name(enum section section);
const char *section_title(enum section section);

/* A choice of rows, in the order of the list. */
struct selection {
    const struct row *rows[ROWS_MAX];
    unsigned count;
};

/* Words are names, groups, sections or patterns with * and ?; none: all rows. Refuses a word that
 * fits no row. In quick runs, rows too long for them are left out unless their name is given. */
int rows_select(struct selection *selection, char **words, int count, bool quick,
                struct error *error);
bool selection_has_section(const struct selection *selection, enum section section);
void selection_drop_section(struct selection *selection, enum section section);
/* Growth: are both of one kind? Then they are points of one curve. */
bool rows_are_alike(const struct row *a, const struct row *b);
/* To standard output. */
void rows_print(void);

#endif
