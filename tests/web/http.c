/* The observatory's server by hand: who is refused, what garbage does, and that the guest runs on.
 */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define ANSWER_MAX 65536

/* A ring3 with the test guest. */
struct program {
    pid_t pid;
    int out;        /* the guest's serial port */
    char err[4096]; /* what it said */
    char token[64];
    int port;
    char text[65536]; /* of `out`, so far */
    size_t len;
};

static struct program program;

static int spawn(struct program *p, const char *web, int *err) {
    int out[2], errors[2];
    ck_assert(!pipe(out) && !pipe(errors));
    p->pid = fork();
    if (!p->pid) {
        dup2(out[1], STDOUT_FILENO);
        dup2(errors[1], STDERR_FILENO);
        close(out[0]);
        close(errors[0]);
        execl(RING3, RING3, "run", "--kernel", GUEST, "--memory", "32M", "--web", web,
              (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    close(errors[1]);
    p->out = out[0];
    *err = errors[0];
    return p->pid > 0 ? 0 : -1;
}

/* Reads until `marker` is there or the other side ends. */
static void read_until(int fd, char *to, size_t room, const char *marker) {
    size_t len = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    to[0] = 0;
    while (!strstr(to, marker) && len + 1 < room && poll(&ready, 1, PATIENCE_MS) > 0) {
        ssize_t got = read(fd, to + len, room - 1 - len);
        if (got <= 0)
            return;
        len += (size_t)got;
        to[len] = 0;
    }
}

static void setup(void) {
    int err;
    memset(&program, 0, sizeof program);
    ck_assert(!spawn(&program, "0", &err));
    read_until(err, program.err, sizeof program.err, "/\n");
    ck_assert_msg(sscanf(program.err, "ring3: observatory at http://127.0.0.1:%d/%32[0-9a-f]/",
                         &program.port, program.token) == 2,
                  "no address in: %s", program.err);
    ck_assert_uint_eq(strlen(program.token), 32);
}

static void teardown(void) {
    kill(program.pid, SIGKILL);
    waitpid(program.pid, NULL, 0);
    close(program.out);
}

/* Waits until the guest has said `what` behind what was read before. */
static bool guest_says(const char *what) {
    struct pollfd ready = {.fd = program.out, .events = POLLIN};
    size_t from = program.len;
    while (poll(&ready, 1, PATIENCE_MS) > 0) {
        size_t room = sizeof program.text - 1 - program.len;
        ssize_t got = read(program.out, program.text + program.len, room);
        if (got <= 0)
            return false;
        program.len += (size_t)got;
        program.text[program.len] = 0;
        if (strstr(program.text + from, what))
            return true;
    }
    return false;
}

static int dial(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)program.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert(!connect(fd, (struct sockaddr *)&to, sizeof to));
    return fd;
}

/* Sends bytes and reads the answer to its end. Returns the status, 0: none. */
static int exchange(const char *bytes, size_t len, char *answer) {
    int fd = dial(), status = 0;
    size_t got = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
    while (got + 1 < ANSWER_MAX && poll(&ready, 1, PATIENCE_MS) > 0) {
        ssize_t part = recv(fd, answer + got, ANSWER_MAX - 1 - got, 0);
        if (part <= 0)
            break;
        got += (size_t)part;
        answer[got] = 0;
        if (strstr(answer, "\"cpu\":")) /* a stream goes on for ever */
            break;
    }
    answer[got] = 0;
    close(fd);
    sscanf(answer, "HTTP/1.1 %d", &status);
    return status;
}

static char answer[ANSWER_MAX];

/* A request with these header lines; "%s" in `path` is the token. */
static int ask(const char *method, const char *path, const char *headers, const char *body) {
    char where[256], request[12288];
    snprintf(where, sizeof where, path, program.token);
    int len = snprintf(request, sizeof request,
                       "%s %s HTTP/1.1\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                       method, where, headers, strlen(body), body);
    ck_assert(len > 0 && (size_t)len < sizeof request);
    return exchange(request, (size_t)len, answer);
}

#define HOST "Host: 127.0.0.1\r\n"

START_TEST(the_page_is_served_with_a_policy) {
    ck_assert_int_eq(ask("GET", "/%s/", HOST, ""), 200);
    ck_assert_ptr_nonnull(strstr(answer, "<title>ring3 observatory</title>"));
    ck_assert_ptr_nonnull(strstr(answer, "default-src 'none'; script-src 'self'"));
    ck_assert_ptr_nonnull(strstr(answer, "frame-ancestors 'none'"));
    ck_assert_ptr_nonnull(strstr(answer, "X-Content-Type-Options: nosniff"));
    ck_assert_ptr_null(strstr(answer, "Access-Control"));
    ck_assert_int_eq(ask("GET", "/%s/app.js", HOST, ""), 200);
    ck_assert_ptr_nonnull(strstr(answer, "Content-Type: text/javascript"));
    ck_assert_int_eq(ask("GET", "/%s/nothing", HOST, ""), 404);
    ck_assert_int_eq(ask("GET", "/%s/../../etc/passwd", HOST, ""), 404);
}
END_TEST

START_TEST(without_the_token_nothing_is_served) {
    static const char *const paths[] = {"/",      "/index.html", "/app.js", "/events",
                                        "/state", "//%s/",       "/%s",     "/%s0/"};
    char wrong[80];
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++)
        ck_assert_int_eq(ask("GET", paths[i], HOST, ""), 403);
    for (unsigned i = 0; i < 32; i += 31) {
        snprintf(wrong, sizeof wrong, "/%s/", program.token);
        wrong[1 + i] = wrong[1 + i] == '0' ? '1' : '0';
        ck_assert_int_eq(ask("GET", wrong, HOST, ""), 403);
        ck_assert_int_eq(ask("POST", wrong, HOST, "x"), 403);
    }
}
END_TEST

START_TEST(other_origins_and_names_are_refused) {
    ck_assert_int_eq(ask("GET", "/%s/model", "Host: evil.example\r\n", ""), 403);
    ck_assert_int_eq(ask("GET", "/%s/model", "Host: 127.0.0.1.evil.example:80\r\n", ""), 403);
    ck_assert_int_eq(ask("GET", "/%s/model", "Host: 192.0.2.1\r\n", ""), 403);
    ck_assert_int_ge(ask("GET", "/%s/model", "", ""), 400);
    ck_assert_int_eq(ask("GET", "/%s/model", HOST "Origin: http://evil.example\r\n", ""), 403);
    ck_assert_int_eq(ask("GET", "/%s/model", HOST "Origin: https://127.0.0.1\r\n", ""), 403);
    ck_assert_int_eq(ask("GET", "/%s/model", HOST "Origin: null\r\n", ""), 403);
    ck_assert_int_eq(ask("GET", "/%s/model", HOST "Sec-Fetch-Site: cross-site\r\n", ""), 403);
    ck_assert_int_eq(ask("POST", "/%s/pause", HOST "Origin: http://evil.example\r\n", ""), 403);
    ck_assert_int_eq(ask("GET", "/%s/model", HOST "Origin: http://127.0.0.1\r\n", ""), 200);
    ck_assert_int_eq(ask("GET", "/%s/model", "Host: localhost:1234\r\n", ""), 200);
    ck_assert_int_eq(ask("GET", "/%s/model", "Host: [::1]\r\n", ""), 200);
    ck_assert(guest_says("round"));
}
END_TEST

START_TEST(what_is_asked_is_checked) {
    static char body[8000];
    memset(body, 'x', sizeof body - 1);
    ck_assert_int_eq(ask("POST", "/%s/input", HOST, body), 413);
    ck_assert_int_eq(ask("POST", "/%s/nothing", HOST, ""), 404);
    ck_assert_int_eq(ask("PUT", "/%s/input", HOST, "x"), 405);
    ck_assert_int_eq(ask("GET", "/%s/fragment?index=4294967295", HOST, ""), 404);
    ck_assert_int_eq(ask("GET", "/%s/fragment?index=-1", HOST, ""), 400);
    ck_assert_int_eq(ask("GET", "/%s/fragment?index=99999999999999999999", HOST, ""), 400);
    ck_assert_int_eq(ask("GET", "/%s/blocks?window=33", HOST, ""), 404);
    ck_assert_int_eq(ask("GET", "/%s/pages?window=0&block=1024", HOST, ""), 404);
    ck_assert_int_eq(ask("GET", "/%s/fragments?generation=77&from=77777777", HOST, ""), 200);
}
END_TEST

/* Asks for the state until it has `what` in it. */
static void await_state(const char *what) {
    do
        ck_assert_int_eq(ask("GET", "/%s/events", HOST, ""), 200);
    while (!strstr(answer, what));
}

START_TEST(pause_stops_the_guest_and_resume_does_not_lose_it) {
    ck_assert(guest_says("round"));
    ck_assert_int_eq(ask("POST", "/%s/pause", HOST, ""), 204);
    await_state("\"why\":\"on request\"");
    ck_assert_int_eq(ask("POST", "/%s/step", HOST, ""), 204);
    await_state("\"why\":\"after a step\"");
    ck_assert_int_eq(ask("POST", "/%s/resume", HOST, ""), 204);
    ck_assert(guest_says("round"));
    ck_assert_int_eq(ask("POST", "/%s/input", HOST, "hello\r"), 204);
    ck_assert(guest_says("you said: hello"));
}
END_TEST

/* Bytes that are no request, requests that never end, more connections than there may be. */
START_TEST(garbage_harms_nobody) {
    static char garbage[20000];
    int held[60];
    srand(1);
    for (unsigned round = 0; round < 30; round++) {
        for (size_t i = 0; i < sizeof garbage; i++)
            garbage[i] = (char)(round % 2 ? rand() : 'A' + rand() % 26);
        int fd = dial();
        send(fd, garbage, (size_t)rand() % sizeof garbage, MSG_NOSIGNAL);
        close(fd);
    }
    for (unsigned i = 0; i < sizeof held / sizeof *held; i++) {
        held[i] = dial();
        send(held[i], "GET /", 5, MSG_NOSIGNAL);
    }
    ck_assert(guest_says("round"));
    for (unsigned i = 0; i < sizeof held / sizeof *held; i++)
        close(held[i]);
    ck_assert_int_eq(ask("GET", "/%s/model", HOST, ""), 200);
    ck_assert(guest_says("round"));
    ck_assert_int_eq(waitpid(program.pid, NULL, WNOHANG), 0);
}
END_TEST

START_TEST(a_guest_that_resets_is_served_again) {
    ck_assert(guest_says("round"));
    ck_assert_int_eq(ask("GET", "/%s/model", HOST, ""), 200);
    ck_assert_ptr_nonnull(strstr(answer, "\"boot\":0"));
    ck_assert_int_eq(ask("POST", "/%s/input", HOST, "reset\r"), 204);
    ck_assert(guest_says("the guest is up"));
    ck_assert_int_eq(ask("GET", "/%s/model", HOST, ""), 200);
    ck_assert_ptr_nonnull(strstr(answer, "\"boot\":1"));
    ck_assert(guest_says("round"));
}
END_TEST

/* Runs to its end; its status, and what it said in `text`. */
static int refused(const char *web, char text[4096]) {
    struct program p = {0};
    int err, status;
    ck_assert(!spawn(&p, web, &err));
    read_until(err, text, 4096, "\n\n");
    waitpid(p.pid, &status, 0);
    close(err);
    close(p.out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(a_port_in_use_is_one_line) {
    char web[32], text[4096];
    snprintf(web, sizeof web, "%d", program.port);
    ck_assert_int_eq(refused(web, text), 2);
    ck_assert_ptr_nonnull(strstr(text, "cannot listen: Address already in use\n"));
    ck_assert_ptr_eq(strchr(text, '\n'), strrchr(text, '\n'));
}
END_TEST

START_TEST(bad_addresses_are_one_line) {
    static const char *const bad[] = {
        "",     "x",      "70000",      "-1", "1.2.3:80", "evil.example:80",
        "[::1", "[::1]x", "127.0.0.1:", "80 "};
    char text[4096];
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(refused(bad[i], text), 2);
        ck_assert_msg(!strncmp(text, "ring3: --web '", 14), "%s: %s", bad[i], text);
        ck_assert_ptr_eq(strchr(text, '\n'), strrchr(text, '\n'));
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("web");
    TCase *tests = tcase_create("http");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_page_is_served_with_a_policy);
    tcase_add_test(tests, without_the_token_nothing_is_served);
    tcase_add_test(tests, other_origins_and_names_are_refused);
    tcase_add_test(tests, what_is_asked_is_checked);
    tcase_add_test(tests, pause_stops_the_guest_and_resume_does_not_lose_it);
    tcase_add_test(tests, garbage_harms_nobody);
    tcase_add_test(tests, a_guest_that_resets_is_served_again);
    tcase_add_test(tests, a_port_in_use_is_one_line);
    tcase_add_test(tests, bad_addresses_are_one_line);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
