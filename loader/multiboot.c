/* Multiboot 1 (Multiboot Specification version 0.6.96). */
#include <assert.h>

#include "loader/protocols.h"

#define HEADER_MAGIC 0x1badb002u
#define ENTRY_MAGIC 0x2badb002u

/* Header flags: 0-15 must be understood or refused, the others are offers. */
#define WANT_PAGE_ALIGN (1u << 0)  /* modules are page-aligned anyway */
#define WANT_MEMORY_INFO (1u << 1) /* given anyway */
#define WANT_VIDEO (1u << 2)
#define WANT_MASK 0xffffu
#define HAS_ADDRESSES (1u << 16)

/* Information flags and offsets. */
#define INFO_MEMORY (1u << 0)
#define INFO_CMDLINE (1u << 2)
#define INFO_MODULES (1u << 3)
#define INFO_MAP (1u << 6)
#define INFO_LOADER_NAME (1u << 9)
#define INFO_SIZE 120
#define MODULE_SIZE 16
#define MAP_ENTRY_SIZE 24 /* the size field in front included */

#define INFO_AT PLACE_BOOT_INFO
#define MODULE_AT (INFO_AT + INFO_SIZE)
#define MAP_AT (MODULE_AT + MODULE_SIZE)
#define STRINGS_AT (MAP_AT + MEMORY_MAP_RANGES * MAP_ENTRY_SIZE)
#define STRINGS_ROOM (PLACE_LOW_END - STRINGS_AT)

/* The tables that are built here, and the strings behind them. */
struct boot_info {
    uint8_t bytes[STRINGS_AT - INFO_AT];
    uint32_t strings; /* bytes of strings written so far */
};

static bool find_magic(const struct image *image, size_t *offset) {
    for (*offset = 0; *offset + 12 <= image->head_size; *offset += 4)
        if (get32(image->head + *offset) == HEADER_MAGIC)
            return true;
    return false;
}

bool multiboot_recognise(const struct image *image) {
    size_t offset;
    return find_magic(image, &offset);
}

/* The first header whose sum is zero. */
static int find_header(const struct image *image, size_t *offset, struct error *error) {
    for (size_t at = 0; at + 12 <= image->head_size; at += 4) {
        const uint8_t *header = image->head + at;
        if (get32(header) == HEADER_MAGIC &&
            get32(header) + get32(header + 4) + get32(header + 8) == 0) {
            *offset = at;
            return 0;
        }
    }
    find_magic(image, offset);
    return error_set(error, "%s: offset %#zx: the Multiboot header has a wrong checksum",
                     image->name, *offset);
}

static int check_flags(const struct image *image, size_t at, uint32_t flags, struct error *error) {
    if (flags & WANT_VIDEO)
        return error_set(error,
                         "%s: offset %#zx: the kernel demands a video mode, there is no "
                         "display",
                         image->name, at + 4);
    if (flags & WANT_MASK & ~(WANT_PAGE_ALIGN | WANT_MEMORY_INFO))
        return error_set(error, "%s: offset %#zx: the kernel demands unknown features (flags %#x)",
                         image->name, at + 4, flags);
    return 0;
}

/* The a.out kludge: the header itself says what goes where. */
static int place_by_header(const struct image *image, size_t at, struct place *place,
                           uint32_t *entry, struct error *error) {
    if (at + 32 > image->head_size)
        return error_set(error, "%s: offset %#zx: the Multiboot header's addresses are cut off",
                         image->name, at);
    const uint8_t *header = image->head + at;
    uint32_t header_addr = get32(header + 12), load = get32(header + 16);
    uint32_t load_end = get32(header + 20), bss_end = get32(header + 24);
    *entry = get32(header + 28);
    if (load > header_addr || header_addr - load > at)
        return error_set(error, "%s: offset %#zx: load address %#x does not fit header address %#x",
                         image->name, at + 16, load, header_addr);
    uint64_t offset = at - (header_addr - load);
    uint64_t len = load_end ? (uint64_t)load_end - load : image->size - offset;
    if (load_end && load_end < load)
        return error_set(error, "%s: offset %#zx: load end %#x lies before load address %#x",
                         image->name, at + 20, load_end, load);
    if (!image_has(image, offset, len))
        return error_set(error, "%s: offset %#zx: %#llx bytes to load, but the file ends at %#llx",
                         image->name, at + 20, (unsigned long long)len,
                         (unsigned long long)image->size);
    uint64_t memory = bss_end ? (uint64_t)bss_end - load : len;
    if (bss_end && (bss_end < load || memory < len))
        return error_set(error, "%s: offset %#zx: BSS end %#x lies before the end of the code",
                         image->name, at + 24, bss_end);
    if (*entry < load || *entry - load >= memory)
        return error_set(error, "%s: offset %#zx: entry %#x lies outside what is loaded",
                         image->name, at + 28, *entry);
    if (place_take(place, image, at + 16, load, memory, "the kernel", error))
        return -1;
    return place_file(place, image, offset, load, len, "the kernel", error);
}

/* Puts a string of one or two words, which stands for `file`, behind the tables; its address in
 * `*gpa`. */
static int add_string(struct boot_info *info, struct place *place, const char *file,
                      const char *word, const char *rest, uint32_t *gpa, struct error *error) {
    size_t first = strlen(word), second = strlen(rest);
    if (first + second + 2 > STRINGS_ROOM - info->strings)
        return error_set(error, "%s: the command line has %zu bytes, there is room for %u", file,
                         first + second + 1, STRINGS_ROOM - info->strings - 1);
    *gpa = STRINGS_AT + info->strings;
    info->strings += (uint32_t)(first + second + 2);
    if (place_write(place, *gpa, word, first + 1, error))
        return -1;
    if (second == 0)
        return 0;
    if (place_write(place, *gpa + first, " ", 1, error))
        return -1;
    return place_write(place, *gpa + first + 1, rest, second + 1, error);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int place_module(const char *path, struct place *place, uint8_t *module,
                        struct error *error) {
    struct image file;
    if (image_open(&file, path, error))
        return -1;
    int rc = -1;
    uint64_t gpa = place_find_low(place, PLACE_HIGH, place->ram->size, file.size);
    if (gpa == 0) {
        error_set(error, "%s: no room for %llu KiB of module in %llu KiB of guest memory",
                  file.name, (unsigned long long)(file.size + 1023) >> 10,
                  (unsigned long long)place->ram->size >> 10);
    } else if (place_take(place, &file, 0, gpa, file.size, "the module", error) == 0) {
        rc = place_file(place, &file, 0, gpa, file.size, "the module", error);
        put32(module, (uint32_t)gpa);
        put32(module + 4, (uint32_t)(gpa + file.size)); /* just behind; wraps to 0 at 4 GiB */
    }
    image_close(&file);
    return rc;
}

/* One module, "file args": its string is what was given, with the file's name alone. */
static int add_module(struct boot_info *info, struct place *place, const char *given,
                      struct error *error) {
    uint8_t *module = info->bytes + (MODULE_AT - INFO_AT);
    char path[4096];
    size_t length = strcspn(given, " ");
    if (length >= sizeof path)
        return error_set(error, "%.100s...: the file name is too long", given);
    memcpy(path, given, length);
    path[length] = '\0';
    const char *args = given[length] ? given + length + 1 : "";
    uint32_t string;
    if (place_module(path, place, module, error) ||
        add_string(info, place, base_name(path), base_name(path), args, &string, error))
        return -1;
    put32(module + 8, string);
    put32(info->bytes + 20, 1);
    put32(info->bytes + 24, MODULE_AT);
    put32(info->bytes, get32(info->bytes) | INFO_MODULES);
    return 0;
}

static void add_memory(struct boot_info *info, const struct ram *ram) {
    struct memory_range map[MEMORY_MAP_RANGES];
    memory_map_make(ram, map);
    for (unsigned i = 0; i < MEMORY_MAP_RANGES; i++) {
        uint8_t *entry = info->bytes + (MAP_AT - INFO_AT) + i * MAP_ENTRY_SIZE;
        put32(entry, MAP_ENTRY_SIZE - 4);
        put64(entry + 4, map[i].start);
        put64(entry + 12, map[i].len);
        put32(entry + 20, map[i].type);
    }
    put32(info->bytes + 4, PLACE_LOW_END >> 10);
    put32(info->bytes + 8, (uint32_t)((ram->size - PLACE_HIGH) >> 10));
    put32(info->bytes + 44, MEMORY_MAP_RANGES * MAP_ENTRY_SIZE);
    put32(info->bytes + 48, MAP_AT);
}

int multiboot_load(const struct image *image, const struct load_options *options,
                   struct place *place, struct load_result *result, struct error *error) {
    size_t at;
    if (find_header(image, &at, error))
        return -1;
    uint32_t flags = get32(image->head + at + 4);
    if (check_flags(image, at, flags, error))
        return -1;
    if (!(flags & HAS_ADDRESSES) && !elf_recognise(image))
        return error_set(error,
                         "%s: offset %#zx: a Multiboot kernel that is neither ELF nor says "
                         "its addresses (flags %#x)",
                         image->name, at + 4, flags);
    if (flags & HAS_ADDRESSES ? place_by_header(image, at, place, &result->eip, error)
                              : elf_place(image, place, &result->eip, error))
        return -1;

    struct boot_info info = {0};
    uint32_t command_line, name;
    put32(info.bytes, INFO_MEMORY | INFO_CMDLINE | INFO_MAP | INFO_LOADER_NAME);
    add_memory(&info, place->ram);
    if (add_string(&info, place, image->name, "ring3", "", &name, error) ||
        add_string(&info, place, image->name, base_name(options->kernel),
                   options->append ? options->append : "", &command_line, error))
        return -1;
    put32(info.bytes + 16, command_line);
    put32(info.bytes + 64, name);
    if (options->initrd && add_module(&info, place, options->initrd, error))
        return -1;
    if (place_write(place, INFO_AT, info.bytes, sizeof info.bytes, error))
        return -1;
    result->gpr[EAX] = ENTRY_MAGIC;
    result->gpr[EBX] = INFO_AT;
    result->protocol = "multiboot";
    return 0;
}
