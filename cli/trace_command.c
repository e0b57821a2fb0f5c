/* `ring3 trace FILE` (trace_command.h). */
#include "cli/trace_command.h"

#include "cli/report.h"
#include "cli/run.h"
#include "inspect/trace_output.h"

int trace_command(const struct options *options) {
    struct error error;
    struct symbols *symbols = NULL;
    if (options->symbols && !(symbols = symbols_load(options->symbols, &error))) {
        report_line("%s", error.text);
        return STATUS_BAD_INPUT;
    }
    struct trace_output *output = trace_output_open(&options->trace, symbols, &error);
    int status = output ? STATUS_OK : STATUS_BAD_INPUT;
    if (output && trace_output_replay(output, options->trace_file, &error))
        status = STATUS_BAD_INPUT;
    if (status)
        report_line("%s", error.text);
    if (output && !trace_output_close(output))
        status = STATUS_HOST_FAILURE;
    symbols_free(symbols);
    return status;
}
