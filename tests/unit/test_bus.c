/* The port bus: dispatch, sizes, unclaimed ports, counting. Arena and errors beside it. */
#include "runtime/bus.h"

#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "tests/unit/device_fixture.h"

struct probe {
    uint16_t port;
    uint32_t value;
    unsigned size, calls;
};

static uint32_t probe_read(void *device, uint16_t port, unsigned size) {
    struct probe *probe = device;
    probe->port = port;
    probe->size = size;
    probe->calls++;
    return 0x11223344;
}

static void probe_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    struct probe *probe = device;
    *probe = (struct probe){port, value, size, probe->calls + 1};
}

START_TEST(an_access_goes_whole_to_the_range_it_starts_in) {
    struct fixture f;
    struct probe a = {0}, b = {0};
    fixture_setup(&f);
    bus_claim(&f.bus, "a", 0x100, 2, probe_read, probe_write, &a);
    bus_claim(&f.bus, "b", 0x102, 1, probe_read, probe_write, &b);
    bus_write(&f.bus, 0x101, 0xaabbccdd, 4);
    ck_assert(a.port == 0x101 && a.value == 0xaabbccdd && a.size == 4 && b.calls == 0);
    bus_write(&f.bus, 0x102, 0xaabbccdd, 1);
    ck_assert(b.port == 0x102 && b.value == 0xdd && b.size == 1);
    ck_assert_uint_eq(bus_read(&f.bus, 0x100, 1), 0x44);
    ck_assert_uint_eq(bus_read(&f.bus, 0x100, 2), 0x3344);
    ck_assert_uint_eq(bus_read(&f.bus, 0x100, 4), 0x11223344);
    fixture_teardown(&f);
}
END_TEST

START_TEST(unclaimed_ports_read_all_ones_and_are_logged) {
    struct fixture f;
    fixture_setup(&f);
    f.trace.enabled = TRACE_BIT(device);
    ck_assert_uint_eq(bus_read(&f.bus, 0xffff, 1), 0xff);
    ck_assert_uint_eq(bus_read(&f.bus, 0xffff, 2), 0xffff);
    ck_assert_uint_eq(bus_read(&f.bus, 0xffff, 4), 0xffffffff);
    bus_write(&f.bus, 0xffff, 1, 4);
    ck_assert_uint_eq(atomic_load(&f.trace.head), 4);
    ck_assert_uint_eq(f.counters.port_reads, 3);
    ck_assert_uint_eq(f.counters.port_writes, 1);
    fixture_teardown(&f);
}
END_TEST

START_TEST(the_last_port_can_be_claimed) {
    struct fixture f;
    struct probe a = {0};
    fixture_setup(&f);
    bus_claim(&f.bus, "a", 0xfffc, 4, probe_read, probe_write, &a);
    ck_assert_uint_eq(bus_read(&f.bus, 0xffff, 1), 0x44);
    fixture_teardown(&f);
}
END_TEST

START_TEST(a_port_claimed_twice_is_a_broken_invariant) {
    struct fixture f;
    struct probe a = {0};
    fixture_setup(&f);
    bus_claim(&f.bus, "a", 0x100, 8, probe_read, probe_write, &a);
    bus_claim(&f.bus, "b", 0x107, 1, probe_read, probe_write, &a);
}
END_TEST

START_TEST(the_arena_aligns_and_zeroes) {
    struct arena arena;
    ck_assert_int_eq(arena_create(&arena, 65536), 0);
    uint8_t *first = arena_alloc(&arena, 3, 1);
    uint64_t *second = arena_alloc(&arena, 8, 64);
    ck_assert_uint_eq((uintptr_t)second % 64, 0);
    ck_assert(first[0] == 0 && first[2] == 0 && *second == 0);
    ck_assert((uint8_t *)second >= first + 3);
    arena_destroy(&arena);
    ck_assert_int_lt(arena_create(&arena, SIZE_MAX / 2), 0);
}
END_TEST

START_TEST(an_arena_too_small_is_a_broken_invariant) {
    struct arena arena;
    ck_assert_int_eq(arena_create(&arena, 4096), 0);
    arena_alloc(&arena, 4000, 1);
    arena_alloc(&arena, 97, 1);
}
END_TEST

START_TEST(an_error_is_one_line) {
    struct error error;
    ck_assert_int_eq(error_set(&error, "%s: offset %d", "bad\nname\x1b[2J", 7), -1);
    ck_assert_str_eq(error.text, "bad?name?[2J: offset 7");
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    error_set(&error, "%s", longer);
    ck_assert_uint_eq(strlen(error.text), sizeof error.text - 1);
}
END_TEST

int main(void) {
    TCase *cases = tcase_create("bus");
    tcase_add_test(cases, an_access_goes_whole_to_the_range_it_starts_in);
    tcase_add_test(cases, unclaimed_ports_read_all_ones_and_are_logged);
    tcase_add_test(cases, the_last_port_can_be_claimed);
    tcase_add_test_raise_signal(cases, a_port_claimed_twice_is_a_broken_invariant, SIGABRT);
    tcase_add_test(cases, the_arena_aligns_and_zeroes);
    tcase_add_test_raise_signal(cases, an_arena_too_small_is_a_broken_invariant, SIGABRT);
    tcase_add_test(cases, an_error_is_one_line);
    Suite *suite = suite_create("bus");
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
