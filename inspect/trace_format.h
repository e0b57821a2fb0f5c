/* One trace record as a line: for people, or as a JSON object. */
#ifndef RING3_INSPECT_TRACE_FORMAT_H
#define RING3_INSPECT_TRACE_FORMAT_H

#include "inspect/text.h"
#include "inspect/trace_reader.h"

/* channel: what happened | address [symbol] cpl N cr3 X | seconds */
void trace_format_text(struct text *text, const struct trace_seen *seen,
                       const struct trace_names *names);
/* Numbers that are written in hexadecimal become strings; others, and times, stay numbers. */
void trace_format_json(struct text *text, const struct trace_seen *seen, uint64_t guest_tsc,
                       const struct trace_names *names);
/* The arguments alone, as a JSON object. */
void trace_format_args(struct text *text, const struct trace_seen *seen,
                       const struct trace_names *names);

#endif
