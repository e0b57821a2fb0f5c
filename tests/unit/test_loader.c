/* What the loader makes of good files: where everything lies and how the CPU enters. */
#include "loader_images.h"

#define MIB (1ull << 20)
#define ZERO_PAGE PLACE_BOOT_INFO

static void assert_loaded(const struct loaded *l, const char *protocol) {
    ck_assert_msg(l->rc == 0, "%s", l->error.text);
    ck_assert_str_eq(l->result.protocol, protocol);
}

static void assert_bytes(const struct loaded *l, gpa_t gpa, const void *bytes, size_t len) {
    const void *at = ram_ptr(&l->ram, gpa, len);
    ck_assert_ptr_nonnull(at);
    ck_assert_mem_eq(at, bytes, len);
}

static void assert_zero(const struct loaded *l, gpa_t gpa, size_t len) {
    const uint8_t *at = ram_ptr(&l->ram, gpa, len);
    ck_assert_ptr_nonnull(at);
    for (size_t i = 0; i < len; i++)
        ck_assert_msg(at[i] == 0, "byte at %#llx", (unsigned long long)gpa + i);
}

START_TEST(linux_goes_to_its_preferred_address) {
    struct blob kernel = linux_blob();
    struct loaded l = load(&kernel, 64 * MIB, NULL, "console=ttyS0 quiet");
    assert_loaded(&l, "linux");
    ck_assert_uint_eq(l.result.eip, LINUX_PREFERRED);
    ck_assert_uint_eq(l.result.gpr[ESI], ZERO_PAGE);
    for (unsigned i = 0; i < 8; i++)
        ck_assert(i == ESI || l.result.gpr[i] == 0);
    assert_bytes(&l, LINUX_PREFERRED, kernel.bytes + LINUX_CODE, LINUX_CODE_SIZE);
    assert_zero(&l, LINUX_PREFERRED + LINUX_CODE_SIZE, 0x10000);
    unload(&l);
}
END_TEST

START_TEST(linux_boot_params_are_as_the_protocol_says) {
    struct blob kernel = linux_blob();
    struct loaded l = load(&kernel, 64 * MIB, NULL, "console=ttyS0 quiet");
    assert_loaded(&l, "linux");
    assert_zero(&l, ZERO_PAGE, 0x70); /* screen_info, APM */
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x70), PLACE_ACPI);
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x1e0), 63 * 1024);
    assert_zero(&l, ZERO_PAGE + 0x1ef, 1); /* sentinel */
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x202), 0x53726448);
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x210) & 0xffff, 0x01ff); /* loader, loadflags */
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x214), LINUX_PREFERRED);
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x218), 0);
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x21c), 0);
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x260), LINUX_INIT_SIZE);
    assert_zero(&l, ZERO_PAGE + 0x26c, 0x64);
    gpa_t line = ram32(&l, ZERO_PAGE + 0x228);
    ck_assert_uint_lt(line, PLACE_LOW_END);
    assert_bytes(&l, line, "console=ttyS0 quiet", 20);
    unload(&l);
}
END_TEST

START_TEST(linux_e820_covers_ram_and_reserves_the_hole) {
    struct blob kernel = linux_blob();
    static const uint64_t sizes[] = {64 * MIB, 3072 * MIB, 4096 * MIB};
    for (unsigned s = 0; s < 3; s++) {
        struct loaded l = load(&kernel, sizes[s], NULL, NULL);
        assert_loaded(&l, "linux");
        const uint64_t expected[][3] = {
            {0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xa0000, 0x60000, 2}, {MIB, sizes[s] - MIB, 1}};
        ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x1e8) & 0xff, 4);
        for (unsigned i = 0; i < 4; i++) {
            const uint8_t *entry = ram_ptr(&l.ram, ZERO_PAGE + 0x2d0 + i * 20, 20);
            ck_assert_uint_eq(get64(entry), expected[i][0]);
            ck_assert_uint_eq(get64(entry + 8), expected[i][1]);
            ck_assert_uint_eq(get32(entry + 16), expected[i][2]);
        }
        unload(&l);
    }
}
END_TEST

START_TEST(linux_code_may_end_within_its_last_paragraph) {
    struct blob kernel = linux_blob();
    kernel.size -= 15;
    struct loaded l = load(&kernel, 64 * MIB, NULL, NULL);
    assert_loaded(&l, "linux");
    assert_bytes(&l, l.result.eip, kernel.bytes + LINUX_CODE, LINUX_CODE_SIZE - 15);
    unload(&l);
}
END_TEST

/* Where a kernel of these properties is entered. */
static uint32_t linux_entry(uint64_t preferred, uint32_t alignment, bool relocatable,
                            uint32_t version, uint64_t memory) {
    struct blob kernel = linux_blob();
    poke(&kernel, 0x206, 2, version);
    poke(&kernel, 0x230, 4, alignment);
    poke(&kernel, 0x234, 1, relocatable);
    poke(&kernel, 0x258, 8, preferred);
    struct loaded l = load(&kernel, memory, NULL, NULL);
    assert_loaded(&l, "linux");
    assert_bytes(&l, l.result.eip, kernel.bytes + LINUX_CODE, LINUX_CODE_SIZE);
    unload(&l);
    return l.result.eip;
}

START_TEST(linux_load_address_follows_the_header) {
    ck_assert_uint_eq(linux_entry(0x1234000, 0x200000, true, 0x20a, 64 * MIB), 0x1400000);
    /* It does not fit there: as low as its alignment lets it. */
    ck_assert_uint_eq(linux_entry(0x3900000, 0x200000, true, 0x20a, 64 * MIB), 0x200000);
    ck_assert_uint_eq(linux_entry(1ull << 40, 0x100000, true, 0x20a, 64 * MIB), 0x100000);
    ck_assert_uint_eq(linux_entry(0x1000000, 0x1000, false, 0x20a, 64 * MIB), 0x100000);
    ck_assert_uint_eq(linux_entry(0x1000000, 0x200000, true, 0x205, 64 * MIB), 0x200000);
    ck_assert_uint_eq(linux_entry(0x1000000, 0, true, 0x203, 64 * MIB), 0x100000);
}
END_TEST

START_TEST(linux_without_setup_sects_has_four) {
    struct blob kernel = linux_blob();
    poke(&kernel, 0x1f1, 1, 0);
    struct loaded l = load(&kernel, 64 * MIB, NULL, NULL);
    assert_loaded(&l, "linux");
    assert_bytes(&l, LINUX_PREFERRED, kernel.bytes + LINUX_CODE, LINUX_CODE_SIZE);
    unload(&l);
}
END_TEST

START_TEST(linux_ignores_what_follows_the_code) {
    struct blob kernel = linux_blob();
    kernel.size += 0x123;
    fill(&kernel, LINUX_CODE, kernel.size);
    struct loaded l = load(&kernel, 64 * MIB, NULL, NULL);
    assert_loaded(&l, "linux");
    assert_zero(&l, LINUX_PREFERRED + LINUX_CODE_SIZE, 0x123);
    unload(&l);
}
END_TEST

/* Loads with an initrd of `size` bytes; where it went. */
static uint32_t initrd_place(uint64_t memory, size_t size, uint32_t addr_max) {
    struct blob kernel = linux_blob();
    poke(&kernel, 0x22c, 4, addr_max);
    uint8_t *bytes = malloc(size);
    memset(bytes, 0xa5, size);
    char path[64];
    int fd = file_of(bytes, size, path);
    struct loaded l = load(&kernel, memory, path, NULL);
    assert_loaded(&l, "linux");
    uint32_t at = ram32(&l, ZERO_PAGE + 0x218);
    ck_assert_uint_eq(ram32(&l, ZERO_PAGE + 0x21c), size);
    assert_bytes(&l, at, bytes, size);
    unload(&l);
    close(fd);
    free(bytes);
    return at;
}

START_TEST(linux_initrd_lies_as_high_as_it_may) {
    ck_assert_uint_eq(initrd_place(64 * MIB, 0x1001, 0x7fffffff), 0x3ffe000);
    ck_assert_uint_eq(initrd_place(64 * MIB, 0x1000, 0x7fffffff), 0x3fff000);
    ck_assert_uint_eq(initrd_place(64 * MIB, 0x1000, 0x37fffff), 0x37ff000);
    ck_assert_uint_eq(initrd_place(64 * MIB, 0x1000, 0x37ffffe), 0x37fe000);
    ck_assert_uint_eq(initrd_place(3072 * MIB, 1, 0x7fffffff), 0x7ffff000);
    ck_assert_uint_eq(initrd_place(4096 * MIB, 1, 0xffffffff), 0xfffff000);
    /* The kernel's run-time area (16 to 24 MiB) is in the way. */
    ck_assert_uint_eq(initrd_place(25 * MIB, 2 * MIB, 0x7fffffff), 14 * MIB);
    ck_assert_uint_eq(initrd_place(64 * MIB, 0x1000, 0x17fffff), 16 * MIB - 0x1000);
}
END_TEST

START_TEST(linux_command_line_may_be_as_long_as_the_kernel_says) {
    struct blob kernel = linux_blob();
    char line[2049];
    memset(line, 'x', sizeof line);
    line[2047] = '\0';
    struct loaded l = load(&kernel, 64 * MIB, NULL, line);
    assert_loaded(&l, "linux");
    assert_bytes(&l, ram32(&l, ZERO_PAGE + 0x228), line, 2048);
    unload(&l);
}
END_TEST

START_TEST(elf_segments_go_to_their_physical_addresses) {
    struct blob kernel = elf_blob();
    struct loaded l = load(&kernel, 2 * MIB, NULL, NULL);
    assert_loaded(&l, "elf");
    ck_assert_uint_eq(l.result.eip, 0x100010);
    assert_bytes(&l, 0x100000, kernel.bytes + ELF_CODE, 0x800);
    assert_bytes(&l, 0x102000, kernel.bytes + ELF_DATA, 0x100);
    assert_zero(&l, 0x102100, 0x4f00);
    unload(&l);
    poke(&kernel, EHDR(e_entry), 4, 0x100020); /* a physical one */
    l = load(&kernel, 2 * MIB, NULL, NULL);
    assert_loaded(&l, "elf");
    ck_assert_uint_eq(l.result.eip, 0x100020);
    unload(&l);
}
END_TEST

static void assert_multiboot_info(const struct loaded *l, uint32_t memory, const char *append) {
    assert_loaded(l, "multiboot");
    ck_assert_uint_eq(l->result.gpr[EAX], 0x2badb002);
    gpa_t info = l->result.gpr[EBX];
    ck_assert_uint_eq(ram32(l, info) & ~8u, 1 << 0 | 1 << 2 | 1 << 6 | 1 << 9);
    ck_assert_uint_eq(ram32(l, info + 4), 639);
    ck_assert_uint_eq(ram32(l, info + 8), (memory >> 10) - 1024);
    assert_bytes(l, ram32(l, info + 64), "ring3", 6);
    char line[128];
    int len = snprintf(line, sizeof line, "%s%s%s", strrchr(l->path, '/') + 1, append ? " " : "",
                       append ? append : "");
    assert_bytes(l, ram32(l, info + 16), line, (size_t)len + 1);
    ck_assert_uint_eq(ram32(l, info + 44), 4 * 24);
    gpa_t map = ram32(l, info + 48);
    ck_assert_uint_eq(ram32(l, map), 20);
    ck_assert_uint_eq(ram32(l, map + 12), 0x9fc00);
    ck_assert_uint_eq(ram32(l, map + 72 + 4), MIB);
    ck_assert_uint_eq(ram32(l, map + 72 + 12), memory - MIB);
    ck_assert_uint_eq(ram32(l, map + 72 + 20), 1);
}

START_TEST(multiboot_elf) {
    struct blob kernel = multiboot_elf_blob();
    struct loaded l = load(&kernel, 16 * MIB, NULL, "one two");
    assert_multiboot_info(&l, 16 * MIB, "one two");
    ck_assert_uint_eq(l.result.eip, 0x100010);
    assert_bytes(&l, 0x100000, kernel.bytes + ELF_CODE, 0x800);
    ck_assert_uint_eq(ram32(&l, l.result.gpr[EBX] + 20), 0);
    unload(&l);
}
END_TEST

START_TEST(multiboot_by_the_headers_addresses) {
    struct blob kernel = multiboot_flat_blob();
    struct loaded l = load(&kernel, 16 * MIB, NULL, NULL);
    assert_multiboot_info(&l, 16 * MIB, NULL);
    ck_assert_uint_eq(l.result.eip, 0x200200);
    assert_bytes(&l, 0x200000, kernel.bytes + 0xe00, 0x1200);
    assert_zero(&l, 0x201200, 0x2e00);
    unload(&l);
    /* No load end: to the end of the file. No BSS end: no BSS. */
    poke(&kernel, MULTIBOOT_AT + 20, 8, 0);
    l = load(&kernel, 16 * MIB, NULL, NULL);
    assert_loaded(&l, "multiboot");
    assert_bytes(&l, 0x200000, kernel.bytes + 0xe00, 0x1200);
    unload(&l);
}
END_TEST

START_TEST(multiboot_takes_the_header_whose_sum_is_right) {
    struct blob kernel = multiboot_elf_blob();
    poke(&kernel, 0x800, 4, 0x1badb002); /* a stray magic number before it */
    struct loaded l = load(&kernel, 16 * MIB, NULL, NULL);
    assert_loaded(&l, "multiboot");
    unload(&l);
}
END_TEST

START_TEST(multiboot_module_with_arguments) {
    struct blob kernel = multiboot_elf_blob();
    char path[64], given[128], string[128];
    int fd = file_of("the module", 10, path);
    snprintf(given, sizeof given, "%s a=1 b", path);
    snprintf(string, sizeof string, "%d a=1 b", fd);
    struct loaded l = load(&kernel, 16 * MIB, given, NULL);
    assert_multiboot_info(&l, 16 * MIB, NULL);
    gpa_t info = l.result.gpr[EBX];
    ck_assert_uint_eq(ram32(&l, info) & 8, 8);
    ck_assert_uint_eq(ram32(&l, info + 20), 1);
    gpa_t module = ram32(&l, info + 24);
    ck_assert_uint_eq(ram32(&l, module), 0x101000); /* the first free page: between segments */
    ck_assert_uint_eq(ram32(&l, module + 4), 0x10100a);
    assert_bytes(&l, 0x101000, "the module", 10);
    assert_bytes(&l, ram32(&l, module + 8), string, strlen(string) + 1);
    unload(&l);
    close(fd);
}
END_TEST

START_TEST(the_cpu_enters_protected_mode) {
    struct blob kernel = linux_blob();
    struct loaded l = load(&kernel, 64 * MIB, NULL, NULL);
    assert_loaded(&l, "linux");
    struct cpu cpu = {.paging.cr0 = CR0_CD | CR0_NW | CR0_ET, .gpr = {1, 2, 3}, .mode = MODE_REAL};
    loader_enter(&cpu, &l.result, &l.gdt);
    ck_assert_uint_eq(cpu.paging.cr0, CR0_PE | CR0_ET);
    ck_assert_uint_eq(cpu.eip, LINUX_PREFERRED);
    ck_assert_uint_eq(cpu.gpr[ESI], ZERO_PAGE);
    ck_assert_uint_eq(cpu.gpr[EAX], 0);
    ck_assert_uint_eq(cpu_eflags(&cpu), 2);
    ck_assert_uint_eq(cpu_cpl(&cpu), 0);
    ck_assert_uint_eq(cpu.mode & (MODE_REAL | MODE_CODE16 | MODE_STACK16 | MODE_GENERAL_CS), 0);
    ck_assert(!cpu.mode_dirty);
    /* The hidden parts are what the GDT in memory says. */
    ck_assert_uint_eq(cpu.gdt.limit, 31);
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct segment *segment = &cpu.seg[i];
        ck_assert_uint_eq(segment->selector, i == SEG_CS ? 0x10 : 0x18);
        uint32_t low = ram32(&l, cpu.gdt.base + segment->selector);
        uint32_t high = ram32(&l, cpu.gdt.base + segment->selector + 4);
        ck_assert_uint_eq(segment->attr, high >> 8 & 0xf0ff);
        ck_assert_uint_eq(low, 0xffff);
        ck_assert_uint_eq(high & 0xff0f00ff, 0x000f0000);
        ck_assert_uint_eq(segment->limit, 0xffffffff);
        ck_assert(segment->usable && segment->base == 0 && segment->cls == SEGMENT_FLAT);
    }
    unload(&l);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("loader");
    TCase *tests = tcase_create("placement");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, linux_goes_to_its_preferred_address);
    tcase_add_test(tests, linux_boot_params_are_as_the_protocol_says);
    tcase_add_test(tests, linux_e820_covers_ram_and_reserves_the_hole);
    tcase_add_test(tests, linux_load_address_follows_the_header);
    tcase_add_test(tests, linux_without_setup_sects_has_four);
    tcase_add_test(tests, linux_code_may_end_within_its_last_paragraph);
    tcase_add_test(tests, linux_ignores_what_follows_the_code);
    tcase_add_test(tests, linux_initrd_lies_as_high_as_it_may);
    tcase_add_test(tests, linux_command_line_may_be_as_long_as_the_kernel_says);
    tcase_add_test(tests, elf_segments_go_to_their_physical_addresses);
    tcase_add_test(tests, multiboot_elf);
    tcase_add_test(tests, multiboot_by_the_headers_addresses);
    tcase_add_test(tests, multiboot_takes_the_header_whose_sum_is_right);
    tcase_add_test(tests, multiboot_module_with_arguments);
    tcase_add_test(tests, the_cpu_enters_protected_mode);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
