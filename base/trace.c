/* Trace channels, the writing side: see trace.h. Printing is in trace_print.c. */
#include "base/trace.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const char *const channel_names[TRACE_CHANNEL_COUNT] = {
#define TRACE_NAME(name, text) [TRACE_##name] = #name,
    TRACE_CHANNELS(TRACE_NAME)
#undef TRACE_NAME
};

const char *trace_channel_name(enum trace_channel channel) {
    assert((unsigned)channel < TRACE_CHANNEL_COUNT);
    return channel_names[channel];
}

static bool name_bits(const char *name, size_t len, uint32_t *bits) {
    if (len == 3 && memcmp(name, "all", len) == 0) {
        *bits = (1u << TRACE_CHANNEL_COUNT) - 1;
        return true;
    }
    for (unsigned i = 0; i < TRACE_CHANNEL_COUNT; i++)
        if (strlen(channel_names[i]) == len && memcmp(name, channel_names[i], len) == 0) {
            *bits = 1u << i;
            return true;
        }
    return false;
}

bool trace_parse(const char *list, uint32_t *bits, const char **bad) {
    uint32_t all = 0;
    for (const char *name = list;;) {
        size_t len = strcspn(name, ",");
        uint32_t some;
        if (!name_bits(name, len, &some)) {
            *bad = name;
            return false;
        }
        all |= some;
        if (name[len] == '\0')
            break;
        name += len + 1;
    }
    *bits = all;
    return true;
}

static void wake_reader(const struct trace *trace) {
    int saved = errno; /* may run in a signal handler */
    uint64_t one = 1;
    ssize_t result = write(trace->notify_fd, &one, sizeof one);
    (void)result; /* the eventfd's count is at its limit: the reader is awake anyway */
    errno = saved;
}

void trace_put(struct trace *trace, enum trace_channel channel, const char *format, uint64_t a,
               uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    struct trace_record record = {.channel = channel, .format = format, .args = {a, b, c, d, e, f}};
    /* A signal handler that interrupts a put in progress loses its record, not the other's. */
    if (atomic_exchange(&trace->busy, true)) {
        atomic_fetch_add(&trace->lost, 1);
        return;
    }
    uint32_t half = trace->ring.size / 2;
    uint32_t used = ring_used(&trace->ring);
    bool fits = trace->ring.size - used >= sizeof record;
    if (fits)
        ring_write(&trace->ring, &record, sizeof record);
    else
        atomic_fetch_add(&trace->lost, 1);
    atomic_store(&trace->busy, false);
    if (fits && used < half && used + sizeof record >= half && trace->notify_fd >= 0)
        wake_reader(trace);
}
