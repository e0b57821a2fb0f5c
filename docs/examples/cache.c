/* A plugin: a simulated cache, two levels, set-associative, least recently used.
 *
 *   ring3 run ... --plugin cache.so[,l1i=SIZE:WAYS:LINE][,l1d=...][,l2=...][,data=START-END]
 *                                  [,code=off][,out=FILE]
 *
 * Sizes in bytes, K or M may follow. Every instruction and memory operand goes through L1I or L1D
 * and, where it misses, through L2, which both share; by physical address. With data=START-END
 * (linear, hexadecimal) only data between these addresses counts. At the end a line for each cache:
 *
 *   l1d: 45146 accesses, 2394 misses, 94.70 % hits
 *
 * This is slow: a call for each instruction. Prefetching, page walks and what the processor reads
 * on its own are not simulated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring3/plugin.h"

RING3_PLUGIN();

enum { L1I, L1D, L2, CACHES };

struct cache {
    const char *name;
    uint64_t size, ways, line;
    uint64_t sets;
    uint64_t *tags; /* of a line, + 1; 0: empty. The first of a set was used last */
    uint64_t accesses, misses;
};

static struct cache caches[CACHES] = {
    {.name = "l1i", .size = 32768, .ways = 8, .line = 64},
    {.name = "l1d", .size = 32768, .ways = 8, .line = 64},
    {.name = "l2", .size = 262144, .ways = 8, .line = 64},
};
static const struct ring3_api *api;
static ring3_handle out = RING3_STDERR;
static uint64_t data_start, data_end = UINT32_MAX;
static int code = 1;

/* True: the line was there. It is the set's first now. */
static int touch(struct cache *c, uint64_t line) {
    uint64_t *set = c->tags + line % c->sets * c->ways, tag = line + 1;
    uint64_t at = 0;
    c->accesses++;
    while (at < c->ways - 1 && set[at] != tag)
        at++;
    int hit = set[at] == tag;
    memmove(set + 1, set, at * sizeof *set);
    set[0] = tag;
    c->misses += !hit;
    return hit;
}

/* An access of the first level, line by line; what misses goes on to the second. */
static void access_bytes(struct cache *first, uint64_t address, uint64_t size) {
    uint64_t physical;
    for (uint64_t at = address, end = address + (size ? size : 1); at < end;) {
        if (api->find_physical((uint32_t)at, &physical) != RING3_OK)
            return; /* it will fault, and be made again */
        if (!touch(first, physical / first->line))
            touch(&caches[L2], physical / caches[L2].line);
        at = (at / first->line + 1) * first->line;
    }
}

/* The instruction's length stands where its callback finds it. */
static void on_execute(void *opaque, const struct ring3_event *event) {
    access_bytes(&caches[L1I], event->execute.address, (uintptr_t)opaque);
}

static void on_memory(void *opaque, const struct ring3_event *event) {
    const struct ring3_memory *m = &event->memory;
    (void)opaque;
    for (uint64_t i = 0; i < m->count; i++) {
        uint64_t address = (uint32_t)(m->address + i * m->step);
        if (address >= data_start && address <= data_end)
            access_bytes(&caches[L1D], address, m->size);
    }
}

static void on_translate(void *opaque, const struct ring3_event *event) {
    struct ring3_insn insn = {.size = sizeof insn};
    (void)opaque;
    for (uint32_t i = 0; i < event->translate.insns; i++) {
        if (code && api->get_insn(i, &insn) == RING3_OK)
            api->on_execute(i, on_execute, (void *)(uintptr_t)insn.len);
        api->on_memory(i, on_memory, NULL);
    }
}

static void on_end(void *opaque, const struct ring3_event *event) {
    char line[160];
    (void)opaque, (void)event;
    for (unsigned i = 0; i < CACHES; i++) {
        const struct cache *c = &caches[i];
        uint64_t hits = c->accesses - c->misses;
        unsigned rate = c->accesses ? (unsigned)(hits * 10000 / c->accesses) : 0;
        int len = snprintf(line, sizeof line, "%s: %llu accesses, %llu misses, %u.%02u %% hits\n",
                           c->name, (unsigned long long)c->accesses, (unsigned long long)c->misses,
                           rate / 100, rate % 100);
        api->write_output(out, line, (size_t)len);
    }
}

static uint64_t parse_size(const char *text, char **end) {
    uint64_t value = strtoull(text, end, 10);
    if (**end == 'K')
        value <<= 10, ++*end;
    else if (**end == 'M')
        value <<= 20, ++*end;
    return value;
}

/* "SIZE:WAYS:LINE": powers of two, so many that there is a set at least. */
static int parse_geometry(struct cache *c, const char *text) {
    char *at;
    c->size = parse_size(text, &at);
    if (*at++ != ':')
        return 0;
    c->ways = parse_size(at, &at);
    if (*at++ != ':')
        return 0;
    c->line = parse_size(at, &at);
    return !*at;
}

static int make(struct cache *c) {
    void *tags;
    if (!c->ways || !c->line || c->line & (c->line - 1) || c->size % (c->ways * c->line) ||
        !c->size || c->size > 1u << 30)
        return 0;
    c->sets = c->size / c->ways / c->line;
    if (api->alloc(c->sets * c->ways * sizeof *c->tags, &tags))
        return 0;
    c->tags = tags;
    return 1;
}

static int parse_option(const char *text) {
    char *end;
    for (unsigned i = 0; i < CACHES; i++) {
        size_t len = strlen(caches[i].name);
        if (!strncmp(text, caches[i].name, len) && text[len] == '=')
            return parse_geometry(&caches[i], text + len + 1);
    }
    if (!strncmp(text, "out=", 4))
        return api->open_output(text + 4, &out) == RING3_OK;
    if (!strcmp(text, "code=off"))
        return !(code = 0);
    if (strncmp(text, "data=", 5) != 0)
        return 0;
    data_start = strtoull(text + 5, &end, 16);
    if (*end != '-')
        return 0;
    data_end = strtoull(end + 1, &end, 16);
    return !*end;
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    api = given;
    for (int i = 1; i < argc; i++)
        if (!parse_option(argv[i])) {
            api->refuse(
                "options are l1i=SIZE:WAYS:LINE l1d=... l2=... data=START-END code=off out=FILE");
            return 1;
        }
    for (unsigned i = 0; i < CACHES; i++)
        if (!make(&caches[i])) {
            api->refuse(
                "a cache's size is not a multiple of its ways times its line, a power of two");
            return 1;
        }
    return api->subscribe("translate", on_translate, NULL) || api->subscribe("end", on_end, NULL);
}
