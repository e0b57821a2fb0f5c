/* One clear line about bad input: what, where and why. Filled by whoever refuses the input,
 * printed once by the command line. */
#ifndef RING3_BASE_ERROR_H
#define RING3_BASE_ERROR_H

struct error {
    char text[512];
};

/* Formats the reason and returns -1, so that `return error_set(...)` reads naturally. */
__attribute__((format(printf, 2, 3))) int error_set(struct error *error, const char *format, ...);

#endif
