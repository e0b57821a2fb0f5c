/* The store of symbols (symbols.h): two orders over one array, by address and by name. */
#include "inspect/symbols.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/symbols_private.h"

#define SYMBOLS_MAX ((size_t)2 << 20)

struct entry {
    gva_t address;
    uint32_t name;  /* offset in the pool */
    uint32_t order; /* in the file */
    char type;
};

struct symbols {
    struct entry *entries; /* by address once loaded */
    uint32_t *by_name;
    char *pool;
    size_t count, room, pool_size, pool_room;
    size_t named; /* entries that `by_name` has */
    uint32_t slide;
    bool partial; /* data is known by the exports only */
};

static bool reserve(void **array, size_t *room, size_t wanted, size_t item) {
    if (wanted <= *room)
        return true;
    size_t larger = *room * 2 > wanted ? *room * 2 : wanted;
    void *moved = realloc(*array, larger * item);
    if (!moved)
        return false;
    *array = moved;
    *room = larger;
    return true;
}

bool symbols_add(struct symbols *symbols, gva_t address, char type, const char *name, size_t len) {
    assert(len > 0 && len <= SYMBOL_NAME_MAX);
    if (symbols->count == SYMBOLS_MAX ||
        !reserve((void **)&symbols->entries, &symbols->room, symbols->count + 1,
                 sizeof *symbols->entries) ||
        !reserve((void **)&symbols->pool, &symbols->pool_room, symbols->pool_size + len + 1, 1))
        return false;
    symbols->entries[symbols->count] = (struct entry){.address = address,
                                                      .name = (uint32_t)symbols->pool_size,
                                                      .order = (uint32_t)symbols->count,
                                                      .type = type};
    symbols->count++;
    memcpy(symbols->pool + symbols->pool_size, name, len);
    symbols->pool[symbols->pool_size + len] = 0;
    symbols->pool_size += len + 1;
    return true;
}

static const char *name_of(const struct symbols *symbols, const struct entry *entry) {
    return symbols->pool + entry->name;
}

static bool is_weak(char type) { return type == 'w' || type == 'W' || type == 'v' || type == 'V'; }

/* By address; then as the kernel prefers: not weak, few leading underscores, first in the file. */
static int compare_addresses(const void *one, const void *other, void *opaque) {
    const struct symbols *symbols = opaque;
    const struct entry *a = one, *b = other;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    if (is_weak(a->type) != is_weak(b->type))
        return is_weak(a->type) ? 1 : -1;
    size_t under_a = strspn(name_of(symbols, a), "_"), under_b = strspn(name_of(symbols, b), "_");
    if (under_a != under_b)
        return under_a < under_b ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static int compare_names(const void *one, const void *other, void *opaque) {
    const struct symbols *symbols = opaque;
    const struct entry *a = &symbols->entries[*(const uint32_t *)one];
    const struct entry *b = &symbols->entries[*(const uint32_t *)other];
    int order = strcmp(name_of(symbols, a), name_of(symbols, b));
    if (order)
        return order;
    if (!isupper((unsigned char)a->type) != !isupper((unsigned char)b->type))
        return isupper((unsigned char)a->type) ? -1 : 1;
    return a < b ? -1 : a > b;
}

static int sort(struct symbols *symbols) {
    assert(symbols->count > 0 && symbols->count <= SYMBOLS_MAX);
    qsort_r(symbols->entries, symbols->count, sizeof *symbols->entries, compare_addresses, symbols);
    uint32_t *by_name = realloc(symbols->by_name, symbols->count * sizeof *by_name);
    if (!by_name)
        return -1;
    symbols->by_name = by_name;
    symbols->named = symbols->count;
    for (size_t i = 0; i < symbols->count; i++)
        symbols->by_name[i] = (uint32_t)i;
    qsort_r(symbols->by_name, symbols->count, sizeof *symbols->by_name, compare_names, symbols);
    return 0;
}

/* An ELF file's own table if it has one, else a kernel's; text has one symbol a line. */
static int read_any(struct symbols *symbols, const struct kernel_image *image,
                    struct error *error) {
    if (!image->elf)
        return symbols_read_map(symbols, image, error);
    if (symbols_read_elf(symbols, image, error))
        return -1;
    if (symbols->count)
        return 0;
    if (symbols_read_kallsyms(symbols, image, error))
        return -1;
    if (!symbols->count)
        return 0;
    symbols->partial = true;
    if (sort(symbols))
        return symbols_no_room(image, error);
    return symbols_read_exports(symbols, image, error);
}

struct symbols *symbols_of_image(const struct kernel_image *image, struct error *error) {
    struct symbols *symbols = calloc(1, sizeof *symbols);
    if (!symbols) {
        symbols_no_room(image, error);
        return NULL;
    }
    int rc = read_any(symbols, image, error);
    if (!rc && !symbols->count)
        rc = error_set(error,
                       "%s: has no symbols: neither a symbol table nor a Linux kernel's kallsyms",
                       image->name);
    if (!rc && sort(symbols))
        rc = symbols_no_room(image, error);
    if (!rc)
        return symbols;
    symbols_free(symbols);
    return NULL;
}

struct symbols *symbols_load(const char *path, struct error *error) {
    struct kernel_image image;
    if (kernel_image_open(&image, path, error))
        return NULL;
    struct symbols *symbols = symbols_of_image(&image, error);
    kernel_image_close(&image);
    return symbols;
}

void symbols_free(struct symbols *symbols) {
    if (!symbols)
        return;
    free(symbols->entries);
    free(symbols->by_name);
    free(symbols->pool);
    free(symbols);
}

size_t symbols_count(const struct symbols *symbols) { return symbols->count; }

struct symbol symbols_get(const struct symbols *symbols, size_t index) {
    assert(index < symbols->count);
    const struct entry *entry = &symbols->entries[index];
    return (struct symbol){.address = entry->address + symbols->slide,
                           .type = entry->type,
                           .name = name_of(symbols, entry)};
}

bool symbols_find(const struct symbols *symbols, const char *name, struct symbol *found) {
    size_t low = 0, high = symbols->named;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(name_of(symbols, &symbols->entries[symbols->by_name[middle]]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == symbols->named)
        return false;
    *found = symbols_get(symbols, symbols->by_name[low]);
    return !strcmp(found->name, name);
}

/* How many symbols lie at or below a linked address. */
static size_t count_upto(const struct symbols *symbols, gva_t linked) {
    size_t low = 0, high = symbols->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (symbols->entries[middle].address <= linked)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Marks where something ends: what follows them is not in them. */
static bool ends_something(const char *name) {
    static const char *const marks[] = {"_etext", "_einittext", "_edata", "_end",
                                        "etext",  "edata",      "end"};
    for (unsigned i = 0; i < sizeof marks / sizeof *marks; i++)
        if (!strcmp(name, marks[i]))
            return true;
    return false;
}

bool symbols_at(const struct symbols *symbols, gva_t address, struct symbol *found,
                uint32_t *offset) {
    gva_t linked = address - symbols->slide;
    size_t index = count_upto(symbols, linked);
    if (!index)
        return false;
    gva_t start = symbols->entries[--index].address;
    assert(start <= linked);
    bool ended = linked != start && ends_something(name_of(symbols, &symbols->entries[index]));
    while (index && symbols->entries[index - 1].address == start) {
        index--;
        ended |= linked != start && ends_something(name_of(symbols, &symbols->entries[index]));
    }
    *found = symbols_get(symbols, index);
    *offset = linked - start;
    if (symbols->partial && found->type == SYMBOL_EXPORTED && *offset >= PAGE_SIZE)
        return false;
    return !ended;
}

gva_t symbols_next(const struct symbols *symbols, gva_t address) {
    size_t index = count_upto(symbols, address - symbols->slide);
    return index < symbols->count ? symbols->entries[index].address + symbols->slide : UINT32_MAX;
}

const char *symbols_format(const struct symbols *symbols, gva_t address, char *text, size_t size) {
    struct symbol symbol;
    uint32_t offset;
    assert(size > 0);
    if (!symbols || !symbols_at(symbols, address, &symbol, &offset))
        *text = 0;
    else if (offset)
        snprintf(text, size, "%s+%#x", symbol.name, offset);
    else
        snprintf(text, size, "%s", symbol.name);
    return text;
}

void symbols_set_slide(struct symbols *symbols, uint32_t slide) { symbols->slide = slide; }

uint32_t symbols_slide(const struct symbols *symbols) { return symbols->slide; }

bool symbols_slide_from_sysenter(struct symbols *symbols, uint32_t sysenter_eip) {
    struct symbol entry;
    if (!sysenter_eip || !symbols_find(symbols, "entry_SYSENTER_32", &entry))
        return false;
    uint32_t slide = sysenter_eip - (entry.address - symbols->slide);
    if (slide & PAGE_MASK)
        return false;
    symbols->slide = slide;
    return true;
}
