/* A child process that is talked to by lines: its standard input, and its output and errors as one
 * stream. It dies with us. */
#ifndef RING3_BENCH_HOST_CHILD_H
#define RING3_BENCH_HOST_CHILD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_LINE_MAX 1024

struct child {
    pid_t pid; /* 0: none */
    int input, output;
    char pending[CHILD_LINE_MAX];
    size_t pending_len;
    char last[CHILD_LINE_MAX]; /* for reports: the last line with something in it, or the first reason
                                */
};

enum child_event { CHILD_LINE, CHILD_ENDED, CHILD_LATE };

/* 0, or a negative errno. */
int child_start(struct child *child, const char *const *argv);
/* The next line, without its end and without control characters, cut at `size`. */
enum child_event child_read(struct child *child, char *line, size_t size, uint64_t deadline_ns);
/* 0, or a negative errno. */
int child_send(struct child *child, const char *text);
/* Kills it, if it is there, and waits for it. */
void child_stop(struct child *child);
/* Waits for one that has closed its output, kills it at the deadline. Returns what waitpid() says.
 */
int child_finish(struct child *child, uint64_t deadline_ns);

/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);
#define SECONDS_NS 1000000000ull

#endif
