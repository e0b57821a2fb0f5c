/* Guest-physical memory: one memfd, mapped once linearly.
 *
 * RAM's guest-physical address is its offset in the memfd. Two more kinds of memory are there on
 * demand: video memory at 0xa0000-0xbffff (plain memory: nobody displays it), and a ROM, whose
 * bytes lie in the memfd behind RAM. The ROM ends at 4 GiB, and its last part shows at the end of
 * the first MiB wherever a legacy segment says ROM. So an address has a place (an offset in the
 * memfd), found by ram_locate: windows and translations go by place, not by address, and ROM has
 * two addresses for one place. What is none of these is no memory: reads there answer all
 * ones, writes vanish. Pages are allocated when first touched. */
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
    bool has_video;
    uint64_t rom_size;  /* 0: no ROM */
    uint8_t legacy[16]; /* enum ram_legacy of each segment of 16 KiB from 0xc0000 on */
};

#define RAM_HOLE_START 0xa0000u
#define RAM_HOLE_END 0xc0000u
#define RAM_LEGACY_START RAM_HOLE_END
#define RAM_LEGACY_END 0x100000u
#define RAM_LEGACY_SHIFT 14 /* a segment has 16 KiB */
#define ROM_SIZE_MAX (16u << 20)
#define ROM_LOW_MAX (128u << 10) /* of the ROM below 1 MiB */
#define RAM_NOWHERE UINT64_MAX

/* What stands in a legacy segment. */
enum ram_legacy {
    RAM_LEGACY_RAM,       /* the default */
    RAM_LEGACY_READ_ONLY, /* RAM, writes vanish */
    RAM_LEGACY_ROM,       /* the ROM as far as it reaches, else nothing; writes vanish */
};
#define RAM_CHUNK (256u * 1024u)

/* 0, or a negative errno. */
int ram_create(struct ram *ram, uint64_t size);
void ram_destroy(struct ram *ram);

/* Before the vCPU process starts: the other kinds of memory. 0, or a negative errno. */
void ram_add_video(struct ram *ram);
/* Copies a ROM of whole pages, at most ROM_SIZE_MAX, in; legacy segments show it from now on. */
int ram_add_rom(struct ram *ram, const void *bytes, size_t size);
/* Changes what a legacy segment shows. Whoever has mapped it must be told. */
void ram_set_legacy(struct ram *ram, unsigned segment, enum ram_legacy what);

/* From 1 MiB to its end RAM is what it is everywhere; elsewhere it is looked at what is there. */
static inline bool ram_is_plain(const struct ram *ram, gpa_t gpa) { return gpa >= RAM_LEGACY_END && gpa < ram->size; }
uint64_t ram_locate_special(const struct ram *ram, gpa_t gpa);
bool ram_special_is_writable(const struct ram *ram, uint64_t place);
void *ram_special_ptr(const struct ram *ram, gpa_t gpa, size_t len);
int ram_allocate_new(const struct ram *ram, gpa_t gpa, size_t len);

/* The place of the byte at `gpa`, RAM_NOWHERE where no memory is. */
static inline uint64_t ram_locate(const struct ram *ram, gpa_t gpa) {
    return ram_is_plain(ram, gpa) ? gpa : ram_locate_special(ram, gpa);
}
/* Is there memory for the whole page at `gpa`? */
static inline bool ram_is_page(const struct ram *ram, gpa_t gpa) {
    return ram_locate(ram, gpa) != RAM_NOWHERE;
}
/* May the page at a place be written? */
static inline bool ram_is_writable(const struct ram *ram, uint64_t place) {
    return ram_is_plain(ram, place) || ram_special_is_writable(ram, place);
}
/* Pages that places can name. */
static inline uint64_t ram_page_count(const struct ram *ram) {
    return (ram->size + ram->rom_size) >> PAGE_SHIFT;
}
/* Host address of [gpa, gpa+len) when all of it is memory and in one piece, else NULL. */
static inline void *ram_ptr(const struct ram *ram, gpa_t gpa, size_t len) {
    return ram_is_plain(ram, gpa) && len <= ram->size - gpa ? ram->base + gpa : ram_special_ptr(ram, gpa, len);
}
/* Gives the chunks that hold [gpa, gpa+len) host memory, which ROM always has; a place will do as
 * well. 0, or a negative errno (host out of memory; -EFAULT: beyond the end): the caller
 * reports it; touching them would be a SIGBUS. */
static inline int ram_allocate(const struct ram *ram, gpa_t gpa, size_t len) {
    uint64_t chunk = gpa / RAM_CHUNK;
    bool has = gpa < ram->size && len && len <= RAM_CHUNK - gpa % RAM_CHUNK && len <= ram->size - gpa &&
               __atomic_load_n(&ram->allocated[chunk / 64], __ATOMIC_ACQUIRE) >> chunk % 64 & 1u;
    return has ? 0 : ram_allocate_new(ram, gpa, len);
}

#endif
