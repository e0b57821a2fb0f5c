/* Outlets: from a ring to a descriptor, a chunk at a time. */
#include "cli/outlet.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

/* A producer that needs a little room may wait although the ring is not full to the last byte. */
#define NEARLY_FULL 64u

void channel_tell(struct channel *channel) {
    uint64_t one = 1;
    if (write(channel->event_fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN || errno == EINTR); /* the count is at its limit: it is awake */
}

void channel_heard(struct channel *channel) {
    uint64_t count;
    if (read(channel->event_fd, &count, sizeof count) < 0)
        assert(errno == EAGAIN || errno == EINTR);
}

bool outlet_busy(const struct outlet *outlet) {
    return outlet->sent < outlet->used || ring_used(outlet->channel->ring) > 0;
}

/* Fills `pending` from the ring once it is empty. */
static void refill(struct outlet *outlet) {
    struct byte_ring *ring = outlet->channel->ring;
    if (outlet->sent < outlet->used)
        return;
    if (ring_free(ring) < NEARLY_FULL)
        outlet->was_full = true;
    outlet->sent = 0;
    assert(ring->size > NEARLY_FULL);
    outlet->used = ring_read(ring, outlet->pending, OUTLET_CHUNK);
    if (outlet->tap && outlet->used)
        outlet->tap(outlet->tap_opaque, outlet->pending, outlet->used);
}

void outlet_step(struct outlet *outlet) {
    refill(outlet);
    assert(outlet->sent <= outlet->used);
    if (outlet->fd < 0 || outlet->error) {
        outlet->sent = outlet->used;
        return;
    }
    if (outlet->sent == outlet->used)
        return;
    ssize_t wrote = write(outlet->fd, outlet->pending + outlet->sent, outlet->used - outlet->sent);
    if (wrote >= 0)
        outlet->sent += (uint32_t)wrote;
    else if (errno != EAGAIN && errno != EINTR)
        outlet->error = errno;
}

void outlet_finish(struct outlet *outlet, int patience_ms) {
    while (outlet_busy(outlet)) {
        struct pollfd ready = {.fd = outlet->fd, .events = POLLOUT};
        if (outlet->fd >= 0 && !outlet->error && poll(&ready, 1, patience_ms) == 0)
            outlet->error = ETIMEDOUT;
        outlet_step(outlet);
    }
}
