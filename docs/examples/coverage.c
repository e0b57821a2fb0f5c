/* A plugin: which lines of a guest kernel were executed, and how often, as an lcov tracefile.
 *
 *   ring3 run --kernel kernel.elf --plugin coverage.so,kernel=kernel.elf,out=kernel.info
 *   genhtml kernel.info
 *
 * The ELF file has the kernel's line table (DWARF) and symbols. A line's count is the highest of
 * its instructions', each of which has a counter in the fragments that hold it. Without DWARF there
 * is one pseudo-line a function, numbered in the order of addresses, in a source file that is the
 * ELF file. All is read before the guest runs; the tracefile is written when it has ended. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ring3/plugin.h"

RING3_PLUGIN();

#define SLOTS (1u << 20) /* of the table of instructions */
#define SLOTS_USED_MAX (SLOTS / 4 * 3)

struct row { /* of the line table: from this address to the next row's */
    uint32_t address;
    int line; /* 0: the end of a sequence */
    const char *file;
};

struct function {
    uint32_t address;
    char *name;
    const char *file;
    int line;
};

struct slot {
    uint32_t address;
    ring3_handle counter; /* 0: free */
};

/* A line of the tracefile. */
struct line {
    const char *file;
    int line;
    uint64_t count;
};

static const struct ring3_api *api;
static ring3_handle out;
static const char *kernel;
static struct row *rows;
static struct function *functions;
static size_t row_count, function_count;
static uint32_t first = UINT32_MAX, last;
static struct slot *slots;
static uint32_t slots_used;

/* The address's slot, or the free one where it would go. */
static struct slot *find(uint32_t address) {
    uint32_t at = address * 0x9e3779b1u >> 12;
    while (slots[at].counter && slots[at].address != address)
        at = (at + 1) % SLOTS;
    return &slots[at];
}

static uint64_t executed(uint32_t address) {
    const struct slot *slot = find(address);
    uint64_t count = 0;
    if (slot->counter)
        api->read_counter(slot->counter, &count);
    return count;
}

static void on_translate(void *opaque, const struct ring3_event *event) {
    struct ring3_insn insn = {.size = sizeof insn};
    (void)opaque;
    if (event->translate.address < first || event->translate.address >= last)
        return;
    for (uint32_t i = 0; i < event->translate.insns && slots_used < SLOTS_USED_MAX; i++) {
        if (api->get_insn(i, &insn) != RING3_OK)
            continue;
        struct slot *slot = find(insn.address);
        if (!slot->counter) {
            if (api->new_counter(&slot->counter) != RING3_OK)
                return;
            slot->address = insn.address;
            slots_used++;
        }
        api->count(i, slot->counter);
    }
}

/* The row that holds an address, NULL: none. */
static const struct row *row_at(uint32_t address) {
    size_t low = 0, high = row_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low && rows[low - 1].line ? &rows[low - 1] : NULL;
}

static int by_address(const void *a, const void *b) {
    const struct row *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return (x->line != 0) - (y->line != 0); /* an end before what begins there */
}

static int function_by_address(const void *a, const void *b) {
    const struct function *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

static int by_line(const void *a, const void *b) {
    const struct line *x = a, *y = b;
    int files = strcmp(x->file, y->file);
    return files ? files : x->line < y->line ? -1 : x->line > y->line;
}

__attribute__((format(printf, 1, 2))) static void print(const char *format, ...) {
    char text[4200];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len > 0)
        api->write_output(out, text, (size_t)len < sizeof text ? (size_t)len : sizeof text - 1);
}

/* One line for each of a file's, with the highest count of its rows. `lines` is sorted. */
static size_t merge(struct line *lines, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct line *before = kept ? &lines[kept - 1] : NULL;
        if (before && before->line == lines[i].line && !strcmp(before->file, lines[i].file))
            before->count = before->count > lines[i].count ? before->count : lines[i].count;
        else
            lines[kept++] = lines[i];
    }
    return kept;
}

static void print_functions(const char *file) {
    unsigned found = 0, hit = 0;
    for (size_t i = 0; i < function_count; i++) {
        const struct function *f = &functions[i];
        if (strcmp(f->file, file) != 0)
            continue;
        uint64_t count = executed(f->address);
        print("FN:%d,%s\nFNDA:%llu,%s\n", f->line, f->name, (unsigned long long)count, f->name);
        found++;
        hit += count != 0;
    }
    print("FNF:%u\nFNH:%u\n", found, hit);
}

static void print_file(const struct line *lines, size_t count) {
    unsigned hit = 0;
    print("TN:ring3\nSF:%s\n", lines[0].file);
    print_functions(lines[0].file);
    for (size_t i = 0; i < count; i++) {
        print("DA:%d,%llu\n", lines[i].line, (unsigned long long)lines[i].count);
        hit += lines[i].count != 0;
    }
    print("LF:%zu\nLH:%u\nend_of_record\n", count, hit);
}

/* Rows that nothing was executed of count as well: they are lines that a test has missed. */
static size_t collect(struct line *lines) {
    size_t count = 0;
    for (size_t i = 0; i < row_count; i++)
        if (rows[i].line)
            lines[count++] = (struct line){rows[i].file, rows[i].line, executed(rows[i].address)};
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct row *row = slots[i].counter ? row_at(slots[i].address) : NULL;
        if (row)
            lines[count++] = (struct line){row->file, row->line, executed(slots[i].address)};
    }
    return count;
}

static void on_end(void *opaque, const struct ring3_event *event) {
    void *memory;
    (void)opaque, (void)event;
    if (api->alloc((row_count + slots_used) * sizeof(struct line), &memory) != RING3_OK)
        return;
    struct line *lines = memory;
    size_t count = collect(lines);
    qsort(lines, count, sizeof *lines, by_line);
    count = merge(lines, count);
    for (size_t start = 0, i = 1; i <= count; i++)
        if (i == count || strcmp(lines[i].file, lines[start].file) != 0) {
            print_file(lines + start, i - start);
            start = i;
        }
}

static void *grow(void *list, size_t count, size_t size) {
    if (count & (count - 1)) /* full at powers of two */
        return list;
    void *more = realloc(list, (count ? 2 * count : 1) * size);
    if (!more)
        abort();
    return more;
}

static void add_row(uint32_t address, int line, const char *file) {
    rows = grow(rows, row_count, sizeof *rows);
    rows[row_count++] = (struct row){address, line, file};
    first = address < first ? address : first;
    last = address > last ? address : last;
}

/* The file as genhtml finds it: names may be relative to where the unit was compiled. */
static const char *full_name(const char *file, Dwarf_Die *unit) {
    Dwarf_Attribute attribute;
    const char *directory = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute));
    char *name;
    if (*file == '/' || !directory || asprintf(&name, "%s/%s", directory, file) < 0)
        return strdup(file);
    return name;
}

static void read_unit(Dwarf_Die *unit) {
    Dwarf_Lines *lines;
    size_t count;
    const char *last_source = NULL, *name = NULL;
    if (dwarf_getsrclines(unit, &lines, &count))
        return;
    for (size_t i = 0; i < count; i++) {
        Dwarf_Line *line = dwarf_onesrcline(lines, i);
        Dwarf_Addr address = 0;
        int number = 0;
        bool ends = false;
        const char *source = dwarf_linesrc(line, NULL, NULL);
        dwarf_lineaddr(line, &address);
        dwarf_lineno(line, &number);
        dwarf_lineendsequence(line, &ends);
        if (!source || address > UINT32_MAX)
            continue;
        if (source != last_source)
            name = full_name(last_source = source, unit);
        add_row((uint32_t)address, ends ? 0 : number, name);
    }
}

static void read_lines(Elf *elf) {
    Dwarf *dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
    Dwarf_Off at = 0, next;
    size_t header;
    for (; dwarf && !dwarf_nextcu(dwarf, at, &next, &header, NULL, NULL, NULL); at = next) {
        Dwarf_Die unit;
        if (dwarf_offdie(dwarf, at + header, &unit))
            read_unit(&unit);
    }
    qsort(rows, row_count, sizeof *rows, by_address);
    if (dwarf)
        dwarf_end(dwarf);
}

static void read_section(Elf *elf, Elf_Scn *section, const GElf_Shdr *header) {
    Elf_Data *data = elf_getdata(section, NULL);
    GElf_Sym symbol;
    for (int i = 0; data && gelf_getsym(data, i, &symbol); i++) {
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (GELF_ST_TYPE(symbol.st_info) != STT_FUNC || !name || symbol.st_shndx == SHN_UNDEF)
            continue;
        functions = grow(functions, function_count, sizeof *functions);
        functions[function_count++] =
            (struct function){(uint32_t)symbol.st_value, strdup(name), kernel, 0};
    }
}

static void read_symbols(Elf *elf) {
    Elf_Scn *section = NULL;
    GElf_Shdr header;
    while ((section = elf_nextscn(elf, section)))
        if (gelf_getshdr(section, &header) && header.sh_type == SHT_SYMTAB)
            read_section(elf, section, &header);
    qsort(functions, function_count, sizeof *functions, function_by_address);
}

/* Functions get the line that their first instruction has; or, without a line table, each is one.
 */
static void join(void) {
    int has_lines = row_count != 0;
    for (size_t i = 0; i < function_count; i++) {
        struct function *f = &functions[i];
        if (!has_lines)
            add_row(f->address, (int)i + 1, kernel);
        const struct row *row = row_at(f->address);
        f->file = row ? row->file : kernel;
        f->line = row ? row->line : 0;
    }
    if (!has_lines)
        last = UINT32_MAX; /* the last one's end is not known */
}

static int read_kernel(void) {
    int fd = open(kernel, O_RDONLY | O_CLOEXEC);
    elf_version(EV_CURRENT);
    Elf *elf = fd < 0 ? NULL : elf_begin(fd, ELF_C_READ, NULL);
    if (elf && elf_kind(elf) == ELF_K_ELF) {
        read_lines(elf);
        read_symbols(elf);
        join();
    }
    elf_end(elf);
    if (fd >= 0)
        close(fd);
    return row_count != 0;
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    void *memory;
    api = given;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "kernel=", 7))
            kernel = strdup(argv[i] + 7);
        else if (strncmp(argv[i], "out=", 4) != 0 || api->open_output(argv[i] + 4, &out))
            kernel = NULL;
    }
    if (!kernel || !out) {
        api->refuse("needs kernel=FILE and out=FILE (that can be written), and nothing else");
        return 1;
    }
    if (!read_kernel()) {
        api->refuse("the kernel is no ELF file with symbols or line numbers");
        return 1;
    }
    if (api->alloc(SLOTS * sizeof *slots, &memory))
        return 1;
    slots = memory;
    return api->subscribe("translate", on_translate, NULL) || api->subscribe("end", on_end, NULL);
}
