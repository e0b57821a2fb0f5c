/* A profile of the guest: collecting samples, and files. See profile.h. */
#include "inspect/profile.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/profile_private.h"

#define SLOTS_MIN 1024u
#define ENTRIES_MAX (1u << 20) /* kinds of samples a boot; more are counted as lost */

const char *const profile_kind_names[SAMPLE_KIND_COUNT] = {
#define KIND_NAME(id, name) [SAMPLE_##id] = (name),
    SAMPLE_KINDS(KIND_NAME)
#undef KIND_NAME
};

struct profile *profile_create(uint32_t rate, struct symbols *symbols) {
    struct profile *profile = calloc(1, sizeof *profile);
    if (!profile)
        return NULL;
    profile->rate = rate;
    profile->slot_count = SLOTS_MIN;
    profile->entries = calloc(profile->slot_count, sizeof(struct profile_entry *));
    trace_names_init(&profile->symbols, symbols);
    name_table_add(&profile->names, "");
    if (profile->entries)
        return profile;
    profile_free(profile);
    return NULL;
}

void profile_attach(struct profile *profile, const struct vcpu *v) {
    assert(!profile->v && v->sampler);
    if (profile->symbols.symbols)
        symbols_set_slide(profile->symbols.symbols, 0); /* another boot may lie elsewhere */
    trace_names_init(&profile->symbols, profile->symbols.symbols);
    profile->v = v;
}

static bool is_alike(const struct sample *a, const struct sample *b) {
    return a->eip == b->eip && a->cr3 == b->cr3 && a->kind == b->kind && a->cpl == b->cpl &&
           a->callout == b->callout && a->frame_count == b->frame_count &&
           !memcmp(a->frames, b->frames, a->frame_count * sizeof *a->frames);
}

static uint32_t hash_of(const struct sample *sample) {
    uint32_t hash =
        (sample->eip ^ sample->cr3) * 0x9e3779b1u + sample->kind * 31u + sample->callout;
    for (unsigned i = 0; i < sample->frame_count; i++)
        hash = (hash ^ sample->frames[i]) * 0x01000193u;
    return hash ^ hash >> 15;
}

/* The slot of what is alike, or the empty one where it belongs. */
static struct profile_entry **find_slot(const struct profile *profile,
                                        const struct sample *sample) {
    uint32_t at = hash_of(sample);
    for (;; at++) {
        struct profile_entry **slot = &profile->entries[at & (profile->slot_count - 1)];
        if (!*slot || is_alike(&(*slot)->sample, sample))
            return slot;
    }
}

static bool grow(struct profile *profile) {
    struct profile old = *profile;
    profile->slot_count *= 2;
    profile->entries = calloc(profile->slot_count, sizeof(struct profile_entry *));
    if (!profile->entries) {
        *profile = old;
        return false;
    }
    for (uint32_t i = 0; i < old.slot_count; i++)
        if (old.entries[i])
            *find_slot(profile, &old.entries[i]->sample) = old.entries[i];
    free(old.entries);
    return true;
}

static struct profile_entry *new_entry(struct profile *profile, const struct sample *sample) {
    size_t size =
        offsetof(struct profile_entry, sample.frames) + sample->frame_count * sizeof(uint32_t);
    if (profile->entry_count >= ENTRIES_MAX ||
        (profile->entry_count * 2 >= profile->slot_count && !grow(profile)))
        return NULL;
    struct profile_entry *entry = calloc(1, size < sizeof *entry ? sizeof *entry : size);
    if (entry) {
        memcpy(&entry->sample, sample, size - offsetof(struct profile_entry, sample));
        profile->entry_count++;
    }
    return entry;
}

static void add(struct profile *profile, const struct sample *sample) {
    struct profile_entry **slot = find_slot(profile, sample);
    if (!*slot) {
        struct profile_entry *entry = new_entry(profile, sample);
        if (!entry) {
            profile->lost++;
            return;
        }
        slot = find_slot(profile, sample); /* the table may have grown */
        *slot = entry;
    }
    (*slot)->count++;
    (*slot)->weight_ns += sample->weight_ns;
}

void profile_drain(struct profile *profile) {
    struct sample sample;
    uint32_t left = SAMPLER_SAMPLES; /* the other side may be faster */
    assert(profile->v);
    while (left-- > 0 && sampler_take(profile->v->sampler, &sample))
        add(profile, &sample);
}

void profile_detach(struct profile *profile) {
    profile_drain(profile);
    trace_names_settle(&profile->symbols, profile->v->cpu.msr.sysenter_eip);
    profile->symbols.settled |= profile->symbols.symbols != NULL; /* it is where it was linked */
    profile->lost += atomic_load(&profile->v->sampler->lost);
    profile->idle_ns += profile->v->counters->halt_ns;
    for (uint32_t i = 0; i < profile->slot_count; i++) {
        if (!profile->entries[i])
            continue;
        profile_name_entry(profile, profile->entries[i]);
        free(profile->entries[i]);
        profile->entries[i] = NULL;
    }
    profile->entry_count = 0;
    profile->v = NULL;
}

enum profile_format profile_format_of(const char *path) {
    static const char *const ends[] = {
        [PROFILE_JSON] = ".json", [PROFILE_FOLDED] = ".folded", [PROFILE_SVG] = ".svg"};
    size_t len = strlen(path);
    for (unsigned i = PROFILE_JSON; i <= PROFILE_SVG; i++)
        if (len > strlen(ends[i]) && !strcmp(path + len - strlen(ends[i]), ends[i]))
            return (enum profile_format)i;
    return PROFILE_TEXT;
}

int profile_write(struct profile *profile, const char *path, struct error *error) {
    static void (*const put[])(struct text *, const struct profile *) = {
        [PROFILE_TEXT] = profile_put_text,
        [PROFILE_JSON] = profile_put_json,
        [PROFILE_FOLDED] = profile_put_folded,
        [PROFILE_SVG] = profile_put_flame_graph,
    };
    struct text text = {0};
    bool standard = !strcmp(path, "-");
    FILE *out = standard ? stderr : fopen(path, "we");
    if (!out)
        return error_set(error, "--profile '%s': %s", path, strerror(errno));
    profile_sort(profile);
    put[profile_format_of(path)](&text, profile);
    bool done = text_write(&text, out) && !profile->failed;
    int saved = errno;
    text_free(&text);
    if (!standard && fclose(out)) {
        saved = errno;
        done = false;
    }
    return done ? 0
                : error_set(error, "--profile '%s': %s", path,
                            profile->failed ? "out of memory" : strerror(saved));
}

void profile_free(struct profile *profile) {
    for (uint32_t i = 0; profile->entries && i < profile->slot_count; i++)
        free(profile->entries[i]);
    free(profile->entries);
    free(profile->stacks);
    free(profile->rows);
    name_table_free(&profile->names);
    trace_names_free(&profile->symbols);
    free(profile);
}
