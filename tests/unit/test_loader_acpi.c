/* The ACPI tables as a kernel finds them: by the search for the RSDP, through the pointers, with
 * sums that are zero. Where ACPICA's compiler is installed, it must agree with every table. */
#include "loader_images.h"

#include "base/acpi_ports.h"
#include "devices/rtc.h"

static struct loaded machine;

static void setup(void) {
    struct blob kernel = elf_blob();
    machine = load(&kernel, 2u << 20, NULL, NULL);
    ck_assert_msg(machine.rc == 0, "%s", machine.error.text);
}
static void teardown(void) { unload(&machine); }

static uint8_t sum_of(gpa_t gpa, size_t len) {
    const uint8_t *at = ram_ptr(&machine.ram, gpa, len);
    ck_assert_ptr_nonnull(at);
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + at[i]);
    return sum;
}

static gpa_t find_rsdp(void) {
    for (gpa_t gpa = 0xe0000; gpa < 0x100000; gpa += 16)
        if (memcmp(ram_ptr(&machine.ram, gpa, 8), "RSD PTR ", 8) == 0)
            return gpa;
    ck_abort_msg("no RSDP");
}

/* The table at an address, checked. */
static const uint8_t *table_at(gpa_t gpa, const char *signature, uint32_t *len) {
    *len = ram32(&machine, gpa + 4);
    const uint8_t *table = ram_ptr(&machine.ram, gpa, *len);
    ck_assert_ptr_nonnull(table);
    ck_assert_mem_eq(table, signature, 4);
    ck_assert_uint_ge(gpa, PLACE_ACPI);
    ck_assert_uint_le(gpa + *len, PLACE_ACPI + PLACE_ACPI_SIZE);
    if (strcmp(signature, "FACS") == 0)
        ck_assert_uint_eq(gpa % 64, 0);
    else
        ck_assert_uint_eq(sum_of(gpa, *len), 0);
    return table;
}

static const uint8_t *find_fadt(uint32_t *len) {
    gpa_t rsdp = find_rsdp();
    ck_assert_uint_eq(sum_of(rsdp, 20), 0);
    gpa_t rsdt = ram32(&machine, rsdp + 16);
    uint32_t rsdt_len;
    const uint8_t *table = table_at(rsdt, "RSDT", &rsdt_len);
    ck_assert_uint_eq(rsdt_len, 40);
    return table_at(get32(table + 36), "FACP", len);
}

START_TEST(the_fadt_names_the_ports) {
    uint32_t len;
    const uint8_t *fadt = find_fadt(&len);
    ck_assert_uint_eq(len, 276);
    ck_assert_uint_ge(fadt[8], 3);                     /* the reset register counts */
    ck_assert_uint_eq(get16(fadt + 46), ACPI_SCI_IRQ); /* SCI_INT */
    ck_assert_uint_eq(get32(fadt + 48), 0);            /* SMI_CMD */
    ck_assert_uint_eq(get32(fadt + 56), ACPI_PM1A_EVENT);
    ck_assert_uint_eq(get32(fadt + 64), ACPI_PM1A_CONTROL);
    ck_assert_uint_eq(get32(fadt + 76), ACPI_PM_TIMER);
    ck_assert_uint_eq(get32(fadt + 80), ACPI_GPE0);
    ck_assert_uint_eq(fadt[88], ACPI_PM1A_EVENT_LEN);
    ck_assert_uint_eq(fadt[89], ACPI_PM1A_CONTROL_LEN);
    ck_assert_uint_eq(fadt[91], ACPI_PM_TIMER_LEN);
    ck_assert_uint_eq(fadt[92], ACPI_GPE0_LEN);
    ck_assert_uint_eq(fadt[108], RTC_CENTURY_INDEX);
    ck_assert_uint_eq(get16(fadt + 109), 7);          /* legacy devices, 8042, no VGA */
    ck_assert_uint_eq(get32(fadt + 112) >> 8 & 5, 5); /* 32-bit timer, reset register */
    ck_assert_uint_eq(get32(fadt + 116), 1u << 24 | 8u << 8 | 1);
    ck_assert_uint_eq(get64(fadt + 120), 0xcf9);
    ck_assert_uint_eq(fadt[128], 6);
}
END_TEST

START_TEST(the_fadt_points_at_facs_and_dsdt) {
    uint32_t len;
    const uint8_t *fadt = find_fadt(&len);
    table_at(get32(fadt + 36), "FACS", &len);
    ck_assert_uint_eq(len, 64);
    const uint8_t *dsdt = table_at(get32(fadt + 40), "DSDT", &len);
    const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 7, 4, 0x0a, ACPI_SLEEP_TYPE_OFF};
    ck_assert_mem_eq(dsdt + 36, s5, sizeof s5);
}
END_TEST

static void write_table(const char *folder, const char *name, const uint8_t *table, uint32_t len) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s.dat", folder, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(table, 1, len, file), len);
    fclose(file);
}

/* Disassembled and assembled again without a complaint. */
START_TEST(acpica_accepts_the_tables) {
    if (system("command -v iasl >/dev/null 2>&1") != 0) {
        fprintf(stderr, "iasl is not installed: skipped\n");
        return;
    }
    char folder[] = "/tmp/ring3-acpi-XXXXXX", command[512];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    uint32_t len;
    const uint8_t *fadt = find_fadt(&len);
    write_table(folder, "facp", fadt, len);
    const uint8_t *table = table_at(get32(fadt + 40), "DSDT", &len);
    write_table(folder, "dsdt", table, len);
    table = table_at(get32(fadt + 36), "FACS", &len);
    write_table(folder, "facs", table, len);
    table = table_at(ram32(&machine, find_rsdp() + 16), "RSDT", &len);
    write_table(folder, "rsdt", table, len);
    snprintf(command, sizeof command,
             "cd %s && for t in facp dsdt facs rsdt; do iasl -d $t.dat && "
             "iasl -we -p $t.again $t.dsl || exit 1; done >log 2>&1 || { cat log; exit 1; }; "
             "! grep -iE 'error|invalid|warning' *.dsl",
             folder);
    int status = system(command);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("acpi");
    TCase *tests = tcase_create("acpi");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_fadt_names_the_ports);
    tcase_add_test(tests, the_fadt_points_at_facs_and_dsdt);
    tcase_add_test(tests, acpica_accepts_the_tables);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
