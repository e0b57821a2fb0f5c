/* Reading trace records: the ring's other side, and what the numbers in them are called.
 *
 * The process that fills the ring runs the guest, so nothing in the ring is believed: where it lies
 * and how large it is is remembered from before the fork, indices are reduced, and a record of an
 * event that does not exist is damaged. */
#ifndef RING3_INSPECT_TRACE_READER_H
#define RING3_INSPECT_TRACE_READER_H

#include <stddef.h>

#include "base/clock.h"
#include "base/trace.h"
#include "inspect/symbols.h"

/* What addresses in guest code are called. Where a kernel lies is known for certain only when it
 * has said so (symbols_slide_from_sysenter): names of one that may lie elsewhere than it was linked
 * wait for that. */
struct trace_names {
    struct symbols *symbols; /* NULL: none */
    bool settled;
    struct trace_known *known; /* addresses looked up before; NULL: not kept */
};
#define TRACE_NAME_MAX 160

/* `names` has been all zeros before, or was initialised and is now once more. */
void trace_names_init(struct trace_names *names, struct symbols *symbols);
void trace_names_free(struct trace_names *names);
/* Looks whether the kernel has said by now where it lies. True: it has, and this is news. */
bool trace_names_settle(struct trace_names *names, uint32_t sysenter_eip);
/* "schedule+0x12", until the next call; NULL: no name. `names` may be NULL. */
const char *trace_name(const struct trace_names *names, uint64_t address);

struct trace_reader {
    struct trace *trace;
    struct trace_record *records;
    uint64_t capacity;
    uint64_t next; /* record to be read */
    bool overwrite;
    uint64_t tsc_base, ns_mult; /* of the machine's clock when it was started */
    uint64_t last_ns;           /* time never goes backwards between records */
    uint64_t lost, damaged;     /* since the reader was made */
};

/* A record as it was copied, once; `ns` since the machine was started. */
struct trace_seen {
    enum trace_event event;
    uint64_t tsc, ns;
    uint32_t eip, cr3;
    unsigned cpl;
    uint64_t args[TRACE_ARGS_MAX];
};

/* Before the fork. */
void trace_reader_init(struct trace_reader *reader, struct trace *trace, const struct clock *clock);
/* How many records there are to be read now. */
uint64_t trace_reader_waiting(struct trace_reader *reader);
/* The next one; false: there is none, or it is damaged. */
bool trace_reader_next(struct trace_reader *reader, struct trace_seen *seen);
/* What is there now as it lies in the ring, up to the ring's end, unchecked; to be passed over when
 * done with. */
uint64_t trace_reader_raw(struct trace_reader *reader, const struct trace_record **records);
void trace_reader_pass(struct trace_reader *reader, uint64_t count);
/* The same of a record from elsewhere. */
bool trace_reader_see(struct trace_reader *reader, const struct trace_record *record,
                      struct trace_seen *seen);
uint64_t trace_reader_ns(const struct trace_reader *reader, uint64_t tsc);

enum trace_kind {
    TRACE_DECIMAL,
    TRACE_HEX,
    TRACE_CODE, /* an address that may have a symbol */
    TRACE_CALLOUT,
    TRACE_LEAVE,
    TRACE_VECTOR,
    TRACE_DELIVERY,
};

/* An event's row, taken apart: `before` is the text in front of the argument. */
struct trace_argument {
    const char *before, *name;
    unsigned before_len, name_len;
    enum trace_kind kind;
};
struct trace_form {
    const char *name;
    unsigned count;
    struct trace_argument args[TRACE_ARGS_MAX];
    const char *after;
};
const struct trace_form *trace_form_of(enum trace_event event);
/* What a value of such a kind is called, or NULL: it is a number. */
const char *trace_word(enum trace_kind kind, uint64_t value);
const char *trace_vector_name(uint64_t vector); /* "#PF", or NULL */

#endif
