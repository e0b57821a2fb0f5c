/* `ring3 trace FILE`: a binary log (inspect/trace_file.h) as text, JSON lines or a Perfetto file.
 */
#ifndef RING3_CLI_TRACE_COMMAND_H
#define RING3_CLI_TRACE_COMMAND_H

#include "cli/options.h"

/* Returns the process's exit status. */
int trace_command(const struct options *options);

#endif
