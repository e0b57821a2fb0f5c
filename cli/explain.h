/* `ring3 explain`: what translation makes of guest code (inspect/explain.h), from a file, bytes or
 * a symbol. */
#ifndef RING3_CLI_EXPLAIN_H
#define RING3_CLI_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/run.h"
#include "inspect/explain_output.h"
#include "inspect/kernel_image.h"

struct explain_options {
    const char *file;    /* NULL: the embedded guest */
    const char *hex;     /* instead of a file */
    const char *symbol;  /* which part of it */
    const char *symbols; /* file with names, NULL: the kernel's own */
    const char *html;    /* file to write, or "-" */
    const char *gdb;     /* a running ring3's --gdb */
    bool json, cold, sensitive, help;
    bool has_address, has_length, has_mode;
    uint32_t address, length;
    enum explain_mode mode;
    unsigned cpl, max;
    enum syntax syntax;
};

/* 0, or -1 with `error` filled. The strings are argv's. */
int explain_options_parse(struct explain_options *options, int argc, char **argv,
                          struct error *error);

/* What is to be explained, and what it is in words. */
struct explain_subject {
    struct kernel_image image;
    struct symbols *symbols; /* or NULL */
    uint8_t *hex;
    struct explain_code code;
    char title[160], context[160];
};

/* 0, or -1 with `error` filled and nothing to release. */
int explain_subject_open(struct explain_subject *subject, const struct explain_options *options,
                         struct error *error);
void explain_subject_close(struct explain_subject *subject);

/* argv[0] is the word "explain". Returns the process's exit status. */
int explain_main(int argc, char **argv, engine_fn engine);

/* `--sensitive`. Returns the process's exit status. */
int explain_sensitive(const struct explain_options *options, engine_fn engine);

#endif
