/* Linux bzImage by the 32-bit boot protocol (Documentation/arch/x86/boot.rst of the kernel).
 *
 * The real-mode part of the file is not run: its setup header is copied into a boot_params page,
 * the protected-mode part is placed and entered directly. That part is a stub that unpacks the
 * kernel; where it can be done here as well (linux_kernel.h), the kernel is placed and entered
 * instead, by the same contract. Offsets below are the same in the file and in boot_params. */
#include <assert.h>
#include <sys/random.h>

#include "loader/linux_kernel.h"
#include "loader/protocols.h"

#define HDR_START 0x1f1
#define HDR_SETUP_SECTS 0x1f1
#define HDR_SYSSIZE 0x1f4
#define HDR_BOOT_FLAG 0x1fe
#define HDR_JUMP_LENGTH 0x201 /* the header ends this many bytes behind 0x202 */
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_TYPE_OF_LOADER 0x210
#define HDR_LOADFLAGS 0x211
#define HDR_CODE32_START 0x214
#define HDR_RAMDISK_IMAGE 0x218
#define HDR_RAMDISK_SIZE 0x21c
#define HDR_CMD_LINE_PTR 0x228
#define HDR_INITRD_ADDR_MAX 0x22c
#define HDR_KERNEL_ALIGNMENT 0x230
#define HDR_RELOCATABLE 0x234
#define HDR_CMDLINE_SIZE 0x238
#define HDR_PAYLOAD_OFFSET 0x248
#define HDR_PAYLOAD_LENGTH 0x24c
#define HDR_PREF_ADDRESS 0x258
#define HDR_INIT_SIZE 0x260
#define HDR_END_MAX 0x290 /* where boot_params goes on with other things */

#define ZP_ACPI_RSDP 0x070
#define ZP_ALT_MEM_K 0x1e0
#define ZP_E820_ENTRIES 0x1e8
#define ZP_E820_TABLE 0x2d0
#define ZP_SIZE 4096
#define E820_ENTRY_SIZE 20

#define LOADED_HIGH 0x01
#define KASLR_DONE 0x02 /* from the stub to the kernel: it has been moved at random */
#define KEEP_SEGMENTS 0x40
#define CAN_USE_HEAP 0x80
#define LOADER_UNDEFINED 0xff

#define COMMAND_LINE (PLACE_BOOT_INFO + ZP_SIZE)
#define COMMAND_LINE_ROOM (PLACE_LOW_END - COMMAND_LINE)
#define OLD_COMMAND_LINE_MAX 255 /* before protocol 2.06 */
#define KASLR_END (512u << 20)   /* a 32-bit kernel is not moved beyond */

/* What the setup header asks for. */
struct setup {
    uint16_t version;
    uint32_t header_end;
    uint64_t code_offset, code_size; /* the protected-mode part in the file */
    bool relocatable;
    uint64_t alignment;
    uint64_t preferred;  /* 0 where the header has none */
    uint64_t init_size;  /* memory it needs from its run-time start on */
    uint64_t initrd_end; /* the initrd must lie below */
    uint64_t command_line_max;
};

bool linux_recognise(const struct image *image) {
    return image->head_size >= HDR_VERSION + 2 && get16(image->head + HDR_BOOT_FLAG) == 0xaa55 &&
           memcmp(image->head + HDR_MAGIC, "HdrS", 4) == 0;
}

/* How far a header of this version reaches at least. */
static uint32_t header_end_needed(uint16_t version) {
    if (version >= 0x20a)
        return HDR_INIT_SIZE + 4;
    if (version >= 0x206)
        return HDR_CMDLINE_SIZE + 4;
    return version >= 0x205 ? HDR_RELOCATABLE + 2 : HDR_INITRD_ADDR_MAX + 4;
}

static int check_header(const struct image *image, struct setup *setup, struct error *error) {
    const uint8_t *head = image->head;
    setup->version = get16(head + HDR_VERSION);
    if (setup->version < 0x203)
        return error_set(error, "%s: offset %#x: boot protocol %u.%02u is too old, 2.03 is needed",
                         image->name, HDR_VERSION, setup->version >> 8, setup->version & 0xff);
    setup->header_end = HDR_MAGIC + head[HDR_JUMP_LENGTH];
    if (setup->header_end < header_end_needed(setup->version))
        return error_set(error,
                         "%s: offset %#x: the setup header ends at %#x, protocol %u.%02u needs %#x",
                         image->name, HDR_JUMP_LENGTH, setup->header_end, setup->version >> 8,
                         setup->version & 0xff, header_end_needed(setup->version));
    if (setup->header_end > HDR_END_MAX)
        setup->header_end = HDR_END_MAX;
    if (setup->header_end > image->head_size)
        return error_set(error, "%s: offset %#x: the setup header is cut off at %#zx", image->name,
                         HDR_START, image->head_size);
    if ((head[HDR_LOADFLAGS] & LOADED_HIGH) == 0)
        return error_set(error, "%s: offset %#x: a zImage (loadflags %#x), only bzImage is known",
                         image->name, HDR_LOADFLAGS, head[HDR_LOADFLAGS]);
    return 0;
}

/* The protected-mode part follows the boot sector and the setup sectors. */
static int find_code(const struct image *image, struct setup *setup, struct error *error) {
    unsigned sectors = image->head[HDR_SETUP_SECTS] ? image->head[HDR_SETUP_SECTS] : 4;
    setup->code_offset = (sectors + 1) * 512u;
    if (setup->code_offset >= image->size)
        return error_set(error, "%s: offset %#x: kernel code at %#llx, but the file ends at %#llx",
                         image->name, HDR_SETUP_SECTS, (unsigned long long)setup->code_offset,
                         (unsigned long long)image->size);
    setup->code_size = image->size - setup->code_offset;
    if (setup->version < 0x204)
        return 0;
    /* syssize counts 16-byte units, the last of which the file need not fill; what follows
     * (signatures) is not loaded. */
    uint64_t said = (uint64_t)get32(image->head + HDR_SYSSIZE) * 16;
    if (said == 0 || said > ((setup->code_size + 15) & ~15ull))
        return error_set(error,
                         "%s: offset %#x: %#llx bytes of kernel code at %#llx, but the file ends "
                         "at %#llx",
                         image->name, HDR_SYSSIZE, (unsigned long long)said,
                         (unsigned long long)setup->code_offset, (unsigned long long)image->size);
    if (said < setup->code_size)
        setup->code_size = said;
    return 0;
}

static int read_needs(const struct image *image, struct setup *setup, struct error *error) {
    const uint8_t *head = image->head;
    setup->initrd_end = (uint64_t)get32(head + HDR_INITRD_ADDR_MAX) + 1;
    setup->command_line_max = OLD_COMMAND_LINE_MAX;
    setup->alignment = 1;
    setup->init_size = setup->code_size;
    if (setup->version >= 0x205 && head[HDR_RELOCATABLE]) {
        setup->relocatable = true;
        setup->alignment = get32(head + HDR_KERNEL_ALIGNMENT);
        if (setup->alignment == 0 || (setup->alignment & (setup->alignment - 1)) != 0)
            return error_set(error, "%s: offset %#x: kernel alignment %#llx is not a power of two",
                             image->name, HDR_KERNEL_ALIGNMENT,
                             (unsigned long long)setup->alignment);
    }
    if (setup->version >= 0x206 && get32(head + HDR_CMDLINE_SIZE) != 0)
        setup->command_line_max = get32(head + HDR_CMDLINE_SIZE);
    if (setup->command_line_max > COMMAND_LINE_ROOM - 1)
        setup->command_line_max = COMMAND_LINE_ROOM - 1;
    if (setup->version >= 0x20a) {
        setup->preferred = get64(head + HDR_PREF_ADDRESS);
        if (get32(head + HDR_INIT_SIZE) > setup->init_size)
            setup->init_size = get32(head + HDR_INIT_SIZE);
    }
    return 0;
}

/* Where the code goes. A relocatable kernel runs where it is put, at its preferred address if that
 * fits, else as low as it can; another one moves itself from 1 MiB to its preferred address. */
static uint64_t choose_address(const struct setup *setup, const struct ram *ram) {
    uint64_t mask = setup->alignment - 1;
    if (!setup->relocatable)
        return PLACE_HIGH;
    if (setup->preferred >= PLACE_HIGH && setup->preferred < ram->size) {
        uint64_t wanted = (setup->preferred + mask) & ~mask;
        if (ram_ptr(ram, wanted, setup->init_size))
            return wanted;
    }
    return (PLACE_HIGH + mask) & ~mask;
}

/* Takes the memory that the kernel needs before it reads the memory map. */
static int take_memory(const struct image *image, const struct setup *setup, struct place *place,
                       uint64_t load, struct error *error) {
    uint64_t run = setup->relocatable || setup->preferred == 0 ? load : setup->preferred;
    uint64_t start = run < load ? run : load;
    uint64_t code_end = load + setup->code_size, run_end = run + setup->init_size;
    if (run_end < run)
        return error_set(error, "%s: offset %#x: preferred address %#llx is out of range",
                         image->name, HDR_PREF_ADDRESS, (unsigned long long)run);
    uint64_t end = code_end > run_end ? code_end : run_end;
    return place_take(place, image, setup->code_offset, start, end - start, "the kernel", error);
}

static int place_initrd(const char *path, const struct setup *setup, struct place *place,
                        uint8_t *zero_page, struct error *error) {
    struct image initrd;
    if (image_open(&initrd, path, error))
        return -1;
    int rc = -1;
    uint64_t gpa = place_find_high(place, PLACE_HIGH, setup->initrd_end, initrd.size);
    if (gpa == 0) {
        error_set(error,
                  "%s: no room for %llu KiB of initrd below %#llx in %llu KiB of guest memory, "
                  "%llu KiB of which the kernel takes",
                  initrd.name, (unsigned long long)(initrd.size + 1023) >> 10,
                  (unsigned long long)setup->initrd_end, (unsigned long long)place->ram->size >> 10,
                  (unsigned long long)setup->init_size >> 10);
    } else if (place_take(place, &initrd, 0, gpa, initrd.size, "the initrd", error) == 0) {
        rc = place_file(place, &initrd, 0, gpa, initrd.size, "the initrd", error);
        put32(zero_page + HDR_RAMDISK_IMAGE, (uint32_t)gpa);
        put32(zero_page + HDR_RAMDISK_SIZE, (uint32_t)initrd.size);
    }
    image_close(&initrd);
    return rc;
}

/* Everything else stays zero, the screen information too: there is no VGA console. */
static void fill_zero_page(const struct image *image, const struct setup *setup,
                           const struct ram *ram, uint8_t *zero_page) {
    memcpy(zero_page + HDR_START, image->head + HDR_START, setup->header_end - HDR_START);
    zero_page[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    zero_page[HDR_LOADFLAGS] &= (uint8_t) ~(KASLR_DONE | KEEP_SEGMENTS | CAN_USE_HEAP);
    put32(zero_page + HDR_RAMDISK_IMAGE, 0);
    put32(zero_page + HDR_RAMDISK_SIZE, 0);
    put32(zero_page + HDR_CMD_LINE_PTR, COMMAND_LINE);
    put64(zero_page + ZP_ACPI_RSDP, PLACE_ACPI);
    put32(zero_page + ZP_ALT_MEM_K, (uint32_t)((ram->size - PLACE_HIGH) >> 10));

    struct memory_range map[MEMORY_MAP_RANGES];
    memory_map_make(ram, map);
    zero_page[ZP_E820_ENTRIES] = MEMORY_MAP_RANGES;
    for (unsigned i = 0; i < MEMORY_MAP_RANGES; i++) {
        uint8_t *entry = zero_page + ZP_E820_TABLE + i * E820_ENTRY_SIZE;
        put64(entry, map[i].start);
        put64(entry + 8, map[i].len);
        put32(entry + 16, map[i].type);
    }
}

/* Does the stub do more with these words than to move the kernel? It prints messages, or keeps off
 * memory. */
static bool wants_stub(const char *command_line) {
    static const char *const words[] = {"mem=", "memmap=", "earlyprintk", "console=uart"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(command_line, words[i]))
            return true;
    return false;
}

static bool has_word(const char *command_line, const char *word) {
    size_t len = strlen(word);
    for (const char *at = command_line; (at = strstr(at, word)); at += len)
        if ((at == command_line || at[-1] == ' ') && (at[len] == 0 || at[len] == ' '))
            return true;
    return false;
}

/* One of the places that the stub could choose, each as likely; `first` is one of them. */
static uint64_t choose_slot(const struct setup *setup, const struct place *place, uint64_t first) {
    uint64_t count = 0, wanted = 0, slot = first;
    for (uint64_t at = first; at + setup->init_size <= KASLR_END; at += setup->alignment)
        count += place_is_free(place, at, setup->init_size);
    if (count == 0 || getrandom(&wanted, sizeof wanted, GRND_NONBLOCK) != sizeof wanted)
        return first;
    wanted %= count;
    for (uint64_t at = first; at + setup->init_size <= KASLR_END; at += setup->alignment)
        if (place_is_free(place, at, setup->init_size) && wanted-- == 0)
            slot = at;
    return slot;
}

/* Where the guest begins: the stub, or the kernel that was in it. */
struct start {
    uint64_t load; /* of what is entered */
    uint32_t eip;
    bool kaslr_done;
};

/* Puts the kernel where its memory is, or to another place if it moves. */
static bool place_kernel(struct linux_kernel *kernel, const struct image *image,
                         const struct setup *setup, struct place *place, struct start *start) {
    struct error error; /* the stub will meet it, too */
    uint64_t at = start->load;
    place_release(place, at);
    if (start->kaslr_done)
        at = choose_slot(setup, place, at);
    uint32_t slide = (uint32_t)(at - setup->preferred);
    if (linux_kernel_slide(kernel, slide) &&
        place_take(place, image, setup->code_offset, at, setup->init_size, "the kernel", &error) ==
            0 &&
        linux_kernel_place(kernel, slide, place, &error) == 0) {
        start->load = at;
        start->eip = kernel->entry + slide;
        return true;
    }
    return false;
}

/* The kernel without its stub. False: nothing is changed, the stub has to do it. */
static bool place_unpacked(const struct image *image, const struct setup *setup,
                           const struct load_options *options, struct place *place,
                           struct start *start) {
    const char *command_line = options->append ? options->append : "";
    if (options->unpack == UNPACK_GUEST || setup->version < 0x20a || !setup->relocatable ||
        start->load < setup->preferred || setup->alignment < PAGE_SIZE || wants_stub(command_line))
        return false;
    const struct linux_payload payload = {
        .offset = setup->code_offset + get32(image->head + HDR_PAYLOAD_OFFSET),
        .size = get32(image->head + HDR_PAYLOAD_LENGTH),
        .code_end = setup->code_offset + setup->code_size,
        .preferred = setup->preferred,
        .init_size = setup->init_size,
    };
    struct linux_kernel kernel;
    if (!linux_kernel_open(&kernel, image, &payload, options->cache))
        return false;
    const struct place before = *place;
    const struct start stub = *start;
    start->kaslr_done = kernel.has_kaslr && !has_word(command_line, "nokaslr");
    bool good = place_kernel(&kernel, image, setup, place, start);
    if (!good) {
        *place = before;
        *start = stub;
    }
    linux_kernel_close(&kernel);
    return good;
}

int linux_load(const struct image *image, const struct load_options *options, struct place *place,
               struct load_result *result, struct error *error) {
    struct setup setup = {0};
    const char *command_line = options->append ? options->append : "";
    size_t length = strlen(command_line);
    if (check_header(image, &setup, error) || find_code(image, &setup, error) ||
        read_needs(image, &setup, error))
        return -1;
    if (length > setup.command_line_max)
        return error_set(error, "%s: the command line has %zu bytes, this kernel takes %llu",
                         image->name, length, (unsigned long long)setup.command_line_max);

    uint64_t load = choose_address(&setup, place->ram);
    struct start start = {.load = load, .eip = (uint32_t)load};
    uint8_t zero_page[ZP_SIZE] = {0};
    fill_zero_page(image, &setup, place->ram, zero_page);
    if (take_memory(image, &setup, place, load, error))
        return -1;
    if (options->initrd && place_initrd(options->initrd, &setup, place, zero_page, error))
        return -1;
    if (!place_unpacked(image, &setup, options, place, &start) &&
        place_file(place, image, setup.code_offset, load, setup.code_size, "the kernel", error))
        return -1;
    put32(zero_page + HDR_CODE32_START, (uint32_t)start.load);
    if (start.kaslr_done)
        zero_page[HDR_LOADFLAGS] |= KASLR_DONE;
    if (place_write(place, PLACE_BOOT_INFO, zero_page, ZP_SIZE, error) ||
        place_write(place, COMMAND_LINE, command_line, length + 1, error))
        return -1;
    /* EBP, EDI and EBX must be zero. */
    result->eip = start.eip;
    result->gpr[ESI] = PLACE_BOOT_INFO;
    result->protocol = "linux";
    return 0;
}
