/* Trace channels: what a machine says of itself while it runs.
 *
 * A record is a format string and up to six integers, put into a ring in the arena without
 * formatting (async-signal-safe, no vector registers); the monitor process formats and prints
 * it. Format strings are literals, at the same address in every process after the fork. Only
 * integer conversions with the l or ll length, and %s for literals, may be used. */
#ifndef RING3_BASE_TRACE_H
#define RING3_BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ring.h"

/* name, what it shows */
#define TRACE_CHANNELS(X)                                                                          \
    X(translate, "every fragment made: addresses and lengths of both sides")                       \
    X(run, "every return to the dispatcher, with its reason")                                      \
    X(callout, "every callout")                                                                    \
    X(fault, "guest exceptions and their delivery")                                                \
    X(shadow, "hidden faults, mappings, flushes and evictions")                                    \
    X(code, "invalidation of translated code")                                                     \
    X(irq, "interrupt lines and deliveries")                                                       \
    X(port, "ports that no device claims")                                                         \
    X(device, "what devices do that is out of the ordinary")                                       \
    X(msr, "model-specific registers that are unknown")

enum trace_channel {
#define TRACE_ENUM(name, text) TRACE_##name,
    TRACE_CHANNELS(TRACE_ENUM)
#undef TRACE_ENUM
        TRACE_CHANNEL_COUNT
};

struct trace {
    uint32_t enabled; /* a bit a channel */
    _Atomic uint32_t lost;
    _Atomic bool busy; /* a put is in progress: one from a signal handler is lost */
    int notify_fd;     /* eventfd written when the ring is half full, or -1 */
    struct byte_ring ring;
};

struct trace_record {
    uint32_t channel;
    const char *format;
    uint64_t args[6];
};

const char *trace_channel_name(enum trace_channel channel);
/* Parses "run,fault" or "all" into bits; false when a name is unknown (`*bad` points at it). */
bool trace_parse(const char *list, uint32_t *bits, const char **bad);

void trace_put(struct trace *trace, enum trace_channel channel, const char *format, uint64_t a,
               uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
/* Formats all records in the ring to the stdio stream `out` (a FILE *); monitor side only. */
void trace_drain(struct trace *trace, void *out);

#define TRACE6(t, channel, fmt, a, b, c, d, e, f)                                                  \
    do {                                                                                           \
        if (__builtin_expect((t)->enabled >> TRACE_##channel & 1, 0))                              \
            trace_put((t), TRACE_##channel, (fmt), (uint64_t)(a), (uint64_t)(b), (uint64_t)(c),    \
                      (uint64_t)(d), (uint64_t)(e), (uint64_t)(f));                                \
    } while (0)
#define TRACE1(t, channel, fmt, a) TRACE6(t, channel, fmt, a, 0, 0, 0, 0, 0)
#define TRACE2(t, channel, fmt, a, b) TRACE6(t, channel, fmt, a, b, 0, 0, 0, 0)
#define TRACE3(t, channel, fmt, a, b, c) TRACE6(t, channel, fmt, a, b, c, 0, 0, 0)
#define TRACE4(t, channel, fmt, a, b, c, d) TRACE6(t, channel, fmt, a, b, c, d, 0, 0)

#endif
