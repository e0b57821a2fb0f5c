/* A plugin that counts every event and looks at what comes with it; a typed function beside it must
 * be called as often and see the same.
 *
 *   --plugin events.so,out=FILE      "name: COUNT" for each, and "wrong: ..." for what cannot be.
 */
#include <stdio.h>
#include <string.h>

#include "include/ring3/plugin.h"

RING3_PLUGIN();

static const struct ring3_api *api;
static ring3_handle out;
static uint64_t count[RING3_EVENT_COUNT], typed_io, typed_spaces, last_space;
static unsigned classes;
static const char *const names[RING3_EVENT_COUNT] = {
#define NAME(id, name, values) name,
    RING3_EVENTS(NAME)
#undef NAME
};

static void print(const char *text) { api->write_output(out, text, strlen(text)); }

static void wrong(const char *what, const struct ring3_event *event) {
    char line[160];
    snprintf(line, sizeof line, "wrong: %s in %s (%llx %llx %llx)\n", what, names[event->kind],
             (unsigned long long)event->value[0], (unsigned long long)event->value[1],
             (unsigned long long)event->value[2]);
    print(line);
}

static uint32_t get(enum ring3_register reg) {
    uint32_t value = 0;
    return api->get_register(reg, &value) ? 0 : value;
}

static void check(const struct ring3_event *event) {
    uint64_t physical;
    switch (event->kind) {
    case RING3_EVENT_TRANSLATE:
        if (!event->translate.insns || event->translate.bytes < event->translate.insns ||
            api->find_physical((uint32_t)event->translate.address, &physical) ||
            physical != event->translate.physical)
            wrong("fragment", event);
        break;
    case RING3_EVENT_HIDDEN_FAULT:
        if (api->find_physical((uint32_t)event->hidden_fault.address, &physical) ||
            physical != event->hidden_fault.physical || event->hidden_fault.eip != get(RING3_EIP))
            wrong("page", event);
        break;
    case RING3_EVENT_INJECT:
        if (event->inject.vector > 31)
            wrong("vector", event);
        break;
    case RING3_EVENT_SYSCALL:
        if (get(RING3_CPL) != 3 || event->syscall.number != get(RING3_EAX))
            wrong("state", event);
        break;
    case RING3_EVENT_USER_RETURN:
        if (get(RING3_CPL) != 3 || event->user_return.esp != get(RING3_ESP) ||
            event->user_return.eip != get(RING3_EIP))
            wrong("state", event);
        break;
    case RING3_EVENT_ADDRESS_SPACE:
        last_space = event->address_space.after;
        if (last_space != get(RING3_CR3))
            wrong("CR3", event);
        break;
    case RING3_EVENT_IO:
        if (event->io.size != 1 && event->io.size != 2 && event->io.size != 4)
            wrong("size", event);
        break;
    default:
        if (event->size < sizeof *event || event->kind >= RING3_EVENT_COUNT)
            wrong("event", event);
    }
}

static void on_event(void *opaque, const struct ring3_event *event) {
    count[event->kind]++;
    if (opaque != &count)
        wrong("opaque", event);
    check(event);
}

static void on_class(void *opaque, const struct ring3_event *event) {
    (void)opaque;
    classes++;
    if (strcmp(api->callout_name(event->callout.callout), "cpuid") != 0)
        wrong("class", event);
}

static void on_typed_io(uint16_t port, uint8_t size, uint32_t value, uint8_t write) {
    (void)port, (void)size, (void)value, (void)write;
    typed_io++;
}

static void on_typed_space(uint32_t before, uint32_t after) {
    (void)before;
    typed_spaces += after == last_space;
}

static void on_end(void *opaque, const struct ring3_event *event) {
    char line[80];
    on_event(opaque, event);
    for (unsigned i = 0; i < RING3_EVENT_COUNT; i++) {
        snprintf(line, sizeof line, "%s: %llu\n", names[i], (unsigned long long)count[i]);
        print(line);
    }
    snprintf(line, sizeof line, "cpuid: %u\n", classes);
    print(line);
    if (typed_io != count[RING3_EVENT_IO] || typed_spaces != count[RING3_EVENT_ADDRESS_SPACE])
        wrong("typed functions", event);
    print("done\n");
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    int status = RING3_OK;
    api = given;
    if (argc < 2 || strncmp(argv[1], "out=", 4) != 0 || api->open_output(argv[1] + 4, &out))
        return 1;
    for (unsigned i = 0; i < RING3_EVENT_ENTRY; i++)
        if (i != RING3_EVENT_END)
            status |= api->subscribe(names[i], on_event, &count);
    for (unsigned i = RING3_EVENT_ENTRY + 1; i < RING3_EVENT_EXECUTE; i++)
        status |= api->subscribe(names[i], on_event, &count);
    status |= api->subscribe("end", on_end, &count);
    status |= api->subscribe("cpuid", on_class, NULL);
    status |= api->subscribe_typed("io", "u16,u8,u32,u8", (void (*)(void))on_typed_io);
    status |= api->subscribe_typed("address-space", "u32,u32", (void (*)(void))on_typed_space);
    return status;
}
