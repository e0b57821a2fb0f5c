/* The parts of a profile: collecting (profile.c), naming (profile_names.c), tables
 * (profile_tables.c), flame graph (flame_graph.c). */
#ifndef RING3_INSPECT_PROFILE_PRIVATE_H
#define RING3_INSPECT_PROFILE_PRIVATE_H

#include "inspect/profile.h"
#include "inspect/text.h"
#include "inspect/trace_reader.h"
#include "runtime/sampler.h"
#include "translator/callouts.h"

/* Samples that look alike. */
struct profile_entry {
    uint64_t weight_ns, count;
    struct sample sample; /* of the first; its frames are cut off behind frame_count */
};

/* Strings by number, each once. */
struct name_table {
    char **names;
    uint32_t *slots; /* number + 1; a power of two of them */
    uint32_t count, room;
};

/* A call chain by names, outermost first; the last may be what ran instead of guest code. */
#define STACK_NAMES_MAX (SAMPLE_FRAMES_MAX + 4)
struct profile_stack {
    uint64_t weight_ns;
    uint32_t count;
    uint32_t names[STACK_NAMES_MAX];
};

/* Where the guest was when it happened. */
struct profile_row {
    uint32_t name;
    uint64_t total_ns, kinds[SAMPLE_KIND_COUNT];
};

struct profile {
    uint32_t rate;
    const struct vcpu *v; /* of the machine that it is attached to */
    struct trace_names symbols;
    struct profile_entry **entries; /* hash table of this boot */
    uint32_t entry_count, slot_count;
    struct name_table names;
    struct profile_stack *stacks; /* of all boots that have ended */
    uint32_t stack_count, stack_room;
    struct profile_row *rows;
    uint32_t row_count, row_room;
    uint64_t samples, lost, idle_ns, total_ns;
    uint64_t kinds[SAMPLE_KIND_COUNT], user_ns, callouts[CALLOUT_COUNT];
    bool failed; /* memory ran out */
};

extern const char *const profile_kind_names[SAMPLE_KIND_COUNT];

/* The name's number; 0 (an empty name) when memory ran out. */
uint32_t name_table_add(struct name_table *table, const char *name);
void name_table_free(struct name_table *table);
/* The entry goes into stacks and rows. */
void profile_name_entry(struct profile *profile, const struct profile_entry *entry);
/* Stacks sorted by their names, alike ones joined; rows by weight. */
void profile_sort(struct profile *profile);

void profile_put_text(struct text *text, const struct profile *profile);
void profile_put_json(struct text *text, const struct profile *profile);
void profile_put_folded(struct text *text, const struct profile *profile);
void profile_put_flame_graph(struct text *text, const struct profile *profile);

#endif
