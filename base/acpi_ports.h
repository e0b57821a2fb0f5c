/* The ACPI fixed hardware ports: what the firmware tables promise and the PM block answers.
 *
 * The loader writes these numbers into the FADT and the DSDT; devices/acpi_pm.c claims the
 * ports. Names and layout: ACPI specification 6.4, 4.8.3. SCI_EN always reads 1, so the FADT's
 * SMI_CMD is 0 (no hand-over from legacy mode). */
#ifndef RING3_BASE_ACPI_PORTS_H
#define RING3_BASE_ACPI_PORTS_H

enum {
    ACPI_PORTS_FIRST = 0x600,
    ACPI_PORTS_COUNT = 0x10,

    ACPI_PM1A_EVENT = 0x600, /* PM1a_EVT_BLK: status word, enable word */
    ACPI_PM1A_EVENT_LEN = 4,
    ACPI_PM1A_CONTROL = 0x604, /* PM1a_CNT_BLK */
    ACPI_PM1A_CONTROL_LEN = 2,
    ACPI_PM_TIMER = 0x608, /* PM_TMR_BLK */
    ACPI_PM_TIMER_LEN = 4,
    ACPI_PM_TIMER_BITS = 32, /* so the FADT's TMR_VAL_EXT flag is set */
    ACPI_PM_TIMER_HZ = 3579545,
    ACPI_GPE0 = 0x60c, /* GPE0_BLK: 2 status bytes, 2 enable bytes; no event is wired to it */
    ACPI_GPE0_LEN = 4,

    ACPI_SCI_IRQ = 9, /* level, active high at the 8259s */

    /* _S5 in the DSDT: SLP_TYP 5 with SLP_EN in PM1a_CNT switches the machine off. */
    ACPI_SLEEP_TYPE_OFF = 5,
};

#endif
