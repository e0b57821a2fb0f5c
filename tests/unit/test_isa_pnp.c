/* The ISA Plug and Play card, as a guest's enumeration meets it: key, isolation, resources. */
#include "devices/isa_pnp.h"

#include "tests/unit/device_fixture.h"

#define ADDRESS 0x279
#define WRITE 0xa79
#define READ 0x213
#define FLOATING 0xff

static struct fixture f;

static uint32_t other_read(void *device, uint16_t port, unsigned size) {
    (void)device, (void)port, (void)size;
    return 0x77;
}
static void other_write(void *device, uint16_t port, uint32_t value, unsigned size) {
    (void)device, (void)port, (void)value, (void)size;
}

static void start(void) {
    fixture_setup(&f);
    isa_pnp_create(&f.arena, &f.bus);
}

static void stop(void) { fixture_teardown(&f); }

static uint8_t step(uint8_t lfsr, unsigned bit) {
    unsigned out = (lfsr & 1) ^ (lfsr >> 1 & 1) ^ bit;
    return (uint8_t)(lfsr >> 1 | out << 7);
}

/* The first `count` of the 32 bytes. */
static void send_key(unsigned count) {
    uint8_t lfsr = 0x6a;
    for (unsigned i = 0; i < count; i++, lfsr = step(lfsr, 0))
        out8(&f, ADDRESS, lfsr);
}

static void put(uint8_t reg, uint8_t value) {
    out8(&f, ADDRESS, reg);
    out8(&f, WRITE, value);
}

static uint8_t get(uint8_t reg) {
    out8(&f, ADDRESS, reg);
    return in8(&f, READ);
}

static void to_isolation(void) {
    send_key(32);
    put(3, 0);
    put(0, READ >> 2);
    out8(&f, ADDRESS, 1);
}

static void read_identifier(uint8_t identifier[9]) {
    memset(identifier, 0, 9);
    for (unsigned bit = 0; bit < 72; bit++) {
        unsigned pair = (unsigned)in8(&f, READ) << 8;
        pair |= in8(&f, READ);
        ck_assert(pair == 0x55aa || pair == 0xffff);
        identifier[bit / 8] |= (uint8_t)((pair == 0x55aa) << bit % 8);
    }
}

static void to_config(uint8_t csn) {
    uint8_t identifier[9];
    to_isolation();
    read_identifier(identifier);
    put(6, csn);
}

START_TEST(isolation_gives_an_identifier_with_its_checksum) {
    uint8_t identifier[9], lfsr = 0x6a;
    to_isolation();
    read_identifier(identifier);
    for (unsigned bit = 0; bit < 64; bit++)
        lfsr = step(lfsr, identifier[bit / 8] >> bit % 8 & 1);
    ck_assert_uint_eq(identifier[8], lfsr);
    static const uint8_t vendor[] = {'R' - 64, 'N' - 64, 'G' - 64};
    ck_assert_uint_eq(identifier[0], vendor[0] << 2 | vendor[1] >> 3);
    ck_assert_uint_eq(identifier[1], (vendor[1] << 5 | vendor[2]) & 0xff);
    ck_assert_uint_eq(in8(&f, READ), FLOATING);
}
END_TEST

START_TEST(a_card_with_a_number_is_silent_in_isolation) {
    to_config(1);
    ck_assert_uint_eq(get(6), 1);
    put(3, 0);
    out8(&f, ADDRESS, 1);
    for (unsigned i = 0; i < 144; i++)
        ck_assert_uint_eq(in8(&f, READ), FLOATING);
    put(3, 2);
    ck_assert_uint_eq(get(6), FLOATING);
    put(3, 1);
    ck_assert_uint_eq(get(6), 1);
    put(2, 4); /* numbers are forgotten */
    put(3, 0);
    out8(&f, ADDRESS, 1);
    uint8_t identifier[9];
    read_identifier(identifier);
    ck_assert_uint_eq(identifier[0], 0x49);
}
END_TEST

/* All tags, as a guest walks them; where `ports` are collected. */
static unsigned walk_resources(uint16_t ports[8], char name[64]) {
    unsigned sum = 0, count = 0;
    for (unsigned tags = 0; tags < 20; tags++) {
        uint8_t tag = get(4), bytes[64] = {0};
        unsigned len = tag & 7;
        sum += tag;
        if (tag & 0x80) {
            uint8_t low = get(4), high = get(4);
            sum += (unsigned)low + high;
            len = low | (unsigned)high << 8;
        }
        ck_assert_uint_lt(len, sizeof bytes);
        for (unsigned i = 0; i < len; i++) {
            ck_assert_uint_eq(get(5) & 1, 1);
            bytes[i] = get(4);
            sum += bytes[i];
        }
        if (tag == 0x82)
            memcpy(name, bytes, 64);
        if (tag == 0x47) {
            ck_assert_uint_eq(bytes[0], 1); /* all 16 bits */
            ck_assert_mem_eq(bytes + 1, bytes + 3, 2);
            ports[count++] = (uint16_t)(bytes[1] | bytes[2] << 8);
        }
        if (tag == 0x79) {
            ck_assert_uint_eq(sum & 0xff, 0);
            return count;
        }
    }
    ck_abort_msg("no end tag");
}

START_TEST(resources_name_the_ports) {
    static const uint16_t expected[] = {0xe9, 0x402};
    uint16_t ports[8];
    char name[64];
    to_config(1);
    ck_assert_uint_eq(walk_resources(ports, name), 2); /* right behind the identifier */
    ck_assert_mem_eq(ports, expected, sizeof expected);
    ck_assert_str_eq(name, "ring3 debug console");
    ck_assert_uint_eq(get(4), 0); /* nothing follows, for ever */
    put(3, 1);                    /* and from the start again */
    for (unsigned i = 0; i < 9; i++)
        get(4);
    ck_assert_uint_eq(walk_resources(ports, name), 2);
}
END_TEST

START_TEST(the_device_is_active_where_it_says) {
    static const uint16_t expected[] = {0xe9, 0x402, 0};
    to_config(1);
    put(7, 0);
    put(0x30, 0);
    put(0x60, 3);
    ck_assert_uint_eq(get(0x30), 1);
    for (unsigned i = 0; i < 3; i++) {
        unsigned high = get((uint8_t)(0x60 + 2 * i)), low = get((uint8_t)(0x61 + 2 * i));
        ck_assert_uint_eq(high << 8 | low, expected[i]);
    }
    ck_assert_uint_eq(get(0x70), 0);
    ck_assert_uint_eq(get(0x74), 4);
    ck_assert_uint_eq(get(0x75), 4);
    ck_assert_uint_eq(get(0xff), 0);
}
END_TEST

START_TEST(without_the_whole_key_nothing_answers) {
    send_key(31);
    put(3, 0);
    put(0, READ >> 2);
    ck_assert_uint_eq(get(1), FLOATING);
    out8(&f, ADDRESS, 0);
    out8(&f, ADDRESS, 0x6a); /* a key begins anew in the middle of one */
    send_key(32);
    put(3, 0);
    put(0, READ >> 2);
    ck_assert_uint_eq(get(1), 0x55);
    put(2, 2); /* wait for key */
    ck_assert_uint_eq(get(1), FLOATING);
    ck_assert_uint_eq(in8(&f, ADDRESS), FLOATING);
    ck_assert_uint_eq(in8(&f, WRITE), FLOATING);
}
END_TEST

START_TEST(the_read_port_moves_to_free_ports_only) {
    bus_claim(&f.bus, "other", 0x3f8, 8, other_read, other_write, NULL);
    to_isolation();
    ck_assert_uint_eq(in8(&f, READ), 0x55);
    put(0, 0x3fb >> 2);
    ck_assert_uint_eq(in8(&f, 0x3fb), 0x77);
    ck_assert_uint_eq(in8(&f, READ), FLOATING);
    put(0, 0x80); /* 0x203 */
    put(3, 0);
    out8(&f, ADDRESS, 1);
    ck_assert_uint_eq(in8(&f, 0x203), 0x55);
    ck_assert_uint_eq(in8(&f, READ), FLOATING);
    put(0, 0x7f); /* 0x1ff */
    ck_assert_uint_eq(in8(&f, 0x1ff), FLOATING);
    ck_assert_uint_eq(in8(&f, 0x203), FLOATING);
    put(0, READ >> 2);
    out8(&f, ADDRESS, 1);
    ck_assert_uint_eq(bus_read(&f.bus, READ, 4), 0xffffffaa);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("isa_pnp");
    tcase_add_checked_fixture(tc, start, stop);
    tcase_add_test(tc, isolation_gives_an_identifier_with_its_checksum);
    tcase_add_test(tc, a_card_with_a_number_is_silent_in_isolation);
    tcase_add_test(tc, resources_name_the_ports);
    tcase_add_test(tc, the_device_is_active_where_it_says);
    tcase_add_test(tc, without_the_whole_key_nothing_answers);
    tcase_add_test(tc, the_read_port_moves_to_free_ports_only);
    Suite *suite = suite_create("isa_pnp");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
