/* A plugin that does everything wrong that the interface lets it try. Every call must get the error
 * that it deserves, and the guest must run on.
 *
 *   --plugin misbehave.so,out=FILE
 *
 * FILE gets a line for each kind of call: "ok NAME" or "FAILED NAME: status N". */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "include/ring3/plugin.h"

RING3_PLUGIN();

#define BAD ((void *)16)
#define FAR ((void *)0x8000000000000000u) /* no address at all */
#define HUGE_LENGTH ((size_t)1 << 62)

static const struct ring3_api *api;
static ring3_handle out, closed, counter;
static unsigned done[RING3_EVENT_COUNT];

static void expect(const char *name, int status, int wanted) {
    char line[160];
    int len = status == wanted
                  ? snprintf(line, sizeof line, "ok %s\n", name)
                  : snprintf(line, sizeof line, "FAILED %s: status %d\n", name, status);
    api->write_output(out, line, (size_t)len);
}
#define EXPECT(call, wanted) expect(#call, (call), (wanted))

static void callback(void *opaque, const struct ring3_event *event) { (void)opaque, (void)event; }
static ring3_callback const no_code = (ring3_callback)16;

static void at_any_event(void) {
    uint32_t value;
    uint64_t wide;
    uint8_t bytes[8];
    void *memory;
    EXPECT(api->subscribe("hlt", callback, NULL), RING3_WRONG_TIME);
    EXPECT(api->subscribe_typed("hlt", "u32", (void (*)(void))callback), RING3_WRONG_TIME);
    EXPECT(api->open_output("late", &closed), RING3_WRONG_TIME);
    EXPECT(api->refuse("late"), RING3_WRONG_TIME);
    EXPECT(api->write_output(closed, "x", 1), RING3_BAD_HANDLE);
    EXPECT(api->close_output(closed), RING3_BAD_HANDLE);
    EXPECT(api->write_output(0, "x", 1), RING3_BAD_HANDLE);
    EXPECT(api->write_output(counter, "x", 1), RING3_BAD_HANDLE);
    EXPECT(api->write_output(out ^ (1ull << 48), "x", 1), RING3_BAD_HANDLE);
    EXPECT(api->write_output(out, BAD, 1), RING3_BAD_POINTER);
    EXPECT(api->write_output(out, FAR, 1), RING3_BAD_POINTER);
    EXPECT(api->write_output(RING3_STDERR, BAD, 1), RING3_BAD_POINTER);
    EXPECT(api->write_output(out, "x", HUGE_LENGTH), RING3_BAD_ARGUMENT);
    EXPECT(api->alloc(0, &memory), RING3_BAD_ARGUMENT);
    EXPECT(api->alloc(HUGE_LENGTH, &memory), RING3_BAD_ARGUMENT);
    EXPECT(api->alloc(16, BAD), RING3_BAD_POINTER);
    EXPECT(api->read_counter(out, &wide), RING3_BAD_HANDLE);
    EXPECT(api->read_counter(counter + 1, &wide), RING3_BAD_HANDLE);
    EXPECT(api->read_counter(counter, BAD), RING3_BAD_POINTER);
    EXPECT(api->set_counter(~0ull, 1), RING3_BAD_HANDLE);
    EXPECT(api->read_linear(0x1000, BAD, 4), RING3_BAD_POINTER);
    EXPECT(api->read_linear(0x1000, FAR, 4), RING3_BAD_POINTER);
    EXPECT(api->read_linear(0x1000, bytes, HUGE_LENGTH), RING3_BAD_ARGUMENT);
    EXPECT(api->read_linear(0xfffffffe, bytes, 8), RING3_BAD_ARGUMENT);
    EXPECT(api->read_linear(0x1000, (void *)(uintptr_t)api, 8), RING3_BAD_POINTER);
    EXPECT(api->read_string(0x1000, (char *)bytes, 0), RING3_BAD_ARGUMENT);
    EXPECT(api->read_string(0x1000, BAD, 8), RING3_BAD_POINTER);
    EXPECT(api->read_physical(~0ull, bytes, 8), RING3_BAD_ARGUMENT);
    EXPECT(api->read_physical(0xfe000000, bytes, 8), RING3_NO_MEMORY);
    EXPECT(api->find_physical(0x1000, BAD), RING3_BAD_POINTER);
    EXPECT(api->get_register(RING3_REGISTER_COUNT, &value), RING3_BAD_ARGUMENT);
    EXPECT(api->get_register(RING3_EAX, BAD), RING3_BAD_POINTER);
}

/* The monitor's own memory: windows, and what the process has mapped for itself. */
static void into_the_monitor(void) {
    uint32_t value;
    EXPECT(api->get_register(RING3_EAX, (uint32_t *)0x100000000000), RING3_BAD_POINTER);
    EXPECT(api->get_register(RING3_EAX, (uint32_t *)0x100000400000), RING3_BAD_POINTER);
    EXPECT(api->get_register(RING3_EAX, &value), RING3_OK);
}

static void not_stopped(void) {
    uint32_t value = 0;
    struct ring3_insn insn = {.size = sizeof insn};
    EXPECT(api->write_linear(0x1000, &value, 4), RING3_WRONG_TIME);
    EXPECT(api->write_physical(0x1000, &value, 4), RING3_WRONG_TIME);
    EXPECT(api->set_register(RING3_EAX, 0), RING3_WRONG_TIME);
    EXPECT(api->get_insn(0, &insn), RING3_WRONG_TIME);
    EXPECT(api->count(0, counter), RING3_WRONG_TIME);
    EXPECT(api->sample(0, 1, callback, NULL), RING3_WRONG_TIME);
    EXPECT(api->on_execute(0, callback, NULL), RING3_WRONG_TIME);
    EXPECT(api->on_memory(0, callback, NULL), RING3_WRONG_TIME);
}

static void on_event(void *opaque, const struct ring3_event *event) {
    (void)opaque;
    if (done[event->kind]++)
        return;
    at_any_event();
    into_the_monitor();
    not_stopped();
}

static void on_callout(void *opaque, const struct ring3_event *event) {
    (void)opaque;
    if (done[event->kind]++)
        return;
    EXPECT(api->set_register(RING3_REGISTER_COUNT, 0), RING3_BAD_ARGUMENT);
    EXPECT(api->set_register(RING3_CR3, 0), RING3_BAD_ARGUMENT);
    EXPECT(api->set_register(RING3_EIP, 0), RING3_WRONG_TIME);
    EXPECT(api->write_linear(0x1000, BAD, 4), RING3_BAD_POINTER);
    EXPECT(api->write_physical(0x1000, BAD, 0x1000000), RING3_BAD_ARGUMENT);
    EXPECT(api->write_physical(0xfe000000, &done, 4), RING3_NO_MEMORY);
}

static void *from_a_thread(void *opaque) {
    int *status = opaque;
    *status = api->write_output(out, "x", 1);
    return NULL;
}

static void on_translate(void *opaque, const struct ring3_event *event) {
    struct ring3_insn insn = {.size = sizeof insn}, small = {.size = 3}, large = {.size = ~0u};
    int status = RING3_OK;
    unsigned asked = 0;
    (void)opaque;
    if (done[event->kind]++)
        return;
    uint32_t beyond = (uint32_t)event->translate.insns;
    EXPECT(api->get_insn(0, &insn), RING3_OK);
    EXPECT(api->get_insn(beyond, &insn), RING3_BAD_ARGUMENT);
    EXPECT(api->get_insn(0, &small), RING3_BAD_ARGUMENT);
    EXPECT(api->get_insn(0, &large), RING3_BAD_ARGUMENT);
    EXPECT(api->get_insn(0, BAD), RING3_BAD_POINTER);
    EXPECT(api->count(beyond, counter), RING3_BAD_ARGUMENT);
    EXPECT(api->count(0, counter + 7), RING3_BAD_HANDLE);
    EXPECT(api->count(0, out), RING3_BAD_HANDLE);
    EXPECT(api->sample(0, 0, callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->sample(0, 1, NULL, NULL), RING3_BAD_POINTER);
    EXPECT(api->on_execute(0, no_code, NULL), RING3_BAD_POINTER);
    EXPECT(api->on_execute(~0u, callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->on_memory(0, (ring3_callback)(uintptr_t)&out, NULL), RING3_BAD_POINTER);
    while (status == RING3_OK && asked++ < 100000)
        status = api->on_execute(0, callback, NULL);
    EXPECT(status, RING3_NO_ROOM);
}

static void in_the_start(void) {
    uint32_t value;
    pthread_t thread;
    int status = RING3_OK;
    char long_name[600];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    EXPECT(api->subscribe("no such event", callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe("execute", callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe("entry@nowhere", callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe("entry@0x123456789", callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe(long_name, callback, NULL), RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe(NULL, callback, NULL), RING3_BAD_POINTER);
    EXPECT(api->subscribe(FAR, callback, NULL), RING3_BAD_POINTER);
    EXPECT(api->subscribe("hlt", NULL, NULL), RING3_BAD_POINTER);
    EXPECT(api->subscribe("hlt", no_code, NULL), RING3_BAD_POINTER);
    EXPECT(api->subscribe_typed("hlt", "u31", (void (*)(void))callback), RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe_typed("hlt", "u8,u8,u8,u8", (void (*)(void))callback),
           RING3_BAD_ARGUMENT);
    EXPECT(api->subscribe_typed("hlt", BAD, (void (*)(void))callback), RING3_BAD_POINTER);
    EXPECT(api->open_output("/nowhere/file", &closed), RING3_HOST);
    EXPECT(api->open_output("", &closed), RING3_BAD_ARGUMENT);
    EXPECT(api->open_output("/dev/null", BAD), RING3_BAD_POINTER);
    EXPECT(api->open_output(NULL, &closed), RING3_BAD_POINTER);
    EXPECT(api->refuse(BAD), RING3_BAD_POINTER);
    EXPECT(api->read_linear(0, &value, 4), RING3_WRONG_TIME);
    EXPECT(api->get_register(RING3_EAX, &value), RING3_WRONG_TIME);
    EXPECT(api->count(0, counter), RING3_WRONG_TIME);
    if (!pthread_create(&thread, NULL, from_a_thread, &status))
        pthread_join(thread, NULL);
    EXPECT(status, RING3_WRONG_TIME);
    EXPECT(api->open_output("/dev/null", &closed), RING3_OK);
    EXPECT(api->close_output(closed), RING3_OK);
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    static const char *const all[] = {"begin",        "end",        "fetch",  "enter", "exit",
                                      "hidden-fault", "true-fault", "inject", "io"};
    api = given;
    if (argc < 2 || strncmp(argv[1], "out=", 4) != 0 || api->open_output(argv[1] + 4, &out) ||
        api->new_counter(&counter))
        return 1;
    in_the_start();
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
        EXPECT(api->subscribe(all[i], on_event, NULL), RING3_OK);
    EXPECT(api->subscribe("callout", on_callout, NULL), RING3_OK);
    EXPECT(api->subscribe("translate", on_translate, NULL), RING3_OK);
    int status = RING3_OK;
    for (unsigned i = 0; i < 1000 && status == RING3_OK; i++)
        status = api->subscribe("wbinvd", callback, NULL);
    EXPECT(status, RING3_NO_ROOM);
    return 0;
}
