/* Trace channels, the printing side: monitor process only.
 *
 * The process that fills the ring runs the guest, so its records are not believed: a string must
 * lie inside this program's image, and only the conversions that trace.h allows are carried
 * out; everything else in a format is printed as it stands. */
#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SPEC_MAX 16

/* The program's image, from the linker. */
extern const char __executable_start[], _end[];

static bool is_literal(uint64_t address) {
    return address >= (uintptr_t)__executable_start && address < (uintptr_t)_end;
}

/* Length of an allowed conversion at `text` (which points at a '%'), or 0. `*kind` is its last
 * character. Flags and width as in printf, then l or ll and an integer conversion, or s. */
static size_t conversion_length(const char *text, char *kind) {
    size_t len = 1 + strspn(text + 1, "-+ #0123456789");
    size_t longs = strspn(text + len, "l");
    len += longs;
    *kind = text[len];
    bool integer = (longs == 1 || longs == 2) && *kind && strchr("diuxXo", *kind);
    bool string = longs == 0 && *kind == 's';
    return (integer || string) && len + 1 < SPEC_MAX ? len + 1 : 0;
}

static void print_argument(FILE *out, const char *spec, char kind, uint64_t value) {
    if (kind != 's')
        fprintf(out, spec, (unsigned long long)value); /* long and long long are alike here */
    else
        fprintf(out, spec, is_literal(value) ? (const char *)(uintptr_t)value : "(?)");
}

static void print_record(FILE *out, const struct trace_record *record) {
    if (record->channel >= TRACE_CHANNEL_COUNT || !is_literal((uintptr_t)record->format)) {
        fputs("trace: damaged record\n", out);
        return;
    }
    fprintf(out, "%s: ", trace_channel_name((enum trace_channel)record->channel));
    unsigned next = 0;
    for (const char *text = record->format; *text;) {
        char kind, spec[SPEC_MAX];
        size_t len = *text == '%' ? conversion_length(text, &kind) : 0;
        if (len != 0 && next < sizeof record->args / sizeof record->args[0]) {
            memcpy(spec, text, len);
            spec[len] = '\0';
            print_argument(out, spec, kind, record->args[next++]);
            text += len;
        } else {
            text += text[0] == '%' && text[1] == '%';
            fputc(*text++, out);
        }
    }
    fputc('\n', out);
}

/* What is there when it begins, and no more: the other side may be faster than any terminal. */
void trace_drain(struct trace *trace, void *out) {
    struct trace_record record;
    char *text = NULL;
    size_t size = 0;
    FILE *lines = open_memstream(&text, &size);
    if (!lines)
        return;
    for (uint32_t left = ring_used(&trace->ring) / (uint32_t)sizeof record; left > 0; left--) {
        ring_read(&trace->ring, &record, sizeof record);
        print_record(lines, &record);
    }
    uint32_t lost = atomic_exchange(&trace->lost, 0);
    if (lost != 0)
        fprintf(lines, "trace: %lu records lost\n", (unsigned long)lost);
    fclose(lines);
    fwrite(text, 1, size, out);
    fflush(out);
    free(text);
}
