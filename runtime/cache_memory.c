/* The translation cache's memory.
 *
 * It is one piece of shared memory mapped twice, writable here and executable there. Where it is executed lies near the
 * program's own code if there is room, so that fragments call the run loop's stubs directly: an indirect call of code that did
 * not run lately is known to the host only when it is executed, a direct one when it is decoded. And it is made of large pages
 * where the host has some, as what is executed in turn lies in many small ones. */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/cache_parts.h"
#include "runtime/engine_private.h"

#define REACH (1ull << 31) /* of a rel32 */
#define STEP (64ull << 20)
#define MARGIN (16ull << 20) /* the program's code is smaller */

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static size_t mapped_size(const struct engine *e) { return (e->cache_size + LARGE_PAGE - 1) & ~(size_t)(LARGE_PAGE - 1); }

static void *reserve_at(uintptr_t at, size_t size) {
    void *there = mmap((void *)at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (there != MAP_FAILED && there != (void *)at) {
        munmap(there, size); /* a kernel that takes it for a hint */
        return MAP_FAILED;
    }
    return there;
}

/* Below the program, as its heap grows upwards from its end. */
static void *reserve_near(size_t size) {
    uintptr_t program = (uintptr_t)stub_callout & ~(uintptr_t)(LARGE_PAGE - 1);
    for (uintptr_t below = size + STEP; below < REACH - MARGIN && below < program; below += STEP) {
        void *there = reserve_at(program - below, size);
        if (there != MAP_FAILED)
            return there;
    }
    return MAP_FAILED;
}

/* Aligned to large pages. */
static void *reserve_anywhere(size_t size) {
    uint8_t *at = mmap(NULL, size + LARGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return MAP_FAILED;
    size_t before = -(uintptr_t)at & (LARGE_PAGE - 1);
    if (before)
        munmap(at, before);
    munmap(at + before + size, LARGE_PAGE - before);
    return at + before;
}

/* In the place of what `e->cache_exec` has reserved. */
static int map_file(struct engine *e) {
    void *write = reserve_anywhere(mapped_size(e));
    int fd = memfd_create("ring3-cache", MFD_CLOEXEC);
    int status = 0;
    if (write == MAP_FAILED || fd < 0 || ftruncate(fd, e->cache_size) ||
        mmap(e->cache_exec, e->cache_size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        mmap(write, e->cache_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
        status = -errno;
    if (fd >= 0)
        close(fd);
    e->cache_write = write;
    return status;
}

/* In anonymous shared memory, of the tables' arena if there are some: mremap of no bytes makes a second mapping of it
 * and leaves the old one. */
static int map_anonymous(struct engine *e) {
    struct arena *tables = e->options.tables;
    void *write = tables ? arena_reserve(tables, e->cache_size)
                         : mmap(NULL, e->cache_size, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (write == MAP_FAILED)
        return -errno;
    void *exec = mremap(write, 0, e->cache_size, MREMAP_MAYMOVE | MREMAP_FIXED, e->cache_exec);
    if (exec == MAP_FAILED || mprotect(exec, e->cache_size, PROT_READ | PROT_EXEC))
        return -errno;
    e->cache_write = write;
    return 0;
}

/* What translations are given, if all of the cache is near enough. */
static void find_stubs(struct vcpu *v, bool near) {
    struct engine *e = v->engine;
    for (unsigned i = 0; i < STUB_COUNT; i++)
        e->stubs_seen[i] = (uintptr_t)v->cpu.stubs[i] - (uintptr_t)e->cache_exec + (uintptr_t)e->cache_write;
    e->stubs_near = near;
}

int cache_map(struct vcpu *v) {
    struct engine *e = v->engine;
    void *exec = e->options.far_stubs ? MAP_FAILED : reserve_near(mapped_size(e));
    bool near = exec != MAP_FAILED;
    if (!near)
        exec = reserve_anywhere(mapped_size(e));
    if (exec == MAP_FAILED)
        return -errno;
    e->cache_exec = exec;
    /* The host's perf asks its map of names about anonymous memory only. */
    int status = e->options.tables || e->options.perf_map ? map_anonymous(e) : map_file(e);
    if (!status)
        find_stubs(v, near);
    return status;
}

/* A host that has none, or does not know how, leaves small ones. */
void cache_take_large_pages(struct engine *e, uint32_t end) {
    while (e->cache_large < end && e->cache_large + LARGE_PAGE <= e->cache_size) {
        madvise(e->cache_exec + e->cache_large, LARGE_PAGE, MADV_COLLAPSE);
        e->cache_large += LARGE_PAGE;
    }
}
