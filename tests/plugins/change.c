/* A plugin that changes the guest of changed_guest.c: registers, flags, memory, code, and where it
 * goes on. */
#include <string.h>

#include "include/ring3/plugin.h"

RING3_PLUGIN();

static const struct ring3_api *api;
static ring3_handle out;
static unsigned calls;

static void wrong_unless(int good, const char *what) {
    if (!good) {
        api->write_output(out, "wrong: ", 7);
        api->write_output(out, what, strlen(what));
        api->write_output(out, "\n", 1);
    }
}

/* The second time the code behind the call is another one. */
static void on_syscall(void *opaque, const struct ring3_event *event) {
    static const uint8_t five = 5;
    uint64_t physical = 0;
    char text[8] = "";
    (void)opaque;
    if (event->syscall.vector != 0x80)
        return; /* how the guest ends its piece of code */
    wrong_unless(event->syscall.number == 20, "call");
    wrong_unless(!api->read_string(0x40010000, text, sizeof text) && !strcmp(text, "hello"),
                 "string");
    wrong_unless(!api->write_linear(0x40010000, "HE", 2), "write");
    wrong_unless(!api->find_physical(0x40010002, &physical) &&
                     !api->write_physical(physical, "LLO", 3),
                 "physical write");
    wrong_unless(api->write_linear(0x40011000, "x", 1) == RING3_NOT_PRESENT, "write to the hole");
    wrong_unless(api->write_linear(0x40010ffe, "xxxx", 4) == RING3_NOT_PRESENT,
                 "write into the hole");
    if (calls++)
        wrong_unless(!api->write_linear(0x4000000a, &five, 1), "write of code");
    api->set_register(RING3_ESI, 0x12345678);
}

static void on_return(void *opaque, const struct ring3_event *event) {
    (void)opaque;
    if (event->user_return.eip == 0x40000007)
        wrong_unless(!api->set_register(RING3_EAX, 77), "result");
}

static void on_entry(void *opaque, const struct ring3_event *event) {
    uint32_t flags = 0;
    (void)opaque;
    wrong_unless(event->entry.eip == 0x4000000e && event->entry.edx == 77, "entry");
    wrong_unless(!api->get_register(RING3_EFLAGS, &flags) &&
                     !api->set_register(RING3_EFLAGS, flags | 1),
                 "flags");
    wrong_unless(!api->set_register(RING3_EIP, 0x40000013), "eip");
}

int ring3_plugin_start(const struct ring3_api *given, int argc, char **argv) {
    api = given;
    if (argc < 2 || strncmp(argv[1], "out=", 4) != 0 || api->open_output(argv[1] + 4, &out))
        return 1;
    api->write_output(out, "started\n", 8);
    return api->subscribe("syscall", on_syscall, NULL) ||
           api->subscribe("user-return", on_return, NULL) ||
           api->subscribe("entry@0x4000000e", on_entry, NULL);
}
