/* Kernel files made in memory for the tests of symbols: bytes that grow, an ELF32 around them. */
#ifndef RING3_TESTS_SYMBOLS_FIXTURE_H
#define RING3_TESTS_SYMBOLS_FIXTURE_H

#include <check.h>
#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/kernel_image.h"
#include "inspect/symbols.h"

#define FIXTURE_ROOM ((size_t)4 << 20)

struct file {
    uint8_t *bytes;
    size_t size;
};

static inline struct file file_new(void) {
    struct file file = {.bytes = calloc(1, FIXTURE_ROOM)};
    ck_assert_ptr_nonnull(file.bytes);
    return file;
}

static inline size_t file_add(struct file *file, const void *bytes, size_t len) {
    if (file->size + len > FIXTURE_ROOM) /* ck_assert would write a message each time */
        ck_abort_msg("the fixture is too small");
    size_t at = file->size;
    memcpy(file->bytes + at, bytes, len);
    file->size += len;
    return at;
}

static inline void file_add32(struct file *file, uint32_t value) { file_add(file, &value, 4); }

static inline void file_align(struct file *file, size_t to) {
    while (file->size % to)
        file->size++;
}

/* The header of an ELF32 of i386 with one segment: the whole file at c1000000. */
static inline void file_start_elf(struct file *file) {
    Elf32_Ehdr head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                       .e_type = ET_EXEC,
                       .e_machine = EM_386,
                       .e_version = EV_CURRENT,
                       .e_entry = 0xc1000100,
                       .e_phoff = sizeof head,
                       .e_ehsize = sizeof head,
                       .e_phentsize = sizeof(Elf32_Phdr),
                       .e_phnum = 1};
    Elf32_Phdr segment = {.p_type = PT_LOAD, .p_vaddr = 0xc1000000, .p_flags = PF_R | PF_X};
    file_add(file, &head, sizeof head);
    file_add(file, &segment, sizeof segment);
}

static inline void file_end_elf(struct file *file) {
    Elf32_Phdr *segment = (Elf32_Phdr *)(void *)(file->bytes + sizeof(Elf32_Ehdr));
    segment->p_filesz = segment->p_memsz = (uint32_t)file->size;
}

/* The symbols of the bytes, or NULL with `error` filled: always one line. */
static inline struct symbols *symbols_of_file(const struct file *file, struct error *error) {
    struct kernel_image image;
    error->text[0] = 0;
    if (kernel_image_from(&image, "file", file->bytes, file->size, error)) {
        ck_assert_uint_gt(strlen(error->text), 0);
        ck_assert_ptr_null(image.bytes);
        return NULL;
    }
    struct symbols *symbols = symbols_of_image(&image, error);
    kernel_image_close(&image);
    ck_assert(symbols || strlen(error->text) > 0);
    ck_assert_ptr_null(strchr(error->text, '\n'));
    return symbols;
}

static inline void check_symbol(const struct symbols *symbols, const char *name, gva_t address,
                                char type) {
    struct symbol symbol;
    ck_assert_msg(symbols_find(symbols, name, &symbol), "no %s", name);
    ck_assert_uint_eq(symbol.address, address);
    ck_assert_int_eq(symbol.type, type);
}

#endif
