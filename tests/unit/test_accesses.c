/* Memory operands as data: which there are, where, how large, and how often. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/plugin_private.h"
#include "translator/accesses.h"

enum { R = ACCESS_READS, W = ACCESS_WRITES, RW = R | W };

/* Registers are 0x1000 * number + 0x100; ESP is 0x8000. DS, ES and SS have the base 0, FS 0x10000.
 */
static struct cpu cpu;

static void setup(void) {
    memset(&cpu, 0, sizeof cpu);
    for (unsigned i = 0; i < 8; i++)
        cpu.gpr[i] = 0x1000 * i + 0x100;
    cpu.gpr[ESP] = 0x8000;
    cpu.gpr[ECX] = 3;
    cpu.seg[SEG_FS].base = 0x10000;
}

struct expected {
    unsigned kind, size;
    uint32_t address;
};
static const struct {
    const char *what;
    uint8_t bytes[8];
    unsigned mode, count, repeats;
    struct expected accesses[2];
} cases[] = {
    {"nop", {0x90}, 0, 0, 0, {{0}}},
    {"mov eax, [ebx]", {0x8b, 0x03}, 0, 1, 1, {{R, 4, 0x3100}}},
    {"mov [ebx + esi*4 + 8], al",
     {0x88, 0x44, 0xb3, 0x08},
     0,
     1,
     1,
     {{W, 1, 0x3100 + 0x6100 * 4 + 8}}},
    {"add [ebx], ax", {0x66, 0x01, 0x03}, 0, 1, 1, {{RW, 2, 0x3100}}},
    {"mov eax, fs:[ebx]", {0x64, 0x8b, 0x03}, 0, 1, 1, {{R, 4, 0x13100}}},
    {"mov eax, [moffs]", {0xa1, 1, 2, 3, 4}, 0, 1, 1, {{R, 4, 0x04030201}}},
    {"lea eax, [ebx]", {0x8d, 0x03}, 0, 0, 0, {{0}}},
    {"invlpg [eax]", {0x0f, 0x01, 0x38}, 0, 0, 0, {{0}}},
    {"prefetch", {0x0f, 0x18, 0x08}, 0, 0, 0, {{0}}},
    {"long nop", {0x0f, 0x1f, 0x00}, 0, 0, 0, {{0}}},
    {"push eax", {0x50}, 0, 1, 1, {{W, 4, 0x7ffc}}},
    {"push ax", {0x66, 0x50}, 0, 1, 1, {{W, 2, 0x7ffe}}},
    {"push [ebx]", {0xff, 0x33}, 0, 2, 1, {{R, 4, 0x3100}, {W, 4, 0x7ffc}}},
    {"pop eax", {0x58}, 0, 1, 1, {{R, 4, 0x8000}}},
    {"pop [esp + 4]", {0x8f, 0x44, 0x24, 4}, 0, 2, 1, {{W, 4, 0x8008}, {R, 4, 0x8000}}},
    {"pusha", {0x60}, 0, 1, 1, {{W, 32, 0x7fe0}}},
    {"call", {0xe8}, 0, 1, 1, {{W, 4, 0x7ffc}}},
    {"ret", {0xc3}, 0, 1, 1, {{R, 4, 0x8000}}},
    {"iret", {0xcf}, 0, 0, 0, {{0}}},
    {"leave", {0xc9}, 0, 1, 1, {{R, 4, 0x5100}}},
    {"movsd", {0xa5}, 0, 2, 1, {{W, 4, 0x7100}, {R, 4, 0x6100}}},
    {"rep movsb", {0xf3, 0xa4}, 0, 2, 3, {{W, 1, 0x7100}, {R, 1, 0x6100}}},
    {"rep stosd", {0xf3, 0xab}, 0, 1, 3, {{W, 4, 0x7100}}},
    {"xlat", {0xd7}, 0, 1, 1, {{R, 1, 0x3100}}},
    {"bts [ebx], edx", {0x0f, 0xab, 0x13}, 0, 1, 1, {{RW, 4, 0x3100 + 0x2100 / 32 * 4}}},
    {"bt word [ebx], dx", {0x66, 0x0f, 0xa3, 0x13}, 0, 1, 1, {{R, 2, 0x3100 + 0x2100 / 16 * 2}}},
    {"bts dword [ebx], 40", {0x0f, 0xba, 0x2b, 40}, 0, 1, 1, {{RW, 4, 0x3100}}},
    {"fxsave [ebx]", {0x0f, 0xae, 0x03}, 0, 1, 1, {{W, 512, 0x3100}}},
    {"mov ax, [bx + si]", {0x8b, 0x00}, MODE_CODE16 | MODE_STACK16, 1, 1, {{R, 2, 0x9200}}},
    {"mov ax, [bx + di] that wraps", {0x8b, 0x81, 0xff, 0xff}, MODE_CODE16, 1, 1, {{R, 2, 0xa1ff}}},
    {"push ax, 16-bit stack", {0x50}, MODE_CODE16 | MODE_STACK16, 1, 1, {{W, 2, 0x7ffe}}},
};

START_TEST(memory_operands_are_what_the_manual_says) {
    struct access list[ACCESSES_MAX];
    unsigned count = insn_accesses(cases[_i].mode, cases[_i].bytes, sizeof cases[_i].bytes, list);
    ck_assert_msg(count == cases[_i].count, "%s: %u accesses", cases[_i].what, count);
    for (unsigned i = 0; i < count; i++) {
        const struct expected *e = &cases[_i].accesses[i];
        ck_assert_msg((list[i].flags & (R | W)) == e->kind, "%s: kind %x", cases[_i].what,
                      list[i].flags);
        ck_assert_msg(list[i].size == e->size, "%s: size %u", cases[_i].what, list[i].size);
        ck_assert_msg(access_address(&cpu, &list[i]) == e->address, "%s: at %x", cases[_i].what,
                      access_address(&cpu, &list[i]));
        ck_assert_msg(access_count(&cpu, &list[i]) == cases[_i].repeats, "%s: %u times",
                      cases[_i].what, access_count(&cpu, &list[i]));
    }
}
END_TEST

START_TEST(repeated_count_may_be_zero_and_of_16_bits) {
    static const uint8_t rep_stosb[] = {0xf3, 0xaa}, rep_stosb16[] = {0x67, 0xf3, 0xaa};
    struct access list[ACCESSES_MAX];
    cpu.gpr[ECX] = 0x10000;
    ck_assert_uint_eq(insn_accesses(0, rep_stosb, sizeof rep_stosb, list), 1);
    ck_assert_uint_eq(access_count(&cpu, list), 0x10000);
    ck_assert_uint_eq(insn_accesses(0, rep_stosb16, sizeof rep_stosb16, list), 1);
    ck_assert_uint_eq(access_count(&cpu, list), 0);
}
END_TEST

START_TEST(bit_offset_may_be_negative) {
    static const uint8_t bt[] = {0x0f, 0xa3, 0x13};
    struct access list[ACCESSES_MAX];
    cpu.gpr[EDX] = (uint32_t)-1;
    ck_assert_uint_eq(insn_accesses(0, bt, sizeof bt, list), 1);
    ck_assert_uint_eq(access_address(&cpu, list), 0x30fc);
}
END_TEST

/* What a search finds decides how far it goes: "abc" and a zero, from ESI and EDI, on memory's last
 * page. */
START_TEST(compared_strings_end_where_memory_says) {
    static const uint8_t scas[] = {0xf2, 0xae}, cmps[] = {0xf3, 0xa6};
    static struct vcpu v;
    struct ram ram;
    struct access list[ACCESSES_MAX];
    ck_assert_int_eq(ram_create(&ram, 1 << 20), 0);
    v.cpu = cpu;
    v.ram = &ram;
    strcpy(ram_ptr(&ram, 0x7100, 8), "abcd");
    strcpy(ram_ptr(&ram, 0x6100, 8), "abxd");
    v.cpu.gpr[EAX] = 0;
    ck_assert_uint_eq(insn_accesses(0, scas, sizeof scas, list), 1);
    ck_assert_uint_eq(plugin_compare_count(&v, list, 1, UINT32_MAX), 5);
    ck_assert_uint_eq(plugin_compare_count(&v, list, 1, 2), 2);
    ck_assert_uint_eq(insn_accesses(0, cmps, sizeof cmps, list), 2);
    ck_assert_uint_eq(plugin_compare_count(&v, list, 2, UINT32_MAX), 3);
    v.cpu.gpr[EDI] = (1 << 20) - 4; /* zeroes up to the end of memory, and none of them is EAX's */
    v.cpu.gpr[EAX] = 'x';
    ck_assert_uint_eq(insn_accesses(0, scas, sizeof scas, list), 1);
    ck_assert_uint_eq(plugin_compare_count(&v, list, 1, UINT32_MAX), 4);
    ram_destroy(&ram);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("accesses");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_loop_test(tests, memory_operands_are_what_the_manual_says, 0,
                        sizeof cases / sizeof *cases);
    tcase_add_test(tests, repeated_count_may_be_zero_and_of_16_bits);
    tcase_add_test(tests, bit_offset_may_be_negative);
    tcase_add_test(tests, compared_strings_end_where_memory_says);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
