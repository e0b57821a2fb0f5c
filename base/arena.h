/* The shared arena: machine state that the monitor and the vCPU processes both touch.
 *
 * One anonymous MAP_SHARED mapping, created before the fork, so that every object in it has the
 * same address in every process (pointers inside it, to it and to code stay valid across the
 * fork). Objects are carved off its front and live as long as the machine. */
#ifndef RING3_BASE_ARENA_H
#define RING3_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define LARGE_PAGE ((size_t)2 << 20) /* of the host */

struct arena {
    uint8_t *base;
    size_t size;
    size_t used;
};

/* Maps an arena of `size` bytes. 0, or a negative errno. */
int arena_create(struct arena *arena, size_t size);
void arena_destroy(struct arena *arena);

/* `size` zeroed bytes aligned to `align` (a power of two). Running out is a broken invariant
 * (the sum of what a machine allocates is fixed): it asserts. */
void *arena_alloc(struct arena *arena, size_t size, size_t align);

/* The same for tables that need not be shared: with `arena` NULL, private pages that take memory only when
 * touched; large tables ask for large pages, as what is looked up in them lies far apart and would miss the host's
 * TLB. NULL: the host refuses. */
void *arena_reserve(struct arena *arena, size_t size);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type), _Alignof(type)))

#endif
