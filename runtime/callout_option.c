/* `--callout 'EVENT=library.so:function(types)'` into a typed subscription.
 *
 * Runs in the monitor before the fork, so libc and the dynamic loader are at hand; the library is
 * in both processes afterwards. Each option is a plugin of its own, without a start. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "runtime/plugin_private.h"

/* The four parts of a description, cut out of a copy of it. */
struct spec {
    char text[1024];
    char *event, *library, *function, *types;
};

/* The library may hold '=' and ':' in its path: the first '=' ends the event, the last ':' before
 * the parenthesis ends the library. */
static int split_spec(struct spec *spec, const char *text, struct error *error) {
    if (strlen(text) >= sizeof spec->text)
        return error_set(error, "--callout: description longer than %zu bytes",
                         sizeof spec->text - 1);
    strcpy(spec->text, text);
    spec->event = spec->text;
    char *equals = strchr(spec->text, '=');
    if (!equals)
        return error_set(error, "--callout '%s': no '=' after the event", text);
    *equals = 0;
    spec->library = equals + 1;
    char *open = strrchr(spec->library, '('), *close = open ? strchr(open, ')') : NULL;
    if (!close || close[1])
        return error_set(error, "--callout '%s': does not end in (types)", text);
    *open = *close = 0;
    spec->types = open + 1;
    char *colon = strrchr(spec->library, ':');
    if (!colon || colon == spec->library || !colon[1])
        return error_set(error, "--callout '%s': no library:function before (types)", text);
    *colon = 0;
    spec->function = colon + 1;
    return 0;
}

static int load_function(struct plugins *plugins, struct subscription *subscription,
                         const struct spec *spec, struct error *error) {
    struct plugin *plugin = &plugins->plugins[plugins->plugin_count];
    void *library = dlopen(spec->library, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_set(error, "--callout '%s': %s", spec->event, dlerror());
    *(void **)&subscription->function = dlsym(library, spec->function);
    if (!subscription->function) {
        dlclose(library);
        return error_set(error, "--callout '%s': '%s' has no function '%s'", spec->event,
                         spec->library, spec->function);
    }
    *plugin = (struct plugin){.library = library};
    snprintf(plugin->name, sizeof plugin->name, "%s", spec->function);
    subscription->plugin = (uint8_t)plugins->plugin_count;
    return 0;
}

int plugins_add_callout(struct plugins *plugins, const char *text, struct error *error) {
    struct spec spec;
    struct subscription *subscription =
        plugins->user_callouts == USER_CALLOUTS_MAX || plugins->plugin_count == PLUGINS_MAX
            ? NULL
            : subscription_next(plugins);
    if (!subscription)
        return error_set(error, "--callout: more than %d", USER_CALLOUTS_MAX);
    if (split_spec(&spec, text, error) ||
        subscription_parse_event(plugins, subscription, spec.event, error) ||
        subscription_parse_types(subscription, spec.types, spec.event, error) ||
        load_function(plugins, subscription, &spec, error))
        return -1;
    subscription_add(plugins);
    plugins->user_callouts++;
    plugins->plugin_count++;
    return 0;
}
