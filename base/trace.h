/* Tracing: what a machine says of itself while it runs.
 *
 * A record is a time, where the guest is (address, privilege level, address space) and up to five
 * integers, put into a ring in the arena without formatting (async-signal-safe, no vector
 * registers). What the integers mean is said once, by the event's row in trace_events.h. The
 * monitor process reads the ring and formats (inspect/trace_*.c); since it lies in the arena, it
 * outlives the process that fills it.
 *
 * A stream is read all the time, and when it is full the writer waits a little for the reader. A
 * flight recorder overwrites its oldest records and is read at the end. */
#ifndef RING3_BASE_TRACE_H
#define RING3_BASE_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/trace_events.h"

enum trace_channel {
#define TRACE_ENUM(id, name, text) TRACE_##id,
    TRACE_CHANNELS(TRACE_ENUM)
#undef TRACE_ENUM
        TRACE_CHANNEL_COUNT
};
#define TRACE_BIT(channel) (1u << TRACE_##channel)
#define TRACE_ALL ((1u << TRACE_CHANNEL_COUNT) - 1)

enum trace_event {
    TRACE_EVENT_NONE, /* a record that is being written */
#define TRACE_ENUM(id, channel, text) TRACE_EVENT_##id,
    TRACE_EVENTS(TRACE_ENUM)
#undef TRACE_ENUM
        TRACE_EVENT_COUNT
};
enum {
#define TRACE_ENUM(id, channel, text) TRACE_CHANNEL_OF_##id = TRACE_##channel,
    TRACE_EVENTS(TRACE_ENUM)
#undef TRACE_ENUM
};

#define TRACE_ARGS_MAX 5

struct trace_record {
    uint64_t tsc; /* the host's */
    uint32_t eip; /* linear address of the instruction */
    uint32_t cr3;
    uint8_t cpl;
    uint8_t unused[3];
    _Atomic uint32_t event;
    uint64_t args[TRACE_ARGS_MAX];
};

/* Where the guest is: fields of struct cpu. */
struct trace_guest {
    const uint32_t *eip, *cs_base, *cr3, *mode;
};

/* A record passes that is of one of these levels, in the range, and of the address space. */
struct trace_filter {
    uint32_t start, end; /* inclusive */
    uint32_t cr3;
    uint8_t cpls; /* a bit each */
    bool any_cr3;
    bool by_symbol; /* the range is a symbol's, and moves with it */
};
#define TRACE_FILTERS_MAX 16

struct trace {
    uint32_t enabled; /* a bit a channel */
    struct trace_guest guest;
    struct trace_filter filters[TRACE_FILTERS_MAX]; /* one of them must let a record pass */
    uint32_t filter_count;                          /* 0: all pass */
    _Atomic uint64_t lost;
    atomic_bool busy;     /* a put is in progress: one from a signal handler is lost */
    bool overwrite;       /* a flight recorder */
    bool stalled;         /* the reader did not come: nothing waits for it until there is room */
    int notify_fd;        /* eventfd written with every half ring of records, or -1 */
    uint32_t patience_ms; /* how long a full stream waits for its reader */
    uint64_t capacity;    /* records, a power of two */
    struct trace_record *records;
    _Atomic uint64_t head;              /* free running, as is the tail */
    uint64_t full_at;                   /* head at which the tail must be looked at again */
    _Alignas(64) _Atomic uint64_t tail; /* the reader's */
};

const char *trace_channel_name(enum trace_channel channel);
enum trace_channel trace_event_channel(enum trace_event event);
/* Parses "enter,fault" or "all" into bits; false when a name is unknown (`*bad` points at it). */
bool trace_parse(const char *list, uint32_t *bits, const char **bad);

/* `records` has room for `capacity` of them, a power of two. */
void trace_init(struct trace *trace, struct trace_record *records, uint64_t capacity);
void trace_put(struct trace *trace, enum trace_event event, const uint64_t args[TRACE_ARGS_MAX]);

/* TRACE(trace, event, arguments as in its row) */
#define TRACE(t, event, ...)                                                                       \
    do {                                                                                           \
        if (__builtin_expect((t)->enabled >> TRACE_CHANNEL_OF_##event & 1, 0))                     \
            trace_put((t), TRACE_EVENT_##event, (const uint64_t[TRACE_ARGS_MAX]){__VA_ARGS__});    \
    } while (0)

#endif
