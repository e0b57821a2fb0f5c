/* `ring3 run` and `ring3 demo`: machines from power-on to exit status. */
#ifndef RING3_CLI_RUN_H
#define RING3_CLI_RUN_H

#include "cli/options.h"

/* engine_run, or what a test puts in its place. */
typedef int (*engine_fn)(struct vcpu *v, const struct engine_options *options);

enum exit_status {
    STATUS_OK = 0,
    STATUS_HOST_FAILURE = 1,
    STATUS_BAD_INPUT = 2,
    STATUS_TRIPLE_FAULT = 3,
};

/* Runs the machine that the options describe, again after each reset unless they say no. Returns
 * the process's exit status, its reason printed. When a signal asked for the end, does not return:
 * the process ends by that signal, the terminal restored. */
int run_machine(const struct options *options, engine_fn engine);

/* The same with the embedded guest as the kernel. */
int run_demo(struct options *options, engine_fn engine);

/* The whole program. */
int cli_main(int argc, char **argv, engine_fn engine);

#endif
