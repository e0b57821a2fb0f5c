/* A plugin that puts everything before every instruction, for torture runs: a counter, a sampled
 * call, a call, and calls for memory operands. At the end it compares them: what the inline
 * counters say must be what the calls say, and a sample of each Nth must have come N times less
 * often.
 *
 *   --plugin instrument_all.so,out=FILE,every=7
 *
 * It also looks at every event there is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/ring3/plugin.h"

RING3_PLUGIN();

static const struct ring3_api *api;
static ring3_handle counter, out = RING3_STDERR;
static uint64_t every = 7;
static uint64_t asked, refused, executed, sampled, accesses, read_back, events[RING3_EVENT_COUNT];

/* Vector registers are the plugin's to use: what the guest has in them must survive. */
static void disturb(void) {
    __asm__ volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm1, %%xmm1; pcmpeqd %%xmm7, %%xmm7; "
                     "fldpi; fstp %%st(0)"
                     :
                     :
                     : "xmm0", "xmm1", "xmm7", "st");
}

static void on_event(void *opaque, const struct ring3_event *event) {
    (void)opaque;
    events[event->kind]++;
    disturb();
}

static void on_execute(void *opaque, const struct ring3_event *event) {
    (void)opaque, (void)event;
    executed++;
    disturb();
}

static void on_sample(void *opaque, const struct ring3_event *event) {
    (void)opaque, (void)event;
    sampled++;
}

static void on_memory(void *opaque, const struct ring3_event *event) {
    uint8_t byte;
    (void)opaque;
    accesses++;
    read_back += api->read_linear((uint32_t)event->memory.address, &byte, 1) == RING3_OK;
    disturb();
}

static void on_translate(void *opaque, const struct ring3_event *event) {
    (void)opaque;
    events[event->kind]++;
    for (uint32_t i = 0; i < event->translate.insns; i++) {
        int status = api->count(i, counter);
        status |= api->on_execute(i, on_execute, NULL);
        status |= api->on_memory(i, on_memory, NULL);
        asked++;
        refused += status != RING3_OK;
        if (every && !status && i % 4 == 0)
            api->sample(i, every, on_sample, NULL);
    }
}

static void on_end(void *opaque, const struct ring3_event *event) {
    char line[512];
    uint64_t counted = 0;
    (void)opaque, (void)event;
    api->read_counter(counter, &counted);
    int len = snprintf(
        line, sizeof line,
        "instrumented: %llu instructions of %llu refused, executed %llu counted %llu sampled %llu "
        "accesses %llu readable %llu\n",
        (unsigned long long)asked, (unsigned long long)refused, (unsigned long long)executed,
        (unsigned long long)counted, (unsigned long long)sampled, (unsigned long long)accesses,
        (unsigned long long)read_back);
    api->write_output(out, line, (size_t)len);
    if (counted != executed || refused || !executed)
        api->write_output(out, "instrumented: WRONG\n", 20);
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    static const char *const all[] = {
        "begin",    "fetch",  "link",         "enter",         "exit",    "callout",
        "cr-write", "inject", "hidden-fault", "true-fault",    "flush",   "invalidate",
        "io",       "mmio",   "irq",          "address-space", "syscall", "user-return",
    };
    int status = 0;
    api = given;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "every=", 6))
            every = strtoull(argv[i] + 6, NULL, 10);
        if (!strncmp(argv[i], "out=", 4))
            status |= api->open_output(argv[i] + 4, &out);
    }
    status |= api->new_counter(&counter);
    status |= api->subscribe("translate", on_translate, NULL);
    status |= api->subscribe("end", on_end, NULL);
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        status |= api->subscribe(all[i], on_event, NULL);
    return status;
}
