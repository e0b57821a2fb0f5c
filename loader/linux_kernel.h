/* The kernel that lies packed in a bzImage, unpacked on the host: what the bzImage's own stub would
 * do in the guest, done before the guest starts.
 *
 * The stub unpacks an ELF file, copies its segments to where they run, adds the slide of KASLR to
 * what the list behind the ELF file names, and jumps to the kernel with the registers and
 * boot_params that it was given (arch/x86/boot/compressed/misc.c of the kernel). That list is no
 * documented interface. So whatever looks different from that is not an error: "not understood",
 * and the stub is loaded as ever. */
#ifndef RING3_LOADER_LINUX_KERNEL_H
#define RING3_LOADER_LINUX_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "loader/image.h"
#include "loader/place.h"

#define LINUX_SEGMENTS_MAX 8

/* Where it lies, from the setup header. */
struct linux_payload {
    uint64_t offset, size; /* in the file */
    uint64_t code_end;     /* of the protected-mode part in the file: the stub goes on to here */
    uint64_t preferred;    /* the physical address that it is linked for */
    uint64_t init_size;    /* memory it needs from there on */
};

struct linux_segment {
    uint32_t offset, size; /* in `bytes` */
    uint32_t physical;
};

struct linux_kernel {
    uint8_t *bytes;
    size_t size;
    uint64_t preferred;
    uint32_t entry;      /* physical, without a slide, like the segments' */
    uint32_t to_virtual; /* linear minus physical address */
    struct linux_segment segments[LINUX_SEGMENTS_MAX];
    unsigned segment_count;
    bool has_kaslr; /* its stub would slide it */
};

/* Unpacks, or takes from the cache in directory `cache` (NULL: none) and keeps there. False: not
 * understood, and nothing to close. */
bool linux_kernel_open(struct linux_kernel *kernel, const struct image *image,
                       const struct linux_payload *payload, const char *cache);
void linux_kernel_close(struct linux_kernel *kernel);

/* Relocates for running at `preferred + slide`. False: the list is not understood, and the bytes
 * are of no use any more. */
bool linux_kernel_slide(struct linux_kernel *kernel, uint32_t slide);
/* Copies the segments to guest memory that is the caller's. -1: no host memory. */
int linux_kernel_place(const struct linux_kernel *kernel, uint32_t slide, struct place *place,
                       struct error *error);

#endif
