/* Placement in guest memory: see place.h. */
#include "loader/place.h"

#include <assert.h>

static void take(struct place *place, uint64_t start, uint64_t end, const char *what) {
    assert(place->count < PLACE_RANGES_MAX && start < end);
    place->taken[place->count++] = (struct place_range){start, end, what};
}

void place_init(struct place *place, struct ram *ram) {
    *place = (struct place){.ram = ram};
    take(place, PLACE_BOOT_INFO, PLACE_LOW_END, "the boot information");
    take(place, PLACE_GDT, RAM_HOLE_START, "the loader's GDT");
    if (ram->has_video)
        take(place, RAM_HOLE_START, RAM_HOLE_END, "the video memory");
    take(place, PLACE_ACPI, PLACE_ACPI + PLACE_ACPI_SIZE, "the ACPI tables");
}

/* The taken range that [start, end) overlaps, or NULL. */
static const struct place_range *overlapped(const struct place *place, uint64_t start,
                                            uint64_t end) {
    for (unsigned i = 0; i < place->count; i++)
        if (start < place->taken[i].end && place->taken[i].start < end)
            return &place->taken[i];
    return NULL;
}

int place_take(struct place *place, const struct image *image, uint64_t offset, uint64_t start,
               uint64_t len, const char *what, struct error *error) {
    if (len == 0)
        return 0;
    unsigned long long at = offset, first = start, last = start + len - 1;
    if (last < first || !ram_ptr(place->ram, start, len))
        return error_set(error,
                         "%s: offset %#llx: %s (%#llx bytes at %#llx) does not lie in guest memory "
                         "(%llu KiB without the hole at 0xa0000)",
                         image->name, at, what, (unsigned long long)len, first,
                         (unsigned long long)place->ram->size >> 10);
    const struct place_range *other = overlapped(place, start, start + len);
    if (other)
        return error_set(error, "%s: offset %#llx: %s (%#llx-%#llx) overlaps %s (%#llx-%#llx)",
                         image->name, at, what, first, last, other->what,
                         (unsigned long long)other->start, (unsigned long long)other->end - 1);
    if (place->count == PLACE_RANGES_MAX)
        return error_set(error, "%s: offset %#llx: more than %d parts to load", image->name, at,
                         PLACE_RANGES_MAX);
    take(place, start, start + len, what);
    return 0;
}

void place_release(struct place *place, uint64_t start) {
    unsigned i = 0;
    while (i < place->count && place->taken[i].start != start)
        i++;
    assert(i < place->count);
    place->taken[i] = place->taken[--place->count];
}

bool place_is_free(const struct place *place, uint64_t start, uint64_t len) {
    return ram_ptr(place->ram, start, len) && !overlapped(place, start, start + len);
}

/* A best place touches an end of the span or of a taken range: try only those. */
uint64_t place_find_high(const struct place *place, uint64_t low, uint64_t high, uint64_t len) {
    uint64_t best = 0;
    if (high > place->ram->size)
        high = place->ram->size;
    for (unsigned i = 0; i <= place->count; i++) {
        uint64_t end = i < place->count ? place->taken[i].start : high;
        if (end > high || end < len)
            continue;
        uint64_t start = (end - len) & ~(uint64_t)PAGE_MASK;
        if (start >= low && start > best && place_is_free(place, start, len))
            best = start;
    }
    return best;
}

uint64_t place_find_low(const struct place *place, uint64_t low, uint64_t high, uint64_t len) {
    uint64_t best = 0;
    if (high > place->ram->size)
        high = place->ram->size;
    for (unsigned i = 0; i <= place->count; i++) {
        uint64_t end = i < place->count ? place->taken[i].end : low;
        uint64_t start = (end + PAGE_MASK) & ~(uint64_t)PAGE_MASK;
        if (start < low || start > high || len > high - start)
            continue;
        if ((best == 0 || start < best) && place_is_free(place, start, len))
            best = start;
    }
    return best;
}

static void *memory_for(struct place *place, uint64_t gpa, uint64_t len, struct error *error) {
    void *to = ram_ptr(place->ram, gpa, len);
    assert(to != NULL); /* the range was taken */
    int rc = ram_allocate(place->ram, gpa, len);
    if (rc == 0)
        return to;
    error_set(error, "no host memory for %llu KiB of guest memory: %s",
              (unsigned long long)len >> 10, strerror(-rc));
    return NULL;
}

int place_write(struct place *place, uint64_t gpa, const void *from, size_t len,
                struct error *error) {
    void *to = memory_for(place, gpa, len, error);
    if (!to)
        return -1;
    memcpy(to, from, len);
    return 0;
}

int place_file(struct place *place, const struct image *image, uint64_t offset, uint64_t gpa,
               uint64_t len, const char *what, struct error *error) {
    if (len == 0)
        return 0;
    void *to = memory_for(place, gpa, len, error);
    return to ? image_read(image, offset, to, len, what, error) : -1;
}

void memory_map_make(const struct ram *ram, struct memory_range map[MEMORY_MAP_RANGES]) {
    assert(ram->size > PLACE_HIGH);
    map[0] = (struct memory_range){0, PLACE_LOW_END, 1};
    map[1] = (struct memory_range){PLACE_LOW_END, RAM_HOLE_START - PLACE_LOW_END, 2};
    /* The video hole and the firmware's area up to 1 MiB. */
    map[2] = (struct memory_range){RAM_HOLE_START, PLACE_HIGH - RAM_HOLE_START, 2};
    map[3] = (struct memory_range){PLACE_HIGH, ram->size - PLACE_HIGH, 1};
}
