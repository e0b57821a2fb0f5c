/* Texts that the command line prints to standard output. */
#ifndef RING3_CLI_HELP_H
#define RING3_CLI_HELP_H

void help_print(void);
void help_print_version(void);
/* The table of callouts, in markdown. */
void help_print_callouts(void);
/* A line for each row of the instruction table. */
void help_print_instructions(void);

#endif
