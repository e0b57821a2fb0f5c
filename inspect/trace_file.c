/* Binary logs: see trace_file.h. */
#include "inspect/trace_file.h"

#include <string.h>

static uint32_t add(uint32_t hash, const char *text) {
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * 0x01000193u;
    return hash;
}

uint32_t trace_file_layout(void) {
    uint32_t hash = 0x811c9dc5u;
#define LAYOUT_ADD(id, channel, text) hash = add(add(hash, #id), text);
    TRACE_EVENTS(LAYOUT_ADD)
#undef LAYOUT_ADD
    return hash;
}

struct trace_file_head trace_file_head_of(const struct trace_reader *reader, uint64_t tsc_offset) {
    struct trace_file_head head = {.layout = trace_file_layout(),
                                   .tsc_base = reader->tsc_base,
                                   .ns_mult = reader->ns_mult,
                                   .tsc_offset = tsc_offset};
    memcpy(head.magic, TRACE_FILE_MAGIC, sizeof head.magic);
    return head;
}
