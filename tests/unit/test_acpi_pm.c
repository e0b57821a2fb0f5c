/* The ACPI PM block: the timer's rate and carry, the SCI, switching off. */
#include "devices/acpi_pm.h"

#include "base/acpi_ports.h"
#include "tests/unit/device_fixture.h"

static struct fixture f;
static unsigned power_offs;

static void note_power_off(void *opaque) { (*(unsigned *)opaque)++; }

static void start(void) {
    fixture_setup(&f);
    power_offs = 0;
    acpi_pm_create(&f.arena, &f.bus, &f.timers, &f.clock, &f.trace, fixture_line(&f, 9),
                   (struct pulse){note_power_off, &power_offs});
}

START_TEST(the_timer_runs_at_its_rate) {
    start();
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM_TIMER, 4), 0);
    run_to(&f, SECOND);
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM_TIMER, 4), 3579545);
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM_TIMER + 1, 1), 3579545 >> 8 & 0xff);
    run_to(&f, 1200 * SECOND);
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM_TIMER, 4), (uint32_t)(UINT64_C(3579545) * 1200));
}
END_TEST

START_TEST(the_carry_raises_the_sci_where_enabled) {
    start();
    run_to(&f, 700 * SECOND); /* bit 31 changes each 599.9 s */
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM1A_EVENT, 2), 1);
    ck_assert_int_eq(f.level[9], 0);
    bus_write(&f.bus, ACPI_PM1A_EVENT + 2, 1, 2);
    ck_assert_int_eq(f.level[9], 1);
    bus_write(&f.bus, ACPI_PM1A_EVENT, 1, 2);
    ck_assert_int_eq(f.level[9], 0);
    run_to(&f, 1199 * SECOND);
    ck_assert_int_eq(f.level[9], 0);
    run_to(&f, 1200 * SECOND);
    ck_assert_int_eq(f.level[9], 1);
    bus_write(&f.bus, ACPI_PM1A_EVENT, 0x00010001, 4);
    bus_write(&f.bus, ACPI_PM1A_EVENT + 2, 0, 2);
    ck_assert(f.timers.next == TIMER_NEVER);
}
END_TEST

START_TEST(sleep_type_5_switches_off) {
    start();
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM1A_CONTROL, 2) & 1, 1);
    bus_write(&f.bus, ACPI_PM1A_CONTROL, 5u << 10, 2);
    ck_assert_uint_eq(power_offs, 0);
    bus_write(&f.bus, ACPI_PM1A_CONTROL, 1u << 10 | 1u << 13, 2);
    ck_assert_uint_eq(power_offs, 0);
    bus_write(&f.bus, ACPI_PM1A_CONTROL, 5u << 10 | 1u << 13, 2);
    ck_assert_uint_eq(power_offs, 1);
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_PM1A_CONTROL, 2), 5u << 10 | 1);
    bus_write(&f.bus, ACPI_PM1A_CONTROL + 1, 0x34, 1); /* bytewise, too */
    ck_assert_uint_eq(power_offs, 2);
}
END_TEST

START_TEST(gpe_registers_hold_enables_only) {
    start();
    bus_write(&f.bus, ACPI_GPE0, 0xa5a5ffff, 4);
    ck_assert_uint_eq(bus_read(&f.bus, ACPI_GPE0, 4), 0xa5a50000);
}
END_TEST

RUN_SUITE("acpi_pm", the_timer_runs_at_its_rate, the_carry_raises_the_sci_where_enabled,
          sleep_type_5_switches_off, gpe_registers_hold_enables_only)
