/* The program but for its engine: which command, and with what. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/host/bench.h"
#include "cli/explain.h"
#include "cli/help.h"
#include "cli/report.h"
#include "cli/run.h"
#include "cli/symbols_command.h"
#include "cli/trace_command.h"
#include "guest/ring3_guest.h"

/* A descriptor that we open must never become standard input, output or error. */
static int ensure_standard_fds(void) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            return -1;
    } while (fd <= STDERR_FILENO);
    return close(fd);
}

/* The embedded guest as a file that the loader can open. Returns its descriptor, or -1. */
static int open_demo(void) {
    size_t size = (size_t)(ring3_demo_guest_end - ring3_demo_guest);
    assert(size > 0);
    int fd = memfd_create("demo guest", MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < size;) {
        ssize_t wrote = write(fd, ring3_demo_guest + done, size - done);
        if (wrote < 0) {
            close(fd);
            fd = -1;
        } else {
            done += (size_t)wrote;
        }
    }
    return fd;
}

int run_demo(struct options *options, engine_fn engine) {
    char path[64];
    int fd = open_demo();
    if (fd < 0) {
        report_line("cannot make a file of the embedded guest: %s", strerror(errno));
        return STATUS_HOST_FAILURE;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    options->load.kernel = path;
    int status = run_machine(options, engine);
    close(fd);
    return status;
}

/* Text that could not be written is a failure (a full disk, a closed pipe). */
static int flush_output(void) {
    if (!fflush(stdout) && !ferror(stdout))
        return STATUS_OK;
    report_line("cannot write to standard output: %s", strerror(errno));
    return STATUS_HOST_FAILURE;
}

int cli_main(int argc, char **argv, engine_fn engine) {
    struct options options;
    struct error error;
    if (ensure_standard_fds())
        return STATUS_HOST_FAILURE;
    if (options_parse(&options, argc, argv, &error)) {
        report_line("%s", error.text);
        return STATUS_BAD_INPUT;
    }
    switch (options.command) {
    case COMMAND_RUN:
    case COMMAND_PROFILE:
        return run_machine(&options, engine);
    case COMMAND_DEMO:
        return run_demo(&options, engine);
    case COMMAND_BENCH:
        return bench_main(argc - 1, argv + 1);
    case COMMAND_EXPLAIN:
        return explain_main(argc - 1, argv + 1, engine);
    case COMMAND_TRACE:
        return trace_command(&options);
    case COMMAND_SYMBOLS:
        return symbols_main(argc - 1, argv + 1);
    case COMMAND_HELP:
        help_print();
        break;
    case COMMAND_VERSION:
        help_print_version();
        break;
    case COMMAND_HELP_CALLOUTS:
        help_print_callouts();
        break;
    case COMMAND_HELP_INSTRUCTIONS:
        help_print_instructions();
        break;
    }
    return flush_output();
}
