/* The terminal on standard input. Output processing stays on, so that "\n" in our own messages
 * starts a line; everything typed, Ctrl-C included, goes to the guest. */
#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios found;
static volatile sig_atomic_t taken;

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS};
#define FAULT_SIGNALS (sizeof fault_signals / sizeof *fault_signals)

void terminal_restore(void) {
    if (taken)
        tcsetattr(STDIN_FILENO, TCSANOW, &found);
    taken = 0;
}

/* The handler is reset to the default when it is entered: raising again ends the process. */
static void restore_and_raise(int signal) {
    terminal_restore();
    raise(signal);
}

static void on_faults(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    for (unsigned i = 0; i < FAULT_SIGNALS; i++)
        sigaction(fault_signals[i], &action, NULL);
}

int terminal_enter_raw(void) {
    static bool registered;
    if (!taken && tcgetattr(STDIN_FILENO, &found))
        return -errno;
    if (!registered) {
        atexit(terminal_restore);
        on_faults(restore_and_raise);
        registered = true;
    }
    struct termios raw = found;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST;
    taken = 1;
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) ? -errno : 0;
}

void terminal_forget(void) {
    taken = 0;
    on_faults(SIG_DFL);
}
