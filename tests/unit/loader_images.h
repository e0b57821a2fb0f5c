/* Synthetic guest files for the loader's tests: a small good one for each protocol, which a test
 * then bends, and a way to load one. Files are memfds, reached through /proc. */
#ifndef RING3_TESTS_LOADER_IMAGES_H
#define RING3_TESTS_LOADER_IMAGES_H

#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loader/loader.h"
#include "loader/place.h"

struct blob {
    uint8_t bytes[0x8000];
    size_t size;
};

static inline void poke(struct blob *blob, size_t offset, unsigned width, uint64_t value) {
    ck_assert_uint_le(offset + width, sizeof blob->bytes);
    memcpy(blob->bytes + offset, &value, width);
}

static inline void fill(struct blob *blob, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        blob->bytes[i] = (uint8_t)(i * 7 + (i >> 8) + 1);
}

/* A bzImage of protocol 2.15: 4 setup sectors, 0x2000 bytes of code at 0xa00. */
#define LINUX_CODE 0xa00
#define LINUX_CODE_SIZE 0x2000
#define LINUX_PREFERRED 0x1000000
#define LINUX_INIT_SIZE 0x800000

static inline struct blob linux_blob(void) {
    struct blob blob = {.size = LINUX_CODE + LINUX_CODE_SIZE};
    poke(&blob, 0x1f1, 1, 4);                    /* setup_sects */
    poke(&blob, 0x1f4, 4, LINUX_CODE_SIZE / 16); /* syssize */
    poke(&blob, 0x1fe, 2, 0xaa55);
    poke(&blob, 0x200, 2, 0x6aeb); /* jump over the header, which ends at 0x26c */
    memcpy(blob.bytes + 0x202, "HdrS", 4);
    poke(&blob, 0x206, 2, 0x20f);
    poke(&blob, 0x211, 1, 0xc1);       /* LOADED_HIGH, KEEP_SEGMENTS, CAN_USE_HEAP */
    poke(&blob, 0x214, 4, 0x100000);   /* code32_start */
    poke(&blob, 0x22c, 4, 0x7fffffff); /* initrd_addr_max */
    poke(&blob, 0x230, 4, 0x200000);   /* kernel_alignment */
    poke(&blob, 0x234, 1, 1);          /* relocatable */
    poke(&blob, 0x238, 4, 2047);       /* cmdline_size */
    poke(&blob, 0x258, 8, LINUX_PREFERRED);
    poke(&blob, 0x260, 4, LINUX_INIT_SIZE);
    fill(&blob, LINUX_CODE, blob.size);
    return blob;
}

/* An ELF executable: code at 0x100000 (0x800 bytes from offset 0x1000), data with BSS at 0x102000
 * (0x100 of 0x5000 bytes), linked at 0xc0100000. */
#define ELF_CODE 0x1000
#define ELF_DATA 0x1800
#define ELF_VIRTUAL 0xc0000000u

static inline struct blob elf_blob(void) {
    struct blob blob = {.size = ELF_DATA + 0x100};
    Elf32_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = EM_386,
                         .e_version = EV_CURRENT,
                         .e_entry = ELF_VIRTUAL + 0x100010,
                         .e_phoff = 52,
                         .e_ehsize = 52,
                         .e_phentsize = 32,
                         .e_phnum = 3};
    memcpy(header.e_ident, "\177ELF\1\1\1", 7);
    Elf32_Phdr segments[] = {
        {PT_LOAD, ELF_CODE, ELF_VIRTUAL + 0x100000, 0x100000, 0x800, 0x800, PF_R | PF_X, 0x1000},
        {PT_LOAD, ELF_DATA, ELF_VIRTUAL + 0x102000, 0x102000, 0x100, 0x5000, PF_R | PF_W, 0x1000},
        {PT_GNU_STACK, 0, 0, 0, 0, 0, PF_R | PF_W, 0},
    };
    memcpy(blob.bytes, &header, sizeof header);
    memcpy(blob.bytes + 52, segments, sizeof segments);
    fill(&blob, ELF_CODE, blob.size);
    return blob;
}

#define PHDR(index, field) (52 + (index)*32 + offsetof(Elf32_Phdr, field))
#define EHDR(field) offsetof(Elf32_Ehdr, field)

/* The Multiboot header in a file, with the checksum that fits. */
#define MULTIBOOT_AT 0xf00
static inline void poke_multiboot(struct blob *blob, uint32_t flags) {
    poke(blob, MULTIBOOT_AT, 4, 0x1badb002);
    poke(blob, MULTIBOOT_AT + 4, 4, flags);
    poke(blob, MULTIBOOT_AT + 8, 4, (uint32_t) - (0x1badb002 + flags));
}

static inline struct blob multiboot_elf_blob(void) {
    struct blob blob = elf_blob();
    poke_multiboot(&blob, 3);
    return blob;
}

/* The a.out kludge: file offset 0xe00 on goes to 0x200000, header and all. */
static inline struct blob multiboot_flat_blob(void) {
    struct blob blob = {.size = 0x2000};
    fill(&blob, 0xe00, blob.size);
    poke_multiboot(&blob, 1u << 16 | 3);
    poke(&blob, MULTIBOOT_AT + 12, 4, 0x200100); /* header_addr */
    poke(&blob, MULTIBOOT_AT + 16, 4, 0x200000); /* load_addr */
    poke(&blob, MULTIBOOT_AT + 20, 4, 0x201200); /* load_end_addr: the file's end */
    poke(&blob, MULTIBOOT_AT + 24, 4, 0x204000); /* bss_end_addr */
    poke(&blob, MULTIBOOT_AT + 28, 4, 0x200200); /* entry_addr */
    return blob;
}

/* A file with these bytes; `path` gets its name. Returns the descriptor. */
static inline int file_of(const void *bytes, size_t size, char path[64]) {
    int fd = memfd_create("image", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* One load into a fresh machine's memory; unload() frees what it holds. */
struct loaded {
    int rc;
    struct ram ram;
    struct load_result result;
    struct table_register gdt;
    struct error error;
    char path[64];
};

static inline struct loaded load(const struct blob *kernel, uint64_t memory, const char *initrd,
                                 const char *append) {
    struct loaded loaded = {0};
    ck_assert_int_eq(ram_create(&loaded.ram, memory), 0);
    int fd = file_of(kernel->bytes, kernel->size, loaded.path);
    struct load_options options = {.kernel = loaded.path, .initrd = initrd, .append = append};
    loaded.rc = loader_load(&options, &loaded.ram, &loaded.result, &loaded.gdt, &loaded.error);
    close(fd);
    return loaded;
}

static inline void unload(struct loaded *loaded) { ram_destroy(&loaded->ram); }

static inline uint32_t ram32(const struct loaded *loaded, gpa_t gpa) {
    const uint8_t *at = ram_ptr(&loaded->ram, gpa, 4);
    ck_assert_ptr_nonnull(at);
    return get32(at);
}

#endif
