/* What compressed kernels are compressed with, undone in memory by the libraries of each format. */
#ifndef RING3_LOADER_UNPACK_H
#define RING3_LOADER_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* No kernel is larger unpacked; what claims to be is hostile. */
#define UNPACKED_MAX ((size_t)256 << 20)

struct unpacked {
    uint8_t *bytes; /* free() it */
    size_t size;
};

/* Recognises gzip, xz, lzma, zstd, bzip2 and lz4 (the kernel's legacy frame) by their first bytes.
 * What follows the stream is ignored; more than `limit` bytes are refused. `name` is for the error
 * line. 0, or -1 with `error` filled and nothing to free. */
int unpack(const char *name, const uint8_t *from, size_t size, size_t limit, struct unpacked *to,
           struct error *error);

#endif
