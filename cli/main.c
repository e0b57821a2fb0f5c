/* ring3: the command line with the engine that is the product. */
#include "cli/run.h"
#include "runtime/engine.h"

int main(int argc, char **argv) { return cli_main(argc, argv, engine_run); }
