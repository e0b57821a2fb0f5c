/* A byte ring between two processes: see ring.h.
 *
 * The indices run freely and are reduced when used. Both are stored and loaded sequentially
 * consistent, which makes ring_write_wake sound: either the writer sees that the reader had
 * caught up, or the reader's last look sees the new bytes. An index that the other side has set
 * to nonsense yields a full or an empty ring, never an access outside `bytes`. */
#include "base/ring.h"

#include <assert.h>
#include <string.h>

void ring_init(struct byte_ring *ring, uint8_t *bytes, uint32_t size) {
    assert(size != 0 && (size & (size - 1)) == 0);
    atomic_store(&ring->head, 0);
    atomic_store(&ring->tail, 0);
    ring->size = size;
    ring->bytes = bytes;
}

uint32_t ring_used(const struct byte_ring *ring) {
    uint32_t used = atomic_load(&ring->head) - atomic_load(&ring->tail);
    return used <= ring->size ? used : ring->size;
}

uint32_t ring_free(const struct byte_ring *ring) { return ring->size - ring_used(ring); }

/* How many of `len` bytes at `position` lie before the end of the buffer. */
static uint32_t before_wrap(const struct byte_ring *ring, uint32_t position, uint32_t len) {
    uint32_t room = ring->size - (position & (ring->size - 1));
    return len < room ? len : room;
}

uint32_t ring_write(struct byte_ring *ring, const void *from, uint32_t len) {
    uint32_t room = ring_free(ring);
    if (len > room)
        len = room;
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t first = before_wrap(ring, head, len);
    memcpy(ring->bytes + (head & (ring->size - 1)), from, first);
    memcpy(ring->bytes, (const uint8_t *)from + first, len - first);
    atomic_store(&ring->head, head + len);
    return len;
}

uint32_t ring_write_wake(struct byte_ring *ring, const void *from, uint32_t len, bool *wake) {
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t written = ring_write(ring, from, len);
    *wake = written != 0 && atomic_load(&ring->tail) == head;
    return written;
}

uint32_t ring_read(struct byte_ring *ring, void *to, uint32_t len) {
    uint32_t used = ring_used(ring);
    if (len > used)
        len = used;
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t first = before_wrap(ring, tail, len);
    memcpy(to, ring->bytes + (tail & (ring->size - 1)), first);
    memcpy((uint8_t *)to + first, ring->bytes, len - first);
    atomic_store(&ring->tail, tail + len);
    return len;
}
