/* User callouts: descriptions taken and refused, values marshalled, events told apart. */
#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/plugins.h"

struct recorded {
    unsigned calls;
    uint64_t values[9];
    char text[256];
};

static struct plugins plugins;
static struct vcpu vcpu;
static struct ram ram;
static struct recorded *recorded;
static const char *const names[] = {"_text", "do_one", "start_kernel"};
static const gva_t addresses[] = {0xc1000000, 0xc1234567, 0xc1234600};

/* A guest of three symbols. */
static int find_symbol(void *opaque, const char *name, gva_t *address, struct error *error) {
    (void)opaque;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) {
            *address = addresses[i];
            return 0;
        }
    return error_set(error, "has no symbol '%s'", name);
}

static const struct symbol_source source = {.find = find_symbol};

static void setup(void) {
    ck_assert_int_eq(ram_create(&ram, 1 << 20), 0);
    vcpu.ram = &ram;
    vcpu.plugins = &plugins;
    plugins.symbols = source;
    void *library = dlopen(RECORDER, RTLD_NOW);
    ck_assert_ptr_nonnull(library);
    recorded = dlsym(library, "recorded");
    ck_assert_ptr_nonnull(recorded);
}

static void teardown(void) {
    plugins_release(&plugins);
    ram_destroy(&ram);
}

static void add(const char *event, const char *function) {
    struct error error;
    char spec[512];
    snprintf(spec, sizeof spec, "%s=%s:%s", event, RECORDER, function);
    ck_assert_msg(plugins_add_callout(&plugins, spec, &error) == 0, "%s: %s", spec, error.text);
}

START_TEST(cr3_write_passes_old_and_new_value) {
    add("cr3-write", "on_two(u32,u32)");
    vcpu.cpu.paging.cr3 = 0x1000;
    ck_assert(plugins_want_callout(&plugins, CALLOUT_mov_to_cr));
    plugins_callout(&vcpu, CALLOUT_mov_to_cr, 0, 0x80000011);
    ck_assert_uint_eq(recorded->calls, 0);
    plugins_callout(&vcpu, CALLOUT_mov_to_cr, 3, 0xfffff000);
    ck_assert_uint_eq(recorded->calls, 1);
    ck_assert_uint_eq(recorded->values[0], 0x1000);
    ck_assert_uint_eq(recorded->values[1], 0xfffff000);
}
END_TEST

START_TEST(class_event_passes_argument_operand_and_eip) {
    add("mov-to-seg", "on_wide(i64,u64,i32)");
    vcpu.cpu.eip = 0x80000000;
    plugins_callout(&vcpu, CALLOUT_mov_to_seg, 0xffffffff, 0xffffffff);
    ck_assert_uint_eq(recorded->calls, 1);
    ck_assert_uint_eq(recorded->values[0], UINT64_MAX); /* sign extended */
    ck_assert_uint_eq(recorded->values[1], UINT32_MAX);
    ck_assert_uint_eq(recorded->values[2], 0xffffffff80000000u);
    plugins_callout(&vcpu, CALLOUT_wrmsr, 0, 0);
    ck_assert_uint_eq(recorded->calls, 1);
}
END_TEST

START_TEST(narrow_types_take_the_low_bits) {
    add("out", "on_narrow(u8,i8,u16)");
    vcpu.cpu.eip = 0x12345678;
    plugins_callout(&vcpu, CALLOUT_out, 0x1ff, 0x1fe);
    ck_assert_uint_eq(recorded->values[0], 0xff);
    ck_assert_uint_eq(recorded->values[1], (uint64_t)-2);
    ck_assert_uint_eq(recorded->values[2], 0x5678);
}
END_TEST

START_TEST(entry_passes_the_registers_to_every_function_at_the_address) {
    add("entry@0xC1234567", "on_nine(u32,u32,u32,u32,u32,u32,u32,u32,u32)");
    add("entry@start_kernel", "on_nothing()");
    add("entry@do_one", "on_nothing()");
    vcpu.cpu.eip = 0xc1234567;
    for (unsigned i = 0; i < 8; i++)
        vcpu.cpu.gpr[i] = 0x11111111 * (i + 1);
    int index = plugins_entry(&plugins, 0xc1234567);
    ck_assert_int_eq(index, 0);
    ck_assert_int_eq(plugins_entry(&plugins, 0xc1234600), 1);
    ck_assert_int_eq(plugins_entry(&plugins, 0xc1234601), -1);
    plugins_enter(&vcpu, (uint32_t)index);
    ck_assert_uint_eq(recorded->calls, 2);
    ck_assert_uint_eq(recorded->values[0], 0xc1234567);
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(recorded->values[1 + i], 0x11111111 * (i + 1));
}
END_TEST

START_TEST(string_is_copied_across_pages_and_stops_at_the_end_of_ram) {
    add("entry@0x10", "on_text(u32,str)");
    char *at = ram_ptr(&ram, PAGE_SIZE - 3, 8);
    strcpy(at, "abcdefg");
    vcpu.cpu.eip = 0x10;
    vcpu.cpu.gpr[EAX] = PAGE_SIZE - 3;
    plugins_enter(&vcpu, 0);
    ck_assert_str_eq(recorded->text, "abcdefg");
    memset(ram_ptr(&ram, (1 << 20) - 4, 4), 'z', 4);
    vcpu.cpu.gpr[EAX] = (1 << 20) - 4;
    memset(recorded->text, 0, sizeof recorded->text);
    plugins_enter(&vcpu, 0);
    ck_assert_str_eq(recorded->text, "zzzz");
    memset(ram_ptr(&ram, 0x2000, 1024), 'y', 1024);
    vcpu.cpu.gpr[EAX] = 0x2000;
    plugins_enter(&vcpu, 0);
    ck_assert_uint_eq(strlen(recorded->text), PLUGIN_STRING_MAX - 1);
}
END_TEST

START_TEST(any_event_of_the_interface_passes_its_values) {
    add("irq", "on_two(u32,u32)");
    add("hidden-fault", "on_wide(i64,u64,i32)");
    PLUGIN_EVENT(&vcpu, TRUE_FAULT, 1, 2, 3);
    ck_assert_uint_eq(recorded->calls, 0);
    PLUGIN_EVENT(&vcpu, IRQ, 0x20, 0xc0001234);
    ck_assert_uint_eq(recorded->calls, 1);
    ck_assert_uint_eq(recorded->values[0], 0x20);
    ck_assert_uint_eq(recorded->values[1], 0xc0001234);
    PLUGIN_EVENT(&vcpu, HIDDEN_FAULT, 0x80000000, 0x123456789, 1, 0);
    ck_assert_uint_eq(recorded->values[0], 0xffffffff80000000u);
    ck_assert_uint_eq(recorded->values[1], 0x123456789);
}
END_TEST

static const struct {
    const char *spec, *why;
} refused[] = {
    {"", "no '='"},
    {"cr3-write", "no '='"},
    {"cr3-write=", "(types)"},
    {"cr3-write=" RECORDER, "(types)"},
    {"cr3-write=" RECORDER "(u32)", "library:function"},
    {"cr3-write=:on_two(u32)", "library:function"},
    {"cr3-write=" RECORDER ":(u32)", "library:function"},
    {"cr3-write=" RECORDER ":on_two(u32", "(types)"},
    {"cr3-write=" RECORDER ":on_two(u32)x", "(types)"},
    {"cr3-write=" RECORDER ":on_two(u33)", "unknown type 'u33'"},
    {"cr3-write=" RECORDER ":on_two(u32,)", "unknown type ''"},
    {"cr3-write=" RECORDER ":on_two(,u32)", "unknown type ''"},
    {"cr3-write=" RECORDER ":on_two( u32)", "unknown type ' u32'"},
    {"cr3-write=" RECORDER ":on_two(u32,u32,u32,u32)", "'cr3-write': more types than the 3"},
    {"entry@0x1=" RECORDER ":on_two(u8,u8,u8,u8,u8,u8,u8,u8,u8,u8)", "more types than the 9"},
    {"cr3-write=" RECORDER ":absent(u32)", "no function 'absent'"},
    {"cr3-write=/nowhere/none.so:f(u32)", "/nowhere/none.so"},
    {"cr1-write=" RECORDER ":on_two(u32)", "unknown event 'cr1-write'"},
    {"cr=" RECORDER ":on_two(u32)", "unknown event 'cr'"},
    {"probe=" RECORDER ":on_two(u32)", "unknown event 'probe'"},
    {"execute=" RECORDER ":on_two(u32)", "unknown event 'execute'"},
    {"end=" RECORDER ":on_two(u8,u8,u8)", "more types than the 2"},
    {"=" RECORDER ":on_two(u32)", "unknown event ''"},
    {"entry@0x=" RECORDER ":on_two(u32)", "not a 32-bit address"},
    {"entry@0x100000000=" RECORDER ":on_two(u32)", "not a 32-bit address"},
    {"entry@0x-1=" RECORDER ":on_two(u32)", "not a 32-bit address"},
    {"entry@0x10zz=" RECORDER ":on_two(u32)", "not a 32-bit address"},
    {"entry@absent=" RECORDER ":on_two(u32)", "no symbol 'absent'"},
};

START_TEST(bad_description_is_refused_with_its_reason) {
    struct error error = {""};
    ck_assert_int_eq(plugins_add_callout(&plugins, refused[_i].spec, &error), -1);
    ck_assert_msg(strstr(error.text, refused[_i].why) != NULL, "'%s' does not say '%s'", error.text,
                  refused[_i].why);
    ck_assert_uint_eq(plugins.count, 0);
}
END_TEST

START_TEST(symbol_without_a_map_is_refused) {
    struct error error;
    plugins.symbols = (struct symbol_source){NULL, NULL};
    ck_assert_int_eq(plugins_add_callout(&plugins, "entry@x=" RECORDER ":on_two(u32)", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "--symbols"));
}
END_TEST

START_TEST(no_more_callouts_than_there_is_room_for) {
    for (unsigned i = 0; i < USER_CALLOUTS_MAX; i++)
        add("hlt", "on_nothing()");
    struct error error;
    ck_assert_int_eq(plugins_add_callout(&plugins, "hlt=" RECORDER ":on_nothing()", &error), -1);
    plugins_callout(&vcpu, CALLOUT_hlt, 0, 0);
    ck_assert_uint_eq(recorded->calls, USER_CALLOUTS_MAX);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("user callouts");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, cr3_write_passes_old_and_new_value);
    tcase_add_test(tests, class_event_passes_argument_operand_and_eip);
    tcase_add_test(tests, narrow_types_take_the_low_bits);
    tcase_add_test(tests, entry_passes_the_registers_to_every_function_at_the_address);
    tcase_add_test(tests, string_is_copied_across_pages_and_stops_at_the_end_of_ram);
    tcase_add_test(tests, any_event_of_the_interface_passes_its_values);
    tcase_add_loop_test(tests, bad_description_is_refused_with_its_reason, 0,
                        sizeof refused / sizeof *refused);
    tcase_add_test(tests, symbol_without_a_map_is_refused);
    tcase_add_test(tests, no_more_callouts_than_there_is_room_for);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
