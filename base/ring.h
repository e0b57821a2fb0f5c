/* A byte ring between two processes: one producer, one consumer, no locks (C11 atomics).
 *
 * Used for the serial console and for trace records. Neither side ever blocks: a full ring
 * refuses what does not fit and the caller decides. The memory lies in the arena. */
#ifndef RING3_BASE_RING_H
#define RING3_BASE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct byte_ring {
    _Atomic uint32_t head; /* next byte to write, free running */
    _Atomic uint32_t tail; /* next byte to read, free running */
    uint32_t size;         /* a power of two */
    uint8_t *bytes;
};

/* `bytes` has room for `size` bytes, a power of two. */
void ring_init(struct byte_ring *ring, uint8_t *bytes, uint32_t size);
uint32_t ring_used(const struct byte_ring *ring);
uint32_t ring_free(const struct byte_ring *ring);
/* Writes or reads at most `len` bytes; returns how many. */
uint32_t ring_write(struct byte_ring *ring, const void *from, uint32_t len);
uint32_t ring_read(struct byte_ring *ring, void *to, uint32_t len);
/* ring_write, and `*wake` says whether the reader had caught up and may be asleep. A reader that
 * reads until it gets nothing before it sleeps misses no bytes if it is woken exactly then. */
uint32_t ring_write_wake(struct byte_ring *ring, const void *from, uint32_t len, bool *wake);

#endif
