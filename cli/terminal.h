/* The terminal on standard input: raw while a guest has it, restored whatever happens.
 *
 * The terminal belongs to the process, not to a machine, and signal handlers must find it: this
 * is the command line's one piece of static state. */
#ifndef RING3_CLI_TERMINAL_H
#define RING3_CLI_TERMINAL_H

/* Puts the terminal into raw mode and arranges for terminal_restore at exit and on signals that
 * end the process by a fault. Again after SIGCONT. 0, or a negative errno. */
int terminal_enter_raw(void);
/* Gives the terminal back as it was found; does nothing when it was not taken. Async-signal-safe.
 */
void terminal_restore(void);
/* In a forked child: forget the terminal, and let faults be faults. */
void terminal_forget(void);

#endif
