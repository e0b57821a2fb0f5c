/* The vCPU process's sandbox: what it lets through, and that everything else kills the process. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "runtime/sandbox.h"

static int event_fd = -1;
static pid_t parent;

/* Returns the wait status of a child that enters the sandbox and then acts. */
static int act_in_sandbox(bool (*act)(void), bool executable_maps) {
    parent = getpid();
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct sandbox_rules rules = {
            .write_fds = {event_fd},
            .write_fd_count = 1,
            .signal_pids = {parent},
            .signal_pid_count = 1,
            .executable_maps = executable_maps,
        };
        if (sandbox_close_fds(&event_fd, 1) || sandbox_enter(&rules))
            _exit(2);
        _exit(act() ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static bool map_memory(void) {
    char *at = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool ok = at != MAP_FAILED && !mprotect(at, 4096, PROT_READ | PROT_WRITE);
    at[0] = 1;
    return ok && !madvise(at, 4096, MADV_DONTNEED) && !at[0] && !munmap(at, 8192);
}
static bool wait_a_moment(void) {
    struct timespec moment = {.tv_nsec = 1000};
    return !ppoll(NULL, 0, &moment, NULL) && !clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}
static bool write_event(void) {
    uint64_t one = 1;
    return write(event_fd, &one, sizeof one) == sizeof one;
}
static bool signal_peers(void) { return !kill(parent, 0) && !kill(getpid(), 0); }
static bool allocate(void) {
    char *small = malloc(100), *large = malloc(4 << 20);
    bool ok = small && large;
    free(small);
    free(large);
    return ok;
}
static bool map_executable(void) {
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}

static bool open_file(void) { return open("/dev/null", O_RDONLY) >= 0; }
static bool make_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }
static bool write_elsewhere(void) { return write(STDERR_FILENO, "", 0) == 0; }
static bool signal_init(void) { return kill(1, 0) == 0; }
static bool signal_group(void) { return kill(0, 0) == 0; }
static bool fork_again(void) { return fork() >= 0; }
static bool run_shell(void) { return execl("/bin/true", "true", NULL) == 0; }
static bool read_event(void) {
    uint64_t count;
    return read(event_fd, &count, sizeof count) >= 0;
}
static bool change_handler(void) { return signal(SIGSEGV, SIG_IGN) != SIG_ERR; }
static bool make_memfd(void) { return memfd_create("x", 0) >= 0; }

static bool (*const allowed[])(void) = {map_memory, wait_a_moment, write_event, signal_peers,
                                        allocate};
static bool (*const forbidden[])(void) = {
    open_file, make_socket, write_elsewhere, signal_init, signal_group,   fork_again,
    run_shell, read_event,  change_handler,  make_memfd,  map_executable,
};

static void setup(void) { event_fd = eventfd(0, EFD_NONBLOCK); }
static void teardown(void) { close(event_fd); }

START_TEST(allowed_call_works) {
    int status = act_in_sandbox(allowed[_i], false);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %x",
                  (unsigned)status);
}
END_TEST

START_TEST(forbidden_call_kills_the_process) {
    int status = act_in_sandbox(forbidden[_i], false);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "wait status %x",
                  (unsigned)status);
}
END_TEST

START_TEST(executable_maps_are_a_rule_of_their_own) {
    int status = act_in_sandbox(map_executable, true);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* In a process whose descriptors nobody needs afterwards. Returns the number of the first thing
 * found wrong, or 0. */
static int close_and_look(void) {
    int keep[2] = {50, 40}, other = dup(event_fd);
    char byte;
    if (dup2(event_fd, 50) != 50 || dup2(event_fd, 40) != 40 || dup2(event_fd, 45) != 45)
        return 1;
    if (sandbox_close_fds(keep, 2))
        return 2;
    if (fcntl(50, F_GETFD) < 0 || fcntl(40, F_GETFD) < 0 || fcntl(STDERR_FILENO, F_GETFD) < 0)
        return 3;
    if (fcntl(45, F_GETFD) >= 0 || fcntl(other, F_GETFD) >= 0)
        return 4;
    return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 5;
}

START_TEST(close_fds_keeps_what_it_is_told_to) {
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(close_and_look());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sandbox");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, teardown);
#ifndef RING3_SANITIZED
    tcase_add_loop_test(tests, allowed_call_works, 0, sizeof allowed / sizeof *allowed);
    tcase_add_loop_test(tests, forbidden_call_kills_the_process, 0,
                        sizeof forbidden / sizeof *forbidden);
    tcase_add_test(tests, executable_maps_are_a_rule_of_their_own);
#else
    (void)allowed, (void)forbidden, (void)executable_maps_are_a_rule_of_their_own;
    (void)allowed_call_works, (void)forbidden_call_kills_the_process;
#endif
    tcase_add_test(tests, close_fds_keeps_what_it_is_told_to);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
