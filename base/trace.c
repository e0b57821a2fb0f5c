/* Tracing, the writing side: see trace.h. Reading and formatting are in inspect/. */
#include "base/trace.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define NAP_NS 200000
#define NAPS_A_MS 5
#define MODE_CPL_BITS 3u

static const char *const channel_names[TRACE_CHANNEL_COUNT] = {
#define TRACE_NAME(id, name, text) [TRACE_##id] = (name),
    TRACE_CHANNELS(TRACE_NAME)
#undef TRACE_NAME
};

static const struct {
    const char *name;
    uint32_t bits;
} aliases[] = {{"all", TRACE_ALL},
#define TRACE_ALIAS(name, bits) {(name), (bits)},
               TRACE_ALIASES(TRACE_ALIAS)
#undef TRACE_ALIAS
};

static const uint8_t event_channels[TRACE_EVENT_COUNT] = {
#define TRACE_CHANNEL(id, channel, text) [TRACE_EVENT_##id] = TRACE_##channel,
    TRACE_EVENTS(TRACE_CHANNEL)
#undef TRACE_CHANNEL
};

const char *trace_channel_name(enum trace_channel channel) {
    assert((unsigned)channel < TRACE_CHANNEL_COUNT);
    return channel_names[channel];
}

enum trace_channel trace_event_channel(enum trace_event event) {
    assert((unsigned)event < TRACE_EVENT_COUNT);
    return (enum trace_channel)event_channels[event];
}

static bool is_word(const char *word, const char *name, size_t len) {
    return strlen(word) == len && memcmp(word, name, len) == 0;
}

static bool name_bits(const char *name, size_t len, uint32_t *bits) {
    for (unsigned i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (is_word(aliases[i].name, name, len)) {
            *bits = aliases[i].bits;
            return true;
        }
    for (unsigned i = 0; i < TRACE_CHANNEL_COUNT; i++)
        if (is_word(channel_names[i], name, len)) {
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

void trace_init(struct trace *trace, struct trace_record *records, uint64_t capacity) {
    assert(capacity != 0 && (capacity & (capacity - 1)) == 0);
    trace->records = records;
    trace->capacity = capacity;
    atomic_store(&trace->head, 0);
    atomic_store(&trace->tail, 0);
    trace->full_at = capacity;
}

static void wake_reader(const struct trace *trace) {
    int saved = errno; /* may run in a signal handler */
    uint64_t one = 1;
    ssize_t result = trace->notify_fd >= 0 ? write(trace->notify_fd, &one, sizeof one) : 0;
    (void)result; /* the eventfd's count is at its limit: the reader is awake anyway */
    errno = saved;
}

static uint64_t used(const struct trace *trace) {
    return atomic_load_explicit(&trace->head, memory_order_relaxed) -
           atomic_load_explicit(&trace->tail, memory_order_acquire);
}

/* The stream is full. A reader that has not made room within the patience is not waited for again
 * until half of the ring is free. */
static bool wait_for_room(struct trace *trace) {
    int saved = errno;
    uint64_t naps = trace->stalled ? 0 : (uint64_t)trace->patience_ms * NAPS_A_MS;
    for (uint64_t i = 0; i < naps && used(trace) >= trace->capacity; i++) {
        const struct timespec nap = {.tv_nsec = NAP_NS};
        wake_reader(trace);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
    }
    errno = saved;
    trace->stalled = used(trace) > (trace->stalled ? trace->capacity / 2 : trace->capacity - 1);
    trace->full_at = atomic_load_explicit(&trace->tail, memory_order_acquire) + trace->capacity;
    return !trace->stalled;
}

static bool passes(const struct trace *trace, uint32_t eip, uint32_t cr3, unsigned cpl) {
    if (!trace->filter_count)
        return true;
    for (uint32_t i = 0; i < trace->filter_count; i++) {
        const struct trace_filter *f = &trace->filters[i];
        if (eip - f->start <= f->end - f->start && f->cpls >> cpl & 1 &&
            (f->any_cr3 || f->cr3 == cr3))
            return true;
    }
    return false;
}

/* The event is stored last: a process that dies in between leaves a record of no event. */
static void fill(struct trace_record *record, uint32_t event, const uint64_t *args) {
    record->tsc = clock_host_tsc();
    for (unsigned i = 0; i < TRACE_ARGS_MAX; i++)
        record->args[i] = args[i];
    atomic_store_explicit(&record->event, event, memory_order_release);
}

void trace_put(struct trace *trace, enum trace_event event, const uint64_t args[TRACE_ARGS_MAX]) {
    const struct trace_guest *guest = &trace->guest;
    uint32_t eip = 0, cr3 = 0;
    unsigned cpl = 0;
    if (guest->eip) {
        eip = *guest->eip + *guest->cs_base;
        cr3 = *guest->cr3;
        cpl = *guest->mode & MODE_CPL_BITS;
    }
    if (!passes(trace, eip, cr3, cpl))
        return;
    /* A signal handler that interrupts a put in progress loses its record, not the other's. */
    bool busy = atomic_load_explicit(&trace->busy, memory_order_relaxed);
    atomic_store_explicit(&trace->busy, true, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    uint64_t head = atomic_load_explicit(&trace->head, memory_order_relaxed);
    bool full = !trace->overwrite && (head == trace->full_at || trace->stalled);
    if (busy || (full && !wait_for_room(trace))) {
        atomic_fetch_add(&trace->lost, 1);
    } else {
        struct trace_record *record = &trace->records[head & (trace->capacity - 1)];
        atomic_store_explicit(&record->event, TRACE_EVENT_NONE, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        record->eip = eip;
        record->cr3 = cr3;
        record->cpl = (uint8_t)cpl;
        fill(record, event, args);
        atomic_store_explicit(&trace->head, head + 1, memory_order_release);
        if ((head + 1) % (trace->capacity / 2) == 0 && !trace->overwrite)
            wake_reader(trace);
    }
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&trace->busy, busy, memory_order_relaxed);
}
