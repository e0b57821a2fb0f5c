/* Symbols of an ELF32 file's .symtab. */
#include <assert.h>
#include <elf.h>
#include <string.h>

#include "inspect/symbols_private.h"

/* Is [offset, offset+len) in the file? */
static bool has(const struct kernel_image *image, uint64_t offset, uint64_t len) {
    return offset <= image->size && len <= image->size - offset;
}

struct sections {
    const struct kernel_image *image;
    uint32_t offset;
    unsigned count;
};

static bool section(const struct sections *sections, unsigned index, Elf32_Shdr *header) {
    if (index >= sections->count)
        return false;
    memcpy(header, sections->image->bytes + sections->offset + (size_t)index * sizeof *header,
           sizeof *header);
    return true;
}

/* The letter that nm would print. */
static char letter(const struct sections *sections, const Elf32_Sym *symbol) {
    bool local = ELF32_ST_BIND(symbol->st_info) == STB_LOCAL;
    Elf32_Shdr in;
    char type = 'D';
    if (ELF32_ST_BIND(symbol->st_info) == STB_WEAK)
        return 'W';
    if (symbol->st_shndx == SHN_ABS)
        type = 'A';
    else if (!section(sections, symbol->st_shndx, &in))
        type = 'D';
    else if (in.sh_flags & SHF_EXECINSTR)
        type = 'T';
    else if (in.sh_type == SHT_NOBITS)
        type = 'B';
    else if (!(in.sh_flags & SHF_WRITE))
        type = 'R';
    return local ? (char)(type | 0x20) : type;
}

static bool is_name(const Elf32_Sym *symbol) {
    unsigned type = ELF32_ST_TYPE(symbol->st_info);
    bool constant = symbol->st_shndx == SHN_ABS && ELF32_ST_BIND(symbol->st_info) == STB_LOCAL;
    return !constant && symbol->st_shndx != SHN_UNDEF && symbol->st_shndx != SHN_COMMON &&
           (type == STT_NOTYPE || type == STT_OBJECT || type == STT_FUNC) && symbol->st_name;
}

static int read_table(struct symbols *symbols, const struct sections *sections,
                      const Elf32_Shdr *table, struct error *error) {
    const struct kernel_image *image = sections->image;
    Elf32_Shdr strings;
    if (!section(sections, table->sh_link, &strings) ||
        !has(image, strings.sh_offset, strings.sh_size))
        return error_set(error, "%s: the symbol table's names (section %u) lie outside the file",
                         image->name, table->sh_link);
    if (!has(image, table->sh_offset, table->sh_size))
        return error_set(error, "%s: offset %#x: %#x bytes of symbols, but the file ends at %#zx",
                         image->name, table->sh_offset, table->sh_size, image->size);
    const char *names = (const char *)image->bytes + strings.sh_offset;
    for (uint32_t i = 0; i < table->sh_size / sizeof(Elf32_Sym); i++) {
        Elf32_Sym symbol;
        memcpy(&symbol, image->bytes + table->sh_offset + i * sizeof symbol, sizeof symbol);
        if (!is_name(&symbol))
            continue;
        size_t room = symbol.st_name < strings.sh_size ? strings.sh_size - symbol.st_name : 0;
        size_t len = room ? strnlen(names + symbol.st_name, room) : 0;
        if (len == room)
            return error_set(error, "%s: symbol %u has its name outside the table of names",
                             image->name, i);
        if (len > SYMBOL_NAME_MAX)
            len = SYMBOL_NAME_MAX;
        if (len && !symbols_add(symbols, symbol.st_value, letter(sections, &symbol),
                                names + symbol.st_name, len))
            return symbols_no_room(image, error);
    }
    return 0;
}

int symbols_read_elf(struct symbols *symbols, const struct kernel_image *image,
                     struct error *error) {
    Elf32_Ehdr head;
    Elf32_Shdr table;
    assert(image->elf && image->size >= sizeof head);
    memcpy(&head, image->bytes, sizeof head);
    if (!head.e_shoff || !head.e_shnum)
        return 0;
    if (head.e_shentsize != sizeof(Elf32_Shdr) ||
        !has(image, head.e_shoff, (uint64_t)head.e_shnum * sizeof(Elf32_Shdr)))
        return error_set(error, "%s: offset %#x: the section headers are cut off or not ELF32's",
                         image->name, head.e_shoff);
    struct sections sections = {image, head.e_shoff, head.e_shnum};
    for (unsigned i = 0; section(&sections, i, &table); i++)
        if (table.sh_type == SHT_SYMTAB && read_table(symbols, &sections, &table, error))
            return -1;
    return 0;
}
