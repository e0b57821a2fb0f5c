/* A profile's names: samples become call chains and rows of symbols.
 *
 * Kernel code is named by the symbols. User code has none that could be known from here: it is
 * "user" and an address, by address space; where the time went is told by the page. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/profile_private.h"
#include "runtime/system.h"

#define NAMES_MIN 256u
#define PAGE_BITS 0xfffu

static uint32_t hash_name(const char *name) {
    uint32_t hash = 0x811c9dc5u;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x01000193u;
    return hash ^ hash >> 15;
}

static uint32_t *find_name(const struct name_table *table, const char *name) {
    uint32_t slots = table->room * 2;
    for (uint32_t at = hash_name(name);; at++) {
        uint32_t *slot = &table->slots[at & (slots - 1)];
        if (!*slot || !strcmp(table->names[*slot - 1], name))
            return slot;
    }
}

static bool grow_names(struct name_table *table) {
    uint32_t room = table->room ? table->room * 2 : NAMES_MIN;
    char **names = realloc(table->names, room * sizeof *names);
    uint32_t *slots = calloc((size_t)room * 2, sizeof *slots);
    if (names)
        table->names = names;
    if (!names || !slots) {
        free(slots);
        return false;
    }
    free(table->slots);
    table->slots = slots;
    table->room = room;
    for (uint32_t i = 0; i < table->count; i++)
        *find_name(table, names[i]) = i + 1;
    return true;
}

uint32_t name_table_add(struct name_table *table, const char *name) {
    if (table->count == table->room && !grow_names(table))
        return 0;
    uint32_t *slot = find_name(table, name);
    if (!*slot) {
        char *copy = strdup(name);
        if (!copy)
            return 0;
        table->names[table->count++] = copy;
        *slot = table->count;
    }
    return *slot - 1;
}

void name_table_free(struct name_table *table) {
    for (uint32_t i = 0; i < table->count; i++)
        free(table->names[i]);
    free(table->names);
    free(table->slots);
}

/* A function of the kernel, or module and address. `leaf`: where it was, not where it will return
 * to. */
static uint32_t name_code(struct profile *profile, uint32_t address, bool user, bool leaf) {
    char name[TRACE_NAME_MAX];
    struct symbol symbol;
    uint32_t offset;
    /* A call may be a function's last instruction. */
    uint32_t at = leaf ? address : address - 1;
    if (!user && trace_name(&profile->symbols, at) &&
        symbols_at(profile->symbols.symbols, at, &symbol, &offset)) {
        snprintf(name, sizeof name, "%.*s", TRACE_NAME_MAX - 1, symbol.name);
    } else {
        snprintf(name, sizeof name, "%s+0x%08x", user ? "user" : "kernel",
                 leaf ? address & ~PAGE_BITS : address);
    }
    return name_table_add(&profile->names, name);
}

static uint32_t name_root(struct profile *profile, const struct sample *sample) {
    char name[64] = "kernel";
    if (sample->cpl == 3)
        snprintf(name, sizeof name, "user cr3 %x", sample->cr3);
    return name_table_add(&profile->names, name);
}

static uint32_t name_kind(struct profile *profile, const struct sample *sample) {
    char name[64];
    if (sample->kind == SAMPLE_callout && sample->callout < CALLOUT_COUNT)
        snprintf(name, sizeof name, "[callout %s]", callout_name((enum callout_id)sample->callout));
    else
        snprintf(name, sizeof name, "[%s]", profile_kind_names[sample->kind]);
    return name_table_add(&profile->names, name);
}

static bool make_room(void **array, uint32_t count, uint32_t *room, size_t size) {
    if (count < *room)
        return true;
    uint32_t wanted = *room ? *room * 2 : 256;
    void *bigger = realloc(*array, wanted * size);
    if (!bigger)
        return false;
    *array = bigger;
    *room = wanted;
    return true;
}

static void add_stack(struct profile *profile, const struct profile_entry *entry, uint32_t leaf) {
    const struct sample *sample = &entry->sample;
    bool user = sample->cpl == 3;
    if (!make_room((void **)&profile->stacks, profile->stack_count, &profile->stack_room,
                   sizeof *profile->stacks)) {
        profile->failed = true;
        return;
    }
    struct profile_stack *stack = &profile->stacks[profile->stack_count++];
    *stack = (struct profile_stack){.weight_ns = entry->weight_ns};
    stack->names[stack->count++] = name_root(profile, sample);
    for (unsigned i = sample->frame_count; i > 0; i--)
        stack->names[stack->count++] = name_code(profile, sample->frames[i - 1], user, false);
    stack->names[stack->count++] = leaf;
    if (sample->kind != SAMPLE_guest)
        stack->names[stack->count++] = name_kind(profile, sample);
    assert(stack->count <= STACK_NAMES_MAX);
}

static void add_row(struct profile *profile, const struct profile_entry *entry, uint32_t name) {
    uint32_t at = 0;
    while (at < profile->row_count && profile->rows[at].name != name)
        at++;
    if (at == profile->row_count) {
        if (!make_room((void **)&profile->rows, profile->row_count, &profile->row_room,
                       sizeof *profile->rows)) {
            profile->failed = true;
            return;
        }
        profile->rows[profile->row_count++] = (struct profile_row){.name = name};
    }
    profile->rows[at].total_ns += entry->weight_ns;
    profile->rows[at].kinds[entry->sample.kind] += entry->weight_ns;
}

/* User code's row has the address space, too. */
static uint32_t name_row(struct profile *profile, const struct sample *sample, uint32_t leaf) {
    char name[TRACE_NAME_MAX + 32];
    if (sample->cpl != 3)
        return leaf;
    snprintf(name, sizeof name, "%s cr3 %x", profile->names.names[leaf], sample->cr3);
    return name_table_add(&profile->names, name);
}

void profile_name_entry(struct profile *profile, const struct profile_entry *entry) {
    const struct sample *sample = &entry->sample;
    assert(sample->kind < SAMPLE_KIND_COUNT);
    uint32_t leaf = name_code(profile, sample->eip, sample->cpl == 3, true);
    profile->samples += entry->count;
    profile->total_ns += entry->weight_ns;
    profile->kinds[sample->kind] += entry->weight_ns;
    if (sample->cpl == 3)
        profile->user_ns += entry->weight_ns;
    if (sample->kind == SAMPLE_callout && sample->callout < CALLOUT_COUNT)
        profile->callouts[sample->callout] += entry->weight_ns;
    add_stack(profile, entry, leaf);
    add_row(profile, entry, name_row(profile, sample, leaf));
}

static int compare_stacks(const void *left, const void *right, void *names) {
    const struct profile_stack *a = left, *b = right;
    char *const *text = names;
    for (uint32_t i = 0; i < a->count && i < b->count; i++)
        if (a->names[i] != b->names[i])
            return strcmp(text[a->names[i]], text[b->names[i]]);
    return (a->count > b->count) - (a->count < b->count);
}

static int compare_rows(const void *left, const void *right, void *names) {
    const struct profile_row *a = left, *b = right;
    char *const *text = names;
    if (a->total_ns != b->total_ns)
        return a->total_ns < b->total_ns ? 1 : -1;
    return strcmp(text[a->name], text[b->name]);
}

void profile_sort(struct profile *profile) {
    uint32_t kept = 0;
    if (profile->row_count)
        qsort_r(profile->rows, profile->row_count, sizeof *profile->rows, compare_rows,
                profile->names.names);
    if (!profile->stack_count)
        return;
    qsort_r(profile->stacks, profile->stack_count, sizeof *profile->stacks, compare_stacks,
            profile->names.names);
    for (uint32_t i = 1; i < profile->stack_count; i++) {
        if (compare_stacks(&profile->stacks[kept], &profile->stacks[i], profile->names.names))
            profile->stacks[++kept] = profile->stacks[i];
        else
            profile->stacks[kept].weight_ns += profile->stacks[i].weight_ns;
    }
    profile->stack_count = kept + 1;
}
