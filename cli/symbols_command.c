/* `ring3 symbols` (symbols_command.h). */
#include "cli/symbols_command.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report.h"
#include "cli/run.h"
#include "inspect/symbols.h"
#include "inspect/symbols_write.h"

static const char usage[] =
    "ring3 symbols FILE [NAME|ADDRESS...]\n"
    "ring3 symbols FILE --elf OUT\n"
    "\n"
    "Prints the symbols of a 32-bit kernel as a System.map: of an ELF file, of a bzImage (its\n"
    "kallsyms tables and its exports), of a System.map or /proc/kallsyms. With words behind the\n"
    "file, the symbol of each name, or of each address (0x...) the symbol that it lies in.\n"
    "With --elf, writes them as an ELF file, for symbol-file in gdb.\n";

static bool print_address(const struct symbols *symbols, const char *word) {
    char *end, text[1200];
    unsigned long long address = strtoull(word, &end, 16);
    if (*end || address > UINT32_MAX) {
        report_line("'%s': not a 32-bit address", word);
        return false;
    }
    if (!*symbols_format(symbols, (gva_t)address, text, sizeof text)) {
        report_line("'%s': lies in no symbol", word);
        return false;
    }
    printf("%08llx %s\n", address, text);
    return true;
}

static int write_elf(const struct symbols *symbols, const char *path) {
    struct error error;
    if (!symbols_write_elf(symbols, path, &error))
        return STATUS_OK;
    report_line("%s", error.text);
    return STATUS_HOST_FAILURE;
}

static bool print_word(const struct symbols *symbols, const char *word) {
    struct symbol symbol;
    if (!strncmp(word, "0x", 2))
        return print_address(symbols, word);
    if (!symbols_find(symbols, word, &symbol)) {
        report_line("no symbol '%s'", word);
        return false;
    }
    printf("%08x %c %s\n", symbol.address, symbol.type, symbol.name);
    return true;
}

int symbols_main(int argc, char **argv) {
    struct error error;
    if (argc > 1 && !strcmp(argv[1], "--help")) {
        fputs(usage, stdout);
        return fflush(stdout) ? STATUS_HOST_FAILURE : STATUS_OK;
    }
    if (argc < 2) {
        report_line("no file: ring3 symbols FILE [NAME|ADDRESS...]");
        return STATUS_BAD_INPUT;
    }
    struct symbols *symbols = symbols_load(argv[1], &error);
    if (!symbols) {
        report_line("%s", error.text);
        return STATUS_BAD_INPUT;
    }
    int status = STATUS_OK;
    if (argc == 4 && !strcmp(argv[2], "--elf")) {
        status = write_elf(symbols, argv[3]);
        symbols_free(symbols);
        return status;
    }
    for (int i = 2; i < argc && status == STATUS_OK; i++)
        status = print_word(symbols, argv[i]) ? STATUS_OK : STATUS_BAD_INPUT;
    for (size_t i = 0; argc == 2 && i < symbols_count(symbols); i++) {
        struct symbol symbol = symbols_get(symbols, i);
        printf("%08x %c %s\n", symbol.address, symbol.type, symbol.name);
    }
    symbols_free(symbols);
    if (fflush(stdout) || ferror(stdout)) {
        report_line("cannot write to standard output");
        return STATUS_HOST_FAILURE;
    }
    return status;
}
