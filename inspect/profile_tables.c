/* A profile as tables: text for people, JSON, and folded stacks for other tools. */
#include <string.h>

#include "inspect/profile_private.h"
#include "runtime/system.h"

#define TEXT_ROWS_MAX 60u
#define NAME_WIDTH 44u

/* "12.3" of a hundred, right-aligned; nothing that is not there. */
static void put_percent(struct text *text, uint64_t part, uint64_t whole, unsigned width) {
    char cell[32];
    uint64_t tenths = whole ? (part * 1000 + whole / 2) / whole : 0;
    int len = part ? snprintf(cell, sizeof cell, "%llu.%llu", (unsigned long long)(tenths / 10),
                              (unsigned long long)(tenths % 10))
                   : snprintf(cell, sizeof cell, "-");
    for (int i = len; i < (int)width; i++)
        text_char(text, ' ');
    text_put(text, cell, (size_t)len);
}

static void put_padded(struct text *text, const char *name, unsigned width) {
    size_t len = strlen(name);
    text_put(text, name, len);
    while (len++ < width)
        text_char(text, ' ');
}

static void put_summary(struct text *text, const struct profile *profile) {
    text_string(text, "profile: ");
    text_decimal(text, profile->samples);
    text_string(text, " samples at ");
    text_decimal(text, profile->rate);
    text_string(text, " a second, ");
    text_seconds(text, profile->total_ns);
    text_string(text, " s of processor time, ");
    text_seconds(text, profile->idle_ns);
    text_string(text, " s idle, ");
    text_decimal(text, profile->lost);
    text_string(text, " samples lost\n");
}

static void put_kinds(struct text *text, const struct profile *profile) {
    text_string(text, "\n   %  what ran\n");
    for (unsigned i = 0; i < SAMPLE_KIND_COUNT; i++) {
        put_percent(text, profile->kinds[i], profile->total_ns, 6);
        text_string(text, "  ");
        text_string(text, profile_kind_names[i]);
        text_char(text, '\n');
    }
    put_percent(text, profile->user_ns, profile->total_ns, 6);
    text_string(text, "  for user code, of all of these\n\n   %  callout\n");
    for (unsigned i = 0; i < CALLOUT_COUNT; i++) {
        if (!profile->callouts[i])
            continue;
        put_percent(text, profile->callouts[i], profile->total_ns, 6);
        text_string(text, "  ");
        text_string(text, callout_name((enum callout_id)i));
        text_char(text, '\n');
    }
}

void profile_put_text(struct text *text, const struct profile *profile) {
    static const char *const heads[SAMPLE_KIND_COUNT] = {
        [SAMPLE_guest] = "guest",         [SAMPLE_callout] = "callout",
        [SAMPLE_hidden_fault] = "hidden", [SAMPLE_true_fault] = "true",
        [SAMPLE_translation] = "transl.", [SAMPLE_dispatch] = "loop"};
    put_summary(text, profile);
    put_kinds(text, profile);
    text_string(text, "\n   %  ");
    put_padded(text, "symbol", NAME_WIDTH);
    for (unsigned i = 0; i < SAMPLE_KIND_COUNT; i++)
        for (size_t k = 0; k < 8; k++)
            text_char(text, k < 8 - strlen(heads[i]) ? ' ' : heads[i][k - (8 - strlen(heads[i]))]);
    text_char(text, '\n');
    for (uint32_t i = 0; i < profile->row_count && i < TEXT_ROWS_MAX; i++) {
        const struct profile_row *row = &profile->rows[i];
        put_percent(text, row->total_ns, profile->total_ns, 6);
        text_string(text, "  ");
        put_padded(text, profile->names.names[row->name], NAME_WIDTH);
        for (unsigned k = 0; k < SAMPLE_KIND_COUNT; k++)
            put_percent(text, row->kinds[k], profile->total_ns, 8);
        text_char(text, '\n');
    }
    if (profile->row_count > TEXT_ROWS_MAX) {
        text_string(text, "        and ");
        text_decimal(text, profile->row_count - TEXT_ROWS_MAX);
        text_string(text, " more\n");
    }
}

static void put_member(struct text *text, const char *name, uint64_t value, const char *behind) {
    text_json(text, name);
    text_char(text, ':');
    text_decimal(text, value);
    text_string(text, behind);
}

/* {"guest":1, ...}: identifiers, not the names for people. */
static void put_json_kinds(struct text *text, const uint64_t kinds[SAMPLE_KIND_COUNT]) {
    static const char *const ids[] = {
#define KIND_ID(id, name) #id,
        SAMPLE_KINDS(KIND_ID)
#undef KIND_ID
    };
    text_char(text, '{');
    for (unsigned i = 0; i < SAMPLE_KIND_COUNT; i++)
        put_member(text, ids[i], kinds[i], i + 1 < SAMPLE_KIND_COUNT ? "," : "}");
}

static void put_json_rows(struct text *text, const struct profile *profile) {
    for (uint32_t i = 0; i < profile->row_count; i++) {
        text_string(text, i ? ",\n{\"name\":" : "\n{\"name\":");
        text_json(text, profile->names.names[profile->rows[i].name]);
        text_char(text, ',');
        put_member(text, "ns", profile->rows[i].total_ns, ",\"kinds\":");
        put_json_kinds(text, profile->rows[i].kinds);
        text_char(text, '}');
    }
}

static void put_json_stacks(struct text *text, const struct profile *profile) {
    for (uint32_t i = 0; i < profile->stack_count; i++) {
        const struct profile_stack *stack = &profile->stacks[i];
        text_string(text, i ? ",\n{" : "\n{");
        put_member(text, "ns", stack->weight_ns, ",\"frames\":[");
        for (uint32_t k = 0; k < stack->count; k++) {
            text_string(text, k ? "," : "");
            text_json(text, profile->names.names[stack->names[k]]);
        }
        text_string(text, "]}");
    }
}

void profile_put_json(struct text *text, const struct profile *profile) {
    bool first = true;
    text_char(text, '{');
    put_member(text, "rate", profile->rate, ",");
    put_member(text, "samples", profile->samples, ",");
    put_member(text, "lost", profile->lost, ",");
    put_member(text, "ns", profile->total_ns, ",");
    put_member(text, "idle_ns", profile->idle_ns, ",");
    put_member(text, "user_ns", profile->user_ns, ",\n\"kinds\":");
    put_json_kinds(text, profile->kinds);
    text_string(text, ",\n\"callouts\":{");
    for (unsigned i = 0; i < CALLOUT_COUNT; i++) {
        if (!profile->callouts[i])
            continue;
        text_string(text, first ? "" : ",");
        put_member(text, callout_name((enum callout_id)i), profile->callouts[i], "");
        first = false;
    }
    text_string(text, "},\n\"symbols\":[");
    put_json_rows(text, profile);
    text_string(text, "],\n\"stacks\":[");
    put_json_stacks(text, profile);
    text_string(text, "]}\n");
}

/* outermost;...;innermost MICROSECONDS */
void profile_put_folded(struct text *text, const struct profile *profile) {
    for (uint32_t i = 0; i < profile->stack_count; i++) {
        const struct profile_stack *stack = &profile->stacks[i];
        for (uint32_t k = 0; k < stack->count; k++) {
            text_string(text, k ? ";" : "");
            text_string(text, profile->names.names[stack->names[k]]);
        }
        text_char(text, ' ');
        text_decimal(text, (stack->weight_ns + 500) / 1000);
        text_char(text, '\n');
    }
}
