/* Standard error. */
#include "bench/host/say.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_ 1024

static void clean(char *text) {
    for (; *text; text++)
        if (iscntrl((unsigned char)*text))
            *text = '?';
}

void say(const char *format, ...) {
    char line[LINE_MAX_];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    clean(line);
    say_progress_end();
    fprintf(stderr, "ring3: bench: %s\n", line);
}

void say_progress(const char *format, ...) {
    char line[80]; /* no wider, so that it can be taken back */
    va_list args;
    if (!isatty(STDERR_FILENO))
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    clean(line);
    fprintf(stderr, "\r%s\033[K", line);
}

void say_progress_end(void) {
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}
