/* The shared arena: see arena.h. A bump allocator over one MAP_SHARED mapping. */
#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#define LARGE_TABLE (2 * LARGE_PAGE)

int arena_create(struct arena *arena, size_t size) {
    void *base =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return -errno;
    *arena = (struct arena){.base = base, .size = size};
    return 0;
}

void arena_destroy(struct arena *arena) {
    if (arena->base)
        munmap(arena->base, arena->size);
    *arena = (struct arena){0};
}

void *arena_alloc(struct arena *arena, size_t size, size_t align) {
    assert(align != 0 && (align & (align - 1)) == 0 && align <= 4096);
    size_t start = (arena->used + align - 1) & ~(align - 1);
    assert(start <= arena->size && size <= arena->size - start && "arena too small");
    arena->used = start + size;
    return arena->base + start; /* fresh pages are zero */
}

void *arena_reserve(struct arena *arena, size_t size) {
    if (arena)
        return arena_alloc(arena, size, 4096);
    size_t slack = size >= LARGE_TABLE ? LARGE_PAGE : 0;
    uint8_t *at = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    if (slack) {
        at += -(uintptr_t)at & (LARGE_PAGE - 1);
        madvise(at, size, MADV_HUGEPAGE); /* a host that has none refuses, and small ones do */
    }
    return at;
}
