/* Writing symbols as an ELF file (symbols_write.h).
 *
 * A debugger tells code from data by the section that a symbol lies in. So neighbouring symbols of
 * one kind share a section of their own, which covers their addresses and has no contents: those
 * are read from the guest. */
#include "inspect/symbols_write.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTIONS_MAX 16384u /* what does not fit joins the last */
#define LAST_SIZE 4096u     /* of the last symbol, which nothing ends */

enum { NAME_TEXT = 1, NAME_DATA = 7, NAME_SYMTAB = 13, NAME_STRTAB = 21, NAME_SHSTRTAB = 29 };
static const char section_names[] = "\0.text\0.data\0.symtab\0.strtab\0.shstrtab";

struct writer {
    const struct symbols *symbols;
    size_t count;
    Elf32_Shdr *sections; /* a null one, runs of symbols, three tables */
    unsigned section_count;
    Elf32_Sym *table;
    size_t table_count;
    char *strings;
    size_t strings_size;
};

static bool is_code(char type) { return strchr("tTwW", type) != NULL; }

static void begin_section(struct writer *w, const struct symbol *symbol) {
    bool code = is_code(symbol->type);
    w->sections[w->section_count++] =
        (Elf32_Shdr){.sh_name = code ? NAME_TEXT : NAME_DATA,
                     .sh_type = SHT_NOBITS,
                     .sh_flags = SHF_ALLOC | (code ? SHF_EXECINSTR : SHF_WRITE),
                     .sh_addr = symbol->address,
                     .sh_addralign = 1};
}

static void add_symbol(struct writer *w, const struct symbol *symbol, uint32_t size,
                       unsigned section) {
    bool code = is_code(symbol->type), local = symbol->type >= 'a' && symbol->type <= 'z';
    bool weak = strchr("wWvV", symbol->type) != NULL;
    unsigned binding = local ? STB_LOCAL : weak ? STB_WEAK : STB_GLOBAL;
    size_t len = strlen(symbol->name) + 1;
    w->table[w->table_count++] =
        (Elf32_Sym){.st_name = (Elf32_Word)w->strings_size,
                    .st_value = symbol->address,
                    .st_size = size,
                    .st_info = (unsigned char)ELF32_ST_INFO(binding, code ? STT_FUNC : STT_OBJECT),
                    .st_shndx = (Elf32_Half)section};
    memcpy(w->strings + w->strings_size, symbol->name, len);
    w->strings_size += len;
}

/* ELF wants local symbols first, so there are two rounds; sections are made in the first. */
static void add_symbols(struct writer *w, bool local) {
    unsigned section = 0;
    bool code = false;
    for (size_t i = 0; i < w->count; i++) {
        struct symbol symbol = symbols_get(w->symbols, i);
        gva_t next =
            i + 1 < w->count ? symbols_get(w->symbols, i + 1).address : symbol.address + LAST_SIZE;
        if (!section || (is_code(symbol.type) != code && section < SECTIONS_MAX)) {
            if (local)
                begin_section(w, &symbol);
            code = is_code(symbol.type);
            section++;
        }
        w->sections[section].sh_size = next - w->sections[section].sh_addr;
        if ((symbol.type >= 'a' && symbol.type <= 'z') == local)
            add_symbol(w, &symbol, next - symbol.address, section);
    }
}

static bool allocate(struct writer *w) {
    size_t bytes = 1;
    for (size_t i = 0; i < w->count; i++)
        bytes += strlen(symbols_get(w->symbols, i).name) + 1;
    w->sections = calloc(SECTIONS_MAX + 8, sizeof *w->sections);
    w->table = calloc(w->count + 1, sizeof *w->table);
    w->strings = calloc(1, bytes);
    w->section_count = 1;
    w->table_count = w->strings_size = 1;
    return w->sections && w->table && w->strings;
}

static void add_table(struct writer *w, unsigned name, unsigned type, size_t offset, size_t size) {
    w->sections[w->section_count++] = (Elf32_Shdr){.sh_name = name,
                                                   .sh_type = type,
                                                   .sh_offset = (Elf32_Off)offset,
                                                   .sh_size = (Elf32_Word)size,
                                                   .sh_addralign = 1};
}

/* The file: header, symbols, their names, the sections' names, sections. */
static bool write_file(struct writer *w, unsigned first_global, FILE *file) {
    size_t table_size = w->table_count * sizeof *w->table, at = sizeof(Elf32_Ehdr);
    unsigned symtab = w->section_count;
    add_table(w, NAME_SYMTAB, SHT_SYMTAB, at, table_size);
    w->sections[symtab].sh_link = symtab + 1;
    w->sections[symtab].sh_info = first_global;
    w->sections[symtab].sh_entsize = sizeof *w->table;
    w->sections[symtab].sh_addralign = 4;
    at += table_size;
    add_table(w, NAME_STRTAB, SHT_STRTAB, at, w->strings_size);
    at += w->strings_size;
    add_table(w, NAME_SHSTRTAB, SHT_STRTAB, at, sizeof section_names);
    at += sizeof section_names;
    const Elf32_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_386,
        .e_version = EV_CURRENT,
        .e_shoff = (Elf32_Off)at,
        .e_ehsize = sizeof header,
        .e_shentsize = sizeof(Elf32_Shdr),
        .e_shnum = (Elf32_Half)w->section_count,
        .e_shstrndx = (Elf32_Half)(symtab + 2)};
    return fwrite(&header, sizeof header, 1, file) == 1 &&
           fwrite(w->table, table_size, 1, file) == 1 &&
           fwrite(w->strings, w->strings_size, 1, file) == 1 &&
           fwrite(section_names, sizeof section_names, 1, file) == 1 &&
           fwrite(w->sections, sizeof *w->sections, w->section_count, file) == w->section_count;
}

static int write_to(struct writer *w, const char *path, struct error *error) {
    FILE *file = fopen(path, "we");
    if (!file)
        return error_set(error, "--elf '%s': %s", path, strerror(errno));
    add_symbols(w, true);
    unsigned first_global = (unsigned)w->table_count;
    add_symbols(w, false);
    bool written = write_file(w, first_global, file);
    if (fclose(file) || !written)
        return error_set(error, "--elf '%s': %s", path, strerror(errno));
    return 0;
}

int symbols_write_elf(const struct symbols *symbols, const char *path, struct error *error) {
    struct writer w = {.symbols = symbols, .count = symbols_count(symbols)};
    int rc = allocate(&w) ? write_to(&w, path, error)
                          : error_set(error, "no memory for %zu symbols", w.count);
    free(w.sections);
    free(w.table);
    free(w.strings);
    return rc;
}
