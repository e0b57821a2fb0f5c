/* The client of `ring3 explain --gdb` against peers that say anything: each gets one line or the
 * right answer. */
#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inspect/gdb_client.h"

static struct gdb_client client;
static struct error error;
static int peer;

static void setup(void) {
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    client = (struct gdb_client){.fd = fds[0], .place = "test"};
    peer = fds[1];
}

static void teardown(void) {
    gdb_client_close(&client);
    close(peer);
}

/* The peer's bytes wait before anything is asked, and then it hangs up. */
static void says(const char *bytes, size_t size) {
    ck_assert_int_eq(write(peer, bytes, size), (ssize_t)size);
    shutdown(peer, SHUT_WR);
}

static void says_packet(const char *contents) {
    char text[512];
    unsigned sum = 0;
    for (const char *c = contents; *c; c++)
        sum += (unsigned char)*c;
    int size = snprintf(text, sizeof text, "+$%s#%02x", contents, sum & 0xff);
    says(text, (size_t)size);
}

static void says_line(const char *line) {
    char hex[256] = "";
    for (const char *c = line; *c; c++)
        sprintf(hex + strlen(hex), "%02x", (unsigned char)*c);
    says_packet(hex);
}

static void mode_fails(const char *why) {
    struct gdb_client_mode mode;
    ck_assert_int_eq(gdb_client_mode(&client, &mode, &error), -1);
    ck_assert_msg(strstr(error.text, why) != NULL, "%s", error.text);
    ck_assert_ptr_null(strchr(error.text, '\n'));
}

START_TEST(mode_is_read) {
    struct gdb_client_mode mode;
    says_line("mode 30800 eip 10000c base 0 limit ffffffff sysenter c191a010\n");
    ck_assert_int_eq(gdb_client_mode(&client, &mode, &error), 0);
    ck_assert_uint_eq(mode.mode, 0x30800);
    ck_assert_uint_eq(mode.eip, 0x10000c);
    ck_assert_uint_eq(mode.cs_limit, 0xffffffff);
    ck_assert_uint_eq(mode.sysenter_eip, 0xc191a010);
}
END_TEST

START_TEST(another_stub) {
    says_packet("");
    mode_fails("no ring3 answers there");
}
END_TEST

START_TEST(an_odd_reply) {
    says_packet("zz");
    mode_fails("no ring3 answers there");
}
END_TEST

START_TEST(a_reply_too_long) {
    char text[401];
    memset(text, '3', 400);
    text[400] = 0;
    says_packet(text);
    mode_fails("no ring3 answers there");
}
END_TEST

START_TEST(garbage) {
    says("HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    mode_fails("the connection was closed");
}
END_TEST

START_TEST(a_damaged_packet) {
    says("+$00#ff", 7);
    mode_fails("a damaged answer");
}
END_TEST

START_TEST(a_peer_that_hangs_up) {
    says("", 0);
    mode_fails("the connection was closed");
}
END_TEST

START_TEST(memory_is_read_as_far_as_it_goes) {
    uint8_t bytes[8] = {0};
    says_packet("0102ff");
    ck_assert_int_eq(gdb_client_read(&client, 0x1000, bytes, sizeof bytes, &error), 3);
    ck_assert_mem_eq(bytes, "\x01\x02\xff", 3);
}
END_TEST

START_TEST(no_memory_there) {
    uint8_t bytes[8];
    says_packet("E0e");
    ck_assert_int_eq(gdb_client_read(&client, 0x1000, bytes, sizeof bytes, &error), 0);
}
END_TEST

START_TEST(more_memory_than_was_asked_for) {
    uint8_t bytes[2];
    says_packet("010203");
    ck_assert_int_eq(gdb_client_read(&client, 0x1000, bytes, sizeof bytes, &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "no memory"));
}
END_TEST

START_TEST(places_that_nobody_listens_at) {
    struct gdb_client none;
    ck_assert_int_eq(gdb_client_open(&none, "127.0.0.1:1", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "cannot connect"));
    ck_assert_int_eq(gdb_client_open(&none, "x", &error), -1);
    ck_assert_ptr_nonnull(strstr(error.text, "[ADDRESS:]PORT"));
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("gdb_client");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, mode_is_read);
    tcase_add_test(tc, another_stub);
    tcase_add_test(tc, an_odd_reply);
    tcase_add_test(tc, a_reply_too_long);
    tcase_add_test(tc, garbage);
    tcase_add_test(tc, a_damaged_packet);
    tcase_add_test(tc, a_peer_that_hangs_up);
    tcase_add_test(tc, memory_is_read_as_far_as_it_goes);
    tcase_add_test(tc, no_memory_there);
    tcase_add_test(tc, more_memory_than_was_asked_for);
    tcase_add_test(tc, places_that_nobody_listens_at);
    Suite *suite = suite_create("gdb_client");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
