/* The observatory: one page of ours over HTTP that shows a machine while it runs.
 *
 *     monitor --- fork ---+- vCPU process: puts its tables into shared memory
 *        |                `- web process: HTTP; reads what is shared
 *        +--- socketpair ---'     console output one way; input, pause, step, resume the other
 *
 * The server is a process of its own for each machine: an HTTP peer that breaks it gets neither the
 * terminal nor the guest's files, and no slow peer ever keeps the monitor waiting. It maps all that
 * it looks at read-only, and its sandbox knows no way to open anything. The listening socket and
 * the token last over the guest's resets. */
#ifndef RING3_INSPECT_WEB_H
#define RING3_INSPECT_WEB_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/error.h"
#include "inspect/web_address.h"
#include "runtime/inspection.h"
#include "runtime/vcpu.h"

/* What is looked at; all of it mapped before any fork and shared with the vCPU process. The
 * pointers lead into the machine's arena, where the guest may change everything once it runs: so
 * arenas and RAM are copies, and no pointer in the arena is followed. */
struct web_subject {
    struct arena arena;  /* the machine's, in which the vCPU lies */
    struct arena tables; /* the engine's (engine_view.h) */
    struct ram ram;
    const struct ram *live_ram; /* for what legacy segments show now */
    const struct vcpu *v;
    const struct clock *clock;
    const struct counters *counters;
    const struct inspection *inspection;
    const struct byte_ring *input; /* of the serial port: is there room? */
    const char *symbols;           /* a file with the guest's symbols, or NULL */
    unsigned boot;                 /* machines before this one */
};

/* Messages on the channel: one byte of these, then at most WEB_MESSAGE_MAX bytes. */
enum web_message {
    WEB_CONSOLE = 'o', /* to the web process: bytes of the serial port */
    WEB_END = 'e',     /* ... the machine has ended, and how */
    WEB_INPUT = 'i',   /* from it: bytes for the serial port */
    WEB_PAUSE = 'p',
    WEB_STEP = 's',
    WEB_RESUME = 'r',
    WEB_WATCHED = 'w', /* one byte: does anybody look on? Only then are samples wanted */
};
#define WEB_MESSAGE_MAX 4096u

/* The monitor's end of one. */
struct web_process {
    pid_t pid;   /* 0: there is none */
    int channel; /* a packet socket that never blocks, or -1 */
};

/* Starts the web process. Call it after the vCPU process has been forked, which must not inherit
 * the channel. 0, or a negative errno. */
int web_start(struct web_process *web, const struct web_listener *listener,
              const struct web_subject *subject);
/* Tells it what the guest has sent. What the process is too slow for is dropped. */
void web_console(struct web_process *web, const uint8_t *bytes, size_t len);
/* Takes one message: returns its kind with its bytes in `to`, 0 when there is none, -1 when the
 * process is gone. */
int web_receive(struct web_process *web, uint8_t to[WEB_MESSAGE_MAX], size_t *len);
/* The machine has ended; so does the web process, soon. Returns its wait status. */
int web_stop(struct web_process *web, const char *how);

#endif
