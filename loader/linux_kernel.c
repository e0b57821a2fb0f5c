/* Unpacking a Linux kernel on the host: see linux_kernel.h. */
#include "loader/linux_kernel.h"

#include <assert.h>
#include <elf.h>
#include <stdlib.h>

#include "loader/kernel_cache.h"
#include "loader/unpack.h"

#define SIZE_FIELD 4u /* every payload ends with the unpacked size, gzip's too */

/* The stub is not packed, and says so when it was told not to slide. */
static bool stub_has_kaslr(const struct image *image, const struct linux_payload *payload) {
    static const char word[] = "KASLR disabled: 'nokaslr' on cmdline.";
    uint64_t start = payload->offset + payload->size, size = payload->code_end - start;
    struct error error;
    uint8_t *stub = malloc(size ? size : 1);
    bool found = stub && image_read(image, start, stub, size, "the stub", &error) == 0 &&
                 memmem(stub, size, word, sizeof word - 1) != NULL;
    free(stub);
    return found;
}

/* All of a segment in the file, and all of it in the memory that the header asks for. */
static bool add_segment(struct linux_kernel *kernel, const struct linux_payload *payload,
                        const Elf32_Phdr *header) {
    if (header->p_type != PT_LOAD || header->p_memsz == 0)
        return true;
    uint64_t start = header->p_paddr, end = start + header->p_memsz;
    if (kernel->segment_count == LINUX_SEGMENTS_MAX || header->p_filesz > header->p_memsz ||
        header->p_offset > kernel->size || header->p_filesz > kernel->size - header->p_offset ||
        start < payload->preferred || end > payload->preferred + payload->init_size)
        return false;
    uint32_t to_virtual = header->p_vaddr - header->p_paddr;
    if (kernel->segment_count && to_virtual != kernel->to_virtual)
        return false;
    kernel->to_virtual = to_virtual;
    kernel->segments[kernel->segment_count++] =
        (struct linux_segment){header->p_offset, header->p_filesz, header->p_paddr};
    return true;
}

static bool read_elf(struct linux_kernel *kernel, const struct linux_payload *payload) {
    Elf32_Ehdr header;
    if (kernel->size < sizeof header)
        return false;
    memcpy(&header, kernel->bytes, sizeof header);
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS32 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_386 ||
        header.e_type != ET_EXEC || header.e_phentsize != sizeof(Elf32_Phdr) ||
        header.e_phoff > kernel->size ||
        (kernel->size - header.e_phoff) / sizeof(Elf32_Phdr) < header.e_phnum)
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf32_Phdr segment;
        memcpy(&segment, kernel->bytes + header.e_phoff + i * sizeof segment, sizeof segment);
        if (!add_segment(kernel, payload, &segment))
            return false;
    }
    kernel->entry = header.e_entry;
    for (unsigned i = 0; i < kernel->segment_count; i++)
        if (header.e_entry - kernel->segments[i].physical < kernel->segments[i].size)
            return true;
    return false;
}

/* The payload unpacked, by whoever has it. */
static bool get_bytes(struct linux_kernel *kernel, const struct image *image,
                      const struct linux_payload *payload, const uint8_t *packed,
                      const char *cache) {
    struct unpacked unpacked;
    struct error error;
    bool kept = cache && kernel_cache_find(cache, packed, payload->size, &unpacked);
    if (!kept && unpack(image->name, packed, payload->size, UNPACKED_MAX, &unpacked, &error))
        return false;
    kernel->bytes = unpacked.bytes;
    kernel->size = unpacked.size;
    if (get32(packed + payload->size - SIZE_FIELD) != unpacked.size || !read_elf(kernel, payload)) {
        linux_kernel_close(kernel);
        return false;
    }
    if (cache && !kept)
        kernel_cache_keep(cache, packed, payload->size, &unpacked);
    return true;
}

bool linux_kernel_open(struct linux_kernel *kernel, const struct image *image,
                       const struct linux_payload *payload, const char *cache) {
    assert(payload->code_end <= image->size);
    *kernel = (struct linux_kernel){.preferred = payload->preferred};
    if (payload->size <= SIZE_FIELD || payload->offset > payload->code_end ||
        payload->size > payload->code_end - payload->offset ||
        payload->preferred + payload->init_size > UINT32_MAX)
        return false;
    struct error error;
    uint8_t *packed = malloc(payload->size);
    bool good =
        packed &&
        image_read(image, payload->offset, packed, payload->size, "the kernel", &error) == 0 &&
        get_bytes(kernel, image, payload, packed, cache);
    free(packed);
    if (good)
        kernel->has_kaslr = stub_has_kaslr(image, payload);
    return good;
}

void linux_kernel_close(struct linux_kernel *kernel) {
    free(kernel->bytes);
    *kernel = (struct linux_kernel){0};
}

/* The 32-bit word that is linked at linear address `gva`; NULL where there is none in the file. */
static uint8_t *word_at(struct linux_kernel *kernel, uint32_t gva) {
    uint32_t physical = gva - kernel->to_virtual;
    for (unsigned i = 0; i < kernel->segment_count; i++) {
        const struct linux_segment *segment = &kernel->segments[i];
        uint32_t into = physical - segment->physical;
        if (into < segment->size && segment->size - into >= 4)
            return kernel->bytes + segment->offset + into;
    }
    return NULL;
}

/* The list's end is the file's; it is read backwards, to a zero that lies behind the segments. */
bool linux_kernel_slide(struct linux_kernel *kernel, uint32_t slide) {
    size_t first = 0;
    for (unsigned i = 0; i < kernel->segment_count; i++) {
        const struct linux_segment *segment = &kernel->segments[i];
        if (segment->offset + segment->size > first)
            first = segment->offset + segment->size;
    }
    assert(first <= kernel->size);
    if (slide == 0)
        return true;
    for (size_t at = kernel->size; at - first >= 4;) {
        at -= 4;
        uint32_t gva = get32(kernel->bytes + at);
        if (gva == 0)
            return true;
        uint8_t *word = word_at(kernel, gva);
        if (!word)
            return false;
        put32(word, get32(word) + slide);
    }
    return false;
}

int linux_kernel_place(const struct linux_kernel *kernel, uint32_t slide, struct place *place,
                       struct error *error) {
    for (unsigned i = 0; i < kernel->segment_count; i++) {
        const struct linux_segment *segment = &kernel->segments[i];
        if (segment->size && place_write(place, segment->physical + slide,
                                         kernel->bytes + segment->offset, segment->size, error))
            return -1;
    }
    return 0;
}
