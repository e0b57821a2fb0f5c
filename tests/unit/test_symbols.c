/* Symbols: the store, ELF symbol tables, System.map, and what hostile files get. */
#include "tests/unit/symbols_fixture.h"

static struct file file;
static struct error error;

static void setup(void) { file = file_new(); }
static void teardown(void) { free(file.bytes); }

static struct symbols *of_text(const char *text) {
    file.size = 0;
    file_add(&file, text, strlen(text));
    return symbols_of_file(&file, &error);
}

static void refused(const char *text, const char *why) {
    ck_assert_ptr_null(of_text(text));
    ck_assert_msg(strstr(error.text, why) != NULL, "%s", error.text);
}

static const char map[] =
    "c1000000 T _stext\nc1000000 T _text\nc1000010 t local\nc1000040 T global\n"
    "c1000040 W weak_alias\nc1000080 T _etext\n\nc2000000 d data\n"
    "f8000000 t in_module\t[ext4]\n00000000 A zero\nc2000100 T local\n";

START_TEST(map_gives_names_and_addresses) {
    struct symbols *symbols = of_text(map);
    ck_assert_ptr_nonnull(symbols);
    ck_assert_uint_eq(symbols_count(symbols), 10);
    check_symbol(symbols, "data", 0xc2000000, 'd');
    check_symbol(symbols, "in_module", 0xf8000000, 't');
    check_symbol(symbols, "weak_alias", 0xc1000040, 'W');
    check_symbol(symbols, "local", 0xc2000100, 'T'); /* a global one goes before a local one */
    struct symbol none;
    ck_assert(!symbols_find(symbols, "loca", &none));
    ck_assert(!symbols_find(symbols, "zzz", &none));
    ck_assert(!symbols_find(symbols, "", &none));
    symbols_free(symbols);
}
END_TEST

START_TEST(addresses_are_named_by_the_symbol_below) {
    struct symbols *symbols = of_text(map);
    char text[64];
    ck_assert_str_eq(symbols_format(symbols, 0xc1000010, text, sizeof text), "local");
    ck_assert_str_eq(symbols_format(symbols, 0xc100003f, text, sizeof text), "local+0x2f");
    ck_assert_str_eq(symbols_format(symbols, 0xc1000040, text, sizeof text), "global");
    ck_assert_str_eq(symbols_format(symbols, 0xc1000080, text, sizeof text), "_etext");
    ck_assert_str_eq(symbols_format(symbols, 0xc1000081, text, sizeof text), "");
    ck_assert_str_eq(symbols_format(symbols, 0xffffffff, text, sizeof text), "in_module+0x7ffffff");
    ck_assert_str_eq(symbols_format(NULL, 0xc1000010, text, sizeof text), "");
    ck_assert_str_eq(symbols_format(symbols, 0xc100003f, text, 4), "loc");
    ck_assert_uint_eq(symbols_next(symbols, 0xc1000000), 0xc1000010);
    ck_assert_uint_eq(symbols_next(symbols, 0xc100000f), 0xc1000010);
    ck_assert_uint_eq(symbols_next(symbols, 0xf8000000), UINT32_MAX);
    symbols_free(symbols);
    symbols = of_text("c1000000 T _text\n");
    ck_assert_str_eq(symbols_format(symbols, 0xc0ffffff, text, sizeof text), "");
    symbols_free(symbols);
}
END_TEST

START_TEST(slide_moves_all) {
    struct symbols *symbols = of_text("c1000000 T _text\nc1000123 T entry_SYSENTER_32\n");
    char text[64];
    ck_assert(!symbols_slide_from_sysenter(symbols, 0));
    ck_assert(!symbols_slide_from_sysenter(symbols, 0xc1000124));
    ck_assert(symbols_slide_from_sysenter(symbols, 0xc4000123));
    ck_assert_uint_eq(symbols_slide(symbols), 0x3000000);
    check_symbol(symbols, "_text", 0xc4000000, 'T');
    ck_assert_str_eq(symbols_format(symbols, 0xc4000001, text, sizeof text), "_text+0x1");
    ck_assert_uint_eq(symbols_next(symbols, 0xc4000000), 0xc4000123);
    ck_assert(symbols_slide_from_sysenter(symbols, 0xc0800123)); /* and back below */
    check_symbol(symbols, "_text", 0xc0800000, 'T');
    symbols_set_slide(symbols, 0);
    check_symbol(symbols, "_text", 0xc1000000, 'T');
    symbols_free(symbols);
    symbols = of_text("c1000000 T _text\n");
    ck_assert(!symbols_slide_from_sysenter(symbols, 0xc4000123));
    symbols_free(symbols);
}
END_TEST

START_TEST(bad_maps_are_refused_in_one_line) {
    refused("hello world\n", "neither ELF32");
    refused("\x01\x02\x03", "neither ELF32");
    refused("c1000000 T a\nc1000001 TT b\n", "line 2");
    refused("c1000000 T a\n\nc1000001 T\n", "line 3");
    refused("c1000000 T a\n11112222333344445 T b\n", "line 2");
    refused("00000000 T a\n00000000 T b\n", "kptr_restrict");
    refused("ffffffff81000000 T a\nffffffff81000001 T b\n", "above 4 GiB");
    refused("\n\n", "kptr_restrict");
    struct symbols *symbols = of_text("ffffffff81000000 T high\nc1000000 T low");
    ck_assert_uint_eq(symbols_count(symbols), 1);
    symbols_free(symbols);
    char *line = malloc(5000);
    strcpy(line, "c1000000 T ");
    memset(line + 11, 'x', 4000);
    line[4011] = 0;
    refused(line, "neither");
    free(line);
}
END_TEST

/* Sections: null, .text, .symtab, .strtab. */
static void make_elf(void) {
    static const char names[] = "\0main\0helper\0data\0file.c";
    const Elf32_Sym table[] = {
        {0},
        {.st_name = 1,
         .st_value = 0x100200,
         .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_FUNC),
         .st_shndx = 1},
        {.st_name = 6,
         .st_value = 0x100100,
         .st_info = ELF32_ST_INFO(STB_LOCAL, STT_NOTYPE),
         .st_shndx = 1},
        {.st_name = 13,
         .st_value = 0x200000,
         .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_OBJECT),
         .st_shndx = 2},
        {.st_name = 18,
         .st_value = 0x1,
         .st_info = ELF32_ST_INFO(STB_LOCAL, STT_FILE),
         .st_shndx = SHN_ABS},
        {.st_name = 1,
         .st_value = 0x9,
         .st_info = ELF32_ST_INFO(STB_GLOBAL, STT_FUNC)}, /* undefined */
    };
    Elf32_Shdr sections[5] = {{0}};
    file.size = 0;
    file_start_elf(&file);
    sections[1].sh_flags = SHF_EXECINSTR | SHF_ALLOC;
    sections[2].sh_flags = SHF_WRITE | SHF_ALLOC;
    sections[2].sh_type = SHT_NOBITS;
    sections[3].sh_type = SHT_SYMTAB;
    sections[3].sh_link = 4;
    sections[3].sh_offset = (uint32_t)file_add(&file, table, sizeof table);
    sections[3].sh_size = sizeof table;
    sections[4].sh_offset = (uint32_t)file_add(&file, names, sizeof names);
    sections[4].sh_size = sizeof names;
    file_align(&file, 4);
    Elf32_Ehdr *head = (Elf32_Ehdr *)(void *)file.bytes;
    head->e_shoff = (uint32_t)file_add(&file, sections, sizeof sections);
    head->e_shnum = 5;
    head->e_shentsize = sizeof *sections;
    file_end_elf(&file);
}

START_TEST(elf_symbol_table) {
    make_elf();
    struct symbols *symbols = symbols_of_file(&file, &error);
    ck_assert_msg(symbols != NULL, "%s", error.text);
    ck_assert_uint_eq(symbols_count(symbols), 3);
    check_symbol(symbols, "main", 0x100200, 'T');
    check_symbol(symbols, "helper", 0x100100, 't');
    check_symbol(symbols, "data", 0x200000, 'B');
    ck_assert_str_eq(symbols_get(symbols, 0).name, "helper");
    symbols_free(symbols);
}
END_TEST

START_TEST(elf_bytes_are_found_by_address) {
    struct kernel_image image;
    const uint8_t *at = NULL;
    make_elf();
    ck_assert_int_eq(kernel_image_from(&image, "file", file.bytes, file.size, &error), 0);
    ck_assert_uint_eq(image.entry, 0xc1000100);
    ck_assert_uint_eq(kernel_image_at(&image, 0xc1000001, &at), file.size - 1);
    ck_assert_uint_eq(*at, 'E');
    ck_assert_uint_eq(kernel_image_at(&image, 0xc0ffffff, &at), 0);
    ck_assert_uint_eq(kernel_image_at(&image, (gva_t)(0xc1000000 + file.size), &at), 0);
    kernel_image_close(&image);
}
END_TEST

/* Whatever is cut off or overwritten: an answer without a crash, and never two lines. */
START_TEST(damaged_elf_files_are_survived) {
    make_elf();
    size_t whole = file.size;
    for (size_t size = 1; size < whole; size++) {
        file.size = size;
        symbols_free(symbols_of_file(&file, &error));
    }
    file.size = whole;
    for (size_t at = 4; at < whole; at++) {
        uint8_t old = file.bytes[at];
        static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
        for (unsigned i = 0; i < sizeof values; i++) {
            file.bytes[at] = values[i];
            symbols_free(symbols_of_file(&file, &error));
        }
        file.bytes[at] = old;
    }
}
END_TEST

START_TEST(other_elf_files_are_refused) {
    make_elf();
    file.bytes[EI_CLASS] = ELFCLASS64;
    ck_assert_ptr_null(symbols_of_file(&file, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "64-bit"));
    make_elf();
    ((Elf32_Ehdr *)(void *)file.bytes)->e_machine = EM_ARM;
    ck_assert_ptr_null(symbols_of_file(&file, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "machine 40"));
    make_elf();
    ((Elf32_Ehdr *)(void *)file.bytes)->e_shnum = 0; /* stripped */
    ck_assert_ptr_null(symbols_of_file(&file, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "has no symbols"));
}
END_TEST

START_TEST(files_that_cannot_be_read_are_refused) {
    ck_assert_ptr_null(symbols_load("/nonexistent/map", &error));
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/map: No such file"));
    ck_assert_ptr_null(symbols_load("/dev/zero", &error));
    ck_assert_ptr_nonnull(strstr(error.text, "not a regular file"));
    ck_assert_ptr_null(symbols_load("/", &error));
    ck_assert_ptr_null(symbols_load("/proc/self/stat\n", &error));
    ck_assert_ptr_null(strchr(error.text, '\n'));
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("symbols");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, map_gives_names_and_addresses);
    tcase_add_test(tc, addresses_are_named_by_the_symbol_below);
    tcase_add_test(tc, slide_moves_all);
    tcase_add_test(tc, bad_maps_are_refused_in_one_line);
    tcase_add_test(tc, elf_symbol_table);
    tcase_add_test(tc, elf_bytes_are_found_by_address);
    tcase_add_test(tc, damaged_elf_files_are_survived);
    tcase_add_test(tc, other_elf_files_are_refused);
    tcase_add_test(tc, files_that_cannot_be_read_are_refused);
    Suite *suite = suite_create("symbols");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
