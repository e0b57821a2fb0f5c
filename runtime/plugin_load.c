/* `--plugin FILE.so[,key=value...]`: a library is loaded, its version looked at, and its start
 * called.
 *
 * Runs in the monitor before the fork; what the start has made (memory, subscriptions, outputs) is
 * in the vCPU process of every boot. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/plugin_private.h"

#define WORDS_MAX 64

typedef int (*start_fn)(const struct ring3_api *api, int argc, char **argv);

/* The option's words, cut out of a copy of it, as argc and argv. */
struct words {
    char text[4096];
    char *argv[WORDS_MAX + 1];
    int argc;
};

static int split_words(struct words *words, const char *text, struct error *error) {
    size_t len = strlen(text);
    words->argc = 0;
    if (len >= sizeof words->text)
        return error_set(error, "--plugin: description longer than %zu bytes",
                         sizeof words->text - 1);
    memcpy(words->text, text, len + 1);
    for (char *word = words->text, *comma; word; word = comma) {
        comma = strchr(word, ',');
        if (comma)
            *comma++ = 0;
        if (words->argc == WORDS_MAX)
            return error_set(error, "--plugin '%s': more than %d words", words->argv[0],
                             WORDS_MAX - 1);
        words->argv[words->argc++] = word;
    }
    words->argv[words->argc] = NULL;
    return *words->argv[0] ? 0 : error_set(error, "--plugin '%s': empty file name", text);
}

/* A plugin runs with its own MAJOR, and with its MINOR or a later one. */
static int check_version(const char *file, uint32_t version, struct error *error) {
    unsigned major = version >> 16, minor = version & 0xffffu;
    if (major == RING3_PLUGIN_MAJOR && minor <= RING3_PLUGIN_MINOR)
        return 0;
    return error_set(error, "--plugin '%s': made for version %u.%u of the interface, this is %u.%u",
                     file, major, minor, RING3_PLUGIN_MAJOR, RING3_PLUGIN_MINOR);
}

static int find_start(void *library, const char *file, start_fn *start, struct error *error) {
    const uint32_t *version = dlsym(library, "ring3_plugin_version");
    *(void **)start = dlsym(library, "ring3_plugin_start");
    if (!version || !*start)
        return error_set(error, "--plugin '%s': has no %s", file,
                         version ? "ring3_plugin_start" : "ring3_plugin_version");
    return check_version(file, *version, error);
}

static int call_start(struct plugins *plugins, start_fn start, struct words *words,
                      struct error *error) {
    struct plugin *plugin = &plugins->plugins[plugins->plugin_count];
    const char *slash = strrchr(words->argv[0], '/');
    *plugin = (struct plugin){.library = NULL};
    snprintf(plugin->name, sizeof plugin->name, "%s", slash ? slash + 1 : words->argv[0]);
    plugin->reserve = mmap(NULL, PLUGIN_RESERVE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (plugin->reserve == MAP_FAILED)
        return error_set(error, "--plugin '%s': %s", words->argv[0], strerror(errno));
    plugin_guard_begin();
    plugin_call_begin(plugins, plugins->plugin_count, PHASE_START);
    int status = start(&plugin_api, words->argc, words->argv);
    plugin_call_end(plugins);
    plugin_guard_end();
    if (!status)
        return 0;
    if (*plugin->refusal)
        return error_set(error, "--plugin '%s': %s", plugin->name, plugin->refusal);
    return error_set(error, "--plugin '%s': its start returned %d", plugin->name, status);
}

int plugins_load(struct plugins *plugins, const char *text, struct error *error) {
    struct words words;
    start_fn start;
    if (plugins->plugin_count == PLUGINS_MAX)
        return error_set(error, "--plugin '%s': more than %d of them", text, PLUGINS_MAX);
    if (split_words(&words, text, error))
        return -1;
    void *library = dlopen(words.argv[0], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error_set(error, "--plugin '%s': %s", words.argv[0], dlerror());
    if (find_start(library, words.argv[0], &start, error)) {
        dlclose(library);
        return -1;
    }
    int status = call_start(plugins, start, &words, error);
    plugins->plugins[plugins->plugin_count++].library =
        library; /* its subscriptions may stand already */
    return status;
}

void plugins_release(struct plugins *plugins) {
    struct error error;
    plugins_flush(plugins, &error);
    for (unsigned i = 0; i < plugins->output_count; i++)
        munmap(plugins->outputs[i].buffer, sizeof *plugins->outputs[i].buffer);
    for (unsigned i = 0; i < plugins->plugin_count; i++) {
        if (plugins->plugins[i].reserve && plugins->plugins[i].reserve != MAP_FAILED)
            munmap(plugins->plugins[i].reserve, PLUGIN_RESERVE);
        if (plugins->plugins[i].library)
            dlclose(plugins->plugins[i].library);
    }
    instrumentation_free(plugins);
    memset(plugins, 0, sizeof *plugins);
}
