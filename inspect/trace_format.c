/* One trace record as a line: see trace_format.h. */
#include "inspect/trace_format.h"

static void put_value(struct text *text, enum trace_kind kind, uint64_t value,
                      const struct trace_names *names) {
    const char *name;
    const char *word = trace_word(kind, value);
    if (word)
        text_string(text, word);
    else if (kind == TRACE_DECIMAL)
        text_decimal(text, value);
    else
        text_hex(text, value, 1);
    if (kind == TRACE_CODE && (name = trace_name(names, value))) {
        text_char(text, ' ');
        text_string(text, name);
    }
}

void trace_format_text(struct text *text, const struct trace_seen *seen,
                       const struct trace_names *names) {
    const struct trace_form *form = trace_form_of(seen->event);
    const char *name;
    text_string(text, trace_channel_name(trace_event_channel(seen->event)));
    text_string(text, ": ");
    for (unsigned i = 0; i < form->count; i++) {
        text_put(text, form->args[i].before, form->args[i].before_len);
        put_value(text, form->args[i].kind, seen->args[i], names);
    }
    text_string(text, form->after);
    text_string(text, " | ");
    text_hex(text, seen->eip, 8);
    if ((name = trace_name(names, seen->eip))) {
        text_char(text, ' ');
        text_string(text, name);
    }
    text_string(text, " cpl ");
    text_decimal(text, seen->cpl);
    text_string(text, " cr3 ");
    text_hex(text, seen->cr3, 1);
    text_string(text, " | ");
    text_seconds(text, seen->ns);
    text_char(text, '\n');
}

static void put_hex_string(struct text *text, uint64_t value) {
    text_string(text, "\"0x");
    text_hex(text, value, 1);
    text_char(text, '"');
}

static void put_json_value(struct text *text, enum trace_kind kind, uint64_t value) {
    const char *word = trace_word(kind, value);
    if (word)
        text_json(text, word);
    else if (kind == TRACE_DECIMAL)
        text_decimal(text, value);
    else
        put_hex_string(text, value);
}

void trace_format_args(struct text *text, const struct trace_seen *seen,
                       const struct trace_names *names) {
    const struct trace_form *form = trace_form_of(seen->event);
    const char *name;
    text_char(text, '{');
    for (unsigned i = 0; i < form->count; i++) {
        const struct trace_argument *arg = &form->args[i];
        text_string(text, i ? ",\"" : "\"");
        text_put(text, arg->name, arg->name_len);
        text_string(text, "\":");
        put_json_value(text, arg->kind, seen->args[i]);
        if (arg->kind == TRACE_CODE && (name = trace_name(names, seen->args[i]))) {
            text_string(text, ",\"");
            text_put(text, arg->name, arg->name_len);
            text_string(text, "_symbol\":");
            text_json(text, name);
        }
    }
    text_char(text, '}');
}

void trace_format_json(struct text *text, const struct trace_seen *seen, uint64_t guest_tsc,
                       const struct trace_names *names) {
    const char *name;
    text_string(text, "{\"time\":");
    text_seconds(text, seen->ns);
    text_string(text, ",\"tsc\":");
    text_decimal(text, guest_tsc);
    text_string(text, ",\"channel\":");
    text_json(text, trace_channel_name(trace_event_channel(seen->event)));
    text_string(text, ",\"event\":");
    text_json(text, trace_form_of(seen->event)->name);
    text_string(text, ",\"eip\":");
    put_hex_string(text, seen->eip);
    if ((name = trace_name(names, seen->eip))) {
        text_string(text, ",\"symbol\":");
        text_json(text, name);
    }
    text_string(text, ",\"cpl\":");
    text_decimal(text, seen->cpl);
    text_string(text, ",\"cr3\":");
    put_hex_string(text, seen->cr3);
    text_string(text, ",\"args\":");
    trace_format_args(text, seen, names);
    text_string(text, "}\n");
}
