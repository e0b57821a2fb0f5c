/* The struct of functions that a plugin gets, and those of them that are about the plugin itself.
 */
#include <string.h>

#include "runtime/plugin_private.h"
#include "runtime/system.h"

#define ALIGNMENT 16u

static const char *status_text(int status) {
    switch (status) {
    case RING3_OK:
        return "done";
    case RING3_BAD_ARGUMENT:
        return "an argument is out of range";
    case RING3_BAD_POINTER:
        return "memory that cannot be read or written";
    case RING3_BAD_HANDLE:
        return "not an open handle";
    case RING3_WRONG_TIME:
        return "not possible now";
    case RING3_NOT_PRESENT:
        return "the guest maps no page there";
    case RING3_NO_MEMORY:
        return "the guest has no memory there";
    case RING3_NO_ROOM:
        return "a limit is reached";
    case RING3_HOST:
        return "the host refuses";
    default:
        return "not a status";
    }
}

static const char *name_of_callout(uint64_t callout) {
    return callout < CALLOUT_COUNT ? callout_name((enum callout_id)callout) : "?";
}

static int subscribe(const char *event, ring3_callback callback, void *opaque) {
    struct plugins *plugins = plugin_caller(PHASE_START);
    struct error error;
    char name[128];
    if (!plugins)
        return RING3_WRONG_TIME;
    int status = plugin_take_string(name, event, sizeof name);
    if (!status)
        status = plugin_check_code((void (*)(void))callback);
    struct subscription *subscription = subscription_next(plugins);
    if (status || !subscription)
        return status ? status : RING3_NO_ROOM;
    if (subscription_parse_event(plugins, subscription, name, &error))
        return RING3_BAD_ARGUMENT;
    if (subscription->kind == RING3_EVENT_TRANSLATE && instrumentation_make(plugins))
        return RING3_HOST;
    subscription->plugin = (uint8_t)plugins->current;
    subscription->callback = callback;
    subscription->opaque = opaque;
    subscription_add(plugins);
    return RING3_OK;
}

static int subscribe_typed(const char *event, const char *types, void (*function)(void)) {
    struct plugins *plugins = plugin_caller(PHASE_START);
    struct error error;
    char name[128], list[128];
    if (!plugins)
        return RING3_WRONG_TIME;
    int status = plugin_take_string(name, event, sizeof name);
    if (!status)
        status = plugin_take_string(list, types, sizeof list);
    if (!status)
        status = plugin_check_code(function);
    struct subscription *subscription = subscription_next(plugins);
    if (status || !subscription)
        return status ? status : RING3_NO_ROOM;
    if (subscription_parse_event(plugins, subscription, name, &error) ||
        subscription_parse_types(subscription, list, name, &error))
        return RING3_BAD_ARGUMENT;
    subscription->plugin = (uint8_t)plugins->current;
    subscription->function = function;
    subscription_add(plugins);
    return RING3_OK;
}

static int refuse(const char *why) {
    struct plugins *plugins = plugin_caller(PHASE_START);
    char text[sizeof plugins->plugins[0].refusal];
    if (!plugins)
        return RING3_WRONG_TIME;
    int status = plugin_take_string(text, why, sizeof text);
    if (status)
        return status;
    for (char *at = text; *at; at++) /* it is to be one line */
        if ((unsigned char)*at < ' ')
            *at = ' ';
    memcpy(plugins->plugins[plugins->current].refusal, text, sizeof text);
    return RING3_OK;
}

static int alloc(size_t bytes, void **memory) {
    struct plugins *plugins = plugin_caller(PHASE_START | PHASE_CALLBACK);
    if (!plugins)
        return RING3_WRONG_TIME;
    struct plugin *plugin = &plugins->plugins[plugins->current];
    if (!bytes || bytes > PLUGIN_RESERVE || !plugin->reserve)
        return RING3_BAD_ARGUMENT;
    uint64_t rounded = (bytes + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
    if (rounded > PLUGIN_RESERVE - plugin->reserve_used)
        return RING3_NO_ROOM;
    void *made = plugin->reserve + plugin->reserve_used;
    int status = plugin_put(plugins, memory, &made, sizeof made);
    if (!status)
        plugin->reserve_used += rounded;
    return status;
}

const struct ring3_api plugin_api = {
    .size = sizeof(struct ring3_api),
    .version = RING3_PLUGIN_VERSION,
    .status_text = status_text,
    .callout_name = name_of_callout,
    .subscribe = subscribe,
    .subscribe_typed = subscribe_typed,
    .open_output = plugin_open_output,
    .refuse = refuse,
    .write_output = plugin_write_output,
    .close_output = plugin_close_output,
    .alloc = alloc,
    .new_counter = plugin_new_counter,
    .read_counter = plugin_read_counter,
    .set_counter = plugin_set_counter,
    .read_linear = plugin_read_linear,
    .read_string = plugin_read_string,
    .read_physical = plugin_read_physical,
    .find_physical = plugin_find_physical,
    .get_register = plugin_get_register,
    .write_linear = plugin_write_linear,
    .write_physical = plugin_write_physical,
    .set_register = plugin_set_register,
    .get_insn = plugin_get_insn,
    .count = plugin_count,
    .sample = plugin_sample,
    .on_execute = plugin_on_execute,
    .on_memory = plugin_on_memory,
};
