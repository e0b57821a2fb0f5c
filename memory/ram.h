/* Guest-physical memory: one memfd, mapped once linearly.
 *
 * Guest-physical 0 is offset 0. Everything from `size` up to 4 GiB, and the legacy video hole
 * 0xa0000-0xbffff, is not RAM: reads there answer all ones, writes vanish (no device claims
 * it yet). Pages are allocated when first touched. */
#ifndef RING3_MEMORY_RAM_H
#define RING3_MEMORY_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/addr.h"

struct ram {
    int fd;
    uint8_t *base;
    uint64_t size;      /* bytes, a multiple of 4 KiB */
    uint64_t *allocated; /* a bit for each chunk that fallocate has been called on */
};

#define RAM_HOLE_START 0xa0000u
#define RAM_HOLE_END 0xc0000u
#define RAM_CHUNK (256u * 1024u)

/* 0, or a negative errno. */
int ram_create(struct ram *ram, uint64_t size);
void ram_destroy(struct ram *ram);

/* Is the whole page at `gpa` RAM? */
bool ram_is_page(const struct ram *ram, gpa_t gpa);
/* Host address of [gpa, gpa+len) when all of it is RAM, else NULL. */
void *ram_ptr(const struct ram *ram, gpa_t gpa, size_t len);
/* Gives the chunks that hold [gpa, gpa+len) host memory. 0, or a negative errno (host out of
 * memory; -EFAULT: beyond the end): the caller reports it; touching them would be a SIGBUS. */
int ram_allocate(const struct ram *ram, gpa_t gpa, size_t len);

#endif
