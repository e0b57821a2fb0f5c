/* Guest-physical memory: the memfd, its linear mapping and the allocation of its pages.
 *
 * A page of the memfd that nobody allocated would be allocated by the first touch; when the host
 * is out of memory that touch is a SIGBUS. So whoever touches RAM calls ram_allocate before, and
 * a failure is a value. The bitmap of allocated chunks is shared between the processes of a
 * machine; it only saves system calls: allocating twice is harmless. */
#include "memory/ram.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM_SIZE_MAX (1ull << 32)
#define ADDRESS_END (1ull << 32) /* of the ROM */

static uint64_t chunk_count(const struct ram *ram) {
    return (ram->size + RAM_CHUNK - 1) / RAM_CHUNK;
}

static size_t bitmap_bytes(const struct ram *ram) { return (chunk_count(ram) + 63) / 64 * 8; }

int ram_create(struct ram *ram, uint64_t size) {
    *ram = (struct ram){.fd = -1, .size = size};
    if (size == 0 || size > RAM_SIZE_MAX || (size & PAGE_MASK) != 0)
        return -EINVAL;
    int error;
    ram->fd = memfd_create("ring3-guest-ram", MFD_CLOEXEC);
    if (ram->fd < 0)
        return -errno;
    if (ftruncate(ram->fd, (off_t)size) != 0) {
        error = -errno;
        goto close_fd;
    }
    ram->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ram->fd, 0);
    if (ram->base == MAP_FAILED) {
        error = -errno;
        goto close_fd;
    }
    ram->allocated =
        mmap(NULL, bitmap_bytes(ram), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ram->allocated == MAP_FAILED) {
        error = -errno;
        goto unmap;
    }
    return 0;

unmap:
    munmap(ram->base, size);
close_fd:
    close(ram->fd);
    *ram = (struct ram){.fd = -1};
    return error;
}

void ram_destroy(struct ram *ram) {
    if (ram->base != NULL) {
        munmap(ram->allocated, bitmap_bytes(ram));
        munmap(ram->base, ram->size + ram->rom_size);
        close(ram->fd);
    }
    *ram = (struct ram){.fd = -1};
}

void ram_add_video(struct ram *ram) { ram->has_video = true; }

int ram_add_rom(struct ram *ram, const void *bytes, size_t size) {
    assert(ram->rom_size == 0 && size != 0 && size <= ROM_SIZE_MAX && (size & PAGE_MASK) == 0);
    if (ram->size > ADDRESS_END - size)
        return -EINVAL;
    if (fallocate(ram->fd, 0, (off_t)ram->size, (off_t)size) != 0)
        return -errno;
    void *base = mremap(ram->base, ram->size, ram->size + size, MREMAP_MAYMOVE);
    if (base == MAP_FAILED)
        return -errno;
    ram->base = base;
    ram->rom_size = size;
    memcpy(ram->base + ram->size, bytes, size);
    for (unsigned i = 0; i < sizeof ram->legacy; i++)
        ram->legacy[i] = RAM_LEGACY_ROM;
    return 0;
}

void ram_set_legacy(struct ram *ram, unsigned segment, enum ram_legacy what) {
    assert(segment < sizeof ram->legacy);
    ram->legacy[segment] = (uint8_t)what;
}

static unsigned legacy_segment(gpa_t gpa) {
    assert(gpa >= RAM_LEGACY_START && gpa < RAM_LEGACY_END);
    return (unsigned)(gpa - RAM_LEGACY_START) >> RAM_LEGACY_SHIFT;
}

/* Below 1 MiB the ROM ends where the MiB ends. */
static uint64_t locate_low_rom(const struct ram *ram, gpa_t gpa) {
    uint64_t low = ram->rom_size < ROM_LOW_MAX ? ram->rom_size : ROM_LOW_MAX;
    uint64_t from_end = RAM_LEGACY_END - gpa;
    return from_end <= low ? ram->size + ram->rom_size - from_end : RAM_NOWHERE;
}

uint64_t ram_locate_special(const struct ram *ram, gpa_t gpa) {
    if (gpa >= RAM_HOLE_START && gpa < RAM_HOLE_END && !ram->has_video)
        return RAM_NOWHERE;
    if (gpa >= RAM_LEGACY_START && gpa < RAM_LEGACY_END &&
        ram->legacy[legacy_segment(gpa)] == RAM_LEGACY_ROM)
        return locate_low_rom(ram, gpa);
    if (gpa < ram->size)
        return gpa;
    uint64_t rom = ADDRESS_END - ram->rom_size;
    return gpa >= rom && gpa < ADDRESS_END ? ram->size + (gpa - rom) : RAM_NOWHERE;
}

bool ram_special_is_writable(const struct ram *ram, uint64_t place) {
    if (place >= RAM_LEGACY_START && place < RAM_LEGACY_END)
        return ram->legacy[legacy_segment(place)] == RAM_LEGACY_RAM;
    return place < ram->size;
}

void *ram_special_ptr(const struct ram *ram, gpa_t gpa, size_t len) {
    uint64_t place = ram_locate(ram, gpa);
    if (place == RAM_NOWHERE)
        return NULL;
    if (len > (place < ram->size ? ram->size : ram->size + ram->rom_size) - place)
        return NULL;
    /* Only below 1 MiB one page may be of another kind than the next. */
    gpa_t end = gpa + len < RAM_LEGACY_END ? gpa + len : RAM_LEGACY_END;
    gpa_t page = gpa < RAM_HOLE_START ? RAM_HOLE_START : (gpa | PAGE_MASK) + 1;
    for (; page < end; page += PAGE_SIZE)
        if (ram_locate(ram, page) != place + (page - gpa))
            return NULL;
    return ram->base + place;
}

static int allocate_range(const struct ram *ram, uint64_t start, uint64_t end) {
    while (fallocate(ram->fd, 0, (off_t)start, (off_t)(end - start)) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* The hole lies at the end of one chunk or fills some: without video memory its pages never get
 * host memory. */
static int allocate_chunk(const struct ram *ram, uint64_t chunk) {
    uint64_t start = chunk * RAM_CHUNK, end = start + RAM_CHUNK;
    if (end > ram->size)
        end = ram->size;
    assert(start < end);
    if (end <= RAM_HOLE_START || start >= RAM_HOLE_END || ram->has_video)
        return allocate_range(ram, start, end);
    int error = 0;
    if (start < RAM_HOLE_START)
        error = allocate_range(ram, start, RAM_HOLE_START);
    if (error == 0 && end > RAM_HOLE_END)
        error = allocate_range(ram, RAM_HOLE_END, end);
    return error;
}

int ram_allocate_new(const struct ram *ram, gpa_t gpa, size_t len) {
    if (len == 0)
        return 0;
    if (gpa >= ram->size && gpa < ram->size + ram->rom_size)
        return len <= ram->size + ram->rom_size - gpa ? 0 : -EFAULT;
    if (gpa >= ram->size)
        return ram_ptr(ram, gpa, len) ? 0 : -EFAULT;
    if (len > ram->size - gpa)
        return -EFAULT;
    for (uint64_t chunk = gpa / RAM_CHUNK; chunk <= (gpa + len - 1) / RAM_CHUNK; chunk++) {
        uint64_t *word = &ram->allocated[chunk / 64], bit = 1ull << chunk % 64;
        if ((__atomic_load_n(word, __ATOMIC_ACQUIRE) & bit) != 0)
            continue;
        int error = allocate_chunk(ram, chunk);
        if (error != 0)
            return error;
        __atomic_fetch_or(word, bit, __ATOMIC_RELEASE);
    }
    return 0;
}
