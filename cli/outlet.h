/* An outlet: bytes of a ring in the arena on their way to a descriptor of the monitor's.
 *
 * The vCPU process fills the ring and writes the event descriptor; the monitor empties the ring as
 * fast as the descriptor takes it, never blocking in a write, and tells the vCPU process when a
 * full ring has room again. */
#ifndef RING3_CLI_OUTLET_H
#define RING3_CLI_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ring.h"

/* The end in the arena. The producer tells when it puts bytes into a ring that had been read
 * empty; the monitor, once told, reads until it is empty again. */
struct channel {
    struct byte_ring *ring;
    int event_fd;
};

/* vCPU side: there is something in the ring. Async-signal-safe. */
void channel_tell(struct channel *channel);
/* Monitor side: takes the wake-up back. */
void channel_heard(struct channel *channel);

#define OUTLET_CHUNK 4096 /* a pipe that polls writable takes this much without blocking */

struct outlet {
    struct channel *channel;
    int fd;           /* -1: bytes vanish */
    const char *name; /* for messages */
    uint8_t pending[OUTLET_CHUNK];
    uint32_t used, sent; /* of `pending` */
    int error;           /* a positive errno once writing has failed; bytes vanish from then on */
    /* Is shown what goes through, whether or not it is written; NULL: nobody. */
    void (*tap)(void *opaque, const uint8_t *bytes, size_t len);
    void *tap_opaque;
    bool was_full;       /* the ring was full when last read: its producer may be waiting */
};

/* Is there something to write? The descriptor is then worth polling. */
bool outlet_busy(const struct outlet *outlet);
/* Moves one chunk. Call it when the descriptor polls writable, or there is none. */
void outlet_step(struct outlet *outlet);
/* Writes all that is left, waiting at most `patience_ms` for each chunk. */
void outlet_finish(struct outlet *outlet, int patience_ms);

#endif
