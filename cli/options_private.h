/* The parts of the command line's parser. */
#ifndef RING3_CLI_OPTIONS_PRIVATE_H
#define RING3_CLI_OPTIONS_PRIVATE_H

#include "cli/options.h"

/* "64M", "1G", "512K"; a plain number counts `unit`s. False when it is none of these or does not
 * fit 64 bits. */
bool options_parse_size(const char *text, uint64_t unit, uint64_t *bytes);

/* options_trace.c: 0, or -1 with `error` filled. */
int options_parse_log(struct options *options, const char *text, struct error *error);
int options_parse_log_format(struct options *options, const char *text, struct error *error);
int options_add_filter(struct options *options, const char *text, struct error *error);
/* `text` may be NULL. */
int options_parse_flight_recorder(struct options *options, const char *text, struct error *error);
int options_add_profile(struct options *options, const char *text, struct error *error);
int options_parse_rate(struct options *options, const char *text, struct error *error);
/* What goes together, once all are there. */
int options_check_trace(struct options *options, struct error *error);

#endif
