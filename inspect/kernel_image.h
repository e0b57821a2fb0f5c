/* A kernel file in memory for looking into it: an ELF32 file, or a bzImage with the ELF file in it
 * unpacked.
 *
 * Nothing here loads a guest (loader/ does); tools ask for the bytes at a linked address and for
 * tables inside. The file is hostile: every offset and size is checked before use. */
#ifndef RING3_INSPECT_KERNEL_IMAGE_H
#define RING3_INSPECT_KERNEL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "memory/addr.h"

#define KERNEL_SEGMENTS_MAX 64u

struct kernel_segment {
    gva_t start;   /* the address it is linked at */
    uint32_t load; /* the physical one */
    uint32_t size;
    const uint8_t *bytes; /* in the image */
    bool executable;
};

struct kernel_image {
    const char *name; /* for error lines: the caller's string */
    uint8_t *bytes;   /* of the ELF file */
    size_t size;
    bool elf; /* else the file is none of both: `bytes` is the file as it is */
    gva_t entry;
    struct kernel_segment segments[KERNEL_SEGMENTS_MAX];
    unsigned segment_count;
};

/* Reads, unpacks and takes apart. Any other file is taken as raw bytes. 0, or -1 with `error`
 * filled and nothing to close. */
int kernel_image_open(struct kernel_image *image, const char *path, struct error *error);
/* The same of a file that is in memory; `bytes` is copied. */
int kernel_image_from(struct kernel_image *image, const char *name, const uint8_t *bytes,
                      size_t size, struct error *error);
void kernel_image_close(struct kernel_image *image);

/* The linked address of one that may be physical, as a kernel's entry is. */
gva_t kernel_image_linked(const struct kernel_image *image, gva_t address);
/* What the file holds from linked address `start` on: how many bytes, and *at their place; 0:
 * nothing. */
size_t kernel_image_at(const struct kernel_image *image, gva_t start, const uint8_t **at);

#endif
