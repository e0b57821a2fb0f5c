/* Kernel files in memory (kernel_image.h): reading, unpacking a bzImage, the program headers. */
#include "inspect/kernel_image.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/unpack.h"

#define FILE_MAX UNPACKED_MAX
/* The setup header of a bzImage (Documentation/arch/x86/boot.rst). */
#define HDR_SETUP_SECTS 0x1f1
#define HDR_BOOT_FLAG 0x1fe
#define HDR_MAGIC 0x202
#define HDR_VERSION 0x206
#define HDR_PAYLOAD_OFFSET 0x248
#define HDR_PAYLOAD_LENGTH 0x24c
#define HDR_END 0x250
#define VERSION_WITH_PAYLOAD 0x208

static uint32_t get(const uint8_t *at, unsigned bytes) {
    uint32_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

/* Reads until the end, since files of /proc do not tell their size. */
static int read_all(struct kernel_image *image, int fd, struct error *error) {
    size_t room = 0;
    for (;;) {
        if (image->size == room) {
            room = room ? room * 2 : 1 << 20;
            uint8_t *bytes = room > FILE_MAX ? NULL : realloc(image->bytes, room);
            if (!bytes)
                return error_set(error, "%s: larger than memory or 256 MiB", image->name);
            image->bytes = bytes;
        }
        ssize_t got = read(fd, image->bytes + image->size, room - image->size);
        if (got < 0 && errno != EINTR)
            return error_set(error, "%s: %s", image->name, strerror(errno));
        if (got == 0)
            return image->size ? 0 : error_set(error, "%s: empty file", image->name);
        image->size += got > 0 ? (size_t)got : 0;
    }
}

static int read_file(struct kernel_image *image, const char *path, struct error *error) {
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(error, "%s: %s", path, strerror(errno));
    int rc = fstat(fd, &stat) ? error_set(error, "%s: %s", path, strerror(errno)) : 0;
    if (!rc && !S_ISREG(stat.st_mode))
        rc = error_set(error, "%s: not a regular file", path);
    if (!rc)
        rc = read_all(image, fd, error);
    close(fd);
    return rc;
}

static bool is_bzimage(const struct kernel_image *image) {
    return image->size >= HDR_END && get(image->bytes + HDR_BOOT_FLAG, 2) == 0xaa55 &&
           !memcmp(image->bytes + HDR_MAGIC, "HdrS", 4);
}

/* Puts the payload, unpacked, in the place of the bzImage. */
static int unpack_bzimage(struct kernel_image *image, struct error *error) {
    const uint8_t *head = image->bytes;
    unsigned version = get(head + HDR_VERSION, 2), sectors = head[HDR_SETUP_SECTS];
    if (version < VERSION_WITH_PAYLOAD)
        return error_set(error,
                         "%s: boot protocol %u.%02u does not say where the kernel lies, 2.08 does",
                         image->name, version >> 8, version & 0xff);
    uint64_t start =
        ((uint64_t)(sectors ? sectors : 4) + 1) * 512 + get(head + HDR_PAYLOAD_OFFSET, 4);
    uint64_t size = get(head + HDR_PAYLOAD_LENGTH, 4);
    if (start > image->size || size > image->size - start)
        return error_set(error,
                         "%s: offset %#x: the packed kernel lies at %#llx, %#llx bytes, but the "
                         "file ends at %#zx",
                         image->name, HDR_PAYLOAD_OFFSET, (unsigned long long)start,
                         (unsigned long long)size, image->size);
    struct unpacked unpacked;
    if (unpack(image->name, image->bytes + start, size, UNPACKED_MAX, &unpacked, error))
        return -1;
    free(image->bytes);
    image->bytes = unpacked.bytes;
    image->size = unpacked.size;
    return 0;
}

static int add_segment(struct kernel_image *image, const Elf32_Phdr *header, struct error *error) {
    if (header->p_type != PT_LOAD || !header->p_filesz)
        return 0;
    if (header->p_offset > image->size || header->p_filesz > image->size - header->p_offset)
        return error_set(error,
                         "%s: a segment at offset %#x has %#x bytes, but the file ends at %#zx",
                         image->name, header->p_offset, header->p_filesz, image->size);
    if (header->p_filesz - 1 > UINT32_MAX - header->p_vaddr)
        return error_set(error, "%s: the segment at %#x goes beyond 4 GiB", image->name,
                         header->p_vaddr);
    if (image->segment_count == KERNEL_SEGMENTS_MAX)
        return error_set(error, "%s: more than %u segments", image->name, KERNEL_SEGMENTS_MAX);
    assert(image->segment_count < KERNEL_SEGMENTS_MAX && header->p_filesz > 0);
    image->segments[image->segment_count++] =
        (struct kernel_segment){.start = header->p_vaddr,
                                .load = header->p_paddr,
                                .size = header->p_filesz,
                                .bytes = image->bytes + header->p_offset,
                                .executable = header->p_flags & PF_X};
    return 0;
}

static int read_elf(struct kernel_image *image, struct error *error) {
    Elf32_Ehdr head;
    if (image->size <= EI_CLASS || image->bytes[EI_CLASS] != ELFCLASS32)
        return error_set(error, "%s: a 64-bit ELF file, only 32-bit guests are known", image->name);
    if (image->size < sizeof head)
        return error_set(error, "%s: the ELF header is cut off", image->name);
    memcpy(&head, image->bytes, sizeof head);
    if (head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_machine != EM_386)
        return error_set(error, "%s: an ELF file of machine %u, not of i386", image->name,
                         head.e_machine);
    image->elf = true;
    image->entry = head.e_entry;
    if (head.e_phnum && head.e_phentsize != sizeof(Elf32_Phdr))
        return error_set(error, "%s: program headers of %u bytes, not %zu", image->name,
                         head.e_phentsize, sizeof(Elf32_Phdr));
    if (head.e_phoff > image->size ||
        (size_t)head.e_phnum * sizeof(Elf32_Phdr) > image->size - head.e_phoff)
        return error_set(error, "%s: offset %#x: the program headers are cut off", image->name,
                         head.e_phoff);
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf32_Phdr header;
        memcpy(&header, image->bytes + head.e_phoff + i * sizeof header, sizeof header);
        if (add_segment(image, &header, error))
            return -1;
    }
    return 0;
}

/* What `bytes` are. Closes the image when they are not right. */
static int take_apart(struct kernel_image *image, struct error *error) {
    assert(image->size > 0);
    bool packed = is_bzimage(image);
    int rc = packed ? unpack_bzimage(image, error) : 0;
    bool elf = !rc && image->size >= SELFMAG && !memcmp(image->bytes, ELFMAG, SELFMAG);
    if (elf)
        rc = read_elf(image, error);
    else if (!rc && packed)
        rc = error_set(error, "%s: what is packed in it is no ELF file", image->name);
    if (rc)
        kernel_image_close(image);
    return rc;
}

int kernel_image_open(struct kernel_image *image, const char *path, struct error *error) {
    *image = (struct kernel_image){.name = path};
    if (read_file(image, path, error)) {
        kernel_image_close(image);
        return -1;
    }
    return take_apart(image, error);
}

int kernel_image_from(struct kernel_image *image, const char *name, const uint8_t *bytes,
                      size_t size, struct error *error) {
    *image = (struct kernel_image){.name = name, .bytes = malloc(size ? size : 1), .size = size};
    if (!image->bytes || !size) {
        kernel_image_close(image);
        return error_set(error, "%s: %s", name, size ? strerror(ENOMEM) : "empty file");
    }
    memcpy(image->bytes, bytes, size);
    return take_apart(image, error);
}

void kernel_image_close(struct kernel_image *image) {
    free(image->bytes);
    *image = (struct kernel_image){.name = image->name};
}

size_t kernel_image_at(const struct kernel_image *image, gva_t start, const uint8_t **at) {
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct kernel_segment *segment = &image->segments[i];
        if (start - segment->start < segment->size) {
            *at = segment->bytes + (start - segment->start);
            return segment->size - (start - segment->start);
        }
    }
    return 0;
}

gva_t kernel_image_linked(const struct kernel_image *image, gva_t address) {
    const uint8_t *at;
    if (kernel_image_at(image, address, &at))
        return address;
    for (unsigned i = 0; i < image->segment_count; i++) {
        const struct kernel_segment *segment = &image->segments[i];
        if (address - segment->load < segment->size)
            return address - segment->load + segment->start;
    }
    return address;
}
