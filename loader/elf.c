/* ELF32 executables for i386. Segments go to their physical addresses. */
#include <elf.h>

#include "loader/protocols.h"

#define SEGMENTS_MAX 64

bool elf_recognise(const struct image *image) {
    return image->head_size >= SELFMAG && memcmp(image->head, ELFMAG, SELFMAG) == 0;
}

static int refuse(const struct image *image, size_t offset, const char *reason,
                  unsigned long long value, struct error *error) {
    return error_set(error, "%s: offset %#zx: %s (%#llx)", image->name, offset, reason, value);
}

static int check_header(const struct image *image, Elf32_Ehdr *header, struct error *error) {
    if (image->head_size < sizeof *header)
        return refuse(image, image->head_size, "the ELF header is cut off", image->size, error);
    memcpy(header, image->head, sizeof *header);
    if (header->e_ident[EI_CLASS] != ELFCLASS32)
        return refuse(image, EI_CLASS, "an ELF file of another class than 32-bit",
                      header->e_ident[EI_CLASS], error);
    if (header->e_ident[EI_DATA] != ELFDATA2LSB)
        return refuse(image, EI_DATA, "an ELF file that is not little-endian",
                      header->e_ident[EI_DATA], error);
    if (header->e_ident[EI_VERSION] != EV_CURRENT)
        return refuse(image, EI_VERSION, "an unknown ELF version", header->e_ident[EI_VERSION],
                      error);
    if (header->e_type != ET_EXEC)
        return refuse(image, offsetof(Elf32_Ehdr, e_type), "an ELF file that is not an executable",
                      header->e_type, error);
    if (header->e_machine != EM_386)
        return refuse(image, offsetof(Elf32_Ehdr, e_machine), "an ELF file not for i386",
                      header->e_machine, error);
    if (header->e_phentsize != sizeof(Elf32_Phdr))
        return refuse(image, offsetof(Elf32_Ehdr, e_phentsize), "a wrong size of program headers",
                      header->e_phentsize, error);
    if (header->e_phnum == 0 || header->e_phnum > SEGMENTS_MAX)
        return refuse(image, offsetof(Elf32_Ehdr, e_phnum), "no or too many program headers",
                      header->e_phnum, error);
    return 0;
}

static int place_segment(const struct image *image, const Elf32_Phdr *segment, size_t offset,
                         struct place *place, struct error *error) {
    if (segment->p_type == PT_INTERP)
        return refuse(image, offset, "a program that wants an interpreter, not a kernel",
                      segment->p_offset, error);
    if (segment->p_type != PT_LOAD)
        return 0;
    if (segment->p_filesz > segment->p_memsz)
        return refuse(image, offset, "a segment larger in the file than in memory",
                      segment->p_filesz, error);
    if (!image_has(image, segment->p_offset, segment->p_filesz))
        return refuse(image, offset, "a segment that ends behind the end of the file",
                      (uint64_t)segment->p_offset + segment->p_filesz, error);
    if (place_take(place, image, offset, segment->p_paddr, segment->p_memsz, "a segment", error))
        return -1;
    return place_file(place, image, segment->p_offset, segment->p_paddr, segment->p_filesz,
                      "a segment", error);
}

static bool within(uint32_t address, uint32_t start, uint32_t len) {
    return address >= start && address - start < len;
}

/* The entry is a virtual address by the letter; kernels linked high also give the physical one. */
static bool find_entry(const Elf32_Phdr *segments, unsigned count, uint32_t said, uint32_t *entry) {
    for (unsigned i = 0; i < count; i++)
        if (segments[i].p_type == PT_LOAD &&
            within(said, segments[i].p_vaddr, segments[i].p_memsz)) {
            *entry = said - segments[i].p_vaddr + segments[i].p_paddr;
            return true;
        }
    *entry = said;
    for (unsigned i = 0; i < count; i++)
        if (segments[i].p_type == PT_LOAD && within(said, segments[i].p_paddr, segments[i].p_memsz))
            return true;
    return false;
}

int elf_place(const struct image *image, struct place *place, uint32_t *entry,
              struct error *error) {
    Elf32_Ehdr header;
    Elf32_Phdr segments[SEGMENTS_MAX];
    if (check_header(image, &header, error))
        return -1;
    if (image_read(image, header.e_phoff, segments, header.e_phnum * sizeof *segments,
                   "the table of program headers", error))
        return -1;
    for (unsigned i = 0; i < header.e_phnum; i++)
        if (place_segment(image, &segments[i], header.e_phoff + i * sizeof *segments, place, error))
            return -1;
    if (!find_entry(segments, header.e_phnum, header.e_entry, entry))
        return refuse(image, offsetof(Elf32_Ehdr, e_entry), "the entry lies in no loaded segment",
                      header.e_entry, error);
    return 0;
}

int elf_load(const struct image *image, const struct load_options *options, struct place *place,
             struct load_result *result, struct error *error) {
    if (options->initrd)
        return error_set(error, "%s: a plain ELF executable takes no initrd", image->name);
    if (options->append && options->append[0] != '\0')
        return error_set(error, "%s: a plain ELF executable takes no command line", image->name);
    result->protocol = "elf";
    return elf_place(image, place, &result->eip, error);
}
