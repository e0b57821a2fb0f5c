/* Symbols from a Linux kernel's own tables, in every layout that they have had, and packed into a
 * bzImage by every format. The tables are made here as the kernel's scripts/kallsyms.c makes them.
 */
#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

#include "loader/unpack.h"
#include "tests/unit/symbols_fixture.h"

#define COUNT 1200u
#define TEXT 0xc1000000u
#define SCHEDULE 6u /* the symbol by which the exports are found */

enum layout { LAYOUT_OLD_ABSOLUTE, LAYOUT_6_1, LAYOUT_6_2, LAYOUT_6_4, LAYOUT_COUNT };

static struct file file, packed;
static struct error error;
/* Places worth damaging. */
static size_t start_of_tables;

static void setup(void) {
    file = file_new();
    packed = file_new();
}

static void teardown(void) {
    free(file.bytes);
    free(packed.bytes);
}

/* Symbol i: its type and name; one is longer than 127 tokens, so that its length takes two bytes.
 */
static void make_name(unsigned i, char *name, size_t size) {
    if (i == 1000)
        snprintf(name, size, "t%0200d", 7);
    else if (i == SCHEDULE)
        snprintf(name, size, "Tschedule");
    else
        snprintf(name, size, "%csymbol_%u", i % 3 ? 't' : 'T', i);
}

/* Tokens are single characters, but for one pair, as real tables have many. */
static void add_names(size_t *markers, bool long_names) {
    size_t start = file.size;
    char name[256];
    for (unsigned i = 0; i < COUNT; i++) {
        uint8_t tokens[256];
        size_t len = 0;
        make_name(long_names || i != 1000 ? i : 1, name, sizeof name);
        if (i % 256 == 0)
            markers[i / 256] = file.size - start;
        for (const char *c = name; *c; c++)
            if (!strncmp(c, "sy", 2)) {
                tokens[len++] = 0x80;
                c++;
            } else {
                tokens[len++] = (uint8_t)*c;
            }
        uint8_t head[2] = {(uint8_t)len, 0};
        if (len > 127) {
            head[0] = (uint8_t)(0x80 | (len & 0x7f));
            head[1] = (uint8_t)(len >> 7);
        }
        file_add(&file, head, len > 127 ? 2 : 1);
        file_add(&file, tokens, len);
    }
    file_align(&file, 4);
}

static void add_tokens(void) {
    uint16_t index[256];
    size_t start = file.size;
    for (unsigned i = 0; i < 256; i++) {
        char single[3] = {(char)i, 0, 0};
        const char *token = i == 0x80 ? "sy" : i < 0x20 || i > 0x7e ? "qq" : single;
        index[i] = (uint16_t)(file.size - start);
        file_add(&file, token, strlen(token) + 1);
    }
    file_align(&file, 4);
    file_add(&file, index, sizeof index);
}

static void add_offsets(enum layout layout) {
    for (unsigned i = 0; i < COUNT; i++)
        file_add32(&file, layout == LAYOUT_OLD_ABSOLUTE ? TEXT + 16 * i : 16 * i);
    if (layout != LAYOUT_OLD_ABSOLUTE)
        file_add32(&file, TEXT);
}

static void make_kernel(enum layout layout) {
    size_t markers[(COUNT + 255) / 256];
    file.size = 0;
    memset(file.bytes, 0, FIXTURE_ROOM);
    file_start_elf(&file);
    for (unsigned i = 0; i < 1000; i++) /* other constants in front */
        file_add32(&file, i * 2654435761u);
    start_of_tables = file.size;
    if (layout < LAYOUT_6_4)
        add_offsets(layout);
    file_add32(&file, COUNT);
    add_names(markers, layout != LAYOUT_OLD_ABSOLUTE);
    for (unsigned i = 0; i < sizeof markers / sizeof *markers; i++)
        file_add32(&file, (uint32_t)markers[i]);
    for (unsigned i = 0; layout == LAYOUT_6_2 && i < COUNT; i++) /* seqs_of_names */
        file_add(&file, &(uint32_t){i * 2654435761u}, 3);
    file_align(&file, 4);
    add_tokens();
    if (layout >= LAYOUT_6_4)
        add_offsets(layout);
    file_add(&file, "behind", 7);
    file_end_elf(&file);
}

static void check_kernel(const struct symbols *symbols, bool long_names) {
    char name[256];
    ck_assert_msg(symbols != NULL, "%s", error.text);
    ck_assert_uint_eq(symbols_count(symbols), COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        if (i == 1000 && !long_names)
            continue;
        make_name(i, name, sizeof name);
        check_symbol(symbols, name + 1, i == 1 && !long_names ? TEXT + 16 : TEXT + 16 * i, name[0]);
    }
}

START_TEST(tables_of_every_layout) {
    make_kernel((enum layout)_i);
    struct symbols *symbols = symbols_of_file(&file, &error);
    check_kernel(symbols, _i != LAYOUT_OLD_ABSOLUTE);
    symbols_free(symbols);
}
END_TEST

/* An entry of __ksymtab: where value and name lie, each from its own field. */
static void add_export(uint32_t value, size_t name) {
    gva_t here = TEXT + (gva_t)file.size;
    file_add32(&file, value - here);
    file_add32(&file, TEXT + (gva_t)name - (here + 4));
    file_add32(&file, 0);
}

START_TEST(exported_data_has_names) {
    static const char names[] = "jiffies\0schedule\0zone\0not a name";
    struct symbol symbol;
    char text[64];
    make_kernel(LAYOUT_6_1);
    size_t at = file_add(&file, names, sizeof names);
    file_align(&file, 4);
    add_export(TEXT + 0x300010, at + 21); /* no identifier: the table begins behind it */
    add_export(TEXT + 0x300000, at);
    add_export(TEXT + 16 * SCHEDULE, at + 8);
    add_export(TEXT + 0x302000, at + 17);
    file_add32(&file, 0);
    file_end_elf(&file);
    struct symbols *symbols = symbols_of_file(&file, &error);
    ck_assert_msg(symbols != NULL, "%s", error.text);
    ck_assert_uint_eq(symbols_count(symbols), COUNT + 2);
    check_symbol(symbols, "schedule", TEXT + 16 * SCHEDULE, 'T');
    check_symbol(symbols, "jiffies", TEXT + 0x300000, 'D');
    check_symbol(symbols, "zone", TEXT + 0x302000, 'D');
    ck_assert(!symbols_find(symbols, "not a name", &symbol));
    ck_assert_str_eq(symbols_format(symbols, TEXT + 0x300004, text, sizeof text), "jiffies+0x4");
    ck_assert_str_eq(symbols_format(symbols, TEXT + 0x301000, text, sizeof text), "");
    symbols_free(symbols);
}
END_TEST

/* Names that fit from every fourth byte on, but for the very end: what takes longest to refuse. */
START_TEST(endless_tables_are_given_up) {
    make_kernel(LAYOUT_6_1);
    file.size = start_of_tables;
    for (uint32_t i = 0; i < (FIXTURE_ROOM - start_of_tables) / 4 - 20000; i++)
        file_add32(&file, 0x0007f003); /* a length of 3, and a plausible number of symbols */
    for (uint32_t i = 0; i < (0x7f003 + 255) / 256; i++)
        file_add32(&file, 1024 * i);
    add_tokens();
    file_end_elf(&file);
    ck_assert_ptr_null(symbols_of_file(&file, &error));
}
END_TEST

START_TEST(damaged_tables_are_survived) {
    make_kernel(_i ? LAYOUT_6_1 : LAYOUT_6_4);
    size_t whole = file.size;
    for (size_t size = whole; size > start_of_tables; size -= size > 397 ? 397 : 1) {
        file.size = size;
        ((Elf32_Phdr *)(void *)(file.bytes + sizeof(Elf32_Ehdr)))->p_filesz = (uint32_t)size;
        symbols_free(symbols_of_file(&file, &error));
    }
    file.size = whole;
    for (size_t at = start_of_tables + (size_t)_i; at < whole; at += 397) {
        uint8_t old = file.bytes[at];
        file.bytes[at] = (uint8_t)~old;
        symbols_free(symbols_of_file(&file, &error));
        file.bytes[at] = old;
    }
}
END_TEST

typedef size_t (*packer)(uint8_t *to, size_t room);

static size_t pack_gzip(uint8_t *to, size_t room) {
    z_stream z = {.next_in = file.bytes,
                  .avail_in = (unsigned)file.size,
                  .next_out = to,
                  .avail_out = (unsigned)room};
    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static size_t pack_xz(uint8_t *to, size_t room) {
    size_t len = 0;
    ck_assert_int_eq(
        lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, file.bytes, file.size, to, &len, room),
        LZMA_OK);
    return len;
}

static size_t pack_lzma(uint8_t *to, size_t room) {
    lzma_options_lzma options;
    lzma_stream stream = LZMA_STREAM_INIT;
    ck_assert(!lzma_lzma_preset(&options, 1));
    ck_assert_int_eq(lzma_alone_encoder(&stream, &options), LZMA_OK);
    stream.next_in = file.bytes;
    stream.avail_in = file.size;
    stream.next_out = to;
    stream.avail_out = room;
    ck_assert_int_eq(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
    lzma_end(&stream);
    return room - stream.avail_out;
}

static size_t pack_zstd(uint8_t *to, size_t room) {
    size_t len = ZSTD_compress(to, room, file.bytes, file.size, 3);
    ck_assert(!ZSTD_isError(len));
    return len;
}

static size_t pack_bzip2(uint8_t *to, size_t room) {
    unsigned len = (unsigned)room;
    ck_assert_int_eq(BZ2_bzBuffToBuffCompress((char *)to, &len, (char *)file.bytes,
                                              (unsigned)file.size, 9, 0, 0),
                     BZ_OK);
    return len;
}

static size_t pack_lz4(uint8_t *to, size_t room) {
    static const uint8_t magic[4] = {0x02, 0x21, 0x4c, 0x18};
    memcpy(to, magic, 4);
    int len =
        LZ4_compress_default((char *)file.bytes, (char *)to + 8, (int)file.size, (int)room - 8);
    ck_assert_int_gt(len, 0);
    memcpy(to + 4, &len, 4);
    return (size_t)len + 8;
}

static const packer packers[] = {pack_gzip, pack_xz, pack_lzma, pack_zstd, pack_bzip2, pack_lz4};
#define PACKERS (sizeof packers / sizeof *packers)
#define PAYLOAD (5 * 512 + 0x80)

static void make_bzimage(packer pack) {
    make_kernel(LAYOUT_6_1);
    memset(packed.bytes, 0, FIXTURE_ROOM);
    uint32_t len = (uint32_t)pack(packed.bytes + PAYLOAD, FIXTURE_ROOM - PAYLOAD);
    memcpy(packed.bytes + PAYLOAD + len, &(uint32_t){(uint32_t)file.size},
           4); /* as the kernel's build does */
    len += 4;
    packed.size = PAYLOAD + len;
    packed.bytes[0x1f1] = 4;
    memcpy(packed.bytes + 0x1fe, "\x55\xaa", 2);
    memcpy(packed.bytes + 0x202, "HdrS\x0f\x02", 6);
    memcpy(packed.bytes + 0x248, &(uint32_t){0x80}, 4);
    memcpy(packed.bytes + 0x24c, &len, 4);
}

START_TEST(bzimage_of_every_packer) {
    make_bzimage(packers[_i]);
    struct symbols *symbols = symbols_of_file(&packed, &error);
    check_kernel(symbols, true);
    symbols_free(symbols);
}
END_TEST

START_TEST(damaged_bzimages_are_refused) {
    make_bzimage(packers[_i]);
    size_t whole = packed.size;
    uint32_t half = (uint32_t)(whole - PAYLOAD) / 2;
    memcpy(packed.bytes + 0x24c, &half, 4);
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "packed by"));
    make_bzimage(packers[_i]);
    memset(packed.bytes + PAYLOAD + half, 0xff, half / 2);
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    make_bzimage(packers[_i]);
    packed.size = PAYLOAD + 100;
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "the file ends"));
    packed.size = whole;
    memset(packed.bytes + PAYLOAD, 'z', 16);
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "is not packed by"));
}
END_TEST

START_TEST(bzimage_header_is_checked) {
    make_bzimage(pack_gzip);
    packed.bytes[0x206] = 7;
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "boot protocol 2.07"));
    packed.bytes[0x206] = 15;
    memset(packed.bytes + 0x248, 0xff, 8);
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "offset 0x248"));
    file.size = 0;
    file_add(&file, "no kernel", 9);
    size_t len = pack_gzip(packed.bytes + PAYLOAD, 1000);
    memcpy(packed.bytes + 0x248, &(uint32_t){0x80}, 4);
    memcpy(packed.bytes + 0x24c, &(uint32_t){(uint32_t)len}, 4);
    ck_assert_ptr_null(symbols_of_file(&packed, &error));
    ck_assert_ptr_nonnull(strstr(error.text, "no ELF file"));
}
END_TEST

/* A small stream of zeros that would fill memory. */
START_TEST(bombs_are_refused) {
    size_t limit = (size_t)8 << 20, huge = 2 * limit;
    uint8_t *zeros = calloc(1, huge);
    struct unpacked unpacked;
    ck_assert_ptr_nonnull(zeros);
    size_t len = ZSTD_compress(packed.bytes, FIXTURE_ROOM, zeros, huge, 1);
    ck_assert(!ZSTD_isError(len));
    free(zeros);
    ck_assert_int_eq(unpack("bomb", packed.bytes, len, limit, &unpacked, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "the limit"));
    ck_assert_ptr_null(unpacked.bytes);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("kallsyms");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, tables_of_every_layout, 0, LAYOUT_COUNT);
    tcase_add_test(tc, exported_data_has_names);
    tcase_add_test(tc, endless_tables_are_given_up);
    tcase_add_loop_test(tc, damaged_tables_are_survived, 0, 2);
    tcase_add_loop_test(tc, bzimage_of_every_packer, 0, PACKERS);
    tcase_add_loop_test(tc, damaged_bzimages_are_refused, 0, PACKERS);
    tcase_add_test(tc, bzimage_header_is_checked);
    tcase_add_test(tc, bombs_are_refused);
    Suite *suite = suite_create("kallsyms");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
