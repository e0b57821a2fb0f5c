/* The table of event sources (sources.h). */
#include "inspect/sources.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <time.h>

uint64_t sources_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int sources_add(struct sources *sources, struct source *source) {
    assert(source->serve);
    for (unsigned i = 0; i < SOURCES_MAX; i++)
        if (!sources->list[i]) {
            sources->list[i] = source;
            if (i >= sources->count)
                sources->count = i + 1;
            return 0;
        }
    return -ENOSPC;
}

void sources_remove(struct sources *sources, struct source *source) {
    for (unsigned i = 0; i < sources->count; i++)
        if (sources->list[i] == source)
            sources->list[i] = NULL;
    while (sources->count && !sources->list[sources->count - 1])
        sources->count--;
}

unsigned sources_prepare(const struct sources *sources, struct pollfd polls[SOURCES_MAX]) {
    assert(sources->count <= SOURCES_MAX);
    for (unsigned i = 0; i < sources->count; i++) {
        const struct source *source = sources->list[i];
        polls[i] =
            (struct pollfd){.fd = source ? source->fd : -1, .events = source ? source->events : 0};
    }
    return sources->count;
}

int sources_patience(const struct sources *sources, int timeout) {
    uint64_t now = sources_now();
    for (unsigned i = 0; i < sources->count; i++) {
        const struct source *source = sources->list[i];
        if (!source || !source->deadline)
            continue;
        uint64_t left = source->deadline > now ? source->deadline - now : 0;
        if (left > INT_MAX)
            left = INT_MAX;
        if (timeout < 0 || (int)left < timeout)
            timeout = (int)left;
    }
    return timeout;
}

/* A source may have gone, and another have come into its slot, since the descriptors were polled.
 */
void sources_serve(struct sources *sources, const struct pollfd *polls, unsigned count) {
    uint64_t now = sources_now();
    assert(count <= SOURCES_MAX);
    for (unsigned i = 0; i < SOURCES_MAX; i++) {
        struct source *source = sources->list[i];
        if (!source)
            continue;
        bool polled = i < count && polls[i].fd >= 0 && polls[i].fd == source->fd;
        short ready = polled ? polls[i].revents : 0;
        if (ready || (source->deadline && source->deadline <= now))
            source->serve(source, ready);
    }
}
