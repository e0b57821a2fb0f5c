/* Event sources of the monitor: descriptors and deadlines that its loop waits for.
 *
 * The monitor sleeps in one poll(). Whoever wants to be woken by it keeps a struct source alive and
 * adds it to the table; descriptor, events and deadline may be changed at any time between two
 * waits, and sources may be added and removed from within a serve function. Everything runs in the
 * monitor's one thread, so a serve function must not block. The table lasts over the machine's
 * resets. */
#ifndef RING3_INSPECT_SOURCES_H
#define RING3_INSPECT_SOURCES_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define SOURCES_MAX 64u

struct source {
    int fd;            /* -1: none to wait for */
    short events;      /* POLLIN, POLLOUT */
    uint64_t deadline; /* ms of sources_now(); 0: none. Stays until it is changed */
    /* Its descriptor is ready (`revents` is not 0), or its deadline has come. */
    void (*serve)(struct source *source, short revents);
    void *opaque;
};

struct sources {
    struct source *list[SOURCES_MAX]; /* with holes: NULL */
    unsigned count;
};

/* Milliseconds of a clock that only goes forward. */
uint64_t sources_now(void);
/* 0, or -ENOSPC. */
int sources_add(struct sources *sources, struct source *source);
/* Nothing happens if it is not there. */
void sources_remove(struct sources *sources, struct source *source);

/* The monitor's side. Fills one pollfd for each slot of the table; returns how many. */
unsigned sources_prepare(const struct sources *sources, struct pollfd polls[SOURCES_MAX]);
/* The shorter of `timeout` (ms, -1: for ever) and the time to the first deadline. */
int sources_patience(const struct sources *sources, int timeout);
/* Serves what is ready after a poll() of what sources_prepare made, then deadlines. */
void sources_serve(struct sources *sources, const struct pollfd *polls, unsigned count);

#endif
