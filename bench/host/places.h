/* Where the things lie that a run needs.
 *
 *   share directory   RING3_SHARE, or ../share/ring3 beside the program's directory, which is right
 * in a build tree and where it is installed cache             RING3_CACHE, or
 * $XDG_CACHE_HOME/ring3, or ~/.cache/ring3: scripts/fetch-guest's nano guest        inside this
 * program */
#ifndef RING3_BENCH_HOST_PLACES_H
#define RING3_BENCH_HOST_PLACES_H

#include "base/error.h"

#define PLACE_MAX 4096

struct places {
    char self[PLACE_MAX], share[PLACE_MAX], cache[PLACE_MAX];
    char nano[64];           /* a file name that children can open as well */
    char program[PLACE_MAX]; /* the Linux benchmarks' */
    char kernel[PLACE_MAX], busybox[PLACE_MAX];
    char initramfs[64];   /* empty before places_make_initramfs() */
    char qemu[PLACE_MAX]; /* empty: not installed */
    int nano_fd, initramfs_fd;
};

/* All but the initramfs; nothing is asked to exist. */
int places_find(struct places *places, struct error *error);
/* Is everything there that a Linux guest needs? */
int places_check_linux(const struct places *places, struct error *error);
int places_make_initramfs(struct places *places, struct error *error);
void places_release(struct places *places);

#endif
