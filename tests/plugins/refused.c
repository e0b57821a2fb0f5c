/* Plugins that ring3 refuses to load, or that end the machine; built once for each CASE. */
#include "include/ring3/plugin.h"

#if defined CASE_MAJOR
const uint32_t ring3_plugin_version = (RING3_PLUGIN_MAJOR + 1) << 16;
#elif defined CASE_MINOR
const uint32_t ring3_plugin_version = RING3_PLUGIN_VERSION + 1;
#elif !defined CASE_NO_VERSION
RING3_PLUGIN();
#endif

#if defined CASE_CRASH
static int *volatile nowhere = (int *)16;

static void on_begin(void *opaque, const struct ring3_event *event) {
    (void)opaque, (void)event;
    *nowhere = 0;
}
#endif

#if !defined CASE_NO_START
int ring3_plugin_start(const struct ring3_api *api, int argc, char **argv) {
    (void)api, (void)argc, (void)argv;
#if defined CASE_SAYS_WHY
    api->refuse("out of\npaper");
    return 1;
#elif defined CASE_RETURNS
    return 3;
#elif defined CASE_CRASH
    return api->subscribe("begin", on_begin, 0);
#else
    return 0;
#endif
}
#endif
