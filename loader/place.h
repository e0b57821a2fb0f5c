/* What the loader puts where in guest memory, and that nothing overlaps.
 *
 * Below 1 MiB the loader's own things have fixed places; a kernel that wants to lie there is
 * refused:
 *
 *   0x90000-0x9fbff  boot information: Linux boot_params and command line, or Multiboot
 *                    information with what it points at (RAM in the memory map)
 *   0x9fc00-0x9ffff  the GDT of the entry state (reserved in the memory map)
 *   0xe0000-0xe0fff  ACPI tables, the RSDP first (reserved in the memory map)
 *
 * The rest is RAM for the guest file. RAM is fresh: what nothing is copied to, is zero. */
#ifndef RING3_LOADER_PLACE_H
#define RING3_LOADER_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "loader/image.h"
#include "memory/ram.h"

#define PLACE_BOOT_INFO 0x90000u
#define PLACE_LOW_END 0x9fc00u /* end of what the memory map calls RAM below 1 MiB */
#define PLACE_GDT 0x9fc00u
#define PLACE_ACPI 0xe0000u
#define PLACE_ACPI_SIZE 0x1000u
#define PLACE_HIGH 0x100000u /* RAM again, up to its end */

struct place_range {
    uint64_t start, end;
    const char *what; /* a literal */
};

#define PLACE_RANGES_MAX 80

struct place {
    struct ram *ram;
    struct place_range taken[PLACE_RANGES_MAX];
    unsigned count;
};

/* Takes the loader's own ranges. */
void place_init(struct place *place, struct ram *ram);
/* Takes [start, start+len) for `what`, which `image` asks for at `offset`. -1 with `error` filled
 * when it is not all RAM or overlaps something. An empty range takes nothing. */
int place_take(struct place *place, const struct image *image, uint64_t offset, uint64_t start,
               uint64_t len, const char *what, struct error *error);
/* Gives back the range that was taken from `start` on. */
void place_release(struct place *place, uint64_t start);
/* RAM that nothing has been put into. */
bool place_is_free(const struct place *place, uint64_t start, uint64_t len);
/* The highest or lowest free page-aligned address in [low, high) for `len` bytes; 0: none. */
uint64_t place_find_high(const struct place *place, uint64_t low, uint64_t high, uint64_t len);
uint64_t place_find_low(const struct place *place, uint64_t low, uint64_t high, uint64_t len);

/* Fills a range that was taken, from memory or from the file. -1 with `error` filled when the
 * host has no memory or the file cannot be read. */
int place_write(struct place *place, uint64_t gpa, const void *from, size_t len,
                struct error *error);
int place_file(struct place *place, const struct image *image, uint64_t offset, uint64_t gpa,
               uint64_t len, const char *what, struct error *error);

/* The memory map that every protocol reports (types as in E820: 1 RAM, 2 reserved). */
struct memory_range {
    uint64_t start, len;
    uint32_t type;
};
#define MEMORY_MAP_RANGES 4
void memory_map_make(const struct ram *ram, struct memory_range map[MEMORY_MAP_RANGES]);

#endif
