/* Fuzzes what looks into kernel files: unpacking, ELF, kallsyms, exports, System.map, and the code
 * at whatever entry and symbols come out. The first byte says whether the rest stands as it is or
 * behind the tokens that kallsyms is found by.
 *
 * Besides the sanitizers: what is refused says why in one line, symbols come in order and are found
 * again, and what is explained adds up. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/explain.h"
#include "inspect/kernel_image.h"
#include "inspect/symbols.h"

#define ROOM 65536u
#define SYMBOLS 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void check_order(const struct symbols *symbols) {
    struct symbol found;
    uint32_t offset;
    gva_t before = 0;
    for (size_t i = 0; i < symbols_count(symbols); i++) {
        struct symbol symbol = symbols_get(symbols, i);
        require(symbol.address >= before, "symbols rise");
        require(symbols_find(symbols, symbol.name, &found), "a name is found");
        if (symbols_at(symbols, symbol.address, &found, &offset))
            require(found.address == symbol.address && offset == 0, "an address is found");
        before = symbol.address;
    }
}

static void explain(const struct kernel_image *image, const struct symbols *symbols) {
    struct explain_code code = {.linear = kernel_image_linked(image, image->entry),
                                .symbols = symbols,
                                .mode = explain_mode_word(EXPLAIN_32, 0),
                                .code_limit = UINT32_MAX};
    struct explanation explanation;
    struct error error;
    size_t room = kernel_image_at(image, code.linear, &code.bytes);
    code.eip = code.linear;
    code.len = room < 128 ? (uint32_t)room : 128;
    if (!code.len || explain_piece(&code, 8, &explanation, &error))
        return;
    require(explanation.count > 0 && explanation.insns >= explanation.count, "instructions");
    explanation_release(&explanation);
}

static size_t put(uint8_t *file, size_t at, const void *bytes, size_t size) {
    memcpy(file + at, bytes, size);
    return at + size;
}

static size_t put32(uint8_t *file, size_t at, uint32_t value) { return put(file, at, &value, 4); }

/* Tables as Linux 6.1 has them, in an ELF file: SYMBOLS names of five tokens. */
static size_t make_tables(uint8_t *file) {
    static const uint8_t head[52] = {0x7f, 'E', 'L', 'F', 1, 1, 1, [16] = 2, 0, 3, 0, 1};
    uint16_t index[256];
    size_t at = put(file, 0, head, sizeof head), tokens;
    for (uint32_t i = 0; i < SYMBOLS; i++)
        at = put32(file, at, 16 * i);
    at = put32(file, at, 0xc1000000);
    at = put32(file, at, SYMBOLS);
    for (unsigned i = 0; i < SYMBOLS; i++) {
        char name[16];
        snprintf(name, sizeof name, "\5T%04x", i);
        at = put(file, at, name, 6);
    }
    for (uint32_t i = 0; i < SYMBOLS; i += 256)
        at = put32(file, at, 6 * i);
    tokens = at;
    for (unsigned i = 0; i < 256; i++) {
        const char token[2] = {(char)(i < 0x20 || i > 0x7e ? 'q' : i), 0};
        index[i] = (uint16_t)(at - tokens);
        at = put(file, at, token, 2);
    }
    return put(file, at, index, sizeof index);
}

/* Good tables with some bytes changed: two of the input say where, one what. */
static size_t dress(const uint8_t *data, size_t size, uint8_t *file) {
    size_t len = make_tables(file);
    for (; size >= 3; data += 3, size -= 3)
        file[(data[0] | (size_t)data[1] << 8) % len] = data[2];
    return len;
}

/* A bzImage around a packed kernel. */
static size_t wrap(const uint8_t *data, size_t size, uint8_t *file) {
    uint32_t place[2] = {0, (uint32_t)(size < ROOM / 2 ? size : ROOM / 2)};
    memset(file, 0, 1024);
    file[0x1f1] = 1;
    put(file, 0x1fe, "\x55\xaa", 2);
    put(file, 0x202, "HdrS\x0f\x02", 6);
    put(file, 0x248, place, sizeof place);
    return put(file, 1024, data, place[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t file[ROOM];
    struct kernel_image image;
    struct error error = {{0}};
    if (size < 2)
        return 0;
    unsigned form = *data++ % 3;
    size--;
    size_t len = form == 1 ? dress(data, size, file) : form == 2 ? wrap(data, size, file) : size;
    if (kernel_image_from(&image, "fuzz", form ? file : data, len, &error)) {
        require(error.text[0] && !strchr(error.text, '\n'), "one line of error");
        return 0;
    }
    struct symbols *symbols = symbols_of_image(&image, &error);
    if (symbols)
        check_order(symbols);
    else
        require(error.text[0] && !strchr(error.text, '\n'), "one line of error");
    explain(&image, symbols);
    symbols_free(symbols);
    kernel_image_close(&image);
    return 0;
}
