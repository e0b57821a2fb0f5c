/* Looks whether traces and profiles are what they should be; one line for the first thing that is
 * not.
 *
 *   check_trace log FILE STATS      JSON lines; how many there are of each event is what
 * --stats=json counted check_trace filtered FILE START END CPL   ... all from these addresses and
 * this level check_trace perfetto FILE       Chrome trace events check_trace profile FILE        a
 * profile of tests/trace/busy.c as JSON */
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACKS_MAX 2000

static _Noreturn void wrong(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    exit(1);
}

static json_t *load(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root)
        wrong("%s: line %d: %s", path, error.line, error.text);
    return root;
}

static const char *string_of(json_t *object, const char *name) {
    const char *value = json_string_value(json_object_get(object, name));
    if (!value)
        wrong("no string '%s'", name);
    return value;
}

static double number_of(json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    if (!json_is_number(value))
        wrong("no number '%s'", name);
    return json_number_value(value);
}

static uint32_t hex_of(json_t *object, const char *name) {
    const char *text = string_of(object, name);
    char *end;
    unsigned long long value = strtoull(text, &end, 16);
    if (strncmp(text, "0x", 2) || *end || value > UINT32_MAX)
        wrong("'%s' of '%s' is no address", text, name);
    return (uint32_t)value;
}

typedef void (*record_fn)(json_t *record, void *opaque);

/* Every line of the file is one object with all that records have. Returns how many. */
static unsigned each_record(const char *path, record_fn look, void *opaque) {
    FILE *file = fopen(path, "r");
    char line[4096];
    double last = 0;
    unsigned count = 0;
    if (!file)
        wrong("%s cannot be opened", path);
    while (fgets(line, sizeof line, file)) {
        json_error_t error;
        json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, &error);
        if (!record)
            wrong("line %u: %s: %s", count + 1, error.text, line);
        if (number_of(record, "time") < last)
            wrong("line %u: time goes backwards", count + 1);
        last = number_of(record, "time");
        string_of(record, "channel");
        hex_of(record, "eip");
        hex_of(record, "cr3");
        if (number_of(record, "tsc") <= 0 || number_of(record, "cpl") > 3)
            wrong("line %u: no such time or level", count + 1);
        if (!json_is_object(json_object_get(record, "args")))
            wrong("line %u: no arguments", count + 1);
        look(record, opaque);
        json_decref(record);
        count++;
    }
    fclose(file);
    return count;
}

static void count_event(json_t *record, void *opaque) {
    json_t *counts = opaque;
    const char *event = string_of(record, "event");
    json_int_t before = json_integer_value(json_object_get(counts, event));
    json_object_set_new(counts, event, json_integer(before + 1));
}

static json_int_t sum_of(json_t *object) {
    json_int_t sum = 0;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) sum += json_integer_value(value);
    return sum;
}

/* Nothing is lost: what was counted was traced. */
static int check_log(const char *path, const char *stats_path) {
    json_t *stats = load(stats_path), *counters = json_object_get(stats, "counters");
    json_t *counts = json_object();
    const struct {
        const char *event, *counter;
    } rows[] = {
        {"translate", "fragments"},  {"link", "links_made"},          {"unlink", "links_undone"},
        {"load_cr3", "flush_cr3"},   {"invlpg", "flush_page"},        {"interrupt", "interrupts"},
        {"port_read", "port_reads"}, {"port_write", "port_writes"},   {"one_shot", "one_shots"},
        {"paging", "flush_all"},     {"empty_cache", "cache_flushes"}, {"evict_part", "parts_evicted"}};
    printf("%u records\n", each_record(path, count_event, counts));
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_int_t traced = json_integer_value(json_object_get(counts, rows[i].event));
        json_int_t counted = json_integer_value(json_object_get(counters, rows[i].counter));
        if (traced != counted)
            wrong("%s: %lld records, but %s is %lld", rows[i].event, (long long)traced,
                  rows[i].counter, (long long)counted);
    }
    json_int_t callouts = sum_of(json_object_get(stats, "callouts"));
    json_int_t traced = json_integer_value(json_object_get(counts, "callout"));
    if (callouts != traced || !callouts)
        wrong("%lld callouts, %lld traced", (long long)callouts, (long long)traced);
    json_decref(stats);
    json_decref(counts);
    return 0;
}

struct wanted {
    uint32_t start, end, cpl;
};

static void check_place(json_t *record, void *opaque) {
    const struct wanted *wanted = opaque;
    uint32_t eip = hex_of(record, "eip");
    if (eip < wanted->start || eip > wanted->end ||
        (uint32_t)number_of(record, "cpl") != wanted->cpl)
        wrong("a record from %x at level %g", eip, number_of(record, "cpl"));
}

struct track {
    bool named;
    unsigned depth, slices;
};

static struct track tracks[TRACKS_MAX];

static struct track *track_of(json_t *event) {
    double pid = number_of(event, "pid");
    if (pid < 0 || pid >= TRACKS_MAX || number_of(event, "tid") != pid)
        wrong("no such track: %g", pid);
    return &tracks[(unsigned)pid];
}

static void check_slice(json_t *event, struct track *track, bool begins) {
    if (begins) {
        string_of(event, "name");
        string_of(event, "cat");
        track->depth++;
        track->slices++;
    } else if (!track->depth--) {
        wrong("an end without a beginning at %g", number_of(event, "ts"));
    }
}

/* Metadata, slices, instants, counters; returns which of them it is. */
static char check_event(json_t *event) {
    const char *phase = string_of(event, "ph");
    struct track *track = track_of(event);
    switch (phase[0]) {
    case 'M':
        string_of(json_object_get(event, "args"), "name");
        track->named = true;
        break;
    case 'B':
    case 'E':
        check_slice(event, track, phase[0] == 'B');
        break;
    case 'i':
        string_of(event, "name");
        if (strcmp(string_of(event, "s"), "t") != 0)
            wrong("an instant of no track");
        break;
    case 'C':
        string_of(event, "name");
        number_of(json_object_get(event, "args"), "value");
        break;
    default:
        wrong("an event of phase '%s'", phase);
    }
    if (!track->named)
        wrong("a track without a name");
    return phase[0];
}

static int check_perfetto(const char *path) {
    json_t *root = load(path), *event;
    size_t index;
    double last = 0;
    unsigned counts[128] = {0};
    if (!json_is_array(root))
        wrong("no array of events");
    json_array_foreach(root, index, event) {
        if (number_of(event, "ts") < last)
            wrong("event %zu: time goes backwards", index);
        last = number_of(event, "ts");
        counts[(unsigned char)check_event(event)]++;
    }
    for (unsigned i = 0; i < TRACKS_MAX; i++)
        if (tracks[i].depth)
            wrong("track %u: %u slices without an end", i, tracks[i].depth);
    printf("%u slices, %u instants, %u counters\n", counts['B'], counts['i'], counts['C']);
    if (!counts['B'] || !counts['i'] || !counts['C'] || counts['B'] != counts['E'])
        wrong("not all kinds of events are there");
    json_decref(root);
    return 0;
}

/* The row with this name, or whose name begins with it. */
static json_t *row_of(json_t *symbols, const char *name) {
    json_t *row;
    size_t index;
    json_array_foreach(symbols, index, row) {
        if (!strncmp(string_of(row, "name"), name, strlen(name)))
            return row;
    }
    wrong("%s is in no row", name);
}

static double share(json_t *row, const char *kind, double total) {
    return number_of(json_object_get(row, "kinds"), kind) / total;
}

static bool has_chain(json_t *stacks, const char *const *names, size_t count) {
    json_t *stack;
    size_t index;
    json_array_foreach(stacks, index, stack) {
        json_t *frames = json_object_get(stack, "frames");
        size_t size = json_array_size(frames), i = 0;
        for (size_t k = 0; k < size && i < count; k++)
            i += !strcmp(json_string_value(json_array_get(frames, k)), names[i]);
        if (i == count)
            return true;
    }
    return false;
}

static int check_profile(const char *path) {
    static const char *const spinning[] = {"kernel", "guest_main", "work", "spin"};
    static const char *const asking[] = {"kernel", "guest_main", "work", "ask", "[callout cpuid]"};
    json_t *root = load(path), *symbols = json_object_get(root, "symbols");
    json_t *stacks = json_object_get(root, "stacks"), *row;
    double total = number_of(root, "ns"), kinds = (double)sum_of(json_object_get(root, "kinds"));
    double rows = 0;
    size_t index;
    json_array_foreach(symbols, index, row) rows += number_of(row, "ns");
    if (kinds != total || rows != total)
        wrong("the parts are not the whole: %g %g %g", kinds, rows, total);
    if (share(row_of(symbols, "spin"), "guest", total) < 0.05)
        wrong("spin has too little of guest code");
    if (share(row_of(symbols, "ask"), "callout", total) < 0.05)
        wrong("ask has too little of callouts");
    if (share(row_of(symbols, "touch"), "hidden_fault", total) < 0.005)
        wrong("touch has too little of hidden faults");
    if (share(row_of(symbols, "user+0x40000000 cr3 "), "guest", total) < 0.05)
        wrong("user code has too little");
    if (number_of(json_object_get(root, "callouts"), "cpuid") < 0.05 * total)
        wrong("CPUID has too little of callouts");
    if (!has_chain(stacks, spinning, 4) || !has_chain(stacks, asking, 5))
        wrong("a call chain is not there");
    printf("%g samples\n", number_of(root, "samples"));
    json_decref(root);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "log"))
        return check_log(argv[2], argv[3]);
    if (argc == 6 && !strcmp(argv[1], "filtered")) {
        struct wanted wanted = {(uint32_t)strtoul(argv[3], NULL, 16),
                                (uint32_t)strtoul(argv[4], NULL, 16),
                                (uint32_t)strtoul(argv[5], NULL, 10)};
        if (!each_record(argv[2], check_place, &wanted))
            wrong("no records");
        return 0;
    }
    if (argc == 3 && !strcmp(argv[1], "perfetto"))
        return check_perfetto(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "profile"))
        return check_profile(argv[2]);
    wrong("usage: see the source");
}
