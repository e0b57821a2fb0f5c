/* The sampler: what is running is told right, call chains are followed as far as they are chains, and the
 * ring is not believed. Profiles made of samples by hand. */
#include "runtime/sampler.h"

#include <stdio.h>
#include <unistd.h>

#include "inspect/profile.h"
#include "tests/unit/engine_fixture.h"

static struct sampler sampler;

/* Two calls with frames, then a loop; the third pushes no frame pointer that could be one. */
GUEST(nested, " mov $0x12345678, %ebp\n"
              " call 1f\n" STOP "1: push %ebp; mov %esp, %ebp; call 2f; pop %ebp; ret\n"
              "2: push %ebp; mov %esp, %ebp\n"
              " mov $300000000, %ecx\n"
              "3: dec %ecx; jnz 3b\n"
              " pop %ebp; ret\n")

/* Callouts and nothing else. */
GUEST(asking, " mov $600000, %esi\n"
              "1: xor %eax, %eax; cpuid; dec %esi; jnz 1b\n" STOP)

static void set_up(void) {
    machine_set_up();
    memset(&sampler, 0, sizeof sampler);
    atomic_store(&sampler.rate, 2000);
    V->sampler = &sampler;
}

START_TEST(code_is_found_with_its_callers) {
    struct sample sample;
    unsigned count = 0;
    PUT_GUEST(CODE, nested);
    run_guest();
    for (; sampler_take(&sampler, &sample); count++) {
        if (sample.kind != SAMPLE_guest || sample.eip < CODE + 0x18)
            continue; /* on the way there */
        ck_assert_uint_lt(sample.eip, CODE + (uint32_t)(nested_end - nested));
        ck_assert_uint_eq(sample.cpl, 0);
        ck_assert_uint_ne(sample.fragment, 0);
        ck_assert_uint_eq(sample.frame_count, 2);
        ck_assert_uint_gt(sample.frames[0], CODE + 10);
        ck_assert_uint_eq(sample.frames[1], CODE + 10); /* behind the first call */
    }
    ck_assert_uint_gt(count, 10);
}
END_TEST

START_TEST(callouts_are_told_by_their_class) {
    struct sample sample;
    uint64_t cpuid = 0, total = 0;
    PUT_GUEST(CODE, asking);
    run_guest();
    while (sampler_take(&sampler, &sample)) {
        total += sample.weight_ns;
        if (sample.kind == SAMPLE_callout && sample.callout == CALLOUT_cpuid)
            cpuid += sample.weight_ns;
    }
    ck_assert_uint_gt(total, 0);
    ck_assert_uint_gt(cpuid * 2, total);
}
END_TEST

START_TEST(the_rate_can_be_changed) {
    struct sample sample;
    PUT_GUEST(CODE, asking);
    atomic_store(&sampler.rate, 0);
    run_guest();
    ck_assert(!sampler_take(&sampler, &sample));
    ck_assert_uint_eq(sampler.armed, 0);
}
END_TEST

START_TEST(the_ring_is_not_believed) {
    struct sample sample;
    sampler.samples[0].kind = SAMPLE_KIND_COUNT;
    sampler.samples[1].frame_count = SAMPLE_FRAMES_MAX + 1;
    sampler.samples[2].cpl = 9;
    sampler.samples[3].eip = 0x1234;
    atomic_store(&sampler.head, 4);
    ck_assert(sampler_take(&sampler, &sample));
    ck_assert_uint_eq(sample.eip, 0x1234);
    ck_assert_uint_eq(atomic_load(&sampler.lost), 3);
    ck_assert(!sampler_take(&sampler, &sample));
    atomic_store(&sampler.head, 1ull << 40);
    ck_assert(!sampler_take(&sampler, &sample));
}
END_TEST

static void put_sample(uint32_t eip, uint8_t kind, uint8_t cpl, uint32_t weight, uint32_t caller) {
    struct sample *sample = &sampler.samples[atomic_fetch_add(&sampler.head, 1) % SAMPLER_SAMPLES];
    *sample = (struct sample){.eip = eip, .kind = kind, .cpl = cpl, .weight_ns = weight, .cr3 = 0x7000,
                              .callout = CALLOUT_cpuid, .frame_count = caller != 0, .frames = {caller}};
}

static void ck_file(const char *path, const char *expected) {
    char text[4096] = "";
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_gt(fread(text, 1, sizeof text - 1, file), 0);
    fclose(file);
    unlink(path);
    ck_assert_str_eq(text, expected);
}

START_TEST(samples_become_stacks) {
    struct error error;
    char path[] = "/tmp/ring3-stacks-XXXXXX.folded";
    struct profile *profile = profile_create(1000, NULL);
    close(mkstemps(path, 7));
    profile_attach(profile, V);
    put_sample(0xc0001234, SAMPLE_guest, 0, 3000, 0xc0005678);
    put_sample(0xc0001238, SAMPLE_guest, 0, 4000, 0xc0005678); /* the same page */
    put_sample(0xc0001234, SAMPLE_callout, 0, 5000, 0xc0005678);
    profile_drain(profile);
    put_sample(0x08041234, SAMPLE_guest, 3, 6000, 0x08045678);
    put_sample(0x08041234, SAMPLE_hidden_fault, 3, 7000, 0);
    profile_detach(profile);
    ck_assert_int_eq(profile_write(profile, path, &error), 0);
    ck_file(path, "kernel;kernel+0xc0005678;kernel+0xc0001000 7\n"
                  "kernel;kernel+0xc0005678;kernel+0xc0001000;[callout cpuid] 5\n"
                  "user cr3 7000;user+0x08041000;[hidden faults] 7\n"
                  "user cr3 7000;user+0x08045678;user+0x08041000 6\n");
    ck_assert_int_eq(profile_format_of("x.json"), PROFILE_JSON);
    ck_assert_int_eq(profile_format_of(".svg"), PROFILE_TEXT);
    ck_assert(profile_write(profile, "/nowhere/x.svg", &error));
    profile_free(profile);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sampler");
    TCase *tests = tcase_create("sampler");
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, code_is_found_with_its_callers);
    tcase_add_test(tests, callouts_are_told_by_their_class);
    tcase_add_test(tests, the_rate_can_be_changed);
    tcase_add_test(tests, the_ring_is_not_believed);
    tcase_add_test(tests, samples_become_stacks);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
