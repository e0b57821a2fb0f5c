/* A firmware image (a BIOS): its bytes become the ROM that ends at 4 GiB; the CPU starts at its
 * reset vector, as it comes out of reset.
 *
 * The file is hostile, but it is only code: nothing in it is interpreted here. */
#ifndef RING3_LOADER_FIRMWARE_H
#define RING3_LOADER_FIRMWARE_H

#include "base/error.h"
#include "memory/ram.h"

#define FIRMWARE_UNIT (64u << 10) /* its size is a multiple of this, at most ROM_SIZE_MAX */

/* 0, or -1 with `error` filled. */
int firmware_load(const char *path, struct ram *ram, struct error *error);

#endif
