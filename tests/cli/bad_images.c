/* Writes malformed kernels into a directory, one file each: sound images with one field wrong, or
 * cut off. Each must be refused by a machine of 8 MiB.
 *
 * The sound images themselves are there as sound-NAME; they write 16 to the debug-exit port. Wrong
 * values are those of a list, and others drawn by SEED: bits flipped in fields that have only one
 * right value, and values out of spans in which every value is wrong. Images named needs-initrd-*
 * are wrong only with an initial RAM disk.
 *
 *   bad_images DIRECTORY SEED DRAWS */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct image {
    const char *name;
    uint8_t bytes[0x9000];
    size_t size;
};

/* One field: where, how wide, what. */
struct field {
    uint32_t offset, width;
    uint64_t value;
};

/* A field in which every value from `first` to `last` is wrong. */
struct span {
    uint32_t offset, width;
    uint64_t first, last;
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const char *directory;
static unsigned draws; /* of each fixed field and each span */
static uint64_t random_state;

/* xorshift64* */
static uint64_t random_next(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dull;
}

/* Below a limit of up to 2^64 (0). */
static uint64_t random_below(uint64_t limit) {
    return limit ? random_next() % limit : random_next();
}

static uint64_t get(const struct image *image, struct field field) {
    uint64_t value = 0;
    memcpy(&value, image->bytes + field.offset, field.width);
    return value;
}

static void set(struct image *image, struct field field) {
    memcpy(image->bytes + field.offset, &field.value, field.width);
}

/* mov al, 16; out 0xf4, al; hlt; jmp back to it */
static void set_code(struct image *image, uint32_t offset) {
    static const uint8_t code[] = {0xb0, 16, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd};
    memcpy(image->bytes + offset, code, sizeof code);
}

static int save_file(const struct image *image, const char *name, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int failed = fd < 0 || write(fd, image->bytes, size) != (ssize_t)size;
    if (failed)
        perror(path);
    if (fd >= 0)
        close(fd);
    return failed;
}

static int save_sound(const struct image *image) {
    char name[64];
    snprintf(name, sizeof name, "sound-%s", image->name);
    return save_file(image, name, image->size);
}

static int save(const struct image *image, const char *what, unsigned number, size_t size) {
    char name[64];
    snprintf(name, sizeof name, "%s-%s-%03u", image->name, what, number);
    return save_file(image, name, size);
}

static int save_wrong(const struct image *sound, const struct field *fields, unsigned count) {
    int failed = 0;
    for (unsigned i = 0; i < count; i++) {
        struct image image = *sound;
        set(&image, fields[i]);
        failed |= save(&image, "field", i, image.size);
    }
    return failed;
}

static int save_cut(const struct image *sound, size_t from, size_t to, size_t step) {
    int failed = 0;
    for (size_t size = from; size < to; size += step)
        failed |= save(sound, "cut", (unsigned)size, size);
    return failed;
}

/* Flips bits of fields whose value must be what it is: one bit, then any number of them. */
static int save_flipped(const struct image *sound, const struct field *fields, unsigned count) {
    int failed = 0;
    for (unsigned i = 0; i < count * draws; i++) {
        struct field field = fields[i / draws];
        struct image image = *sound;
        uint64_t mask = 1ull << random_below(8 * field.width);
        if (i % draws >= draws / 2)
            mask |= random_below(1ull << (8 * field.width));
        field.value = get(sound, field) ^ mask;
        set(&image, field);
        failed |= save(&image, "flip", i, image.size);
    }
    return failed;
}

/* Values out of each span: its ends, then any. */
static int save_span(const struct image *sound, const char *what, const struct span *spans,
                     unsigned count) {
    int failed = 0;
    for (unsigned i = 0; i < count * draws; i++) {
        const struct span *span = &spans[i / draws];
        struct image image = *sound;
        uint64_t value = span->first + random_below(span->last - span->first + 1);
        if (i % draws < 2)
            value = i % draws ? span->last : span->first;
        set(&image, (struct field){span->offset, span->width, value});
        failed |= save(&image, what, i, image.size);
    }
    return failed;
}

/* Files that end anywhere before they should. */
static int save_cut_anywhere(const struct image *sound) {
    int failed = 0;
    for (unsigned i = 0; i < 4 * draws; i++)
        failed |= save(sound, "end", i, random_below(sound->size));
    return failed;
}

/* ELF32 (System V ABI): one segment of 4 KiB at 1 MiB. */
static int elf_images(void) {
    struct image elf = {.name = "elf", .size = 0x2000};
    static const struct field sound[] = {
        {0, 4, 0x464c457f},  {4, 3, 0x010101},    {0x10, 2, 2},      {0x12, 2, 3},
        {0x14, 4, 1},        {0x18, 4, 0x100000}, {0x1c, 4, 0x34},   {0x28, 2, 52},
        {0x2a, 2, 32},       {0x2c, 2, 1},        {0x34, 4, 1},      {0x38, 4, 0x1000},
        {0x3c, 4, 0x100000}, {0x40, 4, 0x100000}, {0x44, 4, 0x1000}, {0x48, 4, 0x1000},
        {0x4c, 4, 5},        {0x50, 4, 0x1000},
    };
    static const struct field wrong[] = {
        {0, 1, 0},
        {1, 1, 'e'},
        {2, 1, 'M'},
        {3, 1, 0xff}, /* magic */
        {4, 1, 0},
        {4, 1, 2},
        {4, 1, 0xff},
        {5, 1, 0},
        {5, 1, 2}, /* class, byte order */
        {0x10, 2, 0},
        {0x10, 2, 1},
        {0x10, 2, 4},
        {0x10, 2, 0xffff}, /* type */
        {0x12, 2, 0},
        {0x12, 2, 8},
        {0x12, 2, 62},
        {0x12, 2, 0xffff}, /* machine */
        {0x1c, 4, 0xffffffff},
        {0x1c, 4, 0x1fff},
        {0x1c, 4, 0x7fffffff},
        {0x1c, 4, 0xffffffe0},
        {0x2a, 2, 0},
        {0x2a, 2, 31}, /* size of an entry */
        {0x2c, 2, 0},
        {0x2c, 2, 0xffff},
        {0x2c, 2, 0x1000}, /* number of them */
        {0x38, 4, 0xffffffff},
        {0x38, 4, 0x2000},
        {0x38, 4, 0x1001},
        {0x38, 4, 0xfffff000},
        {0x40, 4, 0xffffffff},
        {0x40, 4, 0xfffff000},
        {0x40, 4, 0x800000},
        {0x40, 4, 0x7ff001},
        {0x44, 4, 0xffffffff},
        {0x44, 4, 0x1001},
        {0x44, 4, 0x80000000},
        {0x48, 4, 0},
        {0x48, 4, 0xfff},
        {0x48, 4, 0xffffffff},
        {0x48, 4, 0x700001},
    };
    /* Magic, class, byte order, version; type; machine; e_phentsize; p_type. */
    static const struct field fixed[] = {{0, 4, 0},    {4, 1, 0},    {5, 1, 0},    {6, 1, 0},
                                         {0x10, 2, 0}, {0x12, 2, 0}, {0x2a, 2, 0}, {0x34, 4, 0}};
    static const struct span spans[] = {
        {0x18, 4, 0, 0xfffff},           /* e_entry below and above the segment */
        {0x18, 4, 0x101000, 0xffffffff}, /* */
        {0x1c, 4, 0x1fe1, 0xffffffff},   /* e_phoff: the table ends behind the file */
        {0x2c, 2, 65, 0xffff},           /* e_phnum */
        {0x38, 4, 0x1001, 0xffffffff},   /* p_offset */
        {0x40, 4, 0x9f001, 0xbffff},     /* p_paddr: in the hole of the memory */
        {0x40, 4, 0x7ff001, 0xffffffff}, /* and beyond its end */
        {0x44, 4, 0x1001, 0xffffffff},   /* p_filesz above p_memsz */
        {0x48, 4, 0, 0xfff},             /* p_memsz below p_filesz */
        {0x48, 4, 0x700001, 0xffffffff}, /* and above what there is */
    };
    for (unsigned i = 0; i < COUNT(sound); i++)
        set(&elf, sound[i]);
    set_code(&elf, 0x1000);
    return save_sound(&elf) | save_wrong(&elf, wrong, COUNT(wrong)) | save_cut(&elf, 0, 0x54, 1) |
           save_cut(&elf, 0x1000, 0x2000, 0x800) | save_flipped(&elf, fixed, COUNT(fixed)) |
           save_span(&elf, "span", spans, COUNT(spans)) | save_cut_anywhere(&elf);
}

enum { MULTIBOOT_AT = 0x40, MULTIBOOT_MAGIC = 0x1badb002, MULTIBOOT_KLUDGE = 0x10000 };

/* Flags that cannot be met, under a right checksum: a feature that is demanded and unknown, or no
 * addresses in a file that is no ELF. */
static int save_multiboot_flags(const struct image *sound) {
    int failed = 0;
    for (unsigned i = 0; i < 2 * draws; i++) {
        struct image image = *sound;
        uint32_t flags = (uint32_t)random_next() & 0xfffe0003u;
        if (i % 2)
            flags |= MULTIBOOT_KLUDGE | 1u << (2 + random_below(14));
        set(&image, (struct field){MULTIBOOT_AT + 4, 4, flags});
        set(&image, (struct field){MULTIBOOT_AT + 8, 4, 0u - (MULTIBOOT_MAGIC + flags)});
        failed |= save(&image, "flags", i, image.size);
    }
    return failed;
}

/* Multiboot 1 with the a.out kludge (specification 3.1): the file's 4 KiB at 1 MiB. */
static int multiboot_images(void) {
    struct image image = {.name = "multiboot", .size = 0x1000};
    enum { AT = MULTIBOOT_AT, MAGIC = MULTIBOOT_MAGIC, KLUDGE = MULTIBOOT_KLUDGE };
    const struct field sound[] = {
        {AT, 4, MAGIC},         {AT + 4, 4, KLUDGE},    {AT + 8, 4, 0u - (MAGIC + KLUDGE)},
        {AT + 12, 4, 0x100040}, {AT + 16, 4, 0x100000}, {AT + 20, 4, 0x101000},
        {AT + 24, 4, 0x102000}, {AT + 28, 4, 0x100080},
    };
    static const struct field wrong[] = {
        {AT, 4, 0},
        {AT, 4, 0x1badb003},
        {AT + 4, 4, 0},
        {AT + 8, 4, 0},
        {AT + 12, 4, 0},
        {AT + 12, 4, 0xfffff}, /* header_addr */
        {AT + 16, 4, 0x100041},
        {AT + 16, 4, 0xffffffff}, /* load_addr */
        {AT + 20, 4, 0x101001},
        {AT + 20, 4, 0xffffffff},
        {AT + 20, 4, 1}, /* load_end */
        {AT + 24, 4, 0x100fff},
        {AT + 24, 4, 0x800001},
        {AT + 24, 4, 0xffffffff}, /* bss_end */
    };
    /* Each makes the magic or the checksum wrong. */
    static const struct field fixed[] = {{AT, 4, 0}, {AT + 4, 4, 0}, {AT + 8, 4, 0}};
    static const struct span spans[] = {
        {AT + 12, 4, 0, 0xfffff},           /* header_addr below load_addr */
        {AT + 12, 4, 0x100041, 0xffffffff}, /* and further from it than from the file's start */
        {AT + 16, 4, 0, 0xfffff},           /* load_addr: the same two */
        {AT + 16, 4, 0x100041, 0xffffffff}, /* */
        {AT + 20, 4, 1, 0xfffff},           /* load_end_addr below load_addr */
        {AT + 20, 4, 0x101001, 0xffffffff}, /* and behind the file's end */
        {AT + 24, 4, 1, 0x100fff},          /* bss_end_addr below load_end_addr */
        {AT + 24, 4, 0x800001, 0xffffffff}, /* and behind the memory's end */
        {AT + 28, 4, 0, 0xfffff},           /* entry_addr outside */
        {AT + 28, 4, 0x102000, 0xffffffff}, /* */
    };
    for (unsigned i = 0; i < COUNT(sound); i++)
        set(&image, sound[i]);
    set_code(&image, 0x80);
    return save_sound(&image) | save_wrong(&image, wrong, COUNT(wrong)) |
           save_cut(&image, AT, AT + 32, 1) | save_cut(&image, 0x100, 0x1000, 0x100) |
           save_flipped(&image, fixed, COUNT(fixed)) | save_multiboot_flags(&image) |
           save_span(&image, "span", spans, COUNT(spans)) | save_cut_anywhere(&image);
}

/* A relocatable kernel's alignment must be a power of two: these have two bits at least. */
static int save_alignments(const struct image *sound) {
    int failed = 0;
    for (unsigned i = 0; i < draws; i++) {
        struct image image = *sound;
        set(&image, (struct field){0x230, 4, random_below(1ull << 32) | 3u});
        failed |= save(&image, "align", i, image.size);
    }
    return failed;
}

/* A kernel that is not relocatable moves itself to its preferred address, which is not there. */
static int save_preferred(const struct image *sound) {
    static const struct span spans[] = {{0x258, 8, 1, 0xe0fff}, {0x258, 8, 0x7f0001, UINT64_MAX}};
    struct image image = *sound;
    set(&image, (struct field){0x234, 1, 0});
    return save_span(&image, "preferred", spans, COUNT(spans));
}

/* No initial RAM disk may lie above where the kernel ends. */
static int save_initrd_limits(const struct image *sound) {
    static const struct span span = {0x22c, 4, 0, 0x10fffe};
    struct image image = *sound;
    image.name = "needs-initrd";
    return save_span(&image, "bzimage", &span, 1);
}

/* Linux bzImage (Documentation/x86/boot.rst): two setup sectors, 32 KiB of kernel. */
static int bzimage_images(void) {
    struct image image = {.name = "bzimage", .size = 0x600 + 0x8000};
    static const struct field sound[] = {
        {0x1f1, 1, 2},          {0x1f4, 4, 0x800},   {0x1fe, 2, 0xaa55}, {0x200, 2, 0x66eb},
        {0x202, 4, 0x53726448}, {0x206, 2, 0x20f},   {0x211, 1, 1},      {0x214, 4, 0x100000},
        {0x22c, 4, 0x7fffffff}, {0x230, 4, 0x1000},  {0x234, 1, 1},      {0x238, 4, 2047},
        {0x258, 8, 0x100000},   {0x260, 4, 0x10000},
    };
    static const struct field wrong[] = {
        {0x1fe, 2, 0},          {0x1fe, 2, 0x55aa},   {0x202, 4, 0},
        {0x202, 1, 'h'},                                                      /* signatures */
        {0x206, 2, 0},          {0x206, 2, 0x200},    {0x206, 2, 0x202},      /* version */
        {0x211, 1, 0},                                                        /* a zImage */
        {0x1f1, 1, 0xff},       {0x1f1, 1, 0x60},                             /* setup_sects */
        {0x1f4, 4, 0xffffffff}, {0x1f4, 4, 0x801},    {0x1f4, 4, 0x10000000}, /* syssize */
        {0x260, 4, 0xffffffff}, {0x260, 4, 0x800000}, {0x260, 4, 0x80000000}, /* init_size */
    };
    static const struct field fixed[] = {{0x1fe, 2, 0}, {0x202, 4, 0}}; /* boot_flag, header */
    static const struct span spans[] = {
        {0x1f1, 1, 3, 0xff},              /* setup_sects: too little is left for syssize */
        {0x1f4, 4, 0x801, 0xffffffff},    /* syssize */
        {0x201, 1, 0, 0x61},              /* the header's end */
        {0x206, 2, 0, 0x202},             /* version */
        {0x260, 4, 0x700001, 0xffffffff}, /* init_size */
    };
    for (unsigned i = 0; i < COUNT(sound); i++)
        set(&image, sound[i]);
    set_code(&image, 0x600);
    return save_sound(&image) | save_wrong(&image, wrong, COUNT(wrong)) |
           save_cut(&image, 0x1f0, 0x264, 4) | save_cut(&image, 0x400, 0x8600, 0x400) |
           save_flipped(&image, fixed, COUNT(fixed)) | save_alignments(&image) |
           save_preferred(&image) | save_initrd_limits(&image) |
           save_span(&image, "span", spans, COUNT(spans)) | save_cut_anywhere(&image);
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    directory = argv[1];
    random_state = strtoull(argv[2], NULL, 0) * 2 + 1; /* never 0 */
    draws = (unsigned)strtoul(argv[3], NULL, 0);
    return elf_images() | multiboot_images() | bzimage_images();
}
