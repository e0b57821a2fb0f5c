/* The handlers and their names, by id: one list (translator/callouts.h), two tables. */
#include <assert.h>

#include "runtime/system.h"

const callout_fn callout_handlers[CALLOUT_COUNT] = {
#define CALLOUT_HANDLER(id, arg, operand, insns) [CALLOUT_##id] = callout_##id,
    CALLOUTS(CALLOUT_HANDLER)
#undef CALLOUT_HANDLER
};

static const char *const callout_names[CALLOUT_COUNT] = {
#define CALLOUT_NAME(id, arg, operand, insns) [CALLOUT_##id] = #id,
    CALLOUTS(CALLOUT_NAME)
#undef CALLOUT_NAME
};

const char *callout_name(enum callout_id id) {
    assert(id < CALLOUT_COUNT);
    return callout_names[id];
}
