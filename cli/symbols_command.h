/* `ring3 symbols FILE [NAME|ADDRESS...]`: what inspect/symbols.h finds in a file, as a System.map. */
#ifndef RING3_CLI_SYMBOLS_COMMAND_H
#define RING3_CLI_SYMBOLS_COMMAND_H

/* argv[0] is the word "symbols". Returns the process's exit status. */
int symbols_main(int argc, char **argv);

#endif
