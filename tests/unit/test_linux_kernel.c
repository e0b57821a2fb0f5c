/* Linux kernels that the loader unpacks, and what is kept of them: where they go, what is
 * relocated, which are left to their stubs, and that a cache can be damaged but not lied to. */
#include <fcntl.h>
#include <sys/stat.h>
#include <zlib.h>

#include "loader/kernel_cache.h"
#include "loader_images.h"

#define MIB (1ull << 20)
#define ALIGNMENT 0x200000u
#define STUB_HEAD 0x400u /* of the stub, in front of the payload */
#define HIGH 0xc0000000u
#define DATA_AT 0x10000u /* from the preferred address on */
#define MEMORY (256 * MIB)

/* The kernel inside: code with an address in its second word, data with one in its first. */
#define ELF_TEXT 0x200u
#define ELF_WORDS 0x400u
#define TEXT_WORD (HIGH + LINUX_PREFERRED + 4)
#define DATA_WORD (HIGH + LINUX_PREFERRED + DATA_AT)

static char directory[] = "/tmp/ring3-kernels-XXXXXX";
static char cache[64];

static struct blob inner_blob(void) {
    struct blob inner = {.size = ELF_WORDS + 0x100};
    Elf32_Ehdr header = {.e_type = ET_EXEC,
                         .e_machine = EM_386,
                         .e_version = EV_CURRENT,
                         .e_entry = LINUX_PREFERRED + 0x20,
                         .e_phoff = 52,
                         .e_phentsize = 32,
                         .e_phnum = 2};
    memcpy(header.e_ident, "\177ELF\1\1\1", 7);
    Elf32_Phdr segments[] = {
        {PT_LOAD, ELF_TEXT, HIGH + LINUX_PREFERRED, LINUX_PREFERRED, 0x100, 0x100, PF_R | PF_X, 1},
        {PT_LOAD, ELF_WORDS, HIGH + LINUX_PREFERRED + DATA_AT, LINUX_PREFERRED + DATA_AT, 0x80,
         0x9000, PF_R | PF_W, 1},
    };
    fill(&inner, 0, inner.size);
    memcpy(inner.bytes, &header, sizeof header);
    memcpy(inner.bytes + 52, segments, sizeof segments);
    poke(&inner, ELF_TEXT + 4, 4, DATA_WORD);
    poke(&inner, ELF_WORDS, 4, TEXT_WORD);
    return inner;
}

static void add_relocations(struct blob *inner, uint32_t first, uint32_t second) {
    const uint32_t list[] = {0, first, second};
    for (unsigned i = 0; i < 3; i++, inner->size += 4)
        poke(inner, inner->size, 4, list[i]);
}

/* A bzImage around it. */
static struct blob packed_blob(const struct blob *inner, bool kaslr) {
    struct blob blob = linux_blob();
    uint8_t *payload = blob.bytes + LINUX_CODE + STUB_HEAD;
    z_stream z = {.next_in = (uint8_t *)inner->bytes,
                  .avail_in = (unsigned)inner->size,
                  .next_out = payload,
                  .avail_out = LINUX_CODE_SIZE - STUB_HEAD - 0x100};
    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    poke(&blob, 0x248, 4, STUB_HEAD);
    poke(&blob, 0x24c, 4, z.total_out);
    deflateEnd(&z);
    if (kaslr)
        strcpy((char *)payload + z.total_out, "KASLR disabled: 'nokaslr' on cmdline.");
    return blob;
}

static struct blob usual_blob(void) {
    struct blob inner = inner_blob();
    add_relocations(&inner, TEXT_WORD, DATA_WORD);
    return packed_blob(&inner, true);
}

static struct loaded load_here(const struct blob *kernel, const char *initrd, const char *append) {
    struct loaded l = {0};
    ck_assert_int_eq(ram_create(&l.ram, MEMORY), 0);
    int fd = file_of(kernel->bytes, kernel->size, l.path);
    struct load_options options = {.kernel = l.path,
                                   .initrd = initrd,
                                   .append = append,
                                   .unpack = UNPACK_HOST,
                                   .cache = *cache ? cache : NULL};
    l.rc = loader_load(&options, &l.ram, &l.result, &l.gdt, &l.error);
    ck_assert_msg(l.rc == 0, "%s", l.error.text);
    close(fd);
    return l;
}

/* The inner kernel stands at the preferred address plus `slide`, all of it. */
static void assert_kernel(const struct loaded *l, uint32_t slide) {
    struct blob inner = inner_blob();
    uint32_t at = LINUX_PREFERRED + slide;
    poke(&inner, ELF_TEXT + 4, 4, DATA_WORD + slide);
    poke(&inner, ELF_WORDS, 4, TEXT_WORD + slide);
    ck_assert_uint_eq(l->result.eip, at + 0x20);
    ck_assert_uint_eq(ram32(l, PLACE_BOOT_INFO + 0x214), at);
    ck_assert_mem_eq(ram_ptr(&l->ram, at, 0x100), inner.bytes + ELF_TEXT, 0x100);
    ck_assert_mem_eq(ram_ptr(&l->ram, at + DATA_AT, 0x80), inner.bytes + ELF_WORDS, 0x80);
    for (unsigned i = 0x80; i < 0x9000; i += 4)
        ck_assert_uint_eq(ram32(l, at + DATA_AT + i), 0);
}

static bool says_kaslr(const struct loaded *l) {
    return ram32(l, PLACE_BOOT_INFO + 0x210) >> 8 & 2;
}

static void assert_stub(const struct loaded *l, const struct blob *kernel) {
    ck_assert_uint_eq(l->result.eip, LINUX_PREFERRED);
    ck_assert(!says_kaslr(l));
    ck_assert_mem_eq(ram_ptr(&l->ram, LINUX_PREFERRED, LINUX_CODE_SIZE), kernel->bytes + LINUX_CODE,
                     LINUX_CODE_SIZE);
}

START_TEST(the_kernel_is_placed_and_entered) {
    struct blob kernel = usual_blob();
    struct loaded l = load_here(&kernel, NULL, "quiet nokaslr");
    assert_kernel(&l, 0);
    ck_assert(!says_kaslr(&l));
    ck_assert_uint_eq(l.result.gpr[ESI], PLACE_BOOT_INFO);
    unload(&l);
}
END_TEST

/* 124 places are free: 40 loads that all choose one are no chance. */
START_TEST(kaslr_moves_it_to_any_free_place) {
    struct blob kernel = usual_blob();
    uint32_t seen = 0, different = 0;
    char path[64];
    uint8_t *initrd = calloc(1, 48 * MIB);
    int fd = file_of(initrd, 48 * MIB, path);
    free(initrd);
    for (unsigned i = 0; i < 40; i++) {
        struct loaded l = load_here(&kernel, path, "nokaslrs xnokaslr");
        uint32_t at = ram32(&l, PLACE_BOOT_INFO + 0x214);
        ck_assert_uint_ge(at, LINUX_PREFERRED);
        ck_assert_uint_eq(at % ALIGNMENT, 0);
        ck_assert_uint_le(at + LINUX_INIT_SIZE, ram32(&l, PLACE_BOOT_INFO + 0x218));
        ck_assert(says_kaslr(&l));
        assert_kernel(&l, at - LINUX_PREFERRED);
        different += at != seen;
        seen = at;
        unload(&l);
    }
    close(fd);
    ck_assert_uint_gt(different, 20);
}
END_TEST

START_TEST(without_kaslr_in_the_stub_it_stays) {
    struct blob inner = inner_blob(), kernel = packed_blob(&inner, false);
    for (unsigned i = 0; i < 8; i++) {
        struct loaded l = load_here(&kernel, NULL, NULL);
        assert_kernel(&l, 0);
        ck_assert(!says_kaslr(&l));
        unload(&l);
    }
}
END_TEST

START_TEST(words_for_the_stub_reach_it) {
    static const char *const words[] = {"mem=64M", "a memmap=1M$2M", "earlyprintk=ttyS0",
                                        "console=uart8250,io,0x3f8"};
    struct blob kernel = usual_blob();
    for (unsigned i = 0; i < 4; i++) {
        struct loaded l = load_here(&kernel, NULL, words[i]);
        assert_stub(&l, &kernel);
        unload(&l);
    }
}
END_TEST

enum oddity {
    ODD_CLASS,
    ODD_MACHINE,
    ODD_TYPE,
    ODD_HEADERS,
    ODD_ENTRY,
    ODD_SEGMENT_LOW,
    ODD_SEGMENT_HIGH,
    ODD_SEGMENT_CUT,
    ODD_LINKED,
    ODD_RELOCATION,
    ODD_RELOCATION_EDGE,
    ODD_LIST,
    ODD_PAYLOAD_SIZE,
    ODD_PAYLOAD_END,
    ODD_SIZE_FIELD,
    ODD_STREAM,
    ODDITIES
};

static struct blob odd_blob(enum oddity odd) {
    struct blob inner = inner_blob();
    if (odd == ODD_CLASS)
        inner.bytes[EI_CLASS] = ELFCLASS64;
    if (odd == ODD_MACHINE)
        poke(&inner, EHDR(e_machine), 2, EM_X86_64);
    if (odd == ODD_TYPE)
        poke(&inner, EHDR(e_type), 2, ET_DYN);
    if (odd == ODD_HEADERS)
        poke(&inner, EHDR(e_phoff), 4, (uint32_t)inner.size - 32);
    if (odd == ODD_ENTRY)
        poke(&inner, EHDR(e_entry), 4, LINUX_PREFERRED + 0x100);
    if (odd == ODD_SEGMENT_LOW)
        poke(&inner, PHDR(0, p_paddr), 4, LINUX_PREFERRED - 0x1000);
    if (odd == ODD_SEGMENT_HIGH)
        poke(&inner, PHDR(1, p_memsz), 4, LINUX_INIT_SIZE - DATA_AT + 1);
    if (odd == ODD_SEGMENT_CUT)
        poke(&inner, PHDR(1, p_offset), 4, 0x7fffffff);
    if (odd == ODD_LINKED)
        poke(&inner, PHDR(1, p_vaddr), 4, HIGH);
    if (odd == ODD_LIST)
        memset(inner.bytes + ELF_WORDS + 0x80, 0xff, 0x80);
    if (odd != ODD_LIST)
        add_relocations(&inner, odd == ODD_RELOCATION ? 0xd0000000 : TEXT_WORD,
                        odd == ODD_RELOCATION_EDGE ? DATA_WORD + 0x7d : DATA_WORD);
    struct blob kernel = packed_blob(&inner, true);
    uint32_t size = get32(kernel.bytes + 0x24c);
    uint8_t *payload = kernel.bytes + LINUX_CODE + STUB_HEAD;
    if (odd == ODD_PAYLOAD_SIZE)
        poke(&kernel, 0x24c, 4, 4);
    if (odd == ODD_PAYLOAD_END)
        poke(&kernel, 0x24c, 4, LINUX_CODE_SIZE);
    if (odd == ODD_SIZE_FIELD)
        poke(&kernel, 0x24c, 4, size + 1);
    if (odd == ODD_STREAM)
        payload[size / 2] ^= 0x55;
    return kernel;
}

/* Damaged or of another shape: their own stubs know better. A list without an end matters where
 * something moves: 123 of 124 loads. */
START_TEST(what_is_not_understood_is_left_to_the_stub) {
    struct blob kernel = odd_blob((enum oddity)_i);
    struct loaded l = load_here(&kernel, NULL, NULL);
    for (unsigned i = 0; i < 8 && l.result.eip == LINUX_PREFERRED + 0x20; i++) {
        unload(&l);
        l = load_here(&kernel, NULL, NULL);
    }
    assert_stub(&l, &kernel);
    unload(&l);
}
END_TEST

START_TEST(kernels_for_other_addresses_are_left_to_the_stub) {
    struct blob kernel = usual_blob();
    poke(&kernel, 0x234, 1, 0);
    struct loaded l = load_here(&kernel, NULL, "nokaslr");
    ck_assert_uint_eq(l.result.eip, PLACE_HIGH);
    unload(&l);
    kernel = usual_blob();
    poke(&kernel, 0x258, 8, MEMORY); /* does not fit: lower than it is linked for */
    l = load_here(&kernel, NULL, "nokaslr");
    ck_assert_uint_eq(l.result.eip, ALIGNMENT);
    unload(&l);
}
END_TEST

/* ---- the cache ---- */

static const uint8_t packed[] = "packed", other[] = "pecked";
static const struct unpacked whole = {(uint8_t *)"unpacked bytes", 14};

static bool finds(const uint8_t *bytes) {
    struct unpacked got;
    if (!kernel_cache_find(cache, bytes, sizeof packed, &got))
        return false;
    ck_assert_uint_eq(got.size, whole.size);
    ck_assert_mem_eq(got.bytes, whole.bytes, whole.size);
    free(got.bytes);
    return true;
}

/* The one file in the cache. */
static void find_file(char path[PATH_MAX]) {
    char command[128];
    snprintf(command, sizeof command, "ls -d %s/*", cache);
    FILE *list = popen(command, "r");
    ck_assert_ptr_nonnull(list);
    ck_assert_ptr_nonnull(fgets(path, PATH_MAX, list));
    path[strcspn(path, "\n")] = 0;
    ck_assert_int_eq(fgetc(list), EOF);
    pclose(list);
}

START_TEST(what_is_kept_is_found) {
    ck_assert(!finds(packed));
    kernel_cache_keep(cache, packed, sizeof packed, &whole);
    ck_assert(finds(packed));
    ck_assert(!finds(other));
}
END_TEST

START_TEST(a_damaged_file_is_not_used) {
    char path[PATH_MAX];
    struct stat stat;
    kernel_cache_keep(cache, packed, sizeof packed, &whole);
    find_file(path);
    int fd = open(path, O_RDWR);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &stat), 0);
    for (off_t at = 0; at < stat.st_size; at++) {
        uint8_t was, wrong;
        ck_assert_int_eq(pread(fd, &was, 1, at), 1);
        wrong = was ^ 1;
        ck_assert_int_eq(pwrite(fd, &wrong, 1, at), 1);
        ck_assert_msg(at >= 36 && at < 40 ? finds(packed) : !finds(packed), "byte %ld", (long)at);
        ck_assert_int_eq(pwrite(fd, &was, 1, at), 1);
    }
    ck_assert(finds(packed));
    ck_assert_int_eq(ftruncate(fd, stat.st_size - 1), 0);
    ck_assert(!finds(packed));
    close(fd);
    kernel_cache_keep(cache, packed, sizeof packed, &whole);
    ck_assert(finds(packed));
}
END_TEST

START_TEST(what_others_may_write_is_not_used) {
    char path[PATH_MAX], moved[PATH_MAX + 8];
    kernel_cache_keep(cache, packed, sizeof packed, &whole);
    find_file(path);
    ck_assert_int_eq(chmod(path, 0620), 0);
    ck_assert(!finds(packed));
    ck_assert_int_eq(chmod(path, 0600), 0);
    ck_assert_int_eq(chmod(cache, 0770), 0);
    ck_assert(!finds(packed));
    ck_assert_int_eq(chmod(cache, 0700), 0);
    ck_assert(finds(packed));
    snprintf(moved, sizeof moved, "%s.moved", path);
    ck_assert_int_eq(rename(path, moved), 0);
    ck_assert_int_eq(symlink(moved, path), 0);
    ck_assert(!finds(packed));
}
END_TEST

START_TEST(the_oldest_goes) {
    uint8_t many[KERNEL_CACHE_MAX + 1][8] = {{0}};
    struct unpacked got;
    char path[PATH_MAX];
    for (unsigned i = 0; i <= KERNEL_CACHE_MAX; i++) {
        many[i][0] = (uint8_t)i;
        kernel_cache_keep(cache, many[i], 8, &whole);
        if (i == 0) { /* the first one is old, then used again: the second one is the oldest */
            find_file(path);
            ck_assert_int_eq(utimensat(AT_FDCWD, path, (struct timespec[]){{1, 0}, {1, 0}}, 0), 0);
        }
        usleep(20000); /* of the file system's clock */
        if (i == 1) {
            ck_assert(kernel_cache_find(cache, many[0], 8, &got));
            free(got.bytes);
        }
    }
    for (unsigned i = 0; i <= KERNEL_CACHE_MAX; i++) {
        bool found = kernel_cache_find(cache, many[i], 8, &got);
        ck_assert_msg(found == (i != 1), "kernel %u", i);
        if (found)
            free(got.bytes);
    }
}
END_TEST

START_TEST(a_kept_kernel_boots_like_a_fresh_one) {
    struct blob kernel = usual_blob();
    char path[PATH_MAX];
    for (unsigned i = 0; i < 3; i++) {
        struct loaded l = load_here(&kernel, NULL, "nokaslr");
        assert_kernel(&l, 0);
        unload(&l);
        find_file(path);
    }
    /* The kept one is what is taken: it has another checksum now, which fits. */
    uint32_t size = get32(kernel.bytes + 0x24c);
    struct unpacked bent;
    const uint8_t *payload = kernel.bytes + LINUX_CODE + STUB_HEAD;
    ck_assert(kernel_cache_find(cache, payload, size, &bent));
    bent.bytes[ELF_TEXT] ^= 0xff;
    kernel_cache_keep(cache, payload, size, &bent);
    struct loaded l = load_here(&kernel, NULL, "nokaslr");
    ck_assert_uint_eq(ram32(&l, LINUX_PREFERRED) & 0xff, bent.bytes[ELF_TEXT]);
    unload(&l);
    free(bent.bytes);
}
END_TEST

START_TEST(the_directory_is_where_caches_are) {
    char path[64];
    setenv("XDG_CACHE_HOME", "/x", 1);
    setenv("HOME", "/h", 1);
    ck_assert(kernel_cache_directory(path, sizeof path));
    ck_assert_str_eq(path, "/x/ring3/unpacked");
    ck_assert(!kernel_cache_directory(path, 17));
    setenv("XDG_CACHE_HOME", "relative", 1);
    ck_assert(kernel_cache_directory(path, sizeof path));
    ck_assert_str_eq(path, "/h/.cache/ring3/unpacked");
    unsetenv("HOME");
    ck_assert(!kernel_cache_directory(path, sizeof path));
}
END_TEST

static void setup(void) {
    strcpy(directory + sizeof directory - 7, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(cache, sizeof cache, "%s/deep/er", directory);
}

static void teardown(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

int main(void) {
    TCase *loads = tcase_create("loads"), *kept = tcase_create("cache");
    tcase_add_test(loads, the_kernel_is_placed_and_entered);
    tcase_add_test(loads, kaslr_moves_it_to_any_free_place);
    tcase_add_test(loads, without_kaslr_in_the_stub_it_stays);
    tcase_add_test(loads, words_for_the_stub_reach_it);
    tcase_add_loop_test(loads, what_is_not_understood_is_left_to_the_stub, 0, ODDITIES);
    tcase_add_test(loads, kernels_for_other_addresses_are_left_to_the_stub);
    tcase_add_checked_fixture(kept, setup, teardown);
    tcase_add_test(kept, what_is_kept_is_found);
    tcase_add_test(kept, a_damaged_file_is_not_used);
    tcase_add_test(kept, what_others_may_write_is_not_used);
    tcase_add_test(kept, the_oldest_goes);
    tcase_add_test(kept, a_kept_kernel_boots_like_a_fresh_one);
    tcase_add_test(kept, the_directory_is_where_caches_are);
    Suite *suite = suite_create("linux_kernel");
    suite_add_tcase(suite, loads);
    suite_add_tcase(suite, kept);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
