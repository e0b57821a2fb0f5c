/* Unpacked kernels, kept from one start to the next in a directory of the user's.
 *
 * One file a kernel: a head, the packed bytes, the unpacked ones. It is used only where all of its
 * packed bytes are the ones at hand, and its unpacked ones have the checksum that they were written
 * with: a name that means two kernels, or a host that crashed, brings no other kernel in. Only the
 * user can have written it. Whatever goes wrong means "not kept" and nothing else. */
#ifndef RING3_LOADER_KERNEL_CACHE_H
#define RING3_LOADER_KERNEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/unpack.h"

#define KERNEL_CACHE_MAX 8 /* files; the one that was not used for longest goes */

/* Where users' caches lie (XDG_CACHE_HOME, or .cache in HOME), behind it ring3/unpacked. False: no
 * such directory is known, or its name is too long. */
bool kernel_cache_directory(char *path, size_t room);

bool kernel_cache_find(const char *directory, const uint8_t *packed, size_t size,
                       struct unpacked *unpacked);
void kernel_cache_keep(const char *directory, const uint8_t *packed, size_t size,
                       const struct unpacked *unpacked);

#endif
