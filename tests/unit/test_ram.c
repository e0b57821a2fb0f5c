/* Guest RAM: what is RAM and what is not, and that chunks get memory exactly once asked for. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory/ram.h"

static uint64_t host_bytes(const struct ram *ram) {
    struct stat status;
    ck_assert_int_eq(fstat(ram->fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

START_TEST(sizes_that_make_no_sense_are_refused) {
    struct ram ram;
    static const uint64_t bad[] = {0, 1, 4095, 4097, (1ull << 32) + 4096, UINT64_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(ram_create(&ram, bad[i]), -EINVAL);
        ram_destroy(&ram); /* harmless */
    }
}
END_TEST

START_TEST(the_hole_and_the_end_are_not_ram) {
    struct ram ram;
    ck_assert_int_eq(ram_create(&ram, 2u << 20), 0);
    ck_assert(ram_is_page(&ram, 0));
    ck_assert(ram_is_page(&ram, 0x9f000));
    ck_assert(!ram_is_page(&ram, 0xa0000));
    ck_assert(!ram_is_page(&ram, 0xbf000));
    ck_assert(ram_is_page(&ram, 0xc0000));
    ck_assert(ram_is_page(&ram, 0x1ff000));
    ck_assert(!ram_is_page(&ram, 0x200000));
    ck_assert(!ram_is_page(&ram, 1ull << 32));
    ck_assert(!ram_is_page(&ram, UINT64_MAX));

    ck_assert_ptr_eq(ram_ptr(&ram, 0, 0xa0000), ram.base);
    ck_assert_ptr_null(ram_ptr(&ram, 0, 0xa0001));
    ck_assert_ptr_null(ram_ptr(&ram, 0xa0000, 1));
    ck_assert_ptr_null(ram_ptr(&ram, 0xbffff, 1));
    ck_assert_ptr_null(ram_ptr(&ram, 0x9ffff, 2));
    ck_assert_ptr_eq(ram_ptr(&ram, 0xc0000, 0x140000), ram.base + 0xc0000);
    ck_assert_ptr_null(ram_ptr(&ram, 0xc0000, 0x140001));
    ck_assert_ptr_null(ram_ptr(&ram, 0x200000, 0));
    ck_assert_ptr_null(ram_ptr(&ram, 0x1fffff, SIZE_MAX));
    ck_assert_ptr_null(ram_ptr(&ram, UINT64_MAX, 2));
    ram_destroy(&ram);
}
END_TEST

START_TEST(chunks_get_memory_when_asked_for) {
    struct ram ram;
    ck_assert_int_eq(ram_create(&ram, 64u << 20), 0);
    ck_assert_uint_eq(host_bytes(&ram), 0);
    ck_assert_int_eq(ram_allocate(&ram, 0x1000000, 1), 0);
    ck_assert_uint_eq(host_bytes(&ram), RAM_CHUNK);
    ck_assert_int_eq(ram_allocate(&ram, 0x1000000 + RAM_CHUNK - 1, 1), 0);
    ck_assert_uint_eq(host_bytes(&ram), RAM_CHUNK);
    ck_assert_int_eq(ram_allocate(&ram, 0x1000000 + RAM_CHUNK - 1, 2), 0);
    ck_assert_uint_eq(host_bytes(&ram), 2 * RAM_CHUNK);
    ck_assert_int_eq(ram_allocate(&ram, 0x5, 0), 0);
    ck_assert_uint_eq(host_bytes(&ram), 2 * RAM_CHUNK);
    memset(ram_ptr(&ram, 0x1000000, RAM_CHUNK), 0x5a, RAM_CHUNK);
    ck_assert_uint_eq(host_bytes(&ram), 2 * RAM_CHUNK);
    ram_destroy(&ram);
}
END_TEST

START_TEST(the_hole_gets_no_memory) {
    struct ram ram;
    ck_assert_int_eq(ram_create(&ram, 1u << 20), 0);
    ck_assert_int_eq(ram_allocate(&ram, 0, 1u << 20), 0);
    ck_assert_uint_eq(host_bytes(&ram), (1u << 20) - (RAM_HOLE_END - RAM_HOLE_START));
    memset(ram_ptr(&ram, 0, RAM_HOLE_START), 1, RAM_HOLE_START);
    memset(ram_ptr(&ram, RAM_HOLE_END, 1), 1, 1);
    ck_assert_int_eq(lseek(ram.fd, 0, SEEK_HOLE), RAM_HOLE_START);
    ck_assert_int_eq(lseek(ram.fd, RAM_HOLE_START, SEEK_DATA), RAM_HOLE_END);
    ram_destroy(&ram);
}
END_TEST

START_TEST(video_memory_fills_the_hole) {
    struct ram ram;
    ck_assert_int_eq(ram_create(&ram, 2u << 20), 0);
    ram_add_video(&ram);
    ck_assert_uint_eq(ram_locate(&ram, 0xb8123), 0xb8123);
    ck_assert(ram_is_writable(&ram, 0xb8000));
    ck_assert_int_eq(ram_allocate(&ram, 0xa0000, 0x20000), 0);
    memset(ram_ptr(&ram, 0xa0000, 0x20000), 7, 0x20000);
    ram_destroy(&ram);
}
END_TEST

/* Each page of the ROM holds its number. */
static struct ram ram_with_rom(uint64_t size, uint32_t rom_pages) {
    struct ram ram;
    uint8_t *rom = calloc(rom_pages, PAGE_SIZE);
    ck_assert_int_eq(ram_create(&ram, size), 0);
    for (uint32_t i = 0; i < rom_pages; i++)
        memset(rom + i * PAGE_SIZE, (int)i, PAGE_SIZE);
    ck_assert_int_eq(ram_add_rom(&ram, rom, rom_pages * PAGE_SIZE), 0);
    free(rom);
    return ram;
}

START_TEST(rom_ends_at_four_gib_and_its_end_shows_below_one_mib) {
    struct ram ram = ram_with_rom(2u << 20, 64);
    ck_assert_uint_eq(ram_page_count(&ram), 512 + 64);
    const uint8_t *high = ram_ptr(&ram, 0xfffc0000, 0x40000),
                  *low = ram_ptr(&ram, 0xe0000, 0x20000);
    ck_assert_ptr_nonnull(high);
    ck_assert_ptr_nonnull(low);
    ck_assert_uint_eq(high[0], 0);
    ck_assert_uint_eq(high[0x3ffff], 63);
    ck_assert_ptr_eq(low, high + 0x20000);
    ck_assert(!ram_is_writable(&ram, ram_locate(&ram, 0xfffff000)));
    ck_assert(!ram_is_writable(&ram, ram_locate(&ram, 0xff000)));
    /* What it does not reach. */
    ck_assert(!ram_is_page(&ram, 0xfffbf000));
    ck_assert(!ram_is_page(&ram, 0xdf000));
    ck_assert(!ram_is_page(&ram, 1ull << 32));
    ck_assert_ptr_null(ram_ptr(&ram, 0xfffff000, 4097));
    ck_assert_ptr_null(ram_ptr(&ram, 0xff000, 4097)); /* ROM, then RAM */
    ck_assert_int_eq(ram_allocate(&ram, 0xfffff000, 4096), 0);
    ck_assert_int_eq(ram_allocate(&ram, 2u << 20, 64 * PAGE_SIZE), 0); /* by its place */
    ck_assert_int_eq(ram_allocate(&ram, 2u << 20, 64 * PAGE_SIZE + 1), -EFAULT);
    ram_destroy(&ram);
}
END_TEST

START_TEST(legacy_segments_switch_between_ram_and_rom) {
    struct ram ram = ram_with_rom(2u << 20, 16);
    ck_assert(!ram_is_page(&ram, 0xe0000)); /* a ROM of 64 KiB reaches down to 0xf0000 */
    ram_set_legacy(&ram, 8, RAM_LEGACY_RAM);
    ck_assert_uint_eq(ram_locate(&ram, 0xe0000), 0xe0000);
    ck_assert(!ram_is_page(&ram, 0xe4000));
    ck_assert_uint_eq(ram_locate(&ram, 0xfc000), (2u << 20) + 0xc000);
    ram_set_legacy(&ram, 15, RAM_LEGACY_READ_ONLY);
    ck_assert_uint_eq(ram_locate(&ram, 0xfc000), 0xfc000);
    ck_assert(!ram_is_writable(&ram, 0xfc000));
    ram_set_legacy(&ram, 15, RAM_LEGACY_RAM);
    ck_assert(ram_is_writable(&ram, 0xfc000));
    ram_destroy(&ram);
}
END_TEST

START_TEST(rom_does_not_fit_over_ram) {
    struct ram ram;
    static uint8_t rom[PAGE_SIZE];
    ck_assert_int_eq(ram_create(&ram, 1ull << 32), 0);
    ck_assert_int_eq(ram_add_rom(&ram, rom, sizeof rom), -EINVAL);
    ram_destroy(&ram);
}
END_TEST

START_TEST(a_range_beyond_the_end_is_refused) {
    struct ram ram;
    /* The last chunk is a part of one. */
    ck_assert_int_eq(ram_create(&ram, (1u << 20) + 4096), 0);
    ck_assert_int_eq(ram_allocate(&ram, 1u << 20, 4096), 0);
    ck_assert_uint_eq(host_bytes(&ram), 4096);
    ck_assert_int_eq(ram_allocate(&ram, 1u << 20, 4097), -EFAULT);
    ck_assert_int_eq(ram_allocate(&ram, (1u << 20) + 4096, 1), -EFAULT);
    ck_assert_int_eq(ram_allocate(&ram, UINT64_MAX, 1), -EFAULT);
    ck_assert_int_eq(ram_allocate(&ram, 4096, SIZE_MAX), -EFAULT);
    ram_destroy(&ram);
}
END_TEST

START_TEST(a_child_shares_memory_and_the_record_of_it) {
    struct ram ram;
    ck_assert_int_eq(ram_create(&ram, 16u << 20), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        int error = ram_allocate(&ram, 0x800000, 4096);
        ram.base[0x800123] = 0x77;
        _exit(error == 0 ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    uint64_t chunk = 0x800000 / RAM_CHUNK;
    ck_assert((ram.allocated[chunk / 64] >> chunk % 64 & 1) != 0);
    ck_assert_uint_eq(ram.base[0x800123], 0x77);
    ram_destroy(&ram);
}
END_TEST

START_TEST(two_machines_have_memory_of_their_own) {
    struct ram one, two;
    ck_assert_int_eq(ram_create(&one, 1u << 20), 0);
    ck_assert_int_eq(ram_create(&two, 1ull << 32), 0);
    one.base[0x100] = 1;
    ck_assert_uint_eq(two.base[0x100], 0);
    ck_assert(ram_is_page(&two, 0xfffff000));
    ck_assert_int_eq(ram_allocate(&two, 0xfffff000, 4096), 0);
    ram_destroy(&one);
    ram_destroy(&two);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("ram");
    TCase *tests = tcase_create("ram");
    tcase_add_test(tests, sizes_that_make_no_sense_are_refused);
    tcase_add_test(tests, the_hole_and_the_end_are_not_ram);
    tcase_add_test(tests, chunks_get_memory_when_asked_for);
    tcase_add_test(tests, the_hole_gets_no_memory);
    tcase_add_test(tests, video_memory_fills_the_hole);
    tcase_add_test(tests, rom_ends_at_four_gib_and_its_end_shows_below_one_mib);
    tcase_add_test(tests, legacy_segments_switch_between_ram_and_rom);
    tcase_add_test(tests, rom_does_not_fit_over_ram);
    tcase_add_test(tests, a_range_beyond_the_end_is_refused);
    tcase_add_test(tests, a_child_shares_memory_and_the_record_of_it);
    tcase_add_test(tests, two_machines_have_memory_of_their_own);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
