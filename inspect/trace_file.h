/* A binary log: trace records as they lie in the ring, for when there are too many to be formatted
 * while the guest runs. `ring3 trace FILE` formats them later.
 *
 * A head, then records. Where the kernel lies is said by a record of its own (TRACE_FILE_SLIDE) as
 * soon as it is known; a new boot begins with a head again. Read by the same version of ring3 that
 * wrote it. */
#ifndef RING3_INSPECT_TRACE_FILE_H
#define RING3_INSPECT_TRACE_FILE_H

#include "inspect/trace_reader.h"

#define TRACE_FILE_MAGIC "ring3trc"
#define TRACE_FILE_SLIDE 0x10000u /* the event of a record whose first argument is the slide */

struct trace_file_head {
    char magic[8];
    uint32_t layout; /* of the events: trace_file_layout() */
    uint32_t unused;
    uint64_t tsc_base, ns_mult;
    uint64_t tsc_offset; /* the guest's TSC is that much ahead of the records' */
    uint64_t padding[3];
};
_Static_assert(sizeof(struct trace_file_head) == sizeof(struct trace_record),
               "one after the other");

/* A number that changes when events or their arguments do. */
uint32_t trace_file_layout(void);
struct trace_file_head trace_file_head_of(const struct trace_reader *reader, uint64_t tsc_offset);

#endif
