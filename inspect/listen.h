/* Listening on a TCP port that an option names. */
#ifndef RING3_INSPECT_LISTEN_H
#define RING3_INSPECT_LISTEN_H

#include <stddef.h>

#include "base/error.h"

/* A non-blocking socket that listens on "[ADDRESS:]PORT": loopback without an address, [ADDRESS]
 * around one with colons, any free port for 0. `where` gets the address and port that it got, as
 * ADDRESS:PORT. -1 with `error` filled; `option` names the culprit. */
int listen_on(const char *place, const char *option, char *where, size_t where_size,
              struct error *error);

/* A blocking socket connected to "[ADDRESS:]PORT", which gives up waiting after `seconds`. -1 with
 * `error` filled. */
int connect_to(const char *place, const char *option, unsigned seconds, struct error *error);

#endif
