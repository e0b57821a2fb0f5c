/* What the loader refuses: each time -1 and one line that names file, offset and reason. */
#include <sys/stat.h>

#include "loader_images.h"

#define MIB (1ull << 20)

/* A good image with one field changed (width 0: none) or cut off (size 0: whole). */
struct bad {
    size_t offset;
    unsigned width;
    uint64_t value;
    size_t size;
    const char *reason; /* a part of the line */
};

static void assert_one_line(const struct error *error, const char *file, const char *reason) {
    ck_assert_msg(strncmp(error->text, file, strlen(file)) == 0, "file not named: %s", error->text);
    ck_assert_msg(strstr(error->text, reason) != NULL, "not about '%s': %s", reason, error->text);
    ck_assert_ptr_null(strchr(error->text, '\n'));
    ck_assert_uint_lt(strlen(error->text), sizeof error->text - 1);
}

static void refuse_all(const struct blob *good, const struct bad *table, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct blob image = *good;
        poke(&image, table[i].offset, table[i].width, table[i].value);
        if (table[i].size != 0)
            image.size = table[i].size;
        struct loaded l = load(&image, 64 * MIB, NULL, NULL);
        ck_assert_msg(l.rc == -1, "loaded: %s", table[i].reason);
        assert_one_line(&l.error, l.path, table[i].reason);
        unload(&l);
    }
}
#define REFUSE_ALL(good, table) refuse_all((good), (table), sizeof(table) / sizeof *(table))

START_TEST(linux_images) {
    static const struct bad table[] = {
        {0x206, 2, 0x202, 0, "offset 0x206: boot protocol 2.02 is too old, 2.03 is needed"},
        {0x206, 2, 0, 0, "boot protocol 0.00"},
        {0x201, 1, 0x2d, 0, "offset 0x201: the setup header ends at 0x22f"},
        {0x201, 1, 0x61, 0, "needs 0x264"},
        {0x211, 1, 0x80, 0, "offset 0x211: a zImage"},
        {0, 0, 0, 0x240, "offset 0x1f1: the setup header is cut off at 0x240"},
        {0, 0, 0, LINUX_CODE, "offset 0x1f1: kernel code at 0xa00, but the file ends at 0xa00"},
        {0, 0, 0, 0x2000, "offset 0x1f4: 0x2000 bytes of kernel code at 0xa00"},
        {0, 0, 0, LINUX_CODE + LINUX_CODE_SIZE - 16, "but the file ends at 0x29f0"},
        {0x1f1, 1, 0xff, 0, "offset 0x1f1: kernel code at 0x20000"},
        {0x1f4, 4, 0, 0, "offset 0x1f4"},
        {0x1f4, 4, 0xffffffff, 0, "offset 0x1f4: 0xffffffff0 bytes"},
        {0x230, 4, 0, 0, "offset 0x230: kernel alignment 0 "},
        {0x230, 4, 0x300000, 0, "offset 0x230: kernel alignment 0x300000 is not a power of two"},
        {0x230, 4, 0x80000000, 0, "offset 0xa00: the kernel (0x800000 bytes at 0x80000000)"},
        {0x260, 4, 0xffffffff, 0, "offset 0xa00: the kernel (0xffffffff bytes at 0x200000)"},
        {0x202, 4, 0x53726449, 0, "not a kernel: no Linux setup header"},
        {0x1fe, 2, 0x55aa, 0, "not a kernel"},
    };
    struct blob good = linux_blob();
    REFUSE_ALL(&good, table);
    /* One that moves itself to its preferred address. */
    static const struct bad fixed[] = {
        {0x258, 8, 0x3f00000, 0, "does not lie in guest memory"},
        {0x258, 8, 0xfffffffffffff000, 0, "offset 0x258: preferred address"},
        {0x258, 8, 0x80000, 0, "does not lie in guest memory"},
        {0x258, 8, 0xdf000, 0, "overlaps the ACPI tables"},
    };
    poke(&good, 0x234, 1, 0);
    REFUSE_ALL(&good, fixed);
}
END_TEST

START_TEST(elf_images) {
    static const struct bad table[] = {
        {EI_CLASS, 1, ELFCLASS64, 0, "offset 0x4: an ELF file of another class"},
        {EI_DATA, 1, ELFDATA2MSB, 0, "offset 0x5: an ELF file that is not little-endian"},
        {EI_VERSION, 1, 2, 0, "offset 0x6: an unknown ELF version"},
        {EHDR(e_type), 2, ET_DYN, 0, "offset 0x10: an ELF file that is not an executable"},
        {EHDR(e_machine), 2, EM_X86_64, 0, "offset 0x12: an ELF file not for i386 (0x3e)"},
        {EHDR(e_phentsize), 2, 31, 0, "offset 0x2a: a wrong size of program headers"},
        {EHDR(e_phnum), 2, 0, 0, "offset 0x2c: no or too many"},
        {EHDR(e_phnum), 2, 0xffff, 0, "offset 0x2c: no or too many"},
        {EHDR(e_phoff), 4, 0xffffffff, 0, "offset 0xffffffff: the table of program headers"},
        {EHDR(e_phoff), 4, 0x18ff, 0, "offset 0x18ff: the table of program headers"},
        {EHDR(e_entry), 4, 0x99, 0, "offset 0x18: the entry lies in no loaded segment (0x99)"},
        {EHDR(e_entry), 4, 0x107000, 0, "the entry lies in no loaded segment"},
        {PHDR(0, p_type), 4, PT_INTERP, 0, "offset 0x34: a program that wants an interpreter"},
        {PHDR(1, p_filesz), 4, 0x5001, 0, "offset 0x54: a segment larger in the file"},
        {PHDR(1, p_offset), 4, 0x1801, 0, "offset 0x54: a segment that ends behind the end"},
        {PHDR(1, p_offset), 4, 0xffffff80, 0, "ends behind the end of the file (0x100000080)"},
        {PHDR(1, p_paddr), 4, 0x1007ff, 0, "offset 0x54: a segment (0x1007ff-0x1057fe) overlaps"},
        {PHDR(1, p_paddr), 4, 0x4000000, 0, "does not lie in guest memory (65536 KiB"},
        {PHDR(1, p_paddr), 4, 0x3fffffe, 0, "does not lie in guest memory"},
        {PHDR(1, p_paddr), 4, 0xffffff00, 0, "does not lie in guest memory"},
        {PHDR(1, p_paddr), 4, 0xa0000, 0, "does not lie in guest memory"},
        {PHDR(1, p_paddr), 4, 0x8f000, 0, "overlaps the boot information"},
        {PHDR(1, p_paddr), 4, 0xdc000, 0, "overlaps the ACPI tables"},
        {PHDR(1, p_memsz), 4, 0xffffffff, 0, "does not lie in guest memory"},
        {0, 0, 0, 51, "offset 0x33: the ELF header is cut off"},
        {0, 0, 0, 147, "offset 0x34: the table of program headers"},
        {0, 0, 0, ELF_DATA + 0xff, "a segment that ends behind the end of the file"},
        {0, 1, 'M', 0, "no ELF magic at offset 0"},
    };
    struct blob good = elf_blob();
    REFUSE_ALL(&good, table);
}
END_TEST

START_TEST(multiboot_images) {
    static const struct bad table[] = {
        {MULTIBOOT_AT + 8, 4, 0, 0, "offset 0xf00: the Multiboot header has a wrong checksum"},
        {MULTIBOOT_AT + 12, 4, 0x1fffff, 0, "offset 0xf10: load address 0x200000 does not fit"},
        {MULTIBOOT_AT + 12, 4, 0x200f01, 0, "does not fit header address 0x200f01"},
        {MULTIBOOT_AT + 20, 4, 0x1fffff, 0, "offset 0xf14: load end 0x1fffff lies before"},
        {MULTIBOOT_AT + 20, 4, 0x201201, 0, "offset 0xf14: 0x1201 bytes to load, but the file"},
        {MULTIBOOT_AT + 24, 4, 0x2011ff, 0, "offset 0xf18: BSS end 0x2011ff lies before"},
        {MULTIBOOT_AT + 24, 4, 1, 0, "offset 0xf18: BSS end 0x1 lies before"},
        {MULTIBOOT_AT + 24, 4, 0xffffffff, 0, "offset 0xf10: the kernel (0xffdfffff bytes"},
        {MULTIBOOT_AT + 28, 4, 0x204000, 0, "offset 0xf1c: entry 0x204000 lies outside"},
        {MULTIBOOT_AT + 28, 4, 0x1fffff, 0, "offset 0xf1c: entry 0x1fffff lies outside"},
        {0, 0, 0, MULTIBOOT_AT + 31, "offset 0xf00: the Multiboot header's addresses are cut off"},
        {0, 0, 0, 0x1fff, "but the file ends at 0x1fff"},
    };
    struct blob good = multiboot_flat_blob();
    REFUSE_ALL(&good, table);
}
END_TEST

START_TEST(multiboot_demands_that_cannot_be_met) {
    static const struct {
        uint32_t flags;
        const char *reason;
    } table[] = {
        {1u << 16 | 4, "offset 0xf04: the kernel demands a video mode"},
        {1u << 16 | 8, "offset 0xf04: the kernel demands unknown features (flags 0x10008)"},
        {1u << 16 | 0x8000, "unknown features"},
        {3, "offset 0xf04: a Multiboot kernel that is neither ELF nor says its addresses"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct blob image = multiboot_flat_blob();
        poke_multiboot(&image, table[i].flags);
        struct loaded l = load(&image, 64 * MIB, NULL, NULL);
        ck_assert_int_eq(l.rc, -1);
        assert_one_line(&l.error, l.path, table[i].reason);
        unload(&l);
    }
}
END_TEST

START_TEST(multiboot_headers_only_count_in_the_first_8192_bytes) {
    struct blob image = {.size = 0x3000};
    poke(&image, 8192 - 8, 4, 0x1badb002); /* its checksum would lie behind */
    poke(&image, 8192 + 8, 4, 0x1badb002);
    struct loaded l = load(&image, 64 * MIB, NULL, NULL);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, l.path, "no Multiboot header in the first 8192 bytes");
    unload(&l);
}
END_TEST

/* Each prefix of a good image is refused. */
static void refuse_prefixes(const struct blob *good) {
    for (size_t size = 1; size < good->size; size += size < 0x300 ? 1 : 61) {
        struct blob image = *good;
        image.size = size;
        struct loaded l = load(&image, 32 * MIB, NULL, NULL);
        ck_assert_msg(l.rc == -1, "%zu bytes of it were loaded", size);
        assert_one_line(&l.error, l.path, "");
        unload(&l);
    }
}

START_TEST(truncated_images) {
    struct blob good = linux_blob();
    refuse_prefixes(&good);
    good = elf_blob();
    refuse_prefixes(&good);
    good = multiboot_elf_blob();
    refuse_prefixes(&good);
    good = multiboot_flat_blob();
    refuse_prefixes(&good);
}
END_TEST

START_TEST(command_lines_that_are_too_long) {
    static char line[0x10000];
    memset(line, 'x', sizeof line - 1);
    struct blob kernel = linux_blob();
    struct loaded l = load(&kernel, 64 * MIB, NULL, line);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, l.path, "the command line has 65535 bytes, this kernel takes 2047");
    unload(&l);
    poke(&kernel, 0x238, 4, 0xffffffff); /* still only the room that there is */
    l = load(&kernel, 64 * MIB, NULL, line);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, l.path, "this kernel takes 60415");
    unload(&l);
    poke(&kernel, 0x206, 2, 0x205);
    line[256] = '\0';
    l = load(&kernel, 64 * MIB, NULL, line);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, l.path, "has 256 bytes, this kernel takes 255");
    unload(&l);
    kernel = multiboot_elf_blob();
    line[256] = 'x';
    l = load(&kernel, 64 * MIB, NULL, line);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, l.path, "the command line has ");
    unload(&l);
    kernel = elf_blob();
    l = load(&kernel, 64 * MIB, NULL, "quiet");
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, l.path, "a plain ELF executable takes no command line");
    unload(&l);
}
END_TEST

static void refuse_initrd(const struct blob *kernel, const char *path, const char *reason) {
    struct loaded l = load(kernel, 64 * MIB, path, NULL);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, "", reason);
    unload(&l);
}

START_TEST(initrds_that_do_not_fit) {
    struct blob kernels[] = {linux_blob(), multiboot_elf_blob()};
    for (unsigned i = 0; i < 2; i++) {
        char path[64];
        int fd = file_of("x", 1, path);
        ck_assert_int_eq(ftruncate(fd, 64 << 20), 0);
        refuse_initrd(&kernels[i], path, "no room for 65536 KiB");
        ck_assert_int_eq(ftruncate(fd, 1ll << 50), 0);
        refuse_initrd(&kernels[i], path, "no room for");
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        refuse_initrd(&kernels[i], path, "is empty");
        close(fd);
        refuse_initrd(&kernels[i], "/", "/: is a directory");
        refuse_initrd(&kernels[i], "/dev/null", "/dev/null: is not a regular file");
        refuse_initrd(&kernels[i], "/no/such/file", "/no/such/file: No such file or directory");
    }
    struct blob kernel = linux_blob();
    poke(&kernel, 0x22c, 4, 0xfffff); /* all of it is below 1 MiB */
    char path[64];
    int fd = file_of("x", 1, path);
    refuse_initrd(&kernel, path, "no room for 1 KiB of initrd below 0x100000");
    kernel = elf_blob();
    refuse_initrd(&kernel, path, "a plain ELF executable takes no initrd");
    close(fd);
}
END_TEST

START_TEST(names_of_files) {
    struct ram ram;
    struct load_result result;
    struct table_register gdt;
    struct error error;
    ck_assert_int_eq(ram_create(&ram, 2 * MIB), 0);
    struct load_options options = {.kernel = "/no\nsuch\033file"};
    ck_assert_int_eq(loader_load(&options, &ram, &result, &gdt, &error), -1);
    assert_one_line(&error, "/no?such?file: No such file", "");
    static char name[6000];
    memset(name, 'n', sizeof name - 1);
    options.kernel = name;
    ck_assert_int_eq(loader_load(&options, &ram, &result, &gdt, &error), -1);
    assert_one_line(&error, "nnn", "File name too long");
    /* A FIFO that nobody writes to must not hang. */
    char fifo[] = "/tmp/ring3-test-XXXXXX/f";
    fifo[strlen(fifo) - 2] = '\0';
    ck_assert_ptr_nonnull(mkdtemp(fifo));
    fifo[strlen(fifo)] = '/';
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    options.kernel = fifo;
    ck_assert_int_eq(loader_load(&options, &ram, &result, &gdt, &error), -1);
    assert_one_line(&error, fifo, "is not a regular file");
    unlink(fifo);
    fifo[strlen(fifo) - 2] = '\0';
    rmdir(fifo);
    ram_destroy(&ram);
}
END_TEST

START_TEST(too_little_memory) {
    struct blob kernel = elf_blob();
    struct loaded l = load(&kernel, 2 * MIB - 4096, NULL, NULL);
    ck_assert_int_eq(l.rc, -1);
    assert_one_line(&l.error, "guest memory of 2044 KiB is too small", "2048 KiB");
    unload(&l);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("loader refusals");
    TCase *tests = tcase_create("refusals");
    tcase_set_timeout(tests, 100);
    tcase_add_test(tests, linux_images);
    tcase_add_test(tests, elf_images);
    tcase_add_test(tests, multiboot_images);
    tcase_add_test(tests, multiboot_demands_that_cannot_be_met);
    tcase_add_test(tests, multiboot_headers_only_count_in_the_first_8192_bytes);
    tcase_add_test(tests, truncated_images);
    tcase_add_test(tests, command_lines_that_are_too_long);
    tcase_add_test(tests, initrds_that_do_not_fit);
    tcase_add_test(tests, names_of_files);
    tcase_add_test(tests, too_little_memory);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
