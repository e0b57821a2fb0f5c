/* Symbols of a System.map or of /proc/kallsyms: lines of "address type name", and of a module's
 * "[module]". */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "inspect/symbols_private.h"

struct line {
    const char *at, *end;
};

static void skip_blanks(struct line *line) {
    while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
        line->at++;
}

/* Up to 16 hex digits. */
static bool take_address(struct line *line, uint64_t *address) {
    const char *start = line->at;
    *address = 0;
    for (; line->at < line->end && isxdigit((unsigned char)*line->at); line->at++) {
        int digit = tolower((unsigned char)*line->at);
        *address = *address << 4 | (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return line->at > start && line->at - start <= 16;
}

static size_t word_length(const struct line *line) {
    size_t len = 0;
    while (line->at + len < line->end && isgraph((unsigned char)line->at[len]))
        len++;
    return len;
}

/* 1: a symbol; 0: an empty line, or one above 4 GiB; -1: something else. */
static int parse_line(struct line line, uint64_t *address, char *type, struct line *name) {
    skip_blanks(&line);
    if (line.at == line.end)
        return 0;
    if (!take_address(&line, address))
        return -1;
    skip_blanks(&line);
    if (word_length(&line) != 1 || (!isalpha((unsigned char)*line.at) && *line.at != '?'))
        return -1;
    *type = *line.at++;
    skip_blanks(&line);
    size_t len = word_length(&line);
    if (!len || len > SYMBOL_NAME_MAX)
        return -1;
    *name = (struct line){line.at, line.at + len};
    return *address <= UINT32_MAX;
}

int symbols_read_map(struct symbols *symbols, const struct kernel_image *image,
                     struct error *error) {
    const char *at = (const char *)image->bytes, *end = at + image->size;
    unsigned long number = 0, high = 0;
    uint64_t address, any = 0;
    assert(image->size > 0 && !image->elf);
    for (; at < end; at++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        struct line line = {at, stop ? stop : end}, name;
        char type;
        number++;
        address = 0;
        int got = parse_line(line, &address, &type, &name);
        if (got < 0 && number == 1)
            return error_set(error,
                             "%s: no file with symbols: neither ELF32, bzImage nor System.map",
                             image->name);
        if (got < 0)
            return error_set(error, "%s: line %lu is not \"address type name\"", image->name,
                             number);
        if (got &&
            !symbols_add(symbols, (gva_t)address, type, name.at, (size_t)(name.end - name.at)))
            return symbols_no_room(image, error);
        high += address > UINT32_MAX;
        any |= address;
        at = line.end;
    }
    if (high && high == number)
        return error_set(
            error, "%s: all addresses lie above 4 GiB: not a 32-bit kernel's, or a placeholder",
            image->name);
    return any ? 0
               : error_set(error,
                           "%s: all addresses are 0 (Linux hides them by kernel.kptr_restrict)",
                           image->name);
}
