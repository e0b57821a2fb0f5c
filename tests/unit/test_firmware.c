/* What firmware finds: its ROM, a host bridge that switches RAM and ROM, fw_cfg, memory sizes; and
 * which files are no firmware. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/pc.h"
#include "loader/firmware.h"
#include "tests/unit/device_fixture.h"

#define KIB64 (64u << 10)
#define RAM_BYTES (8u << 20)

static struct fixture f;
static struct ram ram;
static unsigned changes;
static struct byte_ring serial_tx, serial_rx, console;
static uint8_t serial_tx_bytes[64], serial_rx_bytes[64], console_bytes[64];

static void set_intr(void *opaque, bool asserted) { (void)opaque, (void)asserted; }
static void ignore(void *opaque) { (void)opaque; }
static void ignore_exit(void *opaque, uint32_t value) { (void)opaque, (void)value; }
static void memory_changed(void *opaque) {
    (void)opaque;
    changes++;
}

static void start(void) {
    static uint8_t rom[2 * KIB64];
    fixture_setup(&f);
    changes = 0;
    ring_init(&serial_tx, serial_tx_bytes, sizeof serial_tx_bytes);
    ring_init(&serial_rx, serial_rx_bytes, sizeof serial_rx_bytes);
    ring_init(&console, console_bytes, sizeof console_bytes);
    ck_assert_int_eq(ram_create(&ram, RAM_BYTES), 0);
    ck_assert_int_eq(ram_add_rom(&ram, rom, sizeof rom), 0);
    struct pc_options options = {
        .ram_bytes = RAM_BYTES,
        .firmware_ram = &ram,
        .memory_changed = memory_changed,
        .set_intr = set_intr,
        .reset = ignore,
        .power_off = ignore,
        .debug_exit = ignore_exit,
        .serial_tx = &serial_tx,
        .serial_rx = &serial_rx,
        .console = &console,
    };
    pc_create(&f.arena, &f.bus, &f.timers, &f.clock, &f.trace, &options);
}

static uint32_t config_read(uint32_t address, unsigned size) {
    bus_write(&f.bus, 0xcf8, 0x80000000 | (address & ~3u), 4);
    return bus_read(&f.bus, (uint16_t)(0xcfc + (address & 3)), size);
}

static void config_write(uint32_t address, uint32_t value, unsigned size) {
    bus_write(&f.bus, 0xcf8, 0x80000000 | (address & ~3u), 4);
    bus_write(&f.bus, (uint16_t)(0xcfc + (address & 3)), value, size);
}

START_TEST(the_host_bridge_says_what_it_is) {
    start();
    ck_assert_uint_eq(config_read(0, 4), 0x12378086);
    ck_assert_uint_eq(config_read(2, 2), 0x1237);
    ck_assert_uint_eq(config_read(0x0a, 2), 0x0600);
    ck_assert_uint_eq(config_read(0x2c, 4), 0x11001af4);
    ck_assert_uint_eq(config_read(0x0e, 1), 0);
    config_write(0, 0x11111111, 4);
    ck_assert_uint_eq(config_read(0, 4), 0x12378086);
    ck_assert_uint_eq(config_read(0x800, 4), 0xffffffff);   /* another device */
    ck_assert_uint_eq(config_read(0x100, 4), 0xffffffff);   /* another function */
    ck_assert_uint_eq(config_read(0x10000, 4), 0xffffffff); /* another bus */
    bus_write(&f.bus, 0xcf8, 0, 4);                         /* not enabled */
    ck_assert_uint_eq(bus_read(&f.bus, 0xcfc, 4), 0xffffffff);
    /* An access that starts before the data register, or goes on behind it. */
    bus_write(&f.bus, 0xcf8, 0x80000000, 4);
    ck_assert_uint_eq(bus_read(&f.bus, 0xcfb, 4), 0x378086ff);
    ck_assert_uint_eq(bus_read(&f.bus, 0xcff, 4), 0xffffff12);
    bus_write(&f.bus, 0xcff, 0xffffffff, 4);
}
END_TEST

START_TEST(pam_registers_put_ram_and_rom_in_place) {
    start();
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(ram.legacy[i], RAM_LEGACY_ROM);
    config_write(0x59, 0x30, 1); /* F segment: RAM */
    ck_assert_uint_eq(changes, 1);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(ram.legacy[i], i < 12 ? RAM_LEGACY_ROM : RAM_LEGACY_RAM);
    config_write(0x59, 0x30, 1); /* nothing new */
    ck_assert_uint_eq(changes, 1);
    config_write(0x5c, 0x13021033, 4); /* PAM3-6: D0000 and D4000, ... */
    ck_assert_uint_eq(changes, 2);
    static const uint8_t expected[] = {RAM_LEGACY_RAM,       RAM_LEGACY_RAM,      RAM_LEGACY_ROM,
                                       RAM_LEGACY_READ_ONLY, RAM_LEGACY_RAM,      RAM_LEGACY_ROM,
                                       RAM_LEGACY_RAM,       RAM_LEGACY_READ_ONLY};
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(ram.legacy[4 + i], expected[i]);
    ck_assert_uint_eq(config_read(0x5c, 4), 0x13021033);
    config_write(0x59, 0xff, 1); /* bits that are not there */
    ck_assert_uint_eq(config_read(0x59, 1), 0x30);
    config_write(0x58, 0, 4); /* the dword before */
    ck_assert_uint_eq(ram.legacy[15], RAM_LEGACY_ROM);
    ck_assert_uint_eq(changes, 3);
}
END_TEST

static void read_item(uint16_t key, void *to, unsigned len) {
    bus_write(&f.bus, 0x510, key, 2);
    for (unsigned i = 0; i < len; i++)
        ((uint8_t *)to)[i] = in8(&f, 0x511);
}

START_TEST(fw_cfg_describes_the_machine) {
    start();
    uint8_t bytes[72];
    read_item(0, bytes, 6);
    ck_assert_mem_eq(bytes, "QEMU\0\0", 6);
    read_item(1, bytes, 4);
    ck_assert_mem_eq(bytes, "\1\0\0\0", 4);
    uint64_t size;
    read_item(3, &size, 8);
    ck_assert_uint_eq(size, RAM_BYTES);
    read_item(0x19, bytes, 72);
    ck_assert_mem_eq(bytes, "\0\0\0\1\0\0\0\24\0\40\0\0etc/e820\0", 21);
    read_item(0x20, bytes, 21);
    ck_assert_mem_eq(bytes, "\0\0\0\0\0\0\0\0\0\0\200\0\0\0\0\0\1\0\0\0\0", 21);
    /* What is not there, wrong sizes, and writes of data. */
    read_item(0xffff, bytes, 4);
    ck_assert_mem_eq(bytes, "\0\0\0\0", 4);
    bus_write(&f.bus, 0x510, 0, 2);
    out8(&f, 0x510, 1), out8(&f, 0x511, 1);
    ck_assert_uint_eq(in8(&f, 0x511), 'Q');
    ck_assert_uint_eq(bus_read(&f.bus, 0x511, 4), 0xffffff45);
}
END_TEST

START_TEST(its_debug_console_is_at_402) {
    start();
    ck_assert_uint_eq(in8(&f, 0x402), 0xe9);
    ck_assert_uint_eq(bus_read(&f.bus, 0x402, 2), 0xffe9);
    out8(&f, 0x402, '!');
    ck_assert_uint_eq(console_bytes[0], '!');
}
END_TEST

static int load_file(size_t size, struct error *error) {
    char path[64];
    int fd = memfd_create("firmware", MFD_CLOEXEC);
    ck_assert(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    ck_assert_int_eq(pwrite(fd, "!", 1, size ? (off_t)size - 1 : 0), 1);
    if (size == 0)
        ck_assert_int_eq(ftruncate(fd, 0), 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ck_assert_int_eq(ram_create(&ram, RAM_BYTES), 0);
    int rc = firmware_load(path, &ram, error);
    close(fd);
    return rc;
}

START_TEST(firmware_becomes_rom) {
    struct error error;
    static const size_t sizes[] = {KIB64, 2 * KIB64, 4 * KIB64, ROM_SIZE_MAX};
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_int_eq(load_file(sizes[i], &error), 0);
        ck_assert_uint_eq(ram.rom_size, sizes[i]);
        ck_assert_uint_eq(*(uint8_t *)ram_ptr(&ram, 0xffffffff, 1), '!');
        ck_assert_uint_eq(*(uint8_t *)ram_ptr(&ram, 0xfffff, 1), '!');
        ram_destroy(&ram);
    }
}
END_TEST

START_TEST(what_is_no_firmware_is_refused) {
    struct error error;
    static const struct {
        size_t size;
        const char *text;
    } bad[] = {
        {0, "is empty"},
        {1, "0x1 bytes are no multiple of 64 KiB"},
        {KIB64 + 4096, "no multiple of 64 KiB"},
        {ROM_SIZE_MAX + KIB64, "16448 KiB are too large for firmware, 16384 KiB is the most"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(load_file(bad[i].size, &error), -1);
        ck_assert_msg(strstr(error.text, bad[i].text), "%s", error.text);
        ck_assert_uint_eq(ram.rom_size, 0);
        ram_destroy(&ram);
    }
    ck_assert_int_eq(firmware_load("/no/such", &ram, &error), -1);
    ck_assert_int_eq(firmware_load("/", &ram, &error), -1);
}
END_TEST

RUN_SUITE("firmware", the_host_bridge_says_what_it_is, pam_registers_put_ram_and_rom_in_place,
          fw_cfg_describes_the_machine, its_debug_console_is_at_402, firmware_becomes_rom,
          what_is_no_firmware_is_refused)
