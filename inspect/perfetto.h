/* A trace as Chrome trace events (JSON), which ui.perfetto.dev and chrome://tracing open.
 *
 * A track is an address space (CR3), with slices for what the processor did while it was loaded:
 * user code, and in the kernel system calls, interrupts and exceptions, nested. When another
 * address space is loaded in the middle, its slices take over; those of the one that is left are
 * taken up again when it comes back. So slices always match and never overlap. Faults, flushes and
 * the like are instants on the track; rates are counters. The file is an array of events that may
 * end anywhere: what a crash cuts off can be opened. */
#ifndef RING3_INSPECT_PERFETTO_H
#define RING3_INSPECT_PERFETTO_H

#include "base/counters.h"
#include "base/error.h"
#include "inspect/text.h"
#include "inspect/trace_reader.h"

/* What the slices and instants are made from. */
#define PERFETTO_CHANNELS                                                                          \
    (TRACE_BIT(inject) | TRACE_BIT(hidden_fault) | TRACE_BIT(true_fault) | TRACE_BIT(flush) |      \
     TRACE_BIT(invalidate) | TRACE_BIT(translate) | TRACE_BIT(irq))

#define PERFETTO_TRACKS_MAX 1024u
#define PERFETTO_DEPTH_MAX 24u

struct perfetto_slice {
    enum { SLICE_USER, SLICE_SYSCALL, SLICE_EVENT } kind;
    uint32_t value; /* of EAX at a system call; the vector */
    uint32_t delivery;
};

struct perfetto_track {
    uint32_t cr3;
    unsigned depth;
    struct perfetto_slice slices[PERFETTO_DEPTH_MAX]; /* outermost first */
};

struct perfetto {
    struct text text;
    bool begun;
    bool user;  /* the processor runs user code, as far as records tell */
    bool known; /* ... and they have told */
    struct perfetto_track *tracks;
    unsigned count;
    struct perfetto_track *current;
    bool counting;
    uint64_t origin_ns; /* when this boot began */
    uint64_t last_ns, last_counts_ns;
    uint64_t counts[8]; /* when they were last written */
};

/* 0, or -1 with `error` filled. */
int perfetto_init(struct perfetto *perfetto, struct error *error);
void perfetto_record(struct perfetto *perfetto, const struct trace_seen *seen,
                     const struct trace_names *names);
/* Rates since the last call. */
void perfetto_counters(struct perfetto *perfetto, uint64_t ns, uint64_t callouts,
                       const struct counters *counters);
/* Everything that is open ends at the last record. Another boot may follow. */
void perfetto_end(struct perfetto *perfetto);
/* The array's end. */
void perfetto_finish(struct perfetto *perfetto);
void perfetto_free(struct perfetto *perfetto);

#endif
