/* The observatory's address, token and request checks. */
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/web_address.h"

static bool parses(const char *text, sa_family_t family, uint16_t port) {
    struct sockaddr_storage address;
    socklen_t len;
    struct error error;
    if (web_parse_address(text, &address, &len, &error))
        return false;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    return address.ss_family == family &&
           ntohs(family == AF_INET ? v4->sin_port : v6->sin6_port) == port;
}

START_TEST(addresses_are_read) {
    ck_assert(parses("8080", AF_INET, 8080));
    ck_assert(parses("0", AF_INET, 0));
    ck_assert(parses("localhost:1", AF_INET, 1));
    ck_assert(parses("192.0.2.7:65535", AF_INET, 65535));
    ck_assert(parses("[::1]:80", AF_INET6, 80));
    static const char *const bad[] = {"",       ":",          ":80",        "65536", "80x",
                                      "x:80",   "[::1]",      "[::1:80",    "[]:80", "1.2.3.4",
                                      "::1:80", "[127.0.0.1", "4294967376", "0x50",  " 80"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!parses(bad[i], AF_INET, 80) && !parses(bad[i], AF_INET6, 80), "%s", bad[i]);
}
END_TEST

START_TEST(tokens_differ_and_are_needed_whole) {
    struct web_listener a, b;
    struct error error;
    char path[64];
    ck_assert(!web_listen(&a, "0", &error) && !web_listen(&b, "0", &error));
    ck_assert(a.loopback);
    ck_assert_str_ne(a.token, b.token);
    ck_assert_uint_eq(strlen(a.token), WEB_TOKEN_LEN);
    snprintf(path, sizeof path, "/%s/x", a.token);
    ck_assert_str_eq(web_path_behind_token(path, a.token), "x");
    ck_assert_ptr_null(web_path_behind_token(path, b.token));
    for (unsigned i = 0; i < WEB_TOKEN_LEN + 2; i++) {
        char wrong = path[i];
        path[i] ^= 1;
        ck_assert_ptr_null(web_path_behind_token(path, a.token));
        path[i] = wrong;
        path[i] = 0;
        ck_assert_ptr_null(web_path_behind_token(path, a.token));
        path[i] = wrong;
    }
    web_close(&a);
    web_close(&b);
}
END_TEST

START_TEST(hosts_are_addresses) {
    static const char *const local[] = {"127.0.0.1", "127.0.0.1:80", "localhost",  "localhost:8080",
                                        "[::1]",     "[::1]:80",     "127.1.2.3:9"};
    static const char *const other[] = {"192.0.2.1", "192.0.2.1:80", "0.0.0.0:80",
                                        "[2001:db8::1]:80"};
    static const char *const never[] = {"",
                                        "example.org",
                                        "example.org:80",
                                        "127.0.0.1.example.org",
                                        "localhost.example.org",
                                        "127.0.0.1:",
                                        "127.0.0.1:80:80",
                                        "[::1",
                                        "::1",
                                        "127.1",
                                        "user@127.0.0.1"};
    for (unsigned i = 0; i < sizeof local / sizeof *local; i++)
        ck_assert_msg(web_host_is_allowed(local[i], true) && web_host_is_allowed(local[i], false),
                      "%s", local[i]);
    for (unsigned i = 0; i < sizeof other / sizeof *other; i++)
        ck_assert_msg(!web_host_is_allowed(other[i], true) && web_host_is_allowed(other[i], false),
                      "%s", other[i]);
    for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
        ck_assert_msg(!web_host_is_allowed(never[i], true) && !web_host_is_allowed(never[i], false),
                      "%s", never[i]);
    ck_assert(!web_host_is_allowed(NULL, false));
}
END_TEST

START_TEST(origins_are_the_pages_own) {
    const char *host = "127.0.0.1:80";
    ck_assert(web_origin_is_allowed(NULL, NULL, host));
    ck_assert(web_origin_is_allowed("http://127.0.0.1:80", "same-origin", host));
    ck_assert(web_origin_is_allowed(NULL, "none", host));
    static const char *const bad[] = {"null",
                                      "",
                                      "http://127.0.0.1",
                                      "http://127.0.0.1:801",
                                      "https://127.0.0.1:80",
                                      "http://localhost:80",
                                      "127.0.0.1:80"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!web_origin_is_allowed(bad[i], NULL, host), "%s", bad[i]);
    ck_assert(!web_origin_is_allowed(NULL, "same-site", host));
    ck_assert(!web_origin_is_allowed(NULL, "cross-site", host));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("web address");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, addresses_are_read);
    tcase_add_test(tests, tokens_differ_and_are_needed_whole);
    tcase_add_test(tests, hosts_are_addresses);
    tcase_add_test(tests, origins_are_the_pages_own);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
