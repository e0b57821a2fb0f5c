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
#include <sys/mman.h>
#include <unistd.h>

#define RAM_SIZE_MAX (1ull << 32)

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
        munmap(ram->base, ram->size);
        close(ram->fd);
    }
    *ram = (struct ram){.fd = -1};
}

bool ram_is_page(const struct ram *ram, gpa_t gpa) {
    return gpa < ram->size && (gpa < RAM_HOLE_START || gpa >= RAM_HOLE_END);
}

void *ram_ptr(const struct ram *ram, gpa_t gpa, size_t len) {
    if (gpa >= ram->size || len > ram->size - gpa)
        return NULL;
    if (gpa < RAM_HOLE_END && gpa + len > RAM_HOLE_START)
        return NULL;
    return ram->base + gpa;
}

static int allocate_range(const struct ram *ram, uint64_t start, uint64_t end) {
    while (fallocate(ram->fd, 0, (off_t)start, (off_t)(end - start)) != 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* The hole lies at the end of one chunk or fills some: its pages never get memory. */
static int allocate_chunk(const struct ram *ram, uint64_t chunk) {
    uint64_t start = chunk * RAM_CHUNK, end = start + RAM_CHUNK;
    if (end > ram->size)
        end = ram->size;
    assert(start < end);
    if (end <= RAM_HOLE_START || start >= RAM_HOLE_END)
        return allocate_range(ram, start, end);
    int error = 0;
    if (start < RAM_HOLE_START)
        error = allocate_range(ram, start, RAM_HOLE_START);
    if (error == 0 && end > RAM_HOLE_END)
        error = allocate_range(ram, RAM_HOLE_END, end);
    return error;
}

int ram_allocate(const struct ram *ram, gpa_t gpa, size_t len) {
    if (len == 0)
        return 0;
    if (gpa >= ram->size || len > ram->size - gpa)
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
