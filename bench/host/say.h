/* Lines to standard error, and progress. */
#ifndef RING3_BENCH_HOST_SAY_H
#define RING3_BENCH_HOST_SAY_H

/* "ring3: bench: ..." as exactly one line, whatever is in it. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);
/* What is going on: on a terminal one line that changes, elsewhere nothing. */
__attribute__((format(printf, 1, 2))) void say_progress(const char *format, ...);
void say_progress_end(void);

#endif
