/* ACPI tables (ACPI specification 6.4, chapter 5): what a kernel needs to switch the machine off,
 * to reset it and to find the PM timer.
 *
 * RSDP, RSDT, FADT, FACS and DSDT lie together at PLACE_ACPI, where the search for the RSDP
 * looks. There is no MADT: the machine has no APIC, interrupts come through the 8259 pair. The
 * 64-bit addresses of the FADT stay zero, so the 32-bit ones count. */
#include <assert.h>
#include <stddef.h>

#include "base/acpi_ports.h"
#include "loader/protocols.h"

struct rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision; /* 0: ACPI 1.0, without an XSDT */
    uint32_t rsdt;
} __attribute__((packed));

struct table_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[6], oem_table[8];
    uint32_t oem_revision;
    char creator[4];
    uint32_t creator_revision;
} __attribute__((packed));

struct rsdt {
    struct table_header header;
    uint32_t entries[1];
} __attribute__((packed));

struct address {
    uint8_t space, bits, bit_offset, access_size;
    uint64_t address;
} __attribute__((packed));

#define SPACE_IO 1
#define ACCESS_BYTE 1

struct fadt {
    struct table_header header;
    uint32_t facs, dsdt;
    uint8_t reserved1, pm_profile;
    uint16_t sci_irq;
    uint32_t smi_command;
    uint8_t acpi_enable, acpi_disable, s4bios, pstate;
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len;
    uint8_t gpe1_base, cst_control;
    uint16_t c2_latency, c3_latency, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
    uint16_t boot_flags;
    uint8_t reserved2;
    uint32_t flags;
    struct address reset;
    uint8_t reset_value;
    uint16_t arm_boot_flags;
    uint8_t minor;
    uint64_t x_facs, x_dsdt;
    struct address x_blocks[8], sleep_control, sleep_status;
    uint64_t hypervisor;
} __attribute__((packed));

static_assert(offsetof(struct fadt, pm_timer_len) == 91, "ACPI 6.4, table 5.9");
static_assert(offsetof(struct fadt, boot_flags) == 109, "ACPI 6.4, table 5.9");
static_assert(offsetof(struct fadt, reset_value) == 128, "ACPI 6.4, table 5.9");
static_assert(sizeof(struct fadt) == 276, "ACPI 6.4, table 5.9");

#define FADT_REVISION 6
#define FADT_MINOR 4

/* FADT flags. */
#define FADT_WBINVD (1u << 0)
#define FADT_PROC_C1 (1u << 2)
#define FADT_NO_POWER_BUTTON (1u << 4)
#define FADT_NO_SLEEP_BUTTON (1u << 5)
#define FADT_NO_RTC_WAKE (1u << 6)
#define FADT_TIMER_32 (1u << 8)
#define FADT_RESET (1u << 10)
static_assert(ACPI_PM_TIMER_BITS == 32, "FADT_TIMER_32 says so");

#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_8042 (1u << 1)
#define BOOT_NO_VGA (1u << 2)

#define NO_C2 101 /* microseconds; above 100 there is no C2, above 1000 no C3 */
#define NO_C3 1001

#define CENTURY_INDEX 0x32 /* of the RTC's byte for the century */

#define RESET_PORT 0xcf9
#define RESET_NOW 6

struct facs {
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
} __attribute__((packed));
static_assert(sizeof(struct facs) == 64, "ACPI 6.4, table 5.13");

/* The DSDT's AML (ACPI 6.4, chapter 20), assembled by hand from:
 *
 *   Name (\_S5, Package () { ACPI_SLEEP_TYPE_OFF, 0, 0, 0 })
 *   Scope (\_SB) {
 *       Device (COM1) {
 *           Name (_HID, EisaId ("PNP0501"))
 *           Name (_UID, One)
 *           Name (_CRS, ResourceTemplate () {
 *               IO (Decode16, 0x3f8, 0x3f8, 1, 8)  IRQNoFlags () {4} })
 *       }
 *       Device (KBD) {
 *           Name (_HID, EisaId ("PNP0303"))
 *           Name (_CRS, ResourceTemplate () {
 *               IO (Decode16, 0x60, 0x60, 1, 1)  IO (Decode16, 0x64, 0x64, 1, 1)
 *               IRQNoFlags () {1} })
 *       }
 *       Device (RTC) {
 *           Name (_HID, EisaId ("PNP0B00"))
 *           Name (_CRS, ResourceTemplate () {
 *               IO (Decode16, 0x70, 0x70, 1, 2)  IRQNoFlags () {8} })
 *       }
 *   }
 *
 * A package's length counts itself and all that follows inside. */
/* clang-format off */
static const uint8_t dsdt_aml[] = {
    0x08, '_', 'S', '5', '_',                               /* Name _S5 */
    0x12, 7, 4, 0x0a, ACPI_SLEEP_TYPE_OFF, 0, 0, 0,         /*  Package of 4 */
    0x10, 0x4a, 0x08, '\\', '_', 'S', 'B', '_',             /* Scope, 0x8a bytes */
    0x5b, 0x82, 43, 'C', 'O', 'M', '1',                     /*  Device */
    0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x05, 0x01, /*   PNP0501 */
    0x08, '_', 'U', 'I', 'D', 0x01,                         /*   One */
    0x08, '_', 'C', 'R', 'S', 0x11, 16, 0x0a, 13,           /*   Buffer of 13 */
    0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 1, 8,               /*    IO */
    0x22, 0x10, 0x00, 0x79, 0x00,                           /*    IRQ 4, end tag */
    0x5b, 0x82, 45, 'K', 'B', 'D', '_',                     /*  Device */
    0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x03, 0x03, /*   PNP0303 */
    0x08, '_', 'C', 'R', 'S', 0x11, 24, 0x0a, 21,           /*   Buffer of 21 */
    0x47, 0x01, 0x60, 0x00, 0x60, 0x00, 1, 1,               /*    IO */
    0x47, 0x01, 0x64, 0x00, 0x64, 0x00, 1, 1,               /*    IO */
    0x22, 0x02, 0x00, 0x79, 0x00,                           /*    IRQ 1, end tag */
    0x5b, 0x82, 37, 'R', 'T', 'C', '_',                     /*  Device */
    0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0b, 0x00, /*   PNP0B00 */
    0x08, '_', 'C', 'R', 'S', 0x11, 16, 0x0a, 13,           /*   Buffer of 13 */
    0x47, 0x01, 0x70, 0x00, 0x70, 0x00, 1, 2,               /*    IO */
    0x22, 0x00, 0x01, 0x79, 0x00,                           /*    IRQ 8, end tag */
};
/* clang-format on */
#define AML_SCOPE_AT 13
static_assert(sizeof dsdt_aml - AML_SCOPE_AT - 1 == 0x8a, "the scope's length");

/* Everything, as it lies in guest memory from PLACE_ACPI on. */
struct tables {
    struct rsdp rsdp __attribute__((aligned(16)));
    struct facs facs __attribute__((aligned(64)));
    struct rsdt rsdt __attribute__((aligned(16)));
    struct fadt fadt __attribute__((aligned(16)));
    struct {
        struct table_header header;
        uint8_t aml[sizeof dsdt_aml];
    } __attribute__((packed)) dsdt __attribute__((aligned(16)));
};
static_assert(sizeof(struct tables) <= PLACE_ACPI_SIZE, "room for the tables");

#define ADDRESS_OF(table) ((uint32_t)(PLACE_ACPI + offsetof(struct tables, table)))

/* The byte that makes the sum of all zero. */
static uint8_t checksum(const void *bytes, size_t len) {
    uint8_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)bytes)[i]);
    return (uint8_t)-sum;
}

/* Called last, when the table behind the header is complete. */
static void finish(struct table_header *header, const char *signature, uint8_t revision,
                   size_t length) {
    memcpy(header->signature, signature, sizeof header->signature);
    header->length = (uint32_t)length;
    header->revision = revision;
    memcpy(header->oem, "RING3 ", sizeof header->oem);
    memcpy(header->oem_table, "RING3PC ", sizeof header->oem_table);
    header->oem_revision = 1;
    memcpy(header->creator, "RNG3", sizeof header->creator);
    header->creator_revision = 1;
    header->checksum = checksum(header, length);
}

static struct fadt make_fadt(void) {
    return (struct fadt){
        .facs = ADDRESS_OF(facs),
        .dsdt = ADDRESS_OF(dsdt),
        .sci_irq = ACPI_SCI_IRQ,
        .pm1a_event = ACPI_PM1A_EVENT,
        .pm1_event_len = ACPI_PM1A_EVENT_LEN,
        .pm1a_control = ACPI_PM1A_CONTROL,
        .pm1_control_len = ACPI_PM1A_CONTROL_LEN,
        .pm_timer = ACPI_PM_TIMER,
        .pm_timer_len = ACPI_PM_TIMER_LEN,
        .gpe0 = ACPI_GPE0,
        .gpe0_len = ACPI_GPE0_LEN,
        .c2_latency = NO_C2,
        .c3_latency = NO_C3,
        .century = CENTURY_INDEX,
        .boot_flags = BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA,
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
                 FADT_NO_RTC_WAKE | FADT_TIMER_32 | FADT_RESET,
        .reset = {.space = SPACE_IO, .bits = 8, .access_size = ACCESS_BYTE, .address = RESET_PORT},
        .reset_value = RESET_NOW,
        .minor = FADT_MINOR,
    };
}

int acpi_write(struct place *place, struct error *error) {
    struct tables tables = {0};
    memcpy(tables.dsdt.aml, dsdt_aml, sizeof dsdt_aml);
    finish(&tables.dsdt.header, "DSDT", 2, sizeof tables.dsdt);

    memcpy(tables.facs.signature, "FACS", 4);
    tables.facs.length = sizeof tables.facs;
    tables.facs.version = 2;

    tables.fadt = make_fadt();
    finish(&tables.fadt.header, "FACP", FADT_REVISION, sizeof tables.fadt);

    tables.rsdt.entries[0] = ADDRESS_OF(fadt);
    finish(&tables.rsdt.header, "RSDT", 1, sizeof tables.rsdt);

    memcpy(tables.rsdp.signature, "RSD PTR ", sizeof tables.rsdp.signature);
    memcpy(tables.rsdp.oem, "RING3 ", sizeof tables.rsdp.oem);
    tables.rsdp.rsdt = ADDRESS_OF(rsdt);
    tables.rsdp.checksum = checksum(&tables.rsdp, sizeof tables.rsdp);
    return place_write(place, PLACE_ACPI, &tables, sizeof tables, error);
}
