/* The protocols that a guest file can speak, one file each. A loader function is called when its
 * recogniser said yes; it places the file and fills the entry state. 0, or -1 with `error`. */
#ifndef RING3_LOADER_PROTOCOLS_H
#define RING3_LOADER_PROTOCOLS_H

#include <stdbool.h>

#include "loader/image.h"
#include "loader/loader.h"
#include "loader/place.h"

/* linux.c: bzImage, boot protocol 2.03 and later, 32-bit entry. */
bool linux_recognise(const struct image *image);
int linux_load(const struct image *image, const struct load_options *options, struct place *place,
               struct load_result *result, struct error *error);

/* multiboot.c: Multiboot 1. Recognised by its magic; a wrong checksum is then an error. */
bool multiboot_recognise(const struct image *image);
int multiboot_load(const struct image *image, const struct load_options *options,
                   struct place *place, struct load_result *result, struct error *error);

/* elf.c: ELF32 executables for i386, as Multiboot loads them and as they stand alone. */
bool elf_recognise(const struct image *image);
/* Places every PT_LOAD segment at its physical address; `*entry` is physical too. */
int elf_place(const struct image *image, struct place *place, uint32_t *entry, struct error *error);
int elf_load(const struct image *image, const struct load_options *options, struct place *place,
             struct load_result *result, struct error *error);

/* acpi.c: the firmware tables, at PLACE_ACPI. */
int acpi_write(struct place *place, struct error *error);

#endif
