/* The monitor process, seen from outside: terminal, signals, output, exit status.
 *
 * Runs the command line with the engine of fake_engine.c (RING3 is its path) on pipes or on a
 * pseudo-terminal, and looks at what comes out. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

#define PATIENCE_MS 20000

static char kernel[] = "/tmp/ring3-kernel-XXXXXX";

/* A program under test: `in` is what it reads, `out` and `err` what it writes. On a terminal all
 * three are the master's side. */
struct program {
    pid_t pid;
    int in, out, err, slave;
    struct termios terminal; /* as it was before */
};

/* An ELF32 file of one page at 1 MiB: HLT at its entry. */
static void make_kernel(void) {
    uint8_t image[0x1001] = {0x7f, 'E', 'L', 'F', 1, 1, 1};
    const uint32_t words[][2] = {
        {0x10, 2 | 3u << 16},
        {0x14, 1},
        {0x18, 0x100000},
        {0x1c, 0x34},
        {0x28, 52 | 32u << 16},
        {0x2c, 1},
        {0x34, 1},
        {0x38, 0x1000},
        {0x3c, 0x100000},
        {0x40, 0x100000},
        {0x44, 1},
        {0x48, 0x1000},
        {0x4c, 5},
        {0x50, 0x1000},
    };
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        memcpy(image + words[i][0], &words[i][1], 4);
    image[0x1000] = 0xf4;
    int fd = mkstemp(kernel);
    ck_assert_int_eq(write(fd, image, sizeof image), sizeof image);
    close(fd);
}

static void remove_kernel(void) { unlink(kernel); }

static _Noreturn void exec_program(const char *engine, const char *option) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setenv("RING3_TEST_ENGINE", engine, 1);
    execl(RING3, RING3, "run", "--kernel", kernel, "--memory", "8M", option, (char *)NULL);
    _exit(126);
}

static struct program start(const char *engine, const char *option) {
    int in[2], out[2], err[2];
    ck_assert(!pipe2(in, O_CLOEXEC) && !pipe2(out, O_CLOEXEC) && !pipe2(err, O_CLOEXEC));
    struct program program = {.in = in[1], .out = out[0], .err = err[0]};
    program.pid = fork();
    if (!program.pid) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        exec_program(engine, option);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    return program;
}

static struct program start_on_terminal(const char *engine) {
    struct program program;
    int slave;
    ck_assert_int_eq(openpty(&program.out, &slave, NULL, NULL, NULL), 0);
    ck_assert_int_eq(tcgetattr(slave, &program.terminal), 0);
    program.in = program.err = program.out;
    program.pid = fork();
    if (!program.pid) {
        close(program.out);
        login_tty(slave);
        exec_program(engine, NULL);
    }
    program.slave = slave; /* held, so that the settings outlive the program */
    return program;
}

/* Reads until `wanted` has come (NULL: the end) and returns all in a static buffer. */
static const char *read_until(int fd, const char *wanted) {
    static char text[2 << 20];
    size_t used = 0;
    text[0] = 0;
    while (!wanted || !strstr(text, wanted)) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ck_assert_msg(poll(&ready, 1, PATIENCE_MS) == 1, "nothing more after '%s'", text);
        ssize_t got = read(fd, text + used, sizeof text - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
        text[used] = 0;
    }
    ck_assert_msg(!wanted || strstr(text, wanted), "'%s' does not have '%s'", text, wanted);
    return text;
}

static int finish(struct program *program) {
    int status;
    ck_assert_int_eq(waitpid(program->pid, &status, 0), program->pid);
    return status;
}

static void ck_exited(struct program *program, int expected) {
    int status = finish(program);
    ck_assert_msg(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
    ck_assert_int_eq(WEXITSTATUS(status), expected);
}

static void ck_terminal_restored(struct program *program) {
    struct termios now;
    ck_assert_int_eq(tcgetattr(program->slave, &now), 0);
    ck_assert_uint_eq(now.c_lflag, program->terminal.c_lflag);
    ck_assert_uint_eq(now.c_iflag, program->terminal.c_iflag);
    ck_assert_uint_eq(now.c_oflag, program->terminal.c_oflag);
}

/* The vCPU process of a running program. */
static pid_t vcpu_of(pid_t monitor) {
    char path[64], line[64] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", monitor, monitor);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
    fclose(file);
    return (pid_t)strtol(line, NULL, 10);
}

static void pause_ms(long ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

START_TEST(serial_output_reaches_standard_output) {
    struct program program = start("hello", NULL);
    ck_assert_str_eq(read_until(program.out, NULL), "hello\n");
    ck_assert_str_eq(read_until(program.err, NULL), "");
    ck_exited(&program, 0);
}
END_TEST

START_TEST(piped_input_reaches_the_guest_control_a_included) {
    struct program program = start("echo", NULL);
    ck_assert_int_eq(write(program.in, "ab\1xq", 5), 5);
    ck_assert_str_eq(read_until(program.out, NULL), "ready\nab\1xq");
    ck_exited(&program, 0);
}
END_TEST

START_TEST(more_input_than_the_ring_holds_arrives_whole) {
    struct program program = start("echo", NULL);
    static char text[50001];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 2] = 'q';
    if (fork() == 0)
        _exit(write(program.in, text, sizeof text - 1) < 0);
    const char *got = read_until(program.out, NULL);
    ck_assert_uint_eq(strlen(got), 6 + sizeof text - 1);
    ck_assert_str_eq(got + 6, text);
    ck_exited(&program, 0);
}
END_TEST

START_TEST(end_of_input_does_not_stop_the_guest) {
    struct program program = start("echo", NULL);
    close(program.in);
    read_until(program.out, "ready\n");
    pause_ms(50);
    ck_assert_int_eq(waitpid(program.pid, NULL, WNOHANG), 0);
    kill(program.pid, SIGTERM);
    int status = finish(&program);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}
END_TEST

START_TEST(output_waits_for_a_slow_reader_and_is_whole) {
    struct program program = start("flood", NULL);
    pause_ms(300);
    const char *text = read_until(program.out, NULL);
    ck_assert_uint_eq(strlen(text), 1000000);
    for (unsigned i = 0; i < 1000000; i++)
        ck_assert(text[i] == (char)('a' + i % 26));
    ck_exited(&program, 0);
}
END_TEST

START_TEST(reader_that_never_reads_does_not_keep_a_signal_from_stopping) {
    struct program program = start("flood", NULL);
    pause_ms(300);
    kill(program.pid, SIGINT);
    int status = finish(&program);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}
END_TEST

START_TEST(closed_output_is_a_host_failure) {
    struct program program = start("flood", NULL);
    close(program.out);
    read_until(program.err, "cannot write to serial output: Broken pipe\n");
    ck_exited(&program, 1);
}
END_TEST

START_TEST(debug_console_goes_to_standard_error) {
    struct program program = start("debug-console", NULL);
    ck_assert_str_eq(read_until(program.err, NULL), "from 0xe9\n");
    ck_exited(&program, 0);
}
END_TEST

START_TEST(reset_starts_the_machine_again) {
    struct program program = start("reset", NULL);
    ck_assert_str_eq(read_until(program.out, NULL), "boot\nboot\nboot\n");
    ck_exited(&program, 0);
}
END_TEST

START_TEST(reset_ends_it_when_told_so) {
    struct program program = start("reset", "--no-reboot");
    ck_assert_str_eq(read_until(program.out, NULL), "boot\n");
    ck_exited(&program, 0);
}
END_TEST

START_TEST(serial_none_is_silent) {
    struct program program = start("hello", "--serial=none");
    ck_assert_str_eq(read_until(program.out, NULL), "");
    ck_exited(&program, 0);
}
END_TEST

/* How machines end: engine, exit status, what standard error says. */
static const struct {
    const char *engine;
    int status;
    const char *says[4];
} endings[] = {
    {"debug-exit", 11, {""}},
    {"triple-fault",
     3,
     {"triple fault", "=> 00200006  0f 0b", "page walk of CR2 deadbeef", "mov eax, 0x12345678"}},
    {"errno", 1, {"Cannot allocate memory"}},
    {"crash", 1, {"killed by SIGSEGV", "EIP"}},
#ifndef RING3_SANITIZED
    {"forbidden", 1, {"sandbox forbids"}},
#endif
    {"nothing", 1, {"ended unexpectedly"}},
};

START_TEST(ending_is_reported_and_has_its_status) {
    struct program program = start(endings[_i].engine, NULL);
    const char *text = read_until(program.err, NULL);
    for (unsigned i = 0; i < 4 && endings[_i].says[i]; i++)
        ck_assert_msg(strstr(text, endings[_i].says[i]) != NULL, "'%s' lacks '%s'", text,
                      endings[_i].says[i]);
    ck_exited(&program, endings[_i].status);
}
END_TEST

START_TEST(stats_are_json_with_every_counter) {
    struct program program = start("unclaimed", "--stats=json");
    json_t *root = json_loads(read_until(program.err, NULL), 0, NULL);
    ck_assert_ptr_nonnull(root);
    json_t *reads = json_object_get(json_object_get(root, "counters"), "port_reads");
    ck_assert_int_ge(json_integer_value(reads), 1);
    ck_assert_str_eq(json_string_value(json_object_get(root, "exit")), "power-off");
    ck_assert_ptr_nonnull(json_object_get(json_object_get(root, "callouts"), "cpuid"));
    json_decref(root);
    ck_exited(&program, 0);
}
END_TEST

START_TEST(trace_reaches_standard_error) {
    struct program program = start("unclaimed", "--log=port");
    ck_assert_ptr_nonnull(strstr(read_until(program.err, NULL), "eeee"));
    ck_exited(&program, 0);
}
END_TEST

START_TEST(user_callout_runs_inside_the_sandbox) {
    struct program program =
        start("user-callout", "--callout=cr3-write=" TRACE_CR3 ":on_cr3(u32,u32)");
    ck_assert_str_eq(read_until(program.err, NULL), "cr3 00001000 -> 00002000\n");
    ck_exited(&program, 0);
}
END_TEST

START_TEST(terminal_is_raw_while_running_and_control_a_x_quits) {
    struct program program = start_on_terminal("echo");
    struct termios now;
    read_until(program.out, "ready");
    ck_assert_int_eq(tcgetattr(program.slave, &now), 0);
    ck_assert_uint_eq(now.c_lflag & (ICANON | ECHO | ISIG), 0);
    ck_assert_int_eq(write(program.in, "a\3b", 3), 3);
    read_until(program.out, "a\3b");
    ck_assert_int_eq(write(program.in, "\1h", 2), 2);
    read_until(program.out, "Ctrl-A x");
    ck_assert_int_eq(write(program.in, "c\1\1d", 4), 4);
    read_until(program.out, "c\1d");
    ck_assert_int_eq(write(program.in, "\1x", 2), 2);
    ck_exited(&program, 0);
    ck_terminal_restored(&program);
}
END_TEST

START_TEST(control_a_n_raises_an_nmi) {
    struct program program = start_on_terminal("nmi");
    read_until(program.out, "ready");
    ck_assert_int_eq(write(program.in, "\1n", 2), 2);
    read_until(program.out, "NMI");
    ck_exited(&program, 0);
}
END_TEST

static const int ending_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGSEGV, SIGABRT};

START_TEST(terminal_is_restored_after_a_signal_to_the_monitor) {
    struct program program = start_on_terminal("echo");
    read_until(program.out, "ready");
    kill(program.pid, ending_signals[_i]);
    int status = finish(&program);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == ending_signals[_i]);
    ck_terminal_restored(&program);
}
END_TEST

START_TEST(terminal_is_restored_when_the_vcpu_process_dies) {
    struct program program = start_on_terminal("echo");
    read_until(program.out, "ready");
    kill(vcpu_of(program.pid), SIGKILL);
    read_until(program.out, "killed by SIGKILL");
    ck_exited(&program, 1);
    ck_terminal_restored(&program);
}
END_TEST

START_TEST(vcpu_process_that_does_not_stop_is_killed) {
    struct program program = start_on_terminal("deaf");
    read_until(program.out, "ready");
    ck_assert_int_eq(write(program.in, "\1x", 2), 2);
    read_until(program.out, "did not stop");
    ck_exited(&program, 1);
    ck_terminal_restored(&program);
}
END_TEST

START_TEST(vcpu_process_dies_with_the_monitor) {
    struct program program = start("deaf", NULL);
    read_until(program.out, "ready");
    kill(program.pid, SIGKILL);
    finish(&program);
    /* It holds the other end of standard error until it is gone. */
    ck_assert_str_eq(read_until(program.err, NULL), "");
}
END_TEST

static long context_switches(pid_t pid) {
    char path[64], line[128];
    long count = -1;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file) && count < 0)
        if (sscanf(line, "voluntary_ctxt_switches: %ld", &count) != 1)
            count = -1;
    fclose(file);
    ck_assert_int_ge(count, 0);
    return count;
}

START_TEST(monitor_is_blocked_when_nothing_happens) {
    struct program program = start("echo", NULL);
    read_until(program.out, "ready");
    pause_ms(200);
    long before = context_switches(program.pid);
    pause_ms(500);
    ck_assert_int_eq(context_switches(program.pid), before);
    kill(program.pid, SIGTERM);
    finish(&program);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("monitor");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_kernel, remove_kernel);
    tcase_add_test(tests, serial_output_reaches_standard_output);
    tcase_add_test(tests, piped_input_reaches_the_guest_control_a_included);
    tcase_add_test(tests, more_input_than_the_ring_holds_arrives_whole);
    tcase_add_test(tests, end_of_input_does_not_stop_the_guest);
    tcase_add_test(tests, output_waits_for_a_slow_reader_and_is_whole);
    tcase_add_test(tests, reader_that_never_reads_does_not_keep_a_signal_from_stopping);
    tcase_add_test(tests, closed_output_is_a_host_failure);
    tcase_add_test(tests, debug_console_goes_to_standard_error);
    tcase_add_test(tests, reset_starts_the_machine_again);
    tcase_add_test(tests, reset_ends_it_when_told_so);
    tcase_add_test(tests, serial_none_is_silent);
    tcase_add_loop_test(tests, ending_is_reported_and_has_its_status, 0,
                        sizeof endings / sizeof *endings);
    tcase_add_test(tests, stats_are_json_with_every_counter);
    tcase_add_test(tests, trace_reaches_standard_error);
    tcase_add_test(tests, user_callout_runs_inside_the_sandbox);
    tcase_add_test(tests, terminal_is_raw_while_running_and_control_a_x_quits);
    tcase_add_test(tests, control_a_n_raises_an_nmi);
    tcase_add_loop_test(tests, terminal_is_restored_after_a_signal_to_the_monitor, 0,
                        sizeof ending_signals / sizeof *ending_signals);
    tcase_add_test(tests, terminal_is_restored_when_the_vcpu_process_dies);
    tcase_add_test(tests, vcpu_process_that_does_not_stop_is_killed);
    tcase_add_test(tests, vcpu_process_dies_with_the_monitor);
    tcase_add_test(tests, monitor_is_blocked_when_nothing_happens);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
